//! Dead letters in a Kafka topic: full records there, coordinates in the target, and re-driven from there.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::agent::binary;
use crate::support::kafka::create_topic_at;
use crate::support::ledger::Store;
use crate::support::{brokers, eventually, unique};

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
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    let file = scene.path().join("agent.yaml");
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
