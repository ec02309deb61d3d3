//! The session lent to a plugin: its statements run in the transaction that was opened for the call, with the ledger's entry
//! in the same. A statement that fails is undone alone, so that a plugin can do something about it.

use std::any::Any;
use std::error::Error as StdError;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_util::sync::CancellationToken;

use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Outcome, Progress, now_ms};
use crate::migration::PluginFile;
use crate::program::{Counter, Counts, Failure, Lent, Program, called, gone, load, refused};
use crate::sql::command::{Command, MOST_ROWS, bad, too_many_rows};
use crate::sql::{Dialect, words};

use super::checks;
use super::client::{Connector, error};
use super::run::committed;
use super::session::PostgresqlSession;

/// Runs a plugin's `up` and `validate`, or its `down`, in one transaction.
/// Copies are compared after that, and the ledger then says that the migration is over.
pub(super) async fn run(session: &PostgresqlSession, job: &mut Job<'_>, file: &PluginFile) -> Result<()> {
    if job.entry.progress.is_untouched() {
        called_in_transaction(session, job, file).await?;
    }
    if job.has_copies() { session.checked(job).await } else { Ok(()) }
}

async fn called_in_transaction(session: &PostgresqlSession, job: &mut Job<'_>, file: &PluginFile) -> Result<()> {
    let mut program = load(job, file).await?;
    let mut attempt = 1;
    loop {
        job.go_on()?;
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
                job.passed(attempt, failed).await?;
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
    let (counter, told) = Counter::new();
    let lent = InTransaction {
        handle: Handle::current(),
        connector: session.connector.clone(),
        client: Arc::clone(&session.client),
        given_up,
        counter,
        trouble: None,
    };
    let (program, lent, done) = called(job, program, Box::new(lent), told).await?;
    let lent = lent.into_any().downcast::<InTransaction>().map_err(|_| gone())?;
    let ended = match (lent.trouble, done) {
        // Whatever the plugin made of it, the transaction is over.
        (Some(trouble), _) => Err(trouble),
        (None, Err((call, failure))) => Err(refused(call, &failure)),
        (None, Ok(())) => concluded(session, job, lent.counter.counts()).await,
    };
    Ok((program, ended))
}

/// The checks and the ledger's entry, committed with the plugin's work.
async fn concluded(session: &PostgresqlSession, job: &Job<'_>, counts: Counts) -> Result<Entry> {
    checks::all(session, job).await?;
    let progress = Progress { step: 1, counts, ..Progress::default() };
    if job.has_copies() {
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

struct InTransaction {
    handle: Handle,
    connector: Connector,
    client: Arc<Client>,
    given_up: CancellationToken,
    counter: Counter,
    /// The first error after which the transaction must be begun again or is lost, whatever the plugin makes of it.
    trouble: Option<Error>,
}

impl InTransaction {
    async fn answer(&self, sql: &str, parameters: &[Text]) -> Result<String> {
        let work = self.connector.guarded(&self.client, answer(&self.client, sql, parameters));
        tokio::select! {
            answer = work => answer,
            () = self.given_up.cancelled() => Err(Error::new(Kind::LockLost, "lock_lost", "the migration was given up")),
        }
    }
}

impl Lent for InTransaction {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let (command, script) = Command::read(command, Dialect::Postgresql)?;
        if script.steps.len() != 1 {
            return Err(bad("it is not one statement"));
        }
        let parameters = command.parameters(Text::of)?;
        self.handle.block_on(self.answer(&command.sql, &parameters)).map_err(|failed| {
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
        self.counter.progress(place, done, expected);
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
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self(None)),
            Value::String(text) => Some(Self(Some(text.clone()))),
            Value::Bool(_) | Value::Number(_) => Some(Self(Some(value.to_string()))),
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Runs a command; what it changed is undone when it fails.
async fn answer(client: &Client, sql: &str, parameters: &[Text]) -> Result<String> {
    let mark = "RELEASE command; SAVEPOINT command";
    client.batch_execute(mark).await.map_err(|cause| error("", &cause))?;
    match rows(client, sql, parameters).await {
        Ok(answer) => Ok(answer),
        Err(failed) => {
            client.batch_execute("ROLLBACK TO command").await.map_err(|cause| error("", &cause))?;
            Err(failed)
        }
    }
}

async fn rows(client: &Client, sql: &str, parameters: &[Text]) -> Result<String> {
    let doing = |cause: tokio_postgres::Error| error("", &cause);
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as _).collect();
    let sql = sql.trim().trim_end_matches(';');
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
        return Err(Error::new(Kind::Database, "too_many_rows", too_many_rows()));
    }
    let texts = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>().map_err(doing)?;
    let reads = matches!(&*words::verb(sql), "select" | "values" | "table" | "with");
    let affected = if reads { 0 } else { texts.len() };
    Ok(format!("{{\"rows\":[{}],\"affected\":{affected}}}", texts.join(",")))
}
