//! A batch as a guest sees it: the rows it may see, numbered from 0, and their columns as text. Owns the batch
//! while a plugin works on it, and remembers what to undo.
//!
//! Writing text into a column of another type makes that column text for the row: what a mask leaves of a number
//! is no number, and the target must know.

use std::sync::Arc;

use super::{stored, typed};
use crate::batch::{self, Batch};
use crate::event::{Cell, CellKind, Column, Event, Kind, Reason, Row, Shape, SourceType, Verdict};
use crate::plugin::{ColumnPath, Dictionary, EventBatch, Failure, Image, TextColumn, Value};

/// A batch lent to a plugin.
#[derive(Debug)]
pub struct View {
    pub(super) batch: Batch,
    /// The plugin at work, for the reasons it gives; none outside a chain.
    pub(super) plugin: Option<Arc<str>>,
    /// The events the plugin sees, by their place in the batch.
    rows: Vec<u32>,
    undo: Vec<Undo>,
    start: Lengths,
}

/// What was there before a write, newest last.
#[derive(Debug)]
enum Undo {
    Cell {
        at: usize,
        old: Cell,
    },
    /// Everything of an event that is not a cell.
    Event {
        at: usize,
        old: Box<Event>,
    },
}

/// How long the batch's growing parts were at the last commit.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    data: usize,
    cells: usize,
    shapes: usize,
    names: usize,
    failures: usize,
}

impl Lengths {
    fn of(batch: &Batch) -> Self {
        Lengths {
            data: batch.data.len(),
            cells: batch.cells.len(),
            shapes: batch.shapes.len(),
            names: batch.names.len(),
            failures: batch.failures.len(),
        }
    }
}

/// Where a column stands in each shape: looked up once per shape and call. Rows of one shape come in runs.
#[derive(Default)]
struct Positions {
    last: Option<(u32, Option<Place>)>,
    known: Vec<Option<Option<Place>>>,
}

/// A column's place in a shape.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    /// Text written there leaves the column of the type it has.
    takes_text: bool,
}

impl Positions {
    #[inline]
    fn of(&mut self, batch: &Batch, row: Row, column: &str) -> Option<Place> {
        match self.last {
            Some((shape, place)) if shape == row.shape => place,
            _ => self.look_up(batch, row.shape, column),
        }
    }

    #[cold]
    fn look_up(&mut self, batch: &Batch, number: u32, column: &str) -> Option<Place> {
        let at = number as usize;
        if at >= self.known.len() {
            self.known.resize(at + 1, None);
        }
        let slot = self.known.get_mut(at)?;
        let place = *slot.get_or_insert_with(|| {
            let shape = batch.shapes.get(at)?;
            let at = shape.position(column)?;
            let ty = shape.columns.get(at).map(|column| &column.ty);
            Some(Place { at, takes_text: matches!(ty, None | Some(SourceType::Unknown | SourceType::Text)) })
        });
        self.last = Some((number, place));
        place
    }
}

pub(super) fn image(image: Image) -> batch::Image {
    match image {
        Image::Key => batch::Image::Key,
        Image::Before => batch::Image::Before,
        Image::After => batch::Image::After,
    }
}

impl View {
    /// A view of the events that are changes and still kept.
    #[must_use]
    pub fn new(batch: Batch) -> Self {
        let mut view = View::closed(batch);
        view.show_kept();
        view
    }

    /// A view that shows nothing yet.
    pub(super) fn closed(batch: Batch) -> Self {
        let start = Lengths::of(&batch);
        View { batch, plugin: None, rows: Vec::new(), undo: Vec::new(), start }
    }

    /// The batch as it is now.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Gives the batch back.
    #[must_use]
    pub fn into_batch(self) -> Batch {
        self.batch
    }

