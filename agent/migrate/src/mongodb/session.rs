//! Running a MongoDB migration under the lock.
//!
//! A script whose steps all fit one transaction, and touch no more than a chunk, is one transaction. Any other goes step by
//! step: documents in chunks by `_id`, each chunk a transaction with the ledger's progress in it; what the server does only
//! outside of transactions between two marks in the ledger, "begun" and "done".

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bson::{Document, doc};
use mongodb::{ClientSession, Database};

use super::chunk::{Pace, range};
use super::client::{average_size, documents, failed};
use super::database::{Names, entries, foreign};
use super::lag::Lag;
use super::ledger::document;
use super::lock::{Lease, lost, release};
use super::step::{Script, Step};
use super::transaction::{Advance, FOUND, Place, Work, begin, check, commit, is_too_much, transact, with_field};
use super::value::{to_bson, to_json};
use super::{outside, program};
use crate::database::{Job, Keeper, Session, failed_checks};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Id, Progress};
use crate::migration::Body;
use crate::throttle::{Gate, Pass};
use crate::watch::Event;

/// How long counting may take beforehand: a migration can do without.
const COUNT_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct MongoSession {
    pub(super) database: Database,
    pub(super) names: Names,
    pub(super) token: i64,
    lease: Duration,
    /// Away while it is lent to a program.
    pub(super) session: Option<ClientSession>,
    lag: Lag,
}

impl MongoSession {
    pub(super) fn new(database: Database, names: Names, token: i64, lease: Duration, session: ClientSession) -> Self {
        Self { database, names, token, lease, session: Some(session), lag: Lag::default() }
    }

    pub(super) async fn transact(&mut self, job: &mut Job<'_>, work: Work<'_>, advance: &Advance) -> Result<u64> {
        let place = Place { database: &self.database, names: &self.names, token: self.token };
        let session = self.session.as_mut().ok_or_else(away)?;
        transact(&place, session, job, work, advance).await
    }

    async fn script(&mut self, job: &mut Job<'_>, script: &Script) -> Result<()> {
        self.refuse_overwriting(&script.steps).await?;
        if !job.has_copies() && job.entry.progress.is_untouched() && self.is_small(script, job.options.chunk).await? {
            match self.transact(job, Work::Steps(&script.steps), &Advance::End).await {
                // More than it seemed; nothing of it is there.
                Err(error) if is_too_much(&error) => {}
                done => return done.map(|_| ()),
            }
        }
        while let Some(step) = script.steps.get(job.entry.progress.step as usize) {
            if job.cancel.is_cancelled() {
                return Err(stopped());
            }
            self.step(job, step).await?;
        }
        let session = self.session.as_mut().ok_or_else(away)?;
        check(&self.database, session, job).await?;
        failed_checks(FOUND, &job.copies().await?)?;
        self.transact(job, Work::Nothing, &Advance::End).await.map(|_| ())
    }

    async fn step(&mut self, job: &mut Job<'_>, step: &Step) -> Result<()> {
        let (id, what, started) = (job.entry.id.to_text(), step.what(), SystemTime::now());
        let index = job.entry.progress.step as usize;
        let expected = self.expect(job, step).await;
        job.watch.tell(&Event::StepStarted { id: &id, index, what: &what, place: step.place(), expected });
        let done = match step {
            Step::Aggregate { chunk: Some(chunk), .. } => outside::in_chunks(self, job, step, *chunk).await,
            step if step.chunked().is_some() => self.in_chunks(job, step).await,
            step if step.fits_transaction() => {
                let next = job.entry.progress.after_step();
                self.transact(job, Work::Steps(std::slice::from_ref(step)), &Advance::To(next)).await.map(|_| ())
            }
            step => outside::once(self, job, step).await,
        };
        let error = done.as_ref().err().map(|error| error.code.to_string());
        job.watch.tell(&Event::StepEnded { id: &id, index, what: &what, started, error: error.as_deref() });
        done.map_err(|error| match matches!(error.kind, Kind::LockLost | Kind::Cancelled) {
            true => error,
            false => error.at(format!("step {} ({what})", index + 1)),
        })
    }

