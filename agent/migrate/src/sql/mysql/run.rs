//! Runs a migration: rows in transactions with the ledger's entry in them; definitions one by one, since they commit by
//! themselves, with "begun" and what the schema looked like before in the ledger.

use std::time::SystemTime;

use serde_json::json;

use super::backfill::{Batches, from_json, to_json};
use super::check::check;
use super::fingerprint;
use super::ledger::odd;
use super::manner::{Manner, Stretch, is_several, manner, stretches};
use super::session::MysqlSession;
use crate::database::{Job, failed_checks};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Direction, Outcome, now_ms};
use crate::migration::Check;
use crate::sql::{Backfill, Script, Statement, Step, words};
use crate::watch::Event;

/// Under this name the ledger's note keeps what the schema looked like.
const SCHEMA: &str = "schema";

impl MysqlSession {
    pub(super) async fn script(&mut self, job: &mut Job<'_>, script: &Script) -> Result<()> {
        self.reset(job).await?;
        // What an earlier run set on its connection is gone with that.
        for step in script.steps.iter().take(job.entry.progress.step as usize) {
            if let Step::Statement(statement) = step
                && matches!(manner(&statement.text), Manner::Session | Manner::SessionApart)
            {
                self.statement(job, &statement.text).await?;
            }
        }
        if job.entry.progress.begun {
            self.look(job, script).await?;
        }
        let stretches = stretches(script, job.entry.progress.step as usize);
        let mut finished = false;
        for (index, stretch) in stretches.iter().enumerate() {
            job.go_on()?;
            let last = index + 1 == stretches.len() && !job.has_copies();
            match *stretch {
                Stretch::Together(from, to) => {
                    self.together(job, script, from, to, last).await?;
                    finished = last;
                }
                Stretch::Apart(at) => {
                    if let Some(Step::Statement(statement)) = script.steps.get(at) {
                        self.step(job, at, statement).await?;
                        job.entry.progress.step += 1;
                    }
                }
                Stretch::Definition(at) | Stretch::Opaque(at) => {
                    if let Some(Step::Statement(statement)) = script.steps.get(at) {
                        self.definition(job, at, statement, matches!(stretch, Stretch::Opaque(_))).await?;
                    }
                }
                Stretch::Batches(at) => {
                    if let Some(Step::Backfill(backfill)) = script.steps.get(at) {
                        self.batches(job, at, backfill).await?;
                    }
                }
            }
        }
        if !finished {
            failed_checks("", &job.copies().await?)?;
            self.together(job, script, script.steps.len(), script.steps.len(), true).await?;
        }
        Ok(())
    }

    /// Whether the step that another run has begun was carried out.
    async fn look(&mut self, job: &mut Job<'_>, script: &Script) -> Result<()> {
        let at = job.entry.progress.step as usize;
        let Some(Step::Statement(statement)) = script.steps.get(at) else {
            return Err(self.unclear(job, at, "the file has no such step"));
        };
        let tables = self.tables.clone();
        let now = fingerprint::of(self.conn()?, &tables, &statement.text).await?;
        let before =
            job.entry.progress.note.as_ref().and_then(|note| note.get(SCHEMA)).and_then(|schema| schema.as_str());
        let unchanged = before == Some(now.as_str());
        let whole = self.server.atomic && !is_several(&statement.text) && manner(&statement.text) == Manner::Definition;
        match (unchanged, whole) {
            // Nothing happened; or it shows nowhere, and does no harm a second time.
            (true, _) => tracing::info!(step = at + 1, "a step that was begun was not carried out, it is run again"),
            (false, true) => {
                tracing::info!(step = at + 1, "a step that was begun was carried out");
                job.entry.progress.step += 1;
            }
            (false, false) => {
                return Err(self.unclear(
                    job,
                    at,
                    "the schema is another than before it, and it may have been carried out in part",
                ));
            }
        }
        job.entry.progress.begun = false;
        job.entry.progress.note = None;
        let entry = job.entry.clone();
        self.note(&entry).await
    }

    fn unclear(&self, job: &Job<'_>, at: usize, why: &str) -> Error {
        let id = job.entry.id.to_text();
        Error::refused(
            format!("whether step {} of {id} was carried out cannot be told: {why}", at + 1),
            format!(
                "look at the database: finish by hand what the file says and `migrate repair --mark-applied {id}`, or undo it \
                 and `migrate repair --forget {id}`"
            ),
        )
    }

