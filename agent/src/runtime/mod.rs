//! What runs the agent: telemetry bootstrap, logs, TLS provider.

pub mod logging;
pub mod telemetry;
pub mod tls;
