//! Windows as a case writes them, and findings as it expects them.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::plugin::{Finding, Label, Point, Series, Severity, Window};

/// A window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    scope: String,
    start_ms: i64,
    end_ms: i64,
    #[serde(default)]
    series: Vec<GivenSeries>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSeries {
    name: String,
    #[serde(default)]
    labels: IndexMap<String, String>,
    /// Time in milliseconds and value.
    points: Vec<(i64, f64)>,
}

impl Given {
    /// The window as a plugin gets it.
    #[must_use]
    pub fn window(&self) -> Window {
        let series = self.series.iter().map(|series| Series {
            name: series.name.clone(),
            labels: series
                .labels
                .iter()
                .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
                .collect(),
            points: series.points.iter().map(|(at_ms, value)| Point { at_ms: *at_ms, value: *value }).collect(),
        });
        Window { scope: self.scope.clone(), start_ms: self.start_ms, end_ms: self.end_ms, series: series.collect() }
    }
}

/// A finding as JSON.
pub(super) fn finding(finding: &Finding) -> Value {
    let mut told = json!({
        "key": finding.key,
        "kind": finding.kind,
        "severity": severity(finding.severity),
        "title": finding.title,
        "detail": finding.detail,
        "action": finding.action,
    });
    if let Some(told) = told.as_object_mut() {
        if let Some(since) = finding.since_ms {
            told.insert("since_ms".to_owned(), since.into());
        }
        if let Some(score) = finding.score {
            told.insert("score".to_owned(), score.into());
        }
        if !finding.attributes.is_empty() {
            let facts: Map<String, Value> =
                finding.attributes.iter().map(|(name, fact)| (name.clone(), super::value(fact))).collect();
            told.insert("attributes".to_owned(), facts.into());
        }
    }
    told
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
