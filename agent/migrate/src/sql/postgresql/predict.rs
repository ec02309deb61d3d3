//! What a migration would do, without doing it: everything in one transaction that only reads, as a user who may only read.
//! Whatever cannot be told is said, with the reason.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::database::Prediction;
use crate::error::{Error, Result};
use crate::migration::{Body, Options};
use crate::sql::backfill::Writer;
use crate::sql::{Backfill, Dialect, Script, Step, touched, words};

use super::backfill::key;
use super::client::error;
use super::effect::{self, Work};
use super::statement::{alone, is_one_transaction};

/// A count that takes longer is estimated.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '2s'";
/// Rows that are read to see how long reading takes.
const SAMPLE: u64 = 20_000;
/// How much longer things take than to read the rows once and hash them, which goes with their width. Measured with
/// 1,000,000 rows of 70 bytes and one index: updates by 2,000 took 9 times as long, writing the table anew twice as long,
/// building an index as long. More indexes, triggers and a slow disk make it more.
const UPDATE: u32 = 9;
const REWRITE: u32 = 2;
const INDEX: u32 = 1;

/// What each step would do.
pub(super) async fn all(client: &Client, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
    let script = match body {
        Body::Sql(script) => script,
        Body::Plugin(plugin) => {
            let what = format!("plugin {}", plugin.path.file_name().unwrap_or_default().to_string_lossy());
            let notes = vec!["what a plugin does is not known before it runs".to_owned()];
            return Ok(vec![Prediction { what, notes, ..Prediction::default() }]);
        }
        Body::Mongodb(_) => return Err(Error::refused("these are steps of MongoDB", "run them on MongoDB")),
    };
    let doing = |cause: tokio_postgres::Error| error("cannot predict", &cause);
    client.batch_execute(BEGIN).await.map_err(doing)?;
    let mut predicted = Vec::new();
    for step in &script.steps {
        client.batch_execute("SAVEPOINT step").await.map_err(doing)?;
        let one = match step {
            Step::Statement(statement) => self::statement(client, &statement.text, script).await,
            Step::Backfill(step) => backfill(client, step, options).await,
        };
        client.batch_execute("ROLLBACK TO step").await.map_err(doing)?;
        predicted.push(one?);
    }
    client.batch_execute("ROLLBACK").await.map_err(doing)?;
    Ok(predicted)
}

async fn statement(client: &Client, text: &str, script: &Script) -> Result<Prediction> {
    let alone = alone(text, script.transaction).is_some();
    let place = words::place(text);
    let mut prediction = Prediction {
        what: words::what(text),
        place: place.clone(),
        chunks: Some(1),
        fits_transaction: Some(!alone),
        ..Prediction::default()
    };
    if alone {
        prediction.notes.push("runs outside of a transaction".to_owned());
    } else if !is_one_transaction(script) {
        prediction.notes.push("a transaction of its own".to_owned());
    }
    if let Some(effect) = effect::of(text) {
        prediction.notes.push(effect.lock.told().to_owned());
        prediction.notes.extend(match effect.work {
            Work::Nothing => None,
            Work::Read => Some("reads the whole table".to_owned()),
            Work::Index => Some("reads the whole table to build an index".to_owned()),
            Work::Rewrite => Some("may write the whole table and its indexes anew".to_owned()),
        });
        if let Some(size) = size(client, place.as_deref(), &mut prediction.notes).await? {
            prediction.notes.push(size.told());
            if effect.work != Work::Nothing {
                prediction.touched = Some(size.rows);
                let (query, factor) = match effect.work {
                    Work::Rewrite => (hashed(&size.table), REWRITE),
                    Work::Index => (hashed(&size.table), INDEX),
                    Work::Read | Work::Nothing => (read(&size.table), 1),
                };
                prediction.duration_ms = sampled(client, &query).await?.map(|sample| sample.of(size.rows, factor));
            }
        }
        return Ok(prediction);
    }
    if matches!(&*words::verb(text), "insert" | "update" | "delete" | "merge" | "with") {
        dml(client, text, &mut prediction).await?;
    }
    Ok(prediction)
}

