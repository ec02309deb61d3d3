//! The ledger's two tables: their making, and entries as rows. Whoever writes has looked at the token in the same
//! transaction.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::error;
use crate::error::{Error, Result};
use crate::ledger::{Entry, Id, now_ms};
use crate::sql::Dialect;
use crate::sql::backfill::quote;
use crate::sql::record::{COLUMNS, Record, entries, lost};

/// The tables, quoted.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) ledger: String,
    pub(super) lock: String,
}

/// The row of the lock.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LockRow {
    pub(super) holder: Option<String>,
    pub(super) token: i64,
    pub(super) expires_at_ms: i64,
}

impl LockRow {
    /// For how long it is somebody's.
    pub(super) fn left_ms(&self) -> Option<u64> {
        self.holder.as_ref()?;
        u64::try_from(self.expires_at_ms.saturating_sub(now_ms())).ok().filter(|left| *left > 0)
    }
}

impl Tables {
    pub(super) fn new(ledger: &str) -> Result<Self> {
        if ledger.is_empty() || ledger.contains('\0') || ledger.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(Error::refused("the ledger's name is no name of a table", "choose another"));
        }
        let quoted = |name: &str| quote(name, Dialect::Sqlite);
        Ok(Self { ledger: quoted(ledger), lock: quoted(&format!("{ledger}_lock")) })
    }

    /// Whether they are there.
    pub(super) fn exist(&self, connection: &Connection) -> Result<bool> {
        let text = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN (?1, ?2)";
        let plain = |quoted: &str| quoted.trim_matches('"').replace("\"\"", "\"");
        let tables =
            connection.query_row(text, params![plain(&self.ledger), plain(&self.lock)], |row| row.get::<_, i64>(0));
        tables.map(|tables| tables == 2).map_err(|cause| error("cannot look for the ledger", &cause))
    }

    /// Makes what is missing; in a transaction.
    pub(super) fn make(&self, connection: &Connection) -> Result<()> {
        let Self { ledger, lock } = self;
        let text = format!(
            "CREATE TABLE IF NOT EXISTS {ledger} (
                id TEXT NOT NULL PRIMARY KEY,
                name TEXT NOT NULL,
                checksum TEXT NOT NULL,
                direction TEXT NOT NULL,
                outcome TEXT NOT NULL,
                run_by TEXT NOT NULL,
                started_at_ms INTEGER NOT NULL,
                finished_at_ms INTEGER,
                duration_ms INTEGER NOT NULL,
                attempts INTEGER NOT NULL,
                progress TEXT NOT NULL,
                error TEXT
            );
            CREATE TABLE IF NOT EXISTS {lock} (
                id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
                holder TEXT,
                token INTEGER NOT NULL,
                expires_at_ms INTEGER NOT NULL
            );
            INSERT OR IGNORE INTO {lock} VALUES (1, NULL, 0, 0)"
        );
        connection.execute_batch(&text).map_err(|cause| error("cannot make the ledger", &cause))
    }

    pub(super) fn lock_row(&self, connection: &Connection) -> Result<Option<LockRow>> {
        let text = format!("SELECT holder, token, expires_at_ms FROM {} WHERE id = 1", self.lock);
        let read = |row: &Row<'_>| Ok(LockRow { holder: row.get(0)?, token: row.get(1)?, expires_at_ms: row.get(2)? });
        let row = connection.query_row(&text, [], read).optional();
        row.map_err(|cause| error("cannot look at the lock", &cause))
    }

    /// Takes the lock; in a transaction that has looked at it.
    pub(super) fn take(&self, connection: &Connection, who: &str, token: i64, expires_at_ms: i64) -> Result<()> {
        let text = format!("UPDATE {} SET holder = ?1, token = ?2, expires_at_ms = ?3 WHERE id = 1", self.lock);
        let taken = connection.execute(&text, params![who, token, expires_at_ms]);
        taken.map(|_| ()).map_err(|cause| error("cannot take the lock", &cause))
    }

    /// Extends the lease, if the lock is still this token's: the fence of every transaction.
    pub(super) fn renew(&self, connection: &Connection, token: i64, expires_at_ms: i64) -> Result<()> {
        let text =
            format!("UPDATE {} SET expires_at_ms = ?2 WHERE id = 1 AND token = ?1 AND holder IS NOT NULL", self.lock);
        match connection.execute(&text, params![token, expires_at_ms]) {
            Ok(0) => Err(lost()),
            Ok(_) => Ok(()),
            Err(cause) => Err(error("cannot renew the lock's lease", &cause)),
        }
    }

    /// Gives the lock back.
    pub(super) fn release(&self, connection: &Connection, token: i64) -> Result<()> {
        let text = format!("UPDATE {} SET holder = NULL, expires_at_ms = 0 WHERE id = 1 AND token = ?1", self.lock);
        let released = connection.execute(&text, [token]);
        released.map(|_| ()).map_err(|cause| error("cannot give the lock back", &cause))
    }

    pub(super) fn read(&self, connection: &Connection) -> Result<Vec<Entry>> {
        let read = || {
            let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM {}", self.ledger))?;
            statement.query_map([], record)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        entries(read().map_err(|cause| error("cannot read the ledger", &cause))?)
    }

    pub(super) fn write(&self, connection: &Connection, entry: &Entry) -> Result<()> {
        let record = Record::of(entry)?;
        let text = format!(
            "INSERT OR REPLACE INTO {} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            self.ledger
        );
        let values = params![
            record.id,
            record.name,
            record.checksum,
            record.direction,
            record.outcome,
            record.run_by,
            record.started_at_ms,
            record.finished_at_ms,
            record.duration_ms,
            record.attempts,
            record.progress,
            record.error,
        ];
        connection.execute(&text, values).map(|_| ()).map_err(|cause| error("cannot write the ledger", &cause))
    }

    pub(super) fn erase(&self, connection: &Connection, id: &Id) -> Result<()> {
        let erased = connection.execute(&format!("DELETE FROM {} WHERE id = ?1", self.ledger), [id.to_text()]);
        erased.map(|_| ()).map_err(|cause| error("cannot write the ledger", &cause))
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        name: row.get(1)?,
        checksum: row.get(2)?,
        direction: row.get(3)?,
        outcome: row.get(4)?,
        run_by: row.get(5)?,
        started_at_ms: row.get(6)?,
        finished_at_ms: row.get(7)?,
        duration_ms: row.get(8)?,
        attempts: row.get(9)?,
        progress: row.get(10)?,
        error: row.get(11)?,
    })
}
