//! The session lent to a plugin: its statements run in the transaction that was opened for the call, with the ledger's entry
//! in the same.

use std::any::Any;
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::backfill::plain;
use super::error::error;
use super::run::Run;
use super::session::{Hold, Told, fresh};
use crate::error::{Error, Kind, Result};
use crate::program::{Call, Counts, Failure, Lent, Program, advance, refused};
use crate::sql::Dialect;
use crate::sql::command::{Command, MOST_ROWS, too_many_rows};

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction; only copies are compared after it.
pub(super) fn run(run: &mut Run, hold: &Hold, mut program: Box<dyn Program>) -> Result<()> {
    let copies = run.has_copies();
    if run.entry.progress.step == 0 {
        called(run, hold, &mut *program, !copies)?;
    }
    if !copies {
        return Ok(());
    }
    run.copies()?;
    let connection = hold.connection();
    run.transaction(hold, &connection, |run, connection| run.finish(hold, connection))
}

/// One transaction; the migration ends with it, or `finish` says otherwise.
fn called(run: &mut Run, hold: &Hold, program: &mut dyn Program, finish: bool) -> Result<()> {
    let started = SystemTime::now();
    {
        let connection = hold.connection();
        fresh(&connection, run.options.lock_timeout)?;
        hold.begin(&connection)?;
    }
    let before = run.entry.clone();
    // The program's commands take the connection, one after the other.
    let done = calls(run, hold, program);
    let connection = hold.connection();
    let done = done.and_then(|counts| {
        run.entry.progress.step = 1;
        run.entry.progress.counts.clone_from(&counts);
        if finish {
            run.finish(hold, &connection)?
        } else {
            hold.tables.write(&connection, &run.entry)?
        }
        Ok(counts)
    });
    let committed = match done {
        Ok(counts) => hold.commit(&connection).map(|()| counts),
        Err(error) => {
            hold.roll_back(&connection);
            Err(error)
        }
    };
    match committed {
        Ok(counts) => {
            for (place, count) in counts {
                let progress = Box::new(run.entry.progress.clone());
                run.say(Told::Committed { place, count: count.done, started, progress });
            }
            Ok(())
        }
        Err(error) => {
            run.entry = before;
            Err(error)
        }
    }
}

fn calls(run: &Run, hold: &Hold, program: &mut dyn Program) -> Result<Counts> {
    let mut lent: Box<dyn Lent> =
        Box::new(InTransaction { hold: hold.clone(), counts: Counts::new(), tell: run.tell.clone() });
    for call in Call::of(run.direction) {
        run.go_on()?;
        let (back, answer) = program.call(*call, lent);
        lent = back;
        // Nobody else writes meanwhile, so beginning again would change nothing.
        answer.map_err(|failure| refused(*call, &Failure { retryable: false, ..failure }))?;
    }
    let back = lent.into_any().downcast::<InTransaction>();
    back.map(|lent| lent.counts)
        .map_err(|_| Error::new(Kind::Database, "plugin", "the plugin kept the session it was lent"))
}

struct InTransaction {
    hold: Hold,
    counts: Counts,
    tell: UnboundedSender<Told>,
}

impl Lent for InTransaction {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let (command, _) = Command::read(command, Dialect::Sqlite)?;
        let parameters = command.parameters(parameter)?;
        let connection = self.hold.connection();
        answer(&connection, &command.sql, &parameters)
    }

    fn progress(&mut self, place: &str, done: u64, expected: Option<u64>) {
        let count = advance(&mut self.counts, place, done, expected);
        let _ = self.tell.send(Told::Attempted { place: place.to_owned(), count });
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

fn parameter(value: &serde_json::Value) -> Option<Value> {
    Some(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Integer((*flag).into()),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64()?),
        },
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
    })
}

fn answer(connection: &Connection, sql: &str, parameters: &[Value]) -> Result<String, Failure> {
    let failure = |code: String, message: String| Failure { code, message, retryable: false };
    let run = || {
        let mut statement = connection.prepare(sql)?;
        let names: Vec<String> = statement.column_names().iter().map(|name| (*name).to_owned()).collect();
        let writes = !statement.readonly();
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if found.len() == MOST_ROWS {
                return Ok(None);
            }
            let fields = names.iter().enumerate().map(|(index, name)| Ok((name.clone(), plain(row.get_ref(index)?))));
            found.push(serde_json::Value::Object(fields.collect::<rusqlite::Result<_>>()?));
        }
        drop(rows);
        Ok(Some((found, if writes { connection.changes() } else { 0 })))
    };
    match run() {
        Ok(Some((rows, affected))) => Ok(json!({"rows": rows, "affected": affected}).to_string()),
        Ok(None) => Err(failure("too_many_rows".to_owned(), too_many_rows())),
        Err(cause) => {
            let error = error("the statement failed", &cause);
            Err(failure(error.code.to_string(), error.message))
        }
    }
}
