//! One test's own world: a captured source, a MongoDB and a PostgreSQL database as targets, one agent between them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::compare;
use crate::support::agent::Agent;
use crate::support::source::{Source, drop_database, session};
use crate::support::{brokers, mongodb, port, setting, unique};

pub(crate) const SCHEMA: &str = include_str!("../fixtures/e2e/schema.sql");
pub(crate) const SNAPSHOT: &str = include_str!("../fixtures/e2e/snapshot.sql");

/// How the way is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Debezium embeds its schema; the target's tables are made from it; exactly_once.
    Schemas,
    /// Debezium sends bare JSON with decimals as text; the configuration declares types; the target's tables are there;
    /// at_least_once.
    Bare,
}

/// The world.
pub(crate) struct Stage {
    pub(crate) flavour: Flavour,
    pub(crate) source: Source,
    pub(crate) mongodb: mongodb::Database,
    pub(crate) postgres: Client,
    pub(crate) directory: tempfile::TempDir,
    postgres_name: String,
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
        let Self { source, mongodb, postgres_name, .. } = stage;
        let cleaned = AssertUnwindSafe(async {
            source.remove().await;
            drop_database(&postgres_name).await;
            mongodb.drop().await.unwrap();
        });
        let cleaned = cleaned.catch_unwind().await;
        if let Err(panic) = result.and(cleaned) {
            std::panic::resume_unwind(panic);
        }
    }

    async fn set_up(stem: &str, flavour: Flavour) -> Self {
        let source = Source::new(&format!("wh_{stem}")).await;
        let client = mongodb::Client::with_uri_str(mongodb()).await.unwrap();
        let postgres_name = unique(&format!("wh_{stem}_target"));
        session("postgres").await.batch_execute(&format!("CREATE DATABASE {postgres_name}")).await.unwrap();
        Self {
            flavour,
            mongodb: client.database(&source.name),
            source,
            postgres: session(&postgres_name).await,
            directory: tempfile::tempdir().unwrap(),
            postgres_name,
        }
    }

    /// Makes the tables, and those of the target where it does not make them itself; puts the first rows in.
    pub(crate) async fn populate(&self) {
        self.source.client.batch_execute(SCHEMA).await.unwrap();
        self.source.client.batch_execute(SNAPSHOT).await.unwrap();
        if self.flavour == Flavour::Bare {
            self.postgres.batch_execute(SCHEMA).await.unwrap();
            // at_least_once keeps the version of a row beside it.
            let tables = "SELECT format('ALTER TABLE %I ADD COLUMN _whimbrel_version bytea', tablename) FROM pg_tables
                WHERE schemaname = 'public'";
            for row in self.postgres.query(tables, &[]).await.unwrap() {
                self.postgres.batch_execute(row.get(0)).await.unwrap();
            }
        }
    }

    /// Makes the connector.
    pub(crate) async fn capture(&self) {
        let schemas = (self.flavour == Flavour::Schemas).to_string();
        let decimals = if self.flavour == Flavour::Schemas { "precise" } else { "string" };
        let properties = json!({
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "key.converter.schemas.enable": schemas,
            "value.converter.schemas.enable": schemas,
            "decimal.handling.mode": decimals,
            // The other mode counts a month as 30.44 days.
            "interval.handling.mode": "string",
        });
        self.source.capture(self.directory.path(), &properties).await;
    }

    /// The agent's configuration.
    pub(crate) fn config(&self) -> Value {
        json!({
            "name": self.source.name,
            "http": {"listen": "127.0.0.1:0"},
            "pipelines": [
                self.pipeline("to_mongodb", json!({"mongodb": {"uri": mongodb(), "database": self.source.name}})),
                self.pipeline("to_postgresql", json!({"postgresql": {"uri": self.postgres_uri()}})),
            ]
        })
    }

    /// As a configuration may hold it: the password is a reference.
    fn postgres_uri(&self) -> String {
        let (user, port, name) = (setting("PG_USER"), port("PG_PORT"), &self.postgres_name);
        format!("postgresql://{user}:${{env:PG_PASSWORD}}@127.0.0.1:{port}/{name}")
    }

    fn pipeline(&self, kind: &str, target: Value) -> Value {
        let name = &self.source.name;
        let mode = if self.flavour == Flavour::Schemas { "exactly_once" } else { "at_least_once" };
        let mut pipeline = json!({
            "name": format!("{name}_{kind}"),
            "source": {"kafka": {
                "brokers": [brokers()],
                "topic_pattern": format!("{name}\\.public\\..*"),
                "heartbeat_topics": [self.source.heartbeats()],
                "group": format!("{name}_{kind}"),
                // What a killed agent held is given to the next after so long.
                "session_timeout": "6s",
                // Topics appear while the test runs.
                "properties": {"topic.metadata.refresh.interval.ms": "1000"},
            }},
            "target": target,
            "tables": [{"from": "public.*"}],
            "delivery": {"mode": mode},
            "lag": {"proof_window": "5s"},
        });
        if kind == "to_mongodb" {
            let rules = json!([{"columns": ["email"], "tables": ["*.customers"]}]);
            pipeline["transform"] = json!([{"plugin": "mask-fields", "config": {"rules": rules}}]);
        } else {
            pipeline["tables"][0]["create"] = json!(self.flavour == Flavour::Schemas);
        }
        if self.flavour == Flavour::Bare {
            pipeline["decode"] = json!({"types": declared()});
        }
        pipeline
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        Agent::start(self.directory.path(), "agent", &self.config(), &[])
    }

    /// `Err` says what differs between source and targets.
    pub(crate) async fn compare(&self) -> Result<(), String> {
        compare::with_mongodb(&self.source.client, &self.mongodb, self.flavour == Flavour::Bare).await?;
        compare::with_postgres(&self.source.client, &self.postgres).await
    }

    /// Something that changes when the newest writes arrive, at both targets.
    pub(crate) async fn newest(&self) -> [i64; 2] {
        let documents =
            self.mongodb.collection::<bson::Document>("customers").count_documents(bson::doc! {}).await.unwrap();
        let rows = self.postgres.query_one("SELECT count(*) FROM customers", &[]).await.unwrap().get(0);
        [i64::try_from(documents).unwrap(), rows]
    }

    /// Waits until the agent says that it is caught up and ready.
    pub(crate) async fn until_idle(&self, agent: &mut Agent) {
        self.until(agent, "idle with heartbeats is caught up", async |agent| {
            for lag in lags(agent).await? {
                let proven = lag["state"] == "caught_up" && lag["messages"] == 0 && lag["time_lag_ms"] == 0;
                proven.then_some(()).ok_or_else(|| lag.to_string())?;
            }
            Ok(())
        })
        .await;
        let ready = async |agent: &Agent| match agent.get("/readyz").await? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        };
        self.until(agent, "/readyz", ready).await;
    }

    /// Waits until both targets hold what the source holds.
    pub(crate) async fn until_equal(&self, agent: &mut Agent, what: &str) {
        self.until(agent, what, async |_| self.compare().await).await;
    }

    /// Waits for `check`; fails with what it said last and the end of the agent's log.
    pub(crate) async fn until<T>(
        &self,
        agent: &mut Agent,
        what: &str,
        check: impl AsyncFnMut(&Agent) -> Result<T, String>,
    ) -> T {
        agent.until(what, check).await
    }
}

