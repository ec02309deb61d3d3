//! Debezium connectors as desired state, kept in Kafka Connect through its REST API.
//!
//! The configuration says which connectors shall exist ([`settings`], [`desired`]); [`diff`] compares that with what
//! Connect has; [`apply`] makes it so; [`supervisor`] watches states and progress and restarts failed tasks within a
//! [`budget`]. Deciding is pure; only [`client`] and [`heartbeat`] touch the network. Nothing here deletes a connector,
//! a replication slot or a topic, and no secret leaves except to Connect itself ([`redact`]).

pub mod apply;
pub mod budget;
pub mod client;
pub mod desired;
pub mod diff;
pub mod error;
pub mod facts;
pub mod health;
pub mod heartbeat;
pub mod progress;
pub mod redact;
pub mod settings;
pub mod slot;
pub mod supervisor;
