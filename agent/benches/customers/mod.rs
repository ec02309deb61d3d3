//! What the benches of plugins share: envelopes of a table of customers, and a clock that a busy machine disturbs little.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::batch::Batch;
use whimbrel::decode::{DecodeConfig, Decoder, Record};

/// Events per round; a round of batches of 1 is this many calls.
pub(crate) const EVENTS: usize = 4096;

/// Ends the bench.
pub(crate) fn stop(error: &dyn std::error::Error) -> ! {
    eprintln!("{error}");
    std::process::exit(1)
}

/// An update of one row of eleven columns, as Debezium writes it without schemas.
pub(crate) fn envelope(at: usize) -> String {
    format!(
        r#"{{"before":null,"after":{{"id":{at},"email":"customer{at}@mail{}.example.org","name":"Grace Hopper","phone":"+49 30 {at:07}","street":"Invalidenstrasse 117","city":"Berlin","zip":"10115","country":"DE","credit":"{}.25","active":true,"created_at":"2024-01-02T03:04:05.678901Z"}},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1795432095797,"snapshot":"false","db":"shop","sequence":"[\"22372000\",\"22372736\"]","ts_us":1795432095797336,"ts_ns":1795432095797336000,"schema":"public","table":"customers","txId":{at},"lsn":{},"xmin":null,"origin":null,"origin_lsn":null}},"transaction":{{"id":"{at}:22372736","total_order":1,"data_collection_order":1}},"op":"u","ts_ms":1795432096312,"ts_us":1795432096312854,"ts_ns":1795432096312854381}}"#,
        at % 50,
        at % 1000,
        22_372_736 + at * 128,
    )
}

/// The records as batches of this size.
pub(crate) fn decode_all(records: &[String], size: usize) -> Vec<Batch> {
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
pub(crate) fn assert_masked(batches: &[Batch]) {
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

/// Nanoseconds per event, from rounds over all of them.
pub(crate) fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<f64> = (0..rounds).map(|_| round().as_secs_f64() * 1e9 / EVENTS as f64).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this thread.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid timespec, and Linux always has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
