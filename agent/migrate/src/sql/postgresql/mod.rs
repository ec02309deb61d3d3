//! PostgreSQL: migrations in one transaction with the ledger where that can be, a lock that is fenced by ending the old
//! holder's session, and a view of what a statement is at while it runs.

mod activity;
mod backfill;
mod checks;
mod client;
mod conditions;
mod effect;
mod ledger;
mod lent;
mod lock;
mod predict;
mod resume;
mod run;
mod second;
mod session;
mod statement;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::database::{Attempt, Database, Job, Keeper, Prediction, Sample, Session, System};
use crate::error::{Error, Result};
use crate::ledger::{Entry, Id, LEDGER};
use crate::migration::{Body, Check, Options};

use client::{Connector, error};
use ledger::Tables;
use lock::{LeaseKeeper, Taken};
use second::Second;
use session::PostgresqlSession;
pub(super) use statement::is_one_transaction;

/// Which database, and where in it the ledger is.
#[derive(Clone)]
pub struct Settings {
    /// Connection string; a secret.
    pub url: String,
    /// Schema of the ledger; without it the one where this user's tables are made.
    pub schema: Option<String>,
    /// Trusted authorities for TLS, PEM; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Name of the ledger's table; the lock's has `_lock` added.
    pub ledger: String,
}

impl Settings {
    /// The defaults for a connection string.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: None, ca_file: None, ledger: LEDGER.to_owned() }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("schema", &self.schema).field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// Opens a database. Connects when it is asked something.
///
/// # Errors
/// [`crate::error::Kind::Refused`] when the settings cannot work.
pub fn open(settings: Settings) -> Result<Box<dyn Database>> {
    let connector = Connector::new(&settings.url, settings.ca_file.as_ref())?;
    let tables = Tables::new(settings.schema.as_deref(), &settings.ledger)?;
    Ok(Box::new(Postgresql { connector, tables, idle: Mutex::new(None) }))
}

struct Postgresql {
    connector: Connector,
    tables: Tables,
    /// A connection that asked something, for the next question.
    idle: Mutex<Option<Client>>,
}

impl Postgresql {
    async fn client(&self) -> Result<Client> {
        let idle = self.idle.lock().await.take();
        match idle.filter(|client| !client.is_closed()) {
            Some(client) => Ok(client),
            None => {
                let client = self.connector.connect().await?;
                let text = "SET client_min_messages = warning; SET standard_conforming_strings = on";
                client.batch_execute(text).await.map_err(|cause| error("cannot set up a session", &cause))?;
                Ok(client)
            }
        }
    }

    async fn keep(&self, client: Client) {
        *self.idle.lock().await = Some(client);
    }
}

#[async_trait]
impl Database for Postgresql {
    fn system(&self) -> System {
        System::Postgresql
    }

    fn address(&self) -> String {
        format!("postgresql at {}, database {}", self.connector.server(), self.connector.database())
    }

    async fn ledger(&self) -> Result<Vec<Entry>> {
        let client = self.client().await?;
        let place = self.tables.place(&client).await?;
        let entries = if place.exists(&client).await? { place.read(&client).await? } else { Vec::new() };
        self.keep(client).await;
        Ok(entries)
    }

    async fn holder(&self) -> Result<Option<String>> {
        let client = self.client().await?;
        let place = self.tables.place(&client).await?;
        let holder = if place.exists(&client).await? { lock::holder(&client, &place).await? } else { None };
        self.keep(client).await;
        Ok(holder)
    }

    async fn lock(&self, who: &str, lease: Duration) -> Result<Attempt> {
        let client = self.client().await?;
        let place = self.tables.place(&client).await?;
        place.make(&client).await?;
        match lock::take(&client, &place, who, lease).await? {
            Taken::Held { by, outlived_in } => {
                self.keep(client).await;
                Ok(Attempt::Held { by, outlived_in })
            }
            Taken::Ours(token) => {
                let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await;
                let pid =
                    row.and_then(|row| row.try_get(0)).map_err(|cause| error("cannot look at the session", &cause))?;
                let second = Arc::new(Second::new(self.connector.clone()));
                let connector = self.connector.clone();
                Ok(Attempt::Locked(Box::new(PostgresqlSession {
                    connector,
                    client: Arc::new(client),
                    pid,
                    place,
                    token,
                    lease,
                    second,
                })))
            }
        }
    }

    async fn predict(&self, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
        let client = self.client().await?;
        let predicted = predict::all(&client, body, options).await?;
        self.keep(client).await;
        Ok(predicted)
    }

    async fn check(&self, check: &Check) -> Result<Option<String>> {
        let client = self.client().await?;
        client.batch_execute("BEGIN READ ONLY").await.map_err(|cause| error("cannot look", &cause))?;
        let found = checks::one(&client, check).await;
        client.batch_execute("ROLLBACK").await.map_err(|cause| error("cannot look", &cause))?;
        self.keep(client).await;
        found
    }

    async fn sample(&self) -> Result<Sample> {
        let client = self.client().await?;
        let doing = |cause: tokio_postgres::Error| error("cannot look at the tables", &cause);
        // Of a table that nobody counted yet, what the planner thinks.
        let text = "SELECT CASE WHEN s.schemaname = current_schema() THEN s.relname::text
                    ELSE s.schemaname || '.' || s.relname END,
                CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup ELSE greatest(0, c.reltuples)::bigint END
            FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid ORDER BY 2 DESC LIMIT 200";
        let rows = client.query_typed(text, &[]).await.map_err(doing)?;
        let row = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
        let rows = rows.iter().map(row).collect::<Result<_, _>>().map_err(doing)?;
        let blocked = activity::blocked(&client, None).await?;
        let progress = activity::progress(&client, None).await?;
        let progress = progress
            .into_iter()
            .map(|measure| {
                let relation = measure.relation.map(|relation| format!("{relation}: ")).unwrap_or_default();
                (format!("{relation}{}", measure.phase), measure.done, measure.total)
            })
            .collect();
        self.keep(client).await;
        Ok(Sample { rows, blocked, progress })
    }
}

#[async_trait]
impl Session for PostgresqlSession {
    fn keeper(&self) -> Box<dyn Keeper> {
        Box::new(LeaseKeeper {
            second: Arc::clone(&self.second),
            place: self.place.clone(),
            token: self.token,
            lease: self.lease,
        })
    }

    async fn ledger(&mut self) -> Result<Vec<Entry>> {
        self.place.read(&self.client).await
    }

    async fn write(&mut self, entry: &Entry) -> Result<()> {
        self.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
        self.place.write(&self.client, self.token, entry).await
    }

    async fn erase(&mut self, id: &Id) -> Result<()> {
        self.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
        self.place.erase(&self.client, self.token, id).await
    }

    async fn run(&mut self, job: &mut Job<'_>) -> Result<()> {
        match job.body {
            Body::Sql(script) => self.script(job, script).await,
            Body::Mongodb(_) => Err(Error::refused("these are steps of MongoDB", "run them on MongoDB")),
            Body::Plugin(file) => lent::run(self, job, file).await,
        }
    }

    async fn release(self: Box<Self>) -> Result<()> {
        lock::release(&self.client, &self.place, self.token).await
    }
}
