//! Plugins for the Whimbrel agent, in a dozen lines.
//!
//! A plugin is a crate of type `cdylib` whose one type is its configuration and implements a trait: [`Transform`] changes
//! events, [`Rule`] judges statistics, [`Channel`] tells people, [`Migration`] changes a database. Compiled for
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
//! What never happens here: I/O, threads, a clock of the plugin's own. A plugin has only what the agent hands it, and that
//! only as far as the operator granted it.

extern crate self as whimbrel_plugin;

pub mod config;
pub mod http;
pub mod json;
pub mod manifest;
pub mod schema;

mod batch;
mod channel;
mod context;
mod dictionary;
mod failure;
mod glob;
mod mail;
mod migration;
mod packed;
mod rule;
mod stats;
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
pub use channel::{Alert, Channel, Status};
pub use context::{ChannelContext, Context, Level, Metrics, MigrationContext, State};
pub use dictionary::Dictionary;
pub use failure::Failure;
pub use glob::Glob;
pub use mail::Mail;
pub use migration::Migration;
pub use packed::Packed;
pub use rule::{Finding, Rule};
pub use stats::{Point, Series, Severity, Window};
pub use transform::Transform;
pub use value::Value;
pub use whimbrel_plugin_macros::{Config, channel, migration, rule, transform};

/// What a plugin file opens with.
pub mod prelude {
    pub use crate::config::Config;
    pub use crate::{Alert, Channel, ChannelContext, Status, channel};
    pub use crate::{Batch, Edit, Glob, Transform, transform};
    pub use crate::{Config, Context, Failure, Level, Value};
    pub use crate::{Finding, Point, Rule, Series, Severity, Window, rule};
    pub use crate::{Migration, MigrationContext, migration};
}

/// The guide's example compiles and does what the guide says.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Guide;

/// And so does the tutorial's.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-tutorial.md")]
struct Tutorial;
