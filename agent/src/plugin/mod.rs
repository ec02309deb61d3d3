//! The sandbox: loads WebAssembly components, checks them, bounds them and calls them.
//!
//! Knows no stage: a stage hands in its batch through [`EventBatch`] and gets it back. A guest has no files, no
//! environment and no sockets; it has the functions in `wit/` as far as they were granted ([`Grants`]), and nothing
//! else. What it may use is in [`Limits`], and what a failed call wrote never stands.
//!
//! The parts in the order a plugin meets them: [`Manifest`] (may it run here?), [`Cache`] (code, compiled once),
//! [`Plugin`] (linked, with its configuration), [`Instance`] (running).

mod batch;
#[expect(missing_docs, reason = "generated code; the WIT files document it")]
mod bindings;
mod breaker;
pub mod bundled;
mod cache;
pub mod code;
#[cfg(test)]
mod contract;
pub mod egress;
mod engine;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod host;
mod instance;
mod limits;
mod manifest;
pub mod place;
pub mod repro;
pub mod rights;
pub mod services;
mod state_file;
pub mod store;
pub mod trust;
pub mod watch;
mod world;

pub use batch::{ColumnPath, Dictionary, EventBatch, Failure, Image, TextColumn, Value};
pub use bindings::types::Severity;
pub use breaker::BreakerLimits;
pub use cache::{Cache, Origin, digest};
pub use engine::Engine;
pub use fault::{CallError, LoadError, Trap, TrapCause};
pub use instance::{Instance, Plugin, Setup};
pub use limits::{Limits, TICK};
pub use manifest::{Interface, Kind, MAX_BYTES, Manifest, Refusal, SECTION, Wants};
pub use rights::Grants;
pub use services::{Sandbox, Services};
pub use state_file::{StateFile, StateFileError};
pub use world::{
    Alert, Channel, Database, Finding, Label, Migration, Point, Rule, Series, Status, Step, Transform, Window, World,
};
