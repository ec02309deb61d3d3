//! Dashboards of Grafana and alert rules of Prometheus, from one description of what is watched.
//!
//! ```text
//! description (panels, their queries, what is too much) ─┬─► grafana: the JSON of a dashboard ─► files, or Grafana's API
//!                                                         └─► rules: alert rules of Prometheus
//! ```
//!
//! The queries use the names of docs/metrics.md; the tests run each against a real Prometheus.

mod api;
pub mod args;
mod commands;
pub mod description;
pub mod difference;
pub mod grafana;
mod provisioning;
mod render;
pub mod rules;
#[cfg(test)]
mod tests;

pub use api::{ApiError, Applied, Grafana};
pub use commands::run;
pub use render::dashboard;

/// A dashboard's address never changes: what people bookmarked, and what `apply` finds again.
pub const UID: &str = "whimbrel-migration";

/// The folder's.
pub const FOLDER_UID: &str = "whimbrel";
