//! The agent's own tables in the database: offsets, dead letters, ledger, versions of deleted rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use crate::event::Reason;
use crate::target::error::{ErrorKind, TargetError};
use crate::target::plan::{Advance, DeliveryMode, KafkaCoordinates};
use crate::target::{DeadLetterFilter, ParkedKey, StoredDeadLetter, StoredOffset};

use super::client::error;
use super::encode::{Job, Letter};

/// Made when the database is opened. `epoch` counts the advances of a partition.
pub(super) const TABLES: &str = r#"
CREATE TABLE IF NOT EXISTS whimbrel_offsets (
    pipeline TEXT NOT NULL, topic TEXT NOT NULL, "partition" INTEGER NOT NULL,
    next INTEGER NOT NULL, epoch INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (pipeline, topic, "partition")) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS whimbrel_dead_letters (
    pipeline TEXT NOT NULL, topic TEXT NOT NULL, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    "table" TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL, record_ts_ms INTEGER NOT NULL,
    "key" BLOB, "value" BLOB, headers BLOB NOT NULL,
    kafka_topic TEXT, kafka_partition INTEGER, kafka_offset INTEGER,
    PRIMARY KEY (pipeline, topic, "partition", "offset")) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS whimbrel_dead_letters_key ON whimbrel_dead_letters (pipeline, topic, "key");
CREATE TABLE IF NOT EXISTS whimbrel_ledger (
    pipeline TEXT NOT NULL, topic TEXT NOT NULL, "partition" INTEGER NOT NULL, "offset" INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS whimbrel_tombstones (
    "table" TEXT NOT NULL, "key" TEXT NOT NULL, version BLOB NOT NULL, stored_at_ms INTEGER NOT NULL,
    PRIMARY KEY ("table", "key")) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS whimbrel_tombstones_age ON whimbrel_tombstones (stored_at_ms);
"#;

/// Moves the frontiers. In exactly_once mode a miss is [`ErrorKind::Fenced`]; in at_least_once mode they only grow.
pub(super) fn advance(tx: &Transaction<'_>, job: &Job) -> Result<(), TargetError> {
    for advance in &job.advances {
        let moved = match job.mode {
            DeliveryMode::ExactlyOnce => compare_and_set(tx, job, advance),
            DeliveryMode::AtLeastOnce => raise(tx, job, advance),
        }
        .map_err(|e| error("cannot store the offset", e))?;
        if moved != 1 {
            return Err(TargetError::new(
                ErrorKind::Fenced,
                format!(
                    "{} [{}] is not at {:?} any more: another agent has moved it on",
                    advance.topic, advance.partition, advance.expected
                ),
            ));
        }
    }
    Ok(())
}

fn compare_and_set(tx: &Transaction<'_>, job: &Job, advance: &Advance) -> rusqlite::Result<usize> {
    match advance.expected {
        None => tx
            .prepare_cached("INSERT INTO whimbrel_offsets VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT DO NOTHING")?
            .execute(params![job.pipeline, &*advance.topic, advance.partition, advance.next, job.now_ms]),
        Some(expected) => tx
            .prepare_cached(
                r#"UPDATE whimbrel_offsets SET next = ?4, epoch = epoch + 1, updated_at_ms = ?5
                   WHERE pipeline = ?1 AND topic = ?2 AND "partition" = ?3 AND next = ?6"#,
            )?
            .execute(params![job.pipeline, &*advance.topic, advance.partition, advance.next, job.now_ms, expected]),
    }
}

fn raise(tx: &Transaction<'_>, job: &Job, advance: &Advance) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "INSERT INTO whimbrel_offsets VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT DO UPDATE SET
         next = max(next, excluded.next), epoch = epoch + 1, updated_at_ms = excluded.updated_at_ms",
    )?
    .execute(params![job.pipeline, &*advance.topic, advance.partition, advance.next, job.now_ms])
}

