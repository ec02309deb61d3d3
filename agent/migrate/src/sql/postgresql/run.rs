//! Runs a script: in one transaction with the ledger where that can be, otherwise step by step, each with the ledger's
//! progress. What stays in the database when it fails is in `job.entry.progress`, here as in the ledger.

use std::time::SystemTime;

use crate::database::{Job, failed_checks};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Outcome, Progress, now_ms};
use crate::sql::{Dialect, Script, Statement, Step, touched, words};
use crate::watch::Event;

use super::session::PostgresqlSession;
use super::statement::{alone, is_one_transaction, sets};
use super::{backfill, resume};
use super::{checks, predict};

/// Of longer scripts nobody looks at single steps, and each estimate costs as much as a small statement.
const MOST_ESTIMATES: usize = 100;

impl PostgresqlSession {
    /// Runs a script from where the entry stands.
    pub(super) async fn script(&mut self, job: &mut Job<'_>, script: &Script) -> Result<()> {
        self.reset(job).await?;
        if is_one_transaction(script) && job.entry.progress.is_untouched() && !job.has_copies() {
            return self.whole(job, script).await;
        }
        let setters = Setters::of(script);
        self.set_again(job, &setters).await?;
        let first = usize::try_from(job.entry.progress.step).unwrap_or(usize::MAX);
        for (index, step) in script.steps.iter().enumerate().skip(first) {
            job.go_on()?;
            match step {
                Step::Backfill(step) => backfill::run(self, job, index, step).await?,
                Step::Statement(statement) => {
                    let expected = self.estimate(script, &statement.text, false).await?;
                    let told = Told::start(job, index, statement, expected);
                    let done = match alone(&statement.text, script.transaction) {
                        Some(alone) => resume::run(self, job, statement, &alone).await,
                        None => self.step(job, statement).await,
                    };
                    told.end(job, done)?;
                }
            }
            // The ledger is written as who we are, the steps are run as who they say.
            self.set_again(job, &setters).await?;
        }
        self.checked(job).await
    }

