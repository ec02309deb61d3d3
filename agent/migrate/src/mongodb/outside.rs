//! What the server does only outside of transactions: indexes, validators, collections, `$merge`.
//!
//! The ledger says "begun" before and "done" after, each fenced. Whoever finds "begun" runs the step again: each kind is
//! such that a second time does nothing, or says that it was done. A command of which that is not known is not run again.

use std::time::{Duration, SystemTime};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;

use super::chunk::range;
use super::client::{documents, failed};
use super::session::{MongoSession, away};
use super::step::Step;
use super::transaction::{Advance, Work, answered};
use super::value::{number, to_bson, to_json};
use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::failpoints::hit;
use crate::ledger::Progress;
use crate::throttle::Gate;
use crate::watch::Event;

/// Between two attempts at what passes by itself, doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often the server is asked how far an index is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Carries out a step once.
pub(super) async fn once(session: &mut MongoSession, job: &mut Job<'_>, step: &Step) -> Result<()> {
    let resumed = job.entry.progress.begun;
    if resumed && !step.may_be_repeated() {
        let id = &job.entry.id;
        let message = format!("a runner that is gone began `{}`, and nobody knows whether it was done", step.what());
        let remedy = format!(
            "look at the database: if all of {id} is there, `migrate repair --mark-applied {id}`; if nothing is, `migrate repair --forget {id}`"
        );
        return Err(Error::new(Kind::Refused, "outcome_unknown", message).with_remedy(remedy));
    }
    let before = job.entry.progress.clone();
    if !resumed {
        let begun = Progress { begun: true, ..before.clone() };
        session.transact(job, Work::Nothing, &Advance::To(begun)).await?;
    }
    hit("migrate_begun");
    match patiently(session, job, step, resumed).await {
        Ok(count) => {
            hit("migrate_carried_out");
            let started = SystemTime::now();
            let mut next = job.entry.progress.after_step();
            let place = step.place().unwrap_or_default();
            if count > 0 {
                next.add(place, count);
            }
            session.transact(job, Work::Nothing, &Advance::To(next)).await?;
            if count > 0 {
                let (id, progress) = (job.entry.id.to_text(), &job.entry.progress);
                job.watch.tell(&Event::Committed { id: &id, place, count, started, progress });
            }
            Ok(())
        }
        // Nobody knows: "begun" stays.
        Err(error) if matches!(error.kind, Kind::Connection | Kind::CommitUnknown | Kind::LockLost) => Err(error),
        Err(error) => {
            if !resumed {
                session.transact(job, Work::Nothing, &Advance::To(before)).await?;
            }
            Err(error)
        }
    }
}

async fn patiently(session: &mut MongoSession, job: &Job<'_>, step: &Step, resumed: bool) -> Result<u64> {
    let (mut attempt, mut wait) = (1, FIRST_WAIT);
    loop {
        match watched(session, job, step, resumed).await {
            Err(error) if error.kind == Kind::Transient && attempt <= job.options.lock_retries => {
                attempt += 1;
                let id = job.entry.id.to_text();
                job.watch.tell(&Event::Retried { id: &id, code: &error.code, attempt, wait });
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            done => return done,
        }
    }
}

/// Runs the command, and tells meanwhile how far an index is.
async fn watched(session: &mut MongoSession, job: &Job<'_>, step: &Step, resumed: bool) -> Result<u64> {
    let (database, id) = (session.database.clone(), job.entry.id.to_text());
    let command = carry_out(session, step, resumed);
    if !matches!(step, Step::CreateIndex { .. }) {
        return command.await;
    }
    let looks = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some((phase, done, total)) = index_build(&database).await {
                job.watch.tell(&Event::Measured { id: &id, phase: &phase, done, total });
            }
        }
    };
    tokio::select! {
        done = command => done,
        () = looks => Ok(0),
    }
}

