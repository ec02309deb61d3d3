//! A source: a PostgreSQL database of its own, captured by a Debezium connector that `whimbrel connectors` makes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use super::agent::binary;
use super::{eventually, port, setting, unique};

/// How long Connect may take for what it does in the background.
const PATIENCE: Duration = Duration::from_secs(60);

/// A captured database.
pub(crate) struct Source {
    /// Name of the database, the connector, its slot and publication; first part of its topics.
    pub(crate) name: String,
    /// A session in the database.
    pub(crate) client: Client,
    http: reqwest::Client,
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
        // reqwest asks for a TLS provider even where only plain HTTP is spoken; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Connect remembers offsets by connector even after it is deleted: a process id that comes again is not enough.
        let name = format!("{}_{:08x}", unique(stem), rand::random::<u32>());
        session("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        Self { client: session(&name).await, name, http }
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
        let config = json!({"connectors": {
            "url": format!("http://127.0.0.1:{}", port("CONNECT_PORT")),
            "list": [{"postgresql": {
                "name": name, "host": "127.0.0.1", "port": port("PG_PORT"), "dbname": name, "user": setting("PG_USER"),
                "password": "${env:PG_PASSWORD}", "topic_prefix": name, "slot": name, "publication": name,
                "tables": ["public\\..*"], "heartbeat_interval": "1s", "properties": all
            }}]
        }});
        let file = directory.join("connectors.yaml");
        std::fs::write(&file, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        let apply = move || Command::new(binary()).args(["connectors", "apply", "--config"]).arg(&file).output();
        let output = tokio::task::spawn_blocking(apply).await.unwrap().unwrap();
        assert!(
            output.status.success(),
            "connectors apply: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Tells Connect to `pause` or `resume` it.
    pub(crate) async fn tell(&self, verb: &str) {
        let url = self.rest(&format!("/{verb}"));
        self.http.put(url).send().await.unwrap().error_for_status().unwrap();
    }

    fn rest(&self, below: &str) -> String {
        format!("http://127.0.0.1:{}/connectors/migration-connector-{}{below}", port("CONNECT_PORT"), self.name)
    }

    /// Removes connector, slot and database.
    pub(crate) async fn remove(self) {
        let Self { name, client, .. } = &self;
        let gone = async || {
            let answer = self.http.delete(self.rest("")).send().await.map_err(|e| e.to_string())?;
            // 409 while Connect is busy with itself.
            if answer.status().is_success() || answer.status() == 404 {
                Ok(())
            } else {
                Err(answer.status().to_string())
            }
        };
        eventually("delete the connector", PATIENCE, gone).await;
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
