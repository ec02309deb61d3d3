//! Whimbrel: an agent that carries data through change-data-capture pipelines, watches itself doing it and lets its users
//! put sandboxed WebAssembly plugins on the way.
//!
//! The modules in the order data flows: `source` reads records, `decode` makes events of them, `transform` runs the plugin
//! chain, `target` makes rows durable, `pipeline` joins the four; `stats` counts and `export` tells.

// Lets `target/fixture.rs` name this crate the same way here and in the tests crate.
#[cfg(test)]
extern crate self as whimbrel;

pub mod batch;
pub mod cli;
pub mod config;
pub mod connect;
pub mod decode;
pub mod demo;
pub mod event;
pub mod export;
pub mod faults;
pub mod pipeline;
pub mod plugin;
pub mod runtime;
pub mod source;
pub mod stats;
pub mod target;
pub mod transform;
