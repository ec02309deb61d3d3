//! What runs the agent: telemetry bootstrap, logs, TLS provider, tasks, shutdown.

pub mod logging;
pub mod lossy;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;
