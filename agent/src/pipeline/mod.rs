//! Joins source, decode, transform and target; owns batching, order, acknowledgement and what is done about errors.
//!
//! Two threads a pipeline. The *reader* polls, decodes and transforms; the *writer* plans and applies, on a runtime of its
//! own, so that CPU-heavy work never runs on the agent's async workers. Between them stands one bounded channel.
//! Upstream is acknowledged only after the target confirmed.

pub mod config;
pub mod mapping;
pub mod plan;
pub mod poison;
pub mod retry;
