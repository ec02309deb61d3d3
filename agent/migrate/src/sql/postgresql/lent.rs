//! The session lent to a plugin: its statements run in the transaction that was opened for the call, with the ledger's entry
//! in the same. A statement that fails is undone alone, so that a plugin can do something about it.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_util::sync::CancellationToken;

use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Count, Direction, Entry, Outcome, Progress, now_ms};
use crate::migration::PluginFile;
use crate::program::{Call, Failure, Lent, Program};
use crate::sql::{Dialect, script, words};
use crate::watch::Event;

use super::checks;
use super::client::{Connector, error};
use super::run::committed;
use super::session::{PostgresqlSession, go_on};

/// Rows of one answer: a plugin that wants more asks for them in pieces.
const MOST_ROWS: usize = 10_000;

type Counts = BTreeMap<String, Count>;

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction.
/// Copies are compared after that, and the ledger then says that the migration is over.
pub(super) async fn run(session: &PostgresqlSession, job: &mut Job<'_>, file: &PluginFile) -> Result<()> {
    if job.entry.progress.is_untouched() {
        called_in_transaction(session, job, file).await?;
    }
    if checks::has_copies(job) { session.checked(job).await } else { Ok(()) }
}

async fn called_in_transaction(session: &PostgresqlSession, job: &mut Job<'_>, file: &PluginFile) -> Result<()> {
    let (programs, file) = (Arc::clone(job.programs), file.clone());
    let loaded = tokio::task::spawn_blocking(move || programs.load(&file)).await;
    let mut program = loaded.map_err(|_| gone())??;
    let mut attempt = 1;
    loop {
        go_on(job)?;
        session.reset(job).await?;
        let (back, done) = attempted(session, job, program).await?;
        program = back;
        match done {
            Ok(entry) => {
                let began = job.entry.started_at_ms;
                job.entry = entry;
                committed(job, &Progress::default(), began);
                return Ok(());
            }
            Err(failed) => {
                session.rollback().await;
                session.passed(job, attempt, failed).await?;
                attempt += 1;
            }
        }
    }
}

async fn attempted(
    session: &PostgresqlSession,
    job: &Job<'_>,
    program: Box<dyn Program>,
) -> Result<(Box<dyn Program>, Result<Entry>)> {
    if let Err(failed) = session.execute("cannot begin", "BEGIN; SAVEPOINT command").await {
        return Ok((program, Err(failed)));
    }
    let given_up = CancellationToken::new();
    // When this is given up, the thread of the plugin is still there: it gets no more answers.
    let _guard = given_up.clone().drop_guard();
    let (tell, mut told) = mpsc::unbounded_channel();
    let lent = InTransaction {
        handle: Handle::current(),
        connector: session.connector.clone(),
        client: Arc::clone(&session.client),
        given_up,
        counts: Counts::new(),
        trouble: None,
        tell,
    };
    let calls: &[Call] = match job.direction {
        Direction::Up => &[Call::Up, Call::Validate],
        Direction::Down => &[Call::Down],
    };
    let mut working = tokio::task::spawn_blocking(move || called(program, lent, calls));
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
    let lent = lent.into_any().downcast::<InTransaction>().map_err(|_| gone())?;
    let ended = match (lent.trouble, done) {
        // Whatever the plugin made of it, the transaction is over.
        (Some(trouble), _) => Err(trouble),
        (None, Err((call, failure))) => Err(refused(call, &failure)),
        (None, Ok(())) => concluded(session, job, lent.counts).await,
    };
    Ok((program, ended))
}

type Called = (Box<dyn Program>, Box<dyn Lent>, Result<(), (Call, Failure)>);

fn called(mut program: Box<dyn Program>, lent: InTransaction, calls: &[Call]) -> Called {
    let mut lent: Box<dyn Lent> = Box::new(lent);
    for call in calls {
        let (back, answer) = program.call(*call, lent);
        lent = back;
        if let Err(failure) = answer {
            return (program, lent, Err((*call, failure)));
        }
    }
    (program, lent, Ok(()))
}

