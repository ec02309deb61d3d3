//! Broker, mongod and PostgreSQL killed and restarted; a topic that comes later: the agent waits, says so, recovers.

use std::time::Duration;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::agent::Agent;
use crate::support::kafka::create_topic_at;
use crate::support::ledger::Store;
use crate::support::services::Services;
use crate::support::{eventually, unique};

/// What `/readyz` says, as JSON with its status.
async fn readiness(agent: &Agent) -> Result<(u16, Value), String> {
    let (status, body) = agent.get("/readyz").await?;
    Ok((status, serde_json::from_str(&body).map_err(|e| e.to_string())?))
}

async fn until_ready(agent: &Agent) {
    eventually("the agent is ready", Duration::from_secs(60), async || match readiness(agent).await? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}\n{}", agent.tail())),
    })
    .await;
}

async fn until_not_ready(agent: &Agent, word: &str) {
    eventually("the agent says what is missing", Duration::from_secs(60), async || match readiness(agent).await? {
        (503, body) if body.to_string().contains(word) => Ok(()),
        (status, body) => Err(format!("{status} {body}\n{}", agent.tail())),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_come_back_and_nothing_is_lost_or_doubled() {
    let services = Services::start(&["kafka", "mongo", "postgres"]);
    let brokers = format!("127.0.0.1:{}", services.port("KAFKA_PORT"));
    let mongo = format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", services.port("MONGO_PORT"));
    let stores = [
        ("mongo", "target", Store::MongodbAt(mongo, unique("outage"))),
        ("postgres", "target", Store::postgres_at(services.port("PG_PORT"), "outage").await),
    ];
    for (service, word, store) in stores {
        let mut scene = Scene::at(&brokers, service, store, 3, 41).await;
        let config = scene.config(&scene.topic, None, &json!({"batch": {"max_events": 50}, "retry": {"max": "500ms"}}));
        scene.produce(500);
        let mut agent = scene.agent("agent", &config, &[]);
        until_ready(&agent).await;
        // The target dies while records flow.
        services.call(service, "kill");
        scene.produce(500);
        until_not_ready(&agent, word).await;
        services.call(service, "start");
        scene.assert_whole(Duration::from_secs(90), &[&agent]).await;
        until_ready(&agent).await;
        // The broker dies.
        services.call("kafka", "kill");
        until_not_ready(&agent, "source").await;
        services.call("kafka", "start");
        scene.produce(500);
        scene.assert_whole(Duration::from_secs(90), &[&agent]).await;
        until_ready(&agent).await;
        assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_does_not_exist_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(directory.path().join("target.db"));
    let mut scene = Scene::without_topic("later", store, 1, 42);
    let config = scene.config(&scene.topic, None, &json!({}));
    let agent = scene.agent("agent", &config, &[]);
    until_not_ready(&agent, "topics that do not exist").await;
    create_topic_at(&crate::support::brokers(), &scene.topic, 1).await;
    scene.produce(100);
    scene.assert_whole(Duration::from_secs(60), &[&agent]).await;
    until_ready(&agent).await;
}
