//! Versioned migrations of databases: planned, locked, resumed, checked, and told as they go.
//!
//! The way of a migration:
//!
//! ```text
//! files ─► catalog ─► plan ◄─ ledger      what is to be run, or why nothing may be
//!                      │
//!                    engine ─► session     lock, run, check, record; one implementation per database
//!                      │
//!                    watch                 displays, metrics, spans, logs: not here, but in the agent
//! ```
//!
//! This crate knows no plugin engine, no metrics and no terminal: it is lent programs ([`program`]) and tells whoever
//! listens ([`watch`]). What holds everywhere:
//!
//! - A migration is applied once: [`database`] says by which two promises.
//! - Files are read whole and understood before anything is written.
//! - Nothing that is told holds row values or secrets.

pub mod catalog;
pub mod connect;
pub mod contents;
pub mod database;
pub mod engine;
pub mod error;
pub mod failpoints;
pub mod ledger;
pub mod migration;
pub mod mongodb;
pub mod observe;
pub mod plan;
pub mod program;
pub mod sql;
pub mod throttle;
pub mod tls;
pub mod verify;
pub mod version;
pub mod watch;
