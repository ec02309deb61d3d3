//! A database of a test's own with migrations for it, each of which shows how often it was applied.

use std::path::PathBuf;

use bson::{Document, doc};
use mongodb::Client;
use mysql_async::prelude::Queryable as _;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::support::{mongodb, port, setting, unique};

/// Rows or documents that are migrated.
pub(super) const ROWS: i64 = 1_500;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Mongodb,
    Postgres,
    Mariadb,
    Sqlite,
}

/// A database, and its migrations.
pub(super) struct Scene {
    pub(super) store: Store,
    pub(super) name: String,
    root: TempDir,
}

/// Counters that migrations make one larger: each must be 1 at the end.
const MONGODB: [(&str, &str); 5] = [
    ("0001_n.yaml", "steps:\n  - update: {collection: orders, filter: {}, update: {$inc: {n: 1}}}\n"),
    (
        "0002_index.yaml",
        "steps:\n  - create_index: {collection: orders, keys: {n: 1}}\n  - create_collection: {collection: log}\n",
    ),
    (
        "0003_m.yaml",
        "steps:\n  - update: {collection: orders, filter: {}, update: [{$set: {m: {$add: ['$m', 1]}}}]}\n  - insert: {collection: log, documents: [{m: 1}]}\n",
    ),
    (
        "0004_rename.yaml",
        "steps:\n  - rename_field: {collection: orders, fields: {k: key}}\n  - rename_collection: {from: orders, to: bills}\n",
    ),
    ("0005_key.up.json", r#"[{"update": "bills", "updates": [{"q": {}, "u": {"$inc": {"key": 1}}, "multi": true}]}]"#),
];

const POSTGRES: [(&str, &str); 6] = [
    (
        "0001_schema.up.sql",
        "CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, m int NOT NULL DEFAULT 0);\nINSERT INTO orders (id) SELECT g FROM generate_series(1, 1500) g;\n",
    ),
    ("0002_n.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1', batch: 50}\n"),
    (
        "0003_index.up.sql",
        "-- whimbrel: no-transaction\nCREATE INDEX CONCURRENTLY orders_n ON orders (n);\nCREATE TABLE log (at timestamptz);\n",
    ),
    ("0004_m.up.sql", "UPDATE orders SET m = m + 1;\nINSERT INTO log VALUES (now());\n"),
    ("0005_key.up.sql", "ALTER TABLE orders ADD COLUMN key int NOT NULL DEFAULT 0;\n"),
    ("0006_fill.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'key = key + 1', batch: 70}\n"),
];

const MARIADB: [(&str, &str); 6] = [
    (
        "0001_schema.up.sql",
        "CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, m int NOT NULL DEFAULT 0) ENGINE=InnoDB;\nINSERT INTO orders (id) SELECT seq FROM seq_1_to_1500;\n",
    ),
    ("0002_n.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1', batch: 50}\n"),
    (
        "0003_index.up.sql",
        "CREATE INDEX orders_n ON orders (n);\nCREATE TABLE log (at timestamp);\nALTER TABLE orders ADD COLUMN extra int;\n",
    ),
    ("0004_m.up.sql", "UPDATE orders SET m = m + 1;\nINSERT INTO log VALUES (now());\n"),
    (
        "0005_key.up.sql",
        "ALTER TABLE orders ADD COLUMN `key` int NOT NULL DEFAULT 0;\nALTER TABLE orders DROP COLUMN extra;\n",
    ),
    ("0006_fill.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: '`key` = `key` + 1', batch: 70}\n"),
];

const SQLITE: [(&str, &str); 5] = [
    (
        "0001_schema.up.sql",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0, m INTEGER NOT NULL DEFAULT 0);\nWITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 1500) INSERT INTO orders (id) SELECT i FROM g;\nCREATE TABLE log (at TEXT);\n",
    ),
    ("0002_n.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1', batch: 50}\n"),
    ("0003_index.up.sql", "CREATE INDEX orders_n ON orders (n);\n"),
    (
        "0004_m.up.sql",
        "UPDATE orders SET m = m + 1;\nINSERT INTO log VALUES (datetime('now'));\nALTER TABLE orders ADD COLUMN key INTEGER NOT NULL DEFAULT 0;\n",
    ),
    ("0005_fill.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'key = key + 1', batch: 70}\n"),
];

impl Scene {
    /// A fresh database, and a directory with its migrations.
    pub(super) async fn new(store: Store, stem: &str) -> Self {
        let scene = Self::bare(store, stem).await;
        let files: &[(&str, &str)] = match store {
            Store::Mongodb => &MONGODB,
            Store::Postgres => &POSTGRES,
            Store::Mariadb => &MARIADB,
            Store::Sqlite => &SQLITE,
        };
        for (file, text) in files {
            scene.file(file, text);
        }
        if store == Store::Mongodb {
            let rows = (1..=ROWS).map(|id| doc! {"_id": id, "n": 0, "m": 0, "k": 0});
            scene.mongodb().await.collection::<Document>("orders").insert_many(rows).await.unwrap();
        }
        scene
    }

