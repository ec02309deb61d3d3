//! Golden tests: every record of `tests/golden/debezium/*.ndjson` and what decode makes of it, blessed in the `.expect`
//! beside it. `BLESS=1` rewrites; read the difference before you commit it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::value::{Typed, Value};
use super::*;
use crate::event::{CellKind, Row, SourceType};

/// One line of a sample file.
#[derive(Deserialize)]
pub(super) struct Sample {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, Option<String>)>,
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/debezium"))
}

pub(super) fn samples(file: &str) -> Vec<Sample> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let mut topics = std::collections::HashMap::<Arc<str>, Arc<str>>::new();
    text.lines()
        .map(|line| {
            let mut sample: Sample = serde_json::from_str(line).unwrap();
            sample.topic = Arc::clone(topics.entry(Arc::clone(&sample.topic)).or_insert(sample.topic));
            sample
        })
        .collect()
}

/// Decodes samples into one batch, all by one decoder.
pub(super) fn decode(samples: &[Sample]) -> Batch {
    let mut decoder = Decoder::new(DecodeConfig::default());
    let mut batch = Batch::default();
    for sample in samples {
        decode_one(&mut decoder, sample, &mut batch);
    }
    assert_eq!(batch.events.len(), samples.len());
    batch
}

pub(super) fn decode_one(decoder: &mut Decoder, sample: &Sample, batch: &mut Batch) {
    let headers: Vec<_> =
        sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().map(str::as_bytes))).collect();
    let record = Record {
        topic: &sample.topic,
        partition: sample.partition,
        offset: sample.offset,
        timestamp_ms: sample.timestamp,
        key: sample.key.as_deref().map(str::as_bytes),
        value: sample.value.as_deref().map(str::as_bytes),
        headers: &headers,
    };
    decoder.decode(&record, batch);
}

/// A row as text: one line a column.
fn row(batch: &Batch, label: &str, row: Option<Row>, out: &mut String) {
    let Some(row) = row else { return };
    let shape = batch.shape(row).unwrap();
    for (column, cell) in shape.columns.iter().zip(batch.row(row)) {
        let null = if column.nullable { "?" } else { "" };
        let typed = value::read(batch, *cell, &column.ty);
        let typed = match (&typed, &column.ty) {
            // The value itself says as much.
            (
                Ok(Typed { loss: None, .. }),
                SourceType::Unknown | SourceType::Text | SourceType::Enum | SourceType::Xml,
            ) => String::new(),
            (Ok(Typed { loss: None, value: Value::Null | Value::Unset | Value::Bool(_) | Value::Int(_) }), _) => {
                String::new()
            }
            (Ok(Typed { loss: None, value }), _) => format!(" -> {value:?}"),
            (Ok(Typed { loss: Some(loss), value }), _) => format!(" -> {value:?} without {}", loss.as_str()),
            (Err(error), _) => format!(" -> error: {error}"),
        };
        let value: String = match cell.kind {
            CellKind::Text | CellKind::Escaped | CellKind::Number | CellKind::Json => {
                let text = batch.text(*cell).unwrap();
                let long = text.chars().count() > 200;
                let head: String = text.chars().take(200).collect();
                format!(" {head:?}{}", if long { format!("… {} bytes", text.len()) } else { String::new() })
            }
            _ => String::new(),
        };
        writeln!(out, "  {label} {}: {:?}{null} = {:?}{value}{typed}", column.name, column.ty, cell.kind).unwrap();
    }
}

fn render(batch: &Batch) -> String {
    let mut out = String::new();
    for event in &batch.events {
        let table =
            batch.table(event).map(|t| format!(" {} {} {} {:?} {}", t.connector, t.source, t.db, t.schema, t.table));
        writeln!(
            out,
            "{} {} {:?}{} -> {} at {}/{} source {} captured {}{}",
            batch.topic(event),
            event.origin.offset,
            event.kind,
            table.unwrap_or_default(),
            batch.destination(event),
            event.position.major,
            event.position.minor,
            event.source_ts_us,
            event.captured_ts_us,
            if event.snapshot { " snapshot" } else { "" },
        )
        .unwrap();
        if let Some(failure) = batch.failure(event) {
            writeln!(out, "  {}: {}", failure.reason, failure.message).unwrap();
        }
        row(batch, "key", event.key, &mut out);
        row(batch, "before", event.before, &mut out);
        row(batch, "after", event.after, &mut out);
    }
    out
}

fn golden(name: &str) {
    let found = render(&decode(&samples(&format!("{name}.ndjson"))));
    let path = folder().join(format!("{name}.expect"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}.expect line {}", line + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn plain_envelopes_decode_as_blessed() {
    golden("plain");
}

#[test]
fn envelopes_with_embedded_schema_decode_as_blessed() {
    golden("schemas");
}

#[test]
fn friendly_encodings_decode_as_blessed() {
    golden("friendly");
}

#[test]
fn lossy_encodings_decode_as_blessed() {
    golden("lossy");
}

#[test]
fn unwrapped_rows_decode_as_blessed() {
    golden("unwrapped");
}

#[test]
fn records_of_mysql_decode_as_blessed() {
    golden("mysql");
}

#[test]
fn records_of_mariadb_decode_as_blessed() {
    golden("mariadb");
}

#[test]
fn records_of_mongodb_decode_as_blessed() {
    golden("mongodb");
}

#[test]
fn what_no_recorded_connector_sends_decodes_as_blessed() {
    golden("handwritten");
}
