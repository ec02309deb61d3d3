//! What decoding costs: CPU nanoseconds per event, with `serde_json` over the same bytes in the same run as reference.
//!
//! `cargo bench -p whimbrel --bench decode`. The input is made here: envelopes of 0.9 kB with the fields, types and
//! lengths of those in `tests/golden/debezium`, each with other values. Time is that of the thread
//! (`CLOCK_THREAD_CPUTIME_ID`), the figure the best of several rounds: other work on the machine only ever adds.

#[path = "shop/envelope.rs"]
mod envelope;

use std::hint::black_box;
use std::sync::Arc;

use envelope::order;
use whimbrel::batch::Batch;
use whimbrel::decode::{DecodeConfig, Decoder, Record, value};
use whimbrel::event::Kind;

const EVENTS: usize = 1000;
const ROUNDS: usize = 200;

struct Sample {
    key: String,
    value: String,
}

/// The schema of [`order`], as `JsonConverter` embeds it.
fn embedded(payload: &str) -> String {
    let columns = [
        ("int64", ""),
        ("int64", ""),
        ("string", ""),
        ("string", ""),
        ("string", ""),
        ("string", ""),
        ("string", ""),
        ("string", ""),
        ("string", ""),
        ("int32", ""),
        ("boolean", ""),
        ("double", ""),
        ("int32", r#","name":"io.debezium.time.Date","version":1"#),
        ("int64", r#","name":"io.debezium.time.MicroTimestamp","version":1"#),
    ];
    let names = [
        "id",
        "customer_id",
        "email",
        "status",
        "total",
        "currency",
        "note",
        "address",
        "tracking",
        "items",
        "paid",
        "discount",
        "placed_on",
        "updated_at",
    ];
    let fields: Vec<_> = columns
        .iter()
        .zip(names)
        .map(|((ty, more), name)| format!(r#"{{"type":"{ty}","optional":true{more},"field":"{name}"}}"#))
        .collect();
    let fields = fields.join(",");
    let source: Vec<_> = ["version", "connector", "name", "snapshot", "db", "sequence", "schema", "table", "origin"]
        .iter()
        .map(|name| format!(r#"{{"type":"string","optional":true,"field":"{name}"}}"#))
        .collect();
    let source = source.join(",");
    format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{fields}],"optional":true,"name":"shop.public.orders.Value","field":"before"}},{{"type":"struct","fields":[{fields}],"optional":true,"name":"shop.public.orders.Value","field":"after"}},{{"type":"struct","fields":[{source}],"optional":false,"name":"io.debezium.connector.postgresql.Source","field":"source"}},{{"type":"string","optional":false,"field":"op"}}],"optional":false,"name":"shop.public.orders.Envelope","version":2}},"payload":{payload}}}"#
    )
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the thread's CPU clock cannot be read");
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Best nanoseconds per event.
fn measure(mut round: impl FnMut()) -> f64 {
    let mut best = u64::MAX;
    for _ in 0..ROUNDS {
        let begin = cpu_ns();
        round();
        best = best.min(cpu_ns() - begin);
    }
    best as f64 / EVENTS as f64
}

fn decode_all(decoder: &mut Decoder, batch: &mut Batch, topic: &Arc<str>, samples: &[Sample]) {
    batch.clear();
    for (offset, sample) in samples.iter().enumerate() {
        let record = Record {
            topic,
            partition: 0,
            offset: offset as i64,
            timestamp_ms: 1_795_432_098_310,
            key: Some(sample.key.as_bytes()),
            value: Some(sample.value.as_bytes()),
            headers: &[],
        };
        decoder.decode(&record, batch);
    }
}

fn decoding(samples: &[Sample], read_values: bool) -> f64 {
    let topic: Arc<str> = "shop.public.orders".into();
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batch = Batch::default();
    decode_all(&mut decoder, &mut batch, &topic, samples);
    assert!(batch.failures.is_empty(), "{:?}", batch.failures.first());
    assert!(batch.events.iter().all(|event| matches!(event.kind, Kind::Change(_)) && event.after.is_some()));
    if read_values {
        return measure(|| {
            for event in &batch.events {
                let Some(row) = event.after else { continue };
                let Some(shape) = batch.shape(row) else { continue };
                for (column, cell) in shape.columns.iter().zip(batch.row(row)) {
                    let _ = black_box(value::read(&batch, *cell, &column.ty));
                }
            }
        });
    }
    measure(|| {
        decode_all(&mut decoder, &mut batch, &topic, black_box(samples));
        black_box(&batch);
    })
}

fn main() {
    let plain: Vec<_> = (1..=EVENTS)
        .map(|n| {
            let (key, value) = order(n);
            Sample { key, value }
        })
        .collect();
    let wrapped: Vec<_> =
        plain.iter().map(|sample| Sample { key: sample.key.clone(), value: embedded(&sample.value) }).collect();
    let size = |samples: &[Sample]| samples.iter().map(|s| s.value.len()).sum::<usize>() / samples.len();
    println!("decode: CPU ns per event, {EVENTS} events a batch, best of {ROUNDS} rounds");

    let tree = measure(|| {
        for sample in black_box(&plain) {
            black_box(serde_json::from_slice::<serde_json::Value>(sample.value.as_bytes()).ok());
        }
    });
    let skip = measure(|| {
        for sample in black_box(&plain) {
            black_box(serde_json::from_slice::<serde::de::IgnoredAny>(sample.value.as_bytes()).ok());
        }
    });
    let utf8 = measure(|| {
        for sample in black_box(&plain) {
            black_box(std::str::from_utf8(sample.value.as_bytes()).ok());
        }
    });
    let bare = decoding(&plain, false);
    let with_schema = decoding(&wrapped, false);
    let values = decoding(&wrapped, true);
    println!("  serde_json::Value, {} B           {tree:8.0}", size(&plain));
    println!("  serde_json::IgnoredAny, {} B      {skip:8.0}", size(&plain));
    println!("  UTF-8 check alone, {} B           {utf8:8.0}", size(&plain));
    println!(
        "  decode, {} B                      {bare:8.0}   {:.1} x faster than serde_json::Value",
        size(&plain),
        tree / bare
    );
    println!("  decode, embedded schema, {} B    {with_schema:8.0}", size(&wrapped));
    println!("  typed values of 14 columns          {values:8.0}");
}
