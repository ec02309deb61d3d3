//! What the engine asks of a database: its ledger, its lock, and to run a migration. One implementation per system.
//!
//! Two promises carry everything else:
//!
//! - What a migration changes and what the ledger says of it are written in one transaction wherever the database has
//!   transactions for it; where it has none, the ledger says "begun" before and "done" after, and whoever finds "begun"
//!   looks at the database before doing anything.
//! - Nothing is written by who lost the lock: every write is fenced by the token that came with it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::ledger::{Direction, Entry, Id};
use crate::migration::{Body, Check, Migration, Options};
use crate::program::Programs;
use crate::verify;
use crate::watch::{BlockedSession, Event, Watch};

/// Kinds of databases, by the names of OpenTelemetry's `db.system.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    /// MongoDB.
    Mongodb,
    /// PostgreSQL.
    Postgresql,
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
    /// SQLite.
    Sqlite,
}

impl System {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mongodb => "mongodb",
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Sqlite => "sqlite",
        }
    }
}

/// A database that is migrated. Connects when asked something; what it is asked before [`Database::lock`] writes nothing,
/// and a user who may only read can ask it.
#[async_trait]
pub trait Database: Send + Sync {
    /// Which kind.
    fn system(&self) -> System;

    /// Where, for people and without secrets: "postgresql at 127.0.0.1:5432, database shop".
    fn address(&self) -> String;

    /// What the ledger holds, by id; nothing where there is no ledger yet.
    async fn ledger(&self) -> Result<Vec<Entry>>;

    /// Who holds the lock.
    async fn holder(&self) -> Result<Option<String>>;

    /// Makes ledger and lock where they are missing, and takes the lock if it is free or outlived. `who` is kept with it.
    async fn lock(&self, who: &str, lease: Duration) -> Result<Attempt>;

    /// What running this would do. Writes nothing.
    async fn predict(&self, body: &Body, options: &Options) -> Result<Vec<Prediction>>;

    /// The statements of this that the server's parser does not take: line in the file, and why. Writes nothing, and looks
    /// at no table: what is not there may be there by then.
    async fn unparsed(&self, body: &Body) -> Result<Vec<(usize, String)>> {
        let _ = body;
        Ok(Vec::new())
    }

    /// Whether what the check says is so; a sentence if not.
    async fn check(&self, check: &Check) -> Result<Option<String>>;

    /// Rows per table or collection as the server estimates them, and who waits for whom: for those who watch from outside.
    async fn sample(&self) -> Result<Sample>;
}

/// What [`Database::lock`] came to.
pub enum Attempt {
    /// It is ours.
    Locked(Box<dyn Session>),
    /// Somebody else's.
    Held {
        /// Who.
        by: String,
        /// When it can be taken at the latest, if whoever has it shows no sign of life.
        outlived_in: Duration,
    },
}

/// The lock, and the connection that it fences.
#[async_trait]
pub trait Session: Send {
    /// What keeps the lock alive while the session is at work.
    fn keeper(&self) -> Box<dyn Keeper>;

    /// What the ledger holds, read under the lock.
    async fn ledger(&mut self) -> Result<Vec<Entry>>;

    /// Writes an entry, new or changed.
    async fn write(&mut self, entry: &Entry) -> Result<()>;

    /// Takes an entry out.
    async fn erase(&mut self, id: &Id) -> Result<()>;

