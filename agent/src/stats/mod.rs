//! What every stage counts, and how late the pipeline is.
//!
//! Pure: state + observation -> state + report. No sockets, no files, no clock but the one handed in (every call carries
//! its time in milliseconds since 1970). `pipeline/` feeds one [`Observer`] per pipeline, once per batch; `export/` reads
//! the [`Instruments`] and the observers' reports. What the lag states prove is written down in `docs/lag.md`, every
//! metric in `docs/metrics.md`.

pub mod connectors;
pub mod family;
pub mod hops;
pub mod instruments;
pub mod lag;
#[cfg(test)]
mod lag_tests;
pub mod life;
pub mod migrations;
pub mod observer;
pub mod partition;
pub mod places;
pub mod plugins;
pub mod rate;
pub mod report;
pub mod skew;
pub mod state;
mod timings;

pub use connectors::{ConnectFacts, ConnectorBoard, ConnectorFacts, ConnectorsReadiness, ConnectorsStatus, Restart};
pub use hops::{Hop, HopSamples, Stamp};
pub use instruments::{Clock, Instruments};
pub use lag::{Lag, LagConfig, LagReport, LagState, TableLagReport};
pub use migrations::{MigrationBoard, MigrationStatus};
pub use observer::{Observer, PipelineStatus};
pub use partition::{Doubt, PartitionLag};
pub use places::{Compared, Conditions, Difference, Edition, LastReload, PluginPlace, PluginStatus, ReloadOutcome};
pub use plugins::{PluginMeter, PluginTotals};
pub use report::{BatchReport, LossyCount, TableLag, Watermark};
pub use state::{Component, Health, PipelineState, Readiness};
