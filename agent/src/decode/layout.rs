//! Rows: which fields they have, and the shapes shared by all rows that have the same.
//!
//! Records of one table come in runs, so the names of a row are first compared, byte by byte as they stand on the wire,
//! with those of the row before. Only when they differ are names collected and looked up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::config::DecodeConfig;
use super::error::{DecodeError, Part};
use super::json::{Cursor, Raw, Syntax};
use super::placeholder::Placeholders;
use super::schema::ConnectSchema;
use super::trail::WireName;
use super::unwrapped::Meta;
use crate::batch::unescape;
use crate::event::{Cell, CellKind, Column, Shape, SourceType, Span, TableRef};

/// Layouts remembered for each topic. Past it all are forgotten: a topic with so many is one whose field names are data.
const MAX_LAYOUTS: usize = 4096;

/// Bytes of field names remembered for each topic; past it all are forgotten. Layouts of tables are of some kilobytes.
const MAX_WIRE: usize = 8 << 20;

/// Fields of one row. SQL Server allows 30,000 columns, the others far fewer.
const MAX_FIELDS: usize = 1 << 15;

/// Longest name in a message; the byte offset of a longer one helps nobody either.
const MAX_NAME_SHOWN: usize = 100;

/// Shapes remembered for each layout: tables that share a topic and have the same columns.
const MAX_SHAPES: usize = 1024;

/// What the fields of a layout mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Every field is a column.
    Image,
    /// Fields that the unwrap transform adds are not columns.
    Unwrapped,
}

/// A sequence of field names.
#[derive(Debug)]
pub(super) struct Layout {
    /// Names as on the wire.
    wire: Vec<WireName>,
    /// Names without escapes.
    names: Vec<Arc<str>>,
    role: Role,
    /// What the unwrap transform means by a field; empty for [`Role::Image`].
    pub(super) meta: Vec<Option<Meta>>,
    /// Shapes by table and schema; one, or as many as tables share the topic.
    shapes: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    table: Arc<TableRef>,
    schema: u32,
    shape: Arc<Shape>,
}

/// The layouts of a topic.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    all: Vec<Layout>,
    by_wire: HashMap<(Role, Box<[u8]>), usize>,
    bytes: usize,
}

/// A row whose cells stand in the batch, before its shape is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Index of the first cell.
    pub(super) first: usize,
    /// Index of the layout.
    pub(super) layout: usize,
}

/// What scanning a row needs besides the text.
pub(super) struct Scan<'a> {
    pub(super) part: Part,
    pub(super) role: Role,
    /// Where the text begins in the arena of the batch.
    pub(super) base: u32,
    /// Brackets open outside of the row.
    pub(super) depth: u32,
    pub(super) placeholders: &'a Placeholders,
}

impl Scan<'_> {
    /// The cell for a value found by the cursor.
    #[inline]
    pub(super) fn cell(&self, cursor: &Cursor<'_>, raw: Raw) -> Cell {
        if self.placeholders.is(raw.kind, cursor.slice(raw.start, raw.end)) {
            return Cell::bare(CellKind::Unavailable);
        }
        // Records are limited to 1 GiB, batches to 4 GiB: 32 bits hold both.
        let span = Span { start: self.base + raw.start as u32, len: (raw.end - raw.start) as u32 };
        Cell { span, kind: raw.kind }
    }
}

impl Layouts {
    pub(super) fn get(&self, scanned: Scanned) -> Option<&Layout> {
        self.all.get(scanned.layout)
    }

