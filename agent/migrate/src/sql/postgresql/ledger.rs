//! The ledger's two tables: their making, and entries as rows. Every write is fenced: it does nothing unless the lock's
//! token is still ours.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::error::{Error, Result};
use crate::ledger::{Entry, Id};
use crate::sql::Dialect;
use crate::sql::backfill::quote;
use crate::sql::record::{Record, entries, lost};

use super::client::error;

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// Where the tables are, quoted.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    schema: Option<String>,
    ledger: String,
}

/// The tables of one schema.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) schema: String,
    pub(super) ledger: String,
    pub(super) lock: String,
    /// Of the session lock: what is hashed to its number.
    pub(super) key: String,
}

impl Tables {
    pub(super) fn new(schema: Option<&str>, ledger: &str) -> Result<Self> {
        for (what, name, most) in
            [("schema", schema.unwrap_or("public"), LONGEST_NAME), ("ledger", ledger, LONGEST_NAME - 5)]
        {
            if name.is_empty() || name.len() > most || name.contains('\0') {
                let remedy = format!("write a name of 1 to {most} bytes");
                return Err(Error::refused(
                    format!("`{what}` of the migrations is no name of a table or schema"),
                    remedy,
                ));
            }
        }
        Ok(Self { schema: schema.map(str::to_owned), ledger: ledger.to_owned() })
    }

    /// The schema that was named, or the one where this user's tables are made.
    pub(super) async fn place(&self, client: &Client) -> Result<Place> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => {
                let row = client.query_one("SELECT coalesce(current_schema()::text, 'public')", &[]).await;
                row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot look at the schema", &cause))?
            }
        };
        let quoted = |name: &str| quote(name, Dialect::Postgresql);
        let (ledger, lock) = (quoted(&self.ledger), quoted(&format!("{}_lock", self.ledger)));
        let schema_quoted = quoted(&schema);
        Ok(Place {
            ledger: format!("{schema_quoted}.{ledger}"),
            lock: format!("{schema_quoted}.{lock}"),
            key: format!("whimbrel migrate {schema_quoted}.{ledger}"),
            schema: schema_quoted,
        })
    }
}

impl Place {
    /// Makes what is missing. Two who do so at once wait for each other.
    pub(super) async fn make(&self, client: &Client) -> Result<()> {
        if self.exists(client).await? {
            return Ok(());
        }
        let Self { schema, ledger, lock, .. } = self;
        let text = format!(
            "BEGIN;
            SELECT pg_advisory_xact_lock(hashtextextended('whimbrel migrate: making the ledger', 0));
            CREATE SCHEMA IF NOT EXISTS {schema};
            CREATE TABLE IF NOT EXISTS {ledger} (
                id text PRIMARY KEY,
                name text NOT NULL,
                checksum text NOT NULL,
                direction text NOT NULL,
                outcome text NOT NULL,
                run_by text NOT NULL,
                started_at timestamptz NOT NULL,
                finished_at timestamptz,
                duration_ms bigint NOT NULL,
                attempts bigint NOT NULL,
                progress jsonb NOT NULL,
                error text
            );
            CREATE TABLE IF NOT EXISTS {lock} (
                id smallint PRIMARY KEY CHECK (id = 1),
                holder text,
                token bigint NOT NULL,
                acquired_at timestamptz,
                expires_at timestamptz NOT NULL
            );
            INSERT INTO {lock} VALUES (1, NULL, 0, NULL, clock_timestamp()) ON CONFLICT DO NOTHING;
            COMMIT"
        );
        let made = client.batch_execute(&text).await;
        if made.is_err() {
            let _ = client.batch_execute("ROLLBACK").await;
        }
        made.map_err(|cause| error("cannot make the ledger", &cause))
    }

    /// Whether the tables are there.
    pub(super) async fn exists(&self, client: &Client) -> Result<bool> {
        let row = client
            .query_typed_one(
                "SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL",
                &[(&self.ledger, Type::TEXT), (&self.lock, Type::TEXT)],
            )
            .await;
        row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot look for the ledger", &cause))
    }

