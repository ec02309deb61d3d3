//! Servers that demand TLS and a login: with the right settings rows arrive; with wrong ones the pipeline says what to mend
//! and goes on once it is mended; and no password is in anything the agent says.
//!
//! Each test is one agent with a pipeline for each case. Passwords are canaries: every output is searched for the word.

mod collector;
mod kafka;
mod mongodb;
mod postgres;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::kafka::{Producer, create_topic_at, envelope};
use crate::support::{brokers, eventually, setting, unique};

/// Rows that are produced, and must arrive where the connection is right.
const ROWS: i64 = 20;
/// Long enough for a client that backs off, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What every password here begins with.
const CANARY: &str = "canary";
/// A password that is nobody's.
const WRONG: &str = "canary-wrong-password";

/// A file that `certificates.sh` made for the shared servers.
fn certificate(name: &str) -> PathBuf {
    Path::new(&setting("SVC_TLS")).join(name)
}

/// A pipeline, and the words that must be among the reasons why it is not ready; none: it must work.
struct Case {
    name: &'static str,
    source: Value,
    target: Value,
    expect: &'static [&'static str],
}

/// A topic of its own with [`ROWS`] rows.
async fn topic(stem: &str) -> String {
    let topic = unique(&format!("secure.{stem}"));
    create_topic_at(&brokers(), &topic, 1).await;
    let producer = Producer::new(&brokers(), &topic);
    for id in 0..ROWS {
        producer.send(0, Some(&format!("{{\"id\":{id}}}")), Some(&envelope("c", id, "first", id + 1)));
    }
    producer.flush();
    topic
}

/// The section of a source that reads `topic`, with what else is given.
fn source(topic: &str, port: u16, host: &str, more: Value) -> Value {
    let mut kafka = json!({
        "brokers": [format!("{host}:{port}")], "topics": [topic], "group": unique("secure"),
        "properties": {"reconnect.backoff.max.ms": "500", "topic.metadata.refresh.interval.ms": "1000"},
    });
    kafka.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    kafka
}

/// Starts an agent with a pipeline for each case.
fn start(directory: &Path, cases: &[Case], environment: &[(&str, &str)]) -> Agent {
    let pipelines: Vec<Value> = cases
        .iter()
        .map(|case| {
            json!({
                "name": case.name, "source": {"kafka": case.source}, "target": case.target,
                "tables": [{"from": "*", "create": true}], "delivery": {"shutdown_grace": "2s", "retry": {"initial": "50ms", "max": "500ms"}},
            })
        })
        .collect();
    let config = json!({"name": unique("secure"), "http": {"listen": "127.0.0.1:0"}, "pipelines": pipelines});
    Agent::start(directory, "agent", &config, environment)
}

/// Reasons why a pipeline is not ready, in one text; `None`: it is ready.
async fn unready(agent: &Agent, pipeline: &str) -> Result<Option<String>, String> {
    let (_, body) = agent.get("/readyz").await?;
    let body: Value = serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))?;
    let found = &body["pipelines"][pipeline];
    match found["ready"].as_bool() {
        Some(true) => Ok(None),
        Some(false) => Ok(Some(found["reasons"].to_string())),
        None => Err(format!("no pipeline {pipeline} in {body}")),
    }
}

/// Waits until the pipeline is ready.
async fn until_ready(agent: &Agent, pipeline: &str) {
    eventually(&format!("{pipeline} is ready"), PATIENCE, async || match unready(agent, pipeline).await? {
        None => Ok(()),
        Some(reasons) => Err(format!("{reasons}\n{}", agent.tail())),
    })
    .await;
}

/// Waits until the pipeline is not ready for a reason with these words.
async fn until_unready(agent: &Agent, pipeline: &str, words: &[&str]) {
    eventually(&format!("{pipeline} says {words:?}"), PATIENCE, async || match unready(agent, pipeline).await? {
        Some(reasons) if words.iter().all(|word| reasons.contains(word)) => Ok(()),
        other => Err(format!("{other:?}\n{}", agent.tail())),
    })
    .await;
}

/// Waits until each case is as it must be.
async fn judge(agent: &Agent, cases: &[Case]) {
    for case in cases {
        if case.expect.is_empty() {
            until_ready(agent, case.name).await;
        } else {
            until_unready(agent, case.name, case.expect).await;
        }
    }
}

/// Nothing the agent says holds a password, or a good part of one.
async fn assert_silent(agent: &Agent) {
    let mut said = vec![("log", agent.log())];
    for page in ["/readyz", "/metrics", "/api/v1/status"] {
        said.push((page, agent.get(page).await.unwrap().1));
    }
    for (place, text) in said {
        assert!(!text.is_empty(), "{place} is empty");
        assert!(!text.contains(CANARY), "a password is in {place}:\n{text}");
    }
}
