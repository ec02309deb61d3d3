//! The dashboard's queries, asked of a real Prometheus that scrapes the built agent at work.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::receiver;
use crate::observability::prometheus::Prometheus;
use crate::support::agent::Agent;
use crate::support::kafka::{Producer, create_topic_at, envelope};
use crate::support::{brokers, unique};

/// Panels that have series only while a migration runs, or when one failed, or of MongoDB: this agent has none of that. Over
/// the whole contract of the scrape they are asked in the tests of `whimbrel-monitor`.
const NOT_HERE: [&str; 7] = [
    "migration_progress_ratio",
    "migration_eta_seconds",
    "rate(migration_errors_total[5m])",
    "rate(mongodb_migration_documents_total[5m])",
    "rate(mongodb_migration_errors_total[5m])",
    "sum by (version, status) (mongodb_migration_duration_seconds_count)",
    "mongodb_migration_duration_seconds_sum / mongodb_migration_duration_seconds_count",
];
/// A trap has no series before the first.
const NO_TRAP: &str = "sum by (plugin, cause) (increase(plugin_traps_total[5m]))";

fn queries() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards/database-migration-monitoring.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_series_of_an_agent_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let (topic, life, group) = (unique("panels"), unique("heartbeat"), unique("group"));
    create_topic_at(&brokers(), &topic, 1).await;
    create_topic_at(&brokers(), &life, 1).await;
    let (records, heartbeats) = (Producer::new(&brokers(), &topic), Producer::new(&brokers(), &life));
    let migrations = directory.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    std::fs::write(
        migrations.join("0001_a.yaml"),
        "steps:\n  - sql: CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER)\n  - sql: INSERT INTO a VALUES (1, 0), (2, 0)\n",
    )
    .unwrap();
    let (receiver, ..) = receiver();
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = json!({
        "http": {"listen": listen.to_string()},
        "pipelines": [{
            "name": "shop",
            "migration_id": "big-move",
            "source": {"kafka": {
                "brokers": [brokers()], "topics": [topic], "heartbeat_topics": [life], "group": group,
            }},
            "transform": [{"plugin": "mask-fields", "config": {"rules": [{"columns": ["email"]}]}}],
            "target": {"sqlite": {"path": directory.path().join("shop.db")}},
            "tables": [{"from": "*", "create": true}],
            "delivery": {"poison": {"max_consecutive": 1_000_000, "max_ratio": 1.0}},
        }],
        "migrations": [{
            "name": "shop",
            "directory": migrations,
            "database": {"sqlite": {"path": directory.path().join("migrated.db")}},
            "on_start": "apply",
        }],
        "monitor": {
            "evaluate": "1s",
            "rules": [{"plugin": "threshold-rules", "config": {"high_error_rate": {"steps": 1, "minimum_events": 1}}}],
            "channels": [{
                "name": "hook",
                "plugin": "webhook",
                "config": {"url": format!("http://{receiver}/")},
                "grants": {"http": [format!("http://{receiver}")], "private_addresses": true, "clock": true},
            }],
            "routes": [{"channels": ["hook"], "group_wait": "0ms"}],
        },
    });
    let mut agent = Agent::start(directory.path(), "agent", &config, &[]);
    let target = listen.to_string();
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&target)).await.unwrap();
    let client = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{}/api/v1/query", prometheus.port);

    let mut left: BTreeSet<String> = queries();
    assert!(left.remove(NO_TRAP), "the dashboard has it");
    for query in NOT_HERE {
        assert!(left.remove(query), "the dashboard has no {query}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut id = 0;
    while !left.is_empty() {
        assert!(Instant::now() < deadline && !agent.ended(), "no series of {left:#?}");
        for _ in 0..20 {
            id += 1;
            records.send(0, Some(&format!("{{\"id\":{id}}}")), Some(&envelope("c", id, "note", id)));
        }
        records.send(0, Some("k"), Some(b"this is no envelope"));
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        heartbeats.send(0, None, Some(json!({ "ts_ms": now_ms }).to_string().as_bytes()));
        records.flush();
        heartbeats.flush();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut found = Vec::new();
        for query in &left {
            let answer = client.get(&url).query(&[("query", query)]).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            if answer["data"]["result"].as_array().is_some_and(|series| !series.is_empty()) {
                found.push(query.clone());
            }
        }
        left.retain(|query| !found.contains(query));
    }
    tokio::task::spawn_blocking(move || drop(prometheus)).await.unwrap();
    assert_eq!(agent.stop(), Some(0));
}
