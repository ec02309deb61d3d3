//! Minutes under load: memory stays flat, nothing is lost. Ignored by default; `./x soak` runs it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use crate::support::ledger::Store;

/// Most memory growth after the first tenth of the run, bytes: allocator noise, not a leak.
const MAX_GROWTH: u64 = 20 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; ./x soak"]
async fn soak_memory_stays_flat_and_nothing_is_lost() {
    let seconds = std::env::var("WHIMBREL_SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    let mut scene = Scene::new("soak", Store::postgres("soak").await, 3, 51).await;
    let config = scene.config(&scene.topic, None, &json!({}));
    let mut agent = scene.agent("agent", &config, &[]);
    let begun = Instant::now();
    let run = Duration::from_secs(seconds);
    let mut warm = None;
    let mut most = 0;
    while begun.elapsed() < run {
        scene.produce(2_000);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let resident = agent.resident_bytes();
        if begun.elapsed() >= run / 10 {
            let base = *warm.get_or_insert(resident);
            most = most.max(resident);
            assert!(most < base + MAX_GROWTH, "memory grew from {base} to {most} bytes\n{}", agent.tail());
        }
    }
    scene.assert_whole(Duration::from_secs(120), &[&agent]).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    println!(
        "soak: {seconds} s, {} records: 0 lost, 0 doubled; resident {} MiB warm, {} MiB at most",
        scene.produced.len(),
        warm.unwrap_or(0) >> 20,
        most >> 20
    );
}
