//! Kafka to MongoDB beside the driver alone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bson::{Document, doc};
use mongodb::{Client, Database};
use serde_json::{Value, json};

use super::agent::{Agent, Run, config};
use super::ceiling_mongodb::{Encoded, OFFSETS};
use super::figures::Figures;
use super::figures::Target::{AtLeast, AtMost, Shown};
use super::{Setup, transform};

/// Rows a batch.
const ROWS: usize = 1000;
pub(crate) const DATABASE: &str = "whimbrel_bench";

pub(crate) fn uri() -> String {
    let port = std::env::var("MONGO_PORT").unwrap_or_else(|_| "17017".into());
    format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0")
}

pub(crate) fn pipeline(collection: &str, mode: &str, transform: &Value) -> Value {
    json!({
        "target": {"mongodb": {"uri": uri(), "database": DATABASE}},
        "transform": transform,
        "tables": [{"from": "*", "to": collection}],
        "delivery": {"mode": mode, "batch": {"max_events": ROWS}},
    })
}

/// A fresh database.
pub(crate) async fn database() -> Result<(Client, Database)> {
    let client = Client::with_uri_str(uri()).await?;
    let db = client.database(DATABASE);
    db.drop().await?;
    db.create_collection(OFFSETS).await?;
    Ok((client, db))
}

/// One run of the agent into a collection of its own.
pub(crate) async fn run(setup: &Setup, db: &Database, name: &str, mode: &str, transform: &Value) -> Result<Run> {
    let collection = name.replace('-', "_");
    let config = config(setup.directory(), &setup.topic, &setup.name(name), pipeline(&collection, mode, transform));
    let mut agent = Agent::start(setup.directory(), &config)?;
    let run = agent.run_to(setup.events).await?;
    agent.stop()?;
    let found = db.collection::<Document>(&collection).count_documents(doc! {}).await?;
    ensure!(found == setup.events, "{found} documents of {} events", setup.events);
    run.print(name);
    Ok(run)
}

/// The documents the agent wrote, written once more as they are.
async fn ceiling(setup: &Setup, client: &Client, db: &Database, from: &str, to: &str) -> Result<Duration> {
    db.create_collection(to).await?;
    let mut found = db.collection::<Document>(from).find(doc! {}).sort(doc! {"_id": 1}).await?;
    let mut encoded = Vec::new();
    let mut documents = Vec::with_capacity(ROWS);
    while found.advance().await? {
        documents.push(found.deserialize_current()?);
        if documents.len() == ROWS {
            encoded.push(Encoded::new(to, to, &documents, i64::try_from(encoded.len() * ROWS)?)?);
            documents.clear();
        }
    }
    ensure!(documents.is_empty() && encoded.len() * ROWS == usize::try_from(setup.events)?, "documents are missing");
    let mut session = client.start_session().await?;
    let begun = Instant::now();
    for batch in encoded {
        batch.send(db, &mut session).await?;
    }
    let took = begun.elapsed();
    println!("{to:<20} {:.0} rows/s, {:.1} s", setup.events as f64 / took.as_secs_f64(), took.as_secs_f64());
    Ok(took)
}

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let (client, db) = database().await?;
    for round in 0..setup.rounds {
        let once = run(setup, &db, &format!("once-{round}"), "exactly_once", &transform::two_columns()).await?;
        let best = ceiling(setup, &client, &db, &format!("once_{round}"), &format!("ceiling_{round}")).await?;
        let least = run(setup, &db, &format!("least-{round}"), "at_least_once", &transform::two_columns()).await?;
        let ceiling = setup.events as f64 / best.as_secs_f64();
        figures.add("MongoDB ceiling, rows a second", "", Shown, ceiling);
        figures.add("Kafka -> MongoDB, events a second", "", Shown, once.per_second());
        figures.add("Kafka -> MongoDB, of the ceiling", "", AtLeast(0.8), once.per_second() / ceiling);
        figures.add("Kafka -> MongoDB, CPU an event", "µs", Shown, once.micros());
        figures.add(
            "Kafka -> MongoDB, exactly_once of at_least_once",
            "",
            AtLeast(0.8),
            once.per_second() / least.per_second(),
        );
        figures.add("memory under full load, most, one plugin", "MiB", AtMost(100.0), once.peak);
    }
    db.drop().await?;
    Ok(())
}
