//! Alerts as a case writes them.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::plugin::{Alert, Severity, Status, Value};

/// An alert; what is left out is as in an ordinary one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    id: String,
    status: GivenStatus,
    severity: GivenSeverity,
    rule: String,
    kind: String,
    title: String,
    detail: String,
    action: String,
    scope: String,
    since_ms: i64,
    until_ms: Option<i64>,
    count: u32,
    url: Option<String>,
    attributes: IndexMap<String, Json>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenStatus {
    Firing,
    Acknowledged,
    Resolved,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GivenSeverity {
    Info,
    Warning,
    Critical,
}

impl Default for Given {
    fn default() -> Self {
        Given {
            id: "sample".to_owned(),
            status: GivenStatus::Firing,
            severity: GivenSeverity::Warning,
            rule: "sample-rule".to_owned(),
            kind: "low_throughput".to_owned(),
            title: "pipeline shop is slow".to_owned(),
            detail: String::new(),
            action: String::new(),
            scope: "pipeline/shop".to_owned(),
            since_ms: 1_700_000_000_000,
            until_ms: None,
            count: 1,
            url: None,
            attributes: IndexMap::new(),
        }
    }
}

impl Given {
    /// The alert as a plugin gets it.
    #[must_use]
    pub fn alert(&self) -> Alert {
        let given = self.clone();
        Alert {
            id: given.id,
            status: match given.status {
                GivenStatus::Firing => Status::Firing,
                GivenStatus::Acknowledged => Status::Acknowledged,
                GivenStatus::Resolved => Status::Resolved,
            },
            severity: match given.severity {
                GivenSeverity::Info => Severity::Info,
                GivenSeverity::Warning => Severity::Warning,
                GivenSeverity::Critical => Severity::Critical,
            },
            rule: given.rule,
            kind: given.kind,
            title: given.title,
            detail: given.detail,
            action: given.action,
            scope: given.scope,
            since_ms: given.since_ms,
            until_ms: given.until_ms,
            count: given.count,
            url: given.url,
            attributes: given.attributes.into_iter().map(|(name, fact)| (name, value(fact))).collect(),
        }
    }
}

fn value(fact: Json) -> Value {
    match fact {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::Null,
        },
        Json::String(text) => Value::Text(text),
        nested => Value::Tagged(("json".to_owned(), nested.to_string())),
    }
}
