//! Events that travel together, and the arena their bytes live in.
//!
//! A [`Batch`] is filled by `decode`, changed by `transform`, planned by `pipeline` and read by a `target`. It copies
//! each payload once and hands out spans; a row is a run of cells, so that one column of all events can be read without
//! touching the rest (the columnar view plugins get). No I/O, no clock.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{Cell, CellKind, Event, Failure, Reason, Row, Shape, Span, TableRef, Verdict};

/// Which row image of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The record key.
    Key,
    /// Before the change.
    Before,
    /// After the change.
    After,
}

/// Events that travel together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The arena: payloads as received, and values that plugins or the planner wrote.
    pub data: Vec<u8>,
    /// Cells of all rows.
    pub cells: Vec<Cell>,
    /// Events in the order they were delivered.
    pub events: Vec<Event>,
    /// Shapes of the rows in this batch.
    pub shapes: Vec<Arc<Shape>>,
    /// Source tables in this batch.
    pub tables: Vec<Arc<TableRef>>,
    /// Destination names in this batch.
    pub names: Vec<Arc<str>>,
    /// Topics in this batch.
    pub topics: Vec<Arc<str>>,
    /// What went wrong with the events whose verdict is [`Verdict::Fail`].
    pub failures: Vec<Failure>,
}

impl Batch {
    /// Empties the batch but keeps its memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.cells.clear();
        self.events.clear();
        self.shapes.clear();
        self.tables.clear();
        self.names.clear();
        self.topics.clear();
        self.failures.clear();
    }

    /// Copies bytes into the arena.
    ///
    /// # Panics
    /// Never in practice: batches are bounded far below 4 GiB by configuration; past that the span is empty.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let (Ok(start), Ok(len)) = (u32::try_from(self.data.len()), u32::try_from(bytes.len())) else {
            return Span::default();
        };
        self.data.extend_from_slice(bytes);
        Span { start, len }
    }

    /// The bytes of a span; empty when the span is not of this batch.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.data.get(span.range()).unwrap_or_default()
    }

    /// The span as text; empty when it is not UTF-8 (decode checks payloads once, so cells always are).
    #[must_use]
    pub fn str(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// The cells of a row, in the order of its shape's columns.
    #[must_use]
    pub fn row(&self, row: Row) -> &[Cell] {
        let width = self.shapes.get(row.shape as usize).map_or(0, |s| s.columns.len());
        let first = row.first as usize;
        self.cells.get(first..first + width).unwrap_or_default()
    }

    /// The shape of a row.
    #[must_use]
    pub fn shape(&self, row: Row) -> Option<&Arc<Shape>> {
        self.shapes.get(row.shape as usize)
    }

    /// The row image of an event.
    #[must_use]
    pub fn image(&self, event: &Event, image: Image) -> Option<Row> {
        match image {
            Image::Key => event.key,
            Image::Before => event.before,
            Image::After => event.after,
        }
    }

    /// Appends a row of cells.
    pub fn push_row(&mut self, shape: u32, cells: impl IntoIterator<Item = Cell>) -> Row {
        let first = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        self.cells.extend(cells);
        Row { shape, first }
    }

    /// Index of a shape in this batch, added when new. Cheap when it is the one used last.
    pub fn shape_index(&mut self, shape: &Arc<Shape>) -> u32 {
        intern(&mut self.shapes, shape, Arc::ptr_eq)
    }

    /// Index of a source table in this batch, added when new.
    pub fn table_index(&mut self, table: &Arc<TableRef>) -> u32 {
        intern(&mut self.tables, table, |a, b| Arc::ptr_eq(a, b) || a == b)
    }

    /// Index of a destination name in this batch, added when new.
    pub fn name_index(&mut self, name: &Arc<str>) -> u32 {
        intern(&mut self.names, name, |a, b| Arc::ptr_eq(a, b) || a == b)
    }

    /// Index of a topic in this batch, added when new.
    pub fn topic_index(&mut self, topic: &Arc<str>) -> u32 {
        intern(&mut self.topics, topic, |a, b| Arc::ptr_eq(a, b) || a == b)
    }

    /// The topic's name of an event.
    #[must_use]
    pub fn topic(&self, event: &Event) -> &str {
        self.topics.get(event.origin.topic as usize).map_or("", |t| t)
    }

    /// The event's destination name.
    #[must_use]
    pub fn destination(&self, event: &Event) -> &str {
        self.names.get(event.destination as usize).map_or("", |t| t)
    }

    /// The event's source table.
    #[must_use]
    pub fn table(&self, event: &Event) -> Option<&Arc<TableRef>> {
        self.tables.get(event.table as usize)
    }

    /// Marks an event as failed. The first failure stands.
    pub fn fail(&mut self, index: usize, reason: Reason, message: impl Into<String>) {
        let at = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if let Some(event) = self.events.get_mut(index)
            && !matches!(event.verdict, Verdict::Fail(_))
        {
            event.verdict = Verdict::Fail(at);
            self.failures.push(Failure { reason, message: message.into() });
        }
    }

    /// Why an event failed, if it did.
    #[must_use]
    pub fn failure(&self, event: &Event) -> Option<&Failure> {
        match event.verdict {
            Verdict::Fail(at) => self.failures.get(at as usize),
            Verdict::Keep | Verdict::Drop => None,
        }
    }

    /// The value of a text-like cell, unescaped; numbers and JSON come as written; `None` for null, absent, unavailable.
    #[must_use]
    pub fn text(&self, cell: Cell) -> Option<Cow<'_, str>> {
        match cell.kind {
            CellKind::Absent | CellKind::Unavailable | CellKind::Null => None,
            CellKind::False => Some(Cow::Borrowed("false")),
            CellKind::True => Some(Cow::Borrowed("true")),
            CellKind::Number | CellKind::Text | CellKind::Json => Some(Cow::Borrowed(self.str(cell.span))),
            CellKind::Escaped => {
                let mut out = String::with_capacity(cell.span.len as usize);
                unescape(self.bytes(cell.span), &mut out);
                Some(Cow::Owned(out))
            }
        }
    }

    /// Appends the cell as JSON.
    pub fn write_json(&self, cell: Cell, out: &mut Vec<u8>) {
        match cell.kind {
            CellKind::Absent | CellKind::Unavailable | CellKind::Null => out.extend_from_slice(b"null"),
            CellKind::False => out.extend_from_slice(b"false"),
            CellKind::True => out.extend_from_slice(b"true"),
            CellKind::Number | CellKind::Json => out.extend_from_slice(self.bytes(cell.span)),
            CellKind::Escaped => {
                out.push(b'"');
                out.extend_from_slice(self.bytes(cell.span));
                out.push(b'"');
            }
            CellKind::Text => write_json_string(self.bytes(cell.span), out),
        }
    }

    /// Writes a text value into a cell of a row. Does nothing when the row has no such column.
    pub fn set_text(&mut self, row: Row, column: usize, value: &str) {
        let span = self.push_bytes(value.as_bytes());
        self.set_cell(row, column, Cell { span, kind: CellKind::Text });
    }

    /// Replaces a cell of a row. Does nothing when the row has no such column.
    pub fn set_cell(&mut self, row: Row, column: usize, cell: Cell) {
        let width = self.shapes.get(row.shape as usize).map_or(0, |s| s.columns.len());
        if column < width
            && let Some(slot) = self.cells.get_mut(row.first as usize + column)
        {
            *slot = cell;
        }
    }

    /// Headers of an event: name and value, in order.
    pub fn headers(&self, event: &Event) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        Headers { rest: self.bytes(event.raw_headers) }
    }

    /// Packs headers into the arena: per header `u32` name length, name, `i32` value length (-1: null), value;
    /// little-endian.
    pub fn push_headers<'a>(&mut self, headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Span {
        let start = self.data.len();
        for (name, value) in headers {
            self.data.extend_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_le_bytes());
            self.data.extend_from_slice(name.as_bytes());
            let len = value.map_or(-1, |v| i32::try_from(v.len()).unwrap_or(0));
            self.data.extend_from_slice(&len.to_le_bytes());
            self.data.extend_from_slice(value.unwrap_or_default());
        }
        match (u32::try_from(start), u32::try_from(self.data.len() - start)) {
            (Ok(start), Ok(len)) => Span { start, len },
            _ => Span::default(),
        }
    }
}

