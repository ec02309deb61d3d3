//! A connector whose updates carry no document (`capture.mode=change_streams`): nothing is guessed, nothing is lost silently.

use std::process::Command;

use bson::{Document, doc};
use serde_json::Value;

use super::stage::{Flavour, Stage};
use crate::support::agent::{Agent, binary};

/// Runs `whimbrel dead-letters` for one of the pipelines; gives exit status and output.
fn dead_letters(stage: &Stage, pipeline: &str, args: &[&str]) -> (i32, Value) {
    let output = Command::new(binary())
        .arg("dead-letters")
        .args(args)
        .args(["--format", "json", "--pipeline", &format!("{}_{pipeline}", stage.name), "--config"])
        .arg(stage.directory.path().join("agent.yaml"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}\n{out}\n{err}", output.status));
    (output.status.code().unwrap(), json)
}

fn reasons(letters: &Value) -> Vec<&str> {
    letters.as_array().unwrap().iter().map(|letter| letter["reason"].as_str().unwrap()).collect()
}

async fn journey(stage: &mut Stage) {
    stage.populate(&["orders"]).await;
    let orders = stage.collection("orders");
    orders.insert_many((1..=3).map(|n| doc! {"_id": n, "v": 0})).await.unwrap();
    stage.capture().await;
    let mut agent = stage.start();
    stage.until_equal(&mut agent, "the snapshot").await;

    // Inserts, replacements and deletes are complete in this mode too.
    orders.insert_one(doc! {"_id": 4, "v": 0}).await.unwrap();
    orders.replace_one(doc! {"_id": 2}, doc! {"v": "replaced"}).await.unwrap();
    orders.delete_one(doc! {"_id": 3}).await.unwrap();
    stage.until_equal(&mut agent, "what needs no lookup").await;

    orders.update_one(doc! {"_id": 1}, doc! {"$set": {"v": 1}}).await.unwrap();
    orders.delete_one(doc! {"_id": 1}).await.unwrap();
    orders.insert_one(doc! {"_id": 5, "v": "a neighbour"}).await.unwrap();
    for pipeline in ["to_mongodb", "to_postgresql"] {
        let listed = async |_: &Agent| {
            let (_, letters) = dead_letters(stage, pipeline, &["list"]);
            if reasons(&letters) == ["not_an_envelope", "parked_behind"] {
                Ok(letters)
            } else {
                Err(letters.to_string())
            }
        };
        let letters = agent.until("the update is a dead letter, the delete parks behind it", listed).await;
        let message = letters[0]["message"].as_str().unwrap();
        for part in ["without the document", "capture.mode", "decode.updates_without_document: skip"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let target = stage.target.collection::<Document>("orders");
    agent
        .until("neighbours flow", async |_| {
            target.find_one(doc! {"_id": 5}).await.unwrap().map(drop).ok_or("not there".to_owned())
        })
        .await;
    // The document is as it was: neither patched by guesswork nor replaced by the description of its change.
    assert_eq!(target.find_one(doc! {"_id": 1}).await.unwrap(), Some(doc! {"_id": 1, "v": 0}));
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());

    // Who knows that documents are only missing because they were deleted says so, and all that waited is settled.
    stage.without_document = "skip";
    let mut agent = stage.start();
    for pipeline in ["to_mongodb", "to_postgresql"] {
        let (status, done) = dead_letters(stage, pipeline, &["redrive"]);
        assert_eq!((status, &done["waiting"]), (0, &0.into()), "{done}");
        let (_, letters) = dead_letters(stage, pipeline, &["list"]);
        assert!(reasons(&letters).is_empty(), "{letters}");
    }
    stage.until_equal(&mut agent, "after the letters are settled").await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}

#[tokio::test]
async fn updates_without_their_document_are_dead_letters_until_told_to_skip_them() {
    Stage::with("partial", Flavour::ChangesOnly, |stage| Box::pin(journey(stage))).await;
}
