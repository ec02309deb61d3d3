//! The host's side of every crossing, over the same view of a batch that real plugins get. What a guest hands over is
//! checked here as the agent checks it.

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime::{Engine, ResourceLimiter, Store};
use whimbrel::batch::{Batch, Image as BatchImage};
use whimbrel::plugin::{ColumnPath, EventBatch, Image, TextColumn};
use whimbrel::transform::View;

use super::bindings::Crossing;
use super::bindings::bench::crossing::host::{self, Column, Event, Packed, Value};

/// Stands for the batch in handles.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub enum BatchHandle {}

/// What one instance has on the host's side.
pub(super) struct State {
    pub(super) view: Option<View>,
    memory: usize,
    bound: Vec<(Image, String)>,
}

/// As the agent's, so that it costs the same.
impl ResourceLimiter for State {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = desired;
        Ok(desired <= 64 << 20)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 100_000)
    }
}

impl HasData for State {
    type Data<'a> = &'a mut State;
}

impl State {
    pub(super) fn view(&mut self) -> wasmtime::Result<&mut View> {
        self.view.as_mut().ok_or_else(|| wasmtime::Error::msg("no batch"))
    }

    fn read(&mut self, path: &str) -> wasmtime::Result<Packed> {
        read(self.view()?, parse(path)?)
    }

    fn bound(&self, handle: u32) -> wasmtime::Result<ColumnPath<'_>> {
        let bound = self.bound.get(handle as usize).ok_or_else(|| wasmtime::Error::msg("no such handle"))?;
        Ok(ColumnPath { image: bound.0, column: &bound.1 })
    }

    fn read_bound(&self, handle: u32) -> wasmtime::Result<Packed> {
        read(self.view.as_ref().ok_or_else(|| wasmtime::Error::msg("no batch"))?, self.bound(handle)?)
    }

    pub(super) fn write(&mut self, path: ColumnPath<'_>, values: &Packed) -> wasmtime::Result<()> {
        let view = self.view()?;
        write(view, path, &values.offsets, &values.data, &values.nulls)
    }
}

fn parse(path: &str) -> wasmtime::Result<ColumnPath<'_>> {
    ColumnPath::parse(path).ok_or_else(|| wasmtime::Error::msg("no such path"))
}

/// A column as the agent reads it.
pub(super) fn read(view: &View, path: ColumnPath<'_>) -> wasmtime::Result<Packed> {
    let mut column = TextColumn::with_capacity(view.len());
    view.read_text(path, &mut column);
    let (offsets, data, nulls) = column.into_parts().ok_or_else(|| wasmtime::Error::msg("does not fit"))?;
    Ok(Packed { offsets, data, nulls })
}

/// Checks a packed column and writes it.
pub(super) fn write(
    view: &mut View,
    path: ColumnPath<'_>,
    offsets: &[u32],
    data: &str,
    nulls: &[u8],
) -> wasmtime::Result<()> {
    let rows = view.len();
    if offsets.len() != rows + 1 || !nulls.is_empty() && nulls.len() != rows.div_ceil(8) {
        return Err(wasmtime::Error::msg("the column does not fit"));
    }
    let mut cells = Vec::with_capacity(rows);
    for (row, ends) in offsets.windows(2).enumerate() {
        let &[start, end] = ends else { continue };
        let null = nulls.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0);
        let text = data.get(start as usize..end as usize).ok_or_else(|| wasmtime::Error::msg("bad offsets"))?;
        cells.push((row, (!null).then_some(text)));
    }
    view.write_text(path, cells.into_iter());
    Ok(())
}

/// One cell as text, without a look at the rest of its column.
fn cell(batch: &Batch, row: u32, path: ColumnPath<'_>) -> Option<String> {
    let event = batch.events.get(row as usize)?;
    let image = match path.image {
        Image::Key => BatchImage::Key,
        Image::Before => BatchImage::Before,
        Image::After => BatchImage::After,
    };
    let row = batch.image(event, image)?;
    let at = batch.shape(row)?.position(path.column)?;
    batch.text(*batch.row(row).get(at)?).map(std::borrow::Cow::into_owned)
}

impl host::Host for State {
    fn bind(&mut self, path: String) -> wasmtime::Result<u32> {
        let path = parse(&path)?;
        self.bound.push((path.image, path.column.to_owned()));
        Ok(self.bound.len() as u32 - 1)
    }
}

impl host::HostBatch for State {
    fn len(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<u32> {
        Ok(self.view()?.len() as u32)
    }

    fn cell(&mut self, _: Resource<BatchHandle>, path: String, row: u32) -> wasmtime::Result<Option<String>> {
        Ok(cell(self.view()?.batch(), row, parse(&path)?))
    }

    fn set_cell(
        &mut self,
        _: Resource<BatchHandle>,
        path: String,
        row: u32,
        value: Option<String>,
    ) -> wasmtime::Result<()> {
        self.view()?.write_text(parse(&path)?, std::iter::once((row as usize, value.as_deref())));
        Ok(())
    }

    fn text_list(&mut self, _: Resource<BatchHandle>, path: String) -> wasmtime::Result<Vec<Option<String>>> {
        let Packed { offsets, data, nulls } = self.read(&path)?;
        let text = |(row, ends): (usize, &[u32])| {
            let null = nulls.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0);
            let &[start, end] = ends else { return None };
            (!null).then(|| data.get(start as usize..end as usize).unwrap_or_default().to_owned())
        };
        Ok(offsets.windows(2).enumerate().map(text).collect())
    }