    /// All entries, by id.
    pub(super) async fn read(&self, client: &Client) -> Result<Vec<Entry>> {
        let text = format!(
            "SELECT id, name, checksum, direction, outcome, run_by, round(extract(epoch FROM started_at) * 1000)::bigint,
                round(extract(epoch FROM finished_at) * 1000)::bigint, duration_ms, attempts, progress::text, error
            FROM {}",
            self.ledger
        );
        let rows = client.query_typed(&text, &[]).await.map_err(|cause| error("cannot read the ledger", &cause))?;
        entries(rows.iter().map(record).collect::<Result<_>>()?)
    }

    /// Writes an entry, new or changed.
    pub(super) async fn write(&self, client: &Client, token: i64, entry: &Entry) -> Result<()> {
        let text = format!(
            "INSERT INTO {} AS l (id, name, checksum, direction, outcome, run_by, started_at, finished_at, duration_ms, attempts,
                progress, error)
            SELECT $1, $2, $3, $4, $5, $6, to_timestamp($7 / 1000.0), to_timestamp($8 / 1000.0), $9, $10, $11::jsonb, $12
            WHERE EXISTS (SELECT 1 FROM {} WHERE token = $13)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, checksum = excluded.checksum,
                direction = excluded.direction, outcome = excluded.outcome, run_by = excluded.run_by,
                started_at = excluded.started_at, finished_at = excluded.finished_at,
                duration_ms = excluded.duration_ms, attempts = excluded.attempts, progress = excluded.progress,
                error = excluded.error",
            self.ledger, self.lock
        );
        let record = Record::of(entry)?;
        let values: [(&(dyn ToSql + Sync), Type); 13] = [
            (&record.id, Type::TEXT),
            (&record.name, Type::TEXT),
            (&record.checksum, Type::TEXT),
            (&record.direction, Type::TEXT),
            (&record.outcome, Type::TEXT),
            (&record.run_by, Type::TEXT),
            (&record.started_at_ms, Type::INT8),
            (&record.finished_at_ms, Type::INT8),
            (&record.duration_ms, Type::INT8),
            (&record.attempts, Type::INT8),
            (&record.progress, Type::TEXT),
            (&record.error, Type::TEXT),
            (&token, Type::INT8),
        ];
        let written =
            client.execute_typed(&text, &values).await.map_err(|cause| error("cannot write the ledger", &cause))?;
        fenced(written)
    }

    /// Writes how far an entry is, which is there. Parameters: the progress, the entry's id, the token.
    pub(super) fn progress(&self) -> String {
        format!(
            "UPDATE {} SET progress = $1::text::jsonb WHERE id = $2 AND EXISTS (SELECT 1 FROM {} WHERE token = $3)",
            self.ledger, self.lock
        )
    }

    /// Takes an entry out; one that is not there is out already.
    pub(super) async fn erase(&self, client: &Client, token: i64, id: &Id) -> Result<()> {
        let text = format!(
            "WITH gone AS (DELETE FROM {} WHERE id = $1 AND EXISTS (SELECT 1 FROM {lock} WHERE token = $2))
            SELECT count(*) FROM {lock} WHERE token = $2",
            self.ledger,
            lock = self.lock
        );
        let id = id.to_text();
        let row = client.query_typed_one(&text, &[(&id, Type::TEXT), (&token, Type::INT8)]).await;
        let ours: i64 = row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot write the ledger", &cause))?;
        fenced(ours.unsigned_abs())
    }
}

/// Whether a fenced statement did something.
pub(super) fn fenced(rows: u64) -> Result<()> {
    if rows > 0 { Ok(()) } else { Err(lost()) }
}

fn record(row: &Row) -> Result<Record> {
    let unreadable = |cause: &tokio_postgres::Error| error("the ledger is not as this agent makes it", cause);
    macro_rules! get {
        ($index:literal) => {
            row.try_get($index).map_err(|cause| unreadable(&cause))?
        };
    }
    Ok(Record {
        id: get!(0),
        name: get!(1),
        checksum: get!(2),
        direction: get!(3),
        outcome: get!(4),
        run_by: get!(5),
        started_at_ms: get!(6),
        finished_at_ms: get!(7),
        duration_ms: get!(8),
        attempts: get!(9),
        progress: get!(10),
        error: get!(11),
    })
}
