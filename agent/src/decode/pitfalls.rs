//! What a consumer of Debezium must get right, one test each, on recorded samples.

use super::golden::{Sample, decode, samples};
use super::value::{Typed, Value, read};
use super::*;
use crate::config::raw::WithoutDocument;
use crate::event::{CellKind, Op, Row};

fn of(file: &str, topic: &str) -> (Vec<Sample>, Batch) {
    let samples: Vec<_> = samples(file).into_iter().filter(|sample| sample.topic.ends_with(topic)).collect();
    let batch = decode(&samples);
    (samples, batch)
}

fn ops(batch: &Batch) -> Vec<Kind> {
    batch.events.iter().map(|event| event.kind).collect()
}

fn text<'a>(batch: &'a Batch, row: Option<Row>, column: &str) -> Option<std::borrow::Cow<'a, str>> {
    let row = row.unwrap();
    let at = batch.shape(row).unwrap().position(column).unwrap();
    batch.text(batch.row(row)[at])
}

fn kinds(batch: &Batch, row: Option<Row>) -> Vec<CellKind> {
    batch.row(row.unwrap()).iter().map(|cell| cell.kind).collect()
}

const CREATE: Kind = Kind::Change(Op::Create);
const UPDATE: Kind = Kind::Change(Op::Update);
const DELETE: Kind = Kind::Change(Op::Delete);
const READ: Kind = Kind::Change(Op::Read);
const TRUNCATE: Kind = Kind::Change(Op::Truncate);

#[test]
fn a_delete_with_default_identity_has_the_key_and_nulls_in_before() {
    let (_, batch) = of("plain.ndjson", "public.orders");
    let delete = batch.events.iter().find(|event| event.kind == DELETE).unwrap();
    assert_eq!(text(&batch, delete.before, "id").unwrap(), "2");
    assert!(kinds(&batch, delete.before)[1..].iter().all(|kind| *kind == CellKind::Null));
    assert_eq!(delete.after, None);
}

#[test]
fn a_delete_with_full_identity_is_complete_in_before() {
    let (_, batch) = of("plain.ndjson", "public.customers");
    let delete = batch.events.iter().find(|event| event.kind == DELETE).unwrap();
    assert_eq!(text(&batch, delete.before, "email").unwrap(), "bob@example.org");
}

#[test]
fn an_update_with_default_identity_has_no_before() {
    let (_, batch) = of("plain.ndjson", "public.orders");
    let update = batch.events.iter().find(|event| event.kind == UPDATE).unwrap();
    assert_eq!(update.before, None);
    assert_eq!(text(&batch, update.key, "id").unwrap(), "2");
}

