//! The parts of the status API that the gate reads. A field that is missing makes the answer unreadable, or what
//! it says unknown, as `null` does; neither passes.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    pub(super) now_ms: i64,
    pub(super) started_at_ms: i64,
    pub(super) pipelines: Vec<Pipeline>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pipeline {
    pub(super) pipeline: String,
    /// Older agents have none: the name is the id then.
    pub(super) migration_id: Option<String>,
    pub(super) state: String,
    pub(super) lag: Lag,
    pub(super) totals: Totals,
    pub(super) dead_letters_stored: Option<u64>,
}

impl Pipeline {
    pub(super) fn id(&self) -> &str {
        self.migration_id.as_deref().unwrap_or(&self.pipeline)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Lag {
    pub(super) state: String,
    pub(super) doubts: Vec<String>,
    pub(super) time_lag_ms: Option<i64>,
    pub(super) proof_age_ms: Option<i64>,
    pub(super) partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) heartbeat: bool,
    pub(super) time_lag_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Totals {
    pub(super) events: BTreeMap<String, u64>,
    pub(super) dead_letters: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Migrations {
    pub(super) now_ms: i64,
    pub(super) sets: Vec<Set>,
    pub(super) migrations: Vec<Migration>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) read_at_ms: Option<i64>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Migration {
    pub(super) id: String,
    pub(super) set: String,
    pub(super) state: String,
    pub(super) places: Vec<Place>,
    pub(super) retries: u64,
    pub(super) last_error: Option<Failure>,
}

impl Migration {
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id || self.name() == id
    }

    /// `SET/ID`, or the id where there is no set.
    pub(super) fn name(&self) -> String {
        if self.set.is_empty() { self.id.clone() } else { format!("{}/{}", self.set, self.id) }
    }

    pub(super) fn scope(&self) -> String {
        format!("migration/{}", self.name())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) done: u64,
    pub(super) expected: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Incidents {
    pub(super) now_ms: i64,
    pub(super) evaluated_at_ms: Option<i64>,
    pub(super) incidents: Vec<Incident>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Incident {
    pub(super) status: String,
    pub(super) severity: String,
    pub(super) title: String,
    pub(super) scope: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Series {
    pub(super) series: Vec<Line>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    /// When, and how many a second.
    pub(super) points: Vec<(i64, f64)>,
}
