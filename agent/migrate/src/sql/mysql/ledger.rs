//! The ledger's two tables: their making, and entries as rows. That the lock's token is still ours is looked at before each
//! commit, by a read that locks: a take-over, which changes the row, comes before it or after the commit.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value, params};

use super::client::error;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Id};
use crate::sql::Dialect;
use crate::sql::backfill::quote;
use crate::sql::record::{COLUMNS, Record, entries, lost};

/// MySQL allows 64 signs.
const LONGEST_NAME: usize = 59;

/// The tables.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// Of the database.
    pub(super) database: String,
    /// Unquoted.
    pub(super) names: [String; 2],
    /// Quoted, with the database.
    pub(super) ledger: String,
    pub(super) lock: String,
}

impl Tables {
    pub(super) fn new(database: &str, ledger: &str) -> Result<Self> {
        if ledger.is_empty() || ledger.chars().count() > LONGEST_NAME || ledger.contains('\0') {
            let remedy = format!("write a name of 1 to {LONGEST_NAME} signs");
            return Err(Error::refused("the ledger's name is no name of a table", remedy));
        }
        let names = [ledger.to_owned(), format!("{ledger}_lock")];
        let quoted = |name: &str| format!("{}.{}", quote(database, Dialect::Mysql), quote(name, Dialect::Mysql));
        let [ledger, lock] = [quoted(&names[0]), quoted(&names[1])];
        Ok(Self { database: database.to_owned(), names, ledger, lock })
    }

    /// Whether they are there.
    pub(super) async fn exist(&self, conn: &mut Conn) -> Result<bool> {
        let [ledger, lock] = &self.names;
        let text = "SELECT count(*) FROM information_schema.tables WHERE table_schema = :database AND table_name IN (:ledger, :lock)";
        let values = params! {"database" => &self.database, "ledger" => ledger, "lock" => lock};
        let tables: std::result::Result<Option<u64>, _> = conn.exec_first(text, values).await;
        tables.map(|tables| tables == Some(2)).map_err(|cause| error("cannot look for the ledger", &cause))
    }

    /// Makes what is missing. These statements commit what there is.
    pub(super) async fn make(&self, conn: &mut Conn) -> Result<()> {
        if self.exist(conn).await? {
            return Ok(());
        }
        let Self { ledger, lock, .. } = self;
        let texts = [
            // Names of repeatables differ by case.
            format!(
                "CREATE TABLE IF NOT EXISTS {ledger} (
                    id varchar(255) NOT NULL PRIMARY KEY,
                    name varchar(1000) NOT NULL,
                    checksum varchar(100) NOT NULL,
                    direction varchar(10) NOT NULL,
                    outcome varchar(20) NOT NULL,
                    run_by varchar(1000) NOT NULL,
                    started_at_ms bigint NOT NULL,
                    finished_at_ms bigint,
                    duration_ms bigint NOT NULL,
                    attempts bigint NOT NULL,
                    progress longtext NOT NULL,
                    error longtext
                ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {lock} (
                    id smallint NOT NULL PRIMARY KEY,
                    holder varchar(1000),
                    token bigint NOT NULL,
                    server varchar(300),
                    expires_at datetime(6) NOT NULL
                ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin"
            ),
            format!("INSERT IGNORE INTO {lock} VALUES (1, NULL, 0, NULL, UTC_TIMESTAMP(6))"),
        ];
        for text in texts {
            conn.query_drop(text).await.map_err(|cause| error("cannot make the ledger", &cause))?;
        }
        Ok(())
    }

    /// All entries, in order.
    pub(super) async fn read(&self, conn: &mut Conn) -> Result<Vec<Entry>> {
        let text = format!("SELECT {COLUMNS} FROM {}", self.ledger);
        let rows: Vec<Row> = conn.exec(text, ()).await.map_err(|cause| error("cannot read the ledger", &cause))?;
        let unreadable = || {
            Error::refused(
                "the ledger is not as this agent makes it",
                "was it made by another tool? name another ledger",
            )
        };
        entries(rows.into_iter().map(record).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?)
    }

    /// Writes an entry, new or changed.
    pub(super) async fn write(&self, conn: &mut Conn, entry: &Entry) -> Result<()> {
        let record = Record::of(entry)?;
        let text = format!("REPLACE INTO {} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self.ledger);
        let values: Vec<Value> = vec![
            record.id.into(),
            record.name.into(),
            record.checksum.into(),
            record.direction.into(),
            record.outcome.into(),
            record.run_by.into(),
            record.started_at_ms.into(),
            record.finished_at_ms.into(),
            record.duration_ms.into(),
            record.attempts.into(),
            record.progress.into(),
            record.error.into(),
        ];
        conn.exec_drop(text, values).await.map_err(|cause| error("cannot write the ledger", &cause))
    }

    /// Takes an entry out; one that is not there is out already.
    pub(super) async fn erase(&self, conn: &mut Conn, id: &Id) -> Result<()> {
        let text = format!("DELETE FROM {} WHERE id = ?", self.ledger);
        conn.exec_drop(text, (id.to_text(),)).await.map_err(|cause| error("cannot write the ledger", &cause))
    }

    /// Whether the lock is still this token's, for as long as the transaction lasts.
    pub(super) async fn fence(&self, conn: &mut Conn, token: i64) -> Result<()> {
        let text = format!("SELECT token FROM {} WHERE id = 1 LOCK IN SHARE MODE", self.lock);
        let found: Option<i64> =
            conn.query_first(text).await.map_err(|cause| error("cannot look at the lock", &cause))?;
        if found == Some(token) { Ok(()) } else { Err(lost()) }
    }
}

fn record(mut row: Row) -> Option<Record> {
    fn take<T: mysql_async::prelude::FromValue>(row: &mut Row, index: usize) -> Option<T> {
        row.take_opt(index)?.ok()
    }
    Some(Record {
        id: take(&mut row, 0)?,
        name: take(&mut row, 1)?,
        checksum: take(&mut row, 2)?,
        direction: take(&mut row, 3)?,
        outcome: take(&mut row, 4)?,
        run_by: take(&mut row, 5)?,
        started_at_ms: take(&mut row, 6)?,
        finished_at_ms: take(&mut row, 7)?,
        duration_ms: take(&mut row, 8)?,
        attempts: take(&mut row, 9)?,
        progress: take(&mut row, 10)?,
        error: take(&mut row, 11)?,
    })
}

/// An answer that has not the form it should have.
pub(super) fn odd(what: &str) -> Error {
    Error::new(Kind::Database, "driver", format!("{what}: the answer is not as expected"))
}
