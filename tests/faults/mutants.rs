//! The ledger catches bugs: each deliberate fault in the agent (`WHIMBREL_FAULT`) must turn it red.

use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::support::ledger::{Store, Verdict};

async fn scene(stem: &str, seed: u64) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::Sqlite(directory.keep().join("target.db"));
    Scene::new(stem, store, 1, seed).await
}

/// Runs the faulty agent with a crash in the named window, then a healthy one, and judges.
async fn crashed(fault: &str, point: &str) -> Verdict {
    let mut scene = scene(fault, 21).await;
    let config = scene.config(&scene.topic, Some("m"), &json!({"batch": {"max_events": 20}}));
    scene.produce(200);
    let mut agent = scene.agent("faulty", &config, &[("WHIMBREL_FAULT", fault), ("WHIMBREL_FAILPOINT", point)]);
    for _ in 0..500 {
        if agent.ended() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(agent.ended(), "the window {point} was not reached\n{}", agent.tail());
    let _healthy = scene.agent("healthy", &config, &[]);
    scene.settle(Duration::from_secs(8)).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_committed_before_the_rows_are_caught_as_loss() {
    assert!(!crashed("offsets_before_rows", "between:3").await.lost.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_committed_before_the_offsets_are_caught_as_doubles() {
    assert!(!crashed("rows_before_offsets", "between:3").await.doubled.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frontier_one_too_far_is_caught_as_loss() {
    assert!(!crashed("frontier_one_too_far", "after_commit:3").await.lost.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_out_the_compare_and_set_is_caught_as_doubles() {
    let mut scene = scene("no_compare_and_set", 22).await;
    let fault = [("WHIMBREL_FAULT", "no_compare_and_set")];
    let delivery = json!({"batch": {"max_events": 20}});
    let one = scene.agent("one", &scene.config("mutant-a", None, &delivery), &fault);
    let other = scene.agent("other", &scene.config("mutant-b", None, &delivery), &fault);
    let mut doubled = false;
    for _ in 0..20 {
        scene.produce(200);
        tokio::time::sleep(Duration::from_millis(300)).await;
        doubled = !scene.judge().await.1.doubled.is_empty();
        if doubled {
            break;
        }
    }
    assert!(doubled, "{}\n{}", one.tail(), other.tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipping_a_batch_on_an_error_is_caught_as_loss() {
    let mut scene = scene("skip_on_error", 23).await;
    let config = scene.config(&scene.topic, Some("m"), &json!({"batch": {"max_events": 20}}));
    scene.produce(20);
    let agent = scene.agent("faulty", &config, &[("WHIMBREL_FAULT", "skip_on_error")]);
    scene.settle(Duration::from_secs(30)).await;
    // Rows the target refuses make an error; a healthy agent would find them and let their neighbours pass.
    let Store::Sqlite(path) = &scene.store else { unreachable!() };
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON items WHEN NEW.id < 20 BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    scene.produce(400);
    let (_, verdict) = scene.settle(Duration::from_secs(8)).await;
    assert!(!verdict.lost.is_empty(), "{}", agent.tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_dead_letters_is_caught_as_loss() {
    let mut scene = scene("drop_dead_letters", 24).await;
    let config = scene.config(&scene.topic, Some("m"), &json!({}));
    scene.send(1, Some(b"{ poison"), true);
    scene.flush();
    scene.produce(20);
    let agent = scene.agent("faulty", &config, &[("WHIMBREL_FAULT", "drop_dead_letters")]);
    let (_, verdict) = scene.settle(Duration::from_secs(8)).await;
    assert!(!verdict.lost.is_empty(), "{}", agent.tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_a_batch_again_after_an_unknown_outcome_is_caught_as_doubles() {
    let mut scene = scene("rerun_blindly", 25).await;
    let config = scene.config(&scene.topic, Some("m"), &json!({"batch": {"max_events": 20}}));
    scene.produce(400);
    let agent = scene.agent("faulty", &config, &[("WHIMBREL_FAULT", "rerun_blindly")]);
    let (_, verdict) = scene.settle(Duration::from_secs(30)).await;
    assert!(!verdict.doubled.is_empty(), "{}", agent.tail());
}
