//! The agent's own tables: offsets, dead letters, ledger, versions of deleted rows.
//!
//! Inside a transaction only statements are made here ([`super::write`] sends them); what readiness, resuming and the
//! command line ask for is read directly.

use tokio_postgres::{Client, Row};

use crate::target::error::TargetError;
use crate::target::plan::KafkaCoordinates;
use crate::target::sql::quote;
use crate::target::{DeadLetterFilter, ParkedKey, StoredDeadLetter, StoredOffset};

use super::client::error;

/// Any number no other program is likely to use: the agents' lock for making tables ("whimbrel" as bytes).
pub(super) const DDL_LOCK: i64 = 0x7768_696d_6272_656c;

/// Names of the state tables, schema included, quoted.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub schema: String,
    pub offsets: String,
    pub dead_letters: String,
    pub ledger: String,
    pub tombstones: String,
}

impl Names {
    pub(super) fn new(schema: &str) -> Self {
        let schema = quote(schema);
        Self {
            offsets: format!("{schema}.offsets"),
            dead_letters: format!("{schema}.dead_letters"),
            ledger: format!("{schema}.ledger"),
            tombstones: format!("{schema}.tombstones"),
            schema,
        }
    }

    /// What makes them; each line may be run by hand where the agent may not create anything. `epoch` counts the advances
    /// of a partition. The ledger has no unique index on purpose: a doubled effect shall show.
    fn create(&self) -> String {
        let Self { schema, offsets, dead_letters, ledger, tombstones } = self;
        format!(
            r#"CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {offsets} (
    pipeline text NOT NULL, topic text NOT NULL, partition int NOT NULL,
    next bigint NOT NULL, epoch bigint NOT NULL, updated_at_ms bigint NOT NULL,
    PRIMARY KEY (pipeline, topic, partition)) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS {dead_letters} (
    pipeline text NOT NULL, topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
    "table" text NOT NULL, reason text NOT NULL, message text NOT NULL,
    stored_at_ms bigint NOT NULL, record_ts_ms bigint NOT NULL,
    key bytea, value bytea, headers bytea NOT NULL,
    kafka_topic text, kafka_partition int, kafka_offset bigint,
    PRIMARY KEY (pipeline, topic, partition, "offset"));
CREATE INDEX IF NOT EXISTS dead_letters_key ON {dead_letters} (pipeline, topic, sha256(key));
CREATE TABLE IF NOT EXISTS {ledger} (
    pipeline text NOT NULL, topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL);
CREATE TABLE IF NOT EXISTS {tombstones} (
    "table" text NOT NULL, key text NOT NULL, version bytea NOT NULL, stored_at_ms bigint NOT NULL,
    PRIMARY KEY ("table", key));
CREATE INDEX IF NOT EXISTS tombstones_age ON {tombstones} (stored_at_ms);"#
        )
    }

    /// Makes sure that they exist. Asks for no rights when they do.
    pub(super) async fn ensure(&self, client: &Client) -> Result<(), TargetError> {
        let all = [&self.offsets, &self.dead_letters, &self.ledger, &self.tombstones];
        let names: Vec<&str> = all.into_iter().map(String::as_str).collect();
        let present: i64 = client
            .query_one_scalar("SELECT count(to_regclass(n)) FROM unnest($1::text[]) n", &[&names])
            .await
            .map_err(|e| error("cannot look for the state tables", e))?;
        if present == 4 {
            return Ok(());
        }
        // One transaction, since the lock ends with it: two agents that start together must not trip over each other.
        let script = format!("BEGIN; SELECT pg_advisory_xact_lock({DDL_LOCK}); {} COMMIT", self.create());
        let made = client.batch_execute(&script).await;
        if let Err(cause) = made {
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(error(&format!("cannot create the state tables in the schema {}", self.schema), cause));
        }
        Ok(())
    }

    /// The stored frontiers, in the order asked for.
    pub(super) async fn read_offsets(
        &self,
        client: &Client,
        pipeline: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<StoredOffset>, TargetError> {
        let topics: Vec<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
        let numbers: Vec<i32> = partitions.iter().map(|(_, partition)| *partition).collect();
        let sql = format!(
            "SELECT o.next FROM unnest($2::text[], $3::int[]) WITH ORDINALITY AS u(topic, partition, n)
             LEFT JOIN {} o ON o.pipeline = $1 AND o.topic = u.topic AND o.partition = u.partition ORDER BY u.n",
            self.offsets
        );
        let rows =
            client.query(&sql, &[&pipeline, &topics, &numbers]).await.map_err(|e| error("cannot read offsets", e))?;
        partitions
            .iter()
            .zip(&rows)
            .map(|((topic, partition), row)| {
                let next = get(row, 0)?;
                Ok(StoredOffset { topic: topic.clone(), partition: *partition, next })
            })
            .collect()
    }

    /// Keys with dead letters.
    pub(super) async fn read_parked(
        &self,
        client: &Client,
        pipeline: &str,
        topics: &[String],
    ) -> Result<Vec<ParkedKey>, TargetError> {
        let sql = format!(
            "SELECT DISTINCT topic, key FROM {} WHERE pipeline = $1 AND topic = ANY($2) AND key IS NOT NULL",
            self.dead_letters
        );
        let rows = client.query(&sql, &[&pipeline, &topics]).await.map_err(|e| error("cannot read dead letters", e))?;
        rows.iter().map(|row| Ok(ParkedKey { topic: get(row, 0)?, key: get(row, 1)? })).collect()
    }

    /// Stored dead letters, by topic, partition, offset.
    pub(super) async fn read_dead_letters(
        &self,
        client: &Client,
        pipeline: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError> {
        let sql = format!(
            r#"SELECT topic, partition, "offset", "table", reason, message, stored_at_ms, record_ts_ms, key, value, headers,
                      kafka_topic, kafka_partition, kafka_offset
               FROM {} WHERE pipeline = $1
                 AND ($2::text IS NULL OR topic = $2) AND ($3::int IS NULL OR partition = $3)
                 AND ($4::bigint IS NULL OR "offset" = $4) AND ($5::text IS NULL OR reason = $5)
                 AND ($6::bytea IS NULL OR key = $6)
               ORDER BY topic COLLATE "C", partition, "offset" LIMIT $7"#,
            self.dead_letters
        );
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let rows = client
            .query(
                &sql,
                &[&pipeline, &filter.topic, &filter.partition, &filter.offset, &filter.reason, &filter.key, &limit],
            )
            .await
            .map_err(|e| error("cannot read dead letters", e))?;
        rows.iter().map(stored_letter).collect()
    }

    /// How many dead letters are stored.
    pub(super) async fn count_dead_letters(&self, client: &Client, pipeline: &str) -> Result<u64, TargetError> {
        let sql = format!("SELECT count(*) FROM {} WHERE pipeline = $1", self.dead_letters);
        let count: i64 =
            client.query_one_scalar(&sql, &[&pipeline]).await.map_err(|e| error("cannot count dead letters", e))?;
        Ok(count.unsigned_abs())
    }
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, TargetError> {
    row.try_get(at).map_err(|e| error("cannot read a state table", e))
}

fn stored_letter(row: &Row) -> Result<StoredDeadLetter, TargetError> {
    let topic: Option<String> = get(row, 11)?;
    let kafka = match topic {
        Some(topic) => Some(KafkaCoordinates { topic, partition: get(row, 12)?, offset: get(row, 13)? }),
        None => None,
    };
    Ok(StoredDeadLetter {
        topic: get(row, 0)?,
        partition: get(row, 1)?,
        offset: get(row, 2)?,
        table: get(row, 3)?,
        reason: get(row, 4)?,
        message: get(row, 5)?,
        stored_at_ms: get(row, 6)?,
        record_ts_ms: get(row, 7)?,
        key: get(row, 8)?,
        value: get(row, 9)?,
        headers: get(row, 10)?,
        kafka,
    })
}
