//! The monitor's file: history, incidents, silences, what the channels were told, and what is still to be delivered.
//!
//! One SQLite file that belongs to one agent and its user alone. What must not come apart is one transaction: that somebody
//! is to be told, and that it was decided.

mod history;
mod incidents;
mod open;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

pub use history::Keep;
pub use open::OpenError;
pub use queue::Queued;

/// Something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's words.
    #[error("the monitor's file could not be read or written; is the disk full?")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value cannot be understood.
    #[error("the monitor's file holds a value that cannot be read")]
    Json(#[from] serde_json::Error),
    /// A chunk of the history cannot be read.
    #[error("the monitor's file is damaged; move it away, and the history begins anew")]
    Chunk(#[from] crate::history::chunk::ChunkError),
}

/// The file, open.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    /// Says to others that the file has an owner; none: it is only read, or in memory.
    _owned: Option<std::fs::File>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left open is rolled back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
