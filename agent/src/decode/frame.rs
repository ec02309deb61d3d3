//! Where the payload of a key or value begins: at once, or behind an embedded schema.
//!
//! `JsonConverter` with `schemas.enable=true` writes `{"schema":…,"payload":…}` in this order. Everything up to the
//! payload is the same bytes for every record of a table, so it is compared with what was seen before and neither
//! scanned nor checked again. Checks the rest to be UTF-8: the one place that does.

use super::error::{DecodeError, Part};
use super::json::Cursor;
use super::schema::ConnectSchema;
use crate::event::CellKind;

/// Schemas remembered for each part of a topic; a topic fed by more tables than this still works, more slowly.
const MAX_SCHEMAS: usize = 256;

/// Bytes of schemas remembered for each part of a topic; one is of some kilobytes.
const MAX_BYTES: usize = 16 << 20;

/// An embedded schema that was seen.
#[derive(Debug)]
pub(super) struct Embedded {
    /// `{"schema":…,"payload":` as on the wire.
    prefix: Box<[u8]>,
    /// Number that names it among all a decoder has seen; never 0.
    pub(super) id: u32,
    /// `None` for `"schema":null`.
    pub(super) schema: Option<ConnectSchema>,
}

/// The schemas seen in the keys, or in the values, of a topic.
#[derive(Debug)]
pub(super) struct Schemas {
    known: Vec<Embedded>,
    last: usize,
    next_id: u32,
    bytes: usize,
}

/// How a key or value is wrapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// First byte of the payload (or of white space before it).
    pub(super) start: usize,
    /// Index of the schema; `None` without one.
    pub(super) embedded: Option<usize>,
}

impl Frame {
    /// Brackets that are open at the payload.
    pub(super) fn depth(&self) -> u32 {
        u32::from(self.embedded.is_some())
    }

    /// Checks what follows the payload.
    pub(super) fn close(&self, cursor: &mut Cursor<'_>, part: Part) -> Result<(), DecodeError> {
        if self.embedded.is_some() && cursor.next_field().map_err(DecodeError::syntax(part))? {
            return Err(DecodeError::Schema { part, what: "a field follows `payload`" });
        }
        cursor.finish().map_err(DecodeError::syntax(part))
    }
}

impl Schemas {
    /// No schemas yet; keys and values of a topic share layouts, so their numbers must differ.
    pub(super) const fn new(part: Part) -> Self {
        let next_id = match part {
            Part::Key => 1,
            Part::Value => 2,
        };
        Self { known: Vec::new(), last: 0, next_id, bytes: 0 }
    }

    pub(super) fn get(&self, frame: &Frame) -> Option<&Embedded> {
        self.known.get(frame.embedded?)
    }

    /// Finds the payload of `bytes`.
    pub(super) fn frame(&mut self, bytes: &[u8], part: Part) -> Result<Frame, DecodeError> {
        if let Some(index) = self.find(bytes) {
            self.last = index;
            let start = self.known.get(index).map_or(0, |known| known.prefix.len());
            utf8(bytes, start, part)?;
            return Ok(Frame { start, embedded: Some(index) });
        }
        utf8(bytes, 0, part)?;
        let bare = Frame { start: 0, embedded: None };
        let Some((schema, start)) = split(bytes) else { return Ok(bare) };
        let schema = match schema {
            b"null" => None,
            _ => match serde_json::from_slice::<ConnectSchema>(schema) {
                Ok(schema) => Some(schema),
                Err(_) => return Err(DecodeError::Schema { part, what: "it is not one of Kafka Connect" }),
            },
        };
        self.bytes += start;
        if self.known.len() >= MAX_SCHEMAS || self.bytes > MAX_BYTES {
            self.known.clear();
            self.bytes = start;
        }
        let prefix = bytes.get(..start).unwrap_or_default().into();
        self.known.push(Embedded { prefix, id: self.next_id, schema });
        self.next_id = self.next_id.wrapping_add(2);
        self.last = self.known.len() - 1;
        Ok(Frame { start, embedded: Some(self.last) })
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        if self.known.get(self.last).is_some_and(|known| bytes.starts_with(&known.prefix)) {
            return Some(self.last);
        }
        self.known.iter().position(|known| bytes.starts_with(&known.prefix))
    }
}

fn utf8(bytes: &[u8], start: usize, part: Part) -> Result<(), DecodeError> {
    match std::str::from_utf8(bytes.get(start..).unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(error) => Err(DecodeError::Utf8 { part, at: start + error.valid_up_to() }),
    }
}

/// The bytes of the schema and the start of the payload, when this is a wrapped record. An object whose field `schema` is
/// no schema is a row that happens to have such a column.
fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut cursor = Cursor::new(bytes, 0);
    cursor.space();
    if !cursor.open_object().ok()? {
        return None;
    }
    let name = cursor.name().ok()?;
    if cursor.slice(name.start, name.end) != b"schema" {
        return None;
    }
    let schema = cursor.value(1).ok()?;
    if !matches!(schema.kind, CellKind::Json | CellKind::Null) || !cursor.next_field().ok()? {
        return None;
    }
    let name = cursor.name().ok()?;
    (cursor.slice(name.start, name.end) == b"payload").then(|| (cursor.slice(schema.start, schema.end), cursor.at))
}
