//! Rows to documents and statements: the `_id` of a key, the fields of a row, the update or delete that brings them there.

use std::fmt::Write as _;
use std::ops::Range;

use bson::{RawBsonRef, RawDocument};

use super::Bad;
use super::json::Json;
use super::own_id;
use super::plan::{Field, Plan, VERSION_FIELD};
use super::value::{FIELD_DEPTH, Loss, cell};
use super::writer::{Tag, Writer};
use crate::batch::Batch;
use crate::config::raw::CompositeId;
use crate::event::{Cell, Row};
use crate::target::RowVersion;
use crate::target::mongodb::config::Settings;

/// Largest document the server stores (`maxBsonObjectSize` of every version so far).
pub(crate) const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// What encoding one row needs to know.
pub(crate) struct Rows<'a> {
    pub batch: &'a Batch,
    pub plan: &'a Plan,
    pub settings: &'a Settings,
}

/// What came up while a row was encoded.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Losses, by the column's index.
    pub losses: Vec<(usize, Loss)>,
    /// The column that is being encoded.
    pub column: Option<usize>,
    /// A document that was spread has names that begin with `$`.
    dollar: bool,
}

/// A version as 28 bytes that sort as versions do: big-endian, signed numbers with their sign bit turned. MongoDB compares
/// binaries of one length and subtype byte by byte.
#[must_use]
pub(crate) fn version_bytes(version: &RowVersion) -> [u8; 28] {
    let mut bytes = [0; 28];
    let partition = version.partition.cast_unsigned() ^ (1 << 31);
    let offset = version.offset.cast_unsigned() ^ (1 << 63);
    let parts = version.position.major.to_be_bytes().into_iter();
    let parts = parts.chain(version.position.minor.to_be_bytes());
    let parts = parts.chain(partition.to_be_bytes()).chain(offset.to_be_bytes());
    for (slot, byte) in bytes.iter_mut().zip(parts) {
        *slot = byte;
    }
    bytes
}