/// Deletes the dead letters this batch settles; one that is gone fences the batch.
pub(super) fn settle(tx: &Transaction<'_>, job: &Job) -> Result<(), TargetError> {
    for at in &job.settled {
        let gone = tx
            .prepare_cached(
                r#"DELETE FROM whimbrel_dead_letters
                   WHERE pipeline = ?1 AND topic = ?2 AND "partition" = ?3 AND "offset" = ?4"#,
            )
            .and_then(|mut s| s.execute(params![job.pipeline, at.topic, at.partition, at.offset]))
            .map_err(|e| error("cannot settle a dead letter", e))?;
        if gone != 1 {
            return Err(TargetError::new(
                ErrorKind::Fenced,
                format!("dead letter {} [{}] {} was settled by somebody else", at.topic, at.partition, at.offset),
            ));
        }
    }
    Ok(())
}

/// Stores the dead letters: first those that stand for themselves, then those that park behind an earlier one of their
/// key, which must still be there.
pub(super) fn store_letters(tx: &Transaction<'_>, job: &Job) -> Result<(), TargetError> {
    let parks = |letter: &&Letter| letter.reason == Reason::ParkedBehind;
    for letter in job.letters.iter().filter(|l| !parks(l)) {
        insert_letter(tx, job, letter).map_err(|e| error("cannot store a dead letter", e))?;
    }
    let mut seen: Vec<(&str, &[u8])> = Vec::new();
    for letter in job.letters.iter().filter(parks) {
        let key = letter.key.clone().and_then(|at| job.arena.get(at)).unwrap_or_default();
        if !seen.contains(&(&*letter.topic, key)) {
            let parked = is_parked(tx, job, &letter.topic, key).map_err(|e| error("cannot read dead letters", e))?;
            if !parked {
                return Err(TargetError::new(
                    ErrorKind::Unparked,
                    format!(
                        "no dead letter of {} is left that {} [{}] {} could park behind",
                        letter.table, letter.topic, letter.partition, letter.offset
                    ),
                ));
            }
            seen.push((&letter.topic, key));
        }
    }
    for letter in job.letters.iter().filter(parks) {
        insert_letter(tx, job, letter).map_err(|e| error("cannot store a dead letter", e))?;
    }
    Ok(())
}

/// The write lock of `BEGIN IMMEDIATE` already keeps everybody else from settling it meanwhile.
fn is_parked(tx: &Transaction<'_>, job: &Job, topic: &str, key: &[u8]) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        r#"SELECT 1 FROM whimbrel_dead_letters WHERE pipeline = ?1 AND topic = ?2 AND "key" = ?3 LIMIT 1"#,
    )?
    .exists(params![job.pipeline, topic, key])
}

fn insert_letter(tx: &Transaction<'_>, job: &Job, letter: &Letter) -> rusqlite::Result<usize> {
    let bytes = |at: &Option<std::ops::Range<usize>>| at.clone().and_then(|at| job.arena.get(at));
    tx.prepare_cached(
        r#"INSERT INTO whimbrel_dead_letters VALUES
           (:pipeline, :topic, :partition, :offset, :table, :reason, :message, :now, :record_ts, :key, :value, :headers,
            :kafka_topic, :kafka_partition, :kafka_offset)
           ON CONFLICT DO UPDATE SET reason = excluded.reason, message = excluded.message, "table" = excluded."table",
            "value" = excluded."value", kafka_topic = excluded.kafka_topic,
            kafka_partition = excluded.kafka_partition, kafka_offset = excluded.kafka_offset"#,
    )?
    .execute(named_params! {
        ":pipeline": job.pipeline,
        ":topic": &*letter.topic,
        ":partition": letter.partition,
        ":offset": letter.offset,
        ":table": letter.table,
        ":reason": letter.reason.as_str(),
        ":message": letter.message,
        ":now": job.now_ms,
        ":record_ts": letter.record_ts_ms,
        ":key": bytes(&letter.key),
        ":value": bytes(&letter.value),
        ":headers": job.arena.get(letter.headers.clone()).unwrap_or_default(),
        ":kafka_topic": letter.kafka.as_ref().map(|k| &k.topic),
        ":kafka_partition": letter.kafka.as_ref().map(|k| k.partition),
        ":kafka_offset": letter.kafka.as_ref().map(|k| k.offset),
    })
}

