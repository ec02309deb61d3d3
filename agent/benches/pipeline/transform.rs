//! Decode and transform alone, on one thread in this process, so that its CPU clock counts nothing else.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use whimbrel::batch::Batch;
use whimbrel::decode::{DecodeConfig, Decoder, Record};
use whimbrel::plugin::{Cache, Engine, Plugin, Setup, bundled};
use whimbrel::stats::Instruments;
use whimbrel::transform::{Chain, Link, TrapPolicy, mask_email};

use super::envelope::order;

const BATCH: usize = 1000;
const BATCHES: usize = 60;
const COLUMNS: [&str; 2] = ["email", "tracking"];

/// The transform section that masks the two columns.
pub(crate) fn two_columns() -> Value {
    json!([{"plugin": "mask-fields", "config": {"rules": [{"columns": COLUMNS}]}}])
}

/// Microseconds of CPU per event, the best batch: other work on the machine only ever adds.
pub(crate) struct Costs {
    pub(crate) decode: f64,
    pub(crate) native: f64,
    pub(crate) plugin: f64,
}

pub(crate) fn measure() -> Result<Costs> {
    let records: Vec<(String, String)> = (1..=BATCH).map(order).collect();
    let mut chain = chain()?;
    let topic: Arc<str> = "shop.public.orders".into();
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batch = Batch::default();
    let mut best = [Duration::MAX; 3];
    let [decode, native, plugin] = &mut best;
    for round in 0..BATCHES {
        batch.clear();
        let begun = cpu();
        for ((key, value), offset) in black_box(&records).iter().zip(0..) {
            let record = Record {
                topic: &topic,
                partition: 0,
                offset,
                timestamp_ms: 1_795_432_096_930,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            decoder.decode(&record, &mut batch);
        }
        *decode = (*decode).min(cpu() - begun);
        let begun = cpu();
        if round % 2 == 0 {
            COLUMNS.iter().for_each(|column| mask_email(&mut batch, column));
            *native = (*native).min(cpu() - begun);
        } else {
            chain.apply(&mut batch)?;
            *plugin = (*plugin).min(cpu() - begun);
        }
        // Nobody is fast by doing less.
        ensure!(batch.failures.is_empty() && batch.events.len() == BATCH, "not everything was decoded");
        ensure!(batch.events.iter().all(|event| masked(&batch, event)), "an event is not masked");
    }
    Ok(Costs { decode: per_event(*decode), native: per_event(*native), plugin: per_event(*plugin) })
}

fn masked(batch: &Batch, event: &whimbrel::event::Event) -> bool {
    let text = |column| {
        let row = event.after?;
        batch.text(*batch.row(row).get(batch.shape(row)?.position(column)?)?)
    };
    text("email").as_deref() == Some("c***@example.org") && text("tracking").as_deref() == Some("***")
}

fn chain() -> Result<Chain> {
    let bytes = bundled::find("mask-fields").context("the plugin is not bundled")?;
    let section = two_columns();
    let config = section[0]["config"].to_string();
    let plugin = Plugin::load(&Engine::new()?, &Cache::none(), bytes, Setup::new("mask-fields", &config))?;
    let link = Link::new(Arc::new(plugin).start()?, TrapPolicy::Halt, &Instruments::detached(Arc::new(|| 0)));
    Ok(Chain::new(vec![link]))
}

fn per_event(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / BATCH as f64
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid timespec, and Linux always has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
