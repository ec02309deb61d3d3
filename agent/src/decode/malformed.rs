//! What decode does with records that are not as they should be: one event each, a reason, a place, no panic.

use proptest::prelude::*;

use super::golden::{Sample, decode, decode_one, samples};
use super::*;
use crate::event::{CellKind, Op, Reason, Verdict};

fn one(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> Batch {
    let topic = Arc::from(topic);
    let mut batch = Batch::default();
    let record = Record { topic: &topic, partition: 3, offset: 7, timestamp_ms: 9, key, value, headers };
    Decoder::new(DecodeConfig::default()).decode(&record, &mut batch);
    assert_eq!(batch.events.len(), 1);
    batch
}

fn said(batch: &Batch) -> (Option<Reason>, &str) {
    let failure = batch.failure(&batch.events[0]);
    (failure.map(|failure| failure.reason), failure.map_or("", |failure| &failure.message))
}

const SOURCE: &str = r#""source":{"connector":"postgresql","name":"p","schema":"public","table":"t","lsn":5}"#;

#[test]
fn every_kind_of_malformed_record_has_a_reason_and_a_place() {
    let envelope = |after: &str| format!(r#"{{"before":null,"after":{after},{SOURCE},"op":"c"}}"#).into_bytes();
    let deep = |n: usize| envelope(&format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n)));
    let cases: Vec<(Vec<u8>, Reason, &str)> = vec![
        (b"".to_vec(), Reason::Malformed, "value is not JSON: the text ends too early at byte 0"),
        (b"\x00\x01\x02".to_vec(), Reason::Malformed, "value is not JSON: a value is expected at byte 0"),
        (b"{\"op\":\"c\xff\"}".to_vec(), Reason::Malformed, "value is not UTF-8 at byte 8"),
        (b"{\"op\":\"c\"".to_vec(), Reason::Malformed, "value is not JSON: the text ends too early at byte 9"),
        (b"hello".to_vec(), Reason::Malformed, "value is not JSON: a value is expected at byte 0"),
        (b"42".to_vec(), Reason::NotAnEnvelope, "value is not an object with rows, but a number"),
        (b"\"text\"".to_vec(), Reason::NotAnEnvelope, "value is not an object with rows, but a string"),
        (b"true".to_vec(), Reason::NotAnEnvelope, "value is not an object with rows, but a boolean"),
        (b"[1]".to_vec(), Reason::NotAnEnvelope, "value is not an object with rows, but an array"),
        (b"{}".to_vec(), Reason::NotAnEnvelope, "neither a Debezium envelope"),
        (b"{\"foo\":1}".to_vec(), Reason::NotAnEnvelope, "neither a Debezium envelope"),
        (b"{\"ts_ms\":1}".to_vec(), Reason::NotAnEnvelope, "neither a Debezium envelope"),
        (
            b"{\"schema\":{\"x\":1},\"payload\":{}}".to_vec(),
            Reason::NotAnEnvelope,
            "value: embedded schema cannot be read",
        ),
        (
            b"{\"schema\":null,\"payload\":{},\"more\":1}".to_vec(),
            Reason::NotAnEnvelope,
            "value: embedded schema cannot be read: a field follows `payload`",
        ),
        (envelope("{\"a\":01}"), Reason::Malformed, "value is not JSON: a number is malformed at byte 29"),
        (envelope("{\"a\":1.}"), Reason::Malformed, "value is not JSON: a number is malformed"),
        (envelope("{\"a\":NaN}"), Reason::Malformed, "value is not JSON: a value is expected"),
        (envelope("{\"a\":\"\\ud800\"}"), Reason::Malformed, "value is not JSON: a surrogate stands alone at byte 29"),
        (envelope("{\"a\":\"\\x\"}"), Reason::Malformed, "value is not JSON: an escape is malformed"),
        (envelope("{\"a\":\"\n\"}"), Reason::Malformed, "value is not JSON: a control character stands unescaped"),
        (envelope("{\"a\":1,\"a\":2}"), Reason::BadValue, "value: row has the field `a` twice"),
        (envelope("{\"a\":1,\"\\u0061\":2}"), Reason::BadValue, "value: row has the field `a` twice"),
        (envelope("{\"a\\u0000\":1}"), Reason::BadValue, "value is not JSON: a field name contains NUL at byte 25"),
        (envelope("{\"a\":{\"b\\u0000\":1}}"), Reason::BadValue, "value is not JSON: a field name contains NUL"),
        (deep(200), Reason::Malformed, "value is not JSON: arrays and objects are nested deeper than 128"),
        (deep(1_000_000), Reason::Malformed, "value is not JSON: arrays and objects are nested deeper than 128"),
        (envelope("null"), Reason::NotAnEnvelope, "envelope: field `after` is missing where the row is expected"),
        (envelope("7"), Reason::NotAnEnvelope, "envelope: field `after` is neither an object nor null"),
        (envelope("\"text\""), Reason::NotAnEnvelope, "envelope: field `after` is neither an object nor null"),
        (
            format!(r#"{{"after":{{"a":1}},{SOURCE},"op":"x"}}"#).into_bytes(),
            Reason::NotAnEnvelope,
            "field `op` is not one of",
        ),
        (
            format!(r#"{{"after":{{"a":1}},{SOURCE},"op":7}}"#).into_bytes(),
            Reason::NotAnEnvelope,
            "field `op` is not one of",
        ),
        (
            format!(r#"{{"after":{{"a":1}},"after":{{"a":2}},{SOURCE},"op":"c"}}"#).into_bytes(),
            Reason::NotAnEnvelope,
            "envelope: field `after` comes twice",
        ),
        (
            [envelope("{\"a\":1}"), b"x".to_vec()].concat(),
            Reason::Malformed,
            "value is not JSON: bytes follow the value",
        ),
        (
            vec![b' '; DEFAULT_MAX_RECORD + 1],
            Reason::TooLarge,
            "record of 16777225 bytes is larger than the limit of 16777216",
        ),
    ];
    for (value, reason, message) in cases {
        let batch = one("t", Some(br#"{"id":1}"#), Some(&value), &[]);
        let head = String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
        let (found, said) = said(&batch);
        assert_eq!(found, Some(reason), "{head}: {said}");
        assert!(said.starts_with(message), "{head}: {said}");
        assert_eq!(batch.events[0].kind, Kind::Undecodable);
        assert_eq!(batch.bytes(batch.events[0].raw_value.unwrap()), value, "{head}: the dead letter keeps the bytes");
        assert_eq!((batch.events[0].before, batch.events[0].after), (None, None));
        if reason != Reason::TooLarge {
            let key = batch.row(batch.events[0].key.unwrap())[0];
            assert_eq!(batch.text(key).unwrap(), "1", "{head}: later events of the key can be parked");
        }
    }
}

#[test]
fn nesting_up_to_128_is_data() {
    // The envelope and the row are two levels of it.
    let value = format!(r#"{{"after":{{"a":{}{}}},{SOURCE},"op":"c"}}"#, "[".repeat(126), "]".repeat(126));
    let batch = one("t", None, Some(value.as_bytes()), &[]);
    assert_eq!(said(&batch), (None, ""));
    let value = format!(r#"{{"after":{{"a":{}{}}},{SOURCE},"op":"c"}}"#, "[".repeat(127), "]".repeat(127));
    assert_eq!(said(&one("t", None, Some(value.as_bytes()), &[])).0, Some(Reason::Malformed));
}

#[test]
fn numbers_are_kept_as_written_however_large() {
    let value = format!(r#"{{"after":{{"a":1e999999}},{SOURCE},"op":"c"}}"#);
    let batch = one("t", None, Some(value.as_bytes()), &[]);
    let cell = batch.row(batch.events[0].after.unwrap())[0];
    assert_eq!((cell.kind, batch.text(cell).unwrap().as_ref()), (CellKind::Number, "1e999999"));
}

#[test]
fn a_malformed_key_fails_a_change_and_nothing_else() {
    let change = format!(r#"{{"after":{{"a":1}},{SOURCE},"op":"c"}}"#);
    for (key, message) in [
        (&b"Struct{id=1}"[..], "key is not JSON: a value is expected at byte 0"),
        (b"{\"id\":1", "key is not JSON: the text ends too early at byte 7"),
        (b"\xff", "key is not UTF-8 at byte 0"),
        (b"[1]", "key is not an object with rows, but an array"),
        (b"{\"id\":1,\"id\":2}", "key: row has the field `id` twice"),
        (b"1 2", "key is not JSON: bytes follow the value at byte 2"),
    ] {
        assert_eq!(said(&one("t", Some(key), Some(change.as_bytes()), &[])).1, message);
        let tombstone = one("t", Some(key), None, &[]);
        assert_eq!((tombstone.events[0].kind, said(&tombstone)), (Kind::Tombstone, (None, "")));
    }
}

#[test]
fn a_scalar_key_is_a_row_of_one_column_called_key() {
    let change = format!(r#"{{"after":{{"a":1}},{SOURCE},"op":"c"}}"#);
    for (key, kind, text) in
        [("7", CellKind::Number, "7"), ("\"x\"", CellKind::Text, "x"), ("true", CellKind::True, "true")]
    {
        let batch = one("t", Some(key.as_bytes()), Some(change.as_bytes()), &[]);
        let row = batch.events[0].key.unwrap();
        assert_eq!(&*batch.shape(row).unwrap().columns[0].name, SCALAR_KEY);
        let cell = batch.row(row)[0];
        assert_eq!((cell.kind, batch.text(cell).unwrap().as_ref()), (kind, text));
    }
    for key in ["null", r#"{"schema":null,"payload":null}"#] {
        let batch = one("t", Some(key.as_bytes()), Some(change.as_bytes()), &[]);
        assert_eq!((batch.events[0].key, batch.events[0].kind), (None, Kind::Change(Op::Create)), "{key}");
    }
}

#[test]
fn null_in_every_form_is_a_tombstone() {
    for value in [None, Some(&b"null"[..]), Some(br#"{"schema":null,"payload":null}"#)] {
        assert_eq!(one("t", Some(br#"{"id":1}"#), value, &[]).events[0].kind, Kind::Tombstone);
    }
}

#[test]
fn white_space_and_field_order_do_not_matter() {
    let source = r#" "source" : { "table":"t" , "schema":"s","connector":"postgresql","lsn":5, "snapshot" : true } "#;
    let value = format!("\r\n{{ \"op\" : \"u\" , {source} , \"after\" : {{ \"a\" : 1 , \"b\\\"\" : [ 1 ] }} }}\t");
    let batch = one("t", None, Some(value.as_bytes()), &[]);
    assert_eq!(said(&batch), (None, ""));
    let event = &batch.events[0];
    assert_eq!((event.kind, event.position.major, event.snapshot), (Kind::Change(Op::Update), 5, true));
    assert_eq!(batch.shape(event.after.unwrap()).unwrap().position("b\""), Some(1));
}

#[test]
fn columns_may_have_the_names_of_envelope_fields() {
    let value = format!(r#"{{"after":{{"before":1,"after":{{}},"op":"x","schema":2,"payload":3}},{SOURCE},"op":"c"}}"#);
    let batch = one("t", None, Some(value.as_bytes()), &[]);
    assert_eq!(batch.row(batch.events[0].after.unwrap()).len(), 5);
    let flat = br#"{"op":"c","source":{"x":1},"id":1,"__op":"c"}"#;
    assert_eq!(one("p.s.t", None, Some(flat), &[]).events[0].kind, Kind::Change(Op::Create));
    let flat = br#"{"after":{"x":1},"payload":1,"id":1,"__op":"c"}"#;
    let batch = one("p.s.t", None, Some(flat), &[]);
    assert_eq!(batch.row(batch.events[0].after.unwrap()).len(), 3);
}

#[test]
fn what_decode_remembers_is_bounded() {
    let topic = Arc::from("t");
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batch = Batch::default();
    // 40 rows with other field names of 300 kB each, then the first once more.
    for n in (0..40).chain([0]) {
        batch.clear();
        let name = format!("{n}").repeat(300_000 / format!("{n}").len());
        let value = format!(r#"{{"after":{{"{name}":1}},"{name}":1,{SOURCE},"op":"c"}}"#);
        let record = Record { value: Some(value.as_bytes()), ..record(&topic) };
        decoder.decode(&record, &mut batch);
        assert_eq!(said(&batch), (None, ""));
        let shape = batch.shape(batch.events[0].after.unwrap()).unwrap();
        assert_eq!(&*shape.columns[0].name, name);
    }
    let wide: Vec<_> = (0..40_000).map(|n| format!("\"{n}\":1")).collect();
    let value = format!(r#"{{"after":{{{}}},{SOURCE},"op":"c"}}"#, wide.join(","));
    let batch = one("t", None, Some(value.as_bytes()), &[]);
    assert_eq!(said(&batch), (Some(Reason::BadValue), "value: row has more than 32768 fields"));
}

fn record(topic: &Arc<str>) -> Record<'_> {
    Record { topic, partition: 0, offset: 0, timestamp_ms: 0, key: None, value: None, headers: &[] }
}

#[test]
fn an_unwrapped_row_needs_a_mark() {
    let row = br#"{"id":1}"#;
    assert_eq!(said(&one("p.s.t", None, Some(row), &[])).0, Some(Reason::NotAnEnvelope));
    for mark in
        [br#"{"id":1,"__op":"c"}"#.as_slice(), br#"{"id":1,"__deleted":false}"#, br#"{"id":1,"__deleted":"false"}"#]
    {
        assert_eq!(said(&one("p.s.t", None, Some(mark), &[])), (None, ""));
    }
    let batch = one("p.s.t", None, Some(row), &[("__op", Some(b"\"c\""))]);
    assert_eq!(batch.events[0].kind, Kind::Change(Op::Create));
    assert_eq!(batch.destination(&batch.events[0]), "s.t");
}

#[test]
fn a_delete_made_a_tombstone_by_the_transform_is_still_a_delete() {
    let op = [("__op", Some(&b"d"[..]))];
    let batch = one("p.s.t", Some(br#"{"id":1}"#), None, &op);
    assert_eq!((batch.events[0].kind, batch.destination(&batch.events[0])), (Kind::Change(Op::Delete), "s.t"));
    assert_eq!(one("p.s.t", None, None, &op).events[0].kind, Kind::Tombstone, "nothing says which row");
}

#[test]
fn envelopes_of_other_connectors_work_without_special_care() {
    for source in [
        r#"{"version":"3.7.0.Final","connector":"sqlserver","name":"server1","ts_ms":1559729468470,"snapshot":"false","db":"testDB","schema":"dbo","table":"customers","change_lsn":"00000027:00000758:0003","commit_lsn":"00000027:00000758:0005","event_serial_no":"1"}"#,
        r#"{"version":"3.7.0.Final","connector":"oracle","name":"server1","ts_ms":1559729468470,"snapshot":"false","db":"ORCLPDB1","schema":"DEBEZIUM","table":"customers","txId":"6.28.807","scn":"2122185","commit_scn":"2122185"}"#,
    ] {
        let value = format!(r#"{{"before":null,"after":{{"ID":1}},"source":{source},"op":"c","ts_ms":1}}"#);
        let batch = one("t", Some(br#"{"ID":1}"#), Some(value.as_bytes()), &[]);
        let event = &batch.events[0];
        assert_eq!(said(&batch), (None, ""));
        assert_eq!(event.source_ts_us, 1_559_729_468_470_000);
        assert_eq!((event.position.major, event.position.minor), (0, 0));
        assert!(batch.destination(event).ends_with(".customers"));
    }
}

#[test]
fn tables_that_share_a_topic_have_shapes_of_their_own() {
    let topic = Arc::from("database.changes");
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batch = Batch::default();
    for offset in 0..6 {
        let table = ["a", "b"][offset % 2];
        let value = format!(
            r#"{{"after":{{"id":1}},"source":{{"connector":"postgresql","schema":"s","table":"{table}"}},"op":"c"}}"#
        );
        let record = Record {
            topic: &topic,
            partition: 0,
            offset: offset as i64,
            timestamp_ms: 0,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        decoder.decode(&record, &mut batch);
    }
    let shapes: Vec<_> = batch.events.iter().map(|event| event.after.unwrap().shape).collect();
    assert_eq!(shapes, [0, 1, 0, 1, 0, 1]);
    assert_eq!(batch.destination(&batch.events[3]), "s.b");
}

#[test]
fn messages_never_hold_values_of_rows() {
    // Every prefix of a record, and every record with one byte gone.
    let secret = "s3cr3t-value";
    let value = format!(r#"{{"before":null,"after":{{"id":1,"password":"{secret}","n":31415926}},{SOURCE},"op":"c"}}"#);
    for cut in 0..value.len() {
        let shortened = [&value.as_bytes()[..cut], &value.as_bytes()[cut + 1..]].concat();
        for bytes in [&value.as_bytes()[..cut], &shortened] {
            let batch = one("t", None, Some(bytes), &[]);
            if let Some(failure) = batch.failure(&batch.events[0]) {
                assert!(
                    !failure.message.contains("s3cr3t") && !failure.message.contains("3141"),
                    "{}",
                    failure.message
                );
            }
        }
    }
}

/// Cells against `serde_json`'s reading of the same row.
fn assert_rows_agree(sample: &Sample) {
    let batch = decode(std::slice::from_ref(sample));
    let event = &batch.events[0];
    let Some(value) = &sample.value else { return };
    let mut tree: serde_json::Value = serde_json::from_str(value).unwrap();
    if let Some(payload) = tree.get("payload") {
        tree = payload.clone();
    }
    for (name, row) in [("before", event.before), ("after", event.after)] {
        let Some(row) = row else { continue };
        let object = match tree.get(name) {
            Some(serde_json::Value::Object(object)) => object,
            Some(_) => continue, // MongoDB: a document as text
            None => tree.as_object().unwrap(),
        };
        for (column, cell) in batch.shape(row).unwrap().columns.iter().zip(batch.row(row)) {
            let mut json = Vec::new();
            batch.write_json(*cell, &mut json);
            if cell.kind == CellKind::Unavailable {
                continue;
            }
            let mine: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let expect = object.get(&*column.name).or_else(|| tree.get(&*column.name)).unwrap();
            assert_eq!(&mine, expect, "{} {}", sample.topic, column.name);
        }
    }
}

const FILES: [&str; 9] = [
    "plain.ndjson",
    "schemas.ndjson",
    "friendly.ndjson",
    "lossy.ndjson",
    "unwrapped.ndjson",
    "mysql.ndjson",
    "mariadb.ndjson",
    "mongodb.ndjson",
    "handwritten.ndjson",
];

#[test]
fn rows_of_all_samples_agree_with_serde_json() {
    for file in FILES {
        samples(file).iter().for_each(assert_rows_agree);
    }
}

fn all_samples() -> Vec<Sample> {
    FILES.iter().flat_map(|file| samples(file)).collect()
}

proptest! {
    #[test]
    fn any_bytes_give_exactly_one_event(
        key: Option<Vec<u8>>, value: Option<Vec<u8>>, name in "[a-z_.]{0,12}", header: Option<Vec<u8>>, topic in "[a-z.]{0,12}"
    ) {
        let topic = Arc::from(topic.as_str());
        let mut batch = Batch::default();
        let mut decoder = Decoder::new(DecodeConfig::default());
        for offset in 0..2 {
            let record = Record {
                topic: &topic, partition: 0, offset, timestamp_ms: -1, key: key.as_deref(), value: value.as_deref(),
                headers: &[(&name, header.as_deref())],
            };
            decoder.decode(&record, &mut batch);
        }
        prop_assert_eq!(batch.events.len(), 2);
        prop_assert_eq!(&batch.events[0].kind, &batch.events[1].kind);
        for event in &batch.events {
            prop_assert_eq!(event.kind == Kind::Undecodable, matches!(event.verdict, Verdict::Fail(_)));
        }
    }

    /// Bytes of real records replaced, removed, inserted or doubled: one event, and what decodes is sound.
    #[test]
    fn mutated_records_give_exactly_one_event(
        pick: prop::sample::Index, edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..6)
    ) {
        thread_local!(static SAMPLES: Vec<Sample> = all_samples());
        SAMPLES.with(|samples| {
            let sample = pick.get(samples);
            let mut value = sample.value.clone().unwrap_or_default().into_bytes();
            for (at, edit, byte) in &edits {
                if value.is_empty() { break }
                let at = at.index(value.len());
                match edit {
                    0 => value[at] = *byte,
                    1 => { value.remove(at); }
                    2 => value.insert(at, *byte),
                    _ => value.truncate(at),
                }
            }
            let mut decoder = Decoder::new(DecodeConfig::default());
            let mut batch = Batch::default();
            // The sound record first: caches must not let the mutated one pass for it.
            decode_one(&mut decoder, sample, &mut batch);
            let record = Record {
                topic: &sample.topic, partition: 0, offset: 0, timestamp_ms: 0,
                key: sample.key.as_deref().map(str::as_bytes), value: Some(&value), headers: &[],
            };
            decoder.decode(&record, &mut batch);
            prop_assert_eq!(batch.events.len(), 2);
            let event = &batch.events[1];
            let sound = serde_json::from_slice::<serde::de::IgnoredAny>(&value).is_ok();
            if event.kind != Kind::Undecodable && !value.is_empty() {
                prop_assert!(sound, "accepted what is not JSON");
            }
            for row in [event.key, event.before, event.after].into_iter().flatten() {
                let shape = batch.shape(row).unwrap();
                prop_assert_eq!(batch.row(row).len(), shape.columns.len());
                for (column, cell) in shape.columns.iter().zip(batch.row(row)) {
                    let _ = value::read(&batch, *cell, &column.ty);
                    let mut json = Vec::new();
                    batch.write_json(*cell, &mut json);
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok());
                }
            }
            Ok(())
        })?;
    }

    /// A row of any JSON comes back as it was, whatever decode remembers from rows before it.
    #[test]
    fn cells_round_trip_to_json(rows in prop::collection::vec(prop::collection::btree_map("[a-c\"\\\\é]{1,3}", json(), 1..5), 1..4)) {
        let topic = Arc::from("t");
        let mut decoder = Decoder::new(DecodeConfig::default());
        let mut batch = Batch::default();
        for row in &rows {
            let value = format!(r#"{{"after":{},{SOURCE},"op":"c"}}"#, serde_json::to_string(row).unwrap());
            let record = Record { topic: &topic, partition: 0, offset: 0, timestamp_ms: 0, key: None, value: Some(value.as_bytes()), headers: &[] };
            decoder.decode(&record, &mut batch);
        }
        for (event, expect) in batch.events.iter().zip(&rows) {
            let row = event.after.unwrap();
            let mut found = std::collections::BTreeMap::new();
            for (column, cell) in batch.shape(row).unwrap().columns.iter().zip(batch.row(row)) {
                let mut json = Vec::new();
                batch.write_json(*cell, &mut json);
                found.insert(column.name.to_string(), serde_json::from_slice::<serde_json::Value>(&json).unwrap());
            }
            prop_assert_eq!(&found, expect);
        }
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        "[\\x00-\\x20\"\\\\\u{1f980}]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-z\"]{0,3}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
