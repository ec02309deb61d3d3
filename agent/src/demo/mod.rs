//! The demo: the agent's main job with no server at all.
//!
//! An in-process broker, a shop whose changes are written as a Debezium connector would write them, a pipeline with a masking
//! plugin into a SQLite file; at the end a proof that nothing was lost, doubled or left unmasked.

mod envelope;
mod generator;
mod ledger;
mod poison;
mod proof;
mod run;
mod schedule;
mod seen;
mod shop;
mod view;
mod world;

pub use run::{DemoError, Options, StartPipeline, Summary, run};
