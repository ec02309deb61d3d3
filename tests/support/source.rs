//! A source: a PostgreSQL database of its own, captured by a Debezium connector that `whimbrel connectors` makes.

use std::path::Path;

use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use super::connect::{self, PATIENCE};
use super::{eventually, port, setting};

/// A captured database.
pub(crate) struct Source {
    /// Name of the database, the connector, its slot and publication; first part of its topics.
    pub(crate) name: String,
    /// A session in the database.
    pub(crate) client: Client,
}

/// A session that shows times in UTC.
pub(crate) async fn session(database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port("PG_PORT")).user(setting("PG_USER")).password(setting("PG_PASSWORD"));
    let (client, connection) = config.dbname(database).connect(NoTls).await.unwrap();
    tokio::task::spawn(connection);
    client.batch_execute("SET TimeZone = 'UTC'; SET bytea_output = 'hex'").await.unwrap();
    client
}

impl Source {
    /// Makes the database.
    pub(crate) async fn new(stem: &str) -> Self {
        let name = connect::name(stem);
        session("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self { client: session(&name).await, name }
    }

    /// Topic of its heartbeats.
    pub(crate) fn heartbeats(&self) -> String {
        format!("__debezium-heartbeat.{}", self.name)
    }

    /// Makes the connector and waits until it runs: `whimbrel connectors apply`.
    pub(crate) async fn capture(&self, directory: &Path, properties: &Value) {
        let name = &self.name;
        let mut all = json!({"poll.interval.ms": "20"});
        all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        let entry = json!({"postgresql": {
            "name": name, "host": "127.0.0.1", "port": port("PG_PORT"), "dbname": name, "user": setting("PG_USER"),
            "password": "${env:PG_PASSWORD}", "topic_prefix": name, "slot": name, "publication": name,
            "tables": ["public\\..*"], "heartbeat_interval": "1s", "properties": all
        }});
        connect::apply(directory, &entry).await;
    }

    /// Tells Connect to `pause` or `resume` it.
    pub(crate) async fn tell(&self, verb: &str) {
        connect::tell(&self.name, verb).await;
    }

    /// Removes connector, slot and database.
    pub(crate) async fn remove(self) {
        let Self { name, client, .. } = &self;
        connect::remove(name).await;
        let slots = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name = $1";
        // The deleted connector lets go of its slot in its own time.
        let drop = async || client.query(slots, &[name]).await.map_err(|e| format!("{e:?}"));
        eventually("drop the slot", PATIENCE, drop).await;
        drop_database(name).await;
    }
}

/// Drops a database, whoever is in it.
pub(crate) async fn drop_database(name: &str) {
    session("postgres").await.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}
