//! A migration as read from its files, ready to run. Where it comes from is `catalog/`'s business, what its steps mean each
//! database's.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ledger::{Direction, Id};
use crate::{mongodb, sql, verify};

/// One versioned change.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Which.
    pub id: Id,
    /// Its name: "add total to orders".
    pub name: String,
    /// The file of the change, below the directory.
    pub file: PathBuf,
    /// SHA-256 of what is in that file (and of the plugin and its configuration), line ends as `\n`, lower-case hex.
    pub checksum: String,
    /// Makes the change.
    pub up: Body,
    /// Undoes it.
    pub down: Option<Body>,
    /// What must hold when the change is made.
    pub checks: Vec<Check>,
}

impl Migration {
    /// What is to be run this way.
    #[must_use]
    pub const fn body(&self, direction: Direction) -> Option<&Body> {
        match direction {
            Direction::Up => Some(&self.up),
            Direction::Down => self.down.as_ref(),
        }
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub enum Body {
    /// SQL statements and backfills.
    Sql(sql::Script),
    /// MongoDB steps.
    Mongodb(mongodb::Script),
    /// A component of kind "migration".
    Plugin(PluginFile),
}

/// A plugin that is a migration, or one half of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginFile {
    /// The component, a path that can be opened.
    pub path: PathBuf,
    /// Its configuration.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// Something that must hold after a migration.
#[derive(Debug, Clone)]
pub enum Check {
    /// Of a SQL database.
    Sql(sql::Check),
    /// Of MongoDB.
    Mongodb(mongodb::Check),
    /// A copied table is as its source: costs a pass over both, and is looked at only with `--verify`.
    Copy(verify::Copy),
}

/// How migrations are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the lock outlives the last sign of life of who holds it.
    pub lease: Duration,
    /// How long to wait for the lock.
    pub wait: Duration,
    /// SQL: how long a statement waits for a lock that somebody else holds.
    pub lock_timeout: Duration,
    /// SQL: how often a statement that did not get its lock is tried again.
    pub lock_retries: u32,
    /// Documents or rows of a chunk, unless the step says otherwise.
    pub chunk: u64,
    /// How chunks are slowed down.
    pub throttle: Throttle,
    /// Where copied tables are compared; none: those checks, which cost a pass over both tables, are left out.
    pub copies: Option<Copies>,
}

/// Where tables and their copies are.
#[derive(Debug, Clone)]
pub struct Copies {
    /// The tables that were copied; often the same database.
    pub source: verify::Endpoint,
    /// Their copies: the database of the migrations.
    pub target: verify::Endpoint,
}

/// When chunks wait for the replicas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Replication lag from which chunks wait.
    pub above: Duration,
    /// Replication lag below which they go on.
    pub below: Duration,
    /// However far the replicas are behind, one chunk in this time is let through: a replica that is gone for good must not
    /// stop the migration.
    pub floor: Duration,
}

/// A dead runner is noticed after 15 s, and a pause of some seconds is not taken for death.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// Longer than [`DEFAULT_LEASE`]: a dead runner's lock is outlived without a second start.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// A statement that waits for a lock has everybody behind it wait too: 5 s is what most clients bear.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// With waits that double from 1 s to 30 s, some four minutes.
pub const DEFAULT_LOCK_RETRIES: u32 = 10;
/// A chunk of 2,000 documents of 1 KiB takes some 50 ms: far below 16 MB and 60 s, and the cost of a commit hardly shows.
pub const DEFAULT_CHUNK: u64 = 2_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: DEFAULT_LEASE,
            wait: DEFAULT_WAIT,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
            lock_retries: DEFAULT_LOCK_RETRIES,
            chunk: DEFAULT_CHUNK,
            throttle: Throttle {
                above: Duration::from_secs(10),
                below: Duration::from_secs(5),
                floor: Duration::from_secs(30),
            },
            copies: None,
        }
    }
}

impl Body {
    /// How many steps there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Sql(script) => script.steps.len(),
            Self::Mongodb(script) => script.steps.len(),
            Self::Plugin(_) => 1,
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(check) => check.fmt(f),
            Self::Mongodb(check) => check.fmt(f),
            Self::Copy(copy) => write!(f, "{} is as {}", copy.to, copy.from),
        }
    }
}