    /// Scans the object at the cursor into cells. `hint` is the layout to try first and becomes the one that was found.
    pub(super) fn scan(
        &mut self,
        scan: &Scan<'_>,
        cursor: &mut Cursor<'_>,
        cells: &mut Vec<Cell>,
        hint: &mut usize,
    ) -> Result<Scanned, DecodeError> {
        let first = cells.len();
        let begin = *cursor;
        if let Some(layout) = self.all.get(*hint)
            && layout.is_of(scan.role)
            && layout.scan(scan, cursor, cells).map_err(DecodeError::syntax(scan.part))?
        {
            return Ok(Scanned { first, layout: *hint });
        }
        cells.truncate(first);
        *cursor = begin;
        let mut wire = Vec::new();
        let mut raws = Vec::new();
        collect(scan, cursor, cells, &mut wire, &mut raws).map_err(DecodeError::syntax(scan.part))?;
        let key = (scan.role, wire.into_boxed_slice());
        let index = match self.by_wire.get(&key) {
            Some(index) => *index,
            None => {
                let layout = Layout::new(scan, &key.1, &raws)?;
                self.bytes += key.1.len();
                if self.all.len() >= MAX_LAYOUTS || self.bytes > MAX_WIRE {
                    self.all.clear();
                    self.by_wire.clear();
                    self.bytes = key.1.len();
                }
                self.all.push(layout);
                self.by_wire.insert(key, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        *hint = index;
        Ok(Scanned { first, layout: index })
    }

    /// The shape of a scanned row of `table`; the same `Arc` for the same columns.
    pub(super) fn shape(
        &mut self,
        scanned: Scanned,
        table: &Arc<TableRef>,
        schema: Option<(u32, &ConnectSchema)>,
        config: &DecodeConfig,
    ) -> Option<Arc<Shape>> {
        let id = schema.map_or(0, |(id, _)| id);
        let layout = self.all.get(scanned.layout)?;
        if let Some(at) = layout.shapes.iter().position(|bound| bound.is(table, id)) {
            return layout.shapes.get(at).map(|bound| Arc::clone(&bound.shape));
        }
        let shape = layout.build(table, schema.map(|(_, schema)| schema), config);
        // A schema that changed in something other than these columns must not give them another identity.
        let known = layout.shapes.iter().find(|bound| bound.table == *table && *bound.shape == shape);
        let shape = known.map_or_else(|| Arc::new(shape), |bound| Arc::clone(&bound.shape));
        let layout = self.all.get_mut(scanned.layout)?;
        if layout.shapes.len() >= MAX_SHAPES {
            layout.shapes.clear();
        }
        layout.shapes.insert(0, Bound { table: Arc::clone(table), schema: id, shape: Arc::clone(&shape) });
        Some(shape)
    }
}

/// Steps through an object of unknown layout.
fn collect(
    scan: &Scan<'_>,
    cursor: &mut Cursor<'_>,
    cells: &mut Vec<Cell>,
    wire: &mut Vec<u8>,
    raws: &mut Vec<Raw>,
) -> Result<(), Syntax> {
    let mut more = cursor.open_object()?;
    while more {
        let name = cursor.name()?;
        wire.push(b'"');
        wire.extend_from_slice(cursor.slice(name.start, name.end));
        wire.extend_from_slice(b"\":");
        let raw = cursor.value(scan.depth + 1)?;
        cells.push(scan.cell(cursor, raw));
        raws.push(Raw { start: wire.len() - 2 - (name.end - name.start), end: wire.len() - 2, ..name });
        more = cursor.next_field()?;
    }
    Ok(())
}

impl Layout {
    fn new(scan: &Scan<'_>, wire: &[u8], raws: &[Raw]) -> Result<Self, DecodeError> {
        if raws.len() > MAX_FIELDS {
            return Err(DecodeError::TooWide { part: scan.part, limit: MAX_FIELDS });
        }
        let mut names: Vec<Arc<str>> = Vec::with_capacity(raws.len());
        let mut unique = HashSet::with_capacity(raws.len());
        for raw in raws {
            let mut name = String::new();
            unescape(wire.get(raw.start..raw.end).unwrap_or_default(), &mut name);
            if !unique.insert(name.clone()) {
                let field = name.chars().take(MAX_NAME_SHOWN).collect();
                return Err(DecodeError::Duplicate { part: scan.part, field });
            }
            names.push(name.into());
        }
        let meta = match scan.role {
            Role::Image => Vec::new(),
            Role::Unwrapped => names.iter().map(|name| Meta::of_field(name)).collect(),
        };
        let wire = raws.iter().map(|raw| WireName::new(wire.get(raw.start..raw.end).unwrap_or_default())).collect();
        Ok(Self { wire, names, role: scan.role, meta, shapes: Vec::new() })
    }

    fn is_of(&self, role: Role) -> bool {
        self.role == role
    }

    /// True when a column has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| &**own == name)
    }

    /// Scans an object with exactly these fields; false when it has others.
    #[inline]
    fn scan(&self, scan: &Scan<'_>, cursor: &mut Cursor<'_>, cells: &mut Vec<Cell>) -> Result<bool, Syntax> {
        let mut more = cursor.open_object()?;
        for name in &self.wire {
            if !more || !name.eat(cursor) {
                return Ok(false);
            }
            let raw = cursor.value(scan.depth + 1)?;
            cells.push(scan.cell(cursor, raw));
            more = cursor.next_field()?;
        }
        Ok(!more)
    }

    fn build(&self, table: &TableRef, schema: Option<&ConnectSchema>, config: &DecodeConfig) -> Shape {
        let columns = self
            .names
            .iter()
            .enumerate()
            .filter(|(at, _)| self.meta.get(*at).copied().flatten().is_none())
            .map(|(_, name)| {
                let field = schema.and_then(|schema| schema.child(name));
                let ty = match field {
                    // Images of MongoDB are documents, so this is the key: an identifier as extended JSON in a string.
                    _ if table.connector == "mongodb" && self.role == Role::Image => SourceType::MongoDocument,
                    Some(field) => field.source_type(),
                    None => declared(table, name, config),
                };
                Column { name: Arc::clone(name), ty, nullable: field.is_none_or(ConnectSchema::optional) }
            })
            .collect();
        Shape { columns }
    }
}

impl Bound {
    #[inline]
    fn is(&self, table: &Arc<TableRef>, schema: u32) -> bool {
        self.schema == schema && (Arc::ptr_eq(&self.table, table) || self.table == *table)
    }
}

fn declared(table: &TableRef, column: &str, config: &DecodeConfig) -> SourceType {
    config
        .types
        .iter()
        .find(|declared| declared.matches(table, column))
        .map_or(SourceType::Unknown, |found| found.ty.clone())
}