fn intern<T: ?Sized>(all: &mut Vec<Arc<T>>, item: &Arc<T>, same: impl Fn(&Arc<T>, &Arc<T>) -> bool) -> u32 {
    // The newest is looked at first: records of one table come in runs.
    let found = all.iter().rposition(|known| same(known, item)).unwrap_or_else(|| {
        all.push(Arc::clone(item));
        all.len() - 1
    });
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Reads headers packed by [`Batch::push_headers`].
pub fn unpack_headers(packed: &[u8]) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
    Headers { rest: packed }
}

struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = i32::from_le_bytes(*len);
        let (value, rest) = match usize::try_from(len) {
            Ok(len) => {
                let (value, rest) = rest.split_at_checked(len)?;
                (Some(value), rest)
            }
            Err(_) => (None, rest),
        };
        self.rest = rest;
        Some((std::str::from_utf8(name).unwrap_or_default(), value))
    }
}

/// Appends `value` as a JSON string with quotes (RFC 8259, section 7). `value` must be UTF-8.
pub fn write_json_string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = value;
    loop {
        let (clean, tail) = rest.split_at_checked(plain(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(clean);
        let Some((byte, tail)) = tail.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = tail;
    }
    out.push(b'"');
}

/// How many bytes at the beginning need no escape in a JSON string; eight at a time, since nearly all need none.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        // High bits: a control character, a quote, a backslash. A borrow may mark bytes behind the first one wrongly, so
        // only the lowest counts.
        let found = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1);
        let found = found & (ONES << 7);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(rest.len())
}

