//! Statements that cannot be in a transaction: the ledger says "begun" before and "done" after, and whoever finds "begun"
//! looks at the database to see which it is.

use serde_json::{Value, json};
use tokio_postgres::types::Type;

use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Entry, Progress, now_ms};
use crate::sql::{Dialect, Statement, backfill::quote, words};

use super::client::error;
use super::run::committed;
use super::session::PostgresqlSession;
use super::statement::Alone;

/// What a look at the database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Done,
    NotDone,
}

/// Runs it from where the ledger stands.
pub(super) async fn run(
    session: &PostgresqlSession,
    job: &mut Job<'_>,
    statement: &Statement,
    alone: &Alone,
) -> Result<()> {
    if job.entry.progress.begun {
        let patient = patient(session, alone).await?;
        let found = look(session, job, alone, true).await?;
        impatient(session, patient).await?;
        if found == Found::Done {
            let done = job.entry.progress.after_step();
            return note(session, job, done).await;
        }
    }
    let mut attempt = 1;
    loop {
        let before = indexes(session, alone).await?;
        let begun = Progress { begun: true, note: Some(json!({ "indexes": before })), ..job.entry.progress.clone() };
        note(session, job, begun).await?;
        hit("migrate_begun");
        let began = now_ms();
        let patient = patient(session, alone).await?;
        let done = session.statement(job, &statement.text).await;
        match done {
            Ok(rows) => {
                hit("migrate_carried_out");
                impatient(session, patient).await?;
                let mut done = job.entry.progress.after_step();
                if let (true, Some(place)) = (rows > 0, words::place(&statement.text)) {
                    done.add(&place, rows);
                }
                let before = job.entry.progress.clone();
                note(session, job, done).await?;
                committed(job, &before, began);
                return Ok(());
            }
            // Nobody can look: whoever comes next will.
            Err(failed) if failed.kind == Kind::Connection => return Err(failed),
            Err(failed) => {
                // The server said no, which leaves an invalid index behind at most, or a partition half detached.
                let found = look(session, job, alone, false).await?;
                impatient(session, patient).await?;
                if found == Found::Done && matches!(alone, Alone::Detach { .. }) {
                    let done = job.entry.progress.after_step();
                    return note(session, job, done).await;
                }
                let undone = Progress { begun: false, note: None, ..job.entry.progress.clone() };
                note(session, job, undone).await?;
                job.passed(attempt, failed).await?;
                attempt += 1;
            }
        }
    }
}

/// What is built concurrently waits for every transaction that is older, and keeps nobody out meanwhile: it may wait as
/// long as it takes. Gives what `lock_timeout` was before.
async fn patient(session: &PostgresqlSession, alone: &Alone) -> Result<Option<String>> {
    if !matches!(alone, Alone::CreateIndex { .. } | Alone::DropIndex(_) | Alone::Reindex) {
        return Ok(None);
    }
    let row = session.client.query_typed_one("SELECT current_setting('lock_timeout')", &[]).await;
    let before = row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot set up the session", &cause))?;
    session.execute("cannot set up the session", "SET lock_timeout = 0").await?;
    Ok(Some(before))
}

async fn impatient(session: &PostgresqlSession, before: Option<String>) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let text = "SELECT set_config('lock_timeout', $1, false)";
    let set = session.client.query_typed(text, &[(&before, Type::TEXT)]).await;
    set.map(|_| ()).map_err(|cause| error("cannot set up the session", &cause))
}

/// Writes the progress to the ledger.
async fn note(session: &PostgresqlSession, job: &mut Job<'_>, progress: Progress) -> Result<()> {
    session.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
    let entry = Entry { progress, ..job.entry.clone() };
    session.place.write(&session.client, session.token, &entry).await?;
    job.entry = entry;
    Ok(())
}

/// Invalid indexes, and those of the table: what is there before the statement.
async fn indexes(session: &PostgresqlSession, alone: &Alone) -> Result<Vec<i64>> {
    let table = match alone {
        Alone::CreateIndex { table, .. } => table.as_str(),
        Alone::Reindex => "",
        _ => return Ok(Vec::new()),
    };
    let text =
        "SELECT indexrelid::bigint FROM pg_index WHERE NOT indisvalid OR $1 <> '' AND indrelid = to_regclass($1)";
    let rows = session.client.query_typed(text, &[(&table, Type::TEXT)]).await;
    let oid = |row: &tokio_postgres::Row| row.try_get(0);
    rows.and_then(|rows| rows.iter().map(oid).collect()).map_err(|cause| error("cannot look at the indexes", &cause))
}