/// The checks and the ledger's entry, committed with the plugin's work.
async fn concluded(session: &PostgresqlSession, job: &Job<'_>, counts: Counts) -> Result<Entry> {
    checks::all(session, job).await?;
    let progress = Progress { step: 1, counts, ..Progress::default() };
    if checks::has_copies(job) {
        let entry = Entry { progress, ..job.entry.clone() };
        session.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
        session.place.write(&session.client, session.token, &entry).await?;
        session.commit().await?;
        return Ok(entry);
    }
    let ended = Entry { progress, ..job.entry.ended(Outcome::Success, now_ms()) };
    session.conclude(job.direction, &ended).await?;
    session.commit().await?;
    Ok(ended)
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

fn gone() -> Error {
    Error::new(Kind::Database, "plugin", "the thread of the plugin ended unexpectedly")
}

struct InTransaction {
    handle: Handle,
    connector: Connector,
    client: Arc<Client>,
    given_up: CancellationToken,
    counts: Counts,
    /// The first error after which the transaction must be begun again or is lost, whatever the plugin makes of it.
    trouble: Option<Error>,
    tell: mpsc::UnboundedSender<(String, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
}

impl InTransaction {
    async fn answer(&self, command: &Command) -> Result<String> {
        let work = self.connector.guarded(&self.client, answer(&self.client, command));
        tokio::select! {
            answer = work => answer,
            () = self.given_up.cancelled() => Err(Error::new(Kind::LockLost, "lock_lost", "the migration was given up")),
        }
    }
}

impl Lent for InTransaction {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let bad = |message: String| Failure { code: "command".to_owned(), message, retryable: false };
        let command: Command =
            serde_json::from_str(command).map_err(|error| bad(format!("it is no command: {error}")))?;
        // What would end the transaction is refused here as in files.
        let script = script::parse(&command.sql, Dialect::Postgresql).map_err(|faults| {
            bad(faults.first().map_or_else(|| "it is no statement".to_owned(), |fault| fault.message.clone()))
        })?;
        if script.steps.len() != 1 {
            return Err(bad("it is not one statement".to_owned()));
        }
        if command.parameters.iter().any(|parameter| parameter.is_array() || parameter.is_object()) {
            return Err(bad("a parameter is no number, text, flag or null".to_owned()));
        }
        self.handle.block_on(self.answer(&command)).map_err(|failed| {
            let over = matches!(failed.kind, Kind::Transient | Kind::Connection | Kind::LockLost);
            let failure = Failure {
                code: failed.code.to_string(),
                message: failed.message.clone(),
                retryable: failed.kind == Kind::Transient,
            };
            if over {
                self.trouble.get_or_insert(failed);
            }
            failure
        })
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

/// A parameter as text, which the server reads as the type it takes there.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Text {
    fn of(value: &Value) -> Self {
        Self(match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }
}

/// Runs a command; what it changed is undone when it fails.
async fn answer(client: &Client, command: &Command) -> Result<String> {
    let mark = "RELEASE command; SAVEPOINT command";
    client.batch_execute(mark).await.map_err(|cause| error("", &cause))?;
    match rows(client, command).await {
        Ok(answer) => Ok(answer),
        Err(failed) => {
            client.batch_execute("ROLLBACK TO command").await.map_err(|cause| error("", &cause))?;
            Err(failed)
        }
    }
}

async fn rows(client: &Client, command: &Command) -> Result<String> {
    let doing = |cause: tokio_postgres::Error| error("", &cause);
    let parameters: Vec<Text> = command.parameters.iter().map(Text::of).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
    let sql = command.sql.trim().trim_end_matches(';');
    let statement = client.prepare(sql).await.map_err(doing)?;
    if statement.params().len() != parameters.len() {
        let (wanted, given) = (statement.params().len(), parameters.len());
        return Err(Error::new(
            Kind::Database,
            "command",
            format!("it takes {wanted} parameters, and {given} are given"),
        ));
    }
    if statement.columns().is_empty() {
        let affected = client.execute(&statement, &parameters).await.map_err(doing)?;
        return Ok(json!({"rows": [], "affected": affected}).to_string());
    }
    // As JSON, which the server can write any type in.
    let text = format!("WITH answer AS (\n{sql}\n) SELECT to_json(answer)::text FROM answer LIMIT {}", MOST_ROWS + 1);
    let found = client.query(&text, &parameters).await.map_err(doing)?;
    if found.len() > MOST_ROWS {
        let message = format!("the answer has more than {MOST_ROWS} rows: ask for less");
        return Err(Error::new(Kind::Database, "too_many_rows", message));
    }
    let texts = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>().map_err(doing)?;
    let reads = matches!(&*words::verb(sql), "select" | "values" | "table" | "with");
    let affected = if reads { 0 } else { texts.len() };
    Ok(format!("{{\"rows\":[{}],\"affected\":{affected}}}", texts.join(",")))
}