    /// Steps in one transaction, and the end of the migration with them if they are the last.
    async fn together(&mut self, job: &mut Job<'_>, script: &Script, from: usize, to: usize, last: bool) -> Result<()> {
        let mut attempt = 1;
        loop {
            let started = SystemTime::now();
            let before = job.entry.clone();
            match self.attempt(job, script, from, to, last).await {
                Ok(changed) => {
                    tell_committed(job, &changed, started);
                    return Ok(());
                }
                Err(error) => {
                    self.roll_back().await;
                    job.entry = before;
                    job.passed(attempt, error).await?;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        job: &mut Job<'_>,
        script: &Script,
        from: usize,
        to: usize,
        last: bool,
    ) -> Result<Vec<(String, u64)>> {
        self.begin().await?;
        let mut changed = Vec::new();
        for index in from..to {
            job.go_on()?;
            let Some(Step::Statement(statement)) = script.steps.get(index) else { continue };
            if manner(&statement.text) == Manner::LeftOut {
                tracing::info!(
                    line = statement.line,
                    "LOCK TABLES and UNLOCK TABLES are left out: the ledger would be locked away"
                );
            } else {
                changed.extend(self.step(job, index, statement).await?);
            }
            job.entry.progress.step += 1;
        }
        for (place, count) in &changed {
            job.entry.progress.add(place, *count);
        }
        if last {
            self.finish(job).await?;
        } else {
            let tables = self.tables.clone();
            tables.write(self.conn()?, &job.entry).await?;
        }
        self.commit().await?;
        Ok(changed)
    }

    /// One statement, told; gives the rows it changed, and where.
    async fn step(&mut self, job: &Job<'_>, index: usize, statement: &Statement) -> Result<Option<(String, u64)>> {
        let (what, place, started) = (words::what(&statement.text), words::place(&statement.text), SystemTime::now());
        let id = job.entry.id.to_text();
        job.watch.tell(&Event::StepStarted { id: &id, index, what: &what, place: place.as_deref(), expected: None });
        let done = self.statement(job, &statement.text).await;
        let error = done.as_ref().err().map(|error| error.code.to_string());
        job.watch.tell(&Event::StepEnded { id: &id, index, what: &what, started, error: error.as_deref() });
        let changed =
            done.map_err(|error| error.at(format_args!("step {} ({what}), line {}", index + 1, statement.line)))?;
        let changes_rows = ["insert", "update", "delete", "replace"].iter().any(|verb| what.starts_with(verb));
        let changed = place.filter(|_| changes_rows).map(|place| (place, changed));
        if let Some((place, count)) = &changed {
            job.watch.tell(&Event::Attempted { id: &id, place, count: *count });
        }
        Ok(changed)
    }

    /// A statement that commits by itself, or may.
    async fn definition(&mut self, job: &mut Job<'_>, at: usize, statement: &Statement, opaque: bool) -> Result<()> {
        let mut attempt = 1;
        loop {
            let tables = self.tables.clone();
            if !job.entry.progress.begun {
                let schema = fingerprint::of(self.conn()?, &tables, &statement.text).await?;
                job.entry.progress.begun = true;
                job.entry.progress.note = Some(json!({SCHEMA: schema}));
                let entry = job.entry.clone();
                // Not in the ledger: then not begun.
                self.note(&entry).await.inspect_err(|_| clear(job))?;
            }
            hit("migrate_begun");
            if opaque {
                // What it changes in rows is rolled back if it does not come to its end.
                self.begin().await?;
            }
            let error = match self.step(job, at, statement).await {
                Ok(_) => return self.done(job, opaque).await,
                Err(error) => error,
            };
            self.roll_back().await;
            if matches!(error.kind, Kind::Connection | Kind::CommitUnknown) {
                return Err(error);
            }
            let schema = fingerprint::of(self.conn()?, &tables, &statement.text).await?;
            let before =
                job.entry.progress.note.as_ref().and_then(|note| note.get(SCHEMA)).and_then(|schema| schema.as_str());
            if before != Some(schema.as_str()) {
                return Err(error.with_remedy(
                    "a part of the statement was carried out: undo or finish it by hand, then `migrate repair`",
                ));
            }
            if let Err(error) = job.passed(attempt, error).await {
                clear(job);
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Notes that the statement that was begun is done.
    async fn done(&mut self, job: &mut Job<'_>, opaque: bool) -> Result<()> {
        hit("migrate_carried_out");
        let before = job.entry.progress.clone();
        clear(job);
        job.entry.progress.step += 1;
        let entry = job.entry.clone();
        let noted = if opaque {
            let tables = self.tables.clone();
            match tables.write(self.conn()?, &entry).await {
                Ok(()) => self.commit().await,
                Err(error) => Err(error),
            }
        } else {
            self.note(&entry).await
        };
        if noted.is_err() {
            self.roll_back().await;
            job.entry.progress = before;
        }
        noted
    }

    async fn batches(&mut self, job: &mut Job<'_>, at: usize, backfill: &Backfill) -> Result<()> {
        let (what, started) = (format!("backfill {}", backfill.table), SystemTime::now());
        let done = self.backfill(job, at, backfill, &what).await;
        let error = done.as_ref().err().map(|error| error.code.to_string());
        let id = job.entry.id.to_text();
        job.watch.tell(&Event::StepEnded { id: &id, index: at, what: &what, started, error: error.as_deref() });
        done.map_err(|error| error.at(format_args!("step {} ({what})", at + 1)))
    }

    async fn backfill(&mut self, job: &mut Job<'_>, at: usize, backfill: &Backfill, what: &str) -> Result<()> {
        let tables = self.tables.clone();
        let batches = Batches::new(self.conn()?, &tables.database, backfill).await?;
        let rows = backfill.batch.unwrap_or(job.options.chunk).max(1);
        let unreadable =
            || Error::refused("the ledger's note of the last key cannot be read", "was it changed by hand?");
        let mut after = match &job.entry.progress.after {
            Some(key) => Some(from_json(key).ok_or_else(unreadable)?),
            None => None,
        };
        let left = batches.count(self.conn()?, after.as_ref()).await?;
        let counted = job.entry.progress.counts.entry(backfill.table.clone()).or_default();
        counted.expected = Some(counted.done.saturating_add(left));
        let id = job.entry.id.to_text();
        let place = Some(backfill.table.as_str());
        job.watch.tell(&Event::StepStarted { id: &id, index: at, what, place, expected: Some(left) });
        let mut attempt = 1;
        loop {
            job.go_on()?;
            let started = SystemTime::now();
            let before = job.entry.clone();
            match self.batch(job, &batches, backfill, after.as_ref(), rows).await {
                Ok(None) => return Ok(()),
                Ok(Some((upto, count))) => {
                    after = Some(upto);
                    attempt = 1;
                    tell_committed(job, &[(backfill.table.clone(), count)], started);
                }
                Err(error) => {
                    self.roll_back().await;
                    job.entry = before;
                    job.passed(attempt, error).await?;
                    attempt += 1;
                }
            }
        }
    }

    /// One batch in a transaction; none: there was none left, and the step is done.
    async fn batch(
        &mut self,
        job: &mut Job<'_>,
        batches: &Batches<'_>,
        backfill: &Backfill,
        after: Option<&super::backfill::Key>,
        rows: u64,
    ) -> Result<Option<(super::backfill::Key, u64)>> {
        let tables = self.tables.clone();
        self.begin().await?;
        let conn = self.conn()?;
        let done = match batches.end(conn, after, rows).await? {
            None => {
                job.entry.progress.step += 1;
                job.entry.progress.after = None;
                None
            }
            Some(upto) => {
                let count = batches.update(conn, after, &upto).await?;
                let id = job.entry.id.to_text();
                job.watch.tell(&Event::Attempted { id: &id, place: &backfill.table, count });
                job.entry.progress.after = Some(to_json(&upto).ok_or_else(|| odd("the key of a batch"))?);
                job.entry.progress.add(&backfill.table, count);
                Some((upto, count))
            }
        };
        tables.write(conn, &job.entry).await?;
        self.commit().await?;
        Ok(done)
    }

    /// The checks and the end of the entry, in the transaction there is.
    pub(super) async fn finish(&mut self, job: &mut Job<'_>) -> Result<()> {
        let tables = self.tables.clone();
        let conn = self.conn()?;
        let mut failures = Vec::new();
        for one in job.checks {
            let fault = match one {
                Check::Sql(sql) => check(conn, sql).await?,
                Check::Copy(_) => continue,
                Check::Mongodb(_) => {
                    return Err(Error::refused("the check is MongoDB's", "write one of SQL's: count, query, equal"));
                }
            };
            job.checked(one, fault, &mut failures);
        }
        failed_checks("", &failures)?;
        job.entry = job.entry.ended(Outcome::Success, now_ms());
        match job.direction {
            Direction::Up => tables.write(conn, &job.entry).await,
            Direction::Down => tables.erase(conn, &job.entry.id).await,
        }
    }
}

/// Nothing is begun.
fn clear(job: &mut Job<'_>) {
    job.entry.progress.begun = false;
    job.entry.progress.note = None;
}

pub(super) fn tell_committed(job: &Job<'_>, changed: &[(String, u64)], started: SystemTime) {
    let id = job.entry.id.to_text();
    for (place, count) in changed {
        let progress = &job.entry.progress;
        job.watch.tell(&Event::Committed { id: &id, place, count: *count, started, progress });
    }
}
