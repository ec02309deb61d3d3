//! From one record to one event: puts the parts together that `frame`, `envelope`, `unwrapped` and `layout` find.

use std::sync::Arc;

use super::config::DecodeConfig;
use super::envelope::{Form, Image, Top};
use super::error::{DecodeError, Part};
use super::frame::Frame;
use super::json::Cursor;
use super::layout::{Role, Scan, Scanned};
use super::placeholder::Placeholders;
use super::schema::ConnectSchema;
use super::source::SourceId;
use super::topic::Topic;
use super::unwrapped::{MARKS, Marks};
use super::{DOCUMENT, Record, SCALAR_KEY};
use crate::batch::Batch;
use crate::config::raw::WithoutDocument;
use crate::event::{Cell, CellKind, Column, Event, Kind, Op, Row, Shape, SourceType, TableRef, Verdict};

/// A key whose cells stand in the batch.
struct Key {
    image: Image,
    schema: Option<usize>,
}

/// Fills `event` with what `record` says.
pub(super) fn fill(
    config: &DecodeConfig,
    placeholders: &Placeholders,
    topic: &mut Topic,
    record: &Record<'_>,
    batch: &mut Batch,
    event: &mut Event,
) -> Result<(), DecodeError> {
    let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    if size > config.max_record {
        return Err(DecodeError::TooLarge { size, limit: config.max_record });
    }
    let mut decoding = Decoding { config, placeholders, topic, record, batch, event };
    let key = decoding.key();
    let kept = decoding.batch.cells.len();
    let outcome = decoding.value(key.as_ref().ok());
    match (outcome, key) {
        // Only changes need their key: a tombstone or heartbeat with an odd key is harmless.
        (Ok(()), Err(error)) if matches!(decoding.event.kind, Kind::Change(_)) => Err(error),
        (Err(error), Ok(key)) => {
            if decoding.event.key.is_none() {
                // Whoever parks or lists the dead letter wants the key, even though the table is not known.
                decoding.batch.cells.truncate(kept);
                decoding.finish_key(&key, &Arc::default());
            }
            Err(error)
        }
        (outcome, _) => outcome,
    }
}

struct Decoding<'d, 'r> {
    config: &'d DecodeConfig,
    placeholders: &'d Placeholders,
    topic: &'d mut Topic,
    record: &'d Record<'r>,
    batch: &'d mut Batch,
    event: &'d mut Event,
}

