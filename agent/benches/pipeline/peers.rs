//! The agent beside the Kafka Connect MongoDB sink: the same topic, the same mongod, in turns. CONNECT_PORT and SVC_DATA
//! name the worker. Its rate and CPU count from its first document on, so that the start of a connector costs it nothing.

use std::time::{Duration, Instant};

use ::mongodb::Database;
use anyhow::{Context as _, Result, ensure};
use bson::Document;
use serde_json::{Value, json};

use super::figures::Figures;
use super::figures::Target::{AtLeast, AtMost, Shown};
use super::{Setup, mongodb, process};

const LIMIT: Duration = Duration::from_secs(300);
const HANDLER: &str = "com.mongodb.kafka.connect.sink.cdc.debezium.rdbms.postgres.PostgresHandler";

/// A Kafka Connect worker.
struct Worker {
    url: String,
    pid: u32,
    http: reqwest::Client,
}

struct SinkRun {
    per_second: f64,
    micros: f64,
}

impl Worker {
    fn new() -> Result<Self> {
        let port = std::env::var("CONNECT_PORT").context("CONNECT_PORT is not set: run `./x bench peers`")?;
        let data = std::env::var("SVC_DATA").context("SVC_DATA is not set")?;
        let file = std::fs::read_to_string(format!("{data}/connect/pid"))?;
        let pid = file.split_whitespace().next().context("no pid of the worker")?.parse()?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), pid, http: reqwest::Client::new() })
    }

    async fn run(&self, setup: &Setup, db: &Database, collection: &str) -> Result<SinkRun> {
        let name = setup.name(collection);
        let config = json!({
            "connector.class": "com.mongodb.kafka.connect.MongoSinkConnector",
            "tasks.max": "1",
            "topics": setup.topic,
            "connection.uri": format!("{}&w=majority&journal=true", mongodb::uri()),
            "database": mongodb::DATABASE,
            "collection": collection,
            "change.data.capture.handler": HANDLER,
            "max.batch.size": "1000",
            "consumer.override.max.poll.records": "1000",
            "consumer.override.auto.offset.reset": "earliest",
        });
        let url = format!("{}/connectors", self.url);
        let body = serde_json::to_vec(&json!({"name": name, "config": config}))?;
        let answer = self.http.post(&url).header("content-type", "application/json").body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "connector refused: {text}");
        let first = self.reach(db, collection, &name, 1).await?;
        let (begun, cpu) = (Instant::now(), process::cpu(self.pid)?);
        let last = self.reach(db, collection, &name, setup.events).await?;
        let (took, cpu) = (begun.elapsed(), process::cpu(self.pid)?.saturating_sub(cpu));
        ensure!(last == setup.events, "{last} documents of {} events", setup.events);
        self.http.delete(format!("{url}/{name}")).send().await?.error_for_status()?;
        let events = (last - first) as f64;
        ensure!(events > 0.9 * last as f64, "too few events to measure: raise them");
        let run = SinkRun { per_second: events / took.as_secs_f64(), micros: cpu.as_secs_f64() * 1e6 / events };
        println!("{collection:<20} {:6.2} µs CPU/event, {:.0} events/s", run.micros, run.per_second);
        Ok(run)
    }

    async fn reach(&self, db: &Database, collection: &str, name: &str, documents: u64) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let found = db.collection::<Document>(collection).estimated_document_count().await?;
            if found >= documents {
                return Ok(found);
            }
            if begun.elapsed() > LIMIT {
                let status =
                    self.http.get(format!("{}/connectors/{name}/status", self.url)).send().await?.text().await?;
                anyhow::bail!("{found} documents of {documents}: {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let worker = Worker::new()?;
    let (_client, db) = mongodb::database().await?;
    // Its code is compiled while it runs; a round that does not count gives it the time.
    db.create_collection("sink_warm").await?;
    worker.run(setup, &db, "sink_warm").await?;
    let none: Value = json!([]);
    for round in 0..setup.rounds {
        let collection = format!("sink_{round}");
        db.create_collection(&collection).await?;
        let sink = worker.run(setup, &db, &collection).await?;
        let agent = mongodb::run(setup, &db, &format!("agent-{round}"), "exactly_once", &none).await?;
        let (now, most) = (process::mebibytes(worker.pid, "VmRSS")?, process::mebibytes(worker.pid, "VmHWM")?);
        figures.add("MongoDB sink, events a second", "", Shown, sink.per_second);
        figures.add("agent, events a second", "", Shown, agent.per_second());
        figures.add("rate, agent to MongoDB sink", "", AtLeast(3.0), agent.per_second() / sink.per_second);
        figures.add("MongoDB sink, CPU an event", "µs", Shown, sink.micros);
        figures.add("agent, CPU an event", "µs", Shown, agent.micros());
        figures.add("CPU an event, agent to MongoDB sink", "", AtMost(0.35), agent.micros() / sink.micros);
        figures.add("Kafka Connect with the MongoDB sink, memory now", "MiB", Shown, now);
        figures.add("agent, most memory", "MiB", Shown, agent.peak);
        figures.add("most memory, agent to MongoDB sink", "", AtMost(0.2), agent.peak / most);
    }
    db.drop().await?;
    Ok(())
}