    /// Shows the events that are changes and still kept.
    pub(super) fn show_kept(&mut self) {
        self.rows.clear();
        for (at, event) in self.batch.events.iter().enumerate() {
            if matches!(event.kind, Kind::Change(_)) && event.verdict == Verdict::Keep {
                self.rows.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
    }

    /// Shows one event, by its place in the batch.
    pub(super) fn show_only(&mut self, at: u32) {
        self.rows.clear();
        self.rows.push(at);
    }

    /// The events shown, by their place in the batch.
    pub(super) fn shown(&self) -> &[u32] {
        &self.rows
    }

    pub(super) fn at(&self, row: usize) -> usize {
        self.rows.get(row).map_or(usize::MAX, |at| *at as usize)
    }

    pub(super) fn event(&self, row: usize) -> Option<&Event> {
        self.batch.events.get(self.at(row))
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.rows.iter().filter_map(|at| self.batch.events.get(*at as usize))
    }

    /// An event to change; its old form is kept.
    pub(super) fn event_mut(&mut self, row: usize) -> Option<&mut Event> {
        let at = self.at(row);
        let event = self.batch.events.get_mut(at)?;
        self.undo.push(Undo::Event { at, old: Box::new(event.clone()) });
        Some(event)
    }

    fn dictionary<'a>(&'a self, values: impl Fn(&'a Event) -> &'a str) -> Dictionary {
        let mut dictionary = Dictionary { values: Vec::new(), indices: Vec::with_capacity(self.rows.len()) };
        let mut last: Option<(&str, u32)> = None;
        for event in self.events() {
            let value = values(event);
            let index = match last {
                // Events of one table come in runs, and their names are the same bytes in memory.
                Some((known, index)) if std::ptr::eq(known, value) => index,
                _ => {
                    let known = dictionary.values.iter().position(|known| known == value);
                    let index = known.unwrap_or_else(|| {
                        dictionary.values.push(value.to_owned());
                        dictionary.values.len() - 1
                    });
                    u32::try_from(index).unwrap_or(u32::MAX)
                }
            };
            last = Some((value, index));
            dictionary.indices.push(index);
        }
        dictionary
    }

    /// The cell of a row's column, with the column's place; none when the row has no such image or column.
    #[inline]
    fn cell(&self, event: &Event, path: ColumnPath<'_>, positions: &mut Positions) -> Option<(Row, Place, Cell)> {
        let row = self.batch.image(event, image(path.image))?;
        let place = positions.of(&self.batch, row, path.column)?;
        let cell = self.batch.cells.get(row.first as usize + place.at)?;
        Some((row, place, *cell))
    }

    /// Whether a cell already is this text. Most are compared as they are, without looking at them as text first.
    fn holds(&self, cell: Cell, text: Option<&str>) -> bool {
        match (cell.kind, text) {
            (CellKind::Text | CellKind::Number | CellKind::Json, Some(text)) => {
                self.batch.bytes(cell.span) == text.as_bytes()
            }
            (CellKind::Text | CellKind::Number | CellKind::Json, None) => false,
            _ => self.batch.text(cell).as_deref() == text,
        }
    }

    /// Replaces a cell, and the column's type for this row when the cell no longer is of it.
    fn put(&mut self, row: usize, path: ColumnPath<'_>, place: (Row, usize), cell: Cell, ty: Option<&SourceType>) {
        let (image_row, column) = place;
        let at = image_row.first as usize + column;
        if let Some(slot) = self.batch.cells.get_mut(at) {
            self.undo.push(Undo::Cell { at, old: *slot });
            *slot = cell;
        }
        let Some(ty) = ty else { return };
        let shape = retyped(&mut self.batch, image_row.shape, column, ty);
        let Some(event) = self.event_mut(row) else { return };
        let slot = match path.image {
            Image::Key => &mut event.key,
            Image::Before => &mut event.before,
            Image::After => &mut event.after,
        };
        if let Some(slot) = slot {
            slot.shape = shape;
        }
    }
}

/// The shape with one column's type changed; the same index when it already has that type.
fn retyped(batch: &mut Batch, shape: u32, column: usize, ty: &SourceType) -> u32 {
    let Some(old) = batch.shapes.get(shape as usize) else { return shape };
    if old.columns.get(column).is_none_or(|column| column.ty == *ty) {
        return shape;
    }
    let columns = old.columns.iter().enumerate();
    let columns: Vec<Column> = columns
        .map(|(at, old)| if at == column { Column { ty: ty.clone(), ..old.clone() } } else { old.clone() })
        .collect();
    let new = Shape { columns };
    let found = batch.shapes.iter().rposition(|known| **known == new);
    let index = found.unwrap_or_else(|| {
        batch.shapes.push(Arc::new(new));
        batch.shapes.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl EventBatch for View {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn operations(&self) -> Dictionary {
        self.dictionary(|event| match event.kind {
            Kind::Change(op) => op.as_str(),
            _ => "",
        })
    }

    fn tables(&self) -> Dictionary {
        self.dictionary(|event| self.batch.destination(event))
    }

    fn set_tables(&mut self, tables: &Dictionary) {
        let names: Vec<u32> =
            tables.values.iter().map(|name| self.batch.name_index(&Arc::from(name.as_str()))).collect();
        for (row, index) in tables.indices.iter().enumerate() {
            let Some(name) = names.get(*index as usize) else { continue };
            if self.event(row).is_some_and(|event| event.destination != *name)
                && let Some(event) = self.event_mut(row)
            {
                event.destination = *name;
            }
        }
    }

    fn source_times(&self) -> Vec<i64> {
        self.events().map(|event| event.source_ts_us / 1000).collect()
    }

    fn read_text(&self, path: ColumnPath<'_>, out: &mut TextColumn) {
        let mut positions = Positions::default();
        for event in self.events() {
            let cell = self.cell(event, path, &mut positions).map(|(_, _, cell)| cell);
            match cell {
                Some(Cell { kind: CellKind::Text | CellKind::Number | CellKind::Json, span }) => {
                    out.push(self.batch.bytes(span))
                }
                Some(cell) => match self.batch.text(cell) {
                    Some(text) => out.push(text.as_bytes()),
                    None => out.push_null(),
                },
                None => out.push_null(),
            }
        }
    }

    fn write_text<'a>(&mut self, path: ColumnPath<'_>, cells: impl Iterator<Item = (usize, Option<&'a str>)>) {
        let mut positions = Positions::default();
        self.undo.reserve(cells.size_hint().0);
        for (row, new) in cells {
            let Some(event) = self.event(row) else { continue };
            let Some((image_row, column, old)) = self.cell(event, path, &mut positions) else { continue };
            if old.kind == CellKind::Absent || self.holds(old, new) {
                continue;
            }
            let place = (image_row, column.at);
            let Some(text) = new else {
                self.put(row, path, place, Cell::bare(CellKind::Null), None);
                continue;
            };
            let cell = Cell { span: self.batch.push_bytes(text.as_bytes()), kind: CellKind::Text };
            self.put(row, path, place, cell, (!column.takes_text).then_some(&SourceType::Text));
        }
    }

    fn read_values(&self, path: ColumnPath<'_>) -> Vec<Value> {
        let mut positions = Positions::default();
        let value = |event| match self.cell(event, path, &mut positions) {
            Some((row, column, cell)) => typed::read(&self.batch, row, column.at, cell),
            None => Value::Null,
        };
        self.events().map(value).collect()
    }

    fn write_values(&mut self, path: ColumnPath<'_>, values: &[Value]) -> Result<(), Failure> {
        values.iter().try_for_each(typed::check)?;
        let mut positions = Positions::default();
        for (row, new) in values.iter().enumerate() {
            let Some(event) = self.event(row) else { continue };
            let Some((image_row, Place { at: column, .. }, old)) = self.cell(event, path, &mut positions) else {
                continue;
            };
            if old.kind == CellKind::Absent || typed::read(&self.batch, image_row, column, old) == *new {
                continue;
            }
            let (cell, ty) = typed::write(&mut self.batch, image_row, column, new);
            self.put(row, path, (image_row, column), cell, ty.as_ref());
        }
        Ok(())
    }

    fn json(&self, row: usize) -> Vec<u8> {
        self.event(row).map(|event| stored::event_json(&self.batch, event)).unwrap_or_default()
    }

    fn set_json(&mut self, row: usize, json: &str) -> Result<(), Failure> {
        let parsed = stored::parse(json)?;
        let Some(old) = self.event(row).cloned() else { return Ok(()) };
        let new = stored::replace(&mut self.batch, &old, &parsed);
        if let Some(event) = self.event_mut(row) {
            *event = new;
        }
        Ok(())
    }

    fn drop_row(&mut self, row: usize) {
        if self.event(row).is_some_and(|event| event.verdict == Verdict::Keep)
            && let Some(event) = self.event_mut(row)
        {
            event.verdict = Verdict::Drop;
        }
    }

    fn fail_row(&mut self, row: usize, reason: Failure) {
        let _ = self.event_mut(row);
        let (plugin, colon) = self.plugin.as_ref().map_or(("", ""), |plugin| (&**plugin, ": "));
        let message = format!("{plugin}{colon}{}: {}", reason.code, reason.message);
        self.batch.fail(self.at(row), Reason::TransformFailed, message);
    }

    fn commit(&mut self) {
        self.undo.clear();
        self.start = Lengths::of(&self.batch);
    }

    fn rollback(&mut self) {
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Cell { at, old } => {
                    if let Some(cell) = self.batch.cells.get_mut(at) {
                        *cell = old;
                    }
                }
                Undo::Event { at, old } => {
                    if let Some(event) = self.batch.events.get_mut(at) {
                        *event = *old;
                    }
                }
            }
        }
        self.batch.data.truncate(self.start.data);
        self.batch.cells.truncate(self.start.cells);
        self.batch.shapes.truncate(self.start.shapes);
        self.batch.names.truncate(self.start.names);
        self.batch.failures.truncate(self.start.failures);
    }
}
