//! Debezium's envelope: `{"before", "after", "source", "op", "ts_ms", …}`, and its kin that share the `source` block.
//!
//! Scans the object in one pass, whatever order its fields come in, and only then says what it is: which of the fields
//! are there decides, not the topic's name.

use super::error::{DecodeError, Part};
use super::json::Cursor;
use super::layout::{Layouts, Scan, Scanned};
use super::source::{self, Source, integer_field};
use super::trail::Trail;
use crate::event::{Cell, CellKind, Op};

/// The fields of an object that may be an envelope.
#[derive(Debug, Default)]
pub(super) struct Top<'a> {
    pub(super) before: Image,
    pub(super) after: Image,
    pub(super) source: Option<Source<'a>>,
    pub(super) op: Option<&'a [u8]>,
    pub(super) ts_ms: Option<i64>,
    pub(super) ts_us: Option<i64>,
    /// MongoDB: what an update changed is told.
    pub(super) has_update_description: bool,
    seen: u16,
}

/// A row image.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Image {
    /// No such field, or null.
    #[default]
    Missing,
    /// An object.
    Row(Scanned),
    /// MongoDB: a document as text.
    Document(Cell),
    /// Neither.
    Other,
}

const BEFORE: u16 = 1;
const AFTER: u16 = 2;
const SOURCE: u16 = 4;
const OP: u16 = 8;
const STATUS: u16 = 16;
const ID: u16 = 32;
const EVENT_COUNT: u16 = 64;
const DDL: u16 = 128;
const TS_MS: u16 = 256;
const MESSAGE: u16 = 512;
const OTHER: u16 = 1024;

/// What a field of the envelope or its kin means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Before,
    After,
    Source,
    Op,
    TsMs,
    TsUs,
    UpdateDescription,
    Status,
    Id,
    EventCount,
    Ddl,
    Message,
    Other,
}

impl Field {
    const fn of(name: &[u8]) -> Self {
        match name {
            b"before" => Self::Before,
            b"after" => Self::After,
            b"source" => Self::Source,
            b"op" => Self::Op,
            b"ts_ms" => Self::TsMs,
            b"ts_us" => Self::TsUs,
            b"updateDescription" => Self::UpdateDescription,
            b"status" => Self::Status,
            b"id" => Self::Id,
            b"event_count" => Self::EventCount,
            b"ddl" | b"tableChanges" => Self::Ddl,
            b"message" => Self::Message,
            _ => Self::Other,
        }
    }
}

/// The order of fields in the last envelope and its source block.
#[derive(Debug)]
pub(super) struct Trails {
    top: Trail<Field>,
    source: Trail<source::Field>,
}

impl Trails {
    pub(super) const fn new() -> Self {
        Self { top: Trail::new(), source: Trail::new() }
    }
}

/// What a [`Top`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Change,
    SchemaChange,
    Transaction,
    /// Nothing but a time.
    Time,
    Unknown,
}

impl<'a> Top<'a> {
    pub(super) fn scan(
        scan: &Scan<'_>,
        cursor: &mut Cursor<'a>,
        layouts: &mut Layouts,
        cells: &mut Vec<Cell>,
        hint: &mut usize,
        trails: &mut Trails,
    ) -> Result<Self, DecodeError> {
        let syntax = DecodeError::syntax(scan.part);
        let mut top = Self::default();
        let inside = Scan { depth: scan.depth + 1, ..*scan };
        let mut more = cursor.open_object().map_err(&syntax)?;
        let mut step = 0;
        while more {
            match trails.top.name(step, cursor, Field::of).map_err(&syntax)? {
                Field::Before => {
                    top.once(BEFORE, "before")?;
                    top.before = image(&inside, cursor, layouts, cells, hint)?;
                }
                Field::After => {
                    top.once(AFTER, "after")?;
                    top.after = image(&inside, cursor, layouts, cells, hint)?;
                }
                Field::Source if cursor.peek() == b'{' => {
                    top.once(SOURCE, "source")?;
                    top.source = Some(Source::scan(cursor, inside.depth, &mut trails.source).map_err(&syntax)?);
                }
                Field::Op => {
                    let raw = cursor.value(inside.depth).map_err(&syntax)?;
                    top.once(OP, "op")?;
                    top.op = (raw.kind == CellKind::Text).then(|| cursor.slice(raw.start, raw.end));
                }
                Field::TsMs => {
                    top.seen |= TS_MS;
                    top.ts_ms = integer_field(cursor, inside.depth).map_err(&syntax)?;
                }
                Field::TsUs => top.ts_us = integer_field(cursor, inside.depth).map_err(&syntax)?,
                Field::UpdateDescription => {
                    let raw = cursor.value(inside.depth).map_err(&syntax)?;
                    top.has_update_description = raw.kind == CellKind::Json;
                }
                other => {
                    top.seen |= match other {
                        Field::Status => STATUS,
                        Field::Id => ID,
                        Field::EventCount => EVENT_COUNT,
                        Field::Ddl => DDL,
                        Field::Message => MESSAGE,
                        _ => OTHER,
                    };
                    cursor.value(inside.depth).map_err(&syntax)?;
                }
            }
            step += 1;
            more = cursor.next_field().map_err(&syntax)?;
        }
        Ok(top)
    }

    fn once(&mut self, field: u16, name: &'static str) -> Result<(), DecodeError> {
        if self.seen & field != 0 {
            return Err(DecodeError::Envelope { field: name, what: "comes twice" });
        }
        self.seen |= field;
        Ok(())
    }

    const fn has(&self, fields: u16) -> bool {
        self.seen & fields == fields
    }

    pub(super) const fn form(&self) -> Form {
        // A logical decoding message has neither image but `message`.
        let images = self.seen & (BEFORE | AFTER | MESSAGE) != 0;
        if self.source.is_some() && self.has(OP) && images {
            Form::Change
        } else if self.source.is_some() && self.has(DDL) {
            Form::SchemaChange
        } else if self.has(STATUS | ID | EVENT_COUNT) {
            Form::Transaction
        } else if self.seen == TS_MS {
            Form::Time
        } else {
            Form::Unknown
        }
    }

    /// The operation.
    pub(super) fn op(&self) -> Result<Op, DecodeError> {
        self.op.and_then(op).ok_or(DecodeError::Op)
    }

    /// When the connector captured it, microseconds.
    pub(super) fn captured_us(&self) -> i64 {
        self.ts_us.or_else(|| self.ts_ms.map(|ms| ms.saturating_mul(1000))).unwrap_or(0)
    }
}

/// The operation for a letter.
pub(super) const fn op(letter: &[u8]) -> Option<Op> {
    Some(match letter {
        b"c" => Op::Create,
        b"u" => Op::Update,
        b"d" => Op::Delete,
        b"r" => Op::Read,
        b"t" => Op::Truncate,
        b"m" => Op::Message,
        _ => return None,
    })
}

#[inline]
fn image(
    scan: &Scan<'_>,
    cursor: &mut Cursor<'_>,
    layouts: &mut Layouts,
    cells: &mut Vec<Cell>,
    hint: &mut usize,
) -> Result<Image, DecodeError> {
    if cursor.peek() == b'{' {
        return layouts.scan(scan, cursor, cells, hint).map(Image::Row);
    }
    let raw = cursor.value(scan.depth).map_err(DecodeError::syntax(Part::Value))?;
    Ok(match raw.kind {
        CellKind::Null => Image::Missing,
        CellKind::Text | CellKind::Escaped => Image::Document(scan.cell(cursor, raw)),
        _ => Image::Other,
    })
}
