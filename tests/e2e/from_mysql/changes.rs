//! Every kind of change, step by step, through the whole way; after each the targets hold what the source holds.

use bson::{Document, doc};

use super::stage::{Flavour, Stage};
use crate::support::agent::Agent;

async fn journey(stage: &mut Stage) {
    stage.populate().await;
    stage.capture().await;
    let mut agent = stage.start();
    let agent = &mut agent;
    stage.until_equal(agent, "the snapshot").await;
    let steps = include_str!("../../fixtures/mysql/changes.sql").split("-- step: ").skip(1);
    let steps: Vec<(&str, &str)> = steps.map(|step| step.split_once('\n').unwrap()).collect();
    assert!(steps.len() >= 9, "the fixture is not read as steps");
    for (name, statements) in steps {
        stage.run(statements).await;
        if name.ends_with("[schema]") && stage.flavour == Flavour::MySql {
            stage.postgres.batch_execute(statements).await.unwrap();
        }
        // Nobody makes a column at the target before a row needs it.
        if !name.ends_with("[schema]") {
            stage.until_equal(agent, name).await;
        }
    }
    if stage.flavour == Flavour::MariaDb {
        stage.run("INSERT INTO all_types (id, c_ubig) VALUES (6, 18446744073709551615)").await;
        stage.run("INSERT INTO orders (id, customer) VALUES (18446744073709551614, 'the largest key')").await;
        stage.until_equal(agent, "unsigned numbers beyond 64 bit signed").await;
        stage.run("DELETE FROM orders WHERE id = 18446744073709551614").await;
        stage.until_equal(agent, "the largest key is deleted").await;
    }
    everything_is_counted(stage, agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    stage.compare().await.unwrap();
    comparison_sees_tampering(stage).await;
}

/// No dead letters, and every operation was counted.
async fn everything_is_counted(stage: &Stage, agent: &mut Agent) {
    agent
        .until("every event is counted", async |agent| {
            let (_, metrics) = agent.get("/metrics").await?;
            let sum = |name: &str, part: &str| -> f64 {
                let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(part));
                lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
            };
            for operation in ["create", "update", "delete", "read"] {
                if sum("cdc_events_processed_total{", &format!("operation=\"{operation}\"")) < 1.0 {
                    return Err(format!("no event of operation {operation}:\n{metrics}"));
                }
            }
            let letters = sum("cdc_dead_letters_total{", "");
            if letters > 0.0 { Err(format!("{letters} dead letters in {}:\n{metrics}", stage.name)) } else { Ok(()) }
        })
        .await;
}

/// That nothing differed says something only if a difference would have been seen.
async fn comparison_sees_tampering(stage: &mut Stage) {
    let types = stage.mongodb.collection::<Document>("all_types");
    let tamper = async |update| assert_eq!(types.update_one(doc! {"id": 1}, update).await.unwrap().modified_count, 1);
    tamper(doc! {"$set": {"c_big": i64::MIN.to_string()}}).await;
    assert!(stage.compare().await.unwrap_err().contains("all_types.c_big: String("));
    tamper(doc! {"$set": {"c_big": i64::MIN}}).await;
    stage.compare().await.unwrap();
    for change in ["c_datetime6 = c_datetime6 + interval '1 microsecond'", "c_wide = c_wide + 1e-30", "c_bit8 = '0'"] {
        stage.postgres.batch_execute(&format!("BEGIN; UPDATE all_types SET {change} WHERE id = 1")).await.unwrap();
        let why = stage.compare().await.unwrap_err();
        assert!(why.contains(change.split(' ').next().unwrap()), "{why}");
        stage.postgres.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn rows_of_mariadb_with_embedded_schema_arrive_exactly_once() {
    Stage::with("mariadb", Flavour::MariaDb, |stage| Box::pin(journey(stage))).await;
}

#[tokio::test]
async fn rows_of_mysqls_connector_without_schema_arrive_at_least_once() {
    Stage::with("mysql", Flavour::MySql, |stage| Box::pin(journey(stage))).await;
}
