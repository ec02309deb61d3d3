//! What the sandbox costs: the bundled e-mail mask against the same mask in plain Rust, on envelopes of 0.9 kB.
//!
//! Reads two columns (`before.email`, `after.email`) and writes one, for batches of 1, 16, 256 and 1,024 events. Figures
//! are CPU time of the calling thread, so a busy machine disturbs them less; the median of many rounds is shown.
//! Decoding is measured beside it and not part of the figures.
//!
//!     cargo bench -p whimbrel --bench plugin_call

mod crossing;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel::batch::Batch;
use whimbrel::decode::{DecodeConfig, Decoder, Record};
use whimbrel::plugin::{Cache, Engine, Instance, Plugin, Setup, Transform, bundled};
use whimbrel::stats::Instruments;
use whimbrel::transform::{Chain, Link, TrapPolicy, View, mask_email};

/// Events per round; a round of batches of 1 is this many calls.
const EVENTS: usize = 4096;
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

fn stop(error: &dyn std::error::Error) -> ! {
    eprintln!("{error}");
    std::process::exit(1)
}

/// An update of one row of eleven columns, as Debezium writes it without schemas.
fn envelope(at: usize) -> String {
    format!(
        r#"{{"before":null,"after":{{"id":{at},"email":"customer{at}@mail{}.example.org","name":"Grace Hopper","phone":"+49 30 {at:07}","street":"Invalidenstrasse 117","city":"Berlin","zip":"10115","country":"DE","credit":"{}.25","active":true,"created_at":"2024-01-02T03:04:05.678901Z"}},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1795432095797,"snapshot":"false","db":"shop","sequence":"[\"22372000\",\"22372736\"]","ts_us":1795432095797336,"ts_ns":1795432095797336000,"schema":"public","table":"customers","txId":{at},"lsn":{},"xmin":null,"origin":null,"origin_lsn":null}},"transaction":{{"id":"{at}:22372736","total_order":1,"data_collection_order":1}},"op":"u","ts_ms":1795432096312,"ts_us":1795432096312854,"ts_ns":1795432096312854381}}"#,
        at % 50,
        at % 1000,
        22_372_736 + at * 128,
    )
}

fn decode_all(records: &[String], size: usize) -> Vec<Batch> {
    let topic: Arc<str> = Arc::from("shop.public.customers");
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batches = Vec::with_capacity(records.len() / size);
    for (at, chunk) in records.chunks(size).enumerate() {
        let mut batch = Batch::default();
        for (row, value) in chunk.iter().enumerate() {
            let record = Record {
                topic: &topic,
                partition: 0,
                offset: (at * size + row) as i64,
                timestamp_ms: 1_795_432_096_930,
                key: Some(br#"{"id":1}"#),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            decoder.decode(&record, &mut batch);
        }
        batches.push(batch);
    }
    batches
}

/// A benchmark of work that was not done measures nothing.
fn assert_masked(batches: &[Batch]) {
    for batch in batches {
        for event in &batch.events {
            let email = event.after.and_then(|row| {
                let at = batch.shape(row)?.position("email")?;
                batch.text(*batch.row(row).get(at)?)
            });
            assert!(email.is_some_and(|email| email.starts_with("c***@mail")), "an event is not masked");
        }
    }
}

/// Nanoseconds per event.
fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..rounds).map(|_| round().as_secs_f64() * 1e9 / EVENTS as f64).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid timespec, and Linux always has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
