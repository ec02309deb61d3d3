//! One test's own world: a captured database, a MongoDB and a PostgreSQL database as targets, one agent between them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt as _;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::compare;
use crate::support::agent::Agent;
use crate::support::services::Services;
use crate::support::source::{drop_database, session};
use crate::support::{brokers, connect, mongodb, port, setting};

/// How the way is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// MariaDB by its connector; the schema embedded and the target's tables made from it; exactly_once.
    MariaDb,
    /// MySQL's connector, from a MariaDB that says it is MySQL 5.7; bare JSON, types declared, the target's tables are
    /// there; at_least_once.
    MySql,
}

/// The world.
pub(crate) struct Stage {
    pub(crate) flavour: Flavour,
    /// Name of the captured database, the connector, the targets; first part of its topics.
    pub(crate) name: String,
    pub(crate) source: mysql_async::Conn,
    pub(crate) mongodb: mongodb::Database,
    pub(crate) postgres: Client,
    directory: tempfile::TempDir,
    port: u16,
    /// The server that says it is another.
    _server: Option<Services>,
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
            stage.source.query_drop(format!("DROP DATABASE {}", stage.name)).await.unwrap();
            drop_database(&stage.name).await;
            stage.mongodb.drop().await.unwrap();
        });
        let cleaned = cleaned.catch_unwind().await;
        if let Err(panic) = result.and(cleaned) {
            std::panic::resume_unwind(panic);
        }
    }

    async fn set_up(stem: &str, flavour: Flavour) -> Self {
        let name = connect::name(&format!("wh_{stem}"));
        let server = (flavour == Flavour::MySql)
            // Older than the variables and statements that MariaDB does not have.
            .then(|| Services::start_with(&["mariadb"], &[("MARIADB_SAYS", "5.7.19-log")]));
        let port = server.as_ref().map_or_else(|| port("MARIADB_PORT"), |server| server.port("MARIADB_PORT"));
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(setting("MARIADB_USER")))
            .pass(Some(setting("MARIADB_PASSWORD")));
        let mut source = mysql_async::Conn::new(options).await.unwrap();
        for statement in [
            format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
            format!("USE {name}"),
            // Dates that are no days are wanted.
            "SET sql_mode = '', time_zone = '+00:00'".to_owned(),
        ] {
            source.query_drop(statement).await.unwrap();
        }
        session("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let client = mongodb::Client::with_uri_str(mongodb()).await.unwrap();
        Self {
            flavour,
            source,
            mongodb: client.database(&name),
            postgres: session(&name).await,
            directory: tempfile::tempdir().unwrap(),
            port,
            _server: server,
            name,
        }
    }

    /// Makes the tables, and those of the target that it does not make itself; puts the first rows in.
    pub(crate) async fn populate(&mut self) {
        for statement in include_str!("../../fixtures/mysql/schema.sql").split("\n\n") {
            self.source.query_drop(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
        self.run(include_str!("../../fixtures/mysql/snapshot.sql")).await;
        let mut tables = vec!["CREATE TABLE spans (id int PRIMARY KEY, v interval, v6 interval)".to_owned()];
        if self.flavour == Flavour::MySql {
            for table in compare::tables(&mut self.source, &self.name).await {
                tables.extend(table.create_at_postgres());
            }
        }
        for mut table in tables {
            if self.flavour == Flavour::MySql {
                // at_least_once keeps the version of a row beside it.
                table.insert_str(table.rfind(')').unwrap(), ", _whimbrel_version bytea");
            }
            self.postgres.batch_execute(&table).await.unwrap_or_else(|e| panic!("{table}: {e:?}"));
        }
    }

    /// Runs statements, one a line.
    pub(crate) async fn run(&mut self, statements: &str) {
        for statement in statements.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
            self.source.query_drop(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
        }
    }

    /// Makes the connector: `whimbrel connectors apply`.
    pub(crate) async fn capture(&self) {
        let name = &self.name;
        let maria = self.flavour == Flavour::MariaDb;
        let mut entry = json!({
            "name": name, "host": "127.0.0.1", "port": self.port, "user": setting("MARIADB_USER"),
            "password": "${env:MARIADB_PASSWORD}", "server_id": rand::random_range(1_000..u32::MAX),
            "topic_prefix": name, "history_bootstrap_servers": [brokers()], "databases": [name],
            "heartbeat_interval": "1s",
            "properties": {
                "poll.interval.ms": "20",
                "key.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "key.converter.schemas.enable": maria.to_string(),
                "value.converter.schemas.enable": maria.to_string(),
            }
        });
        let properties = entry["properties"].as_object_mut().unwrap();
        if maria {
            // The other mode turns numbers from 2^63 on into negative ones.
            properties.insert("bigint.unsigned.handling.mode".to_owned(), json!("precise"));
        } else {
            properties.insert("decimal.handling.mode".to_owned(), json!("string"));
        }
        connect::apply(self.directory.path(), &json!({if maria { "mariadb" } else { "mysql" }: entry})).await;
    }

    /// The agent's configuration.
    fn config(&self) -> Value {
        let (user, port, name) = (setting("PG_USER"), port("PG_PORT"), &self.name);
        let postgres = format!("postgresql://{user}:${{env:PG_PASSWORD}}@127.0.0.1:{port}/{name}");
        json!({
            "name": name,
            "http": {"listen": "127.0.0.1:0"},
            "pipelines": [
                self.pipeline("to_mongodb", &json!({"mongodb": {"uri": mongodb(), "database": name}})),
                self.pipeline("to_postgresql", &json!({"postgresql": {"uri": postgres}})),
            ]
        })
    }

    fn pipeline(&self, kind: &str, target: &Value) -> Value {
        let name = &self.name;
        let maria = self.flavour == Flavour::MariaDb;
        json!({
            "name": format!("{name}_{kind}"),
            "source": {"kafka": {
                "brokers": [brokers()],
                // With the topic of schema changes, which is called as the prefix.
                "topic_pattern": format!("{name}(\\.{name}\\..*)?"),
                "heartbeat_topics": [format!("__debezium-heartbeat.{name}")],
                "group": format!("{name}_{kind}"),
                "session_timeout": "6s",
                // Topics appear while the test runs.
                "properties": {"topic.metadata.refresh.interval.ms": "1000"},
            }},
            "decode": {"types": if maria { json!({}) } else { declared(name) }},
            "target": target,
            "tables": [{"from": "*", "create": kind == "to_postgresql" && maria}],
            "delivery": {"mode": if maria { "exactly_once" } else { "at_least_once" }},
        })
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        Agent::start(self.directory.path(), "agent", &self.config(), &[])
    }

    /// `Err` says what differs between source and targets.
    pub(crate) async fn compare(&mut self) -> Result<(), String> {
        for table in compare::tables(&mut self.source, &self.name).await {
            let expected = table.source_rows(&mut self.source).await?;
            table.with_postgres(&expected, &self.postgres).await?;
            table.with_mongodb(&expected, &self.mongodb, self.flavour == Flavour::MySql).await?;
        }
        Ok(())
    }

    /// Waits until both targets hold what the source holds.
    pub(crate) async fn until_equal(&mut self, agent: &mut Agent, what: &str) {
        agent.until(what, async |_| self.compare().await).await;
    }
}

/// What bare JSON does not tell.
fn declared(database: &str) -> Value {
    let mut types = json!({});
    for (column, ty) in [
        ("orders.id", "int64"),
        ("orders.updated_at", "timestamp_micros"),
        ("spans.v", "time_micros"),
        ("spans.v6", "time_micros"),
        ("large.v", "bytes"),
        ("all_types.c_big", "int64"),
        ("all_types.c_ubig", "int64"),
        ("all_types.c_uint", "int64"),
        ("all_types.c_float", "float32"),
        ("all_types.c_double", "float64"),
        ("all_types.c_bit8", "bits(8)"),
        ("all_types.c_bit64", "bits(64)"),
        ("all_types.c_binary", "bytes"),
        ("all_types.c_varbinary", "bytes"),
        ("all_types.c_tinyblob", "bytes"),
        ("all_types.c_blob", "bytes"),
        ("all_types.c_mediumblob", "bytes"),
        ("all_types.c_longblob", "bytes"),
        ("all_types.c_date", "date"),
        ("all_types.c_time", "time_micros"),
        ("all_types.c_time6", "time_micros"),
        ("all_types.c_datetime", "timestamp_millis"),
        ("all_types.c_datetime3", "timestamp_millis"),
        ("all_types.c_datetime6", "timestamp_micros"),
        ("all_types.c_timestamp", "zoned_timestamp"),
        ("all_types.c_timestamp6", "zoned_timestamp"),
        ("all_types.c_geometry", "geometry"),
        ("all_types.c_point", "geometry"),
        ("all_types.c_line", "geometry"),
    ] {
        types[format!("{database}.{column}")] = json!(ty);
    }
    types
}
