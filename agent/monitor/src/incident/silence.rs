//! Silences: people say that they know.

use serde::{Deserialize, Serialize};

use super::{Incident, Matcher};

/// Nobody is told of what it matches, from one moment to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// What it is called.
    pub id: String,
    /// What is silenced.
    #[serde(flatten)]
    pub matcher: Matcher,
    /// From when on, milliseconds since 1970.
    pub starts_ms: i64,
    /// Until when.
    pub ends_ms: i64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Whether it holds now.
    #[must_use]
    pub const fn is_active(&self, now_ms: i64) -> bool {
        self.starts_ms <= now_ms && now_ms < self.ends_ms
    }

    /// Whether it silences this incident now.
    #[must_use]
    pub fn mutes(&self, incident: &Incident, now_ms: i64) -> bool {
        self.is_active(now_ms) && self.matcher.matches(incident)
    }
}
