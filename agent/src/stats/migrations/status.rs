//! Migrations as `/api/v1/migrations` shows them. Fields are added, never renamed or removed, within `v1`.

use serde::Serialize;
use whimbrel_migrate::watch::BlockedSession;

/// Everything that is known of migrations here.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationsStatus {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Who holds the lock that this process waits for.
    pub waiting_for_lock: Option<WaitingForLock>,
    /// The configured directories, and when their ledgers were read.
    pub sets: Vec<SetStatus>,
    /// The migrations, by set and version.
    pub migrations: Vec<MigrationStatus>,
}

/// A wait for somebody else's lock.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingForLock {
    /// Who has it.
    pub holder: String,
    /// For how long it is waited.
    pub waited_ms: u64,
}

/// A directory of migrations and its database.
#[derive(Debug, Clone, Serialize)]
pub struct SetStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where the database is, without secrets.
    pub database: String,
    /// When its ledger was read, milliseconds since 1970.
    pub read_at_ms: Option<i64>,
    /// Why it could not be read the last time.
    pub error: Option<String>,
}

/// A migration.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationStatus {
    /// Its version, or what `--migration-id` says.
    pub id: String,
    /// The set it belongs to; empty outside `whimbrel run`.
    pub set: String,
    /// Its name.
    pub name: String,
    /// Kind of database, as OpenTelemetry names it.
    pub system: Option<&'static str>,
    /// `pending`, `running`, `applied`, `failed`, `undone`, `changed`, `missing` or `out_of_order`.
    pub state: &'static str,
    /// `up` or `down`.
    pub direction: Option<&'static str>,
    /// Whether this process runs it.
    pub here: bool,
    /// Who ran it last.
    pub by: Option<String>,
    /// When it began last, milliseconds since 1970.
    pub started_at_ms: Option<i64>,
    /// When it ended.
    pub finished_at_ms: Option<i64>,
    /// Milliseconds of work, over all attempts.
    pub duration_ms: Option<u64>,
    /// How often it was begun.
    pub attempts: Option<u32>,
    /// How many steps it has.
    pub steps: Option<usize>,
    /// How many of them are done.
    pub step: Option<u32>,
    /// What is done now, without values.
    pub what: Option<String>,
    /// What the server says it is at.
    pub phase: Option<String>,
    /// Documents or rows per collection or table.
    pub places: Vec<PlaceStatus>,
    /// From 0 to 1, where it can be told.
    pub progress_ratio: Option<f64>,
    /// Documents or rows committed a second.
    pub per_second: Option<f64>,
    /// Until the step that runs is done, at this pace.
    pub eta_seconds: Option<f64>,
    /// Who waits for whom.
    pub blocked: Vec<BlockedSession>,
    /// How far the replicas were behind when chunks waited for them last.
    pub replication_lag_ms: Option<u64>,
    /// Attempts that failed in a way that passes.
    pub retries: u64,
    /// What went wrong last.
    pub last_error: Option<ErrorStatus>,
}

impl MigrationStatus {
    /// Its id, behind the name of its set where it has one: `shop/7`.
    #[must_use]
    pub fn label(&self) -> String {
        if self.set.is_empty() { self.id.clone() } else { format!("{}/{}", self.set, self.id) }
    }
}

/// Documents or rows of one collection or table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceStatus {
    /// Collection or table.
    pub name: String,
    /// Committed.
    pub done: u64,
    /// How many there will be.
    pub expected: Option<u64>,
    /// Tried, whether it was committed or not; only of what this process ran.
    pub attempted: u64,
}

/// An error, without row values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorStatus {
    /// What the server calls it.
    pub code: String,
    /// In words.
    pub message: String,
}
