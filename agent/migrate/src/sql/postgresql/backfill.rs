//! A backfill: batch after batch of the key, each a transaction with the ledger's progress, slowed down by the replicas.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::database::Job;
use crate::error::{Error, Result};
use crate::ledger::{Progress, now_ms};
use crate::sql::Dialect;
use crate::sql::backfill::{KeyColumn, Writer, quote};
use crate::sql::{Backfill, record, words};
use crate::throttle::{Gate, Pass};
use crate::watch::Event;

use super::client::error;
use super::ledger::fenced;
use super::run::{Told, committed};
use super::session::PostgresqlSession;

/// A count that takes longer is estimated: it is only for the progress.
const COUNT_WITHIN: &str = "SET LOCAL statement_timeout = '10s'";

/// How often the replicas are looked at while they are not behind.
const LAG_EVERY: Duration = Duration::from_millis(500);

/// Runs it from where the ledger stands.
pub(super) async fn run(
    session: &PostgresqlSession,
    job: &mut Job<'_>,
    index: usize,
    backfill: &Backfill,
) -> Result<()> {
    let what = words::what(&format!("UPDATE {}", backfill.table));
    let at = format!("step {} (backfill of {})", index + 1, backfill.table);
    let expected = match job.entry.progress.counts.get(&backfill.table).and_then(|count| count.expected) {
        Some(expected) if job.entry.progress.after.is_some() => Some(expected),
        _ => prepare(session, job, backfill).await.map_err(|failed| failed.at(&at))?,
    };
    let told = Told::begin(job, index, what, at, Some(&backfill.table), expected);
    let done = batches(session, job, backfill, expected).await;
    told.end(job, done)
}

/// Looks whether every row has a key, and how many there are.
async fn prepare(session: &PostgresqlSession, job: &Job<'_>, backfill: &Backfill) -> Result<Option<u64>> {
    let (columns, nullable) = key(&session.client, backfill).await?;
    let writer = Writer::new(backfill, Dialect::Postgresql, columns);
    if let Some(text) = writer.without_key(&nullable) {
        let found = session.client.query_typed_opt(&text, &[]).await.map_err(|cause| error("", &cause))?;
        if found.is_some() {
            return Err(Error::refused(
                format!("rows of {} have no key: a column of `key` is NULL", backfill.table),
                "name the columns of the primary key in `key`",
            ));
        }
    }
    let known = job.entry.progress.counts.get(&backfill.table).map_or(0, |count| count.done);
    let rows = match count(session, &writer.count(false)).await? {
        Some(rows) => Some(rows),
        None => super::predict::explain(&session.client, &writer.rows(false)).await.ok().flatten(),
    };
    Ok(rows.map(|rows| rows + known))
}

/// How many rows, counted if that is quick.
async fn count(session: &PostgresqlSession, text: &str) -> Result<Option<u64>> {
    session.execute("cannot begin", &format!("BEGIN READ ONLY; {COUNT_WITHIN}")).await?;
    let counted = session.connector.guarded(&session.client, session.client.query_typed_one(text, &[])).await;
    session.rollback().await;
    match counted.map(|row| row.try_get::<_, i64>(0)) {
        Ok(Ok(rows)) => Ok(Some(rows.unsigned_abs())),
        Ok(Err(cause)) | Err(cause) => match error("cannot count the rows", &cause) {
            late if late.code == "query_canceled" => Ok(None),
            failed => Err(failed),
        },
    }
}

/// The columns of the key as SQL, and those of them that can be NULL.
pub(super) async fn key(client: &Client, backfill: &Backfill) -> Result<(Vec<KeyColumn>, Vec<String>)> {
    let table = crate::sql::backfill::quote_path(&backfill.table, Dialect::Postgresql);
    let text = "SELECT format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
        WHERE attrelid = $1::regclass AND attname = $2 AND attnum > 0 AND NOT attisdropped";
    let (mut columns, mut nullable) = (Vec::new(), Vec::new());
    for name in &backfill.key {
        let row = client.query_typed_opt(text, &[(&table, Type::TEXT), (name, Type::TEXT)]).await;
        let row = row.map_err(|cause| error("cannot look at the key", &cause))?.ok_or_else(|| {
            Error::refused(
                format!("{} has no column `{name}`", backfill.table),
                "name the columns of the primary key in `key`, as they are written in the catalog",
            )
        })?;
        let read = |cause: tokio_postgres::Error| error("cannot look at the key", &cause);
        let (kind, not_null): (String, bool) = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
        let column = quote(name, Dialect::Postgresql);
        if !not_null {
            nullable.push(column.clone());
        }
        columns.push(KeyColumn {
            read: format!("{column}::text"),
            column,
            bind: (String::new(), format!("::text::{kind}")),
        });
    }
    Ok((columns, nullable))
}

/// The statements, prepared: of the first batch and of those after it, and the ledger's.
struct Prepared {
    end: [Statement; 2],
    update: [Statement; 2],
    progress: Statement,
}

impl Prepared {
    async fn new(session: &PostgresqlSession, writer: &Writer<'_>, rows: u64) -> Result<Self> {
        let prepare = async |text: String| {
            session.client.prepare(&text).await.map_err(|cause| error("cannot prepare the batches", &cause))
        };
        Ok(Self {
            end: [prepare(writer.end_of_batch(false, rows)).await?, prepare(writer.end_of_batch(true, rows)).await?],
            update: [prepare(writer.update(false)).await?, prepare(writer.update(true)).await?],
            progress: prepare(session.place.progress()).await?,
        })
    }
}

