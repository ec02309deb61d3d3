//! Any bytes as key, value and header of three records in a row: exactly one event each, no panic, cells that are sound
//! JSON and readable under any type.
//!
//! Input: one byte of flags, then key, value and header value divided by `\xff`, a byte that UTF-8 never has. A seed is
//! thus readable text. Bit 0 of the flags: no key; bit 1: null value; bit 2: a topic of heartbeats; bit 3: the sound
//! envelope below comes first, so that caches are warm; bits 4 and 5: name of the header.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use whimbrel_fuzz::batch::Batch;
use whimbrel_fuzz::decode::{DeclaredType, DecodeConfig, Decoder, Record, value};
use whimbrel_fuzz::event::{Kind, SourceType, Verdict};

const WARM: &[u8] = br#"{"before":null,"after":{"id":1,"v":"x"},"source":{"connector":"postgresql","name":"p","schema":"s","table":"t","lsn":5},"op":"c","ts_ms":1}"#;

fuzz_target!(|data: &[u8]| {
    let Some((flags, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(3, |byte| *byte == 0xff);
    let key = parts.next().filter(|_| flags & 1 == 0);
    let payload = parts.next().filter(|_| flags & 2 == 0);
    let header = parts.next();
    let topic: Arc<str> = if flags & 4 == 0 { "p.s.t".into() } else { "__debezium-heartbeat.p".into() };
    let name = ["__op", "__deleted", "__table", "traceparent"][usize::from(flags >> 4 & 3)];

    let mut config = DecodeConfig { max_record: 1 << 16, ..DecodeConfig::default() };
    for (pattern, words) in [("s.t.v", "variable_decimal"), ("*.*.d", "decimal(2)"), ("*.*.a", "array(zoned_timestamp)")] {
        config.types.push(DeclaredType::parse(pattern, words).unwrap());
    }
    let mut decoder = Decoder::new(config);
    let mut batch = Batch::default();
    let record = |value| Record {
        topic: &topic,
        partition: 0,
        offset: 1,
        timestamp_ms: 1,
        key,
        value,
        headers: &[],
    };
    let mut expected = 2;
    if flags & 8 != 0 {
        decoder.decode(&record(Some(WARM)), &mut batch);
        expected += 1;
    }
    let headers = [(name, header)];
    for _ in 0..2 {
        decoder.decode(&Record { headers: &headers, ..record(payload) }, &mut batch);
    }
    assert_eq!(batch.events.len(), expected);
    assert_eq!(batch.events[expected - 1].kind, batch.events[expected - 2].kind, "caches change what a record is");

    let mut json = Vec::new();
    for event in &batch.events {
        assert_eq!(event.kind == Kind::Undecodable, matches!(event.verdict, Verdict::Fail(_)));
        if event.kind != Kind::Undecodable
            && let Some(span) = event.raw_value
        {
            let sound = serde_json::from_slice::<serde::de::IgnoredAny>(batch.bytes(span));
            assert!(sound.is_ok(), "accepted what is not JSON");
        }
        for row in [event.key, event.before, event.after].into_iter().flatten() {
            let shape = batch.shape(row).expect("a row has a shape");
            assert_eq!(batch.row(row).len(), shape.columns.len());
            for (column, cell) in shape.columns.iter().zip(batch.row(row)) {
                json.clear();
                batch.write_json(*cell, &mut json);
                serde_json::from_slice::<serde::de::IgnoredAny>(&json).expect("a cell is JSON");
                let _ = value::read(&batch, *cell, &column.ty);
                let _ = value::read(&batch, *cell, &SourceType::Decimal { scale: 2 });
                let _ = value::read(&batch, *cell, &SourceType::ZonedTimestamp);
                let _ = value::read(&batch, *cell, &SourceType::IntervalIso);
                let _ = value::read(&batch, *cell, &SourceType::MongoDocument);
            }
        }
    }
});
