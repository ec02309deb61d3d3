//! Every kind of change, step by step, through the whole way; after each the targets hold what the source holds.

use bson::doc;

use super::stage::{Flavour, Stage};
use super::watch::Watch;

/// The steps: name and statements.
fn steps() -> Vec<(&'static str, &'static str)> {
    let steps = include_str!("../fixtures/e2e/changes.sql").split("-- step: ").skip(1);
    steps.map(|step| step.split_once('\n').unwrap()).collect()
}

async fn journey(stage: &mut Stage) {
    stage.populate().await;
    // One flavour waits for topics that are not there yet, the other begins with a topic full of rows.
    let mut early = (stage.flavour == Flavour::Bare).then(|| stage.start());
    stage.capture().await;
    let mut agent = early.take().unwrap_or_else(|| stage.start());
    let watch = Watch::begin(stage, &mut agent).await;
    stage.until_equal(&mut agent, "the snapshot").await;
    let steps = steps();
    assert!(steps.len() >= 10, "the fixture is not read as steps");
    let mut unknown_to_target = None;
    for (name, sql) in steps {
        stage.source.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        if let Some(alter) = unknown_to_target.take() {
            // Nobody told the target, and the agent may not: it waits for a person, and goes on without a restart.
            watch.not_ready(stage, &mut agent, "lacks \"added\"").await;
            stage.postgres.batch_execute(alter).await.unwrap();
        }
        stage.until_equal(&mut agent, name).await;
        if name.ends_with("[schema]") && stage.flavour == Flavour::Bare {
            unknown_to_target = Some(sql);
        }
    }
    stage.until_idle(&mut agent).await;
    // All that Kafka holds is applied by now: nothing came behind and changed it.
    stage.compare().await.unwrap();
    watch.silent(stage, &mut agent).await;
    watch.end(stage, &mut agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    stage.compare().await.unwrap();
    comparison_sees_tampering(stage).await;
}

/// That nothing differed says something only if a difference would have been seen.
async fn comparison_sees_tampering(stage: &Stage) {
    let orders = stage.mongodb.collection::<bson::Document>("orders");
    let tamper = async |update| orders.update_one(doc! {"_id": 1}, update).await.unwrap().modified_count;
    assert_eq!(tamper(doc! {"$set": {"customer_id": 1}}).await, 1, "int instead of long");
    let why = stage.compare().await.unwrap_err();
    assert!(why.contains("orders.customer_id: Int32(1) stands for a bigint"), "{why}");
    assert_eq!(tamper(doc! {"$set": {"customer_id": 2_i64}}).await, 1);
    let why = stage.compare().await.unwrap_err();
    assert!(why.contains(r#"customer_id: expected "1", found "2""#), "{why}");
    assert_eq!(tamper(doc! {"$set": {"customer_id": 1_i64}}).await, 1);
    stage.compare().await.unwrap();
    stage.postgres.batch_execute("UPDATE orders SET total = 12.3 + 0.001 WHERE id = 1").await.unwrap();
    let why = stage.compare().await;
    // A column numeric(12,2) rounds it away; one made from Debezium's schema keeps every digit.
    match stage.flavour {
        Flavour::Schemas => assert!(why.unwrap_err().contains(r#"total: expected "12.30", found "12.301""#)),
        Flavour::Bare => why.unwrap(),
    }
    stage.postgres.batch_execute("DELETE FROM orders WHERE id = 1").await.unwrap();
    let why = stage.compare().await.unwrap_err();
    assert!(why.contains(r#"table orders, 1 differences:"#) && why.contains("is missing"), "{why}");
}

#[tokio::test]
async fn changes_with_embedded_schema_arrive_exactly_once_in_tables_made_from_it() {
    Stage::with("schemas", Flavour::Schemas, |stage| Box::pin(journey(stage))).await;
}

#[tokio::test]
async fn changes_without_schema_arrive_at_least_once_in_tables_made_beforehand() {
    Stage::with("bare", Flavour::Bare, |stage| Box::pin(journey(stage))).await;
}
