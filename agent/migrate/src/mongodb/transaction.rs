//! One transaction: its work, and in the same transaction what the ledger says of it. Begun again while that may help;
//! committed again while nobody knows whether it was.

use std::time::{Duration, Instant, SystemTime};

use bson::{Document, doc};
use mongodb::options::{ReadConcern, UpdateModifications, WriteConcern};
use mongodb::{ClientSession, Database};
use rand::Rng as _;

use super::check::made;
use super::chunk::Range;
use super::client::{documents, failed, refused_write};
use super::database::Names;
use super::ledger::document;
use super::lock::lost;
use super::step::{Rename, Step, Update};
use super::value::count;
use crate::database::{Job, failed_checks};
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::{Direction, Entry, Outcome, Progress, now_ms};
use crate::migration::Check;
use crate::watch::Event;

/// As long as the drivers' own `withTransaction` goes on (specification "Convenient API for Transactions").
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// The first wait; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What a transaction does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work<'a> {
    /// Nothing but to move the ledger.
    Nothing,
    /// Steps, whole.
    Steps(&'a [Step]),
    /// The documents of a range.
    Chunk(&'a Step, &'a Range),
}

/// What the ledger says when it is done.
#[derive(Debug, Clone)]
pub(super) enum Advance {
    /// So far.
    To(Progress),
    /// At its end: applied, or undone. With steps in the same transaction, the checks are made in it too.
    End,
}

/// What is said before the faults that checks found.
pub(super) const FOUND: &str = "after it ";

/// Codes that say that a transaction was too large.
const TOO_MUCH: [&str; 4] = [
    "TransactionTooLarge",
    "TransactionTooLargeForCache",
    "TransactionExceededLifetimeLimitSeconds",
    "ExceededMemoryLimit",
];

/// Whether a smaller transaction would do.
pub(super) fn is_too_much(error: &Error) -> bool {
    TOO_MUCH.contains(&&*error.code)
}

/// What a transaction needs beside its session.
pub(super) struct Place<'a> {
    pub(super) database: &'a Database,
    pub(super) names: &'a Names,
    pub(super) token: i64,
}

