//! The decode stage and what it stands on, taken from the agent's sources by path so that nothing else is built.
//!
//! Holds no code of its own. When decode begins to use another module of the agent, that module is named here too.

#[path = "../../src/batch.rs"]
pub mod batch;
pub mod config;
#[path = "../../src/decode/mod.rs"]
pub mod decode;
#[path = "../../src/event/mod.rs"]
pub mod event;
