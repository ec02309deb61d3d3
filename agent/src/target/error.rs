//! What can go wrong at a target: a closed set of kinds. What is done about each stands in one table,
//! `pipeline/retry.rs`; a new kind does not compile until it has its place there.

use std::sync::Arc;

/// Kind of a target's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    // -- retry the batch
    /// Connection refused, reset, timed out before anything was committed.
    Network,
    /// The server is not (or no longer) primary, is starting or shutting down (57P01..03, MongoDB 10107, 11600, …).
    NotPrimary,
    /// Serialization failure, deadlock, lock or statement timeout (40001, 40P01, 55P03, MongoDB 112, 251, TransientTransactionError, SQLITE_BUSY).
    Conflict,
    /// Out of memory, connections, or another resource that comes back (53xxx but disk full).
    Overloaded,
    // -- outcome unknown
    /// The commit was sent, its answer did not come (UnknownTransactionCommitResult, connection lost after COMMIT).
    CommitUnknown,
    // -- row-local
    /// A value does not fit (22xxx, conversion failed before sending).
    BadValue,
    /// A constraint, validator or unique index refused the row (23xxx, MongoDB 121, 11000 on another index).
    Constraint,
    /// The row is too large for the target.
    RowTooLarge,
    // -- needs a human
    /// Login refused.
    Authentication,
    /// A permission is missing.
    Authorization,
    /// A table, column or database is missing, or differs from what the batch needs.
    SchemaMismatch,
    /// Disk full, read-only, quota.
    Storage,
    /// The configuration asks for what this server cannot do (no transactions on a standalone mongod, …).
    Unsupported,
    /// Anything else: never dropped, never retried blindly.
    Unknown,
    // -- ownership
    /// The compare-and-set on the state row missed: another agent moved the partition on.
    Fenced,
    /// A key parked by an earlier dead letter is no longer parked (re-driven meanwhile): plan again.
    Unparked,
}

/// A target's failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// Kind, decides what happens.
    pub kind: ErrorKind,
    /// What, where, and how to mend it; no row values, no secrets.
    pub message: String,
    /// Event the failure is about, when the target could tell (index into the batch's events).
    pub event: Option<u32>,
    /// The driver's error.
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TargetError {
    /// An error without a cause of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), event: None, source: None }
    }

    /// Adds the driver's error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Names the event it is about.
    #[must_use]
    pub fn at_event(mut self, event: u32) -> Self {
        self.event = Some(event);
        self
    }
}
