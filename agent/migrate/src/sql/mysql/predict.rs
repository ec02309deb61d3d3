//! What a run would do, read in a transaction that only reads: what the server thinks of statements, what batches there are.

use std::time::Instant;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use super::backfill::Batches;
use super::client::error;
use super::ledger::Tables;
use super::manner::{Manner, manner};
use crate::database::Prediction;
use crate::error::{Kind, Result};
use crate::migration::{Body, Options};
use crate::sql::backfill::path;
use crate::sql::{Backfill, Dialect, Statement, Step, words};

/// What writing a row costs beside reading it: between 4 and 8 with a binary log, the pages being read already.
const WRITE_FACTOR: u64 = 6;

pub(super) async fn body(conn: &mut Conn, tables: &Tables, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
    let script = match body {
        Body::Sql(script) => script,
        Body::Plugin(plugin) => {
            let what = format!("run the plugin {}", plugin.path.display());
            let notes = vec!["what a plugin does is not known before it runs".to_owned()];
            return Ok(vec![Prediction { what, notes, ..Prediction::default() }]);
        }
        Body::Mongodb(_) => return Ok(Vec::new()),
    };
    let doing = |cause: mysql_async::Error| error("cannot look", &cause);
    conn.query_drop("START TRANSACTION READ ONLY").await.map_err(doing)?;
    let mut changed = false;
    let mut predictions = Vec::new();
    for step in &script.steps {
        let prediction = match step {
            Step::Statement(one) => statement(conn, tables, one, changed).await,
            Step::Backfill(one) => backfill(conn, tables, one, changed, options).await,
        };
        match prediction {
            Ok(prediction) => predictions.push(prediction),
            Err(error) => {
                let _ = conn.query_drop("ROLLBACK").await;
                return Err(error);
            }
        }
        changed |= matches!(step, Step::Statement(one) if manner(&one.text) == Manner::Definition);
    }
    conn.query_drop("ROLLBACK").await.map_err(doing)?;
    Ok(predictions)
}

/// `changed`: steps before have changed the schema, so what is not there now may be there then.
async fn statement(conn: &mut Conn, tables: &Tables, one: &Statement, changed: bool) -> Result<Prediction> {
    let (what, place) = (words::what(&one.text), words::place(&one.text));
    let mut prediction = Prediction { what, place, ..Prediction::default() };
    match manner(&one.text) {
        Manner::Rows => {
            prediction.fits_transaction = Some(true);
            prediction.chunks = Some(1);
            match explained(conn, &one.text).await {
                Ok(rows) => prediction.touched = rows,
                Err(cause) => {
                    let error = error(format_args!("line {}", one.line), &cause);
                    if error.kind == Kind::Connection {
                        return Err(error);
                    }
                    if !changed {
                        prediction.notes.push(format!("the server does not explain it: {}", error.message));
                    }
                    prediction.touched = estimated(conn, tables, prediction.place.as_deref()).await?;
                }
            }
        }
        Manner::Definition => {
            prediction.fits_transaction = Some(false);
            prediction
                .notes
                .push("commits by itself: it is run on its own, and looked at when that was interrupted".to_owned());
            let reads =
                ["alter table", "create index", "create unique", "drop index", "drop table", "optimize", "truncate"];
            if reads.iter().any(|verb| prediction.what.starts_with(verb)) {
                prediction.touched = estimated(conn, tables, prediction.place.as_deref()).await?;
            }
        }
        Manner::Opaque => prediction.notes.push("what a routine does is not known before it runs".to_owned()),
        Manner::LeftOut => prediction.notes.push("is left out: the ledger would be locked away".to_owned()),
        Manner::Session | Manner::SessionApart => {}
    }
    Ok(prediction)
}

/// Rows that the server expects to look at.
async fn explained(conn: &mut Conn, text: &str) -> std::result::Result<Option<u64>, mysql_async::Error> {
    let rows: Vec<Row> = conn.query(format!("EXPLAIN {text}")).await?;
    let of = |row: &Row| row.get_opt::<Option<u64>, _>("rows").and_then(std::result::Result::ok).flatten();
    // Tables that are joined are looked at once for each row of those before.
    let all: Vec<u64> = rows.iter().filter_map(of).collect();
    Ok((!all.is_empty()).then(|| all.iter().fold(1, |product: u64, rows| product.saturating_mul((*rows).max(1)))))
}

/// Rows of a table, as the server estimates them.
async fn estimated(conn: &mut Conn, tables: &Tables, table: Option<&str>) -> Result<Option<u64>> {
    let names = path(table.unwrap_or_default(), Dialect::Mysql);
    let (schema, table) = match names.as_slice() {
        [table] => (&tables.database, table),
        [schema, table] => (schema, table),
        _ => return Ok(None),
    };
    let text = "SELECT table_rows FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
    let rows: std::result::Result<Option<Option<u64>>, _> = conn.exec_first(text, (schema, table)).await;
    rows.map(Option::flatten).map_err(|cause| error("cannot look at the tables", &cause))
}

async fn backfill(
    conn: &mut Conn,
    tables: &Tables,
    one: &Backfill,
    changed: bool,
    options: &Options,
) -> Result<Prediction> {
    let what = format!("backfill {}", one.table);
    let mut prediction =
        Prediction { what, place: Some(one.table.clone()), fits_transaction: Some(false), ..Prediction::default() };
    let rows = one.batch.unwrap_or(options.chunk).max(1);
    let looked = async {
        let batches = Batches::new(conn, &tables.database, one).await?;
        let count = batches.count(conn, None).await?;
        let began = Instant::now();
        batches.end(conn, None, rows).await?;
        Ok::<_, crate::error::Error>((count, began.elapsed()))
    };
    match looked.await {
        Ok((count, sample)) => {
            let chunks = count.div_ceil(rows);
            let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
            prediction.touched = Some(count);
            prediction.exact = true;
            prediction.chunks = Some(chunks);
            prediction.duration_ms = Some(sample.saturating_mul(chunks).saturating_mul(WRITE_FACTOR) / 1_000);
            prediction.notes.push("the duration is from reading one batch: nothing was written".to_owned());
        }
        Err(error) if error.kind == Kind::Connection => return Err(error),
        Err(error) if changed => {
            prediction.notes.push(format!("not known before the steps above it are done: {}", error.message));
        }
        Err(error) => prediction.notes.push(format!("it would fail now: {}", error.message)),
    }
    Ok(prediction)
}