    async fn in_chunks(&mut self, job: &mut Job<'_>, step: &Step) -> Result<()> {
        let Some((_, asked)) = step.chunked() else { return Ok(()) };
        let collection = documents(&self.database, step.place().unwrap_or_default());
        let mut pace = Pace::new(
            asked.unwrap_or(job.options.chunk),
            average_size(&self.database, step.place().unwrap_or_default()).await,
        );
        let mut gate = Gate::new(job.options.throttle);
        loop {
            self.pause(job, &mut gate).await?;
            let after = job.entry.progress.after.as_ref().and_then(|key| to_bson(key).ok());
            let Some(range) = range(&collection, after.as_ref(), pace.length()).await? else { break };
            let next = Progress { after: Some(to_json(&range.upto)), ..job.entry.progress.clone() };
            match self.transact(job, Work::Chunk(step, &range), &Advance::To(next)).await {
                Ok(changed) => pace.changed(changed),
                Err(error) if is_too_much(&error) && pace.too_much() => {}
                Err(error) => return Err(error),
            }
        }
        let next = job.entry.progress.after_step();
        self.transact(job, Work::Nothing, &Advance::To(next)).await.map(|_| ())
    }

    /// Waits for the replicas; an error when somebody asked to stop.
    pub(super) async fn pause(&mut self, job: &Job<'_>, gate: &mut Gate) -> Result<()> {
        let began = Instant::now();
        let mut furthest = Duration::ZERO;
        loop {
            if job.cancel.is_cancelled() {
                return Err(stopped());
            }
            let lag = self.lag.now(self.database.client()).await;
            furthest = furthest.max(lag.unwrap_or_default());
            match gate.ask(Instant::now(), lag) {
                Pass::After(wait) => tokio::time::sleep(wait).await,
                Pass::Now => break,
            }
        }
        let waited = began.elapsed();
        if waited > Duration::from_millis(100) && furthest > Duration::ZERO {
            job.watch.tell(&Event::Throttled { id: &job.entry.id.to_text(), lag: furthest, waited });
        }
        Ok(())
    }

    /// Documents the step will touch, for the display, unless another run has said it.
    async fn expect(&self, job: &mut Job<'_>, step: &Step) -> Option<u64> {
        let place = step.place()?;
        let filter = match step {
            Step::Insert { documents, .. } => return Some(documents.len() as u64),
            Step::RenameFields { filter, fields, .. } => with_field(filter, fields),
            step => step.chunked()?.0.clone(),
        };
        let collection = documents(&self.database, place);
        let found = match filter.is_empty() {
            true => collection.estimated_document_count().await,
            false => collection.count_documents(filter).max_time(COUNT_WITHIN).await,
        };
        let left = found.ok()?;
        let count = job.entry.progress.counts.entry(place.to_owned()).or_default();
        // What this step has done already may pass the filter no more.
        let whole = match (job.entry.progress.after.is_some(), count.expected) {
            (true, Some(known)) => known,
            _ => count.done.saturating_add(left),
        };
        count.expected = Some(whole);
        Some(whole.saturating_sub(count.done))
    }

