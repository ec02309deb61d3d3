//! Whimbrel: an agent that carries data through change-data-capture pipelines, watches itself doing it and lets its users
//! put sandboxed WebAssembly plugins on the way.
//!
//! The modules stand in the order data flows: [`source`] reads records, [`decode`] makes events of them in a [`batch`],
//! [`transform`] runs the plugin chain through [`plugin`], [`target`] makes rows durable, and [`pipeline`] joins the four;
//! [`stats`] counts and [`export`] tells. Around them: [`egress`] (what plugins send), [`registry`] (where they
//! are pushed to and pulled from), [`config`], [`connect`],
//! [`migrations`], [`monitor`], [`doctor`], [`runtime`], [`author`], [`cli`], [`demo`].
//!
//! # Invariants
//!
//! What must always hold, and the test that says so:
//!
//! * Upstream is acknowledged only after the target confirmed; nothing but a confirmed write moves the frontier
//!   (`faults::mutants::offsets_committed_before_the_rows_are_caught_as_loss`, `faults::chaos`).
//! * A batch is written only where it follows directly on what the target holds
//!   (`faults::group::two_agents_that_both_believe_to_own_a_partition_double_nothing`).
//! * Every delivered change is an effect or a dead letter, and only one of them; order is kept per key
//!   (`pipeline::plan_tests`).
//! * [`decode`] never panics and gives exactly one event for each record (`decode` property tests, `agent/fuzz`).
//! * [`stats`] reports a lag of zero only with proof (`stats::lag` property tests, `e2e::watch`).
//! * A plugin that traps leaves the batch as it was (`transform::tests`).
//!
//! # What is deliberately absent
//!
//! * [`plugin`] knows no stage, a [`source`] names no target, and a [`target`] never decides to retry: that is one table,
//!   `pipeline/retry.rs`.
//! * [`decode`], [`stats`] and the planner have no sockets and no clock of their own.
//! * Secrets are reached by [`config::secret::Secret::expose`] alone and printed by nothing (`config::tests`).

// Lets `target/fixture.rs` name this crate the same way here and in the tests crate.
#[cfg(test)]
extern crate self as whimbrel;

pub mod source;

pub mod event;

pub mod batch;

pub mod decode;

pub mod transform;

pub mod plugin;

pub mod egress;

pub mod registry;

pub mod target;

pub mod pipeline;

pub mod stats;

pub mod export;

pub mod config;

pub mod connect;

pub mod migrations;

pub mod monitor;

pub mod doctor;

pub mod runtime;

pub mod author;

pub mod cli;

pub mod demo;

pub mod failpoints;

mod mutants;
