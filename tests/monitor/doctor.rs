//! `whimbrel doctor` beside real servers: what works is said to, and what does not is named with what to do.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::agent::binary;
use crate::support::kafka::create_topic_at;
use crate::support::{brokers, mongodb, port, setting, unique};

fn doctor(config: &Value) -> (Option<i32>, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("doctor.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let output = Command::new(binary())
        .args(["doctor", "--format", "json", "--config"])
        .arg(&file)
        .env("PG_SECRET", setting("PG_PASSWORD"))
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("whimbrel-test-cache"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains(&setting("PG_PASSWORD")) || setting("PG_PASSWORD").len() < 9, "{text}");
    let findings = serde_json::from_str(&text);
    let findings = findings.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), findings)
}

#[tokio::test]
async fn what_works_is_said_to_and_what_does_not_is_named_with_what_to_do() {
    let topic = unique("doctor");
    create_topic_at(&brokers(), &topic, 1).await;
    let pipeline = |name: &str, broker: &str, topic: &str, target: Value| {
        json!({
            "name": name,
            "source": {"kafka": {
                "brokers": [broker], "topics": [topic], "heartbeat_topics": [topic], "group": unique("doctor"),
            }},
            "target": target,
        })
    };
    let postgres = |port: u16| {
        let user = setting("PG_USER");
        json!({"postgresql": {
            "uri": format!("postgresql://{user}:${{env:PG_SECRET}}@127.0.0.1:{port}/postgres"), "timeout": "2s",
        }})
    };
    let mongo = json!({"mongodb": {"uri": mongodb(), "database": unique("doctor")}});
    let well = json!({
        "http": {"listen": "127.0.0.1:0"},
        "pipelines": [
            pipeline("pg", &brokers(), &topic, postgres(port("PG_PORT"))),
            pipeline("mongo", &brokers(), &topic, mongo),
        ],
        "monitor": {},
    });
    let (status, findings) = doctor(&well);
    let bad: Vec<&Value> = findings.iter().filter(|one| one["state"] == "bad").collect();
    assert_eq!((status, bad), (Some(0), Vec::new()));
    let about = |what: &str| findings.iter().filter(|one| one["what"].as_str().unwrap().contains(what)).count();
    for what in
        ["pipeline pg: kafka", "pipeline pg: target", "target: clock", "pipeline mongo: target", "monitor: plugins"]
    {
        assert!(about(what) > 0, "{what}: {findings:#?}");
    }

    let ill = json!({
        "http": {"listen": "127.0.0.1:0"},
        "otlp": {"endpoint": "http://127.0.0.1:9"},
        "connectors": {"url": "http://127.0.0.1:9", "list": []},
        "pipelines": [
            pipeline("topic", &brokers(), "there-is-no-such-topic", postgres(port("PG_PORT"))),
            pipeline("database", &brokers(), &topic, postgres(9)),
            pipeline("broker", "127.0.0.1:9", &topic, json!({"sqlite": {"path": "/no/such/folder/shop.db"}})),
        ],
    });
    let (status, findings) = doctor(&ill);
    assert_eq!(status, Some(1));
    for what in [
        "pipeline topic: kafka topic there-is-no-such-topic",
        "pipeline database: target",
        "pipeline broker: kafka",
        "pipeline broker: target",
        "otlp collector",
        "kafka connect",
    ] {
        let found = findings.iter().find(|one| one["what"] == what && one["state"] == "bad");
        let remedy = found.and_then(|one| one["remedy"].as_str());
        assert!(remedy.is_some_and(|remedy| !remedy.is_empty()), "{what}: {findings:#?}");
    }
}
