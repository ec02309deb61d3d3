//! One whole event as JSON and back: the escape hatch. Here columns may come and go, so rows may get new shapes.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::batch::{Batch, write_json_string};
use crate::event::{Cell, CellKind, Column, Event, Kind, Row, Shape, SourceType};
use crate::plugin::Failure;

pub(in crate::transform) type Image = IndexMap<String, Box<RawValue>>;

/// What a plugin may hand back. The operation and the time are not its to change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parsed {
    table: String,
    #[serde(default)]
    key: Option<Image>,
    #[serde(default)]
    before: Option<Image>,
    #[serde(default)]
    after: Option<Image>,
    #[serde(rename = "operation", default)]
    _operation: Option<String>,
    #[serde(rename = "source_time", default)]
    _source_time: Option<i64>,
}

/// Writes an event. Columns that the source left out are left out.
pub(super) fn event_json(batch: &Batch, event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"operation\":");
    let operation = match event.kind {
        Kind::Change(op) => op.as_str(),
        _ => "",
    };
    write_json_string(operation.as_bytes(), &mut out);
    out.extend_from_slice(b",\"table\":");
    write_json_string(batch.destination(event).as_bytes(), &mut out);
    out.extend_from_slice(format!(",\"source_time\":{}", event.source_ts_us / 1000).as_bytes());
    for (name, row) in [("key", event.key), ("before", event.before), ("after", event.after)] {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        match row {
            Some(row) => write_row(batch, row, &mut out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    out
}

fn write_row(batch: &Batch, row: Row, out: &mut Vec<u8>) {
    out.push(b'{');
    let columns = batch.shape(row).map(|shape| shape.columns.as_slice()).unwrap_or_default();
    let mut first = true;
    for (column, cell) in columns.iter().zip(batch.row(row)) {
        if matches!(cell.kind, CellKind::Absent | CellKind::Unavailable) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_json_string(column.name.as_bytes(), out);
        out.push(b':');
        batch.write_json(*cell, out);
    }
    out.push(b'}');
}

/// Reads what a plugin handed back.
pub(super) fn parse(json: &str) -> Result<Parsed, Failure> {
    let failure = |message: String| Failure { code: "json".to_owned(), message, retryable: false };
    let parsed: Parsed = serde_json::from_str(json).map_err(|error| failure(error.to_string()))?;
    if parsed.table.is_empty() {
        return Err(failure("the table is missing".to_owned()));
    }
    Ok(parsed)
}

/// The event with new images and destination.
pub(super) fn replace(batch: &mut Batch, old: &Event, parsed: &Parsed) -> Event {
    let mut new = old.clone();
    new.destination = batch.name_index(&Arc::from(parsed.table.as_str()));
    new.key = parsed.key.as_ref().map(|image| row(batch, old.key, image));
    new.before = parsed.before.as_ref().map(|image| row(batch, old.before, image));
    new.after = parsed.after.as_ref().map(|image| row(batch, old.after, image));
    new
}

pub(super) fn row(batch: &mut Batch, old: Option<Row>, image: &Image) -> Row {
    let before: Vec<(Column, Cell)> = old
        .and_then(|row| Some((batch.shape(row)?.columns.clone(), batch.row(row).to_vec())))
        .map(|(columns, cells)| columns.into_iter().zip(cells).collect())
        .unwrap_or_default();
    let mut columns = Vec::with_capacity(image.len());
    let mut cells = Vec::with_capacity(image.len());
    for (name, value) in image {
        let known = before.iter().find(|(column, _)| *column.name == **name).map(|(column, _)| column.clone());
        columns.push(known.unwrap_or_else(|| Column {
            name: Arc::from(name.as_str()),
            ty: SourceType::Unknown,
            nullable: true,
        }));
        cells.push(cell(batch, value.get()));
    }
    // What the plugin could not see it cannot have removed: the target must still leave those columns alone.
    for (column, cell) in before {
        if cell.kind == CellKind::Unavailable && !image.contains_key(&*column.name) {
            columns.push(column);
            cells.push(cell);
        }
    }
    let shape = Shape { columns };
    let found = batch.shapes.iter().rposition(|known| **known == shape);
    let index = found.unwrap_or_else(|| {
        batch.shapes.push(Arc::new(shape));
        batch.shapes.len() - 1
    });
    batch.push_row(u32::try_from(index).unwrap_or(u32::MAX), cells)
}

/// A cell from the text of one JSON value, which is known to be well-formed.
fn cell(batch: &mut Batch, json: &str) -> Cell {
    let (kind, text) = match json.as_bytes().first() {
        Some(b'n') => return Cell::bare(CellKind::Null),
        Some(b't') => return Cell::bare(CellKind::True),
        Some(b'f') => return Cell::bare(CellKind::False),
        Some(b'"') => {
            let inside = json.get(1..json.len() - 1).unwrap_or_default();
            (if inside.contains('\\') { CellKind::Escaped } else { CellKind::Text }, inside)
        }
        Some(b'{' | b'[') => (CellKind::Json, json),
        _ => (CellKind::Number, json),
    };
    Cell { span: batch.push_bytes(text.as_bytes()), kind }
}
