//! Migrations, wired to people: what [`whimbrel_migrate`] tells of becomes metrics, spans, log lines, a display and the status
//! API here, and its plugins run in the sandbox.
//!
//! Nothing here decides what is run, or in which order: that is the crate's business, and it is told only whom to tell.

pub mod config;
pub mod meter;
