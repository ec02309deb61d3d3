//! What happens, told as it happens: displays, metrics, spans, logs and the status API all live on this and nothing else.
//!
//! Counts of [`Event::Committed`] are committed: they never come from inside an attempt that may be undone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::database::System;
use crate::ledger::{Direction, Progress};

/// Who is told.
pub trait Watch: Send + Sync {
    /// Something happened. Called on the runner's way: it must be quick and must not wait.
    fn tell(&self, event: &Event<'_>);
}

/// Something that happened, `id` saying to which migration: its [`crate::ledger::Id`] as text, or what whoever observes
/// somebody else's tool calls it.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Somebody else holds the lock; told once a second.
    WaitingForLock {
        /// Who: `user@host`, and the process.
        holder: &'a str,
        /// For how long already.
        since: Duration,
    },
    /// A migration begins, or goes on where another run left it.
    Started {
        /// Which.
        id: &'a str,
        /// Its name.
        name: &'a str,
        /// Of which kind of database; none: not known.
        system: Option<System>,
        /// Which way.
        direction: Direction,
        /// How many steps there are.
        steps: usize,
        /// What other runs have done of it.
        progress: &'a Progress,
    },
    /// A step begins.
    StepStarted {
        /// Which migration.
        id: &'a str,
        /// Which step, from 0.
        index: usize,
        /// What it does, without values: "update orders", "create index orders_total".
        what: &'a str,
        /// Collection or table.
        place: Option<&'a str>,
        /// Documents or rows it will touch, where known or estimated.
        expected: Option<u64>,
    },
    /// Work was done that may still be undone.
    Attempted {
        /// Which migration.
        id: &'a str,
        /// Collection or table.
        place: &'a str,
        /// Documents or rows.
        count: u64,
    },
    /// A chunk was committed.
    Committed {
        /// Which migration.
        id: &'a str,
        /// Collection or table.
        place: &'a str,
        /// Documents or rows of this chunk.
        count: u64,
        /// When it began.
        started: SystemTime,
        /// Where the migration stands now.
        progress: &'a Progress,
    },
    /// The server says how far the statement it is at has come (`pg_stat_progress_*`); nothing of it is committed.
    Measured {
        /// Which migration.
        id: &'a str,
        /// In the server's words: "building index: scanning table".
        phase: &'a str,
        /// Units done, and in all, where the server says.
        done: u64,
        /// Units in all.
        total: Option<u64>,
    },
    /// The statement waits for others, or others wait for it; told when it changes.
    Blocked {
        /// Which migration.
        id: &'a str,
        /// Who holds whom up.
        sessions: &'a [BlockedSession],
    },
    /// Chunks wait for the replicas.
    Throttled {
        /// Which migration.
        id: &'a str,
        /// How far the furthest replica is behind.
        lag: Duration,
        /// How long the wait was.
        waited: Duration,
    },
    /// An attempt failed in a way that passes.
    Retried {
        /// Which migration.
        id: &'a str,
        /// What the server calls it.
        code: &'a str,
        /// Which attempt comes next, from 2.
        attempt: u32,
        /// After which wait.
        wait: Duration,
    },
    /// A step is done.
    StepEnded {
        /// Which migration.
        id: &'a str,
        /// Which step, from 0.
        index: usize,
        /// What it does, without values.
        what: &'a str,
        /// When it began.
        started: SystemTime,
        /// What the server calls what went wrong.
        error: Option<&'a str>,
    },
    /// A check was made.
    Checked {
        /// Which migration.
        id: &'a str,
        /// The check, in words.
        check: &'a str,
        /// What it found, where it is not as it should be.
        fault: Option<&'a str>,
    },
    /// A migration is over.
    Ended {
        /// Which.
        id: &'a str,
        /// Which way it went.
        direction: Direction,
        /// When it began.
        started: SystemTime,
        /// What went wrong: code and sentence.
        error: Option<(&'a str, &'a str)>,
        /// Where it stands.
        progress: &'a Progress,
    },
}

/// A session that waits for another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BlockedSession {
    /// The server's number of the session that waits.
    pub waiting: i64,
    /// The server's number of the one it waits for.
    pub blocked_by: i64,
    /// Whether the one it waits for is the migration's.
    pub by_us: bool,
    /// For how long it waits, milliseconds.
    pub waiting_ms: u64,
    /// What is waited for: "AccessExclusiveLock on orders".
    pub what: String,
    /// User of the other session (not the migration's).
    pub user: String,
    /// Application of the other session.
    pub application: String,
}

/// Tells everybody on a list.
#[derive(Clone, Default)]
pub struct Watchers(Vec<Arc<dyn Watch>>);

impl Watchers {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, watch: Arc<dyn Watch>) -> Self {
        self.0.push(watch);
        self
    }
}

impl Watch for Watchers {
    fn tell(&self, event: &Event<'_>) {
        for watch in &self.0 {
            watch.tell(event);
        }
    }
}