    /// An empty database, and an empty directory.
    pub(super) async fn bare(store: Store, stem: &str) -> Self {
        let scene = Self { store, name: unique(stem), root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(scene.directory()).unwrap();
        match store {
            Store::Postgres => {
                postgres("postgres").await.batch_execute(&format!("CREATE DATABASE {}", scene.name)).await.unwrap()
            }
            Store::Mariadb => mariadb("").await.query_drop(format!("CREATE DATABASE {}", scene.name)).await.unwrap(),
            Store::Mongodb | Store::Sqlite => {}
        }
        scene
    }

    /// Where the migrations are.
    pub(super) fn directory(&self) -> PathBuf {
        self.root.path().join("migrations")
    }

    /// Writes a migration.
    pub(super) fn file(&self, name: &str, text: &str) {
        std::fs::write(self.directory().join(name), text).unwrap();
    }

    pub(super) fn url(&self) -> String {
        let name = &self.name;
        match self.store {
            Store::Mongodb => mongodb().replace("/?", &format!("/{name}?")),
            Store::Postgres => {
                format!(
                    "postgresql://{}:{}@127.0.0.1:{}/{name}",
                    setting("PG_USER"),
                    setting("PG_PASSWORD"),
                    port("PG_PORT")
                )
            }
            Store::Mariadb => mariadb_url(name),
            Store::Sqlite => format!("sqlite:{}", self.root.path().join("shop.db").display()),
        }
    }

    pub(super) async fn mongodb(&self) -> ::mongodb::Database {
        Client::with_uri_str(mongodb()).await.unwrap().database(&self.name)
    }

    /// That every migration was applied once, and once only.
    pub(super) async fn assert_applied_once(&self) {
        let good = "n = 1 AND m = 1";
        let (rows, right, logged, entries) = match self.store {
            Store::Mongodb => {
                let database = self.mongodb().await;
                let bills = database.collection::<Document>("bills");
                let count = async |name: &str, filter| {
                    database.collection::<Document>(name).count_documents(filter).await.unwrap()
                };
                assert!(bills.list_index_names().await.unwrap().contains(&"n_1".to_owned()));
                let once = doc! {"n": 1, "m": 1, "key": 1, "k": {"$exists": false}};
                (
                    count("bills", doc! {}).await,
                    count("bills", once).await,
                    count("log", doc! {}).await,
                    count("whimbrel_migrations", doc! {"outcome": "success"}).await,
                )
            }
            Store::Postgres => {
                let client = postgres(&self.name).await;
                let count = async |sql: &str| {
                    let count: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
                    u64::try_from(count).unwrap()
                };
                assert_eq!(
                    count("SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass AND indisvalid").await,
                    2
                );
                (
                    count("SELECT count(*) FROM orders").await,
                    count(&format!("SELECT count(*) FROM orders WHERE {good} AND key = 1")).await,
                    count("SELECT count(*) FROM log").await,
                    count("SELECT count(*) FROM whimbrel_migrations WHERE outcome = 'success'").await,
                )
            }
            Store::Mariadb => {
                let mut client = mariadb(&self.name).await;
                let mut count = async |sql: &str| client.query_first::<u64, _>(sql).await.unwrap().unwrap();
                (
                    count("SELECT count(*) FROM orders").await,
                    count(&format!("SELECT count(*) FROM orders WHERE {good} AND `key` = 1")).await,
                    count("SELECT count(*) FROM log").await,
                    count("SELECT count(*) FROM whimbrel_migrations WHERE outcome = 'success'").await,
                )
            }
            Store::Sqlite => {
                let client = rusqlite::Connection::open(self.root.path().join("shop.db")).unwrap();
                let count = |sql: &str| client.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
                let count = |sql: &str| u64::try_from(count(sql)).unwrap();
                (
                    count("SELECT count(*) FROM orders"),
                    count(&format!("SELECT count(*) FROM orders WHERE {good} AND key = 1")),
                    count("SELECT count(*) FROM log"),
                    count("SELECT count(*) FROM whimbrel_migrations WHERE outcome = 'success'"),
                )
            }
        };
        let files = std::fs::read_dir(self.directory()).unwrap().count() as u64;
        let all = u64::try_from(ROWS).unwrap();
        assert_eq!(
            (rows, right, logged, entries),
            (all, all, 1, files),
            "{:?}: rows, migrated once, log lines, ledger",
            self.store
        );
    }

    pub(super) async fn close(self) {
        match self.store {
            Store::Mongodb => self.mongodb().await.drop().await.unwrap(),
            Store::Postgres => {
                let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
                postgres("postgres").await.batch_execute(&drop).await.unwrap();
            }
            Store::Mariadb => mariadb("").await.query_drop(format!("DROP DATABASE {}", self.name)).await.unwrap(),
            Store::Sqlite => {}
        }
    }
}

fn mariadb_url(database: &str) -> String {
    let (user, password) = (setting("MARIADB_USER"), setting("MARIADB_PASSWORD"));
    format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", port("MARIADB_PORT"))
}

/// A connection of the test's own.
pub(super) async fn mariadb(database: &str) -> mysql_async::Conn {
    mysql_async::Conn::from_url(mariadb_url(database)).await.unwrap()
}

/// A connection of the test's own.
pub(super) async fn postgres(database: &str) -> tokio_postgres::Client {
    let (user, password) = (setting("PG_USER"), setting("PG_PASSWORD"));
    let url = format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", port("PG_PORT"));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
