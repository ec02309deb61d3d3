//! SQLite: one file, one writer at a time. Each transaction is begun at once as a writer's and looks at the lock's token
//! first; whoever wants to take the lock over needs the same, so nothing of an old holder's can come after it.
//!
//! Calls of the library block, and run on a thread where they may.

mod backfill;
mod check;
mod error;
mod file;
mod ledger;
mod lent;
mod lock;
mod predict;
mod run;
mod session;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use self::ledger::Tables;
use crate::database::{self, Attempt, Prediction, Sample, System};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, LEDGER};
use crate::migration::{Body, Check, Options};

/// What is said of the database.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Name of the ledger; the lock's is the same with `_lock`.
    pub ledger: Option<String>,
}

/// Opens a database. The file is opened when it is asked something.
///
/// # Errors
/// [`Kind::Refused`] when the settings cannot work.
pub fn open(settings: Settings) -> Result<Box<dyn database::Database>> {
    Ok(Box::new(Database::new(settings)?))
}

/// A file of SQLite's.
#[derive(Debug, Clone)]
pub struct Database {
    path: PathBuf,
    tables: Tables,
}

impl Database {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When the ledger's name is none.
    pub fn new(settings: Settings) -> Result<Self> {
        if settings.path.as_os_str().is_empty() || settings.path.as_os_str() == ":memory:" {
            return Err(Error::refused(
                "the URL names no file: a database in memory would be gone with its migrations",
                "write `sqlite:path/of/the/file`",
            ));
        }
        Ok(Self { path: settings.path, tables: Tables::new(settings.ledger.as_deref().unwrap_or(LEDGER))? })
    }

    /// Has `work` done with a connection that writes nothing, on a thread that may block; none: there is no file.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(Option<&rusqlite::Connection>, &Tables) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { path, tables } = self.clone();
        blocking(move || work(file::to_read(&path)?.as_ref(), &tables)).await
    }
}

/// Has `work` done on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(Kind::Database, "thread", "the thread at work ended unexpectedly")),
    }
}

#[async_trait]
impl database::Database for Database {
    fn system(&self) -> System {
        System::Sqlite
    }

    fn address(&self) -> String {
        format!("sqlite file {}", self.path.display())
    }

    async fn ledger(&self) -> Result<Vec<Entry>> {
        self.reading(|connection, tables| match connection {
            Some(connection) if tables.exist(connection)? => tables.read(connection),
            _ => Ok(Vec::new()),
        })
        .await
    }

    async fn unparsed(&self, body: &Body) -> Result<Vec<(usize, String)>> {
        let body = body.clone();
        blocking(move || predict::unparsed(&body)).await
    }

    async fn holder(&self) -> Result<Option<String>> {
        self.reading(|connection, tables| match connection {
            Some(connection) if tables.exist(connection)? => {
                let row = tables.lock_row(connection)?;
                Ok(row.filter(|row| row.left_ms().is_some()).and_then(|row| row.holder))
            }
            _ => Ok(None),
        })
        .await
    }

    async fn lock(&self, who: &str, lease: Duration) -> Result<Attempt> {
        let (database, who) = (self.clone(), who.to_owned());
        blocking(move || lock::take(&database.path, &database.tables, &who, lease)).await
    }

    async fn predict(&self, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
        let (body, options) = (body.clone(), options.clone());
        self.reading(move |connection, _| predict::body(connection, &body, &options)).await
    }

    async fn check(&self, check: &Check) -> Result<Option<String>> {
        let check = check.clone();
        self.reading(move |connection, _| match connection {
            Some(connection) => check::check(connection, &check),
            None => Ok(Some("there is no file yet".to_owned())),
        })
        .await
    }

    async fn sample(&self) -> Result<Sample> {
        self.reading(|connection, _| match connection {
            Some(connection) => Ok(Sample { rows: predict::rows(connection)?, ..Sample::default() }),
            None => Ok(Sample::default()),
        })
        .await
    }
}
