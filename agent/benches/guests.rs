//! What a language costs: any plugins that mask `email`, named on the command line, in one table. The columns are explained
//! in docs/plugins.md. `./x guests --bench` builds the examples and hands them to this.
//!
//!     cargo bench -p whimbrel --bench guests -- FILE...

mod customers;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use customers::{EVENTS, assert_masked, cpu_time, decode_all, envelope, median, stop};
use whimbrel::plugin::{Cache, Engine, Instance, Plugin, Setup, Transform, bundled};
use whimbrel::stats::Instruments;
use whimbrel::transform::{Chain, Link, TrapPolicy, View};

const ROUNDS: usize = 15;
const BATCHES: [usize; 3] = [1, 256, 1024];
const STARTS: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this too; there it only has to work, and only the bundled plugin is there.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    let files: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>12} {:>9} {:>9} {:>9} {:>10}",
        "plugin", "bytes", "compile", "cached", "instantiate", "ns at 1", "at 256", "at 1024", "memory"
    );
    let mask = bundled::find("mask-fields").ok_or("the plugin is not bundled")?;
    row("bundled mask-fields", mask, r#"{"rules":[{"columns":["email"]}]}"#, rounds)?;
    for file in &files {
        let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        row(&name, &bytes, r#"{"column":"email"}"#, rounds)?;
    }
    Ok(())
}

fn row(name: &str, bytes: &[u8], config: &str, rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::new()?;
    let directory = tempfile::tempdir()?;
    let cache = Cache::at(directory.path().to_owned());
    let timed = || {
        let start = Instant::now();
        Plugin::<Transform<View>>::load(&engine, &cache, bytes, Setup::new(name, config))
            .map(|plugin| (start.elapsed(), plugin))
    };
    let (compile, _) = timed()?;
    let (cached, plugin) = timed()?;
    let plugin = Arc::new(plugin);
    let mut starts: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let instance = plugin.start()?;
        starts.push(start.elapsed());
        drop(instance);
    }
    starts.sort();
    let instantiate = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let records: Vec<String> = (0..EVENTS).map(envelope).collect();
    let mut costs = [0.0; BATCHES.len()];
    for (cost, size) in costs.iter_mut().zip(BATCHES) {
        *cost = cost_of(plugin.start()?, &records, size, rounds);
    }
    let [one, small, large] = costs;
    println!(
        "{name:<24} {:>10} {:>10} {:>10} {:>12} {one:>9.0} {small:>9.0} {large:>9.0} {:>10}",
        bytes.len(),
        format!("{compile:.1?}"),
        format!("{cached:.1?}"),
        format!("{instantiate:.1?}"),
        format!("{:.1} MiB", memory_after(&plugin, &records)? as f64 / f64::from(1 << 20)),
    );
    Ok(())
}

/// CPU nanoseconds an event; parsing the record is not part of them.
fn cost_of(instance: Instance<Transform<View>>, records: &[String], size: usize, rounds: usize) -> f64 {
    let link = Link::new(instance, TrapPolicy::Halt, &Instruments::detached(Arc::new(|| 0)));
    let mut chain = Chain::new(vec![link]);
    median(rounds, || {
        let mut batches = decode_all(records, size);
        let start = cpu_time();
        for batch in &mut batches {
            chain.apply(batch).unwrap_or_else(|error| stop(&error));
        }
        let took = cpu_time() - start;
        assert_masked(&batches);
        took
    })
}

/// The linear memory of an instance that has seen 100 batches of 1,024.
fn memory_after(
    plugin: &Arc<Plugin<Transform<View>>>,
    records: &[String],
) -> Result<usize, Box<dyn std::error::Error>> {
    let mut instance = plugin.start()?;
    let mut batches = 0;
    while batches < 100 {
        for batch in decode_all(records, 1024) {
            let (_, outcome) = instance.apply(View::new(batch));
            outcome?;
            batches += 1;
        }
    }
    Ok(instance.memory())
}
