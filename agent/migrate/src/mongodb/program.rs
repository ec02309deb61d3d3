//! The session lent to a plugin: its commands run in the transaction that was opened for the call, and the ledger's entry is
//! written in the same. What the plugin says of its progress counts when that transaction is committed.

use std::any::Any;
use std::time::{Duration, Instant, SystemTime};

use bson::Bson;
use mongodb::{ClientSession, Database};
use tokio::runtime::Handle;

use super::client::failed;
use super::commands::command;
use super::session::{MongoSession, away};
use super::step::Step;
use super::transaction::{Advance, Place, answered, begin, commit, write};
use super::value::to_json;
use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Outcome, now_ms};
use crate::migration::PluginFile;
use crate::program::{Counter, Counts, Failure, Lent, Program, called, load, refused};
use crate::watch::Event;

/// As long as other transactions are begun again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_millis(200);

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction.
pub(super) async fn run(session: &mut MongoSession, job: &mut Job<'_>, file: &PluginFile) -> Result<()> {
    let mut program = load(job, file).await?;
    let began = Instant::now();
    let mut attempt = 1;
    loop {
        let (back, done) = attempted(session, job, program).await?;
        program = back;
        match done {
            Ok(()) => return Ok(()),
            Err(error)
                if error.kind == Kind::Transient && began.elapsed() < GIVE_UP_AFTER && !job.cancel.is_cancelled() =>
            {
                attempt += 1;
                let id = job.entry.id.to_text();
                job.watch.tell(&Event::Retried { id: &id, code: &error.code, attempt, wait: WAIT });
                tokio::time::sleep(WAIT).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn attempted(
    session: &mut MongoSession,
    job: &mut Job<'_>,
    program: Box<dyn Program>,
) -> Result<(Box<dyn Program>, Result<()>)> {
    let started = SystemTime::now();
    let mut lent = session.session.take().ok_or_else(away)?;
    if let Err(error) = begin(&mut lent).await {
        session.session = Some(lent);
        return Ok((program, Err(error)));
    }
    let (counter, told) = Counter::new();
    let (handle, database) = (Handle::current(), session.database.clone());
    let lent = InTransaction { handle, database, session: lent, counter, trouble: None };
    let (program, lent, done) = called(job, program, Box::new(lent), told).await?;
    let back = lent.into_any().downcast::<InTransaction>().map_err(|_| away())?;
    let InTransaction { session: mut client, counter, trouble, .. } = *back;
    let outcome = match (trouble, done) {
        (Some(trouble), Ok(())) => Err(trouble.at("the plugin passed over an error")),
        (Some(trouble), Err((call, _))) => Err(trouble.at(format!("the plugin's `{call}` failed"))),
        (None, Err((call, failure))) => Err(refused(call, &failure)),
        (None, Ok(())) => ended(session, &mut client, job, counter.counts(), started).await,
    };
    if outcome.is_err() {
        let _ = client.abort_transaction().await;
    }
    session.session = Some(client);
    Ok((program, outcome))
}

/// The plugin's work and the ledger's entry, committed.
async fn ended(
    session: &MongoSession,
    client: &mut ClientSession,
    job: &mut Job<'_>,
    counts: Counts,
    started: SystemTime,
) -> Result<()> {
    let place = Place { database: &session.database, names: &session.names, token: session.token };
    super::transaction::check(&session.database, client, job).await?;
    let mut entry: Entry = job.entry.clone();
    entry.progress.step = 1;
    entry.progress.counts.clone_from(&counts);
    let entry = entry.ended(Outcome::Success, now_ms());
    write(&place, client, &entry, &Advance::End).await?;
    commit(client).await?;
    job.entry = entry;
    let id = job.entry.id.to_text();
    for (place, count) in &counts {
        let progress = &job.entry.progress;
        job.watch.tell(&Event::Committed { id: &id, place, count: count.done, started, progress });
    }
    Ok(())
}

/// A session in its transaction, in the hands of a program.
struct InTransaction {
    handle: Handle,
    database: Database,
    session: ClientSession,
    counter: Counter,
    /// The first error: with it the server has ended the transaction, whatever the plugin makes of it.
    trouble: Option<Error>,
}

impl Lent for InTransaction {
    fn run(&mut self, written: &str) -> Result<String, Failure> {
        let bad = |message: String| Failure { code: "command".into(), message, retryable: false };
        let json: serde_json::Value =
            serde_json::from_str(written).map_err(|error| bad(format!("it is no JSON: {error}")))?;
        let Step::Command(command) = command(&json).map_err(bad)? else { return Err(bad("it is no command".into())) };
        let answer = self.database.run_command(command).session(&mut self.session);
        let reply = self.handle.block_on(answer.into_future()).map_err(|error| failed(&error));
        match reply.and_then(|reply| answered(&reply).map(|_| reply)) {
            Ok(reply) => Ok(to_json(&Bson::Document(reply)).to_string()),
            Err(error) => {
                let retryable = matches!(error.kind, Kind::Transient | Kind::Connection);
                let failure = Failure { code: error.code.to_string(), message: error.message.clone(), retryable };
                self.trouble.get_or_insert(error);
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
