//! The `migrations:` section as it may be written.
//!
//! Only shape and defaults live here; [`crate::migrations::config`] judges the values. Unknown fields are refused.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::raw::{Grants, Limits};
use super::secret::Secret;
use super::units::Millis;

/// A directory of migrations and the database that they are for.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Migrations {
    /// Name: letters, digits, `-` and `_`. `whimbrel migrate --name` and the status API call it so.
    pub name: String,
    /// Where the files are; relative to where the agent was started.
    pub directory: PathBuf,
    /// The database that is migrated.
    pub database: MigrationDatabase,
    /// What the table or collection is called that says what was applied. Default `whimbrel_migrations`.
    #[serde(default)]
    pub ledger: Option<String>,
    /// The lock that keeps two runners apart.
    #[serde(default)]
    pub lock: MigrationLock,
    /// SQL: how long a statement waits for a lock that somebody else holds, and has everybody behind it wait. Default 5s.
    #[serde(default)]
    pub lock_timeout: Option<Millis>,
    /// SQL: how often a statement that did not get its lock is tried again. Default 10.
    #[serde(default)]
    pub lock_retries: Option<u32>,
    /// Documents or rows of a chunk, where the step does not say. Default 2000.
    #[serde(default)]
    pub chunk: Option<u64>,
    /// When chunks wait for the replicas.
    #[serde(default)]
    pub throttle: MigrationThrottle,
    /// What `${name}` in SQL files stands for. Secrets do not belong here: what is put in is part of the statement.
    #[serde(default)]
    pub placeholders: IndexMap<String, String>,
    /// The linter for PostgreSQL.
    #[serde(default)]
    pub lint: MigrationLint,
    /// What a version means that is lower than one that was applied. Default `refuse`.
    #[serde(default)]
    pub out_of_order: Leniency,
    /// What a number means that is missing in a count of versions. Default `refuse`.
    #[serde(default)]
    pub gaps: Leniency,
    /// What `whimbrel run` does. Default `watch`.
    #[serde(default)]
    pub on_start: OnStart,
    /// What migrations that are plugins may use beyond the database and the log. Nothing, unless written here.
    #[serde(default)]
    pub grants: Grants,
    /// Limits of migrations that are plugins. Here a call may take 60s unless said otherwise.
    #[serde(default)]
    pub limits: Limits,
}

/// A database, by its kind.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum MigrationDatabase {
    /// MongoDB: a replica set or a sharded cluster.
    Mongodb(MigrationMongodb),
    /// PostgreSQL.
    Postgresql(MigrationPostgresql),
    /// MySQL or MariaDB.
    Mysql(MigrationMysql),
    /// SQLite.
    Sqlite(MigrationSqlite),
}

/// MongoDB that is migrated.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationMongodb {
    /// Connection string. May hold a password, so it is never printed.
    pub url: Secret,
    /// Database. Default: the one in `url`.
    #[serde(default)]
    pub database: Option<String>,
    /// PEM file of trusted authorities for TLS. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// PostgreSQL that is migrated.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationPostgresql {
    /// Connection string, `postgresql://user:password@host:port/database`. Never printed.
    pub url: Secret,
    /// Schema of the ledger, and of names without one. Default: the first of the user's `search_path`.
    #[serde(default)]
    pub schema: Option<String>,
    /// PEM file of trusted authorities for TLS. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// MySQL or MariaDB that is migrated.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationMysql {
    /// Connection string, `mysql://user:password@host:port/database`. Never printed.
    pub url: Secret,
    /// PEM file of trusted authorities for TLS. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// SQLite that is migrated.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationSqlite {
    /// The database file.
    pub path: PathBuf,
}

/// The lock that keeps two runners apart.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MigrationLock {
    /// How long it outlives the last sign of life of who holds it. Default 15s.
    pub lease: Option<Millis>,
    /// How long to wait for it. Default 60s.
    pub wait: Option<Millis>,
}

/// When chunks wait for the replicas.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MigrationThrottle {
    /// Replication lag from which chunks wait. Default 10s.
    pub above: Option<Millis>,
    /// Replication lag below which they go on. Default 5s.
    pub below: Option<Millis>,
    /// One chunk in this time is let through however far the replicas are behind. Default 30s.
    pub floor: Option<Millis>,
}

/// The linter for PostgreSQL.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MigrationLint {
    /// Rules that are not asked, by their names, such as `prefer-text-field`.
    pub off: Vec<String>,
}

/// What is done about something that is most often a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leniency {
    /// Nothing is run, and it is said why.
    #[default]
    Refuse,
    /// It is meant so.
    Allow,
}

/// What `whimbrel run` does with migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStart {
    /// Show what the ledger says, live.
    #[default]
    Watch,
    /// Apply what is pending before the pipelines start, and do not start when that fails.
    Apply,
}

super::opaque::opaque_debug!(
    Migrations,
    MigrationDatabase,
    MigrationMongodb,
    MigrationPostgresql,
    MigrationMysql,
    MigrationSqlite,
    MigrationLock,
    MigrationThrottle,
    MigrationLint,
);
