//! The connection that has the lock: how statements and transactions are run on it. What is run is `run.rs`'s business.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::client::{commit_error, error};
use super::ledger::Tables;
use super::lock::{LeaseKeeper, release};
use super::second::Second;
use super::{activity, lent};
use crate::database::{Job, Keeper, Session};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Entry, Id};
use crate::migration::Body;
use crate::sql::Dialect;
use crate::sql::backfill::quote;

/// The lock and its connection.
pub(super) struct MysqlSession {
    /// None while it is lent, or lost with whom it was lent to.
    pub(super) conn: Option<Conn>,
    pub(super) id: u32,
    pub(super) server: Server,
    pub(super) tables: Tables,
    pub(super) token: i64,
    pub(super) lease: Duration,
    pub(super) second: Arc<Second>,
}

/// What the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) mariadb: bool,
    /// Whether a statement that defines something is carried out whole or not at all: MySQL 8.0, MariaDB 10.6.
    pub(super) atomic: bool,
}

impl Server {
    /// Asks it.
    pub(super) async fn ask(conn: &mut Conn) -> Result<Self> {
        let doing = |cause: mysql_async::Error| error("cannot ask the server what it is", &cause);
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(doing)?;
        Ok(Self::of(&version.unwrap_or_default()))
    }

    fn of(version: &str) -> Self {
        let mariadb = version.contains("MariaDB");
        let mut numbers = version.split(|sign: char| !sign.is_ascii_digit()).map(|part| part.parse().unwrap_or(0_u32));
        let first = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { mariadb, atomic: first >= if mariadb { (10, 6) } else { (8, 0) } }
    }
}

/// Ends the statement at work when whoever waits for it is gone: the server would carry it out all the same.
struct Guard {
    armed: Option<(Arc<Second>, u32)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((second, id)) = self.armed.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move { second.end_statement(id).await });
    }
}

impl MysqlSession {
    pub(super) fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| Error::new(Kind::Connection, "connection_failure", "the connection is gone"))
    }

    /// The session as a migration finds it, whatever the one before has set.
    pub(super) async fn reset(&mut self, job: &Job<'_>) -> Result<()> {
        // The server counts in seconds.
        let seconds = job.options.lock_timeout.as_millis().div_ceil(1_000).clamp(1, 1 << 24);
        let database = quote(&self.tables.database, Dialect::Mysql);
        let texts = [
            format!("USE {database}"),
            "SET NAMES utf8mb4".to_owned(),
            format!(
                "SET SESSION autocommit = 1, sql_mode = DEFAULT, foreign_key_checks = DEFAULT, unique_checks = DEFAULT,
                time_zone = DEFAULT, wait_timeout = 86400, lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}"
            ),
        ];
        for text in texts {
            self.execute("cannot set up the connection", &text).await?;
        }
        Ok(())
    }

    /// Runs something of our own.
    pub(super) async fn execute(&mut self, doing: &str, text: &str) -> Result<()> {
        self.conn()?.query_drop(text).await.map_err(|cause| error(doing, &cause))
    }

    /// Runs a statement of the migration's: rows that it changed. Meanwhile it is looked at and told how it gets on; when
    /// somebody asks to stop, it is ended.
    pub(super) async fn statement(&mut self, job: &Job<'_>, text: &str) -> Result<u64> {
        let (id, mariadb, second) = (self.id, self.server.mariadb, Arc::clone(&self.second));
        let mut guard = Guard { armed: Some((Arc::clone(&second), id)) };
        let conn = self.conn()?;
        let migration = job.migration.id.to_text();
        let done = {
            let work = async { conn.query_drop(text).await.map(|()| conn.affected_rows()) };
            let mut work = pin!(activity::watched(&second, id, mariadb, &migration, job.watch, work));
            tokio::select! {
                biased;
                done = &mut work => done,
                () = job.cancel.cancelled() => {
                    second.end_statement(id).await;
                    work.await
                }
            }
        };
        guard.armed = None;
        done.map_err(|cause| error("the statement failed", &cause))
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        self.execute("cannot begin a transaction", "START TRANSACTION").await
    }

    /// Commits, if the lock is still ours.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let (tables, token) = (self.tables.clone(), self.token);
        let conn = self.conn()?;
        tables.fence(conn, token).await?;
        hit("migrate_before_commit");
        let committed = conn.query_drop("COMMIT").await;
        hit("migrate_after_commit");
        committed.map_err(|cause| commit_error(&cause))
    }

    /// Rolls back whatever there is.
    pub(super) async fn roll_back(&mut self) {
        if let Some(conn) = &mut self.conn {
            // A connection that is broken has rolled back by itself.
            let _ = conn.query_drop("ROLLBACK").await;
        }
    }

    /// Writes an entry in a transaction of its own.
    pub(super) async fn note(&mut self, entry: &Entry) -> Result<()> {
        self.begin().await?;
        let tables = self.tables.clone();
        let written = match tables.write(self.conn()?, entry).await {
            Ok(()) => self.commit().await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            self.roll_back().await;
        }
        written
    }
}

#[async_trait]
impl Session for MysqlSession {
    fn keeper(&self) -> Box<dyn Keeper> {
        let (second, tables) = (Arc::clone(&self.second), self.tables.clone());
        Box::new(LeaseKeeper { second, tables, token: self.token, lease: self.lease })
    }

    async fn ledger(&mut self) -> Result<Vec<Entry>> {
        let (tables, token) = (self.tables.clone(), self.token);
        let conn = self.conn()?;
        tables.fence(conn, token).await?;
        tables.read(conn).await
    }

    async fn write(&mut self, entry: &Entry) -> Result<()> {
        self.roll_back().await;
        self.note(entry).await
    }

    async fn erase(&mut self, id: &Id) -> Result<()> {
        self.roll_back().await;
        self.begin().await?;
        let tables = self.tables.clone();
        let erased = match tables.erase(self.conn()?, id).await {
            Ok(()) => self.commit().await,
            Err(error) => Err(error),
        };
        if erased.is_err() {
            self.roll_back().await;
        }
        erased
    }

    async fn run(&mut self, job: &mut Job<'_>) -> Result<()> {
        match job.body {
            Body::Sql(script) => self.script(job, script).await,
            Body::Plugin(plugin) => lent::run(self, job, plugin).await,
            Body::Mongodb(_) => Err(Error::refused("these are steps of MongoDB", "run them on MongoDB")),
        }
    }

    async fn release(mut self: Box<Self>) -> Result<()> {
        let (tables, token) = (self.tables.clone(), self.token);
        self.roll_back().await;
        release(self.conn()?, &tables, token).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_whether_statements_are_atomic() {
        for (version, mariadb, atomic) in [
            ("10.11.6-MariaDB-0+deb12u1-log", true, true),
            ("10.5.23-MariaDB", true, false),
            ("11.4.2-MariaDB", true, true),
            ("8.0.36", false, true),
            ("8.4.0-commercial", false, true),
            ("5.7.44-log", false, false),
            ("", false, false),
        ] {
            assert_eq!(Server::of(version), Server { mariadb, atomic }, "{version}");
        }
    }
}
