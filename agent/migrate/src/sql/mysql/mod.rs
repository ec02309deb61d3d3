//! MySQL and MariaDB: statements that define something commit by themselves, so each is run on its own with "begun" and what
//! the schema looked like in the ledger; rows are changed in transactions that the ledger's entry is in. The lock is fenced
//! by ending the old holder's connection.

mod activity;
mod backfill;
mod check;
mod client;
mod fingerprint;
mod ledger;
mod lent;
mod lock;
mod manner;
mod predict;
mod run;
mod second;
mod session;
mod symbols;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::sync::Mutex;

use self::client::{Connector, error};
use self::ledger::Tables;
use self::lock::Taken;
use self::second::Second;
use self::session::{MysqlSession, Server};
use crate::database::{Attempt, Database, Prediction, Sample, System};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, LEDGER};
use crate::migration::{Body, Check, Options};
use crate::sql::Step;

/// Which database, and what the ledger is called.
#[derive(Clone)]
pub struct Settings {
    /// Connection string; a secret.
    pub url: String,
    /// Trusted authorities for TLS, PEM; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Name of the ledger's table; the lock's has `_lock` added.
    pub ledger: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// Opens a database. Connects when it is asked something.
///
/// # Errors
/// [`crate::error::Kind::Refused`] when the settings cannot work.
pub fn open(settings: Settings) -> Result<Box<dyn Database>> {
    let connector = Connector::new(&settings.url, settings.ca_file.as_deref())?;
    let tables = Tables::new(connector.database(), settings.ledger.as_deref().unwrap_or(LEDGER))?;
    let system = if settings.url.starts_with("mariadb") { System::Mariadb } else { System::Mysql };
    Ok(Box::new(Mysql { connector, tables, system, idle: Mutex::new(None) }))
}

/// ER_PARSE_ERROR: no SQL of this server's.
const PARSE_ERROR: u16 = 1064;

struct Mysql {
    connector: Connector,
    tables: Tables,
    /// As the URL has it: the server is asked only when there is something to ask.
    system: System,
    /// A connection that asked something, for the next question.
    idle: Mutex<Option<Conn>>,
}

impl Mysql {
    async fn conn(&self) -> Result<Conn> {
        let idle = self.idle.lock().await.take();
        if let Some(mut conn) = idle
            && conn.ping().await.is_ok()
        {
            return Ok(conn);
        }
        self.connector.connect().await
    }

    async fn keep(&self, conn: Conn) {
        *self.idle.lock().await = Some(conn);
    }
}

#[async_trait]
impl Database for Mysql {
    fn system(&self) -> System {
        self.system
    }

    fn address(&self) -> String {
        format!("{} at {}, database {}", self.system.as_str(), self.connector.server(), self.connector.database())
    }

    async fn ledger(&self) -> Result<Vec<Entry>> {
        let mut conn = self.conn().await?;
        let there = self.tables.exist(&mut conn).await?;
        let entries = if there { self.tables.read(&mut conn).await? } else { Vec::new() };
        self.keep(conn).await;
        Ok(entries)
    }

    async fn unparsed(&self, body: &Body) -> Result<Vec<(usize, String)>> {
        let Body::Sql(script) = body else { return Ok(Vec::new()) };
        let mut conn = self.conn().await?;
        let mut wrong = Vec::new();
        for step in &script.steps {
            let Step::Statement(one) = step else { continue };
            match conn.prep(one.text.as_str()).await {
                Ok(prepared) => drop(conn.close(prepared).await),
                // What cannot be prepared, or names what is not there yet, was parsed all the same.
                Err(mysql_async::Error::Server(cause)) if cause.code != PARSE_ERROR => {}
                Err(cause) => {
                    let cause = error("it cannot be parsed", &cause);
                    if cause.kind == Kind::Connection {
                        return Err(cause);
                    }
                    wrong.push((one.line, cause.message));
                }
            }
        }
        self.keep(conn).await;
        Ok(wrong)
    }

    async fn holder(&self) -> Result<Option<String>> {
        let mut conn = self.conn().await?;
        let there = self.tables.exist(&mut conn).await?;
        let holder = if there { lock::holder(&mut conn, &self.tables).await? } else { None };
        self.keep(conn).await;
        Ok(holder)
    }

    async fn lock(&self, who: &str, lease: Duration) -> Result<Attempt> {
        let mut conn = self.conn().await?;
        self.tables.make(&mut conn).await?;
        match lock::take(&mut conn, &self.tables, who, lease).await? {
            Taken::Held { by, outlived_in } => {
                self.keep(conn).await;
                Ok(Attempt::Held { by, outlived_in })
            }
            Taken::Ours(token) => {
                let server = Server::ask(&mut conn).await?;
                let id = conn.id();
                let second = Arc::new(Second::new(self.connector.clone()));
                let tables = self.tables.clone();
                Ok(Attempt::Locked(Box::new(MysqlSession {
                    conn: Some(conn),
                    id,
                    server,
                    tables,
                    token,
                    lease,
                    second,
                })))
            }
        }
    }

    async fn predict(&self, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
        let mut conn = self.conn().await?;
        let predicted = predict::body(&mut conn, &self.tables, body, options).await?;
        self.keep(conn).await;
        Ok(predicted)
    }

    async fn check(&self, check: &Check) -> Result<Option<String>> {
        let Check::Sql(check) = check else {
            return Err(Error::refused("the check is not for SQL", "write one of SQL's: count, query, equal"));
        };
        let mut conn = self.conn().await?;
        let found = check::check_apart(&mut conn, check).await?;
        self.keep(conn).await;
        Ok(found)
    }

    async fn sample(&self) -> Result<Sample> {
        let mut conn = self.conn().await?;
        let server = Server::ask(&mut conn).await?;
        let text = "SELECT table_name, coalesce(table_rows, 0) FROM information_schema.tables
            WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 2 DESC, 1 LIMIT 200";
        let rows: std::result::Result<Vec<(String, u64)>, _> = conn.exec(text, (&self.tables.database,)).await;
        let rows = rows.map_err(|cause| error("cannot look at the tables", &cause))?;
        // A user without the privilege to see them sees none.
        let unseen = |cause: mysql_async::Error| {
            tracing::debug!(error = %cause, "the server does not say what it is at");
            cause.is_fatal()
        };
        let (mut blocked, mut progress, mut broken) = (Vec::new(), Vec::new(), false);
        match activity::blocked(&mut conn, None, server.mariadb).await {
            Ok(sessions) => blocked = sessions,
            Err(cause) => broken = unseen(cause),
        }
        if !broken {
            match activity::progress(&mut conn, 0, server.mariadb).await {
                Ok(all) => progress = all,
                Err(cause) => broken = unseen(cause),
            }
        }
        if !broken {
            self.keep(conn).await;
        }
        Ok(Sample { rows, blocked, progress })
    }
}
