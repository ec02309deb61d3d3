//! Two at once, one that is gone, one that comes back too late.

use std::time::Duration;

use bson::doc;
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::database::Attempt;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Entry, Id};

use super::{Scene, yaml};
use crate::support::runner;

const COUNTED: &str = "
steps:
  - update: {collection: orders, filter: {}, update: {$inc: {n: 1}}, chunk: 50}
  - create_index: {collection: orders, keys: {n: 1}}
  - update: {collection: orders, filter: {}, update: {$inc: {m: 1}}, chunk: 70}
";

#[tokio::test]
async fn of_two_runners_at_once_one_applies_and_the_other_waits_for_it() {
    let scene = Scene::new("two").await;
    scene.fill("orders", 2_000).await;
    let (one, _) = runner(scene.open(), yaml(&[COUNTED]), "one");
    let (two, _) = runner(scene.open(), yaml(&[COUNTED]), "two");
    let cancel = CancellationToken::new();
    let (first, second) = tokio::join!(one.up(None, &cancel), two.up(None, &cancel));
    let done = [first.unwrap().done, second.unwrap().done].concat();
    assert_eq!(done, ["1"], "applied once");
    assert_eq!(scene.count("orders", doc! {"n": 1, "m": 1}).await, 2_000);
    scene.close().await;
}

#[tokio::test]
async fn a_runner_that_was_dropped_midway_is_outlived_and_the_next_goes_on() {
    let scene = Scene::new("dropped").await;
    scene.fill("orders", 4_000).await;
    for after in [30, 90, 150, 220] {
        let (one, _) = runner(scene.open(), yaml(&[COUNTED]), "one");
        let cancel = CancellationToken::new();
        // Dropped, not stopped: the lock stays, and so does an open transaction.
        let dropped = tokio::time::timeout(Duration::from_millis(after), one.up(None, &cancel)).await;
        if dropped.is_ok() {
            break;
        }
    }
    let (last, told) = runner(scene.open(), yaml(&[COUNTED]), "last");
    last.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"n": 1, "m": 1}).await, 4_000, "{:?}", told.lines());
    scene.close().await;
}

#[tokio::test]
async fn who_lost_the_lock_can_write_nothing_more() {
    let scene = Scene::new("zombie").await;
    let lease = Duration::from_millis(300);
    let zombie = scene.open();
    let Attempt::Locked(mut old) = zombie.lock("zombie", lease).await.unwrap() else { panic!() };
    let database = scene.open();
    let Attempt::Held { by, .. } = database.lock("next", lease).await.unwrap() else { panic!("the lock is free") };
    assert_eq!(by, "zombie");
    tokio::time::sleep(lease * 2).await;
    let Attempt::Locked(mut new) = database.lock("next", Duration::from_secs(30)).await.unwrap() else { panic!() };
    let entry = entry();
    assert_eq!(old.write(&entry).await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(old.keeper().renew().await.unwrap_err().kind, Kind::LockLost);
    assert!(old.ledger().await.unwrap().is_empty());
    new.write(&entry).await.unwrap();
    assert_eq!(old.erase(&entry.id).await.unwrap_err().kind, Kind::LockLost);
    old.release().await.unwrap();
    assert_eq!(database.holder().await.unwrap().as_deref(), Some("next"), "a late release frees nobody else's lock");
    new.keeper().renew().await.unwrap();
    new.release().await.unwrap();
    assert_eq!(database.holder().await.unwrap(), None);
    scene.close().await;
}

fn entry() -> Entry {
    Entry {
        id: Id::from_text("1").unwrap(),
        name: "n".into(),
        checksum: "c".into(),
        direction: whimbrel_migrate::ledger::Direction::Up,
        outcome: whimbrel_migrate::ledger::Outcome::Running,
        by: "me".into(),
        started_at_ms: 1,
        finished_at_ms: None,
        duration_ms: 0,
        attempts: 1,
        progress: Default::default(),
        error: None,
    }
}

#[tokio::test]
async fn an_index_that_was_begun_by_who_is_gone_is_finished() {
    let scene = Scene::new("begun").await;
    scene.fill("orders", 10).await;
    let text = "steps:\n  - create_index: {collection: orders, keys: {n: 1}}\n  - rename_collection: {from: orders, to: bills}\n  - drop_index: {collection: bills, name: n_1}\n";
    for (done, step) in [(0, 0), (1, 1), (2, 2)] {
        for was_done in [false, true] {
            let scene = Scene::new(&format!("begun{done}{was_done}")).await;
            scene.fill("orders", 10).await;
            let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
            // What the steps before did.
            let steps = step + u32::from(was_done);
            if steps > 0 {
                scene
                    .documents("orders")
                    .create_index(mongodb::IndexModel::builder().keys(doc! {"n": 1}).build())
                    .await
                    .unwrap();
            }
            if steps > 1 {
                let full = |name: &str| format!("{}.{name}", scene.name);
                let rename = doc! {"renameCollection": full("orders"), "to": full("bills")};
                scene.database.client().database("admin").run_command(rename).await.unwrap();
            }
            if steps > 2 {
                scene.documents("bills").drop_index("n_1").await.unwrap();
            }
            let Attempt::Locked(mut session) = runner.database.lock("gone", Duration::from_millis(1)).await.unwrap()
            else {
                panic!()
            };
            let mut left = entry();
            left.checksum = "sum1".into();
            left.progress.step = step;
            left.progress.begun = true;
            session.write(&left).await.unwrap();
            drop(session);
            runner
                .up(None, &CancellationToken::new())
                .await
                .unwrap_or_else(|error| panic!("step {step}, done {was_done}: {error}"));
            assert_eq!(scene.count("bills", doc! {}).await, 10);
            assert_eq!(scene.documents("bills").list_index_names().await.unwrap(), ["_id_"]);
            scene.close().await;
        }
    }
    scene.close().await;
}

#[tokio::test]
async fn a_command_of_which_nobody_knows_whether_it_was_done_is_not_run_again() {
    let scene = Scene::new("unknown").await;
    scene.fill("orders", 10).await;
    let text = "steps:\n  - command: {convertToCapped: orders, size: 8192}\n";
    let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
    let Attempt::Locked(mut session) = runner.database.lock("gone", Duration::from_millis(1)).await.unwrap() else {
        panic!()
    };
    let mut left = entry();
    left.checksum = "sum1".into();
    left.progress.begun = true;
    session.write(&left).await.unwrap();
    drop(session);
    let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!((&*error.code, error.kind), ("outcome_unknown", Kind::Refused), "{error}");
    assert!(error.to_string().contains("--mark-applied 1"), "{error}");
    scene.close().await;
}

#[tokio::test]
async fn asked_to_stop_it_stops_between_two_chunks_and_goes_on_the_next_time() {
    let scene = Scene::new("stop").await;
    scene.fill("orders", 5_000).await;
    let (one, _) = runner(scene.open(), yaml(&[COUNTED]), "one");
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let (outcome, ()) = tokio::join!(one.up(None, &cancel), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    });
    assert_eq!(outcome.unwrap_err().kind, Kind::Cancelled);
    assert_eq!(one.database.holder().await.unwrap(), None, "the lock is given back");
    one.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"n": 1, "m": 1}).await, 5_000);
    scene.close().await;
}