/// Counts what a statement would touch, or has the planner estimate it.
async fn dml(client: &Client, text: &str, prediction: &mut Prediction) -> Result<()> {
    let rows = touched::rows(text, Dialect::Postgresql);
    if let Some(query) = &rows {
        let since = Instant::now();
        let counted = client.query_typed_one(&format!("SELECT count(*) FROM (\n{query}\n) touched"), &[]).await;
        match counted.and_then(|row| row.try_get::<_, i64>(0)) {
            Ok(count) => {
                prediction.touched = Some(count.unsigned_abs());
                prediction.exact = true;
                let found = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                let mut notes = Vec::new();
                if let Some(size) = size(client, prediction.place.as_deref(), &mut notes).await? {
                    let sample = sampled(client, &hashed(&size.table)).await?;
                    let written = sample.map(|sample| sample.of(count.unsigned_abs(), UPDATE));
                    prediction.duration_ms = written.map(|written| written.saturating_add(found));
                }
                return Ok(());
            }
            Err(cause) => {
                let failed = error("", &cause);
                client.batch_execute("ROLLBACK TO step").await.map_err(|cause| error("cannot predict", &cause))?;
                if let Some(note) = not_yet(&failed) {
                    prediction.notes.push(note);
                    return Ok(());
                }
                prediction.notes.push(format!("not counted: {}", failed.code.replace('_', " ")));
            }
        }
    }
    let explained = match &rows {
        Some(query) => explain(client, query).await,
        None => explain(client, text).await,
    };
    match explained {
        Ok(estimate) => prediction.touched = estimate,
        Err(cause) => {
            let failed = error("", &cause);
            let note = not_yet(&failed).unwrap_or_else(|| format!("not estimated: {failed}"));
            prediction.notes.push(note);
        }
    }
    Ok(())
}

/// Rows by the planner: of what changes rows, those that go into it.
pub(super) async fn explain(client: &Client, text: &str) -> Result<Option<u64>, tokio_postgres::Error> {
    let row = client.query_typed_one(&format!("EXPLAIN (FORMAT JSON, COSTS) {text}"), &[]).await?;
    let plan: Json = row.try_get(0)?;
    let plan = plan.0.pointer("/0/Plan").cloned().unwrap_or_default();
    let node = match plan.get("Node Type").and_then(Value::as_str) {
        Some("ModifyTable") => plan.pointer("/Plans/0").cloned().unwrap_or_default(),
        _ => plan,
    };
    Ok(node.get("Plan Rows").and_then(Value::as_u64))
}

/// A value of type `json`, which is its text on the wire.
struct Json(Value);

impl<'a> tokio_postgres::types::FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}

/// What the statement needs is not there before the steps in front of it have run.
fn not_yet(failed: &Error) -> Option<String> {
    let missing =
        ["undefined_table", "undefined_column", "invalid_schema_name", "undefined_function", "undefined_object"];
    missing.contains(&&*failed.code).then(|| "needs what an earlier step makes: not to be told before".to_owned())
}

/// A table's size.
struct Size {
    table: String,
    rows: u64,
    bytes: u64,
}

impl Size {
    fn told(&self) -> String {
        let megabytes = self.bytes.div_ceil(1 << 20);
        format!("{} has about {} rows and {megabytes} MB", self.table, self.rows)
    }
}

async fn size(client: &Client, place: Option<&str>, notes: &mut Vec<String>) -> Result<Option<Size>> {
    let Some(place) = place else { return Ok(None) };
    // Partitions count for their table.
    let text = "SELECT sum(greatest(0, c.reltuples))::bigint, sum(pg_table_size(c.oid))::bigint, bool_or(c.reltuples < 0)
        FROM pg_class c WHERE c.oid = to_regclass($1) OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))";
    // As written first; a name that needs quotes has lost them on the way.
    for name in [place.to_owned(), crate::sql::backfill::quote_path(place, Dialect::Postgresql)] {
        let row = client.query_typed_one(text, &[(&name, Type::TEXT)]).await;
        let read = |cause: tokio_postgres::Error| error("cannot look at the table's size", &cause);
        let row = row.map_err(read)?;
        let (rows, bytes): (Option<i64>, Option<i64>) = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
        if let (Some(rows), Some(bytes)) = (rows, bytes) {
            if row.try_get::<_, Option<bool>>(2).map_err(read)? == Some(true) {
                notes.push("the table was never analyzed: its rows are not known".to_owned());
            }
            return Ok(Some(Size { table: name, rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() }));
        }
    }
    notes.push("the table is not there yet".to_owned());
    Ok(None)
}