    /// Runs a migration from where `job.entry` stands, makes its checks, and has the ledger say so: [`crate::ledger::Outcome::Success`]
    /// after `up`, no entry after `down`. When it fails, `job.entry.progress` is what stays in the database, which the
    /// ledger's entry says too.
    async fn run(&mut self, job: &mut Job<'_>) -> Result<()>;

    /// Gives the lock back.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// Keeps a lock alive.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Extends the lease.
    ///
    /// # Errors
    /// [`crate::error::Kind::LockLost`] when it is somebody else's by now; others when nobody knows.
    async fn renew(&self) -> Result<()>;
}

/// A migration to be run.
pub struct Job<'a> {
    /// Which.
    pub migration: &'a Migration,
    /// Which way.
    pub direction: Direction,
    /// What is to be run.
    pub body: &'a Body,
    /// What must hold afterwards; nothing on the way down.
    pub checks: &'a [Check],
    /// Its entry, with how far it is.
    pub entry: Entry,
    /// How.
    pub options: &'a Options,
    /// Who runs plugins.
    pub programs: &'a Arc<dyn Programs>,
    /// Who is told.
    pub watch: &'a dyn Watch,
    /// Cancelled when the lock is lost or somebody asks to stop: to be looked at between two pieces of work.
    pub cancel: &'a CancellationToken,
}

/// The first wait before an attempt at what passes by itself; doubled each time, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Job<'_> {
    /// Whether to go on, rather than to stop as asked.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::stopped()) } else { Ok(()) }
    }

    /// Waits before the next attempt, if the error passes by itself and there were not too many; else gives it back.
    pub(crate) async fn passed(&self, attempt: u32, failed: Error) -> Result<()> {
        if failed.kind != Kind::Transient || attempt > self.options.lock_retries {
            return Err(failed);
        }
        let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST_WAIT);
        // Half of it at random: two that met must not meet again.
        let wait = doubled.mul_f64(rand::rng().random_range(0.5..1.0));
        let id = self.entry.id.to_text();
        self.watch.tell(&Event::Retried { id: &id, code: &failed.code, attempt: attempt + 1, wait });
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.cancel.cancelled() => Err(Error::stopped()),
        }
    }

    /// Whether copies are to be compared: by connections of their own, which see only what is committed.
    pub(crate) fn has_copies(&self) -> bool {
        self.checks.iter().any(|check| matches!(check, Check::Copy(_)))
    }

    /// Compares copies with their sources; a sentence for each that differs.
    pub(crate) async fn copies(&self) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        for check in self.checks {
            let Check::Copy(copy) = check else { continue };
            let fault = verify::fault(self.options.copies.as_ref(), copy).await?;
            self.checked(check, fault, &mut failures);
        }
        Ok(failures)
    }

    /// Tells of a check that was made, and keeps what it found.
    pub(crate) fn checked(&self, check: &Check, fault: Option<String>, failures: &mut Vec<String>) {
        let (id, words) = (self.entry.id.to_text(), check.to_string());
        self.watch.tell(&Event::Checked { id: &id, check: &words, fault: fault.as_deref() });
        failures.extend(fault.map(|fault| format!("{words}: {fault}")));
    }
}

/// The error of checks that failed, after `words`.
pub(crate) fn failed_checks(words: &str, failures: &[String]) -> Result<()> {
    match failures {
        [] => Ok(()),
        failures => Err(Error::new(Kind::CheckFailed, "check_failed", format!("{words}{}", failures.join("; ")))),
    }
}

/// What a step would do.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// What the step does, without values.
    pub what: String,
    /// Collection or table.
    pub place: Option<String>,
    /// Documents or rows it would touch.
    pub touched: Option<u64>,
    /// Whether `touched` was counted rather than estimated.
    pub exact: bool,
    /// In how many transactions.
    pub chunks: Option<u64>,
    /// Whether it fits one transaction of the server's.
    pub fits_transaction: Option<bool>,
    /// How long it would take, from a sample.
    pub duration_ms: Option<u64>,
    /// What else is to be known: locks it takes, rewrites of the table, why something could not be told.
    pub notes: Vec<String>,
}

/// A look at a database from outside.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Sample {
    /// Rows per table or collection, as the server estimates them.
    pub rows: Vec<(String, u64)>,
    /// Who waits for whom.
    pub blocked: Vec<BlockedSession>,
    /// What the server is at, with units done and in all: "CREATE INDEX orders: building index".
    pub progress: Vec<(String, u64, Option<u64>)>,
}