/// The lag of each pipeline.
pub(crate) async fn lags(agent: &Agent) -> Result<Vec<Value>, String> {
    let (_, body) = agent.get("/api/v1/status").await?;
    let status: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
    let pipelines = status["pipelines"].as_array().ok_or("no pipelines")?;
    if pipelines.len() != 2 {
        return Err(status.to_string());
    }
    Ok(pipelines.iter().map(|pipeline| pipeline["lag"].clone()).collect())
}

/// What bare JSON does not tell.
fn declared() -> Value {
    let mut types = json!({
        "public.customers.id": "int64",
        "public.customers.created_at": "zoned_timestamp",
        "public.orders.customer_id": "int64",
        "public.orders.placed_on": "date",
        "public.orders.updated_at": "timestamp_micros",
        "public.composite.id": "int64",
        "public.composite.v": "json",
    });
    for (column, ty) in [
        ("id", "uuid"),
        ("c_big", "int64"),
        ("c_real", "float32"),
        ("c_double", "float64"),
        ("c_bytea", "bytes"),
        ("c_bit", "bits(3)"),
        ("c_varbit", "bits(8)"),
        ("c_date", "date"),
        ("c_time", "time_micros"),
        ("c_timetz", "zoned_time"),
        ("c_ts", "timestamp_micros"),
        ("c_ts3", "timestamp_millis"),
        ("c_tstz", "zoned_timestamp"),
        ("c_interval", "interval_iso"),
        ("c_json", "json"),
        ("c_jsonb", "json"),
        ("c_uuid", "uuid"),
        ("c_point", "geometry"),
        ("a_int", "array(int32)"),
        ("a_text", "array(text)"),
        ("a_uuid", "array(uuid)"),
        ("a_numeric", "array(text)"),
        ("a_tstz", "array(zoned_timestamp)"),
    ] {
        types[format!("public.all_types.{column}")] = json!(ty);
    }
    types
}
