//! The effects ledger: which records took effect, and how often; read from the target itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use super::mongodb;

/// A record: partition and offset of the one topic of the test.
pub(crate) type At = (i32, i64);

/// A target whose ledger can be read.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// Connection string and database.
    MongodbAt(String, String),
    /// Connection string with database.
    PostgresAt(String),
    Sqlite(PathBuf),
}

/// What the target says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Times each record took effect.
    pub(crate) effects: BTreeMap<At, u32>,
    /// Records that are dead letters.
    pub(crate) dead: BTreeSet<At>,
    /// Rows of the table: id and note.
    pub(crate) rows: BTreeMap<i64, String>,
}

/// What is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<At>,
    pub(crate) doubled: Vec<At>,
}

impl Verdict {
    pub(crate) fn is_green(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty()
    }
}

impl Found {
    /// Each of `produced` must have taken effect once, or be one dead letter.
    pub(crate) fn judge(&self, produced: impl IntoIterator<Item = At>) -> Verdict {
        let mut verdict = Verdict::default();
        for at in produced {
            let times = self.effects.get(&at).copied().unwrap_or(0) + u32::from(self.dead.contains(&at));
            match times {
                0 => verdict.lost.push(at),
                1 => {}
                _ => verdict.doubled.push(at),
            }
        }
        verdict
    }
}

impl Store {
    /// A database of its own in the shared mongod.
    pub(crate) fn mongodb(stem: &str) -> Self {
        Self::MongodbAt(mongodb(), super::unique(stem))
    }

    /// A database of its own in the shared PostgreSQL.
    pub(crate) async fn postgres(stem: &str) -> Self {
        Self::postgres_at(super::port("PG_PORT"), stem).await
    }

    /// A database of its own in the PostgreSQL at this port.
    pub(crate) async fn postgres_at(port: u16, stem: &str) -> Self {
        let database = super::unique(stem);
        let uri = |database: &str| {
            let (user, password) = (super::setting("PG_USER"), super::setting("PG_PASSWORD"));
            format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
        };
        let (client, connection) = tokio_postgres::connect(&uri("postgres"), tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::task::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        Self::PostgresAt(uri(&database))
    }

    /// The `target` section.
    pub(crate) fn target(&self) -> Value {
        match self {
            Self::MongodbAt(uri, database) => json!({"mongodb": {"uri": uri, "database": database, "ledger": true}}),
            Self::PostgresAt(uri) => {
                // A configuration refuses secrets that are written out.
                let uri = uri.replace(&format!(":{}@", super::setting("PG_PASSWORD")), ":${env:PG_PASSWORD}@");
                json!({"postgresql": {"uri": uri, "ledger": true}})
            }
            Self::Sqlite(path) => json!({"sqlite": {"path": path, "ledger": true, "synchronous": "normal"}}),
        }
    }

    /// Reads everything; what does not exist yet is empty.
    pub(crate) async fn read(&self) -> Found {
        match self {
            Self::MongodbAt(uri, database) => read_mongodb(uri, database).await,
            Self::PostgresAt(uri) => read_postgres(uri).await,
            Self::Sqlite(path) => read_sqlite(path),
        }
    }
}

async fn read_mongodb(uri: &str, database: &str) -> Found {
    let client = mongodb::Client::with_uri_str(uri).await.unwrap();
    let db = client.database(database);
    let mut found = Found::default();
    let all = async |name: &str| -> Vec<Document> {
        db.collection::<Document>(name).find(doc! {}).await.unwrap().try_collect().await.unwrap()
    };
    for effect in all("whimbrel_ledger").await {
        let at = (effect.get_i32("partition").unwrap(), effect.get_i64("offset").unwrap());
        *found.effects.entry(at).or_default() += 1;
    }
    for letter in all("whimbrel_dead_letters").await {
        let at = letter.get_document("_id").ok().cloned().unwrap_or(letter);
        found.dead.insert((at.get_i32("partition").unwrap(), at.get_i64("offset").unwrap()));
    }
    for row in all("items").await {
        let id = row.get_i32("_id").map(i64::from).or_else(|_| row.get_i64("_id")).unwrap();
        found.rows.insert(id, row.get_str("note").unwrap().to_owned());
    }
    found
}

async fn read_postgres(uri: &str) -> Found {
    let (client, connection) = tokio_postgres::connect(uri, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::task::spawn(connection);
    let mut found = Found::default();
    let query = async |sql: &str| client.query(sql, &[]).await.unwrap_or_default();
    for row in query("SELECT \"partition\", \"offset\" FROM whimbrel.ledger").await {
        *found.effects.entry((row.get(0), row.get(1))).or_default() += 1;
    }
    for row in query("SELECT \"partition\", \"offset\" FROM whimbrel.dead_letters").await {
        found.dead.insert((row.get(0), row.get(1)));
    }
    for row in query("SELECT id::int8, note FROM items").await {
        found.rows.insert(row.get(0), row.get(1));
    }
    drop(client);
    connection.await.unwrap().unwrap();
    found
}

fn read_sqlite(path: &std::path::Path) -> Found {
    let mut found = Found::default();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let pairs = |sql: &str| -> Vec<At> {
        let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for at in pairs("SELECT \"partition\", \"offset\" FROM whimbrel_ledger") {
        *found.effects.entry(at).or_default() += 1;
    }
    found.dead.extend(pairs("SELECT \"partition\", \"offset\" FROM whimbrel_dead_letters"));
    if let Ok(mut statement) = connection.prepare("SELECT id, note FROM items") {
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        found.rows = rows.map(Result::unwrap).collect();
    }
    found
}