impl<'r> Decoding<'_, 'r> {
    /// Scans the key.
    fn key(&mut self) -> Result<Key, DecodeError> {
        let (Some(bytes), Some(span)) = (self.record.key, self.event.raw_key) else {
            return Ok(Key { image: Image::Missing, schema: None });
        };
        let frame = self.topic.key_schemas.frame(bytes, Part::Key)?;
        let mut cursor = Cursor::new(bytes, frame.start);
        cursor.space();
        let scan = Scan {
            part: Part::Key,
            role: Role::Image,
            base: span.start,
            depth: frame.depth(),
            placeholders: self.placeholders,
        };
        let image = if cursor.peek() == b'{' {
            let hint = &mut self.topic.key_hint;
            Image::Row(self.topic.layouts.scan(&scan, &mut cursor, &mut self.batch.cells, hint)?)
        } else {
            let raw = cursor.value(frame.depth()).map_err(DecodeError::syntax(Part::Key))?;
            match raw.kind {
                CellKind::Null => Image::Missing,
                CellKind::Json => return Err(DecodeError::NotAnObject { part: Part::Key, found: "an array" }),
                _ => Image::Document(scan.cell(&cursor, raw)),
            }
        };
        frame.close(&mut cursor, Part::Key)?;
        Ok(Key { image, schema: frame.embedded })
    }

    /// Scans the value and decides what the record is.
    fn value(&mut self, key: Option<&Key>) -> Result<(), DecodeError> {
        let (Some(bytes), Some(span)) = (self.record.value, self.event.raw_value) else {
            return self.null(key);
        };
        let frame = self.topic.value_schemas.frame(bytes, Part::Value)?;
        let mut cursor = Cursor::new(bytes, frame.start);
        cursor.space();
        if cursor.peek() != b'{' {
            let raw = cursor.value(frame.depth()).map_err(DecodeError::syntax(Part::Value))?;
            frame.close(&mut cursor, Part::Value)?;
            let found = match raw.kind {
                CellKind::Null => return self.null(key),
                CellKind::Json => "an array",
                CellKind::Number => "a number",
                CellKind::True | CellKind::False => "a boolean",
                _ => "a string",
            };
            return Err(DecodeError::NotAnObject { part: Part::Value, found });
        }
        let scan = Scan {
            part: Part::Value,
            role: Role::Image,
            base: span.start,
            depth: frame.depth(),
            placeholders: self.placeholders,
        };
        let first = self.batch.cells.len();
        if self.topic.unwrapped {
            if self.unwrapped(&scan, &frame, cursor, key)? {
                return Ok(());
            }
            self.batch.cells.truncate(first);
        }
        if self.envelope(&scan, &frame, cursor, key)? {
            self.topic.unwrapped = false;
            return Ok(());
        }
        self.batch.cells.truncate(first);
        if !self.topic.unwrapped && self.unwrapped(&scan, &frame, cursor, key)? {
            self.topic.unwrapped = true;
            return Ok(());
        }
        Err(DecodeError::Unknown { known: MARKS })
    }

    /// A null value: a tombstone, unless the unwrap transform made it of a delete and says so in a header.
    fn null(&mut self, key: Option<&Key>) -> Result<(), DecodeError> {
        let mut marks = Marks::of_headers(self.record);
        if marks.marked && marks.op() == Op::Delete && key.is_some_and(|key| key.image != Image::Missing) {
            marks.complete(self.record.topic);
            self.event.kind = Kind::Change(Op::Delete);
            self.event.source_ts_us = marks.source.time_us();
            self.event.captured_ts_us = marks.captured_us();
            self.event.position = marks.source.position();
            let table = self.table(&marks.source.id);
            self.finish_keys(key, &table);
            return Ok(());
        }
        self.event.kind = Kind::Tombstone;
        self.finish_keys(key, &Arc::default());
        Ok(())
    }

    /// Tries to read the value as an envelope or one of its kin; false when it is something else.
    fn envelope(
        &mut self,
        scan: &Scan<'_>,
        frame: &Frame,
        mut cursor: Cursor<'r>,
        key: Option<&Key>,
    ) -> Result<bool, DecodeError> {
        let hint = &mut self.topic.image_hint;
        let top =
            Top::scan(scan, &mut cursor, &mut self.topic.layouts, &mut self.batch.cells, hint, &mut self.topic.trails)?;
        frame.close(&mut cursor, Part::Value)?;
        let form = top.form();
        match form {
            Form::Unknown => return Ok(false),
            Form::Time if !self.heartbeat(frame) => return Ok(false),
            Form::Change => {
                self.change(&top, frame, key)?;
                return Ok(true);
            }
            Form::Time => {
                self.event.kind = Kind::Heartbeat;
                self.event.source_ts_us = top.captured_us();
            }
            Form::Transaction => {
                self.event.kind = Kind::Transaction;
                self.event.source_ts_us = top.captured_us();
            }
            Form::SchemaChange => {
                self.event.kind = Kind::SchemaChange;
                self.event.source_ts_us = top.source.as_ref().map_or(0, |source| source.time_us());
            }
        }
        self.event.captured_ts_us = top.captured_us();
        self.finish_keys(key, &Arc::default());
        Ok(true)
    }

    fn heartbeat(&self, frame: &Frame) -> bool {
        self.topic.heartbeat
            || self.schema(frame).is_some_and(|(_, schema)| schema.name() == "io.debezium.connector.common.Heartbeat")
    }

    fn change(&mut self, top: &Top<'r>, frame: &Frame, key: Option<&Key>) -> Result<(), DecodeError> {
        let op = top.op()?;
        let Some(source) = &top.source else { return Err(DecodeError::Unknown { known: MARKS }) };
        let mongodb = source.id.connector == b"mongodb";
        if top.before == Image::Other || (!mongodb && matches!(top.before, Image::Document(_))) {
            return Err(DecodeError::Envelope { field: "before", what: "is neither an object nor null" });
        }
        if top.after == Image::Other || (!mongodb && matches!(top.after, Image::Document(_))) {
            return Err(DecodeError::Envelope { field: "after", what: "is neither an object nor null" });
        }
        self.event.kind = Kind::Change(op);
        self.event.source_ts_us = source.time_us();
        self.event.captured_ts_us = top.captured_us();
        self.event.position = source.position();
        self.event.snapshot = source.snapshot || op == Op::Read;
        let table = self.table(&source.id);
        self.finish_keys(key, &table);
        self.event.before = self.image(top.before, "before", frame, &table);
        self.event.after = self.image(top.after, "after", frame, &table);
        if matches!(op, Op::Create | Op::Update | Op::Read) && self.event.after.is_none() {
            if !(mongodb && top.has_update_description) {
                return Err(DecodeError::Envelope { field: "after", what: "is missing where the row is expected" });
            }
            match self.config.updates_without_document {
                WithoutDocument::DeadLetter => return Err(DecodeError::NoDocument),
                WithoutDocument::Skip => self.event.verdict = Verdict::Drop,
            }
        }
        Ok(())
    }

    /// Tries to read the value as an unwrapped row; false when nothing marks it as one.
    fn unwrapped(
        &mut self,
        scan: &Scan<'_>,
        frame: &Frame,
        mut cursor: Cursor<'r>,
        key: Option<&Key>,
    ) -> Result<bool, DecodeError> {
        let scan = Scan { role: Role::Unwrapped, ..*scan };
        let hint = &mut self.topic.unwrapped_hint;
        let scanned = self.topic.layouts.scan(&scan, &mut cursor, &mut self.batch.cells, hint)?;
        frame.close(&mut cursor, Part::Value)?;
        let Some(layout) = self.topic.layouts.get(scanned) else { return Ok(false) };
        let mut marks = Marks::of_headers(self.record);
        let mut kept = scanned.first;
        for (at, meta) in layout.meta.iter().enumerate() {
            let Some(cell) = self.batch.cells.get(scanned.first + at).copied() else { break };
            match meta {
                Some(meta) => {
                    let start = (cell.span.start.saturating_sub(scan.base)) as usize;
                    marks.field(*meta, cell.kind, cursor.slice(start, start + cell.span.len as usize));
                }
                None => {
                    if let Some(slot) = self.batch.cells.get_mut(kept) {
                        *slot = cell;
                    }
                    kept += 1;
                }
            }
        }
        self.batch.cells.truncate(kept);
        let is_envelope = layout.has("op") && layout.has("source") && (layout.has("after") || layout.has("message"));
        let named =
            self.schema(frame).is_some_and(|(_, schema)| schema.is_struct() && schema.name().ends_with(".Value"));
        if !(marks.marked || named) || is_envelope {
            return Ok(false);
        }
        marks.complete(self.record.topic);
        let op = marks.op();
        self.event.kind = Kind::Change(op);
        self.event.source_ts_us = marks.source.time_us();
        self.event.captured_ts_us = marks.captured_us();
        self.event.position = marks.source.position();
        self.event.snapshot = marks.source.snapshot || op == Op::Read;
        let table = self.table(&marks.source.id);
        self.finish_keys(key, &table);
        let schema = self.topic.value_schemas.get(frame).and_then(|known| Some((known.id, known.schema.as_ref()?)));
        let shape = self.topic.layouts.shape(scanned, &table, schema, self.config);
        let row = shape.map(|shape| row(self.batch, &shape, scanned.first));
        if op == Op::Delete {
            self.event.before = row
        } else {
            self.event.after = row
        }
        Ok(true)
    }

    fn schema(&self, frame: &Frame) -> Option<(u32, &ConnectSchema)> {
        let known = self.topic.value_schemas.get(frame)?;
        Some((known.id, known.schema.as_ref()?))
    }

    /// Notes the table of the event.
    fn table(&mut self, id: &SourceId<'_>) -> Arc<TableRef> {
        let (table, destination) = self.topic.tables.get(id);
        self.event.table = self.batch.table_index(&table);
        self.event.destination = self.batch.name_index(&destination);
        table
    }

    fn finish_keys(&mut self, key: Option<&Key>, table: &Arc<TableRef>) {
        if let Some(key) = key {
            self.finish_key(key, table);
        }
    }

    fn finish_key(&mut self, key: &Key, table: &Arc<TableRef>) {
        self.event.key = match key.image {
            Image::Row(scanned) => {
                let frame = Frame { start: 0, embedded: key.schema };
                let schema =
                    self.topic.key_schemas.get(&frame).and_then(|known| Some((known.id, known.schema.as_ref()?)));
                let shape = self.topic.layouts.shape(scanned, table, schema, self.config);
                shape.map(|shape| row(self.batch, &shape, scanned.first))
            }
            Image::Document(cell) => Some(self.single(SCALAR_KEY, SourceType::Unknown, cell)),
            Image::Missing | Image::Other => None,
        };
    }

    fn image(&mut self, image: Image, name: &str, frame: &Frame, table: &Arc<TableRef>) -> Option<Row> {
        match image {
            Image::Row(scanned) => self.image_row(scanned, name, frame, table),
            Image::Document(cell) => Some(self.single(DOCUMENT, SourceType::MongoDocument, cell)),
            Image::Missing | Image::Other => None,
        }
    }

    fn image_row(&mut self, scanned: Scanned, name: &str, frame: &Frame, table: &Arc<TableRef>) -> Option<Row> {
        let known = self.topic.value_schemas.get(frame);
        let schema = known.and_then(|known| Some((known.id, known.schema.as_ref()?.child(name)?)));
        let shape = self.topic.layouts.shape(scanned, table, schema, self.config)?;
        Some(row(self.batch, &shape, scanned.first))
    }

    /// A row of one cell.
    fn single(&mut self, name: &'static str, ty: SourceType, cell: Cell) -> Row {
        let shape =
            self.topic.single(name, || Shape { columns: vec![Column { name: name.into(), ty, nullable: true }] });
        let index = self.batch.shape_index(&shape);
        self.batch.push_row(index, [cell])
    }
}

fn row(batch: &mut Batch, shape: &Arc<Shape>, first: usize) -> Row {
    Row { shape: batch.shape_index(shape), first: u32::try_from(first).unwrap_or(u32::MAX) }
}