impl Rows<'_> {
    /// The document that a row of MongoDB is.
    fn spread_text(&self, row: Row) -> Option<std::borrow::Cow<'_, str>> {
        let at = self.plan.fields.iter().position(Option::is_some)?;
        self.batch.text(*self.batch.row(row).get(at)?)
    }

    /// Writes the key as the element `name`.
    pub(crate) fn key(&self, name: &[u8], first: u32, out: &mut Writer) -> Result<(), Bad> {
        let cells = self.batch.cells.get(first as usize..first as usize + self.plan.key.len()).ok_or(Bad::NoKey)?;
        let slot = out.element(name);
        let tag = match (self.plan.key.as_slice(), cells) {
            ([], _) => return Err(Bad::NoKey),
            ([field], [value]) => self.key_part(field, *value, out)?,
            (fields, values) => match self.settings.composite_id {
                CompositeId::Document => {
                    let open = out.open();
                    for (field, value) in fields.iter().zip(values) {
                        let slot = out.element(field.name.as_bytes());
                        let tag = self.key_part(field, *value, out)?;
                        out.set(slot, tag);
                    }
                    out.close(open);
                    Tag::Document
                }
                CompositeId::Joined => self.joined(fields, values, out)?,
            },
        };
        out.set(slot, tag);
        Ok(())
    }

    fn key_part(&self, field: &Field, value: Cell, out: &mut Writer) -> Result<Tag, Bad> {
        let start = out.len();
        let odd = self.settings.odd_field_names;
        let (tag, _) = cell(self.batch, value, &field.ty, odd, FIELD_DEPTH - 1, out)?.ok_or(Bad::NoKey)?;
        let fit = match tag {
            Tag::Array | Tag::Regex => false,
            // An object as key would otherwise be read as an operator (`{"$gt": …}`) by the server.
            Tag::Document => RawDocument::from_bytes(out.since(start)).is_ok_and(|document| !holds_dollar(document)),
            _ => true,
        };
        if fit { Ok(tag) } else { Err(Bad::KeyType) }
    }

    /// `a:b`, with `%` and `:` of the values percent-encoded, and `%null` for null, so that different keys stay different.
    fn joined(&self, fields: &[Field], values: &[Cell], out: &mut Writer) -> Result<Tag, Bad> {
        let mut joined = String::new();
        for (at, (field, value)) in fields.iter().zip(values).enumerate() {
            if at > 0 {
                joined.push(':');
            }
            let mut scratch = Writer::default();
            let tag = self.key_part(field, *value, &mut scratch)?;
            push_text(tag, &scratch.into_bytes(), &mut joined)?;
        }
        Ok(out.string(&joined))
    }

    /// Writes the fields of a row; columns that are absent or unavailable are left out.
    pub(crate) fn fields(&self, row: Row, out: &mut Writer, notes: &mut Notes) -> Result<(), Bad> {
        let odd = self.settings.odd_field_names;
        for (at, (value, field)) in self.batch.row(row).iter().zip(&self.plan.fields).enumerate() {
            let Some(field) = field else { continue };
            notes.column = Some(at);
            let loss = if self.plan.spread {
                let Some(text) = self.batch.text(*value) else { return Err(Bad::Json) };
                let (loss, dollar) = Json::new(&text, odd).extended().spread(FIELD_DEPTH, out)?;
                notes.dollar |= dollar;
                loss
            } else {
                let start = out.len();
                let slot = out.element(field.name.as_bytes());
                let Some((tag, loss)) = cell(self.batch, *value, &field.ty, odd, FIELD_DEPTH, out)? else {
                    out.truncate(start);
                    continue;
                };
                out.set(slot, tag);
                loss
            };
            notes.losses.extend(loss.map(|loss| (at, loss)));
        }
        notes.column = None;
        Ok(())
    }

    /// A whole document.
    fn document(
        &self,
        id: Id<'_>,
        row: Row,
        version: Option<&[u8; 28]>,
        out: &mut Writer,
        notes: &mut Notes,
    ) -> Result<(), Bad> {
        let open = out.open();
        self.document_fields(id, row, version, out, notes)?;
        out.close(open);
        Ok(())
    }

    /// What is in a document: `_id`, the fields, the version.
    pub(crate) fn document_fields(
        &self,
        id: Id<'_>,
        row: Row,
        version: Option<&[u8; 28]>,
        out: &mut Writer,
        notes: &mut Notes,
    ) -> Result<(), Bad> {
        let start = out.len();
        match id {
            Id::Copy(range) => out.repeat(range),
            Id::Text(text) => {
                out.tagged(Tag::String, b"_id");
                out.string(text);
            }
        }
        self.fields(row, out, notes)?;
        if let Some(version) = version {
            write_version(version, out);
        }
        // Five more bytes: the length in front and the closing NUL.
        if out.len() - start + 5 > MAX_DOCUMENT { Err(Bad::TooLarge) } else { Ok(()) }
    }

    /// `{q, u: <document>, upsert: true}`.
    pub(crate) fn upsert(
        &self,
        key: u32,
        row: Row,
        version: Option<&[u8; 28]>,
        out: &mut Writer,
        notes: &mut Notes,
    ) -> Result<(), Bad> {
        let id = self.query(key, Some(row), version, out)?;
        let start = out.len();
        notes.dollar = self.plan.odd && self.plan.fields.iter().flatten().any(|field| field.name.starts_with('$'));
        if !notes.dollar {
            out.tagged(Tag::Document, b"u");
            self.document(Id::Copy(id.clone()), row, version, out, notes)?;
        }
        if notes.dollar {
            // A replacement may not hold `$` names; the same document as a literal in a pipeline may.
            out.truncate(start);
            notes.losses.clear();
            let stages = out.array(b"u");
            let stage = out.document(b"0");
            let replace = out.document(b"$replaceWith");
            out.tagged(Tag::Document, b"$literal");
            self.document(Id::Copy(id), row, version, out, notes)?;
            out.close(replace);
            out.close(stage);
            out.close(stages);
        }
        out.tagged(Tag::Boolean, b"upsert");
        out.boolean(true);
        Ok(())
    }

    /// `{q, u: {$set: …}, upsert: true}`, or the same as a pipeline when a name cannot be a path.
    pub(crate) fn patch(
        &self,
        key: u32,
        row: Row,
        version: Option<&[u8; 28]>,
        out: &mut Writer,
        notes: &mut Notes,
    ) -> Result<(), Bad> {
        self.query(key, None, version, out)?;
        let start = out.len();
        if self.plan.odd || self.plan.spread {
            // `$set` reads names as paths; a literal does not.
            let stages = out.array(b"u");
            let stage = out.document(b"0");
            let replace = out.document(b"$replaceWith");
            let merged = out.array(b"$mergeObjects");
            out.tagged(Tag::String, b"0");
            out.string("$$ROOT");
            let literal = out.document(b"1");
            let fields = out.document(b"$literal");
            self.fields(row, out, notes)?;
            if let Some(version) = version {
                write_version(version, out);
            }
            for open in [fields, literal, merged, replace, stage, stages] {
                out.close(open);
            }
        } else {
            let update = out.document(b"u");
            let set = out.document(b"$set");
            self.fields(row, out, notes)?;
            if let Some(version) = version {
                write_version(version, out);
            }
            out.close(set);
            out.close(update);
        }
        if out.len() - start > MAX_DOCUMENT {
            return Err(Bad::TooLarge);
        }
        out.tagged(Tag::Boolean, b"upsert");
        out.boolean(true);
        Ok(())
    }

    /// `{q, limit: 1}`.
    pub(crate) fn delete(&self, key: u32, version: Option<&[u8; 28]>, out: &mut Writer) -> Result<(), Bad> {
        self.query(key, None, version, out)?;
        out.tagged(Tag::Int32, b"limit");
        out.int32(1);
        Ok(())
    }

    /// `q: {_id}`, with the guard when there is a version. A document without a version (written by somebody else, or in
    /// exactly_once mode) counts as older, hence `$not $gte` rather than `$lt`.
    fn query(
        &self,
        key: u32,
        row: Option<Row>,
        version: Option<&[u8; 28]>,
        out: &mut Writer,
    ) -> Result<Range<usize>, Bad> {
        let query = out.document(b"q");
        let start = out.len();
        self.key(b"_id", key, out)?;
        if let Some(document) = row.filter(|_| self.plan.spread).and_then(|row| self.spread_text(row)) {
            own_id::restore(&document, self.settings.odd_field_names, start, out);
        }
        let id = start..out.len();
        if let Some(version) = version {
            write_guard(version, out);
        }
        out.close(query);
        Ok(id)
    }
}