/// How far this user's index builds are, as `$currentOp` says.
async fn index_build(database: &mongodb::Database) -> Option<(String, u64, Option<u64>)> {
    let stages = [
        doc! {"$currentOp": {"allUsers": false}},
        doc! {"$match": {"msg": {"$regex": "^Index Build"}, "progress": {"$exists": true}}},
        doc! {"$project": {"msg": 1, "progress": 1}},
    ];
    let cursor = database.client().database("admin").aggregate(stages).await.ok()?;
    let found: Vec<Document> = cursor.try_collect().await.ok()?;
    let first = found.first()?;
    // "Index Build: scanning collection Index Build: scanning collection: 123/456 26%"
    let phase = first.get_str("msg").ok()?.split(": ").nth(1)?.split(" Index").next()?.to_owned();
    let progress = first.get_document("progress").ok()?;
    let whole = |name: &str| number(progress.get(name)).filter(|n| *n >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of documents, not negative")]
    let whole = |name: &str| whole(name).map(|n| n as u64);
    Some((format!("building index: {phase}"), whole("done")?, whole("total")))
}

async fn carry_out(session: &mut MongoSession, step: &Step, resumed: bool) -> Result<u64> {
    let database = session.database.clone();
    let client_session = session.session.as_mut().ok_or_else(away)?;
    let (target, command) = match step {
        Step::CreateIndex { collection, keys, name, options } => {
            let mut index = doc! {"key": keys.clone(), "name": name};
            index.extend(options.clone());
            (database.clone(), doc! {"createIndexes": collection, "indexes": [index]})
        }
        Step::DropIndex { collection, name } => (database.clone(), doc! {"dropIndexes": collection, "index": name}),
        Step::Validator { collection, validator, level, action } => (
            database.clone(),
            doc! {"collMod": collection, "validator": validator.clone(), "validationLevel": level, "validationAction": action},
        ),
        Step::CreateCollection { collection, options } => {
            let mut create = doc! {"create": collection};
            create.extend(options.clone());
            (database.clone(), create)
        }
        Step::DropCollection { collection } => (database.clone(), doc! {"drop": collection}),
        Step::RenameCollection { from, to } => {
            let full = |name: &str| format!("{}.{name}", database.name());
            (database.client().database("admin"), doc! {"renameCollection": full(from), "to": full(to)})
        }
        Step::Aggregate { collection, pipeline, .. } => {
            (database.clone(), doc! {"aggregate": collection, "pipeline": pipeline.clone(), "cursor": {}})
        }
        Step::Command(command) => (database.clone(), command.clone()),
        other => {
            return Err(Error::new(
                Kind::Database,
                "in_transaction",
                format!("{} belongs in a transaction", other.what()),
            ));
        }
    };
    let mut command = command;
    let name = command.keys().next().cloned().unwrap_or_default();
    if ["createIndexes", "dropIndexes", "collMod", "create", "drop", "renameCollection", "aggregate"]
        .contains(&name.as_str())
    {
        command.insert("writeConcern", doc! {"w": "majority"});
    }
    match target.run_command(command).session(client_session).await.map_err(|error| failed(&error)) {
        Ok(reply) => answered(&reply),
        Err(error) if resumed && was_done(&name, &error) && is_there(&database, step).await => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether the error of a second time says that the first did it.
fn was_done(command: &str, error: &Error) -> bool {
    matches!(
        (command, &*error.code),
        ("dropIndexes", "IndexNotFound")
            | ("dropIndexes" | "drop" | "renameCollection", "NamespaceNotFound")
            | ("create", "NamespaceExists")
    )
}

/// For a rename: its new name is there. The others' errors say enough.
async fn is_there(database: &mongodb::Database, step: &Step) -> bool {
    let Step::RenameCollection { to, .. } = step else { return true };
    let names = database.list_collection_names().filter(doc! {"name": to}).await;
    names.is_ok_and(|names| !names.is_empty())
}

/// An aggregation that handles each document without the others, a range of `_id` at a time. `$merge` a second time writes
/// the same, so a range whose "done" was not written is simply done again.
pub(super) async fn in_chunks(session: &mut MongoSession, job: &mut Job<'_>, step: &Step, chunk: u64) -> Result<()> {
    let Step::Aggregate { collection, pipeline, .. } = step else { return Ok(()) };
    let source = documents(&session.database, collection);
    let mut gate = Gate::new(job.options.throttle);
    loop {
        session.pause(job, &mut gate).await?;
        let started = SystemTime::now();
        let after = job.entry.progress.after.as_ref().and_then(|key| to_bson(key).ok());
        let Some(range) = range(&source, after.as_ref(), chunk).await? else { break };
        let these = range.filter(&doc! {});
        let count = source.count_documents(these.clone()).await.map_err(|error| failed(&error))?;
        let mut stages = vec![doc! {"$match": these}];
        stages.extend(pipeline.iter().cloned());
        let client_session = session.session.as_mut().ok_or_else(away)?;
        source.aggregate(stages).session(client_session).await.map_err(|error| failed(&error))?;
        let mut next = Progress { after: Some(to_json(&range.upto)), ..job.entry.progress.clone() };
        next.add(collection, count);
        session.transact(job, Work::Nothing, &Advance::To(next)).await?;
        let (id, progress) = (job.entry.id.to_text(), &job.entry.progress);
        job.watch.tell(&Event::Committed { id: &id, place: collection, count, started, progress });
    }
    let next = job.entry.progress.after_step();
    session.transact(job, Work::Nothing, &Advance::To(next)).await.map(|_| ())
}
