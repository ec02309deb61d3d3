//! The session lent to a plugin: its statements run in the transaction that was opened for the call, with the ledger's entry
//! in the same. What commits by itself is refused: it would take the transaction with it.

use std::any::Any;
use std::time::SystemTime;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn, Params, Row, Value};
use serde_json::json;
use tokio::runtime::Handle;

use super::client::error;
use super::manner::{Manner, manner};
use super::run::tell_committed;
use super::session::MysqlSession;
use crate::database::{Job, failed_checks};
use crate::error::{Error, Kind, Result};
use crate::migration::PluginFile;
use crate::program::{Counter, Counts, Failure, Lent, Program, called, load, refused};
use crate::sql::Dialect;
use crate::sql::command::{Command, MOST_ROWS, bad, too_many_rows};

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction; only copies are compared after it.
pub(super) async fn run(session: &mut MysqlSession, job: &mut Job<'_>, plugin: &PluginFile) -> Result<()> {
    session.reset(job).await?;
    let copies = job.has_copies();
    if job.entry.progress.step == 0 {
        let mut program = load(job, plugin).await?;
        let mut attempt = 1;
        loop {
            let before = job.entry.clone();
            let (back, done) = attempted(session, job, program, !copies).await?;
            program = back;
            let Err(error) = done else { break };
            session.roll_back().await;
            job.entry = before;
            job.passed(attempt, error).await?;
            attempt += 1;
        }
    }
    if copies {
        failed_checks("", &job.copies().await?)?;
        session.begin().await?;
        session.finish(job).await?;
        session.commit().await?;
    }
    Ok(())
}

async fn attempted(
    session: &mut MysqlSession,
    job: &mut Job<'_>,
    program: Box<dyn Program>,
    finish: bool,
) -> Result<(Box<dyn Program>, Result<()>)> {
    let started = SystemTime::now();
    if let Err(error) = session.begin().await {
        return Ok((program, Err(error)));
    }
    session.conn()?;
    let Some(conn) = session.conn.take() else { return Err(gone()) };
    let (counter, told) = Counter::new();
    let lent = InTransaction { runtime: Handle::current(), conn, counter, trouble: None };
    // Without its thread the connection is gone too.
    let (program, lent, done) = called(job, program, Box::new(lent), told).await.map_err(|_| gone())?;
    let back = lent.into_any().downcast::<InTransaction>().map_err(|_| gone())?;
    let InTransaction { conn, counter, trouble, .. } = *back;
    session.conn = Some(conn);
    let outcome = match done {
        Ok(()) => ended(session, job, counter.counts(), finish, started).await,
        Err((call, failure)) => Err(trouble.unwrap_or_else(|| refused(call, &failure))),
    };
    Ok((program, outcome))
}

async fn ended(
    session: &mut MysqlSession,
    job: &mut Job<'_>,
    counts: Counts,
    finish: bool,
    started: SystemTime,
) -> Result<()> {
    job.entry.progress.step = 1;
    job.entry.progress.counts.clone_from(&counts);
    if finish {
        session.finish(job).await?;
    } else {
        let tables = session.tables.clone();
        tables.write(session.conn()?, &job.entry).await?;
    }
    session.commit().await?;
    let changed: Vec<_> = counts.into_iter().map(|(place, count)| (place, count.done)).collect();
    tell_committed(job, &changed, started);
    Ok(())
}

fn gone() -> Error {
    Error::new(Kind::Connection, "plugin", "the connection was not given back by the plugin it was lent to")
}

struct InTransaction {
    runtime: Handle,
    conn: Conn,
    counter: Counter,
    /// The first error after which the transaction must be begun again, whatever the plugin makes of it.
    trouble: Option<Error>,
}

impl Lent for InTransaction {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let (command, _) = Command::read(command, Dialect::Mysql)?;
        if !matches!(manner(&command.sql), Manner::Rows | Manner::Session) {
            return Err(bad("the statement would commit the transaction: put it into a migration of SQL"));
        }
        let parameters = command.parameters(parameter)?;
        let parameters = if parameters.is_empty() { Params::Empty } else { Params::Positional(parameters) };
        let conn = &mut self.conn;
        let rows = self.runtime.block_on(async { conn.exec::<Row, _, _>(command.sql, parameters).await });
        match rows {
            Ok(rows) if rows.len() > MOST_ROWS => Err(bad(too_many_rows())),
            Ok(rows) => {
                let rows: Vec<_> = rows.into_iter().map(object).collect();
                Ok(json!({"rows": rows, "affected": self.conn.affected_rows()}).to_string())
            }
            Err(cause) => {
                let error = error("the statement failed", &cause);
                let retryable = matches!(error.kind, Kind::Transient | Kind::Connection);
                let failure = Failure { code: error.code.to_string(), message: error.message.clone(), retryable };
                if retryable {
                    self.trouble.get_or_insert(error);
                }
                Err(failure)
            }
        }
    }

    fn progress(&mut self, place: &str, done: u64, expected: Option<u64>) {
        self.counter.progress(place, done, expected);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

fn parameter(value: &serde_json::Value) -> Option<Value> {
    Some(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(flag) => Value::Int((*flag).into()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (_, Some(number)) => Value::UInt(number),
            _ => Value::Double(number.as_f64()?),
        },
        serde_json::Value::String(text) => Value::Bytes(text.clone().into_bytes()),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
    })
}

fn object(row: Row) -> serde_json::Value {
    let names: Vec<String> = row.columns_ref().iter().map(Column::name_str).map(std::borrow::Cow::into_owned).collect();
    serde_json::Value::Object(names.into_iter().zip(row.unwrap().into_iter().map(plain)).collect())
}

/// Numbers and text as they are, dates as the server writes them, bytes in hexadecimal.
fn plain(value: Value) -> serde_json::Value {
    match value {
        Value::NULL => serde_json::Value::Null,
        Value::Int(number) => json!(number),
        Value::UInt(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(wrong) => json!(wrong.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        },
        date => json!(date.as_sql(true).trim_matches('\'')),
    }
}
