//! Plugins for the Whimbrel agent, in a dozen lines.
//!
//! A plugin is a crate of type `cdylib` whose one type is its configuration and implements a trait. Compiled for
//! `wasm32-unknown-unknown` and encoded as a component it runs inside the agent's sandbox; in a plain `cargo test`
//! the same code runs natively over events in memory ([`testing`]).
//!
//! ```
//! use whimbrel_plugin::prelude::*;
//!
//! /// Puts names in capitals.
//! #[derive(Config)]
//! struct Capitals { #[config(default = "name")] column: String }
//!
//! #[transform]
//! impl Transform for Capitals {
//!     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
//!         batch.map_text(&format!("after.{}", self.column), str::to_uppercase)
//!     }
//! }
//! ```
//!
//! What never happens here: I/O, clocks, threads. A plugin has only what the agent hands it.

extern crate self as whimbrel_plugin;

pub mod config;
pub mod json;
pub mod manifest;
pub mod schema;

mod batch;
mod context;
mod dictionary;
mod failure;
mod glob;
mod packed;
mod transform;
mod value;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(target_arch = "wasm32")]
use guest::host;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
use native as host;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use batch::{Batch, Edit, RowText};
pub use context::{Context, Level};
pub use dictionary::Dictionary;
pub use failure::Failure;
pub use glob::Glob;
pub use packed::Packed;
pub use transform::Transform;
pub use value::Value;
pub use whimbrel_plugin_macros::{Config, transform};

/// What a plugin file opens with.
pub mod prelude {
    pub use crate::config::Config;
    pub use crate::{Batch, Config, Context, Edit, Failure, Glob, Level, Transform, transform};
}

/// The guide's example compiles and does what the guide says.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Guide;
