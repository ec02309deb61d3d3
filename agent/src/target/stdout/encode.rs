//! A planned batch as NDJSON: one line per operation.

use std::io::Write;

use crate::batch::{Batch, write_json_string};
use crate::decode::value::read;
use crate::event::{Cell, CellKind, Row, SourceType};
use crate::target::plan::{Layout, RowAction, RowOp, Step, WriteBatch};
use crate::target::sql::key_cells;
use crate::target::text::write_json;

/// Appends the lines of a batch; answers how many.
pub(super) fn encode(write: &WriteBatch<'_>, out: &mut Vec<u8>) -> u64 {
    let mut lines = 0;
    for step in write.steps {
        match step {
            Step::Rows(tables) => {
                for table in tables {
                    let names = Names::new(&table.layout);
                    for op in &table.ops {
                        line(write.batch, &table.layout, &names, op, out);
                        lines += 1;
                    }
                }
            }
            Step::Truncate(layout) => {
                out.extend_from_slice(br#"{"op":"truncate","table":"#);
                write_json_string(layout.table.as_bytes(), out);
                out.extend_from_slice(b"}\n");
                lines += 1;
            }
        }
    }
    lines
}

/// What every line of a layout repeats, as JSON: `"table":"…","key":{` and the column names with their colon.
struct Names {
    table: Vec<u8>,
    key: Vec<Name>,
    /// `None` for columns that are left out.
    columns: Vec<Option<Name>>,
}

struct Name {
    json: Vec<u8>,
    /// The type, unless its JSON can be passed on as it came.
    convert: Option<SourceType>,
}

impl Names {
    fn new(layout: &Layout) -> Self {
        let quoted = |name: &str, ty: &SourceType| {
            let mut json = Vec::with_capacity(name.len() + 3);
            write_json_string(name.as_bytes(), &mut json);
            json.push(b':');
            Name { json, convert: (!is_plain(ty)).then(|| ty.clone()) }
        };
        let mut table = b"\"table\":".to_vec();
        write_json_string(layout.table.as_bytes(), &mut table);
        table.extend_from_slice(b",\"key\":{");
        Self {
            table,
            key: layout.key.iter().map(|k| quoted(&k.name, &k.ty)).collect(),
            columns: layout.columns.iter().map(|c| c.write.then(|| quoted(&c.name, &c.ty))).collect(),
        }
    }
}

/// Types whose JSON means the same to everybody.
const fn is_plain(ty: &SourceType) -> bool {
    use SourceType as S;
    matches!(
        ty,
        S::Unknown
            | S::Boolean
            | S::Int32
            | S::Int64
            | S::Float32
            | S::Float64
            | S::Text
            | S::Bytes
            | S::Json
            | S::Xml
            | S::Uuid
            | S::Enum
            | S::EnumSet
            | S::Year
            | S::Map
            | S::MongoDocument
            | S::ZonedTime
            | S::ZonedTimestamp
            | S::IsoDate
            | S::IsoTime
            | S::IsoTimestamp
            | S::IntervalIso
    )
}

/// A name and its value. A value that is not what its type says goes out as it came: this target is for looking.
fn write_cell(batch: &Batch, cell: Cell, name: &Name, out: &mut Vec<u8>) {
    out.extend_from_slice(&name.json);
    match name.convert.as_ref().map(|ty| read(batch, cell, ty)) {
        Some(Ok(typed)) => write_json(&typed.value, out),
        Some(Err(_)) | None => batch.write_json(cell, out),
    }
}

fn line(batch: &Batch, layout: &Layout, names: &Names, op: &RowOp, out: &mut Vec<u8>) {
    let (word, row): (&[u8], _) = match op.action {
        RowAction::Upsert(row) => (br#"{"op":"upsert","#, Some(row)),
        RowAction::Patch(row) => (br#"{"op":"patch","#, Some(row)),
        RowAction::Append(row) => (br#"{"op":"append","#, Some(row)),
        RowAction::Delete => (br#"{"op":"delete","#, None),
    };
    out.extend_from_slice(word);
    out.extend_from_slice(&names.table);
    for (i, (name, cell)) in names.key.iter().zip(key_cells(batch, layout, op.key)).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_cell(batch, *cell, name, out);
    }
    out.push(b'}');
    if let Some(row) = row {
        write_row(batch, names, row, out);
    }
    write_source(batch, op.event, out);
    out.extend_from_slice(b"}\n");
}

fn write_row(batch: &Batch, names: &Names, row: Row, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"row\":{");
    let mut first = true;
    for (name, cell) in names.columns.iter().zip(batch.row(row)) {
        let Some(name) = name else { continue };
        if matches!(cell.kind, CellKind::Absent | CellKind::Unavailable) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        write_cell(batch, *cell, name, out);
    }
    out.push(b'}');
}

fn write_source(batch: &Batch, event: u32, out: &mut Vec<u8>) {
    let Some(event) = batch.events.get(event as usize) else { return };
    out.extend_from_slice(b",\"source\":{\"topic\":");
    write_json_string(batch.topic(event).as_bytes(), out);
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        ",\"partition\":{},\"offset\":{},\"ts\":{}}}",
        event.origin.partition, event.origin.offset, event.broker_ts_ms
    );
}
