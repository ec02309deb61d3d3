//! The session lent to a plugin: its statements run in the transaction that was opened for the call, with the ledger's entry
//! in the same. What commits by itself is refused: it would take the transaction with it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Column, Conn, Params, Row, Value};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::client::error;
use super::manner::{Manner, manner};
use super::run::{has_copies, tell_committed};
use super::session::MysqlSession;
use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Count, Direction};
use crate::migration::PluginFile;
use crate::program::{Call, Failure, Lent, Program};
use crate::sql::{Dialect, script};
use crate::watch::Event;

/// Rows of one answer: a plugin that wants more asks for them in pieces.
const MOST_ROWS: usize = 10_000;

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction; only copies are compared after it.
pub(super) async fn run(session: &mut MysqlSession, job: &mut Job<'_>, plugin: &PluginFile) -> Result<()> {
    session.reset(job).await?;
    let copies = has_copies(job);
    if job.entry.progress.step == 0 {
        let (programs, plugin) = (Arc::clone(job.programs), plugin.clone());
        let loaded = tokio::task::spawn_blocking(move || programs.load(&plugin)).await;
        let mut program = loaded.map_err(|_| gone())??;
        let mut attempt = 1;
        loop {
            let before = job.entry.clone();
            let (back, done) = attempted(session, job, program, !copies).await?;
            program = back;
            let Err(error) = done else { break };
            session.roll_back().await;
            job.entry = before;
            session.passed(job, attempt, error).await?;
            attempt += 1;
        }
    }
    if copies {
        session.copies(job).await?;
        session.begin().await?;
        session.finish(job).await?;
        session.commit().await?;
    }
    Ok(())
}

type Counts = BTreeMap<String, Count>;

async fn attempted(
    session: &mut MysqlSession,
    job: &mut Job<'_>,
    mut program: Box<dyn Program>,
    finish: bool,
) -> Result<(Box<dyn Program>, Result<()>)> {
    let started = SystemTime::now();
    if let Err(error) = session.begin().await {
        return Ok((program, Err(error)));
    }
    session.conn()?;
    let Some(conn) = session.conn.take() else { return Err(gone()) };
    let (tell, mut told) = unbounded_channel();
    let (runtime, direction) = (Handle::current(), job.direction);
    let mut working = tokio::task::spawn_blocking(move || {
        let mut lent: Box<dyn Lent> =
            Box::new(InTransaction { runtime, conn, counts: Counts::new(), trouble: None, tell });
        let calls: &[Call] = match direction {
            Direction::Up => &[Call::Up, Call::Validate],
            Direction::Down => &[Call::Down],
        };
        let mut done = Ok(());
        for call in calls {
            let (back, answer) = program.call(*call, lent);
            lent = back;
            if let Err(failure) = answer {
                done = Err((*call, failure));
                break;
            }
        }
        (program, lent, done)
    });
    let id = job.entry.id.to_text();
    let finished = loop {
        tokio::select! {
            finished = &mut working => break finished,
            Some((place, count)) = told.recv() => {
                let place: String = place;
                job.watch.tell(&Event::Attempted { id: &id, place: &place, count });
            }
        }
    };
    let (program, lent, done) = finished.map_err(|_| gone())?;
    let back = lent.into_any().downcast::<InTransaction>().map_err(|_| gone())?;
    let InTransaction { conn, counts, trouble, .. } = *back;
    session.conn = Some(conn);
    let outcome = match done {
        Ok(()) => ended(session, job, counts, finish, started).await,
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

fn refused(call: Call, failure: &Failure) -> Error {
    let (kind, word) = match call {
        Call::Up => (Kind::Database, "up"),
        Call::Down => (Kind::Database, "down"),
        Call::Validate => (Kind::CheckFailed, "validate"),
    };
    let kind = if failure.retryable { Kind::Transient } else { kind };
    Error::new(kind, failure.code.clone(), format!("the plugin's `{word}` failed: {failure}"))
}

struct InTransaction {
    runtime: Handle,
    conn: Conn,
    counts: Counts,
    /// The first error after which the transaction must be begun again, whatever the plugin makes of it.
    trouble: Option<Error>,
    tell: UnboundedSender<(String, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    sql: String,
    #[serde(default)]
    parameters: Vec<serde_json::Value>,
}

impl Lent for InTransaction {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let bad = |message: String| Failure { code: "command".to_owned(), message, retryable: false };
        let command: Command =
            serde_json::from_str(command).map_err(|error| bad(format!("it is no command: {error}")))?;
        script::parse(&command.sql, Dialect::Mysql).map_err(|faults| {
            bad(faults.first().map_or_else(|| "it is no statement".to_owned(), |fault| fault.message.clone()))
        })?;
        if !matches!(manner(&command.sql), Manner::Rows | Manner::Session) {
            return Err(bad("the statement would commit the transaction: put it into a migration of SQL".to_owned()));
        }
        let parameters = command.parameters.iter().map(parameter).collect::<Option<Vec<_>>>();
        let parameters = parameters.ok_or_else(|| bad("a parameter is no number, text, flag or null".to_owned()))?;
        let parameters = if parameters.is_empty() { Params::Empty } else { Params::Positional(parameters) };
        let conn = &mut self.conn;
        let rows = self.runtime.block_on(async { conn.exec::<Row, _, _>(command.sql, parameters).await });
        match rows {
            Ok(rows) if rows.len() > MOST_ROWS => {
                Err(bad(format!("the answer has more than {MOST_ROWS} rows: ask for less")))
            }
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
        let known = self.counts.entry(place.to_owned()).or_default();
        let count = done.saturating_sub(known.done);
        *known = Count { done, expected };
        // Nobody listens any more: then nobody misses it.
        let _ = self.tell.send((place.to_owned(), count));
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
