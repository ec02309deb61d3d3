//! What the SQL targets share: quoted names, the order token as bytes, keys as text, which columns a layout writes.
//!
//! Pure: no connection, no statement. The dialects differ enough that the statements themselves stay with each target.

use std::sync::Arc;

use crate::batch::{Batch, write_json_string};
use crate::event::{Cell, CellKind, Row, SourceType};

use super::plan::{Layout, RowVersion};

/// Column that holds a row's order token in at_least_once mode.
pub const VERSION_COLUMN: &str = "_whimbrel_version";
/// Column that holds the origin of a row of a table without key in at_least_once mode.
pub const ORIGIN_COLUMN: &str = "_whimbrel_origin";

/// An identifier in double quotes. Names come from outside: none is ever pasted unquoted.
#[must_use]
pub fn quote(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Names in double quotes, separated by commas.
pub fn quote_all<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// The order token as bytes that compare like the token itself, byte by byte.
#[must_use]
pub fn version_bytes(version: RowVersion) -> [u8; 28] {
    let mut out = [0; 28];
    let partition = version.partition.cast_unsigned() ^ (1 << 31);
    let offset = version.offset.cast_unsigned() ^ (1 << 63);
    let parts = version
        .position
        .major
        .to_be_bytes()
        .into_iter()
        .chain(version.position.minor.to_be_bytes())
        .chain(partition.to_be_bytes())
        .chain(offset.to_be_bytes());
    for (slot, byte) in out.iter_mut().zip(parts) {
        *slot = byte;
    }
    out
}

/// The origin of an event as bytes: topic, a NUL, partition, offset.
#[must_use]
pub fn origin_bytes(topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(topic.len() + 13);
    out.extend_from_slice(topic.as_bytes());
    out.push(0);
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    out
}

/// A key as one text, the same for the same values: a JSON array of strings.
pub fn write_key_text(batch: &Batch, key: &[Cell], out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, cell) in key.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match batch.text(*cell) {
            Some(text) => write_json_string(text.as_bytes(), out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}

/// Where the value of a written column is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellFrom {
    /// The n-th key cell.
    Key(usize),
    /// The n-th cell of the row.
    Row(usize),
}

/// A column a layout writes.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteColumn {
    /// Name in the target.
    pub name: Arc<str>,
    /// What the source says the value is.
    pub ty: SourceType,
    /// May be null.
    pub nullable: bool,
    /// Where its value is.
    pub from: CellFrom,
}

/// The columns a layout writes: the key first, in key order, then the others in the order of the row.
#[must_use]
pub fn write_columns(layout: &Layout) -> Vec<WriteColumn> {
    let key = layout.key.iter().enumerate().map(|(i, k)| WriteColumn {
        name: Arc::clone(&k.name),
        ty: k.ty.clone(),
        nullable: false,
        from: CellFrom::Key(i),
    });
    let is_key = |name: &str| layout.key.iter().any(|k| &*k.name == name);
    let rest = layout.columns.iter().enumerate().filter(|(_, c)| c.write && c.key.is_none() && !is_key(&c.name)).map(
        |(i, c)| WriteColumn {
            name: Arc::clone(&c.name),
            ty: c.ty.clone(),
            nullable: c.nullable,
            from: CellFrom::Row(i),
        },
    );
    key.chain(rest).collect()
}

/// The key cells of an operation.
#[must_use]
pub fn key_cells<'a>(batch: &'a Batch, layout: &Layout, first: u32) -> &'a [Cell] {
    let first = first as usize;
    batch.cells.get(first..first + layout.key.len()).unwrap_or_default()
}

/// The cell a written column takes its value from; absent for an operation without row.
#[must_use]
pub fn cell_of(batch: &Batch, key: &[Cell], row: Option<Row>, from: CellFrom) -> Cell {
    match from {
        CellFrom::Key(i) => key.get(i).copied(),
        CellFrom::Row(i) => row.and_then(|row| batch.row(row).get(i).copied()),
    }
    .unwrap_or(Cell::bare(CellKind::Absent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::SourcePosition;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        assert_eq!(quote("orders"), r#""orders""#);
        assert_eq!(quote(r#"a"; DROP TABLE x; --"#), r#""a""; DROP TABLE x; --""#);
        assert_eq!(quote_all(["a", "B c"]), r#""a", "B c""#);
    }

    #[test]
    fn version_bytes_order_like_versions() {
        let v = |major, minor, partition, offset| RowVersion {
            position: SourcePosition { major, minor },
            partition,
            offset,
        };
        let sorted = [
            v(0, 0, 0, -1),
            v(0, 0, 0, 0),
            v(0, 0, 0, 256),
            v(0, 0, 1, 1),
            v(0, 7, 0, 0),
            v(1, 0, 0, 0),
            v(u64::MAX, 0, 0, i64::MAX),
        ];
        for pair in sorted.windows(2) {
            assert!(pair[0] < pair[1] && version_bytes(pair[0]) < version_bytes(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn the_same_key_has_one_text_however_it_was_escaped() {
        let mut batch = Batch::default();
        let plain = Cell { span: batch.push_bytes("ü\n".as_bytes()), kind: CellKind::Text };
        let escaped = Cell { span: batch.push_bytes(br"\u00fc\n"), kind: CellKind::Escaped };
        let number = Cell { span: batch.push_bytes(b"7"), kind: CellKind::Number };
        let text = |cells: &[Cell]| {
            let mut out = Vec::new();
            write_key_text(&batch, cells, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(&[plain, number]), text(&[escaped, number]));
        assert_eq!(text(&[number, Cell::bare(CellKind::Null)]), r#"["7",null]"#);
    }
}
