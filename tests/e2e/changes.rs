//! Every kind of change, step by step, through the whole way; after each the targets hold what the source holds.

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
    watch.idle(stage, &mut agent).await;
    // All that Kafka holds is applied by now: nothing came behind and changed it.
    stage.compare().await.unwrap();
    watch.silent(stage, &mut agent).await;
    watch.end(stage, &mut agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    stage.compare().await.unwrap();
}

#[tokio::test]
async fn changes_with_embedded_schema_arrive_exactly_once_in_tables_made_from_it() {
    Stage::with("schemas", Flavour::Schemas, |stage| Box::pin(journey(stage))).await;
}

#[tokio::test]
async fn changes_without_schema_arrive_at_least_once_in_tables_made_beforehand() {
    Stage::with("bare", Flavour::Bare, |stage| Box::pin(journey(stage))).await;
}
