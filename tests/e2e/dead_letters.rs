//! A row that one target refuses: it is kept, its later changes wait behind it, everything else flows; re-driven once the
//! target takes it, all is as at the source.

use std::process::Command;

use bson::doc;
use serde_json::Value;

use super::compare;
use super::stage::{Flavour, Stage};
use crate::support::agent::{Agent, binary};

/// Runs `whimbrel dead-letters` for the pipeline to MongoDB; gives exit status and output.
fn dead_letters(stage: &Stage, args: &[&str]) -> (i32, Value) {
    let output = Command::new(binary())
        .arg("dead-letters")
        .args(args)
        .args(["--format", "json", "--pipeline", &format!("{}_to_mongodb", stage.source.name), "--config"])
        .arg(stage.directory.path().join("agent.yaml"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}\n{out}\n{err}", output.status));
    (output.status.code().unwrap(), json)
}

/// Reasons of the letters, in order.
fn reasons(letters: &Value) -> Vec<&str> {
    letters.as_array().unwrap().iter().map(|letter| letter["reason"].as_str().unwrap()).collect()
}

async fn refused(stage: &mut Stage) {
    let validator = doc! {"create": "orders", "validator": {"note": {"$ne": "refused"}}};
    stage.mongodb.run_command(validator).await.unwrap();
    stage.populate().await;
    stage.capture().await;
    let mut agent = stage.start();
    stage.until_equal(&mut agent, "the snapshot").await;

    let run = async |sql: &str| stage.source.client.batch_execute(sql).await.unwrap();
    let listed = async |_: &Agent, expected: &[&str]| {
        let (status, letters) = dead_letters(stage, &["list"]);
        assert_eq!(status, 0);
        if reasons(&letters) == expected { Ok(letters) } else { Err(letters.to_string()) }
    };
    run("INSERT INTO orders VALUES (900, 1, 1.00, 'refused', NULL, NULL)").await;
    stage.until(&mut agent, "the refused row is a dead letter", async |agent| listed(agent, &["rejected"]).await).await;
    run("UPDATE orders SET total = 2 WHERE id = 900; UPDATE orders SET total = 3 WHERE id = 900").await;
    run("INSERT INTO orders VALUES (901, 1, 1.00, 'a neighbour', NULL, NULL)").await;
    let all = ["rejected", "parked_behind", "parked_behind"];
    let letters = stage.until(&mut agent, "later changes park", async |agent| listed(agent, &all).await).await;
    let offsets: Vec<i64> =
        letters.as_array().unwrap().iter().map(|letter| letter["offset"].as_i64().unwrap()).collect();
    assert!(offsets.is_sorted(), "{offsets:?}");
    assert!(letters[0]["message"].as_str().unwrap().contains("validator"), "{letters}");

    // The neighbour flows, the other target has it all, and the pipeline is not stopped.
    let orders = stage.mongodb.collection::<bson::Document>("orders");
    let neighbour = async |_: &Agent| match orders.find_one(doc! {"_id": 901}).await {
        Ok(Some(_)) => compare::with_postgres(&stage.source.client, &stage.postgres).await,
        other => Err(format!("{other:?}")),
    };
    stage.until(&mut agent, "others flow", neighbour).await;
    stage.until_idle(&mut agent).await;
    assert_eq!(orders.find_one(doc! {"_id": 900}).await.unwrap(), None);
    stage
        .until(&mut agent, "dead letters are counted", async |agent| {
            let (_, metrics) = agent.get("/metrics").await?;
            for (name, label, count) in [
                ("cdc_dead_letters_total{", "reason=\"rejected\"", " 1"),
                ("cdc_dead_letters_total{", "reason=\"parked_behind\"", " 2"),
                ("cdc_dead_letters{", "to_mongodb", " 3"),
            ] {
                let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(label));
                if !line.is_some_and(|line| line.ends_with(count)) {
                    return Err(format!("{name}{label}{count}: {line:?}"));
                }
            }
            Ok(())
        })
        .await;

    // Nothing is mended: nothing is applied, and nothing is lost.
    let (status, done) = dead_letters(stage, &["redrive"]);
    let failed = done["failed"].as_array().unwrap();
    let unsettled = failed.len() as u64 + done["waiting"].as_u64().unwrap();
    assert_eq!((status, &done["applied"], unsettled), (1, &0.into(), 3), "{done}");
    assert!(failed.iter().all(|letter| letter["reason"] == "rejected"), "{done}");
    listed(&agent, &all).await.unwrap();

    // A later change makes the row one that is taken: the key as a whole is mended, though its first record is not.
    run("INSERT INTO orders VALUES (902, 1, 1.00, 'refused', NULL, NULL)").await;
    let four = ["rejected", "parked_behind", "parked_behind", "rejected"];
    stage.until(&mut agent, "a second row is refused", async |agent| listed(agent, &four).await).await;
    run("UPDATE orders SET note = 'fine' WHERE id = 902").await;
    let five = ["rejected", "parked_behind", "parked_behind", "rejected", "parked_behind"];
    stage.until(&mut agent, "its change parks", async |agent| listed(agent, &five).await).await;
    let (status, done) = dead_letters(stage, &["redrive"]);
    assert_eq!((status, &done["applied"]), (1, &2.into()), "{done}");
    listed(&agent, &all).await.unwrap();
    let mended = orders.find_one(doc! {"_id": 902}).await.unwrap();
    assert_eq!(mended.as_ref().and_then(|order| order.get_str("note").ok()), Some("fine"), "{mended:?}");

    stage.mongodb.run_command(doc! {"collMod": "orders", "validator": {}}).await.unwrap();
    let (status, done) = dead_letters(stage, &["redrive"]);
    assert_eq!((status, &done["applied"], &done["waiting"]), (0, &3.into(), &0.into()), "{done}");
    stage.compare().await.unwrap();
    listed(&agent, &[]).await.unwrap();

    // The running agent knows that the key is free again.
    run("UPDATE orders SET note = 'and on' WHERE id = 900").await;
    stage.until_equal(&mut agent, "a change after the letters are settled").await;
    listed(&agent, &[]).await.unwrap();
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}

#[tokio::test]
async fn a_refused_row_parks_its_key_and_is_redriven_in_order_exactly_once() {
    Stage::with("refused_once", Flavour::Schemas, |stage| Box::pin(refused(stage))).await;
}

#[tokio::test]
async fn a_refused_row_parks_its_key_and_is_redriven_in_order_at_least_once() {
    Stage::with("refused_least", Flavour::Bare, |stage| Box::pin(refused(stage))).await;
}