/// Whether it is done; what is left of a failed attempt is taken away. `unknown`: nobody knows how it ended.
async fn look(session: &PostgresqlSession, job: &Job<'_>, alone: &Alone, unknown: bool) -> Result<Found> {
    let doing = |cause: tokio_postgres::Error| error("cannot look whether the step was carried out", &cause);
    match alone {
        Alone::CreateIndex { .. } | Alone::Reindex => left_indexes(session, job, alone).await,
        Alone::DropIndex(name) => {
            let row = session.client.query_typed_one("SELECT to_regclass($1) IS NULL", &[(name, Type::TEXT)]).await;
            Ok(found(row.and_then(|row| row.try_get(0)).map_err(doing)?))
        }
        Alone::Database { name, there } => {
            let text = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = (parse_ident($1))[1]) = $2";
            let row = session.client.query_typed_one(text, &[(name, Type::TEXT), (there, Type::BOOL)]).await;
            Ok(found(row.and_then(|row| row.try_get(0)).map_err(doing)?))
        }
        Alone::Detach { table, partition } => {
            let text = "SELECT to_jsonb(i)->>'inhdetachpending' = 'true' FROM pg_inherits i
                WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2)";
            let row = session.client.query_typed_opt(text, &[(table, Type::TEXT), (partition, Type::TEXT)]).await;
            let pending: Option<bool> = row.and_then(|row| row.map(|row| row.try_get(0)).transpose()).map_err(doing)?;
            match pending {
                None => Ok(Found::Done),
                Some(false) => Ok(Found::NotDone),
                Some(true) => {
                    let text = format!("ALTER TABLE {table} DETACH PARTITION {partition} FINALIZE");
                    session.execute("cannot finish the detaching", &text).await?;
                    Ok(Found::Done)
                }
            }
        }
        Alone::Again => Ok(Found::NotDone),
        Alone::Unknown if unknown => Err(Error::refused(
            format!(
                "step {} was begun by a run that was cut off, and a look at the database does not tell whether it was carried out",
                job.entry.progress.step + 1
            ),
            "look yourself; then `whimbrel migrate repair` can say that it is done, or forget it",
        )),
        Alone::Unknown => Ok(Found::NotDone),
    }
}

const fn found(done: bool) -> Found {
    if done { Found::Done } else { Found::NotDone }
}

/// The indexes that came since the step was begun: a valid one is the step's, invalid ones are dropped.
async fn left_indexes(session: &PostgresqlSession, job: &Job<'_>, alone: &Alone) -> Result<Found> {
    let doing = |cause: tokio_postgres::Error| error("cannot look at the indexes", &cause);
    let (table, name) = match alone {
        Alone::CreateIndex { table, name } => (table.as_str(), name.as_deref()),
        _ => ("", None),
    };
    let noted = job.entry.progress.note.as_ref().and_then(|note| note.get("indexes")).and_then(Value::as_array);
    let before: Vec<i64> = noted.into_iter().flatten().filter_map(Value::as_i64).collect();
    let text = "SELECT i.indisvalid, n.nspname::text, c.relname::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT i.indexrelid::bigint = ANY ($1)
            AND CASE WHEN $2 = '' THEN NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
                ELSE i.indrelid = to_regclass($2) AND ($3::text IS NULL OR c.relname = (parse_ident($3))[1]) END";
    let rows = session
        .client
        .query_typed(text, &[(&before, Type::INT8_ARRAY), (&table, Type::TEXT), (&name, Type::TEXT)])
        .await
        .map_err(doing)?;
    let mut done = Found::NotDone;
    for row in &rows {
        let valid: bool = row.try_get(0).map_err(doing)?;
        if valid {
            done = Found::Done;
            continue;
        }
        let (schema, index): (String, String) = (row.try_get(1).map_err(doing)?, row.try_get(2).map_err(doing)?);
        let quoted = |name: &str| quote(name, Dialect::Postgresql);
        tracing::info!(index = %index, "dropping what an index build that was cut off has left");
        let text = format!("DROP INDEX CONCURRENTLY IF EXISTS {}.{}", quoted(&schema), quoted(&index));
        session.execute("cannot drop the invalid index that was left behind", &text).await?;
    }
    Ok(done)
}
