//! Runs a migration: what can share a transaction does, with the ledger's entry in it. What SQLite does only outside of
//! transactions (VACUUM, some PRAGMAs) comes between them, and can be done twice.

use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::backfill::{Batches, failed, from_json, to_json};
use super::check::check;
use super::error::{error, is_busy};
use super::lent;
use super::session::{Hold, Told, fresh};
use crate::database::failed_checks;
use crate::error::{Error, Result};
use crate::ledger::{Direction, Entry, Outcome, now_ms};
use crate::migration::{Body, Check, Options};
use crate::program::Program;
use crate::sql::{Backfill, Dialect, Script, Statement, Step, lex, words};
use crate::verify;

/// Between two tries to begin a transaction, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A migration at work, on a thread that may block.
pub(super) struct Run {
    pub(super) hold: Hold,
    pub(super) direction: Direction,
    pub(super) body: Body,
    pub(super) checks: Vec<Check>,
    pub(super) entry: Entry,
    pub(super) options: Options,
    pub(super) cancel: CancellationToken,
    pub(super) tell: UnboundedSender<Told>,
    /// Where copies are compared.
    pub(super) runtime: Handle,
}

/// Steps that are run in one go.
#[derive(Debug, PartialEq, Eq)]
enum Stretch {
    /// In one transaction, from this step up to before that.
    Together(usize, usize),
    /// Outside of transactions.
    Outside(usize),
    /// In batches.
    Batches(usize),
}

/// How SQLite runs a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// In a transaction.
    Within,
    /// Only outside of one; what it does is in the file.
    Outside,
    /// Only outside of one; it changes the connection alone.
    Connection,
}

impl Run {
    pub(super) fn run(&mut self, program: Option<Box<dyn Program>>) -> Result<()> {
        let hold = self.hold.clone();
        let body = self.body.clone();
        match (&body, program) {
            (Body::Sql(script), _) => self.script(&hold, script),
            (Body::Plugin(_), Some(program)) => lent::run(self, &hold, program),
            _ => Err(Error::refused("the migration is not for a SQL database", "name the database it is for")),
        }
    }

    fn script(&mut self, hold: &Hold, script: &Script) -> Result<()> {
        let done = self.entry.progress.step as usize;
        let connection = hold.connection();
        fresh(&connection, self.options.lock_timeout)?;
        // What an earlier run set on its connection is gone with that.
        for step in script.steps.iter().take(done) {
            if let Step::Statement(statement) = step
                && manner(&statement.text) == Manner::Connection
            {
                execute(&connection, statement)?;
            }
        }
        let (stretches, trailing) = stretches(script, done);
        let mut finished = false;
        for (index, stretch) in stretches.iter().enumerate() {
            self.go_on()?;
            let last = index + 1 == stretches.len() && !self.has_copies();
            match stretch {
                Stretch::Together(from, to) => {
                    self.together(hold, &connection, script, *from, *to, last)?;
                    finished = last;
                }
                Stretch::Outside(at) => self.outside(hold, &connection, script, *at)?,
                Stretch::Batches(at) => self.batches(hold, &connection, script, *at)?,
            }
        }
        if !finished {
            self.copies()?;
            self.transaction(hold, &connection, |run, connection| run.finish(hold, connection))?;
        }
        for statement in trailing {
            // The migration is done; what these set would be set anew for the next one.
            if let Err(error) = execute(&connection, statement) {
                tracing::debug!(code = &*error.code, "a setting at the end of a migration was not taken");
            }
        }
        Ok(())
    }

    /// Whether to go on.
    pub(super) fn go_on(&self) -> Result<()> {
        if !self.cancel.is_cancelled() {
            return Ok(());
        }
        Err(Error::stopped())
    }

    pub(super) fn say(&self, told: Told) {
        // Nobody listens any more: then nobody misses it.
        let _ = self.tell.send(told);
    }

