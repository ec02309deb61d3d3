//! kill -9 at failpoints and at random, again and again, while records keep coming.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::scene::Scene;
use crate::support::ledger::Store;

/// Crash windows in the targets.
const WINDOWS: [&str; 4] = ["before_write", "after_write", "commit_sent", "after_commit"];
const DEFAULT_CYCLES: u64 = 25;
const DEFAULT_SEED: u64 = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
}

async fn chaos(stem: &str, store: Store, cycles: u64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut scene = Scene::new(stem, store, 3, seed).await;
    let config = scene.config(&scene.topic, Some("chaos"), &json!({"batch": {"max_events": 40, "max_wait": "5ms"}}));
    let mut killed_by_window = 0_u64;
    for cycle in 0..cycles {
        // Every third cycle dies at random, the others in one of the windows.
        let window = WINDOWS[random.random_range(0..WINDOWS.len())];
        let point = format!("{window}:{}", random.random_range(1..8));
        let armed = [("WHIMBREL_FAILPOINT", point.as_str())];
        let environment: &[(&str, &str)] = if cycle % 3 == 2 { &[] } else { &armed };
        scene.produce(random.random_range(50..400));
        let mut agent = scene.agent("chaos", &config, environment);
        let patience = if environment.is_empty() { random.random_range(100..1_500) } else { 6_000 };
        let mut waited = 0;
        while waited < patience && !agent.ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            waited += 20;
        }
        if agent.ended() {
            killed_by_window += 1;
        } else {
            agent.kill();
        }
    }
    scene.produce(100);
    let mut last = scene.agent("chaos", &config, &[]);
    scene.assert_whole(Duration::from_secs(90), &[&last]).await;
    assert_eq!(last.stop(), Some(0), "{}", last.tail());
    scene.assert_whole(Duration::ZERO, &[]).await;
    println!(
        "chaos {stem}: {cycles} cycles (seed {seed}), {killed_by_window} died in a crash window, {} records: 0 lost, 0 doubled",
        scene.produced.len()
    );
    assert!(cycles < 10 || killed_by_window > 0, "no crash window was hit: the failpoints are not compiled in");
}

/// Each target takes its share of the cycles.
fn share(part: u64) -> u64 {
    let cycles = number("WHIMBREL_CHAOS_CYCLES", DEFAULT_CYCLES);
    cycles / 2 + if part == 0 { cycles % 2 } else { 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_killing_the_agent_anywhere_loses_and_doubles_nothing_in_mongodb() {
    let seed = number("WHIMBREL_CHAOS_SEED", DEFAULT_SEED);
    chaos("mongodb", Store::mongodb("chaos"), share(0), seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_killing_the_agent_anywhere_loses_and_doubles_nothing_in_postgres() {
    let seed = number("WHIMBREL_CHAOS_SEED", DEFAULT_SEED) + 1;
    chaos("postgres", Store::postgres("chaos").await, share(1), seed).await;
}
