//! The part of the agent's configuration that `decode::DecodeConfig` is made from.

#[path = "../../src/config/connectors.rs"]
pub mod connectors;
#[path = "../../src/config/invalid.rs"]
pub mod invalid;
#[path = "../../src/config/migrations.rs"]
pub mod migrations;
#[path = "../../src/config/monitor.rs"]
pub mod monitor;
#[path = "../../src/config/opaque.rs"]
pub mod opaque;
#[path = "../../src/config/raw.rs"]
pub mod raw;
#[path = "../../src/config/secret.rs"]
pub mod secret;
#[path = "../../src/config/units.rs"]
pub mod units;
#[path = "../../src/config/written.rs"]
pub mod written;
