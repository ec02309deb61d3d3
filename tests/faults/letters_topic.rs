//! Dead letters in a Kafka topic: full records there, coordinates in the target, and re-driven from there.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::agent::binary;
use crate::support::kafka::create_topic_at;
use crate::support::ledger::Store;
use crate::support::{brokers, eventually, unique};

/// Runs `whimbrel dead-letters show`.
fn show(config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["dead-letters", "show", "--limit", "1000", "--config"]).arg(config).args(args).output().unwrap()
}

/// The target has no record; they are shown all the same, and as they were.
fn shows_records_of_the_topic(config: &Path, letters: &str, count: usize) {
    let shown = show(config, &["--payload", "--format", "json"]);
    assert!(shown.status.success(), "{shown:?}");
    let all: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(all.len(), count);
    for letter in &all {
        assert_eq!(letter["full_record"]["topic"], letters, "{letter}");
        let value = letter["value"].as_str().unwrap();
        let (key, value) = (letter["key"].as_str().unwrap(), serde_json::from_str::<Value>(value).unwrap());
        let row = if value["after"].is_null() { &value["before"] } else { &value["after"] };
        assert_eq!(key, format!("{{\"id\":{}}}", row["id"]), "the record of another letter: {letter}");
        assert_eq!(letter["headers"], json!([]), "the agent's own headers are no part of it");
    }
    let text = show(config, &["--payload"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.matches("  value       {").count(), count, "{text}");
    // Without being asked for, nothing of a record is read or shown.
    let text = String::from_utf8(show(config, &[]).stdout).unwrap();
    assert!(!text.contains("before") && text.contains(&format!("full record {letters}[0]@")), "{text}");
    // Kafka is away: the rest is shown all the same, and the exit status tells.
    let mut away: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    away["pipelines"][0]["source"]["kafka"]["brokers"] = json!(["127.0.0.1:1"]);
    let elsewhere = config.with_file_name("away.yaml");
    std::fs::write(&elsewhere, away.to_string()).unwrap();
    let shown = show(&elsewhere, &["--payload", "--format", "json"]);
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
    let all: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(all.len(), count);
    assert!(all[0]["value_error"].as_str().unwrap().contains("check the brokers"), "{}", all[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_in_a_topic_are_redriven_from_there_in_order() {
    let letters = unique("faults.letters");
    create_topic_at(&brokers(), &letters, 1).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("target.db");
    let mut scene = Scene::new("with-topic", Store::Sqlite(path.clone()), 1, 61).await;
    let delivery = json!({"dead_letters": {"topic": letters}, "poison": {"max_consecutive": 0, "max_ratio": 0}});
    let config = scene.config(&scene.topic, None, &delivery);
    scene.produce(300);
    let mut agent = scene.agent("agent", &config, &[]);
    scene.assert_whole(Duration::from_secs(60), &[&agent]).await;
    let database = rusqlite::Connection::open(&path).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON items WHEN NEW.id < 20 BEGIN SELECT RAISE(ABORT, 'refused'); END";
    database.execute_batch(refuse).unwrap();
    scene.produce(300);
    let (found, verdict) = scene.settle(Duration::from_secs(60)).await;
    assert!(verdict.is_green(), "{verdict:?}\n{}", agent.tail());
    assert!(!found.dead.is_empty(), "no row was refused");
    // The target keeps coordinates only; the records are in the topic.
    let bodies: i64 = database
        .query_row("SELECT count(*) FROM whimbrel_dead_letters WHERE value IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bodies, 0);
    let file = scene.path().join("agent.yaml");
    shows_records_of_the_topic(&file, &letters, found.dead.len());
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    let redriven = eventually("the letters are applied", Duration::from_secs(60), async || {
        let done = Command::new(binary())
            .args(["dead-letters", "redrive", "--format", "json", "--limit", "1000", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if done.status.success() {
            serde_json::from_slice::<Value>(&done.stdout).map_err(|e| e.to_string())
        } else {
            Err(text)
        }
    })
    .await;
    assert!(redriven["applied"].as_u64().unwrap() >= found.dead.len() as u64, "{redriven}");
    scene.produce(100);
    scene.assert_whole(Duration::from_secs(60), &[&agent]).await;
    assert!(scene.judge().await.0.dead.is_empty());
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}
