//! `whimbrel observe` as its users run it: another tool's command passes through unchanged, and what it did can be seen.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use super::command::{ended_within, finish};
use crate::support::agent::binary;
use crate::support::{eventually, setting, unique};

const PATIENCE: Duration = Duration::from_secs(30);

fn observe(directory: &Path, arguments: &[&str], command: &[&str]) -> Command {
    let mut observe = Command::new(binary());
    observe
        .args(["observe", "--migration-id", "shop-7"])
        .args(arguments)
        .arg("--")
        .args(command)
        .current_dir(directory)
        .env_remove("WHIMBREL_DATABASE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Away from a terminal that sends its signals to everybody.
        .process_group(0);
    observe
}

fn database() -> String {
    let (user, password, port) = (setting("PG_USER"), setting("PG_PASSWORD"), setting("PG_PORT"));
    format!("postgresql://{user}:{password}@127.0.0.1:{port}/postgres")
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn get(address: &str, path: &str) -> Result<String, String> {
    let response = reqwest::get(format!("http://{address}{path}")).await.map_err(|error| error.to_string())?;
    response.text().await.map_err(|error| error.to_string())
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: signals a child of this process that has not been waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fills_a_table_is_seen_while_it_runs_and_afterwards() {
    whimbrel::runtime::tls::install();
    let directory = tempfile::tempdir().unwrap();
    let table = unique("observed");
    let (client, connection) = tokio_postgres::connect(&database(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(&format!("CREATE TABLE {table} (id int); INSERT INTO {table} SELECT generate_series(1, 500)"))
        .await
        .unwrap();
    client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    let script = format!(
        "echo \"database ${{WHIMBREL_DATABASE:-withheld}}\"
         for step in 1 2 3 4 5; do
             psql -qX \"$TOOL_DATABASE\" -c 'INSERT INTO {table} SELECT generate_series(1, 2000)' || exit 9
             echo \"table {table}: $step/5\" >&2
             sleep 0.6
         done
         exit 3"
    );
    let address = free_address();
    let arguments = ["--interval", "200ms", "--listen", &address, "--summary-file", "summary.json", "--log-file"];
    let mut command = observe(directory.path(), &arguments, &["sh", "-c", &script]);
    let mut child = command.env("WHIMBREL_DATABASE", database()).env("TOOL_DATABASE", database()).spawn().unwrap();

    let rows = format!("migration_rows_total{{migration_id=\"shop-7\",table_name=\"{table}\"}} ");
    let metrics = eventually("rows are counted while the script runs", PATIENCE, async || {
        let metrics = get(&address, "/metrics").await?;
        let seen = metrics.lines().any(|line| line.starts_with(&rows) && !line.ends_with(" 0"));
        if seen { Ok(metrics) } else { Err(format!("{metrics}\nended: {:?}", child.try_wait())) }
    })
    .await;
    assert!(!metrics.contains(&setting("PG_PASSWORD")) || setting("PG_PASSWORD") == setting("PG_USER"), "{metrics}");
    let status: serde_json::Value = serde_json::from_str(&get(&address, "/api/v1/migrations").await.unwrap()).unwrap();
    assert!(status.to_string().contains("shop-7"), "{status}");

    let ran = tokio::task::spawn_blocking(move || finish(child)).await.unwrap();
    assert_eq!((ran.code(), ran.out.as_str()), (Some(3), "database withheld\n"), "{ran:?}");
    let said: Vec<_> = ran.err.lines().collect();
    let last = "whimbrel: shop-7: the command ended with status 3 after ";
    assert_eq!(said.len(), 6, "five lines of the script's, and one of ours: {said:?}");
    assert!(said[5].starts_with(last) && said[5].ends_with(&format!("{table} +10000 rows")), "{said:?}");

    let summary: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(directory.path().join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["id"], &summary["status"], &summary["signal"]),
        (&"shop-7".into(), &3.into(), &serde_json::Value::Null)
    );
    assert_eq!(summary["progress"]["counts"][&table]["done"], 10_000, "{summary}");
    assert_eq!((&summary["measured"]["done"], &summary["measured"]["table"]), (&5.into(), &table.as_str().into()));
    let duration = summary["duration_ms"].as_u64().unwrap();
    assert!((3_000..20_000).contains(&duration), "{summary}");
    assert_eq!(summary["samples_failed"], 0, "{summary}");
    let log = std::fs::read_to_string(directory.path().join("migrations.log")).unwrap();
    assert!(log.contains("shop-7") && log.contains("exit_3"), "{log}");
    for told in [&log, &summary.to_string(), &ran.err] {
        assert!(!told.contains(&database()), "{told}");
    }
    client.batch_execute(&format!("DROP TABLE {table}")).await.unwrap();
}

#[test]
fn signals_reach_the_command_and_its_death_is_ours() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo int; exit 5' INT; trap 'echo term; exit 6' TERM; echo ready; while :; do sleep 0.05; done";
    for (number, word, status) in [(libc::SIGINT, "int", 5), (libc::SIGTERM, "term", 6)] {
        let mut child = observe(directory.path(), &["--quiet"], &["sh", "-c", script]).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        signal(&child, number);
        assert!(ended_within(&mut child, PATIENCE), "{word}");
        let ran = finish(child);
        assert_eq!((ran.code(), ran.out.trim_end(), ran.err.as_str()), (Some(status), word, ""));
    }
    let ran = finish(observe(directory.path(), &["--quiet"], &["sh", "-c", "kill -KILL $$"]).spawn().unwrap());
    assert_eq!(ran.code(), Some(137));
}

#[test]
fn input_output_and_arguments_pass_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..1_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    std::fs::write(directory.path().join("bytes"), &bytes).unwrap();
    let input = std::fs::File::open(directory.path().join("bytes")).unwrap();
    let ran = observe(directory.path(), &["--quiet"], &["cat"]).stdin(input).output().unwrap();
    assert!(ran.status.success() && ran.stdout == bytes && ran.stderr.is_empty());

    let ran =
        observe(directory.path(), &["--quiet"], &["printf", "%s|", "--help", "-- ", "a b", "\u{e9}"]).output().unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "--help|-- |a b|\u{e9}|");
}

#[test]
fn what_cannot_be_observed_is_said_before_the_command_begins_and_nothing_else_stops_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("touched");
    let touch = ["touch", "touched"];
    for (arguments, words) in [
        (vec!["--progress-pattern", "("], "no regular expression"),
        (vec!["--progress-pattern", "x"], "neither a group named `done`"),
        (vec!["--database", "redis://127.0.0.1"], "database"),
        (vec!["--interval", "1"], "unit"),
        (vec!["--config", "none.yaml"], "none.yaml"),
    ] {
        let ran = finish(observe(directory.path(), &arguments, &touch).spawn().unwrap());
        assert!(ran.code() == Some(2) && ran.err.contains(words) && !file.exists(), "{arguments:?}: {ran:?}");
    }
    let ran = finish(observe(directory.path(), &[], &["no-such-command"]).spawn().unwrap());
    assert!(ran.code() == Some(127) && ran.err.contains("no-such-command cannot be started"), "{ran:?}");

    let nowhere =
        ["--database", "postgresql://me@127.0.0.1:1/x", "--interval", "50ms", "--summary-file", "/no/such/place"];
    let began = Instant::now();
    let ran = finish(observe(directory.path(), &nowhere, &["sh", "-c", "sleep 0.5; touch touched"]).spawn().unwrap());
    assert!(ran.code() == Some(0) && file.exists() && began.elapsed() < Duration::from_secs(5), "{ran:?}");
    assert_eq!(ran.err.matches("database cannot be observed").count(), 1, "said once: {}", ran.err);
    assert!(ran.err.contains("the summary cannot be written to /no/such/place"), "{}", ran.err);
}

#[test]
fn a_question_is_answered_through_the_observer() {
    let directory = tempfile::tempdir().unwrap();
    let script = "printf 'sure? '; read answer; echo \"$answer\"";
    let mut child =
        observe(directory.path(), &["--quiet"], &["sh", "-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let mut question = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut question).unwrap();
    assert_eq!(&question, b"sure? ");
    child.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let ran = finish(child);
    assert_eq!((ran.code(), ran.out.as_str()), (Some(0), "yes\n"));
}
