//! What runs the agent: telemetry bootstrap, tasks, shutdown.
