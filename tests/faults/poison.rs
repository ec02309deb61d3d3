//! Poison records of twenty kinds among good ones: each is one dead letter, and its neighbours flow.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::support::kafka::envelope;
use crate::support::ledger::Store;

fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let good = String::from_utf8(envelope("c", 1, "x", 1)).unwrap();
    let text = |s: &str| s.as_bytes().to_vec();
    vec![
        ("empty", Vec::new()),
        ("not json", text("rubbish")),
        ("truncated", good.as_bytes()[..good.len() / 2].to_vec()),
        ("trailing garbage", text(&format!("{good}x"))),
        ("not utf-8", good.bytes().map(|b| if b == b'x' { 0xff } else { b }).collect()),
        ("a number", text("42")),
        ("a string", text("\"text\"")),
        ("an array", text("[]")),
        ("true", text("true")),
        ("unknown op", text(&good.replace("\"op\":\"c\"", "\"op\":\"z\""))),
        ("op of wrong type", text(&good.replace("\"op\":\"c\"", "\"op\":7"))),
        (
            "after is text",
            text(
                r#"{"before":null,"after":"row","op":"c","source":{"connector":"postgresql","table":"items","schema":"public"}}"#,
            ),
        ),
        (
            "after missing",
            text(
                r#"{"before":null,"op":"c","source":{"connector":"postgresql","table":"items","schema":"public","db":"shop","name":"shop"}}"#,
            ),
        ),
        ("source is a number", text(r#"{"before":null,"after":{"id":1,"note":"x"},"op":"c","source":5}"#)),
        ("duplicate column", text(&good.replace("\"note\":", "\"note\":\"y\",\"note\":"))),
        ("nul in a column name", text(&good.replace("\"note\":", "\"no\\u0000te\":"))),
        ("too deep", text(&good.replace("\"x\"", &deep))),
        ("bad number", text(&good.replace("\"id\":1", "\"id\":01"))),
        ("control character", text(&good.replace("\"x\"", "\"\u{1}\""))),
        ("bad escape", text(&good.replace("\"x\"", "\"\\q\""))),
    ]
}

async fn poison(stem: &str, store: Store) {
    let mut scene = Scene::new(stem, store, 2, 31).await;
    let config = scene.config(&scene.topic, None, &json!({"poison": {"max_consecutive": 0, "max_ratio": 0}}));
    let mut expect = BTreeSet::new();
    for (number, (_, bytes)) in kinds().into_iter().enumerate() {
        scene.produce(30);
        // Keys of their own, so that nothing good parks behind them.
        scene.send(100_000 + i64::try_from(number).unwrap(), Some(&bytes), true);
        expect.insert(*scene.produced.last().unwrap());
    }
    scene.produce(30);
    let mut agent = scene.agent("agent", &config, &[]);
    scene.assert_whole(Duration::from_secs(60), &[&agent]).await;
    let (found, _) = scene.judge().await;
    let kinds = kinds();
    for ((kind, _), at) in kinds.iter().zip(&scene.produced.iter().filter(|at| expect.contains(at)).collect::<Vec<_>>())
    {
        assert!(found.dead.contains(at), "{kind} at {at:?} is no dead letter\n{}", agent.tail());
    }
    assert_eq!(found.dead, expect, "good records became dead letters\n{}", agent.tail());
    assert_eq!(found.rows, scene.rows, "rows differ from the model");
    assert_eq!(agent.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_of_twenty_kinds_harms_no_neighbour_in_mongodb() {
    assert_eq!(kinds().len(), 20);
    poison("poison-mongo", Store::mongodb("poison")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_of_twenty_kinds_harms_no_neighbour_in_postgres() {
    poison("poison-pg", Store::postgres("poison").await).await;
}