/// Does the work and moves the ledger, in one transaction. `job.entry` is then what the ledger says; how many documents
/// were touched is the answer.
pub(super) async fn transact(
    place: &Place<'_>,
    session: &mut ClientSession,
    job: &mut Job<'_>,
    work: Work<'_>,
    advance: &Advance,
) -> Result<u64> {
    let (began, started) = (Instant::now(), SystemTime::now());
    let id = job.entry.id.to_text();
    let (mut attempt, mut wait) = (1, FIRST_WAIT);
    loop {
        let error = match attempted(place, session, job, work, advance).await {
            Ok((entry, counts)) => {
                job.entry = entry;
                for (collection, count) in &counts {
                    let progress = &job.entry.progress;
                    job.watch.tell(&Event::Committed { id: &id, place: collection, count: *count, started, progress });
                }
                return Ok(counts.iter().map(|(_, count)| count).sum());
            }
            Err(error) => error,
        };
        let smaller = matches!(work, Work::Chunk(..)) && is_too_much(&error);
        if error.kind != Kind::Transient || smaller || began.elapsed() >= GIVE_UP_AFTER || job.cancel.is_cancelled() {
            return Err(error);
        }
        attempt += 1;
        let jittered = wait.mul_f64(rand::rng().random_range(0.5..1.0));
        job.watch.tell(&Event::Retried { id: &id, code: &error.code, attempt, wait: jittered });
        tokio::time::sleep(jittered).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

type Counts = Vec<(String, u64)>;

async fn attempted(
    place: &Place<'_>,
    session: &mut ClientSession,
    job: &Job<'_>,
    work: Work<'_>,
    advance: &Advance,
) -> Result<(Entry, Counts)> {
    begin(session).await?;
    match within(place, session, job, work, advance).await {
        Ok(done) => {
            hit("migrate_before_commit");
            commit(session).await?;
            hit("migrate_after_commit");
            Ok(done)
        }
        Err(error) => {
            // Nothing of it is there, whatever becomes of this.
            let _ = session.abort_transaction().await;
            Err(error)
        }
    }
}

/// Begins a transaction.
pub(super) async fn begin(session: &mut ClientSession) -> Result<()> {
    let begun =
        session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(WriteConcern::majority()).await;
    begun.map_err(|error| failed(&error))
}

/// Commits, again while the outcome is unknown.
pub(super) async fn commit(session: &mut ClientSession) -> Result<()> {
    let began = Instant::now();
    loop {
        match session.commit_transaction().await.map_err(|error| failed(&error)) {
            Err(error) if error.kind == Kind::CommitUnknown && began.elapsed() < GIVE_UP_AFTER => {
                tracing::debug!(code = &*error.code, "the outcome of a commit is unknown, committing again");
                tokio::time::sleep(LONGEST_WAIT).await;
            }
            done => return done,
        }
    }
}

async fn within(
    place: &Place<'_>,
    session: &mut ClientSession,
    job: &Job<'_>,
    work: Work<'_>,
    advance: &Advance,
) -> Result<(Entry, Counts)> {
    let mut counts = Counts::new();
    let id = job.entry.id.to_text();
    match work {
        Work::Nothing => {}
        Work::Chunk(step, range) => {
            let count = perform(place.database, session, step, Some(range)).await?;
            let collection = step.place().unwrap_or_default();
            job.watch.tell(&Event::Attempted { id: &id, place: collection, count });
            counts.push((collection.to_owned(), count));
        }
        Work::Steps(steps) => {
            for (index, step) in steps.iter().enumerate() {
                let count = told(place.database, session, job, index, step).await?;
                counts.push((step.place().unwrap_or_default().to_owned(), count));
            }
        }
    }
    let entry = moved(job, &counts, advance);
    if matches!((work, advance), (Work::Steps(_), Advance::End)) {
        check(place.database, session, job).await?;
    }
    write(place, session, &entry, advance).await?;
    Ok((entry, counts))
}

/// A step of several in one transaction.
async fn told(
    database: &Database,
    session: &mut ClientSession,
    job: &Job<'_>,
    index: usize,
    step: &Step,
) -> Result<u64> {
    let (id, what, started) = (job.entry.id.to_text(), step.what(), SystemTime::now());
    let index = index + job.entry.progress.step as usize;
    job.watch.tell(&Event::StepStarted { id: &id, index, what: &what, place: step.place(), expected: None });
    let done =
        perform(database, session, step, None).await.map_err(|error| error.at(format!("step {} ({what})", index + 1)));
    if let (Ok(count), Some(place)) = (&done, step.place()) {
        job.watch.tell(&Event::Attempted { id: &id, place, count: *count });
    }
    let error = done.as_ref().err().map(|error| error.code.to_string());
    job.watch.tell(&Event::StepEnded { id: &id, index, what: &what, started, error: error.as_deref() });
    done
}

/// The entry once this is committed.
fn moved(job: &Job<'_>, counts: &Counts, advance: &Advance) -> Entry {
    let mut entry = job.entry.clone();
    if let Advance::To(progress) = advance {
        entry.progress.clone_from(progress);
    }
    for (collection, count) in counts {
        entry.progress.add(collection, *count);
    }
    match advance {
        Advance::To(_) => entry,
        Advance::End => {
            entry.progress = Progress { counts: entry.progress.counts, step: steps(job), ..Progress::default() };
            entry.ended(Outcome::Success, now_ms())
        }
    }
}

fn steps(job: &Job<'_>) -> u32 {
    u32::try_from(job.body.len()).unwrap_or(u32::MAX)
}

/// Makes the migration's checks, in the session.
pub(super) async fn check(database: &Database, session: &mut ClientSession, job: &Job<'_>) -> Result<()> {
    let mut failures = Vec::new();
    for check in job.checks {
        // A copy is compared by connections of its own, outside of transactions.
        let Check::Mongodb(ours) = check else { continue };
        let fault = made(database, session, ours).await?;
        job.checked(check, fault, &mut failures);
    }
    failed_checks(FOUND, &failures)
}

/// Writes the entry where this runner's token still stands.
pub(super) async fn write(
    place: &Place<'_>,
    session: &mut ClientSession,
    entry: &Entry,
    advance: &Advance,
) -> Result<()> {
    let ledger = documents(place.database, &place.names.ledger);
    let ours = doc! {"_id": entry.id.to_text(), "token": place.token};
    let touched = match (advance, entry.direction) {
        (Advance::End, Direction::Down) => {
            ledger.delete_one(ours).session(session).await.map(|done| done.deleted_count)
        }
        _ => {
            ledger.replace_one(ours, document(entry, place.token)).session(session).await.map(|done| done.matched_count)
        }
    };
    match touched.map_err(|error| failed(&error))? {
        0 => Err(lost()),
        _ => Ok(()),
    }
}

/// Carries out a step in the session's transaction, on the documents of a range or on all. Gives how many were touched.
async fn perform(database: &Database, session: &mut ClientSession, step: &Step, range: Option<&Range>) -> Result<u64> {
    let limited = |filter: &Document| range.map_or_else(|| filter.clone(), |range| range.filter(filter));
    let touched = match step {
        Step::Update { collection, filter, update, .. } => {
            let update = match update {
                Update::Operators(operators) => UpdateModifications::Document(operators.clone()),
                Update::Pipeline(stages) => UpdateModifications::Pipeline(stages.clone()),
            };
            let collection = documents(database, collection);
            collection.update_many(limited(filter), update).session(session).await.map(|done| done.matched_count)
        }
        Step::RenameFields { collection, filter, fields, .. } => {
            let filter = limited(&with_field(filter, fields));
            let names: Document = fields.iter().map(|one| (one.from.clone(), one.to.as_str().into())).collect();
            let collection = documents(database, collection);
            let renamed = collection.update_many(filter, doc! {"$rename": names}).session(session).await;
            renamed.map(|done| done.matched_count)
        }
        Step::Delete { collection, filter, .. } => {
            let collection = documents(database, collection);
            collection.delete_many(limited(filter)).session(session).await.map(|done| done.deleted_count)
        }
        Step::Insert { collection, documents: new, .. } => {
            let inserted = documents(database, collection).insert_many(new).session(session).await;
            inserted.map(|done| done.inserted_ids.len() as u64)
        }
        Step::Command(command) => {
            let reply = database.run_command(command.clone()).session(session).await;
            return reply.map_err(|error| failed(&error)).and_then(|reply| answered(&reply));
        }
        _ => {
            return Err(Error::new(
                Kind::Database,
                "not_in_transaction",
                format!("{} is for outside of transactions", step.what()),
            ));
        }
    };
    touched.map_err(|error| failed(&error))
}

/// Documents a command says that it touched; its write errors are its failure.
pub(super) fn answered(reply: &Document) -> Result<u64> {
    let fault =
        |list: &str| reply.get_array(list).ok().and_then(|faults| faults.first()).and_then(bson::Bson::as_document);
    if let Some(fault) = fault("writeErrors") {
        return Err(refused_write(fault.get_i32("code").unwrap_or(0)));
    }
    Ok(count(reply.get("n")))
}

/// Which documents have one of the fields that get new names.
pub(super) fn with_field(filter: &Document, fields: &[Rename]) -> Document {
    let any: Vec<Document> = fields.iter().map(|one| doc! {&one.from: {"$exists": true}}).collect();
    let any = doc! {"$or": any};
    if filter.is_empty() {
        any
    } else {
        doc! {"$and": [filter.clone(), any]}
    }
}
