//! The decode stage and what it stands on, taken from the agent's sources by path so that nothing else is built.
//!
//! Holds no code of its own. When decode begins to use another module of the agent, that module is named here too.

#[path = "../../src/batch.rs"]
pub mod batch;
#[path = "../../src/decode/mod.rs"]
pub mod decode;
#[path = "../../src/event.rs"]
pub mod event;

/// The part of the agent's configuration that `decode::DecodeConfig` is made from.
pub mod config {
    #[path = "../../../src/config/connectors.rs"]
    pub mod connectors;
    #[path = "../../../src/config/invalid.rs"]
    pub mod invalid;
    #[path = "../../../src/config/raw.rs"]
    pub mod raw;
    #[path = "../../../src/config/secret.rs"]
    pub mod secret;
    #[path = "../../../src/config/units.rs"]
    pub mod units;
}
