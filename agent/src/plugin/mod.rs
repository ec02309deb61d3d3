//! The sandbox: loads WebAssembly components, checks them, bounds them and calls them.
//!
//! Knows no stage: a stage hands in its batch through [`EventBatch`] and gets it back. A guest has no files, no
//! environment, no sockets and no clock; it has the functions in `wit/` and nothing else. What it may use is in
//! [`Limits`], and what a failed call wrote never stands.
//!
//! The parts in the order a plugin meets them: [`Manifest`] (may it run here?), [`Cache`] (code, compiled once),
//! [`Plugin`] (linked, with its configuration), [`Instance`] (running).

mod batch;
#[expect(missing_docs, reason = "generated code; the WIT files document it")]
mod bindings;
pub mod bundled;
mod cache;
mod engine;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod host;
mod instance;
mod limits;
mod manifest;

pub use batch::{ColumnPath, Dictionary, EventBatch, Failure, Image, TextColumn, Value};
pub use cache::{Cache, Origin};
pub use engine::Engine;
pub use fault::{CallError, LoadError, Trap, TrapCause};
pub use instance::{Instance, Plugin};
pub use limits::{Limits, TICK};
pub use manifest::{Kind, Manifest, Refusal};
