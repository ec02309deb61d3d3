//! The `source` block of an envelope: which table, when, and where in the source's log.

use super::json::{Cursor, Syntax};
use super::trail::Trail;
use crate::event::{CellKind, SourcePosition};

/// The fields of a `source` block that matter here. Texts are as on the wire, escapes and all.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) id: SourceId<'a>,
    ts_ms: Option<i64>,
    ts_us: Option<i64>,
    pub(super) snapshot: bool,
    lsn: Option<i64>,
    file: &'a [u8],
    pos: Option<i64>,
    ord: Option<i64>,
}

/// What tells one table from another.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceId<'a> {
    pub(super) connector: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) db: &'a [u8],
    pub(super) schema: &'a [u8],
    pub(super) table: &'a [u8],
}

/// What a field of the block means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Connector,
    Name,
    Db,
    Schema,
    Table,
    Snapshot,
    File,
    TsMs,
    TsUs,
    Lsn,
    Pos,
    Ord,
    Other,
}

impl Field {
    pub(super) const fn of(name: &[u8]) -> Self {
        match name {
            b"connector" => Self::Connector,
            b"name" => Self::Name,
            b"db" => Self::Db,
            b"schema" => Self::Schema,
            b"table" | b"collection" => Self::Table,
            b"snapshot" => Self::Snapshot,
            b"file" => Self::File,
            b"ts_ms" => Self::TsMs,
            b"ts_us" => Self::TsUs,
            b"lsn" => Self::Lsn,
            b"pos" => Self::Pos,
            b"ord" => Self::Ord,
            _ => Self::Other,
        }
    }
}

impl<'a> Source<'a> {
    /// Scans the object at the cursor.
    pub(super) fn scan(cursor: &mut Cursor<'a>, depth: u32, trail: &mut Trail<Field>) -> Result<Self, Syntax> {
        let mut source = Self::default();
        let mut more = cursor.open_object()?;
        let mut step = 0;
        while more {
            let field = trail.name(step, cursor, Field::of)?;
            let raw = cursor.value(depth + 1)?;
            if field != Field::Other {
                let bytes = cursor.slice(raw.start, raw.end);
                match raw.kind {
                    CellKind::Text | CellKind::Escaped => source.set_text(field, bytes),
                    CellKind::Number => source.set_number(field, integer(bytes)),
                    CellKind::True if field == Field::Snapshot => source.snapshot = true,
                    _ => {}
                }
            }
            more = cursor.next_field()?;
            step += 1;
        }
        Ok(source)
    }

    /// Takes note of a text; also of those the unwrap transform copies from here.
    #[inline]
    pub(super) fn set_text(&mut self, field: Field, text: &'a [u8]) {
        match field {
            Field::Connector => self.id.connector = text,
            Field::Name => self.id.name = text,
            Field::Db => self.id.db = text,
            Field::Schema => self.id.schema = text,
            Field::Table => self.id.table = text,
            // "true", "first", "last", "first_in_data_collection", "incremental", …
            Field::Snapshot => self.snapshot = text != b"false",
            Field::File => self.file = text,
            _ => {}
        }
    }

    /// Takes note of a number.
    #[inline]
    pub(super) fn set_number(&mut self, field: Field, number: Option<i64>) {
        match field {
            Field::TsMs => self.ts_ms = number,
            Field::TsUs => self.ts_us = number,
            Field::Lsn => self.lsn = number,
            Field::Pos => self.pos = number,
            Field::Ord => self.ord = number,
            _ => {}
        }
    }

    /// Commit time, microseconds; 0 when unknown.
    pub(super) fn time_us(&self) -> i64 {
        self.ts_us.or_else(|| self.ts_ms.map(|ms| ms.saturating_mul(1000))).unwrap_or(0)
    }

    /// The position, by the connector's own order.
    pub(super) fn position(&self) -> SourcePosition {
        let natural = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        match self.id.connector {
            b"postgresql" => SourcePosition { major: natural(self.lsn), minor: 0 },
            b"mysql" | b"mariadb" => SourcePosition { major: file_number(self.file), minor: natural(self.pos) },
            b"mongodb" => {
                SourcePosition { major: natural(Some(self.time_us().div_euclid(1_000_000))), minor: natural(self.ord) }
            }
            _ => SourcePosition::default(),
        }
    }
}

/// `mysql-bin.000003` is 3.
fn file_number(file: &[u8]) -> u64 {
    let digits = file.iter().rposition(|byte| *byte == b'.').and_then(|dot| file.get(dot + 1..)).unwrap_or_default();
    integer(digits).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// A JSON number that is a whole one and fits. `str::parse` by hand: it would check for UTF-8 and for a plus sign.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Counts down: there is one negative number more than positive ones.
        number = number.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}

/// A field whose value is a whole number, `None` when it is null or something else.
pub(super) fn integer_field(cursor: &mut Cursor<'_>, depth: u32) -> Result<Option<i64>, Syntax> {
    let raw = cursor.value(depth)?;
    Ok(if raw.kind == CellKind::Number { integer(cursor.slice(raw.start, raw.end)) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(json: &str) -> (u64, u64) {
        let mut cursor = Cursor::new(json.as_bytes(), 0);
        let position = Source::scan(&mut cursor, 0, &mut Trail::new()).unwrap().position();
        (position.major, position.minor)
    }

    #[test]
    fn positions_follow_the_connector() {
        for (json, expect) in [
            (r#"{"connector":"postgresql","lsn":22406936}"#, (22_406_936, 0)),
            (r#"{"connector":"postgresql","lsn":null}"#, (0, 0)),
            (r#"{"connector":"mysql","file":"mysql-bin.000003","pos":154}"#, (3, 154)),
            (r#"{"connector":"mariadb","file":"bin.2000001","pos":4}"#, (2_000_001, 4)),
            (r#"{"connector":"mysql","file":"","pos":4}"#, (0, 4)),
            (r#"{"connector":"mongodb","ts_ms":1558965508000,"ord":31}"#, (1_558_965_508, 31)),
            (r#"{"connector":"sqlserver","change_lsn":"00000027:00000758:0003"}"#, (0, 0)),
        ] {
            assert_eq!(position(json), expect, "{json}");
        }
    }

    #[test]
    fn whole_numbers_are_read_to_their_limits() {
        for text in ["0", "-0", "7", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "-", "+1", "1.0", "1e3", "9223372036854775808", "-9223372036854775809", "99999999999999999999"]
        {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn later_files_sort_after_earlier_ones_past_six_digits() {
        let at = |file: &str| position(&format!(r#"{{"connector":"mysql","file":"{file}","pos":4}}"#));
        assert!(at("mysql-bin.999999") < at("mysql-bin.1000000"));
    }
}
