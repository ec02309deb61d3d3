//! What a run would do, read from the file as it is, and how many rows there are.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _};

use super::backfill::Batches;
use super::error::error;
use crate::database::Prediction;
use crate::error::{Kind, Result};
use crate::migration::{Body, Options};
use crate::sql::backfill::quote_path;
use crate::sql::{Backfill, Dialect, Statement, Step, words};

/// What writing a row costs beside reading it: between 4 and 10 on a file on disk, the pages being read already.
const WRITE_FACTOR: u64 = 6;

pub(super) fn body(connection: Option<&Connection>, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
    let script = match body {
        Body::Sql(script) => script,
        Body::Plugin(plugin) => {
            let what = format!("run the plugin {}", plugin.path.display());
            let notes = vec!["what a plugin does is not known before it runs".to_owned()];
            return Ok(vec![Prediction { what, notes, ..Prediction::default() }]);
        }
        Body::Mongodb(_) => return Ok(Vec::new()),
    };
    let mut changed = false;
    let mut predictions = Vec::new();
    for step in &script.steps {
        let mut prediction = match step {
            Step::Statement(one) => statement(connection, one, changed, script.transaction),
            Step::Backfill(one) => backfill(connection, one, changed, options)?,
        };
        if connection.is_none() {
            prediction.notes.push("there is no file yet: it will be made".to_owned());
        }
        changed |= matches!(step, Step::Statement(one) if changes_schema(&one.text));
        predictions.push(prediction);
    }
    Ok(predictions)
}

/// The statements that are no SQL of SQLite's. They are asked of a database in memory: whatever they name is not there, and
/// that is no matter of syntax.
pub(super) fn unparsed(body: &Body) -> Result<Vec<(usize, String)>> {
    let Body::Sql(script) = body else { return Ok(Vec::new()) };
    let nowhere = Connection::open_in_memory().map_err(|cause| error("cannot make a database in memory", &cause))?;
    let mut wrong = Vec::new();
    for step in &script.steps {
        let Step::Statement(one) = step else { continue };
        if let Err(cause) = nowhere.prepare(&one.text)
            && is_syntax(&cause.to_string())
        {
            wrong.push((one.line, error("it cannot be parsed", &cause).message));
        }
    }
    Ok(wrong)
}

/// SQLite has one code for all that is wrong with a statement; its words tell them apart.
fn is_syntax(words: &str) -> bool {
    ["syntax error", "incomplete input", "unrecognized token"].iter().any(|known| words.contains(known))
}

fn changes_schema(text: &str) -> bool {
    let what = words::what(text);
    ["create", "alter", "drop"].iter().any(|verb| what.starts_with(verb))
}

/// `changed`: steps before have changed the schema, so what is not there now may be there then.
fn statement(connection: Option<&Connection>, one: &Statement, changed: bool, transaction: bool) -> Prediction {
    let what = words::what(&one.text);
    let place = words::place(&one.text);
    let mut prediction = Prediction { what, place, fits_transaction: Some(transaction), ..Prediction::default() };
    let Some(connection) = connection else { return prediction };
    if let Err(cause) = connection.prepare(&one.text)
        && !changed
    {
        prediction.notes.push(error(format_args!("line {}", one.line), &cause).message);
        return prediction;
    }
    let touches = ["update", "delete", "create index", "alter table", "drop table"];
    if let Some(place) = &prediction.place
        && touches.iter().any(|verb| prediction.what.starts_with(verb))
        && let Ok(Some(rows)) = count(connection, place)
    {
        prediction.touched = Some(rows);
        prediction.chunks = Some(1);
        prediction.notes.push("all rows of the table are counted; the statement may touch fewer".to_owned());
    }
    if prediction.what.starts_with("vacuum") {
        prediction.fits_transaction = Some(false);
        prediction.notes.push("writes the whole file anew, and needs as much room again".to_owned());
    }
    prediction
}

fn count(connection: &Connection, table: &str) -> rusqlite::Result<Option<u64>> {
    let text = format!("SELECT count(*) FROM {}", quote_path(table, Dialect::Sqlite));
    let rows = connection.query_row(&text, [], |row| row.get::<_, i64>(0)).optional()?;
    Ok(rows.and_then(|rows| u64::try_from(rows).ok()))
}

fn backfill(connection: Option<&Connection>, one: &Backfill, changed: bool, options: &Options) -> Result<Prediction> {
    let what = format!("backfill {}", one.table);
    let mut prediction =
        Prediction { what, place: Some(one.table.clone()), fits_transaction: Some(false), ..Prediction::default() };
    let Some(connection) = connection else { return Ok(prediction) };
    let batches = match Batches::new(connection, one) {
        Ok(batches) => batches,
        Err(error) if changed || error.kind == Kind::Refused => {
            prediction.notes.push(format!("not known before the steps above it are done: {}", error.message));
            return Ok(prediction);
        }
        Err(error) => return Err(error),
    };
    let rows = one.batch.unwrap_or(options.chunk).max(1);
    let counted = batches.count(connection, None);
    let began = Instant::now();
    match counted.and_then(|count| Ok((count, batches.end(connection, None, rows)?))) {
        Ok((count, _)) => {
            let chunks = count.div_ceil(rows);
            let sample = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            prediction.touched = Some(count);
            prediction.exact = true;
            prediction.chunks = Some(chunks);
            prediction.duration_ms = Some(sample.saturating_mul(chunks).saturating_mul(WRITE_FACTOR) / 1_000);
            prediction.notes.push("the duration is from reading one batch: nothing was written".to_owned());
        }
        // A column that an earlier step adds.
        Err(cause) if changed => {
            let error = error("not known before the steps above it are done", &cause);
            prediction.notes.push(error.message);
        }
        Err(cause) => prediction.notes.push(error("it would fail now", &cause).message),
    }
    Ok(prediction)
}

/// Rows of each table: the highest row number, which is found at once; of tables without, what ANALYZE has counted.
pub(super) fn rows(connection: &Connection) -> Result<Vec<(String, u64)>> {
    let read = || {
        let mut statement = connection.prepare(
            "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
            ORDER BY name",
        )?;
        let tables = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
        let tables = tables.collect::<rusqlite::Result<Vec<_>>>()?;
        let analyzed: bool =
            connection
                .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'", [], |row| row.get(0))?;
        let mut rows = Vec::new();
        for (table, without_rowid) in tables {
            let found: Option<i64> = if !without_rowid {
                let text = format!(
                    "SELECT max(rowid) FROM {}",
                    quote_path(&format!("\"{}\"", table.replace('"', "\"\"")), Dialect::Sqlite)
                );
                connection.query_row(&text, [], |row| row.get(0))?
            } else if analyzed {
                let text = "SELECT CAST(stat AS INTEGER) FROM sqlite_stat1 WHERE tbl = ?1 LIMIT 1";
                connection.query_row(text, [&table], |row| row.get(0)).optional()?.flatten()
            } else {
                None
            };
            rows.push((table, found.and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)));
        }
        Ok(rows)
    };
    read().map_err(|cause| error("cannot look at the tables", &cause))
}
