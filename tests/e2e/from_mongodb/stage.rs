//! One test's own world: a captured database, another one and a PostgreSQL database as targets, one agent between them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use bson::{Document, doc};
use futures_util::FutureExt as _;
use mongodb::{Collection, Database};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::compare;
use crate::support::agent::Agent;
use crate::support::source::{drop_database, session};
use crate::support::{brokers, connect, mongodb, port, setting};

/// How the way is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Capture mode `change_streams_update_full`, the default; bare JSON; exactly_once.
    UpdateFull,
    /// `change_streams_update_full_with_pre_image`; the schema embedded; at_least_once.
    PreImages,
    /// `change_streams`: updates carry what changed and no document; bare JSON; exactly_once.
    ChangesOnly,
}

/// The world.
pub(crate) struct Stage {
    pub(crate) flavour: Flavour,
    /// Name of the captured database, the connector, the targets; first part of its topics.
    pub(crate) name: String,
    pub(crate) source: Database,
    pub(crate) target: Database,
    pub(crate) postgres: Client,
    pub(crate) directory: tempfile::TempDir,
    /// What becomes of updates without their document.
    pub(crate) without_document: &'static str,
}

impl Stage {
    /// Sets up, runs the test, and cleans up whatever came of it.
    pub(crate) async fn with(
        stem: &str,
        flavour: Flavour,
        body: impl for<'a> FnOnce(&'a mut Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
    ) {
        let mut stage = Self::set_up(stem, flavour).await;
        let result = AssertUnwindSafe(body(&mut stage)).catch_unwind().await;
        let cleaned = AssertUnwindSafe(async {
            connect::remove(&stage.name).await;
            drop_database(&stage.name).await;
            stage.source.drop().await.unwrap();
            stage.target.drop().await.unwrap();
        });
        let cleaned = cleaned.catch_unwind().await;
        if let Err(panic) = result.and(cleaned) {
            std::panic::resume_unwind(panic);
        }
    }

    async fn set_up(stem: &str, flavour: Flavour) -> Self {
        let name = connect::name(&format!("wh_{stem}"));
        let client = mongodb::Client::with_uri_str(mongodb()).await.unwrap();
        session("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Self {
            flavour,
            source: client.database(&name),
            target: client.database(&format!("{name}_target")),
            postgres: session(&name).await,
            directory: tempfile::tempdir().unwrap(),
            without_document: if flavour == Flavour::ChangesOnly { "dead_letter" } else { "skip" },
            name,
        }
    }

    /// A collection of the source.
    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.source.collection(name)
    }

    /// Makes the collections.
    pub(crate) async fn populate(&self, collections: &[&str]) {
        for name in collections {
            let mut create = doc! {"create": name};
            if self.flavour == Flavour::PreImages {
                create.insert("changeStreamPreAndPostImages", doc! {"enabled": true});
            }
            self.source.run_command(create).await.unwrap();
        }
    }

    /// Makes the connector: `whimbrel connectors apply`.
    pub(crate) async fn capture(&self) {
        let name = &self.name;
        let schemas = (self.flavour == Flavour::PreImages).to_string();
        let mut entry = json!({"mongodb": {
            "name": name, "connection_string": mongodb(), "topic_prefix": name, "databases": [name],
            "heartbeat_interval": "1s",
            "properties": {
                "poll.interval.ms": "20",
                "key.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "key.converter.schemas.enable": schemas,
                "value.converter.schemas.enable": schemas,
            }
        }});
        match self.flavour {
            // The default.
            Flavour::UpdateFull => {}
            Flavour::PreImages => entry["mongodb"]["capture_mode"] = json!("change_streams_update_full_with_pre_image"),
            Flavour::ChangesOnly => entry["mongodb"]["capture_mode"] = json!("change_streams"),
        }
        connect::apply(self.directory.path(), &entry).await;
    }

    /// The agent's configuration.
    fn config(&self) -> Value {
        let (user, port) = (setting("PG_USER"), port("PG_PORT"));
        let postgres = format!("postgresql://{user}:${{env:PG_PASSWORD}}@127.0.0.1:{port}/{}", self.name);
        json!({
            "name": self.name,
            "http": {"listen": "127.0.0.1:0"},
            "pipelines": [
                self.pipeline("to_mongodb", &json!({"mongodb": {"uri": mongodb(), "database": self.target.name()}})),
                self.pipeline("to_postgresql", &json!({"postgresql": {"uri": postgres}})),
            ]
        })
    }

    fn pipeline(&self, kind: &str, target: &Value) -> Value {
        let name = &self.name;
        let mode = if self.flavour == Flavour::PreImages { "at_least_once" } else { "exactly_once" };
        json!({
            "name": format!("{name}_{kind}"),
            "source": {"kafka": {
                "brokers": [brokers()],
                "topic_pattern": format!("{name}\\.{name}\\..*"),
                "heartbeat_topics": [format!("__debezium-heartbeat.{name}")],
                "group": format!("{name}_{kind}"),
                "session_timeout": "6s",
                // Topics appear while the test runs.
                "properties": {"topic.metadata.refresh.interval.ms": "1000"},
            }},
            "decode": {"updates_without_document": self.without_document},
            "target": target,
            "tables": [{"from": "*", "create": kind == "to_postgresql"}],
            "delivery": {"mode": mode},
        })
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        Agent::start(self.directory.path(), "agent", &self.config(), &[])
    }

    /// `Err` says what differs between source and targets.
    pub(crate) async fn compare(&self) -> Result<(), String> {
        compare::with_mongodb(&self.source, &self.target, self.flavour == Flavour::PreImages).await?;
        compare::with_postgres(&self.source, &self.postgres).await
    }

    /// Waits until both targets hold what the source holds.
    pub(crate) async fn until_equal(&self, agent: &mut Agent, what: &str) {
        agent.until(what, async |_| self.compare().await).await;
    }
}
