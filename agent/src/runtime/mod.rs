//! What runs the agent: telemetry bootstrap, tasks, shutdown.
pub mod shutdown;
pub mod tasks;
