//! History in the file: points of the last hours row by row, what is older in chunks, what is too old or too much not at all.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Store, StoreError};
use crate::history::{Key, Point, Series, Step, chunk};
use crate::millis;

/// Points are packed when they are so old.
const LOOSE_MS: i64 = 2 * 3_600_000;
/// And then so much time of them at once.
const CHUNK_MS: i64 = 3_600_000;

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How long.
    pub age: Duration,
    /// The largest the file may become, bytes. When it is, the oldest goes first.
    pub bytes: u64,
}

impl Store {
    /// Writes what a step made.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is then.
    pub fn append(&self, step: &Step) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (key, value) in &step.points {
            let id = series_id(&transaction, key)?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO point (series, at_ms, value) VALUES (?1, ?2, ?3)")?
                .execute(params![id, step.start_ms, value])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Packs what is old enough and drops what is too old or too much. Worth a call each few minutes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tidy(&self, keep: Keep, now_ms: i64) -> Result<(), StoreError> {
        let mut connection = self.lock();
        while pack_oldest(&mut connection, now_ms)? {}
        connection.execute("DELETE FROM chunk WHERE end_ms < ?1", [now_ms.saturating_sub(millis(keep.age))])?;
        while used(&connection)? > keep.bytes {
            let oldest: Option<i64> = connection.query_row("SELECT min(end_ms) FROM chunk", [], |row| row.get(0))?;
            let Some(oldest) = oldest else { break };
            connection.execute("DELETE FROM chunk WHERE end_ms <= ?1", [oldest.saturating_add(CHUNK_MS)])?;
        }
        connection.execute(
            "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE series = series.id)
               AND NOT EXISTS (SELECT 1 FROM point WHERE series = series.id)",
            [],
        )?;
        // Each step of it gives back one page.
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
        let mut pages = vacuum.raw_query();
        while pages.next()?.is_some() {}
        drop(pages);
        drop(vacuum);
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// All points from `from_ms` until before `until_ms`, by series; of one scope, or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn points(&self, scope: Option<&str>, from_ms: i64, until_ms: i64) -> Result<Vec<Series>, StoreError> {
        let connection = self.lock();
        let mut all: HashMap<i64, Series> = HashMap::new();
        let mut statement =
            connection.prepare("SELECT id, scope, name, labels FROM series WHERE ?1 IS NULL OR scope = ?1")?;
        let mut rows = statement.query([scope])?;
        while let Some(row) = rows.next()? {
            let (scope, name, labels): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let labels: Vec<(String, String)> = serde_json::from_str(&labels)?;
            let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            let key = Key { scope: scope.into(), name: name.into(), labels };
            all.insert(row.get(0)?, Series { key, points: Vec::new() });
        }
        let mut statement = connection
            .prepare("SELECT series, points FROM chunk WHERE end_ms >= ?1 AND start_ms < ?2 ORDER BY start_ms")?;
        let mut rows = statement.query([from_ms, until_ms])?;
        while let Some(row) = rows.next()? {
            if let Some(series) = all.get_mut(&row.get(0)?) {
                let points = chunk::unpack(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
                series.points.extend(points.into_iter().filter(|point| (from_ms..until_ms).contains(&point.at_ms)));
            }
        }
        let mut statement = connection
            .prepare("SELECT series, at_ms, value FROM point WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms")?;
        let mut rows = statement.query([from_ms, until_ms])?;
        while let Some(row) = rows.next()? {
            if let Some(series) = all.get_mut(&row.get(0)?) {
                series.points.push(Point { at_ms: row.get(1)?, value: row.get(2)? });
            }
        }
        let mut all: Vec<Series> = all.into_values().filter(|series| !series.points.is_empty()).collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(all)
    }
}

fn series_id(transaction: &Transaction<'_>, key: &Key) -> Result<i64, StoreError> {
    let labels: Vec<(&str, &str)> = key.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    let labels = serde_json::to_string(&labels)?;
    let known = transaction
        .prepare_cached("SELECT id FROM series WHERE scope = ?1 AND name = ?2 AND labels = ?3")?
        .query_row(params![&*key.scope, &*key.name, labels], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    transaction.prepare_cached("INSERT INTO series (scope, name, labels) VALUES (?1, ?2, ?3)")?.execute(params![
        &*key.scope,
        &*key.name,
        labels
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// Packs the oldest hour of loose points, if it is old enough. Says whether there was one.
fn pack_oldest(connection: &mut Connection, now_ms: i64) -> Result<bool, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let oldest: Option<i64> = transaction.query_row("SELECT min(at_ms) FROM point", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(false) };
    let start_ms = oldest - oldest.rem_euclid(CHUNK_MS);
    let end_ms = start_ms.saturating_add(CHUNK_MS);
    if end_ms > now_ms.saturating_sub(LOOSE_MS) {
        return Ok(false);
    }
    let mut points: Vec<(i64, Point)> = Vec::new();
    {
        let mut statement =
            transaction.prepare("SELECT series, at_ms, value FROM point WHERE at_ms < ?1 ORDER BY series, at_ms")?;
        let mut rows = statement.query([end_ms])?;
        while let Some(row) = rows.next()? {
            points.push((row.get(0)?, Point { at_ms: row.get(1)?, value: row.get(2)? }));
        }
    }
    for of_one in points.chunk_by(|one, other| one.0 == other.0) {
        let (Some((series, first)), Some((_, last))) = (of_one.first(), of_one.last()) else { continue };
        let packed = chunk::pack(&of_one.iter().map(|(_, point)| *point).collect::<Vec<_>>())?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO chunk (series, start_ms, end_ms, points) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![series, first.at_ms, last.at_ms, packed])?;
    }
    transaction.execute("DELETE FROM point WHERE at_ms < ?1", [end_ms])?;
    transaction.commit()?;
    Ok(true)
}

/// Bytes of the file that are in use.
pub(super) fn used(connection: &Connection) -> Result<u64, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok(u64::try_from(pages * number("page_size")?).unwrap_or(0))
}