/// Some rows of a table, read and hashed.
fn hashed(table: &str) -> String {
    format!("SELECT count(hashtext(sample::text)) FROM (SELECT * FROM {table} LIMIT {SAMPLE}) sample")
}

/// Some rows of a table, read.
fn read(table: &str) -> String {
    format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {SAMPLE}) sample")
}

/// How long some rows took.
struct Sample {
    rows: u64,
    took: Duration,
}

impl Sample {
    /// How long `rows` would take, `factor` times as long each, in milliseconds.
    fn of(&self, rows: u64, factor: u32) -> u64 {
        let micros = u64::try_from(self.took.saturating_mul(factor).as_micros()).unwrap_or(u64::MAX);
        (micros.saturating_mul(rows) / self.rows.max(1)).div_ceil(1000)
    }
}

/// Runs a query that gives the number of rows it read; none where this user may not, or it takes too long.
async fn sampled(client: &Client, query: &str) -> Result<Option<Sample>> {
    let mut sample = None;
    // The second time counts: what is read for the first time is paid only once.
    for _ in 0..2 {
        let since = Instant::now();
        match client.query_typed_one(query, &[]).await.and_then(|row| row.try_get::<_, i64>(0)) {
            Ok(rows) => sample = Some(Sample { rows: rows.unsigned_abs(), took: since.elapsed() }),
            Err(_) => {
                client.batch_execute("ROLLBACK TO step").await.map_err(|cause| error("cannot predict", &cause))?;
                return Ok(None);
            }
        }
    }
    Ok(sample)
}

async fn backfill(client: &Client, backfill: &Backfill, options: &Options) -> Result<Prediction> {
    let batch = backfill.batch.unwrap_or(options.chunk).max(1);
    let mut prediction = Prediction {
        what: format!("backfill {}", backfill.table),
        place: Some(backfill.table.clone()),
        fits_transaction: Some(true),
        notes: vec![format!("batches of {batch} rows, each a transaction of its own")],
        ..Prediction::default()
    };
    match rows_and_sample(client, backfill, batch).await {
        Ok((rows, exact, sample)) => {
            prediction.touched = Some(rows);
            prediction.exact = exact;
            prediction.chunks = Some(rows.div_ceil(batch));
            prediction.duration_ms = sample.map(|sample| sample.of(rows, UPDATE));
            if !exact {
                prediction.notes.push("too many rows to count them in 10 s: the planner's estimate".to_owned());
            }
        }
        Err(failed) => {
            client.batch_execute("ROLLBACK TO step").await.map_err(|cause| error("cannot predict", &cause))?;
            // A key that is not there is said as such, and may be what an earlier step makes.
            let note = not_yet(&failed).unwrap_or_else(|| format!("not counted: {failed}"));
            prediction.notes.push(note);
        }
    }
    Ok(prediction)
}

/// How many rows, whether they were counted, and how long one batch takes to be found and read.
async fn rows_and_sample(client: &Client, backfill: &Backfill, batch: u64) -> Result<(u64, bool, Option<Sample>)> {
    let (columns, nullable) = key(client, backfill).await?;
    let writer = Writer::new(backfill, Dialect::Postgresql, columns);
    let doing = |cause: tokio_postgres::Error| error("", &cause);
    if let Some(text) = writer.without_key(&nullable)
        && client.query_typed_opt(&text, &[]).await.map_err(doing)?.is_some()
    {
        return Err(Error::refused("rows have no key: a column of `key` is NULL", "name the primary key in `key`"));
    }
    let counted = client.query_typed_one(&writer.count(false), &[]).await.and_then(|row| row.try_get::<_, i64>(0));
    let (rows, exact) = match counted.map_err(doing) {
        Ok(rows) => (rows.unsigned_abs(), true),
        Err(late) if late.code == "query_canceled" => {
            client.batch_execute("ROLLBACK TO step").await.map_err(doing)?;
            (explain(client, &writer.rows(false)).await.map_err(doing)?.unwrap_or(0), false)
        }
        Err(failed) => return Err(failed),
    };
    let sample = sampled(client, &writer.sample(batch)).await?;
    Ok((rows, exact, sample))
}
