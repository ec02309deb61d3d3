//! What people and programs learn of migrations: exit statuses, the status API, metrics, OTLP, and what a running agent shows
//! of what others do. On SQLite, which needs no server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::command::{Ran, finish, migrate};
use crate::support::agent::Agent;

const ROWS: i64 = 20_000;

/// A directory of migrations and a database file.
struct Shop {
    root: TempDir,
}

impl Shop {
    fn new(files: &[(&str, &str)]) -> Self {
        let shop = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(shop.directory()).unwrap();
        for (name, text) in files {
            shop.file(name, text);
        }
        shop
    }

    /// Orders, and a backfill of them whose chunks `--chunk` says.
    fn with_backfill() -> Self {
        let schema = format!(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0);
             WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {ROWS}) INSERT INTO orders (id) SELECT i FROM g;"
        );
        let fill = "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1'}\n";
        Self::new(&[("0001_schema.up.sql", &schema), ("0002_fill.yaml", fill)])
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("migrations")
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.directory().join(name), text).unwrap();
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.root.path().join("shop.db").display())
    }

    fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        migrate(&self.directory(), &self.url(), arguments, environment).spawn().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.start(arguments, &[]))
    }

    /// How many orders have this `n`.
    fn orders(&self, n: i64) -> i64 {
        let database = rusqlite::Connection::open(self.root.path().join("shop.db")).unwrap();
        database.query_row("SELECT count(*) FROM orders WHERE n = ?", [n], |row| row.get(0)).unwrap()
    }

    fn states(&self) -> Vec<(String, String)> {
        let ran = self.run(&["status", "--format", "json"]);
        assert_eq!(ran.code(), Some(0), "{}{}", ran.out, ran.err);
        objects(&ran.out)
            .iter()
            .filter(|one| one["event"] == "migration")
            .map(|one| (one["migration_id"].as_str().unwrap().to_owned(), one["state"].as_str().unwrap().to_owned()))
            .collect()
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

/// The first line of a child's standard error that `take` takes; the rest goes on being read.
fn line<T>(child: &mut Child, take: impl Fn(&str) -> Option<T>) -> (T, std::thread::JoinHandle<String>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    loop {
        let mut next = String::new();
        assert!(lines.read_line(&mut next).unwrap() > 0, "the command ended: {seen}");
        seen.push_str(&next);
        if let Some(found) = take(&next) {
            let rest = std::thread::spawn(move || {
                let _ = lines.read_to_string(&mut seen);
                seen
            });
            return (found, rest);
        }
    }
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: signals a child of this process that has not been waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
}

async fn get(url: &str) -> Option<String> {
    let answer = reqwest::get(url).await.ok()?;
    answer.status().is_success().then_some(())?;
    answer.text().await.ok()
}

#[tokio::test]
async fn a_run_is_shown_while_it_runs_and_a_signal_stops_it_between_two_chunks() {
    whimbrel::runtime::tls::install();
    let shop = Shop::with_backfill();
    let mut child = shop.start(&["up", "--chunk", "10", "--listen", "127.0.0.1:0"], &[]);
    let (url, rest) = line(&mut child, |line| {
        let (_, url) = line.split_once("http://")?;
        Some(format!("http://{}", url.split('/').next()?))
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let one = loop {
        assert!(Instant::now() < deadline, "nothing is shown");
        let page =
            get(&format!("{url}/api/v1/migrations/2")).await.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        match page {
            Some(one) if one["progress_ratio"].as_f64().is_some_and(|ratio| ratio > 0.01) => break one,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!((&one["state"], &one["here"], &one["direction"]), (&json!("running"), &json!(true), &json!("up")));
    assert_eq!(one["places"][0]["expected"], ROWS);
    let metrics = get(&format!("{url}/metrics")).await.unwrap();
    for expect in [
        r#"migration_progress_ratio{migration_id="2"} 0."#,
        r#"migration_rows_total{migration_id="2",table_name="orders"} "#,
        r#"migration_rows_attempted_total{migration_id="2",table_name="orders"} "#,
        r#"migration_info{direction="up",migration_id="2",name="fill",set="",system="sqlite"} 1"#,
        r#"migration_duration_seconds_count{migration_id="1"} 1"#,
    ] {
        assert!(metrics.contains(expect), "{expect}\n{metrics}");
    }
    assert!(!metrics.contains(r#"migration_info{direction="up",migration_id="1""#), "what is over has no gauge");
    assert_eq!(get(&format!("{url}/healthz")).await.as_deref(), Some("ok\n"));
    signal(&child, libc::SIGINT);
    let status = child.wait().unwrap();
    let said = rest.join().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopping after the chunk") && said.contains("run the same command again"), "{said}");
    let done = shop.orders(1);
    assert!(done > 0 && done < ROWS && done % 10 == 0, "{done} of {ROWS}: between two chunks");
    let ran = shop.run(&["up"]);
    assert_eq!((ran.code(), shop.orders(1)), (Some(0), ROWS), "{}", ran.err);
    assert!(ran.err.contains("going on after"), "{}", ran.err);
}

#[test]
fn every_way_to_end_has_its_exit_status_and_says_what_to_do() {
    let shop = Shop::with_backfill();
    assert_eq!(shop.run(&["up"]).code(), Some(0));
    let up_to_date = shop.run(&["up"]);
    assert_eq!(up_to_date.code(), Some(0));
    assert!(up_to_date.out.contains("nothing to apply"), "{}", up_to_date.out);

    shop.file(
        "0003_check.yaml",
        "steps:\n  - sql: CREATE TABLE a (b int)\nchecks:\n  - count: {table: a, equals: 1}\n",
    );
    let ran = shop.run(&["up"]);
    assert_eq!(ran.code(), Some(4), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("check FAILED"), "{}", ran.err);
    shop.file("0003_check.yaml", "steps:\n  - sql: INSERT INTO nowhere VALUES (1)\n");
    let ran = shop.run(&["up"]);
    assert_eq!(ran.code(), Some(1), "{}{}", ran.out, ran.err);
    std::fs::remove_file(shop.directory().join("0003_check.yaml")).unwrap();
    assert_eq!(shop.run(&["repair", "--forget", "3"]).code(), Some(0));

    shop.file("0002_fill.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 2'}\n");
    for verb in [["up", "--dry-run"].as_slice(), &["up"], &["plan"], &["validate"]] {
        let ran = shop.run(verb);
        let all = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code(), Some(3), "{verb:?}: {all}");
        assert!(all.contains("--accept-checksum 2"), "{all}");
    }
    assert_eq!(shop.run(&["repair", "--accept-checksum", "2"]).code(), Some(0));
    assert_eq!(shop.run(&["validate"]).code(), Some(0));

    shop.file("0004_late.up.sql", "SELECT 1;");
    let ran = shop.run(&["up", "--format", "json"]);
    let last = objects(&ran.out).pop().unwrap();
    assert_eq!(
        (ran.code(), &last["event"], &last["exit"]),
        (Some(3), &json!("error"), &json!(3)),
        "a gap: {}",
        ran.out
    );
    assert_eq!(shop.run(&["up", "--allow-gaps"]).code(), Some(0));

    shop.file("0005_broken.yaml", "steps: [{slq: x}]\n");
    for verb in [["up"].as_slice(), &["validate", "--offline"], &["status"]] {
        let ran = shop.run(verb);
        assert_eq!(ran.code(), Some(2), "{verb:?}: {}", ran.err);
        assert!(ran.err.contains("0005_broken.yaml"), "{}", ran.err);
    }
    let nowhere = finish(migrate(&shop.directory(), "oracle://me:canary@h/d", &["status"], &[]).spawn().unwrap());
    assert_eq!(nowhere.code(), Some(2), "{}", nowhere.err);
    assert!(!nowhere.err.contains("canary") && nowhere.err.contains("postgres://"), "{}", nowhere.err);
    assert_eq!(shop.run(&["up", "--to", "one"]).code(), Some(2));
}

#[test]
fn a_runner_that_finds_the_lock_taken_says_by_whom_and_gives_up_in_time() {
    let shop = Shop::with_backfill();
    let mut first = shop.start(&["up", "--chunk", "5"], &[]);
    let ((), rest) =
        line(&mut first, |line| line.contains("applying").then_some(()).filter(|()| line.starts_with('2')));
    let ran = shop.run(&["up", "--wait", "0s"]);
    assert_eq!(ran.code(), Some(5), "{}{}", ran.out, ran.err);
    // In the midst of a commit the file does not say who it is.
    let names = [format!("process {}", first.id()), "a process that writes to the file".to_owned()];
    assert!(names.iter().any(|name| ran.err.contains(name)), "{}", ran.err);
    let waiting = shop.run(&["up", "--wait", "120s", "--lease", "5s"]);
    assert_eq!(waiting.code(), Some(0), "{}", waiting.err);
    assert!(waiting.err.contains("waiting for the lock"), "{}", waiting.err);
    assert_eq!(first.wait().unwrap().code(), Some(0), "{}", rest.join().unwrap());
    assert_eq!(shop.orders(1), ROWS, "once");
}

#[test]
fn a_full_disk_on_log_and_outputs_does_not_stop_a_migration() {
    let shop = Shop::with_backfill();
    let full = || std::fs::File::options().append(true).open("/dev/full").unwrap();
    let mut command = migrate(&shop.directory(), &shop.url(), &["up", "--log-file", "/dev/full"], &[]);
    command.stderr(full()).spawn().unwrap().wait().unwrap();
    assert_eq!(shop.states(), [("1".into(), "applied".into()), ("2".into(), "applied".into())]);
    assert_eq!(shop.orders(1), ROWS);
    let ran = shop.run(&["down", "--to", "0", "--log-file", "/dev/full"]);
    assert_eq!(ran.code(), Some(3), "1 and 2 have no down: {}", ran.err);
    shop.file("0003_x.up.sql", "CREATE TABLE x (y int);");
    let ran = shop.run(&["up", "--log-file", "/dev/full"]);
    assert_eq!(ran.code(), Some(0), "{}", ran.err);
    assert_eq!(ran.err.matches("/dev/full cannot be written").count(), 1, "told once: {}", ran.err);
}

/// What was sent where.
type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that keeps what it is sent, by path.
fn collector() -> (String, Kept) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = Kept::default();
    let into = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, into) = (stream.unwrap(), Arc::clone(&into));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let (mut path, mut length) = (String::new(), 0);
                    loop {
                        let mut header = String::new();
                        if reader.read_line(&mut header).unwrap_or(0) == 0 {
                            return;
                        }
                        let header = header.trim_end().to_ascii_lowercase();
                        if let Some(rest) = header.strip_prefix("post ") {
                            path = rest.split(' ').next().unwrap().to_owned();
                        } else if let Some(rest) = header.strip_prefix("content-length: ") {
                            length = rest.parse().unwrap();
                        } else if header.is_empty() {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    into.lock().unwrap().push((path, body));
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (url, kept)
}

#[test]
fn metrics_spans_and_logs_of_a_run_are_at_the_collector_when_it_ends() {
    let shop = Shop::with_backfill();
    let (url, kept) = collector();
    let ran = finish(shop.start(&["up", "--chunk", "5000"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]));
    assert_eq!(ran.code(), Some(0), "{}", ran.err);
    let kept = kept.lock().unwrap();
    // Texts stand in protobuf as they are.
    let holds = |path: &str, text: &str| {
        let of_path = kept.iter().filter(|(known, _)| known == path);
        of_path.flat_map(|(_, body)| body.windows(text.len())).filter(|window| *window == text.as_bytes()).count()
    };
    for (path, text, least) in [
        ("/v1/metrics", "migration_rows_total", 1),
        ("/v1/metrics", "migration_duration_seconds", 1),
        ("/v1/traces", "migration.step", 3),
        ("/v1/traces", "migration.chunk", 4),
        ("/v1/traces", "db.query.summary", 3),
        ("/v1/traces", "backfill orders", 1),
        ("/v1/logs", "migration done", 2),
    ] {
        assert!(holds(path, text) >= least, "{path} {text}: {} times", holds(path, text));
    }
}

fn config(shop: &Shop, on_start: &str) -> Value {
    json!({
        "name": "watcher", "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json"},
        "migrations": [{
            "name": "shop", "directory": shop.directory(), "on_start": on_start,
            "database": {"sqlite": {"path": shop.root.path().join("shop.db")}},
        }],
    })
}

/// States by version, as a running agent shows them.
async fn shown(agent: &Agent) -> Result<Vec<(String, String)>, String> {
    let (status, text) = agent.get("/api/v1/migrations").await?;
    let page: Value = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
    let all = page["migrations"].as_array().ok_or_else(|| text.clone())?;
    let word = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    Ok(all.iter().map(|one| (word(one, "migration_id").clone() + &word(one, "id"), word(one, "state"))).collect())
}

#[tokio::test]
async fn an_agent_applies_at_the_start_and_then_shows_what_others_do() {
    let shop = Shop::with_backfill();
    let config = config(&shop, "apply");
    let mut agent = Agent::start(shop.root.path(), "watcher", &config, &[]);
    let expect = |want: &[(&str, &str)]| {
        want.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect::<Vec<_>>()
    };
    let states = |want: Vec<(String, String)>| {
        async move |agent: &Agent| {
            let is = shown(agent).await?;
            if is == want { Ok(()) } else { Err(format!("{is:?}")) }
        }
    };
    agent.until("applied at the start", states(expect(&[("1", "applied"), ("2", "applied")]))).await;
    assert_eq!(shop.orders(1), ROWS);
    assert_eq!(agent.get("/readyz").await.unwrap().0, 200);
    shop.file("0003_more.yaml", "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1'}\n");
    agent.until("a new file", states(expect(&[("1", "applied"), ("2", "applied"), ("3", "pending")]))).await;
    let file = shop.root.path().join("watcher.yaml");
    let arguments = ["migrate", "up", "--config", file.to_str().unwrap(), "--name", "shop", "--chunk", "1"];
    let mut other = std::process::Command::new(crate::support::agent::binary())
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    agent
        .until("somebody else at work", async |agent| {
            let (_, text) = agent.get("/api/v1/migrations/3").await?;
            let one: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
            let by_other = one["by"].as_str().is_some_and(|by| by.ends_with(&format!("process {}", other.id())));
            let runs = one["state"] == "running" && one["here"] == false;
            let (_, metrics) = agent.get("/metrics").await?;
            let gauge = metrics.contains(
                r#"migration_info{direction="up",migration_id="3",name="more",set="shop",system="sqlite"} 1"#,
            );
            if by_other && runs && gauge { Ok(()) } else { Err(text) }
        })
        .await;
    assert!(other.wait().unwrap().success());
    agent.until("done", states(expect(&[("1", "applied"), ("2", "applied"), ("3", "applied")]))).await;
    assert_eq!(agent.stop(), Some(0));
}

#[tokio::test]
async fn an_agent_whose_migrations_fail_does_not_start_and_says_why() {
    let shop = Shop::with_backfill();
    shop.file("0003_bad.up.sql", "INSERT INTO nowhere VALUES (1);");
    let mut agent = Agent::start(shop.root.path(), "watcher", &config(&shop, "apply"), &[]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !agent.ended() {
        assert!(Instant::now() < deadline, "{}", agent.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = agent.log();
    assert!(log.contains("migrations `shop` are to be applied at the start, and were not"), "{log}");
    assert!(log.contains("nowhere"), "{log}");
    assert_eq!(shop.states().last().unwrap().1, "failed");
}
