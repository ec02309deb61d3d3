//! Rows flattened by the transform `ExtractNewRecordState`: the row itself, and what the transform adds to it.
//!
//! A row counts as unwrapped when it carries at least one of the transform's marks: a field such as `__op` or `__deleted`,
//! a header of that name, or an embedded schema called `….Value`. Without any mark a delete could not be told from an
//! insert, and any JSON object would pass for a row; such records are dead letters that say so. Columns of the source
//! whose names are those of marks are taken for marks.

use super::Record;
use super::envelope::op;
use super::source::{Field, Source};
use crate::event::{CellKind, Op};

/// What must be there, for messages.
pub(super) const MARKS: &str = "one of __op, __deleted (set add.fields=op or delete.tombstone.handling.mode=rewrite)";

/// What the transform means by a field (or header).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    Deleted,
    Op,
    /// Time of capture, milliseconds.
    CapturedMs,
    /// Time of capture, microseconds.
    CapturedUs,
    /// A field of the `source` block.
    Source(Field),
    /// Something else of the envelope that is not needed here.
    Other,
}

/// Fields of `source` blocks that `add.fields` may copy.
const SOURCE_FIELDS: [&str; 30] = [
    "version",
    "connector",
    "name",
    "snapshot",
    "db",
    "sequence",
    "schema",
    "table",
    "collection",
    "txId",
    "lsn",
    "xmin",
    "server_id",
    "gtid",
    "file",
    "pos",
    "row",
    "thread",
    "query",
    "ord",
    "lsid",
    "txnNumber",
    "wallTime",
    "origin",
    "origin_lsn",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "scn",
    "commit_scn",
];

impl Meta {
    /// Reads a field name such as `__source_ts_ms`; `None` for a column.
    pub(super) fn of_field(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("__")?;
        if let Some(field) = rest.strip_prefix("source_") {
            return Some(Self::Source(Field::of(field.as_bytes())));
        }
        match rest {
            "deleted" => Some(Self::Deleted),
            "op" => Some(Self::Op),
            "ts_ms" => Some(Self::CapturedMs),
            "ts_us" => Some(Self::CapturedUs),
            "ts_ns" => Some(Self::Other),
            _ if rest.starts_with("transaction_") => Some(Self::Other),
            _ => SOURCE_FIELDS.contains(&rest).then(|| Self::Source(Field::of(rest.as_bytes()))),
        }
    }
}

/// What the marks of a record say.
#[derive(Debug, Default)]
pub(super) struct Marks<'a> {
    pub(super) source: Source<'a>,
    pub(super) marked: bool,
    deleted: Option<bool>,
    op: Option<Op>,
    captured_us: Option<i64>,
    captured_ms: Option<i64>,
}

impl<'a> Marks<'a> {
    /// The marks in the headers, and what the connector's own headers tell of the source.
    pub(super) fn of_headers(record: &Record<'a>) -> Self {
        let mut marks = Self::default();
        for (name, value) in record.headers {
            let Some(value) = value else { continue };
            match *name {
                "__debezium.context.connectorName" => marks.source.id.connector = value,
                "__debezium.context.connectorLogicalName" => marks.source.id.name = value,
                _ => {
                    if let Some(meta) = Meta::of_field(name) {
                        marks.text(meta, unquoted(value));
                    }
                }
            }
        }
        marks
    }

    /// A mark in a field: its kind and its bytes.
    pub(super) fn field(&mut self, meta: Meta, kind: CellKind, bytes: &'a [u8]) {
        match (meta, kind) {
            (Meta::Deleted, CellKind::True | CellKind::False) => {
                self.marked = true;
                self.deleted = Some(kind == CellKind::True);
            }
            (_, CellKind::Text | CellKind::Escaped | CellKind::Number) => self.text(meta, bytes),
            (Meta::Source(Field::Snapshot), CellKind::True) => self.source.snapshot = true,
            _ => {}
        }
    }

    /// A mark as text: headers carry numbers as text too.
    fn text(&mut self, meta: Meta, text: &'a [u8]) {
        let number = || super::source::integer(text);
        match meta {
            Meta::Deleted => {
                self.marked = true;
                self.deleted = Some(text == b"true");
            }
            Meta::Op => {
                self.marked = true;
                self.op = op(text);
            }
            Meta::CapturedMs => self.captured_ms = number(),
            Meta::CapturedUs => self.captured_us = number(),
            Meta::Source(field) => {
                self.source.set_text(field, text);
                self.source.set_number(field, number());
            }
            Meta::Other => {}
        }
    }

    /// The operation. A row that is only known not to be a delete counts as an update: targets apply both as upserts.
    pub(super) fn op(&self) -> Op {
        match self.deleted {
            Some(true) => Op::Delete,
            _ => self.op.unwrap_or(Op::Update),
        }
    }

    pub(super) fn captured_us(&self) -> i64 {
        self.captured_us.or_else(|| self.captured_ms.map(|ms| ms.saturating_mul(1000))).unwrap_or(0)
    }

    /// Takes from the topic's name, `prefix.schema.table`, what the marks leave open.
    pub(super) fn complete(&mut self, topic: &'a str) {
        let id = &mut self.source.id;
        let mut parts = topic.splitn(3, '.');
        let (Some(prefix), Some(owner), Some(table)) = (parts.next(), parts.next(), parts.next()) else {
            if id.table.is_empty() {
                id.table = topic.as_bytes();
            }
            return;
        };
        if id.name.is_empty() {
            id.name = prefix.as_bytes();
        }
        if id.table.is_empty() {
            id.table = table.as_bytes();
        }
        // The middle part is the database where there are no schemas.
        if matches!(id.connector, b"mysql" | b"mariadb" | b"mongodb") {
            if id.db.is_empty() {
                id.db = owner.as_bytes();
            }
        } else if id.schema.is_empty() {
            id.schema = owner.as_bytes();
        }
    }
}

/// A header value without the quotes that a JSON header converter puts around it.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}