    fn set_text_list(
        &mut self,
        _: Resource<BatchHandle>,
        path: String,
        values: Vec<Option<String>>,
    ) -> wasmtime::Result<()> {
        let view = self.view()?;
        if values.len() != view.len() {
            return Err(wasmtime::Error::msg("the column does not fit"));
        }
        view.write_text(parse(&path)?, values.iter().map(Option::as_deref).enumerate());
        Ok(())
    }

    fn text_column(&mut self, _: Resource<BatchHandle>, path: String) -> wasmtime::Result<Packed> {
        self.read(&path)
    }

    fn set_text_column(&mut self, _: Resource<BatchHandle>, path: String, values: Packed) -> wasmtime::Result<()> {
        self.write(parse(&path)?, &values)
    }

    fn text_columns(&mut self, _: Resource<BatchHandle>, paths: Vec<String>) -> wasmtime::Result<Vec<Packed>> {
        paths.iter().map(|path| self.read(path)).collect()
    }

    fn bound_column(&mut self, _: Resource<BatchHandle>, handle: u32) -> wasmtime::Result<Packed> {
        self.read_bound(handle)
    }

    fn set_bound_column(&mut self, _: Resource<BatchHandle>, handle: u32, values: Packed) -> wasmtime::Result<()> {
        let bound = self.bound.get(handle as usize).ok_or_else(|| wasmtime::Error::msg("no such handle"))?;
        let path = ColumnPath { image: bound.0, column: &bound.1 };
        let view = self.view.as_mut().ok_or_else(|| wasmtime::Error::msg("no batch"))?;
        write(view, path, &values.offsets, &values.data, &values.nulls)
    }

    fn bound_columns(&mut self, _: Resource<BatchHandle>, handles: Vec<u32>) -> wasmtime::Result<Vec<Packed>> {
        handles.iter().map(|handle| self.read_bound(*handle)).collect()
    }

    fn drop(&mut self, _: Resource<BatchHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// The batch as typed events, every column of both images.
pub(super) fn typed(batch: &Batch) -> Vec<Event> {
    use whimbrel::event::{CellKind, Kind};
    let value = |cell: whimbrel::event::Cell| match cell.kind {
        CellKind::Absent | CellKind::Unavailable | CellKind::Null => Value::Null,
        CellKind::False => Value::Boolean(false),
        CellKind::True => Value::Boolean(true),
        CellKind::Number => {
            let text = batch.str(cell.span);
            text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float)).unwrap_or(Value::Null)
        }
        CellKind::Json => Value::Tagged(("json".to_owned(), batch.str(cell.span).to_owned())),
        CellKind::Text | CellKind::Escaped => Value::Text(batch.text(cell).unwrap_or_default().into_owned()),
    };
    let image = |row| {
        let columns = batch.shape(row)?.columns.iter().zip(batch.row(row));
        Some(columns.map(|(column, cell)| Column { name: column.name.to_string(), value: value(*cell) }).collect())
    };
    let event = |event: &whimbrel::event::Event| Event {
        operation: match event.kind {
            Kind::Change(op) => op.as_str().to_owned(),
            _ => String::new(),
        },
        table: batch.destination(event).to_owned(),
        before: event.before.and_then(image),
        after: event.after.and_then(image),
    };
    batch.events.iter().map(event).collect()
}

/// Takes over the texts that the guest changed.
pub(super) fn take_typed(view: &mut View, events: &[Event]) -> wasmtime::Result<()> {
    if events.len() != view.len() {
        return Err(wasmtime::Error::msg("not as many events"));
    }
    for (row, event) in events.iter().enumerate() {
        for (image, columns) in [(Image::Before, &event.before), (Image::After, &event.after)] {
            for column in columns.iter().flatten() {
                // A row whose text is unchanged is left alone by the view.
                if let Value::Text(text) = &column.value {
                    let path = ColumnPath { image, column: &column.name };
                    view.write_text(path, std::iter::once((row, Some(text.as_str()))));
                }
            }
        }
    }
    Ok(())
}

/// An instance of the guest and its store.
pub(super) struct Live {
    pub(super) store: Store<State>,
    pub(super) world: Crossing,
}

impl Live {
    /// Links the agent's way, then lets `shadow` put other functions in the place of some.
    pub(super) fn start(
        engine: &Engine,
        component: &wasmtime::component::Component,
        shadow: impl FnOnce(&mut Linker<State>) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        Crossing::add_to_linker::<State, State>(&mut linker, |state| state)?;
        linker.allow_shadowing(true);
        shadow(&mut linker)?;
        let mut store = Store::new(engine, State { view: None, memory: 0, bound: Vec::new() });
        store.limiter(|state| state);
        store.set_hostcall_fuel(16 << 20);
        store.set_epoch_deadline(u64::MAX / 2);
        let world = Crossing::instantiate(&mut store, component, &linker)?;
        Ok(Live { store, world })
    }
}