    /// Whether all of it fits one transaction.
    async fn is_small(&self, script: &Script, chunk: u64) -> Result<bool> {
        if !script.steps.iter().all(Step::fits_transaction) {
            return Ok(false);
        }
        let mut left = chunk;
        for step in &script.steps {
            let filter = match step {
                Step::RenameFields { filter, fields, .. } => with_field(filter, fields),
                Step::Insert { documents, .. } => {
                    left = left.saturating_sub(documents.len() as u64);
                    continue;
                }
                step => match step.chunked() {
                    Some((filter, _)) => filter.clone(),
                    None => continue,
                },
            };
            let place = step.place().unwrap_or_default();
            let limit = Pace::new(left, average_size(&self.database, place).await).length();
            let found =
                documents(&self.database, place).count_documents(filter).limit(limit + 1).max_time(COUNT_WITHIN).await;
            match found.map_err(|error| failed(&error)) {
                Ok(found) if found <= limit => left -= found.min(left),
                // Too many, or too many to count.
                Ok(_) => return Ok(false),
                Err(error) if error.code == "MaxTimeMSExpired" => return Ok(false),
                Err(error) => return Err(error),
            }
            if left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A rename writes over a field that has the new name: refused before anything is written, unless it is meant.
    async fn refuse_overwriting(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            let Step::RenameFields { collection, filter, fields, overwrite: false, .. } = step else { continue };
            for one in fields {
                let both = doc! {"$and": [filter.clone(), {&one.from: {"$exists": true}, &one.to: {"$exists": true}}]};
                let found = documents(&self.database, collection).find_one(both).projection(doc! {"_id": 1}).await;
                if found.map_err(|error| failed(&error))?.is_some() {
                    let message = format!("documents of {collection} have both `{}` and `{}`", one.from, one.to);
                    let remedy = format!("`overwrite: true` lets `{}` take its place", one.from);
                    return Err(Error::new(Kind::Refused, "field_exists", message).with_remedy(remedy));
                }
            }
        }
        Ok(())
    }

    /// Writes to the ledger where the fence still has this runner's token.
    async fn fenced(&mut self, id: &Id, entry: Option<Document>) -> Result<()> {
        let session = self.session.as_mut().ok_or_else(away)?;
        let began = Instant::now();
        loop {
            begin(session).await?;
            let done = async {
                let fence = documents(&self.database, &self.names.lock);
                let ours = doc! {"_id": "fence", "token": self.token};
                let seen =
                    fence.update_one(ours, doc! {"$currentDate": {"seen_at": true}}).session(&mut *session).await;
                if seen.map_err(|error| failed(&error))?.matched_count == 0 {
                    return Err(lost());
                }
                let ledger = documents(&self.database, &self.names.ledger);
                let this = doc! {"_id": id.to_text()};
                let done = match &entry {
                    Some(entry) => {
                        ledger.replace_one(this, entry).upsert(true).session(&mut *session).await.map(|_| ())
                    }
                    None => ledger.delete_one(this).session(&mut *session).await.map(|_| ()),
                };
                done.map_err(|error| failed(&error))?;
                commit(session).await
            };
            match done.await {
                Err(error) if error.kind == Kind::Transient && began.elapsed() < Duration::from_secs(30) => {
                    let _ = session.abort_transaction().await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    let _ = session.abort_transaction().await;
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }
}

pub(super) fn away() -> Error {
    Error::new(Kind::Database, "session", "the session was lost in a program")
}

pub(super) fn stopped() -> Error {
    Error { message: "stopped as asked, between two chunks".to_owned(), ..Error::stopped() }
}

#[async_trait]
impl Session for MongoSession {
    fn keeper(&self) -> Box<dyn Keeper> {
        Box::new(Lease {
            database: self.database.clone(),
            names: self.names.clone(),
            token: self.token,
            lease: self.lease,
        })
    }

    async fn ledger(&mut self) -> Result<Vec<Entry>> {
        entries(&self.database, &self.names).await
    }

    async fn write(&mut self, entry: &Entry) -> Result<()> {
        let written = document(entry, self.token);
        self.fenced(&entry.id, Some(written)).await
    }

    async fn erase(&mut self, id: &Id) -> Result<()> {
        self.fenced(id, None).await
    }

    async fn run(&mut self, job: &mut Job<'_>) -> Result<()> {
        match job.body {
            Body::Mongodb(script) => self.script(job, script).await,
            Body::Plugin(file) => program::run(self, job, file).await,
            Body::Sql(_) => Err(foreign()),
        }
    }

    async fn release(self: Box<Self>) -> Result<()> {
        release(&self.database, &self.names, self.token).await
    }
}
