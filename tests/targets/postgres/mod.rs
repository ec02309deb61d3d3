//! The PostgreSQL target against a real server: PG_PORT, PG_USER and PG_PASSWORD say where.

mod letters;
mod ownership;
mod sessions;
mod tables;
mod values;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use super::cases;
use super::fixture::V::{Absent, Bool, Escaped, Json, Null, Num, Text, Unavailable};
use super::fixture::{Planned, layout};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use whimbrel::config::raw;
use whimbrel::config::secret::Secret;
use whimbrel::event::{Reason, SourceType};
use whimbrel::target::DeliveryMode::{AtLeastOnce, ExactlyOnce};
use whimbrel::target::postgres::{PostgresTarget, Settings};
use whimbrel::target::{Applied, DeadLetterFilter, Encoder, ErrorKind, Layout, StoredOffset, Target, TargetError};

const DATABASE: &str = "whimbrel_targets";

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: the tests need a PostgreSQL server"))
}

fn uri(database: &str) -> String {
    format!("postgresql://{}:{}@127.0.0.1:{}/{database}", env("PG_USER"), env("PG_PASSWORD"), env("PG_PORT"))
}

async fn client(database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&uri(database), NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// A schema for rows and one for state, of this test alone.
struct Db {
    name: String,
    admin: Client,
    target: PostgresTarget,
    encoder: Box<dyn Encoder>,
}

impl Db {
    async fn new(test: &str) -> Self {
        // Tests run side by side: whoever is first makes the database.
        let exists = client("postgres").await.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await;
        if let Err(e) = exists {
            let code = e.code().map(|c| c.code().to_owned()).unwrap_or_default();
            assert!(["42P04", "23505"].contains(&code.as_str()), "{e:?}");
        }
        let name = format!("{test}_{}", std::process::id());
        let admin = loop {
            // A database that is just being made refuses sessions for a moment.
            if let Ok((client, connection)) = tokio_postgres::connect(&uri(DATABASE), NoTls).await {
                tokio::spawn(connection);
                break client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        admin.batch_execute(&format!("CREATE SCHEMA {name}; SET search_path = {name}")).await.unwrap();
        let mut target = PostgresTarget::new(Self::settings(&name));
        target.open().await.unwrap();
        let encoder = target.encoder().unwrap();
        Self { name, admin, target, encoder }
    }

    fn settings(name: &str) -> Settings {
        let raw = raw::PostgresTarget {
            uri: Secret::new(uri(DATABASE)),
            schema: Some(name.to_owned()),
            state_schema: Some(format!("{name}_state")),
            ca_file: None,
            ledger: true,
            timeout: None,
        };
        Settings::from_raw(&raw, Duration::from_secs(3600)).unwrap()
    }

    async fn second(&self) -> PostgresTarget {
        let mut target = PostgresTarget::new(Self::settings(&self.name));
        target.open().await.unwrap();
        target
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// As the pipeline does it: encoded ahead where that can be done, which is once the batch's tables are known.
    async fn apply(&mut self, planned: &Planned) -> Result<Applied, TargetError> {
        let write = planned.write();
        match self.encoder.encode(&write) {
            Some(rows) => self.target.apply_encoded(&write, rows).await,
            None => self.target.apply(&write).await,
        }
    }

    async fn kind(&mut self, planned: &Planned) -> ErrorKind {
        self.apply(planned).await.unwrap_err().kind
    }

    /// Rows of a query as the server's own text, columns joined by `|`; `{state}` stands for the state schema.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let sql = sql.replace("{state}", &format!("{}_state", self.name));
        let messages = self.admin.simple_query(&sql).await.unwrap();
        let rows = messages.iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
        rows.map(|r| (0..r.len()).map(|i| r.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect()
    }

    async fn close(self) {
        let name = &self.name;
        self.run(&format!("DROP SCHEMA {name} CASCADE; DROP SCHEMA {name}_state CASCADE")).await;
    }
}

fn orders() -> Arc<Layout> {
    layout("orders", 1, &[("id", SourceType::Int64), ("name", SourceType::Text), ("paid", SourceType::Boolean)], true)
}

fn batch() -> Planned {
    Planned::new(ExactlyOnce)
}
