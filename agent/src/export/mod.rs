//! Telling the world: Prometheus scrape, OTLP push, health and status over HTTP.
//!
//! Reads `stats`, never writes to it, and carries what operators ask for to whoever does it; knows no stage. Nothing here
//! shows row values or secrets; the one answer that may hold rows, a recorded batch, is made elsewhere as far as the
//! configuration lets it. `runtime/telemetry.rs` puts the parts together.

pub mod config;
pub mod control;
#[cfg(test)]
mod golden_tests;
pub mod health;
pub mod http;
mod live;
mod monitor;
pub mod otlp;
mod otlp_env;
mod otlp_tls;
mod page;
pub mod process;
pub mod prometheus;
pub mod status;
pub mod trace;
pub mod traceparent;

pub use config::{ExportConfig, OtlpConfig};
pub use http::{Server, serve};
pub use prometheus::Scrape;
pub use trace::{BatchSpan, Traces};