    /// Has `work` done in a transaction; when that fails, the entry is as before, since the database is. Beginning is tried
    /// again while somebody else has the file.
    pub(super) fn transaction<T>(
        &mut self,
        hold: &Hold,
        connection: &Connection,
        work: impl FnOnce(&mut Self, &Connection) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = 1;
        let mut wait = FIRST_WAIT;
        while let Err(error) = hold.begin(connection) {
            if !is_busy(&error) || attempt > self.options.lock_retries {
                return Err(error);
            }
            attempt += 1;
            self.say(Told::Retried { code: error.code.to_string(), attempt, wait });
            self.sleep(wait)?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        let before = self.entry.clone();
        let done = work(self, connection);
        let outcome = match done {
            Ok(done) => hold.commit(connection).map(|()| done),
            Err(error) => {
                hold.roll_back(connection);
                Err(error)
            }
        };
        if outcome.is_err() {
            self.entry = before;
        }
        outcome
    }

    /// Waits, in pieces short enough to be stopped.
    fn sleep(&self, wait: Duration) -> Result<()> {
        let until = std::time::Instant::now() + wait;
        while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
            self.go_on()?;
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.go_on()
    }

    /// Steps in one transaction, and the end of the migration with them if they are the last.
    fn together(
        &mut self,
        hold: &Hold,
        connection: &Connection,
        script: &Script,
        from: usize,
        to: usize,
        last: bool,
    ) -> Result<()> {
        let started = SystemTime::now();
        let changed = self.transaction(hold, connection, |run, connection| {
            let mut changed = Vec::new();
            for index in from..to {
                let Some(Step::Statement(statement)) = script.steps.get(index) else { continue };
                run.go_on()?;
                changed.extend(run.step(connection, index, statement)?);
                run.entry.progress.step += 1;
            }
            for (place, count) in &changed {
                run.entry.progress.add(place, *count);
            }
            if last {
                run.finish(hold, connection)?
            } else {
                hold.tables.write(connection, &run.entry)?
            }
            Ok(changed)
        })?;
        for (place, count) in changed {
            self.say(Told::Committed { place, count, started, progress: Box::new(self.entry.progress.clone()) });
        }
        Ok(())
    }

    /// One statement, told; gives the rows it changed, and where.
    fn step(&self, connection: &Connection, index: usize, statement: &Statement) -> Result<Option<(String, u64)>> {
        let (what, place, started) = (words::what(&statement.text), words::place(&statement.text), SystemTime::now());
        self.say(Told::StepStarted { index, what: what.clone(), place: place.clone(), expected: None });
        let done = execute(connection, statement);
        let error = done.as_ref().err().map(|error| error.code.to_string());
        self.say(Told::StepEnded { index, what: what.clone(), started, error });
        let changed =
            done.map_err(|error| error.at(format_args!("step {} ({what}), line {}", index + 1, statement.line)))?;
        let changed = place.filter(|_| changes_rows(&statement.text)).map(|place| (place, changed));
        if let Some((place, count)) = &changed {
            self.say(Told::Attempted { place: place.clone(), count: *count });
        }
        Ok(changed)
    }

    fn outside(&mut self, hold: &Hold, connection: &Connection, script: &Script, at: usize) -> Result<()> {
        let Some(Step::Statement(statement)) = script.steps.get(at) else { return Ok(()) };
        self.transaction(hold, connection, |run, connection| {
            run.entry.progress.begun = true;
            hold.tables.write(connection, &run.entry)
        })?;
        self.step(connection, at, statement)?;
        self.transaction(hold, connection, |run, connection| {
            run.entry.progress.begun = false;
            run.entry.progress.step += 1;
            hold.tables.write(connection, &run.entry)
        })
    }

    fn batches(&mut self, hold: &Hold, connection: &Connection, script: &Script, at: usize) -> Result<()> {
        let Some(Step::Backfill(backfill)) = script.steps.get(at) else { return Ok(()) };
        let (what, started) = (format!("backfill {}", backfill.table), SystemTime::now());
        let done = self.backfill(hold, connection, backfill, at, &what);
        let error = done.as_ref().err().map(|error| error.code.to_string());
        self.say(Told::StepEnded { index: at, what: what.clone(), started, error });
        done.map_err(|error| error.at(format_args!("step {} ({what})", at + 1)))
    }

    fn backfill(
        &mut self,
        hold: &Hold,
        connection: &Connection,
        backfill: &Backfill,
        at: usize,
        what: &str,
    ) -> Result<()> {
        let wrong = |cause: rusqlite::Error| failed(backfill, &cause);
        let batches = Batches::new(connection, backfill)?;
        let rows = backfill.batch.unwrap_or(self.options.chunk).max(1);
        let unreadable =
            || Error::refused("the ledger's note of the last key cannot be read", "was it changed by hand?");
        let mut after = match &self.entry.progress.after {
            Some(key) => Some(from_json(key).ok_or_else(unreadable)?),
            None => None,
        };
        let left = batches.count(connection, after.as_ref()).map_err(wrong)?;
        let counted = self.entry.progress.counts.entry(backfill.table.clone()).or_default();
        counted.expected = Some(counted.done.saturating_add(left));
        self.say(Told::StepStarted {
            index: at,
            what: what.to_owned(),
            place: Some(backfill.table.clone()),
            expected: Some(left),
        });
        loop {
            self.go_on()?;
            let started = SystemTime::now();
            let batch = self.transaction(hold, connection, |run, connection| {
                let Some(upto) = batches.end(connection, after.as_ref(), rows).map_err(wrong)? else {
                    run.entry.progress.step += 1;
                    run.entry.progress.after = None;
                    hold.tables.write(connection, &run.entry)?;
                    return Ok(None);
                };
                let count = batches.update(connection, after.as_ref(), &upto).map_err(wrong)?;
                run.say(Told::Attempted { place: backfill.table.clone(), count });
                run.entry.progress.after = Some(to_json(&upto));
                run.entry.progress.add(&backfill.table, count);
                hold.tables.write(connection, &run.entry)?;
                Ok(Some((upto, count)))
            })?;
            let Some((upto, count)) = batch else { return Ok(()) };
            after = Some(upto);
            let progress = Box::new(self.entry.progress.clone());
            self.say(Told::Committed { place: backfill.table.clone(), count, started, progress });
        }
    }

    /// Whether copies are to be compared: they are read by other connections, which see what is committed.
    pub(super) fn has_copies(&self) -> bool {
        self.checks.iter().any(|check| matches!(check, Check::Copy(_)))
    }

    /// Compares copies with their sources.
    pub(super) fn copies(&self) -> Result<()> {
        let mut failures = Vec::new();
        for one in &self.checks {
            let Check::Copy(copy) = one else { continue };
            let fault = self.runtime.block_on(verify::fault(self.options.copies.as_ref(), copy))?;
            self.checked(one, fault, &mut failures);
        }
        failed_checks("", &failures)
    }

    fn checked(&self, check: &Check, fault: Option<String>, failures: &mut Vec<String>) {
        let words = check.to_string();
        self.say(Told::Checked { check: words.clone(), fault: fault.clone() });
        failures.extend(fault.map(|fault| format!("{words}: {fault}")));
    }

    /// The checks and the end of the entry, in the transaction of the last steps where that is one.
    pub(super) fn finish(&mut self, hold: &Hold, connection: &Connection) -> Result<()> {
        let mut failures = Vec::new();
        for one in self.checks.iter().filter(|check| !matches!(check, Check::Copy(_))) {
            let fault = check(connection, one)?;
            self.checked(one, fault, &mut failures);
        }
        failed_checks("", &failures)?;
        self.entry = self.entry.ended(Outcome::Success, now_ms());
        match self.direction {
            Direction::Up => hold.tables.write(connection, &self.entry),
            Direction::Down => hold.tables.erase(connection, &self.entry.id),
        }
    }
}

/// The steps from `from` on in stretches, and the statements at the end that set only the connection.
fn stretches(script: &Script, from: usize) -> (Vec<Stretch>, Vec<&Statement>) {
    let is_setting = |step: &&Step| matches!(step, Step::Statement(one) if manner(&one.text) == Manner::Connection);
    let settings = script.steps.iter().skip(from).rev().take_while(is_setting).count();
    let end = script.steps.len() - settings;
    let mut stretches = Vec::new();
    for (index, step) in script.steps.iter().enumerate().take(end).skip(from) {
        match step {
            Step::Backfill(_) => stretches.push(Stretch::Batches(index)),
            Step::Statement(one) if manner(&one.text) != Manner::Within => stretches.push(Stretch::Outside(index)),
            Step::Statement(_) => match stretches.last_mut() {
                Some(Stretch::Together(_, to)) if script.transaction => *to = index + 1,
                _ => stretches.push(Stretch::Together(index, index + 1)),
            },
        }
    }
    let trailing = script.steps.iter().skip(end).filter_map(|step| match step {
        Step::Statement(statement) => Some(statement),
        Step::Backfill(_) => None,
    });
    (stretches, trailing.collect())
}

/// PRAGMAs that SQLite does not do in a transaction and that last as long as the connection.
const OF_CONNECTION: [&str; 5] = ["FOREIGN_KEYS", "SYNCHRONOUS", "TEMP_STORE", "LOCKING_MODE", "CACHE_SIZE"];
/// PRAGMAs that SQLite does not do in a transaction.
const OF_FILE: [&str; 6] =
    ["JOURNAL_MODE", "WAL_CHECKPOINT", "AUTO_VACUUM", "PAGE_SIZE", "ENCODING", "INCREMENTAL_VACUUM"];

fn manner(text: &str) -> Manner {
    let mut words = lex::Lexer::new(text, Dialect::Sqlite).filter(|token| !token.is_blank());
    let mut word = || words.next().map(|token| token.text.to_ascii_uppercase()).unwrap_or_default();
    match word().as_str() {
        "VACUUM" | "DETACH" => Manner::Outside,
        "ATTACH" => Manner::Connection,
        "PRAGMA" => {
            let mut name = word();
            // `PRAGMA schema.name`
            if word() == "." {
                name = word();
            }
            match name.as_str() {
                name if OF_CONNECTION.contains(&name) => Manner::Connection,
                name if OF_FILE.contains(&name) => Manner::Outside,
                _ => Manner::Within,
            }
        }
        _ => Manner::Within,
    }
}

fn changes_rows(text: &str) -> bool {
    let what = words::what(text);
    ["insert", "update", "delete", "replace"].iter().any(|verb| what.starts_with(verb))
}

/// Runs a statement to its end, whatever rows it gives.
fn execute(connection: &Connection, statement: &Statement) -> Result<u64> {
    let run = || {
        let mut prepared = connection.prepare(&statement.text)?;
        let mut rows = prepared.query([])?;
        while rows.next()?.is_some() {}
        Ok(connection.changes())
    };
    run().map_err(|cause| error("the statement failed", &cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::script;

    fn told(text: &str, from: usize) -> (Vec<Stretch>, usize) {
        let script = script::parse(text, Dialect::Sqlite).unwrap();
        let (stretches, trailing) = stretches(&script, from);
        (stretches, trailing.len())
    }

    #[test]
    fn what_can_share_a_transaction_does() {
        use Stretch::{Outside, Together};
        assert_eq!(told("a; b; c;", 0), (vec![Together(0, 3)], 0));
        assert_eq!(told("a; b; c;", 2), (vec![Together(2, 3)], 0));
        assert_eq!(told("-- whimbrel: no-transaction\na; b;", 0), (vec![Together(0, 1), Together(1, 2)], 0));
        assert_eq!(
            told("PRAGMA foreign_keys=off; a; b; PRAGMA main.foreign_keys = on;", 0),
            (vec![Outside(0), Together(1, 3)], 1)
        );
        assert_eq!(told("a; VACUUM; b", 0), (vec![Together(0, 1), Outside(1), Together(2, 3)], 0));
        assert_eq!(told("PRAGMA user_version = 3; PRAGMA foreign_key_check", 0), (vec![Together(0, 2)], 0));
        assert_eq!(told("", 0), (vec![], 0));
    }
}
