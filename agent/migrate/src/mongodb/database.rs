//! A MongoDB database that is migrated.

use std::time::Duration;

use async_trait::async_trait;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use mongodb::options::ConnectionString;
use tokio::sync::OnceCell;

use super::check::made;
use super::client::{connect, documents, failed, hosts};
use super::lock::{self, Taken};
use super::session::MongoSession;
use super::{ledger, predict};
use crate::database::{Attempt, Database, Prediction, Sample, System};
use crate::error::{Error, Result};
use crate::ledger::{Entry, LEDGER};
use crate::migration::{Body, Check, Options};

/// Where, and how the ledger is called.
#[derive(Clone)]
pub struct Settings {
    /// Connection string; a secret.
    pub url: String,
    /// Database; default: the one of the connection string.
    pub database: Option<String>,
    /// Name of the ledger; default [`LEDGER`]. The lock's is the same with `_lock`.
    pub ledger: Option<String>,
}

/// Names of our collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) ledger: String,
    pub(super) lock: String,
}

struct MongoDatabase {
    url: String,
    database: String,
    address: String,
    names: Names,
    client: OnceCell<Client>,
}

/// A database, not connected yet.
///
/// # Errors
/// When the connection string cannot be read or names no database.
pub fn open(settings: Settings) -> Result<Box<dyn Database>> {
    let parsed = ConnectionString::parse(&settings.url).map_err(|_| {
        Error::refused(
            "this is not a MongoDB connection string",
            "write mongodb://user:password@host:port/database?replicaSet=name, with special characters percent-encoded",
        )
    })?;
    let hosts = hosts(&parsed.host_info);
    let database = settings.database.or(parsed.default_database).ok_or_else(|| {
        Error::refused("no database is named", "write it behind the host: mongodb://host:port/DATABASE?replicaSet=name")
    })?;
    let ledger = settings.ledger.unwrap_or_else(|| LEDGER.to_owned());
    let names = Names { lock: format!("{ledger}_lock"), ledger };
    let address = format!("mongodb at {hosts}, database {database}");
    Ok(Box::new(MongoDatabase { url: settings.url, database, address, names, client: OnceCell::new() }))
}

impl MongoDatabase {
    async fn database(&self) -> Result<mongodb::Database> {
        let client = self.client.get_or_try_init(|| connect(&self.url)).await?;
        Ok(client.database(&self.database))
    }
}

#[async_trait]
impl Database for MongoDatabase {
    fn system(&self) -> System {
        System::Mongodb
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn ledger(&self) -> Result<Vec<Entry>> {
        entries(&self.database().await?, &self.names).await
    }

    async fn holder(&self) -> Result<Option<String>> {
        Ok(lock::holder(&self.database().await?, &self.names).await?.map(|(by, _)| by))
    }

    async fn lock(&self, who: &str, lease: Duration) -> Result<Attempt> {
        let database = self.database().await?;
        for name in [&self.names.ledger, &self.names.lock] {
            match database.create_collection(name).await.map_err(|error| failed(&error)) {
                Err(error) if error.code != "NamespaceExists" => return Err(error),
                _ => {}
            }
        }
        let session = database.client().start_session().await.map_err(|error| failed(&error))?;
        match lock::take(&database, &self.names, &session, who, lease).await? {
            Taken::Theirs { by, outlived_in } => Ok(Attempt::Held { by, outlived_in }),
            Taken::Ours(token) => {
                let session = MongoSession::new(database, self.names.clone(), token, lease, session);
                Ok(Attempt::Locked(Box::new(session)))
            }
        }
    }

    async fn predict(&self, body: &Body, options: &Options) -> Result<Vec<Prediction>> {
        match body {
            Body::Mongodb(script) => predict::script(&self.database().await?, script, options).await,
            Body::Plugin(_) => Ok(vec![predict::plugin()]),
            Body::Sql(_) => Err(foreign()),
        }
    }

    async fn check(&self, check: &Check) -> Result<Option<String>> {
        let database = self.database().await?;
        match check {
            Check::Mongodb(check) => {
                let mut session = database.client().start_session().await.map_err(|error| failed(&error))?;
                made(&database, &mut session, check).await
            }
            // Compared by connections of its own, not by this.
            Check::Copy(_) => Ok(None),
            Check::Sql(_) => Err(foreign()),
        }
    }

    async fn sample(&self) -> Result<Sample> {
        let database = self.database().await?;
        let names = database.list_collection_names().await.map_err(|error| failed(&error))?;
        let mut rows = Vec::new();
        for name in names
            .into_iter()
            .filter(|name| !name.starts_with("system.") && *name != self.names.ledger && *name != self.names.lock)
        {
            let count = documents(&database, &name).estimated_document_count().await.map_err(|error| failed(&error))?;
            rows.push((name, count));
        }
        Ok(Sample { rows, ..Sample::default() })
    }
}

/// What the ledger holds, by id.
pub(super) async fn entries(database: &mongodb::Database, names: &Names) -> Result<Vec<Entry>> {
    let cursor = documents(database, &names.ledger).find(doc! {}).await.map_err(|error| failed(&error))?;
    let documents: Vec<Document> = cursor.try_collect().await.map_err(|error| failed(&error))?;
    let mut entries = documents.iter().map(ledger::entry).collect::<Result<Vec<_>>>()?;
    entries.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(entries)
}

/// A migration of another system.
pub(super) fn foreign() -> Error {
    Error::refused(
        "this is a SQL migration, and the database is MongoDB",
        "name the directory that goes with the database",
    )
}
