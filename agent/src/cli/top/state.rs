//! As much of `/api/v1/state` as is shown. What an older or newer agent leaves out is not known, and never 0.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct State {
    pub(super) status: Status,
    pub(super) migrations: Option<Migrations>,
    pub(super) incidents: Option<Incidents>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Status {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) started_at_ms: i64,
    pub(super) now_ms: i64,
    #[serde(default)]
    pub(super) pipelines: Vec<Pipeline>,
    #[serde(default)]
    pub(super) plugins: Vec<Plugin>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pipeline {
    pub(super) pipeline: String,
    pub(super) target: String,
    pub(super) state: String,
    pub(super) readiness: Readiness,
    pub(super) lag: Lag,
    pub(super) totals: Totals,
    pub(super) dead_letters_stored: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Lag {
    pub(super) state: String,
    #[serde(default)]
    pub(super) doubts: Vec<String>,
    pub(super) messages: Option<u64>,
    pub(super) time_lag_ms: Option<i64>,
    pub(super) catchup_eta_seconds: Option<f64>,
    pub(super) consumed_per_second: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Totals {
    #[serde(default)]
    pub(super) events: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Plugin {
    pub(super) pipeline: String,
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) cost: Option<Cost>,
    pub(super) last_reload: Option<Reload>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reload {
    pub(super) why: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Cost {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) events: u64,
    pub(super) seconds: f64,
    pub(super) memory_bytes: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Migrations {
    #[serde(default)]
    pub(super) migrations: Vec<Migration>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Migration {
    pub(super) id: String,
    #[serde(default)]
    pub(super) set: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) state: String,
    pub(super) what: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) progress_ratio: Option<f64>,
    pub(super) per_second: Option<f64>,
    pub(super) eta_seconds: Option<f64>,
    pub(super) last_error: Option<Failure>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Incidents {
    pub(super) evaluated_at_ms: Option<i64>,
    #[serde(default)]
    pub(super) incidents: Vec<Incident>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Incident {
    pub(super) status: String,
    pub(super) severity: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) detail: String,
    #[serde(default)]
    pub(super) action: String,
    pub(super) scope: String,
    pub(super) since_ms: i64,
    pub(super) until_ms: Option<i64>,
    pub(super) silenced_by: Option<String>,
    pub(super) inhibited_by: Option<String>,
}
