//! Several agents in one group: rebalances, and a zombie that wakes after its partitions were given away.

use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::support::eventually;
use crate::support::ledger::Store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_agents_share_partitions_while_they_come_go_and_die() {
    let mut scene = Scene::new("group", Store::mongodb("group"), 6, 11).await;
    let config = scene.config(&scene.topic, None, &json!({"batch": {"max_events": 50}}));
    scene.produce(500);
    let mut first = scene.agent("first", &config, &[]);
    scene.produce(500);
    let mut second = scene.agent("second", &config, &[]);
    scene.produce(500);
    let mut third = scene.agent("third", &config, &[]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.produce(500);
    second.kill();
    scene.produce(500);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(third.stop(), Some(0), "{}", third.tail());
    scene.produce(500);
    scene.assert_whole(Duration::from_secs(90), &[&first]).await;
    assert_eq!(first.stop(), Some(0), "{}", first.tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_wakes_after_its_session_ended_is_fenced() {
    let mut scene = Scene::new("zombie", Store::postgres("zombie").await, 2, 12).await;
    let config = scene.config(&scene.topic, None, &json!({"batch": {"max_events": 20}}));
    scene.produce(200);
    let zombie = scene.agent("zombie", &config, &[]);
    eventually("the zombie has begun", Duration::from_secs(30), async || {
        let (found, _) = scene.judge().await;
        if found.effects.is_empty() { Err("no effects".into()) } else { Ok(()) }
    })
    .await;
    // It freezes with records in hand and in flight.
    scene.produce(2_000);
    zombie.freeze();
    let heir = scene.agent("heir", &config, &[]);
    scene.produce(500);
    scene.assert_whole(Duration::from_secs(60), &[&heir]).await;
    zombie.thaw();
    scene.produce(500);
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.assert_whole(Duration::from_secs(60), &[&zombie, &heir]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_that_both_believe_to_own_a_partition_double_nothing() {
    let mut scene = Scene::new("twins", Store::mongodb("twins"), 1, 13).await;
    let delivery = json!({"batch": {"max_events": 20}});
    // Different groups, one pipeline name: Kafka gives both everything, the target's state row must decide.
    let one = scene.agent("one", &scene.config("twin-a", None, &delivery), &[]);
    let other = scene.agent("other", &scene.config("twin-b", None, &delivery), &[]);
    for _ in 0..10 {
        scene.produce(200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    scene.assert_whole(Duration::from_secs(90), &[&one, &other]).await;
}
