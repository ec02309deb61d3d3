//! PostgreSQL itself: PG_PORT, PG_USER and PG_PASSWORD say where.

mod apply;
mod backfill;
mod conventions;
mod kill;
mod lock;
mod plugin;
mod predict;
mod statements;

use tokio_postgres::{Client, NoTls};
use whimbrel_migrate::contents::Contents;
use whimbrel_migrate::database::Database;
use whimbrel_migrate::migration::{Body, Migration};
use whimbrel_migrate::sql::postgresql::{Settings, open};
use whimbrel_migrate::sql::{Dialect, file, script};

use crate::support::{migrations, setting, unique};

/// A database of a test's own, and a connection to look at it.
struct Scene {
    name: String,
    client: Client,
}

fn url(database: &str) -> String {
    url_of(&setting("PG_USER"), &setting("PG_PASSWORD"), database)
}

fn url_of(user: &str, password: &str, database: &str) -> String {
    format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", setting("PG_PORT"))
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Scene {
    async fn new(stem: &str) -> Self {
        let name = unique(stem);
        connect(&url("postgres")).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self { client: connect(&url(&name)).await, name }
    }

    fn settings(&self) -> Settings {
        Settings::new(url(&self.name))
    }

    fn open(&self) -> Box<dyn Database> {
        open(self.settings()).unwrap()
    }

    /// Another connection to the test's database.
    async fn other(&self) -> Client {
        connect(&url(&self.name)).await
    }

    async fn run(&self, text: &str) {
        self.client.batch_execute(text).await.unwrap();
    }

    /// The one value of a query, as text; "" for NULL.
    async fn value(&self, query: &str) -> String {
        let text = format!("SELECT coalesce(({query})::text, '')");
        self.client.query_one(&text, &[]).await.unwrap().get(0)
    }

    /// What the ledger says, a line per migration.
    async fn ledger(&self) -> String {
        let text = "SELECT string_agg(concat_ws(' ', id, direction, outcome, attempts), ', ' ORDER BY id)
            FROM whimbrel_migrations";
        self.value(text).await
    }

    async fn close(self) {
        drop(self.client);
        let text = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        connect(&url("postgres")).await.batch_execute(&text).await.unwrap();
    }
}

/// Waits until a query gives true.
async fn until(client: &Client, query: &str) {
    for _ in 0..500 {
        if client.query_one(query, &[]).await.unwrap().get(0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never true: {query}");
}

/// Migrations 1, 2, … of YAML texts.
fn yaml(texts: &[&str]) -> Vec<Migration> {
    let read = |text: &&str| file::parse(text, Dialect::Postgresql).unwrap_or_else(|faults| panic!("{faults:?}"));
    migrations(texts.iter().map(read).collect())
}

/// Migrations 1, 2, … of SQL texts.
fn sql(texts: &[&str]) -> Vec<Migration> {
    let read = |text: &&str| {
        let script = script::parse(text, Dialect::Postgresql).unwrap_or_else(|faults| panic!("{faults:?}"));
        Contents { name: None, up: Body::Sql(script), down: None, checks: Vec::new() }
    };
    migrations(texts.iter().map(read).collect())
}
