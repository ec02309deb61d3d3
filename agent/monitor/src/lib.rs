//! Watches pipelines and migrations: what was measured, what is wrong, who is told, what is drawn, and whether it may be
//! cut over.
//!
//! A crate of its own: it knows no plugin, no metric and no pipeline. The agent measures, hands windows to rule plugins,
//! and gives what they find to [`incident`]; what leaves there is kept by [`delivery`] until a channel plugin took it.
//! [`gate`] and [`dashboards`] speak of the same names from outside: over the agent's status API, or Prometheus.
//!
//! ```text
//! samples ─► history ─► windows ─► (rules) ─► incident ─► delivery ─► (channels)
//! ```
//!
//! Time is handed in as milliseconds since 1970; nothing here asks a clock but what waits on purpose.

pub mod ask;
pub mod dashboards;
pub mod delivery;
pub mod gate;
pub mod history;
pub mod incident;
pub mod store;

/// A duration as everything here counts time: in milliseconds.
#[must_use]
pub fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
