//! Who may migrate: a row that says so for a while. Taking it over is a transaction of a writer's, as all that its holder
//! does: the file lets only one be at it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::error::{error, is_busy};
use super::ledger::{LockRow, Tables};
use super::session::SqliteSession;
use super::{blocking, file};
use crate::database::{Attempt, Keeper};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::now_ms;

/// How long it waits for another writer: whoever asks again does so soon.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes the lock if it is free or outlived.
pub(super) fn take(path: &Path, tables: &Tables, who: &str, lease: Duration) -> Result<Attempt> {
    let connection = match file::to_write(path, PATIENCE) {
        // Who writes one chunk after the other leaves hardly a moment to look at the file.
        Err(error) if is_busy(&error) => return Ok(somebody()),
        opened => opened?,
    };
    if let Err(cause) = connection.execute_batch("BEGIN IMMEDIATE") {
        let error = error("cannot look at the lock", &cause);
        return if is_busy(&error) { Ok(busy(&connection, tables)) } else { Err(error) };
    }
    let taken = within(&connection, tables, who, lease);
    let end = if matches!(taken, Ok(Ok(_))) { "COMMIT" } else { "ROLLBACK" };
    hit("migrate_lease_taken");
    if let Err(cause) = connection.execute_batch(end) {
        let error = error("cannot take the lock", &cause);
        let _ = connection.execute_batch("ROLLBACK");
        return if is_busy(&error) { Ok(busy(&connection, tables)) } else { Err(error) };
    }
    match taken? {
        Ok(token) => {
            let session = SqliteSession::new(connection, path.to_owned(), tables.clone(), token, lease);
            Ok(Attempt::Locked(Box::new(session)))
        }
        Err(row) => Ok(held(&row)),
    }
}

fn within(connection: &Connection, tables: &Tables, who: &str, lease: Duration) -> Result<Result<i64, LockRow>> {
    tables.make(connection)?;
    let missing = || Error::new(Kind::Database, "ledger", "the row of the lock is gone");
    let row = tables.lock_row(connection)?.ok_or_else(missing)?;
    if row.left_ms().is_some() {
        return Ok(Err(row));
    }
    tables.take(connection, who, row.token.saturating_add(1), expires(lease))?;
    Ok(Ok(row.token.saturating_add(1)))
}

/// When a lease that begins now is over.
pub(super) fn expires(lease: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

fn held(row: &LockRow) -> Attempt {
    let by = row.holder.clone().unwrap_or_else(|| "somebody".to_owned());
    Attempt::Held { by, outlived_in: Duration::from_millis(row.left_ms().unwrap_or(0)) }
}

/// Somebody is at a transaction: its runner, if there is one, cannot be outlived before that is over.
fn busy(connection: &Connection, tables: &Tables) -> Attempt {
    let row = match tables.exist(connection) {
        Ok(true) => tables.lock_row(connection).ok().flatten(),
        _ => None,
    };
    match row {
        Some(row) if row.holder.is_some() => held(&row),
        _ => somebody(),
    }
}

fn somebody() -> Attempt {
    Attempt::Held { by: "a process that writes to the file".to_owned(), outlived_in: Duration::ZERO }
}

/// Renews the lease, by a connection of its own.
pub(super) struct LeaseKeeper {
    pub(super) path: PathBuf,
    pub(super) tables: Tables,
    pub(super) token: i64,
    pub(super) lease: Duration,
    /// The session is in a transaction: nobody else can write, and it extends the lease itself when it commits.
    pub(super) writing: Arc<AtomicBool>,
}

#[async_trait]
impl Keeper for LeaseKeeper {
    async fn renew(&self) -> Result<()> {
        let Self { path, tables, token, lease, writing } = self;
        let (path, tables, token, lease, writing) = (path.clone(), tables.clone(), *token, *lease, Arc::clone(writing));
        blocking(move || {
            if writing.load(Ordering::SeqCst) {
                return Ok(());
            }
            let connection = file::to_write(&path, PATIENCE)?;
            match tables.renew(&connection, token, expires(lease)) {
                Err(error) if is_busy(&error) && writing.load(Ordering::SeqCst) => Ok(()),
                renewed => renewed,
            }
        })
        .await
    }
}