/// Undoes JSON escapes (RFC 8259, section 7) of the inside of a string that decode has already found well-formed.
/// A lone surrogate becomes U+FFFD.
pub fn unescape(escaped: &[u8], out: &mut String) {
    let text = std::str::from_utf8(escaped).unwrap_or_default();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (clean, tail) = rest.split_at(at);
        out.push_str(clean);
        let mut chars = tail.chars();
        chars.next();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let unit = hex4(chars.as_str());
                chars = chars.as_str().get(4..).unwrap_or_default().chars();
                out.push(match unit {
                    Some(high @ 0xD800..=0xDBFF) => {
                        let low = chars.as_str().strip_prefix("\\u").and_then(hex4);
                        match low {
                            Some(low @ 0xDC00..=0xDFFF) => {
                                chars = chars.as_str().get(6..).unwrap_or_default().chars();
                                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).unwrap_or('\u{fffd}')
                            }
                            _ => '\u{fffd}',
                        }
                    }
                    Some(unit) => char::from_u32(unit).unwrap_or('\u{fffd}'),
                    None => '\u{fffd}',
                });
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

fn hex4(text: &str) -> Option<u32> {
    text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_survive_escaping_and_unescaping() {
        for case in ["", "plain", "q\"b\\s/", "tab\tnl\ncr\r\u{1}\u{1f}", "Übermaß 漢字 🦀", "\u{7f}"] {
            let mut json = Vec::new();
            write_json_string(case.as_bytes(), &mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), case);
            let mut back = String::new();
            unescape(&json[1..json.len() - 1], &mut back);
            assert_eq!(back, case);
        }
        let mut back = String::new();
        unescape(br"\ud83e\udd80 \/ \b\f \ud800x \udc00", &mut back);
        assert_eq!(back, "🦀 / \u{8}\u{c} \u{fffd}x \u{fffd}");
    }

    #[test]
    fn the_bytes_that_need_an_escape_are_found_wherever_they_stand() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'!'; length];
                    bytes[at] = byte;
                    let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(plain(&bytes), if special { at } else { length }, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn headers_come_back_in_order_with_nulls() {
        let mut batch = Batch::default();
        let span = batch.push_headers([("a", Some(&b"1"[..])), ("b", None), ("", Some(&b""[..]))]);
        let all: Vec<_> = Headers { rest: batch.bytes(span) }.collect();
        assert_eq!(all, [("a", Some(&b"1"[..])), ("b", None), ("", Some(&b""[..]))]);
    }
}
