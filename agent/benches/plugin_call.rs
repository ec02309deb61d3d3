//! What the sandbox costs: the bundled e-mail mask against the same mask in plain Rust, on envelopes of 0.9 kB.
//!
//! Reads two columns (`before.email`, `after.email`) and writes one, for batches of 1, 16, 256 and 1,024 events. Figures
//! are CPU time of the calling thread, so a busy machine disturbs them less; the median of many rounds is shown.
//! Decoding is measured beside it and not part of the figures.
//!
//!     cargo bench -p whimbrel --bench plugin_call

mod crossing;
mod customers;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use whimbrel::plugin::{Cache, Engine, Instance, Plugin, Setup, Transform, bundled};
use whimbrel::stats::Instruments;
use whimbrel::transform::{Chain, Link, TrapPolicy, View, mask_email};

use customers::{EVENTS, assert_masked, cpu_time, decode_all, envelope, median, stop};

const ROUNDS: usize = 25;
const BATCHES: [usize; 4] = [1, 16, 256, 1024];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this too; there it only has to work.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    let records: Vec<String> = (0..EVENTS).map(envelope).collect();
    let size = records.iter().map(String::len).sum::<usize>() / EVENTS;
    let engine = Engine::new()?;
    println!(
        "plugin crossing, {size} B envelopes, two columns read, one written; ns of CPU per event, median of {rounds} rounds"
    );
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>10} {:>10} {:>10}",
        "batch", "decode", "native", "mask", "crossing", "mask+table", "route"
    );
    let mask = r#"{"rules":[{"columns":["email"]}]}"#;
    let selective = r#"{"rules":[{"columns":["email"],"tables":["*.customers"]}]}"#;
    let route = r#"{"rules":[{"tables":["public.*"],"then":{"rename":"shop.{table}"}}]}"#;
    for size in BATCHES {
        let decode = median(rounds, || {
            let start = cpu_time();
            black_box(decode_all(&records, size));
            cpu_time() - start
        });
        let native = median(rounds, || {
            let mut batches = decode_all(&records, size);
            let start = cpu_time();
            batches.iter_mut().for_each(|batch| mask_email(batch, "email"));
            let took = cpu_time() - start;
            assert_masked(&batches);
            took
        });
        let [plain, selective, route] =
            [("mask-fields", mask, true), ("mask-fields", selective, true), ("route", route, false)].map(
                |(name, config, masks)| {
                    let mut chain = Chain::new(vec![Link::new(
                        start(&engine, name, config),
                        TrapPolicy::Halt,
                        &Instruments::detached(Arc::new(|| 0)),
                    )]);
                    median(rounds, || {
                        let mut batches = decode_all(&records, size);
                        let start = cpu_time();
                        for batch in &mut batches {
                            chain.apply(batch).unwrap_or_else(|error| stop(&error));
                        }
                        let took = cpu_time() - start;
                        if masks {
                            assert_masked(&batches);
                        }
                        took
                    })
                },
            );
        println!(
            "{size:>6} {decode:>9.0} {native:>9.0} {plain:>9.0} {:>10.0} {selective:>10.0} {route:>10.0}",
            plain - native
        );
    }
    loading(&engine, mask)?;
    crossing::run(rounds, &BATCHES, EVENTS, |size| decode_all(&records, size), assert_masked)
}

/// Times of a plugin's life before its first call.
fn loading(engine: &Engine, config: &str) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let bytes = bundled::find("mask-fields").ok_or("the plugin is not bundled")?;
    let load = |cache: &Cache| Plugin::<Transform<View>>::load(engine, cache, bytes, Setup::new("mask-fields", config));
    let timed = |cache: &Cache| {
        let start = Instant::now();
        load(cache).map(|plugin| (start.elapsed(), plugin))
    };
    let (compile, plugin) = timed(&Cache::none())?;
    let cache = Cache::at(directory.path().to_owned());
    timed(&cache)?;
    let cached = timed(&cache)?.0;
    let plugin = Arc::new(plugin);
    let started = Instant::now();
    for _ in 0..100 {
        black_box(plugin.start()?);
    }
    let start = started.elapsed() / 100;
    println!(
        "component {} bytes, compile {compile:.1?}, load from cache {cached:.1?}, instantiate and configure {start:.1?}",
        bytes.len()
    );
    Ok(())
}

fn start(engine: &Engine, name: &str, config: &str) -> Instance<Transform<View>> {
    let bytes = bundled::find(name).unwrap_or_default();
    let plugin =
        Plugin::load(engine, &Cache::none(), bytes, Setup::new(name, config)).unwrap_or_else(|error| stop(&error));
    Arc::new(plugin).start().unwrap_or_else(|error| stop(&error))
}