/// What a document's `_id` is taken from.
pub(crate) enum Id<'a> {
    /// An element in the buffer.
    Copy(Range<usize>),
    /// A text.
    Text(&'a str),
}

/// `_whimbrel: {v: <version>}`.
pub(crate) fn write_version(version: &[u8; 28], out: &mut Writer) {
    let field = out.document(VERSION_FIELD.as_bytes());
    out.tagged(Tag::Binary, b"v");
    out.binary(0, version);
    out.close(field);
}

/// `"_whimbrel.v": {$not: {$gte: <version>}}`.
pub(crate) fn write_guard(version: &[u8; 28], out: &mut Writer) {
    let guard = out.document(b"_whimbrel.v");
    let not = out.document(b"$not");
    out.tagged(Tag::Binary, b"$gte");
    out.binary(0, version);
    out.close(not);
    out.close(guard);
}

fn holds_dollar(document: &RawDocument) -> bool {
    document.iter().any(|element| match element {
        Ok((name, value)) => {
            name.as_str().starts_with('$')
                || match value {
                    RawBsonRef::Document(inner) => holds_dollar(inner),
                    _ => false,
                }
        }
        Err(_) => true,
    })
}

fn push_text(tag: Tag, payload: &[u8], joined: &mut String) -> Result<(), Bad> {
    // The value as a document of one field, so that the bson crate reads and prints it.
    let mut document = Writer::with_capacity(payload.len() + 8);
    let open = document.open();
    document.tagged(tag, b"");
    document.raw(payload);
    document.close(open);
    let bytes = document.into_bytes();
    let value = RawDocument::from_bytes(&bytes).ok().and_then(|d| d.get("").ok().flatten()).ok_or(Bad::KeyType)?;
    let text = match value {
        RawBsonRef::Null => {
            joined.push_str("%null");
            return Ok(());
        }
        RawBsonRef::String(text) => text.to_owned(),
        RawBsonRef::Boolean(value) => value.to_string(),
        RawBsonRef::Int32(value) => value.to_string(),
        RawBsonRef::Int64(value) => value.to_string(),
        RawBsonRef::Double(value) => value.to_string(),
        RawBsonRef::Decimal128(value) => value.to_string(),
        RawBsonRef::ObjectId(value) => value.to_hex(),
        RawBsonRef::DateTime(value) => {
            value.try_to_rfc3339_string().unwrap_or_else(|_| value.timestamp_millis().to_string())
        }
        RawBsonRef::Binary(value) => value.bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        _ => return Err(Bad::KeyType),
    };
    for c in text.chars() {
        match c {
            '%' => joined.push_str("%25"),
            ':' => joined.push_str("%3A"),
            c => joined.push(c),
        }
    }
    Ok(())
}
