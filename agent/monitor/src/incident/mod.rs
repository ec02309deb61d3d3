//! What is wrong: findings become incidents, incidents become notifications.
//!
//! Pure: state + what rules found + time -> state + what people are to be told. [`Book`] knows which incidents there are,
//! [`Silence`] and [`Inhibition`] say which of them people are not told of now, and [`Notifier`] decides who is told what
//! and when. Nothing here waits, stores or sends.

mod book;
mod digest;
mod inhibit;
mod matcher;
mod notify;
mod route;
mod silence;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use book::{Book, Resolution};
pub use inhibit::{Explained, Inhibition, Phase};
pub use matcher::{Matcher, Pattern};
pub use notify::{Cap, Notification, Notifier, State};
pub use route::{GroupBy, Route};
pub use silence::Silence;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Somebody must act now.
    Critical,
}

impl Severity {
    /// All, the mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word for it in metrics, configuration and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What a rule found in one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What is wrong where, stable within its rule and scope: findings of one key are one incident.
    pub key: String,
    /// The kind of trouble, as the rule calls it.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// The figures behind it.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// Since when, where the rule knows, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// How sure or how far off, from 0 to 1.
    pub score: Option<f64>,
    /// Facts beside it, in order.
    pub attributes: Vec<(String, serde_json::Value)>,
}

/// Something that is wrong, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Stable over its life.
    pub id: String,
    /// The rule that found it.
    pub rule: String,
    /// Where: `pipeline/shop`, `migration/42`.
    pub scope: String,
    /// The rule's key for it.
    pub key: String,
    /// The kind of trouble.
    pub kind: String,
    /// How bad it is now.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// The figures behind it.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// When it was first found.
    pub opened_ms: i64,
    /// When it was resolved.
    pub until_ms: Option<i64>,
    /// How many evaluations found it.
    pub count: u32,
    /// How sure or how far off.
    pub score: Option<f64>,
    /// Facts beside it, in order.
    pub attributes: Vec<(String, serde_json::Value)>,
}

impl Incident {
    /// Whether it is wrong now.
    #[must_use]
    pub const fn is_firing(&self) -> bool {
        self.until_ms.is_none()
    }
}

/// An incident as a channel is handed it. The fields are those of the plugin contract (`wit/`, interface `channel`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What receivers deduplicate by.
    pub id: String,
    /// `firing` or `resolved`.
    pub status: Status,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that found it.
    pub rule: String,
    /// The kind of trouble.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The figures behind it.
    pub detail: String,
    /// What to do about it.
    pub action: String,
    /// Where.
    pub scope: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// When it was resolved.
    pub until_ms: Option<i64>,
    /// How many evaluations found it.
    pub count: u32,
    /// Where a person can look.
    pub url: Option<String>,
    /// Facts beside it, in order.
    pub attributes: Vec<(String, serde_json::Value)>,
}

/// Whether it is wrong now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    Firing,
    /// It was.
    Resolved,
}

impl Alert {
    /// What is told of an incident.
    #[must_use]
    pub fn of(incident: &Incident, url: Option<&str>) -> Self {
        Self {
            id: incident.id.clone(),
            status: if incident.is_firing() { Status::Firing } else { Status::Resolved },
            severity: incident.severity,
            rule: incident.rule.clone(),
            kind: incident.kind.clone(),
            title: incident.title.clone(),
            detail: incident.detail.clone(),
            action: incident.action.clone(),
            scope: incident.scope.clone(),
            since_ms: incident.since_ms,
            until_ms: incident.until_ms,
            count: incident.count,
            url: url.map(str::to_owned),
            attributes: incident.attributes.clone(),
        }
    }
}