    /// All steps, the checks and the ledger in one transaction.
    async fn whole(&mut self, job: &mut Job<'_>, script: &Script) -> Result<()> {
        let mut attempt = 1;
        loop {
            job.go_on()?;
            match self.attempt(job, script).await {
                Ok(entry) => {
                    let started = job.entry.started_at_ms;
                    job.entry = entry;
                    committed(job, &Progress::default(), started);
                    return Ok(());
                }
                Err(failed) => {
                    self.rollback().await;
                    job.passed(attempt, failed).await?;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(&self, job: &Job<'_>, script: &Script) -> Result<Entry> {
        let mut progress = job.entry.progress.clone();
        self.execute("cannot begin", "BEGIN").await?;
        for (index, step) in script.steps.iter().enumerate() {
            let Step::Statement(statement) = step else { continue };
            job.go_on()?;
            let expected = self.estimate(script, &statement.text, true).await?;
            let told = Told::start(job, index, statement, expected);
            let done = self.counted(job, statement, &mut progress).await;
            told.end(job, done)?;
            progress.step += 1;
        }
        checks::all(self, job).await?;
        let ended = Entry { progress, ..job.entry.ended(Outcome::Success, now_ms()) };
        self.conclude(job.direction, &ended).await?;
        self.commit().await?;
        Ok(ended)
    }

    /// One step and the ledger's progress in a transaction.
    async fn step(&self, job: &mut Job<'_>, statement: &Statement) -> Result<()> {
        let mut attempt = 1;
        loop {
            let began = now_ms();
            let mut progress = job.entry.progress.after_step();
            let done = async {
                self.execute("cannot begin", "BEGIN").await?;
                self.counted(job, statement, &mut progress).await?;
                self.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
                let entry = Entry { progress: progress.clone(), ..job.entry.clone() };
                self.place.write(&self.client, self.token, &entry).await?;
                self.commit().await
            };
            match done.await {
                Ok(()) => {
                    let before = std::mem::replace(&mut job.entry.progress, progress);
                    committed(job, &before, began);
                    return Ok(());
                }
                Err(failed) => {
                    self.rollback().await;
                    job.passed(attempt, failed).await?;
                    attempt += 1;
                }
            }
        }
    }

    /// Rows that a statement will touch, as the planner thinks; what cannot be explained just has no estimate.
    async fn estimate(&self, script: &Script, text: &str, in_transaction: bool) -> Result<Option<u64>> {
        let changes = matches!(&*words::verb(text), "insert" | "update" | "delete" | "merge");
        if !changes || script.steps.len() > MOST_ESTIMATES {
            return Ok(None);
        }
        // Rows that are written out need no estimate.
        if touched::rows(text, Dialect::Postgresql).is_some_and(|rows| words::verb(&rows) == "values") {
            return Ok(None);
        }
        let doing = "cannot have the statement estimated";
        if in_transaction {
            self.execute(doing, "SAVEPOINT estimating").await?;
        }
        let estimated = predict::explain(&self.client, text).await;
        if in_transaction {
            self.execute(doing, "ROLLBACK TO estimating; RELEASE estimating").await?;
        }
        Ok(estimated.ok().flatten())
    }

    async fn counted(&self, job: &Job<'_>, statement: &Statement, progress: &mut Progress) -> Result<()> {
        let rows = self.statement(job, &statement.text).await?;
        if let (true, Some(place)) = (rows > 0, words::place(&statement.text)) {
            job.watch.tell(&Event::Attempted { id: &job.migration.id.to_text(), place: &place, count: rows });
            progress.add(&place, rows);
        }
        Ok(())
    }

    /// The checks and the ledger's last word, when all steps are done.
    pub(super) async fn checked(&self, job: &mut Job<'_>) -> Result<()> {
        failed_checks(checks::FOUND, &job.copies().await?)?;
        let mut attempt = 1;
        loop {
            let ended = job.entry.ended(Outcome::Success, now_ms());
            let done = async {
                self.execute("cannot begin", "BEGIN").await?;
                checks::all(self, job).await?;
                self.conclude(job.direction, &ended).await?;
                self.commit().await
            };
            match done.await {
                Ok(()) => {
                    job.entry = ended;
                    return Ok(());
                }
                Err(failed) => {
                    self.rollback().await;
                    job.passed(attempt, failed).await?;
                    attempt += 1;
                }
            }
        }
    }

    /// What the steps before this one have set in the session, which a new session does not have.
    async fn set_again(&self, job: &Job<'_>, setters: &Setters<'_>) -> Result<()> {
        let done = usize::try_from(job.entry.progress.step).unwrap_or(usize::MAX);
        for (_, text) in setters.0.iter().take_while(|(index, _)| *index < done) {
            self.execute("cannot set again what an earlier step has set", text).await?;
        }
        Ok(())
    }
}

/// The steps that set something in the session, with their places.
struct Setters<'a>(Vec<(usize, &'a str)>);

impl<'a> Setters<'a> {
    fn of(script: &'a Script) -> Self {
        let setter = |(index, step): (usize, &'a Step)| match step {
            Step::Statement(statement) if sets(&statement.text) => Some((index, statement.text.as_str())),
            _ => None,
        };
        Self(script.steps.iter().enumerate().filter_map(setter).collect())
    }
}

/// Tells what is committed since `before`, place by place.
pub(super) fn committed(job: &Job<'_>, before: &Progress, began_ms: i64) {
    let id = job.migration.id.to_text();
    let since = std::time::Duration::from_millis(u64::try_from(now_ms() - began_ms).unwrap_or(0));
    let started = SystemTime::now().checked_sub(since).unwrap_or_else(SystemTime::now);
    for (place, count) in &job.entry.progress.counts {
        let more = count.done.saturating_sub(before.counts.get(place).map_or(0, |count| count.done));
        if more > 0 {
            job.watch.tell(&Event::Committed { id: &id, place, count: more, started, progress: &job.entry.progress });
        }
    }
}

/// A step that is told of.
pub(super) struct Told {
    index: usize,
    what: String,
    at: String,
    started: SystemTime,
}

impl Told {
    fn start(job: &Job<'_>, index: usize, statement: &Statement, expected: Option<u64>) -> Self {
        let what = words::what(&statement.text);
        let place = words::place(&statement.text);
        let at = format!("step {} ({what}, line {})", index + 1, statement.line);
        Self::begin(job, index, what, at, place.as_deref(), expected)
    }

    pub(super) fn begin(
        job: &Job<'_>,
        index: usize,
        what: String,
        at: String,
        place: Option<&str>,
        expected: Option<u64>,
    ) -> Self {
        let id = job.migration.id.to_text();
        job.watch.tell(&Event::StepStarted { id: &id, index, what: &what, place, expected });
        Self { index, what, at, started: SystemTime::now() }
    }

    /// The end of it; an error is told with where it happened.
    pub(super) fn end<T>(self, job: &Job<'_>, done: Result<T>) -> Result<T> {
        let code = done.as_ref().err().map(|failed: &Error| failed.code.to_string());
        job.watch.tell(&Event::StepEnded {
            id: &job.migration.id.to_text(),
            index: self.index,
            what: &self.what,
            started: self.started,
            error: code.as_deref(),
        });
        // Of the last two the step is not the cause.
        done.map_err(|failed| match failed.kind {
            Kind::LockLost | Kind::Cancelled => failed,
            _ => failed.at(&self.at),
        })
    }
}