async fn batches(
    session: &PostgresqlSession,
    job: &mut Job<'_>,
    backfill: &Backfill,
    expected: Option<u64>,
) -> Result<()> {
    let (columns, _) = key(&session.client, backfill).await?;
    let writer = Writer::new(backfill, Dialect::Postgresql, columns);
    let rows = backfill.batch.unwrap_or(job.options.chunk).max(1);
    // The ledger keeps keys as text, which depends on how dates are written.
    session.execute("cannot begin", "RESET SESSION AUTHORIZATION; RESET ROLE; SET datestyle = 'ISO'").await?;
    let prepared = Prepared::new(session, &writer, rows).await?;
    let mut gate = Gate::new(job.options.throttle);
    let mut looked = None;
    loop {
        let mut attempt = 1;
        let (progress, ended) = loop {
            job.go_on()?;
            if looked.is_none_or(|looked: Instant| looked.elapsed() >= LAG_EVERY) {
                let behind = throttled(session, job, &mut gate).await?;
                looked = (!behind).then(Instant::now);
            }
            let began = now_ms();
            match batch(session, job, backfill, &prepared, expected).await {
                Ok((progress, ended)) => {
                    let before = std::mem::replace(&mut job.entry.progress, progress.clone());
                    committed(job, &before, began);
                    break (progress, ended);
                }
                Err(failed) => {
                    session.rollback().await;
                    job.passed(attempt, failed).await?;
                    attempt += 1;
                }
            }
        };
        job.entry.progress = progress;
        if ended {
            return Ok(());
        }
    }
}

/// One batch; whether it was the last.
async fn batch(
    session: &PostgresqlSession,
    job: &Job<'_>,
    backfill: &Backfill,
    prepared: &Prepared,
    expected: Option<u64>,
) -> Result<(Progress, bool)> {
    let mut progress = job.entry.progress.clone();
    let after = keys(progress.after.as_ref());
    let nth = usize::from(!after.is_empty());
    let parameters: Vec<&(dyn ToSql + Sync)> = after.iter().map(|key| key as _).collect();
    let doing = |cause: tokio_postgres::Error| error("", &cause);
    let [end, update] = [&prepared.end, &prepared.update].map(|both| both.get(nth));
    let (Some(end), Some(update)) = (end, update) else { return Ok((progress, true)) };
    // On its way behind BEGIN, not after its answer.
    let work = session.connector.guarded(&session.client, async {
        let (begun, last) =
            futures_util::join!(session.client.batch_execute("BEGIN"), session.client.query_opt(end, &parameters));
        begun.and(last)
    });
    let id = job.migration.id.to_text();
    let last = super::activity::watched(&session.second, session.pid, &id, job.watch, work).await.map_err(doing)?;
    let ended = match last {
        None => {
            progress = progress.after_step();
            true
        }
        Some(row) => {
            let last =
                (0..row.len()).map(|index| row.try_get(index)).collect::<Result<Vec<String>, _>>().map_err(doing)?;
            let parameters: Vec<&(dyn ToSql + Sync)> = after.iter().chain(&last).map(|key| key as _).collect();
            let work = session.connector.guarded(&session.client, session.client.execute(update, &parameters));
            let changed =
                super::activity::watched(&session.second, session.pid, &id, job.watch, work).await.map_err(doing)?;
            job.watch.tell(&Event::Attempted { id: &id, place: &backfill.table, count: changed });
            progress.add(&backfill.table, changed);
            progress.after = Some(json!(last));
            false
        }
    };
    let count = progress.counts.entry(backfill.table.clone()).or_default();
    // Rows that came since were not counted: nothing is ever more than whole.
    count.expected = if ended { Some(count.done) } else { expected.map(|rows| rows.max(count.done)) };
    let text = record::progress(&progress)?;
    let (entry, token) = (job.entry.id.to_text(), session.token);
    let written = session.client.execute(&prepared.progress, &[&text, &entry, &token]).await;
    fenced(written.map_err(|cause| error("cannot write the ledger", &cause))?)?;
    session.commit().await?;
    Ok((progress, ended))
}

/// The key that the ledger keeps, each column as text.
pub(super) fn keys(after: Option<&Value>) -> Vec<String> {
    let keys = after.and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Waits as long as the replicas are too far behind; whether they still are, and the next batch has to look again.
async fn throttled(session: &PostgresqlSession, job: &Job<'_>, gate: &mut Gate) -> Result<bool> {
    let since = Instant::now();
    let mut furthest = Duration::ZERO;
    let behind = loop {
        let lag = lag(&session.client).await?;
        furthest = furthest.max(lag.unwrap_or_default());
        match gate.ask(Instant::now(), lag) {
            Pass::Now => break lag.is_some_and(|lag| lag >= job.options.throttle.below),
            Pass::After(wait) => tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = job.cancel.cancelled() => return Err(Error::stopped()),
            },
        }
    };
    let waited = since.elapsed();
    if waited > Duration::from_millis(100) {
        job.watch.tell(&Event::Throttled { id: &job.migration.id.to_text(), lag: furthest, waited });
    }
    Ok(behind)
}

/// How far the furthest replica is behind; none: there is none, or this user may not see it.
async fn lag(client: &Client) -> Result<Option<Duration>> {
    let text = "SELECT (extract(epoch FROM max(replay_lag)) * 1000)::bigint FROM pg_stat_replication";
    let row = client.query_typed_one(text, &[]).await;
    let lag: Option<i64> =
        row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot look at the replicas", &cause))?;
    Ok(lag.map(|lag| Duration::from_millis(lag.unsigned_abs())))
}
