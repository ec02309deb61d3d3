//! `whimbrel connectors` against a real Kafka Connect with Debezium, PostgreSQL and Kafka.
//!
//! Every test has its own database, role, slot, topics and connector, so that tests run side by side on shared servers.
//! Every output of the command is searched for the password.
//!
//! Needs CONNECT_PORT, KAFKA_PORT, PG_PORT, PG_USER, PG_PASSWORD; WHIMBREL_BIN names the binary (default: the one beside
//! this test's own).

mod watched;

use std::{
    future::Future,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    panic::AssertUnwindSafe,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio_postgres::NoTls;

const OK: i32 = 0;
const ERROR: i32 = 1;
const USAGE: i32 = 2;
const CHANGES: i32 = 3;
const UNHEALTHY: i32 = 4;

/// How long Connect may take for what it does in the background.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn plan_apply_status_bring_a_connector_to_what_the_configuration_says() {
    Stage::with("life", async |stage| {
        let name = stage.connector();
        let plan = stage.run(&["plan"]).await?.expect(CHANGES)?;
        plan.says(&[&format!("+ {name}  create"), "+ database.password: ***", "+ plugin.name: pgoutput"])?;
        plan.says(&["! snapshot.mode: `properties` sets no_data over the managed initial"])?;
        ensure!(stage.live_config().await?.is_none(), "a plan must not create");

        stage.run(&["apply"]).await?.expect(OK)?.says(&[&format!("{name}  created, RUNNING")])?;
        let live = stage.live_config().await?.context("not created")?;
        ensure!(live["heartbeat.interval.ms"] == "1000" && live["snapshot.mode"] == "no_data", "{live}");
        ensure!(live["database.password"] == stage.password.as_str(), "connect must get the password itself");

        stage.run(&["plan"]).await?.expect(OK)?.says(&[&format!("= {name}  unchanged")])?;
        stage.run(&["status"]).await?.expect(OK)?.says(&[&format!("{name}  RUNNING"), "progress  moving: "])?;

        // Somebody changes it behind our back.
        let mut drifted = live.clone();
        drifted["heartbeat.interval.ms"] = json!("7000");
        drifted["max.batch.size"] = json!("99");
        stage.put_config(&drifted).await?;
        let plan = stage.run(&["plan"]).await?.expect(CHANGES)?;
        plan.says(&[&format!("~ {name}  update"), "~ heartbeat.interval.ms: 7000 -> 1000", "- max.batch.size: 99"])?;
        stage.run(&["status", "--no-wait"]).await?.expect(OK)?.says(&["drift  2 properties"])?;
        stage.run(&["apply"]).await?.expect(OK)?.says(&[&format!("{name}  updated, RUNNING")])?;
        let live = stage.live_config().await?.context("gone")?;
        ensure!(live["heartbeat.interval.ms"] == "1000" && live.get("max.batch.size").is_none(), "{live}");
        stage.run(&["plan"]).await?.expect(OK)?;

        let json: Value = serde_json::from_str(&stage.run(&["plan", "--format", "json"]).await?.expect(OK)?.stdout)?;
        ensure!(json["connectors"][0]["action"] == "unchanged", "{json}");
        ensure!(json["connectors"][0]["overrides"][0]["key"] == "snapshot.mode", "{json}");

        // No longer configured: named, and left alone.
        stage.write(|config| config["connectors"]["list"] = json!([]));
        stage.run(&["plan"]).await?.expect(OK)?.says(&[&format!("? {name}  not in the configuration")])?;
        stage.run(&["apply"]).await?.expect(OK)?;
        ensure!(stage.live_config().await?.is_some(), "apply must not delete");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_connect_finds_invalid_is_not_written() {
    Stage::with("invalid", async |stage| {
        stage.write(|config| {
            config["connectors"]["list"][0]["postgresql"]["password"] = json!("${env:CONNECTOR_TEST_WRONG}")
        });
        let apply = stage.run(&["apply"]).await?.expect(ERROR)?;
        apply.complains(&["invalid", "database.hostname: ", "password authentication failed"])?;
        ensure!(stage.live_config().await?.is_none(), "written though invalid");

        stage.write(|config| {
            config["connectors"]["list"][0]["postgresql"]["properties"] = json!({"max.batch.size": "many"})
        });
        stage.run(&["apply"]).await?.expect(ERROR)?.complains(&["max.batch.size: ", "An integer is expected"])?;
        ensure!(stage.live_config().await?.is_none(), "written though invalid");

        stage.write(|config| config["connectors"]["list"][0]["postgresql"]["slot"] = json!("Not-A-Slot"));
        stage.run(&["apply"]).await?.expect(USAGE)?.complains(&["connectors.list[0].postgresql.slot", "lower-case"])
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_is_not_installed_is_named_beside_those_that_are() {
    Stage::with("plugin", async |stage| {
        stage.write(|config| {
            let mysql = json!({"name": "none", "host": "127.0.0.1", "user": "u", "password": "${env:CONNECTOR_TEST_WRONG}", "server_id": 7,
                "topic_prefix": "none", "history_bootstrap_servers": ["127.0.0.1:1"]});
            config["connectors"]["list"].as_array_mut().unwrap().push(json!({"mysql": mysql}));
        });
        // Every kind is installed here: what Connect says, less one.
        let url = format!("http://127.0.0.1:{}/connector-plugins", stage.env.connect);
        let mut plugins: Vec<Value> = stage.http.get(url).send().await?.json().await?;
        let before = plugins.len();
        plugins.retain(|plugin| plugin["class"] != "io.debezium.connector.mysql.MySqlConnector");
        ensure!(plugins.len() == before - 1, "{plugins:?}");
        let connect = answering(serde_json::to_string(&plugins)?)?;
        stage.write(|config| config["connectors"]["url"] = json!(connect));
        stage.run(&["plan"]).await?.expect(CHANGES)?.says(&["migration-connector-none  create"])?;
        let apply = stage.run(&["apply"]).await?.expect(ERROR)?;
        apply.complains(&[
            "io.debezium.connector.mysql.MySqlConnector is not installed",
            "io.debezium.connector.postgresql.PostgresConnector 3.",
            "plugin.path",
        ])?;
        ensure!(stage.live_config().await?.is_none(), "nothing may be written when one of them cannot be");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn connect_away_is_told_with_address_cause_and_what_to_check() {
    Stage::with("away", async |stage| {
        // Bound and not listened to by anybody who answers HTTP would hang; a closed port refuses.
        let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("http://127.0.0.1:{closed}");
        stage.write(|config| config["connectors"]["url"] = json!(url));
        for verb in ["plan", "apply", "status", "restart"] {
            let run = stage.run(&[verb]).await?.expect(ERROR)?;
            run.complains(&[
                &format!("does not answer at {url}/"),
                "Connection refused",
                "hint: check `connectors.url`",
            ])?;
        }
        // A server that is not Kafka Connect.
        let elsewhere = format!("http://127.0.0.1:{}/no/such/path", stage.env.connect);
        stage.write(|config| config["connectors"]["url"] = json!(elsewhere));
        stage.run(&["plan"]).await?.expect(ERROR)?.complains(&["HTTP 404", "hint: check the path"])
    })
    .await;
}

#[tokio::test]
async fn failed_tasks_are_restarted_and_a_spent_budget_ends_it() {
    Stage::with("restart", async |stage| {
        let name = stage.connector();
        stage.write(|config| {
            config["connectors"]["restart"] = json!({"max": 2, "window": "5m", "backoff": "1s"});
            // Fail at once instead of trying again inside Debezium.
            config["connectors"]["list"][0]["postgresql"]["properties"] =
                json!({"errors.max.retries": 0, "poll.interval.ms": 20});
        });
        stage.run(&["apply"]).await?.expect(OK)?;
        stage.run(&["restart"]).await?.expect(OK)?.says(&["nothing was restarted"])?;

        // Its connection is cut: it fails, and a restart mends it.
        stage.cut_connection().await?;
        stage.until_condition("FAILED").await?;
        let status = stage.run(&["status"]).await?.expect(UNHEALTHY)?;
        status.says(&[&format!("{name}  FAILED"), "task 0  FAILED", "caused by"])?;
        let apply = stage.run(&["apply"]).await?.expect(UNHEALTHY)?;
        apply.says(&["unchanged, FAILED", "caused by"])?;
        stage.run(&["restart", &stage.name]).await?.expect(OK)?.says(&[&format!("restarted {name}"), "RUNNING"])?;

        // The role may no longer log in: no restart can help.
        stage.admin.batch_execute(&format!("ALTER ROLE {} NOLOGIN", stage.name)).await?;
        stage.cut_connection().await?;
        stage.until_condition("FAILED").await?;
        let restart = stage.run(&["restart"]).await?.expect(UNHEALTHY)?;
        restart.says(&["FAILED", "budget spent: 2 of 2"])?;
        ensure!(restart.stdout.matches(&format!("restarted {name}")).count() == 2, "{}", restart.stdout);

        stage.run(&["restart", "nobody"]).await?.expect(USAGE)?.complains(&["no connector `nobody`", &stage.name])
    })
    .await;
}

#[tokio::test]
async fn running_but_not_progressing_is_detected() {
    Stage::with("stall", async |stage| {
        stage.write(|config| {
            let connector = &mut config["connectors"]["list"][0]["postgresql"];
            connector["tables"] = json!(["public.orders", "public.beat"]);
            connector["heartbeat_query"] = json!("UPDATE beat SET at = now()");
        });
        stage.run(&["apply"]).await?.expect(OK)?;
        stage.run(&["status"]).await?.expect(OK)?.says(&["RUNNING", "moving"])?;
        // Streaming must have committed an offset, or the verdict would be that a snapshot may be under way.
        stage.until_offsets().await?;

        // The statement of the heartbeat now waits for a lock, and the streaming loop with it.
        let own = stage.database().await?;
        own.batch_execute("BEGIN; LOCK TABLE beat").await?;
        stage.until_offsets_rest().await?;
        let stalled = stage.run(&["status", "--window", "6s"]).await?.expect(UNHEALTHY)?;
        stalled.says(&["  RUNNING", "task 0  RUNNING", "NOT PROGRESSING"])?;
        own.batch_execute("ROLLBACK").await?;

        stage.run(&["status"]).await?.expect(OK)?.says(&["moving"])
    })
    .await;
}

#[tokio::test]
async fn without_any_signal_an_idle_database_is_called_unproven() {
    Stage::with("idle", async |stage| {
        stage.write(|config| {
            config["connectors"]["progress"] = json!({"window": "30s"});
        });
        stage.run(&["apply"]).await?.expect(OK)?;
        stage.database().await?.batch_execute("INSERT INTO orders VALUES (2, 'moves the offsets')").await?;
        stage.until_offsets_rest().await?;
        let status = stage.run(&["status", "--window", "4s"]).await?.expect(OK)?;
        status.says(&["RUNNING", "UNPROVEN: offsets did not change"])?;
        // Work proves it: rows keep coming while the command looks.
        let own = stage.database().await?;
        let rows = async {
            for id in 10.. {
                own.execute("INSERT INTO orders VALUES ($1, 'row')", &[&id]).await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok::<(), anyhow::Error>(())
        };
        tokio::select! {
            status = stage.run(&["status", "--window", "20s"]) => status?.expect(OK)?.says(&["moving: committed source offsets changed"]),
            failed = rows => failed,
        }
    })
    .await;
}

/// A Connect without connectors and with these plugins, until the process ends; its address.
fn answering(plugins: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream?;
            let mut lines = BufReader::new(&stream).lines();
            let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
            // The rest of the head; what is left unread when the connection closes would reset it.
            while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
            let body = if request.contains(" /connector-plugins") { plugins.as_str() } else { "{}" };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len())?;
        }
        Ok::<(), std::io::Error>(())
    });
    Ok(url)
}

/// The servers.
struct Env {
    connect: u16,
    kafka: u16,
    pg: u16,
    pg_user: String,
    pg_password: String,
}

impl Env {
    fn read() -> Result<Self> {
        let text =
            |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: start the services first"));
        let port = |name: &str| Ok::<u16, anyhow::Error>(text(name)?.parse()?);
        Ok(Self {
            connect: port("CONNECT_PORT")?,
            kafka: port("KAFKA_PORT")?,
            pg: port("PG_PORT")?,
            pg_user: text("PG_USER")?,
            pg_password: text("PG_PASSWORD")?,
        })
    }
}

/// One test's own world.
struct Stage {
    env: Env,
    /// Name of the connector, its database, role, slot, publication and topics.
    name: String,
    password: String,
    folder: tempfile::TempDir,
    config: Value,
    admin: tokio_postgres::Client,
    http: reqwest::Client,
}

impl Stage {
    /// Sets up, runs the test, and cleans up whatever came of it.
    async fn with(test: &str, body: impl AsyncFnOnce(&mut Stage) -> Result<()>) {
        let mut stage = Stage::set_up(test).await.unwrap();
        let result = AssertUnwindSafe(body(&mut stage)).catch_unwind().await;
        let cleaned = stage.clean_up().await;
        match result {
            Ok(Ok(())) => cleaned.unwrap(),
            Ok(Err(error)) => panic!("{error:?}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    async fn set_up(test: &str) -> Result<Self> {
        // reqwest asks for a TLS provider even where only plain HTTP is spoken; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let env = Env::read()?;
        let name = format!("wh_{test}_{:08x}", rand::random::<u32>());
        let password = format!("canary-{:016x}", rand::random::<u64>());
        let admin = connect_to(&env, &env.pg_user, &env.pg_password, "postgres").await?;
        admin.batch_execute(&format!("CREATE ROLE {name} LOGIN REPLICATION PASSWORD '{password}'")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {name}")).await?;
        let config = json!({"connectors": {
            "url": format!("http://127.0.0.1:{}", env.connect),
            "progress": {"window": "30s", "kafka": {"brokers": [format!("127.0.0.1:{}", env.kafka)]}},
            "list": [{"postgresql": {
                "name": name, "host": "127.0.0.1", "port": env.pg, "dbname": name, "user": name,
                "password": "${env:CONNECTOR_TEST_PASSWORD}", "topic_prefix": name, "slot": name, "publication": name,
                "tables": ["public.orders"], "heartbeat_interval": "1s",
                "properties": {"poll.interval.ms": 20, "snapshot.mode": "no_data"}
            }}]
        }});
        let stage = Self {
            name,
            password,
            folder: tempfile::tempdir()?,
            config,
            admin,
            http: reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?,
            env,
        };
        stage
            .database()
            .await?
            .batch_execute(
                "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'first');
                 CREATE TABLE beat (id int PRIMARY KEY, at timestamptz); INSERT INTO beat VALUES (1, now())",
            )
            .await?;
        Ok(stage)
    }

    async fn clean_up(&self) -> Result<()> {
        let _ = self.http.delete(self.rest("")).send().await?;
        let deadline = Instant::now() + PATIENCE;
        let slots = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name = $1";
        while let Err(error) = self.admin.query(slots, &[&self.name]).await {
            // The deleted connector lets go of its slot in its own time.
            ensure!(Instant::now() < deadline, "the slot stays in use: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await?;
        self.admin.batch_execute(&format!("DROP ROLE {}", self.name)).await?;
        Ok(())
    }

    fn connector(&self) -> String {
        format!("migration-connector-{}", self.name)
    }

    fn rest(&self, below: &str) -> String {
        format!("http://127.0.0.1:{}/connectors/{}{below}", self.env.connect, self.connector())
    }

    /// Changes the configuration that the next run reads.
    fn write(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.config);
    }

    async fn run(&self, args: &[&str]) -> Result<Run> {
        let file = self.folder.path().join("whimbrel.yaml");
        // JSON is YAML.
        std::fs::write(&file, serde_json::to_string_pretty(&self.config)?)?;
        let output = Command::new(binary()?)
            .arg("connectors")
            .args(args)
            .arg("--config")
            .arg(&file)
            .env("CONNECTOR_TEST_PASSWORD", &self.password)
            .env("CONNECTOR_TEST_WRONG", "canary-not-the-password")
            .kill_on_drop(true)
            .output()
            .await?;
        let run = Run {
            status: output.status.code().context("killed")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        ensure!(!format!("{run:?}").contains("canary"), "the password was shown by {args:?}: {run:?}");
        Ok(run)
    }

    async fn live_config(&self) -> Result<Option<Value>> {
        let answer = self.http.get(self.rest("/config")).send().await?;
        if answer.status() == 404 {
            return Ok(None);
        }
        Ok(Some(answer.error_for_status()?.json().await?))
    }

    async fn put_config(&self, config: &Value) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.http.put(self.rest("/config")).json(config).send().await?;
            if answer.status() != 409 || Instant::now() > deadline {
                answer.error_for_status()?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn cut_connection(&self) -> Result<()> {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1";
        let deadline = Instant::now() + PATIENCE;
        while self.admin.query_one(cut, &[&self.name]).await?.get::<_, i64>(0) == 0 {
            ensure!(Instant::now() < deadline, "the connector has no connection to cut");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn until_condition(&self, expect: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status: Value = self.http.get(self.rest("/status")).send().await?.json().await?;
            if status["tasks"][0]["state"] == expect {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no {expect}: {status}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until_offsets(&self) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let offsets: Value = self.http.get(self.rest("/offsets")).send().await?.json().await?;
            if offsets["offsets"].as_array().is_some_and(|all| !all.is_empty()) {
                return Ok(offsets);
            }
            if Instant::now() > deadline {
                bail!("no offsets: {offsets}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Until what was read so far is committed: the workers of the tests commit every second.
    async fn until_offsets_rest(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut offsets, mut since) = (self.until_offsets().await?, Instant::now());
        while since.elapsed() < Duration::from_secs(3) {
            ensure!(Instant::now() < deadline, "the offsets do not come to rest: {offsets}");
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.until_offsets().await?;
            if now != offsets {
                (offsets, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// The source database, as the role of the connector.
    async fn database(&self) -> Result<tokio_postgres::Client> {
        connect_to(&self.env, &self.name, &self.password, &self.name).await
    }
}

fn connect_to(
    env: &Env,
    user: &str,
    password: &str,
    dbname: &str,
) -> impl Future<Output = Result<tokio_postgres::Client>> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(env.pg).user(user).password(password).dbname(dbname);
    async move {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// The binary under test.
fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("WHIMBREL_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?
            .parent()
            .and_then(|deps| deps.parent())
            .context("no parent folder")?
            .join("whimbrel"),
    };
    ensure!(path.is_file(), "{} is not there: build it first", path.display());
    Ok(path)
}

/// What a run of the command gave.
#[derive(Debug)]
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn expect(self, status: i32) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected status {status}, got {}\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    fn says(&self, parts: &[&str]) -> Result<()> {
        contains("output", &self.stdout, parts)
    }

    fn complains(&self, parts: &[&str]) -> Result<()> {
        contains("error output", &self.stderr, parts)
    }
}

fn contains(what: &str, text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "no `{part}` in the {what}:\n{text}");
    }
    Ok(())
}