#[test]
fn a_key_change_is_delete_tombstone_create_at_one_position_told_apart_by_offset() {
    let (_, batch) = of("plain.ndjson", "public.orders");
    assert_eq!(ops(&batch), [READ, CREATE, UPDATE, DELETE, Kind::Tombstone, CREATE, DELETE, Kind::Tombstone, UPDATE]);
    let (delete, create) = (&batch.events[3], &batch.events[5]);
    assert_eq!(delete.position, create.position);
    assert!(delete.origin < create.origin);
    assert_eq!(text(&batch, delete.key, "id").unwrap(), "2");
    assert_eq!(text(&batch, create.key, "id").unwrap(), "20");
    assert!(batch.headers(delete).any(|header| header == ("__debezium.newkey", Some(br#"{"id":20}"#))));
    assert!(batch.headers(create).any(|header| header == ("__debezium.oldkey", Some(br#"{"id":2}"#))));
}

#[test]
fn snapshot_rows_share_a_position_and_the_word_false_is_not_true() {
    let (_, batch) = of("plain.ndjson", "public.customers");
    assert_eq!(batch.events[0].position, batch.events[1].position);
    let snapshots: Vec<_> = batch.events.iter().map(|event| event.snapshot).collect();
    assert_eq!(snapshots, [true, true, false, false, false, false]);
}

#[test]
fn a_truncate_has_no_key_and_no_rows() {
    for table in ["public.composite", "public.no_key"] {
        let (_, batch) = of("plain.ndjson", table);
        let truncate = batch.events.iter().find(|event| event.kind == TRUNCATE).unwrap();
        assert_eq!((truncate.key, truncate.before, truncate.after), (None, None, None));
        assert_eq!(batch.destination(truncate), table);
    }
}

#[test]
fn a_table_without_primary_key_has_null_keys_and_tombstones_without_key() {
    let (samples, batch) = of("plain.ndjson", "public.no_key");
    assert!(samples.iter().all(|sample| sample.key.is_none()));
    assert!(batch.events.iter().all(|event| event.key.is_none()));
    assert_eq!(ops(&batch), [CREATE, UPDATE, DELETE, Kind::Tombstone, TRUNCATE, CREATE]);
}

#[test]
fn a_composite_key_is_a_row_of_its_columns() {
    let (_, batch) = of("plain.ndjson", "public.composite");
    let event = &batch.events[0];
    assert_eq!(text(&batch, event.key, "tenant").unwrap(), "acme");
    assert_eq!(text(&batch, event.key, "id").unwrap(), "1");
}

#[test]
fn a_logical_message_is_no_row() {
    let (_, batch) = of("plain.ndjson", "plain.message");
    for event in &batch.events {
        assert_eq!(event.kind, Kind::Change(Op::Message));
        assert_eq!((event.before, event.after), (None, None));
        assert_eq!(batch.destination(event), "");
    }
}

#[test]
fn an_unchanged_toast_value_is_unavailable_in_every_file() {
    for file in ["plain.ndjson", "schemas.ndjson", "friendly.ndjson", "lossy.ndjson", "unwrapped.ndjson"] {
        let (_, batch) = of(file, "public.toasted");
        let update = batch.events.iter().find(|event| event.kind == UPDATE).unwrap();
        assert_eq!(kinds(&batch, update.after)[2], CellKind::Unavailable, "{file}");
        assert_eq!(text(&batch, update.after, "small").unwrap(), "changed", "{file}");
    }
}

#[test]
fn a_schema_change_shows_as_another_shape_and_the_same_columns_share_one() {
    let (_, batch) = of("plain.ndjson", "public.evolve");
    let shapes: Vec<Vec<&str>> = batch
        .events
        .iter()
        .map(|event| batch.shape(event.after.unwrap()).unwrap().columns.iter().map(|c| &*c.name).collect())
        .collect();
    assert_eq!(
        shapes,
        [
            vec!["id", "v"],
            vec!["id", "v"],
            vec!["id", "v", "added"],
            vec!["id", "renamed", "added"],
            vec!["id", "added"]
        ]
    );
    assert_eq!(batch.events[0].after.unwrap().shape, batch.events[1].after.unwrap().shape);
}

#[test]
fn shapes_keep_their_identity_over_batches_and_images() {
    for file in ["plain.ndjson", "schemas.ndjson", "unwrapped.ndjson"] {
        let samples: Vec<_> = samples(file).into_iter().filter(|s| s.topic.ends_with("public.customers")).collect();
        let mut decoder = Decoder::new(DecodeConfig::default());
        let mut seen: Vec<Arc<crate::event::Shape>> = Vec::new();
        for sample in &samples {
            let mut batch = Batch::default();
            golden::decode_one(&mut decoder, sample, &mut batch);
            for row in [batch.events[0].before, batch.events[0].after].into_iter().flatten() {
                let shape = batch.shape(row).unwrap();
                if !seen.iter().any(|known| Arc::ptr_eq(known, shape)) {
                    seen.push(Arc::clone(shape));
                }
            }
        }
        assert_eq!(seen.len(), 1, "{file}");
    }
}

fn typed(column: &str, index: usize) -> String {
    let (_, batch) = of("schemas.ndjson", "public.all_types");
    let row = batch.events[index].after.unwrap();
    let shape = batch.shape(row).unwrap();
    let at = shape.position(column).unwrap();
    format!("{:?}", read(&batch, batch.row(row)[at], &shape.columns[at].ty).unwrap().value)
}

#[test]
fn numerics_and_money_are_base64_with_the_scale_in_the_schema() {
    assert_eq!(typed("c_numeric", 0), "Decimal(\"1234567890123456789012345678.0123456789\")");
    assert_eq!(typed("c_money", 0), "Decimal(\"12.34\")");
    assert_eq!(typed("a_numeric", 0), "Array([Decimal(\"1.10\"), Decimal(\"-2.00\")])");
}

#[test]
fn a_numeric_without_scale_carries_its_own() {
    assert_eq!(typed("c_numeric_free", 0), "Decimal(\"3.14159265358979323846\")");
    assert_eq!(typed("c_numeric_free", 3), "Decimal(\"-0.00000000000000000001\")");
}

#[test]
fn timestamps_are_micros_or_millis_by_their_precision() {
    assert_eq!(typed("c_ts", 0), "Timestamp { micros: 1709251199999999, zoned: false }");
    assert_eq!(typed("c_ts3", 0), "Timestamp { micros: 1709251199999000, zoned: false }");
    assert_eq!(typed("c_tstz", 0), "Timestamp { micros: 1709243999999999, zoned: true }");
}

#[test]
fn dates_before_christ_and_infinities_are_no_ordinary_days() {
    assert_eq!(typed("c_date", 3), "Date { days: -735160 }");
    assert_eq!(value::civil_from_days(-735_160), (-43, 3, 15));
    assert_eq!(typed("c_date", 2), "Infinity { negative: false }");
    assert_eq!(typed("c_ts", 2), "Infinity { negative: false }");
    assert_eq!(typed("c_tstz", 2), "Infinity { negative: true }");
}

#[test]
fn float_infinities_come_as_words() {
    assert_eq!(typed("c_real", 2), "Float(inf)");
    assert_eq!(typed("c_double", 2), "Float(-inf)");
}

#[test]
fn integers_above_two_to_the_53_survive() {
    let (_, batch) = of("plain.ndjson", "public.customers");
    assert_eq!(text(&batch, batch.events[1].key, "id").unwrap(), "9007199254740993");
    let cell = batch.row(batch.events[1].key.unwrap())[0];
    let Typed { value, .. } = read(&batch, cell, &crate::event::SourceType::Unknown).unwrap();
    assert_eq!(value, Value::Int(9_007_199_254_740_993));
}

#[test]
fn characters_beyond_the_bmp_survive_surrogate_pairs() {
    for file in ["plain.ndjson", "schemas.ndjson", "unwrapped.ndjson"] {
        let (_, batch) = of(file, "public.customers");
        assert_eq!(
            text(&batch, batch.events[1].after, "name").unwrap(),
            "Übermaß 漢字 🦀 \"quoted\" \\ back",
            "{file}"
        );
    }
}

#[test]
fn json_columns_keep_order_duplicates_and_digits() {
    let (_, batch) = of("plain.ndjson", "public.all_types");
    let after = batch.events[0].after;
    assert_eq!(text(&batch, after, "c_json").unwrap(), r#"{"b": 1, "a": [1, 2.50, null], "a": "twice"}"#);
    assert_eq!(text(&batch, after, "c_jsonb").unwrap(), r#"{"z": 1000, "nested": {"k": 12345678901234567890.123}}"#);
}

#[test]
fn heartbeats_and_transactions_are_no_changes() {
    for (file, heartbeats, transactions) in [("plain.ndjson", 5, 48), ("schemas.ndjson", 10, 48)] {
        let batch = decode(&samples(file));
        let count = |kind: Kind| batch.events.iter().filter(|event| event.kind == kind).count();
        assert_eq!((count(Kind::Heartbeat), count(Kind::Transaction)), (heartbeats, transactions), "{file}");
        let heartbeat = batch.events.iter().find(|event| event.kind == Kind::Heartbeat).unwrap();
        assert!(heartbeat.source_ts_us > 0 && heartbeat.captured_ts_us == heartbeat.source_ts_us);
    }
}

#[test]
fn fields_the_unwrap_transform_adds_are_not_columns() {
    let batch = decode(&samples("unwrapped.ndjson"));
    for event in batch.events.iter().filter(|event| matches!(event.kind, Kind::Change(_))) {
        for row in [event.before, event.after].into_iter().flatten() {
            assert!(batch.shape(row).unwrap().columns.iter().all(|column| !column.name.starts_with("__")));
        }
    }
    let (_, batch) = of("unwrapped.ndjson", "public.no_key");
    assert_eq!(ops(&batch), [CREATE, UPDATE, DELETE, CREATE]);
    assert_eq!(text(&batch, batch.events[2].before, "b").unwrap(), "y");
    assert_eq!(batch.events[2].position.major, 22_408_816);
}

#[test]
fn declared_types_stand_in_for_a_missing_schema() {
    let mut config = DecodeConfig::default();
    for (pattern, words) in
        [("public.orders.total", "decimal(2)"), ("*.*.placed_on", "date"), ("public.orders.id", "int32")]
    {
        config.types.push(DeclaredType::parse(pattern, words).unwrap());
    }
    let mut decoder = Decoder::new(config);
    let mut batch = Batch::default();
    let sample = samples("plain.ndjson").into_iter().find(|sample| sample.topic.ends_with("public.orders")).unwrap();
    golden::decode_one(&mut decoder, &sample, &mut batch);
    let row = batch.events[0].after.unwrap();
    let shape = batch.shape(row).unwrap();
    let value = |name: &str| {
        let at = shape.position(name).unwrap();
        format!("{:?}", read(&batch, batch.row(row)[at], &shape.columns[at].ty).unwrap().value)
    };
    assert_eq!(value("total"), "Decimal(\"12.30\")");
    assert_eq!(value("placed_on"), "Date { days: 19782 }");
    assert_eq!(value("note"), "Null");
    let key = batch.shape(batch.events[0].key.unwrap()).unwrap();
    assert_eq!(key.columns[0].ty, crate::event::SourceType::Int32);
}

#[test]
fn an_update_without_its_document_is_a_dead_letter_or_dropped_as_configured_and_never_a_row() {
    let samples: Vec<_> =
        samples("mongodb.ndjson").into_iter().filter(|s| s.topic.ends_with("inventory.customers")).collect();
    let decode_as = |updates_without_document| {
        let mut decoder = Decoder::new(DecodeConfig { updates_without_document, ..DecodeConfig::default() });
        let mut batch = Batch::default();
        samples.iter().for_each(|sample| golden::decode_one(&mut decoder, sample, &mut batch));
        batch
    };
    // One in each of the modes that look documents up, where it was deleted meanwhile; all four of `change_streams`.
    let letters = decode_as(WithoutDocument::DeadLetter);
    let failed: Vec<_> = letters.events.iter().filter(|event| letters.failure(event).is_some()).collect();
    assert_eq!(failed.len(), 6);
    for event in failed {
        let failure = letters.failure(event).unwrap();
        assert_eq!(failure.reason.as_str(), "not_an_envelope");
        assert!(failure.message.contains("decode.updates_without_document"), "{}", failure.message);
        assert_eq!((event.kind, event.after), (Kind::Undecodable, None));
        assert_eq!(text(&letters, event.key, "id").unwrap(), "1004");
    }
    let skipped = decode_as(WithoutDocument::Skip);
    let dropped: Vec<_> = skipped.events.iter().filter(|event| event.verdict == Verdict::Drop).collect();
    assert_eq!(dropped.len(), 6);
    for event in dropped {
        assert_eq!((event.kind, event.after), (UPDATE, None));
        assert_eq!(skipped.destination(event), "inventory.customers");
    }
}

#[test]
fn doubles_that_are_no_numbers_stand_bare_in_documents_and_are_read() {
    let (_, batch) = of("mongodb.ndjson", "docs.inventory.types");
    let after = batch.events[0].after;
    let raw = text(&batch, after, DOCUMENT).unwrap();
    assert!(raw.contains("\"nan\": NaN") && raw.contains("\"infinity\": Infinity"), "{raw}");
    let shape = batch.shape(after.unwrap()).unwrap();
    let Value::Json(json) = read(&batch, batch.row(after.unwrap())[0], &shape.columns[0].ty).unwrap().value else {
        panic!("not JSON")
    };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["nan"]["$numberDouble"], "NaN");
    assert_eq!(json["infinity"]["$numberDouble"], "Infinity");
    assert_eq!(json["string"], "Übermaß 🦀 \"q\" \\ \u{1}");
}

#[test]
fn every_snapshot_marker_of_mysql_and_mariadb_counts_and_positions_rise_after_it() {
    for file in ["mysql.ndjson", "mariadb.ndjson"] {
        let samples = samples(file);
        let batch = decode(&samples);
        let mut markers = std::collections::BTreeSet::new();
        let mut last = std::collections::HashMap::new();
        for (sample, event) in samples.iter().zip(&batch.events) {
            let Kind::Change(op) = event.kind else { continue };
            let value: serde_json::Value = serde_json::from_str(sample.value.as_deref().unwrap_or("null")).unwrap();
            let value = value.get("payload").unwrap_or(&value);
            if let Some(marker) = value["source"]["snapshot"].as_str() {
                markers.insert(marker.to_owned());
                assert_eq!(event.snapshot, marker != "false", "{file} {marker}");
                assert_eq!(event.snapshot, op == Op::Read, "{file} {marker}");
            }
            if let Some(before) = last.insert(Arc::clone(&sample.topic), event.position) {
                // The unwrap transform may be told not to send positions.
                let unknown = SourcePosition::default();
                assert!(before <= event.position || event.position == unknown, "{file} {}", sample.topic);
            }
        }
        let expected = ["false", "first", "first_in_data_collection", "last", "last_in_data_collection"];
        assert_eq!(markers.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{file}");
    }
}

#[test]
fn unsigned_numbers_past_63_bits_are_negative_unless_the_connector_is_told_to_be_precise() {
    let last = |topic: &str| {
        let (_, batch) = of("mariadb.ndjson", topic);
        let event = batch.events.iter().find(|event| event.kind == CREATE).unwrap();
        let row = event.after.unwrap();
        let shape = batch.shape(row).unwrap();
        let at = shape.position("c_ubig").unwrap();
        format!("{:?}", read(&batch, batch.row(row)[at], &shape.columns[at].ty).unwrap().value)
    };
    assert_eq!(last("maria.inventory.all_types"), "Int(-1)");
    assert_eq!(last("marias.inventory.all_types"), "Decimal(\"18446744073709551615\")");
}
