//! Which target a configuration names, validated; and the target made of it.

use std::time::Duration;

use super::{DeliveryMode, Target, mongodb, postgres, sqlite, stdout};
use crate::config::invalid::Invalid;
use crate::config::raw;

/// Validated settings of a target.
#[derive(Debug, Clone)]
pub enum TargetConfig {
    /// MongoDB.
    Mongodb(mongodb::Settings),
    /// PostgreSQL.
    Postgresql(postgres::Settings),
    /// SQLite.
    Sqlite(sqlite::Settings),
    /// NDJSON.
    Stdout(stdout::Settings),
}

/// Whether the target keeps offsets, so that rows and offsets can be one transaction.
#[must_use]
pub const fn keeps_offsets(raw: &raw::Target) -> bool {
    !matches!(raw, raw::Target::Stdout(_))
}

impl TargetConfig {
    /// Checks the section.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(raw: &raw::Target, mode: DeliveryMode, delete_grace: Duration) -> Result<Self, Invalid> {
        match raw {
            raw::Target::Mongodb(raw) => mongodb::Settings::from_raw(raw, mode, delete_grace)
                .map(Self::Mongodb)
                .map_err(|e| e.within("mongodb")),
            raw::Target::Postgresql(raw) => postgres::Settings::from_raw(raw, delete_grace)
                .map(Self::Postgresql)
                .map_err(|e| e.within("postgresql")),
            raw::Target::Sqlite(raw) => {
                sqlite::Settings::from_raw(raw, delete_grace).map(Self::Sqlite).map_err(|e| e.within("sqlite"))
            }
            raw::Target::Stdout(raw) => {
                stdout::Settings::from_raw(raw).map(Self::Stdout).map_err(|e| e.within("stdout"))
            }
        }
    }

    /// The word for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mongodb(_) => "mongodb",
            Self::Postgresql(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
            Self::Stdout(_) => "stdout",
        }
    }

    /// A target that is not open yet.
    #[must_use]
    pub fn build(&self) -> Box<dyn Target> {
        match self.clone() {
            Self::Mongodb(settings) => Box::new(mongodb::MongoTarget::new(settings)),
            Self::Postgresql(settings) => Box::new(postgres::PostgresTarget::new(settings)),
            Self::Sqlite(settings) => Box::new(sqlite::SqliteTarget::new(settings)),
            Self::Stdout(settings) => Box::new(stdout::StdoutTarget::new(settings)),
        }
    }
}