/// Adds the batch's effects to the ledger. The table has no unique index on purpose: a doubled effect shall show.
pub(super) fn record_effects(tx: &Transaction<'_>, job: &Job) -> Result<(), TargetError> {
    let insert = || -> rusqlite::Result<()> {
        let mut statement = tx.prepare_cached("INSERT INTO whimbrel_ledger VALUES (?1, ?2, ?3, ?4)")?;
        for (topic, partition, offset) in &job.effects {
            statement.execute(params![job.pipeline, &**topic, partition, offset])?;
        }
        Ok(())
    };
    insert().map_err(|e| error("cannot write the ledger", e))
}

/// The stored frontiers, in the order asked for.
pub(super) fn offsets(
    connection: &Connection,
    pipeline: &str,
    partitions: &[(String, i32)],
) -> rusqlite::Result<Vec<StoredOffset>> {
    let mut statement = connection.prepare_cached(
        r#"SELECT next FROM whimbrel_offsets WHERE pipeline = ?1 AND topic = ?2 AND "partition" = ?3"#,
    )?;
    partitions
        .iter()
        .map(|(topic, partition)| {
            let next = statement.query_row(params![pipeline, topic, partition], |row| row.get(0)).optional()?;
            Ok(StoredOffset { topic: topic.clone(), partition: *partition, next })
        })
        .collect()
}

/// Keys with dead letters.
pub(super) fn parked_keys(
    connection: &Connection,
    pipeline: &str,
    topics: &[String],
) -> rusqlite::Result<Vec<ParkedKey>> {
    let mut statement = connection.prepare_cached(
        r#"SELECT DISTINCT "key" FROM whimbrel_dead_letters WHERE pipeline = ?1 AND topic = ?2 AND "key" IS NOT NULL"#,
    )?;
    let mut all = Vec::new();
    for topic in topics {
        for key in statement.query_map(params![pipeline, topic], |row| row.get(0))? {
            all.push(ParkedKey { topic: topic.clone(), key: key? });
        }
    }
    Ok(all)
}

/// Stored dead letters, by topic, partition, offset.
pub(super) fn dead_letters(
    connection: &Connection,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> rusqlite::Result<Vec<StoredDeadLetter>> {
    let mut statement = connection.prepare_cached(
        r#"SELECT topic, "partition", "offset", "table", reason, message, stored_at_ms, record_ts_ms, "key", "value", headers,
                  kafka_topic, kafka_partition, kafka_offset
           FROM whimbrel_dead_letters WHERE pipeline = ?1
             AND (?2 IS NULL OR topic = ?2) AND (?3 IS NULL OR "partition" = ?3) AND (?4 IS NULL OR "offset" = ?4)
             AND (?5 IS NULL OR reason = ?5) AND (?6 IS NULL OR "key" = ?6)
           ORDER BY topic, "partition", "offset" LIMIT ?7"#,
    )?;
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(
        params![pipeline, filter.topic, filter.partition, filter.offset, filter.reason, filter.key, limit],
        stored_letter,
    )?;
    rows.collect()
}

fn stored_letter(row: &Row<'_>) -> rusqlite::Result<StoredDeadLetter> {
    let kafka_topic: Option<String> = row.get(11)?;
    Ok(StoredDeadLetter {
        topic: row.get(0)?,
        partition: row.get(1)?,
        offset: row.get(2)?,
        table: row.get(3)?,
        reason: row.get(4)?,
        message: row.get(5)?,
        stored_at_ms: row.get(6)?,
        record_ts_ms: row.get(7)?,
        key: row.get(8)?,
        value: row.get(9)?,
        headers: row.get(10)?,
        kafka: match kafka_topic {
            Some(topic) => Some(KafkaCoordinates { topic, partition: row.get(12)?, offset: row.get(13)? }),
            None => None,
        },
    })
}

/// How many dead letters are stored.
pub(super) fn dead_letter_count(connection: &Connection, pipeline: &str) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row(
        "SELECT count(*) FROM whimbrel_dead_letters WHERE pipeline = ?1",
        params![pipeline],
        |row| row.get(0),
    )?;
    Ok(count.unsigned_abs())
}
