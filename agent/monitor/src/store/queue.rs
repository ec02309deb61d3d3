//! What is to be delivered, in the file, until a channel took it. Each channel's queue is worked off in order: an end is
//! never told before its beginning.

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::{Store, StoreError};
use crate::incident::Alert;

/// Something to be delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Queued {
    /// Its number; a later one of the same channel waits for it.
    pub id: i64,
    /// The channel's name.
    pub channel: String,
    /// What it is to tell.
    pub alerts: Vec<Alert>,
    /// When it was decided, milliseconds since 1970.
    pub created_ms: i64,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// Whether the fallback has it too.
    pub passed_on: bool,
}

impl Store {
    /// What this channel is to deliver next, when it is time for it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&self, channel: &str, now_ms: i64) -> Result<Option<Queued>, StoreError> {
        let connection = self.lock();
        let head = connection
            .prepare_cached(
                "SELECT id, alerts, created_ms, attempts, passed_on, next_ms FROM delivery WHERE channel = ?1
                 ORDER BY id LIMIT 1",
            )?
            .query_row([channel], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, u32>(3)?,
                    row.get::<_, bool>(4)?,
                    row.get::<_, i64>(5)?,
                ))
            })
            .optional()?;
        let Some((id, alerts, created_ms, attempts, passed_on, next_ms)) = head else { return Ok(None) };
        if next_ms > now_ms {
            return Ok(None);
        }
        let alerts = serde_json::from_str(&alerts)?;
        Ok(Some(Queued { id, channel: channel.to_owned(), alerts, created_ms, attempts, passed_on }))
    }

    /// It is delivered, or given up: it is in the queue no longer.
    ///
    /// # Errors
    /// When the file cannot be written; it will be delivered again then.
    pub fn done(&self, id: i64) -> Result<(), StoreError> {
        self.lock().prepare_cached("DELETE FROM delivery WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    /// It was tried in vain, and is to be tried again then.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn retry(&self, id: i64, next_ms: i64, error: &str) -> Result<(), StoreError> {
        self.lock()
            .prepare_cached("UPDATE delivery SET attempts = attempts + 1, next_ms = ?2, error = ?3 WHERE id = ?1")?
            .execute(params![id, next_ms, error])?;
        Ok(())
    }

    /// Another channel is to deliver it too, from now on; once.
    ///
    /// # Errors
    /// When the file cannot be written; neither is queued nor noted then.
    pub fn pass_on(&self, id: i64, fallback: &str, now_ms: i64) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached(
                "INSERT INTO delivery (channel, alerts, created_ms, next_ms, passed_on)
                 SELECT ?2, alerts, ?3, ?3, 1 FROM delivery WHERE id = ?1 AND passed_on = 0",
            )?
            .execute(params![id, fallback, now_ms])?;
        transaction.prepare_cached("UPDATE delivery SET passed_on = 1 WHERE id = ?1")?.execute([id])?;
        transaction.commit()?;
        Ok(())
    }

    /// How much waits, by channel, and why the first of each was not taken the last time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn waiting(&self) -> Result<Vec<(String, u64, Option<String>)>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT channel, count(*), (SELECT error FROM delivery AS head WHERE head.channel = delivery.channel
                                        ORDER BY id LIMIT 1)
             FROM delivery GROUP BY channel ORDER BY channel",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?));
        Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
    }

    /// Drops what is queued for channels that are not among these. Says how much it was.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn retain_channels(&self, channels: &[&str]) -> Result<u64, StoreError> {
        let names = serde_json::to_string(channels)?;
        let dropped = self
            .lock()
            .prepare_cached("DELETE FROM delivery WHERE channel NOT IN (SELECT value FROM json_each(?1))")?
            .execute([names])?;
        Ok(dropped as u64)
    }
}
