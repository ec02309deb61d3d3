//! The ways a batch can cross into a guest, side by side: the same mask over the same envelopes, two text columns read
//! and one written. Each design pays for all its work, from the batch to the changed batch, as the agent does it.

mod bindings;
mod component;
mod host;
mod lent;

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use wasmtime::component::{Component, Resource};
use wasmtime::{Config, Engine};
use whimbrel::batch::{Batch, Image};
use whimbrel::plugin::{ColumnPath, EventBatch, Image as PathImage};
use whimbrel::transform::View;

use host::Live;

const EMAIL: ColumnPath<'static> = ColumnPath { image: PathImage::After, column: "email" };
const COUNTRY: ColumnPath<'static> = ColumnPath { image: PathImage::After, column: "country" };

/// One way to cross.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Design {
    Nothing,
    MayFail,
    Lent,
    Length,
    Typed,
    Json,
    Cells,
    Lists,
    Columns,
    ColumnsAtOnce,
    Bound,
    BoundAtOnce,
    Projection,
}

/// A design, run by a guest and host that may differ in one thing from what the agent does.
struct Row {
    name: &'static str,
    design: Design,
    live: Live,
    /// Whether each call gets a new deadline, as the agent's calls do.
    deadline: bool,
}

impl Row {
    fn call(&mut self, batch: Batch) -> wasmtime::Result<Batch> {
        let mut view = View::new(batch);
        let Live { store, world } = &mut self.live;
        if self.deadline {
            store.set_epoch_deadline(101);
        }
        let lend = Resource::new_borrow(0);
        match self.design {
            Design::Typed => {
                let events = world.call_typed(&mut *store, &host::typed(view.batch()))?;
                host::take_typed(&mut view, &events)?;
            }
            Design::Json => {
                let events: Result<Vec<String>, _> =
                    (0..view.len()).map(|row| String::from_utf8(view.json(row))).collect();
                let answer = world.call_json(&mut *store, &events.map_err(wasmtime::Error::msg)?)?;
                for (row, json) in answer.iter().enumerate() {
                    view.set_json(row, json).map_err(|refused| wasmtime::Error::msg(refused.message))?;
                }
            }
            Design::Projection => {
                let columns = [host::read(&view, EMAIL)?, host::read(&view, COUNTRY)?];
                let masked = world.call_projection(&mut *store, &columns)?;
                host::write(&mut view, EMAIL, &masked.offsets, &masked.data, &masked.nulls)?;
            }
            design => {
                store.data_mut().view = Some(view);
                match design {
                    Design::Nothing => world.call_nothing(&mut *store)?,
                    Design::MayFail => {
                        world.call_may_fail(&mut *store)?.map_err(|refused| wasmtime::Error::msg(refused.message))?
                    }
                    Design::Lent => world.call_lent(&mut *store, lend)?,
                    Design::Length => {
                        black_box(world.call_length(&mut *store, lend)?);
                    }
                    Design::Cells => world.call_cells(&mut *store, lend)?,
                    Design::Lists => world.call_lists(&mut *store, lend)?,
                    Design::ColumnsAtOnce => world.call_columns_at_once(&mut *store, lend)?,
                    Design::Bound => world.call_bound(&mut *store, lend)?,
                    Design::BoundAtOnce => world.call_bound_at_once(&mut *store, lend)?,
                    _ => world.call_columns(&mut *store, lend)?,
                }
                view = store.data_mut().view.take().ok_or_else(|| wasmtime::Error::msg("no batch"))?;
            }
        }
        view.commit();
        Ok(view.into_batch())
    }
}

/// The mask in plain Rust over the batch.
fn native(batch: &mut Batch) {
    let mut masked = String::new();
    let mut last = None;
    for at in 0..batch.events.len() {
        let Some(row) = batch.events.get(at).and_then(|event| batch.image(event, Image::After)) else { continue };
        let positions = match last {
            Some((shape, positions)) if shape == row.shape => positions,
            _ => batch.shape(row).and_then(|shape| Some((shape.position("email")?, shape.position("country")?))),
        };
        last = Some((row.shape, positions));
        let Some((email, country)) = positions else { continue };
        let text = |column: usize| batch.row(row).get(column).and_then(|cell| batch.text(*cell));
        let (Some(text), Some("DE")) = (text(email), text(country).as_deref()) else { continue };
        masked.clear();
        match text.rsplit_once('@').and_then(|(local, domain)| Some((local.chars().next()?, domain))) {
            Some((first, domain)) if !domain.is_empty() => {
                masked.push(first);
                masked.push_str("***@");
                masked.push_str(domain);
            }
            _ => masked.push_str("***"),
        }
        batch.set_text(row, email, &masked);
    }
}

/// Measures every design at every batch size, in turns, and prints a table.
pub(super) fn run(
    rounds: usize,
    sizes: &[usize],
    events: usize,
    decode: impl Fn(usize) -> Vec<Batch>,
    masked: impl Fn(&[Batch]),
) -> Result<(), Box<dyn Error>> {
    let mut rows = rows()?;
    let names = std::iter::once("native Rust").chain(rows.iter().map(|row| row.name)).collect::<Vec<_>>();
    let mut times = vec![vec![Vec::new(); sizes.len()]; names.len()];
    for _ in 0..rounds {
        for (at, size) in sizes.iter().enumerate() {
            let mut batches = decode(*size);
            let start = super::cpu_time();
            batches.iter_mut().for_each(native);
            let took = super::cpu_time() - start;
            masked(&batches);
            push(&mut times, 0, at, took, events);
            for (number, row) in rows.iter_mut().enumerate() {
                let batches = decode(*size);
                let mut done = Vec::with_capacity(batches.len());
                let start = super::cpu_time();
                for batch in batches {
                    done.push(row.call(batch)?);
                }
                let took = super::cpu_time() - start;
                if !matches!(row.design, Design::Nothing | Design::MayFail | Design::Lent | Design::Length) {
                    masked(&done);
                }
                push(&mut times, number + 1, at, took, events);
            }
        }
    }
    println!("\nthe ways to cross; ns of CPU per event, median of {rounds} rounds in turns");
    print!("{:<46}", "batch");
    sizes.iter().for_each(|size| print!(" {size:>8}"));
    println!();
    for (name, sizes) in names.iter().zip(times) {
        print!("{name:<46}");
        for mut times in sizes {
            times.sort_by(f64::total_cmp);
            print!(" {:>8.0}", times.get(times.len() / 2).copied().unwrap_or(f64::NAN));
        }
        println!();
    }
    Ok(())
}

fn push(times: &mut [Vec<Vec<f64>>], row: usize, size: usize, took: Duration, events: usize) {
    if let Some(times) = times.get_mut(row).and_then(|sizes| sizes.get_mut(size)) {
        times.push(took.as_secs_f64() * 1e9 / events as f64);
    }
}

fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let bytes = component::build(&[])?;
    let bump = component::build(&["bump"])?;
    let engine = |epoch| {
        let mut config = Config::new();
        config.wasm_component_model(true);
        config.epoch_interruption(epoch);
        config.cranelift_opt_level(wasmtime::OptLevel::Speed);
        config.max_wasm_stack(512 << 10);
        Engine::new(&config)
    };
    let (with_epoch, without_epoch) = (engine(true)?, engine(false)?);
    let usual = Component::new(&with_epoch, &bytes)?;
    let bump = Component::new(&with_epoch, &bump)?;
    let timeless = Component::new(&without_epoch, &bytes)?;
    let plain = |name, design| -> wasmtime::Result<Row> {
        Ok(Row { name, design, live: Live::start(&with_epoch, &usual, |_| Ok(()))?, deadline: true })
    };
    Ok(vec![
        plain("a call that does nothing", Design::Nothing)?,
        plain("a call that may fail", Design::MayFail)?,
        plain("a call that is lent the batch", Design::Lent)?,
        plain("... and asks for its length", Design::Length)?,
        plain("typed events by value", Design::Typed)?,
        plain("JSON through the guest", Design::Json)?,
        plain("resource, a call per cell", Design::Cells)?,
        plain("resource, plain lists", Design::Lists)?,
        plain("resource, packed columns", Design::Columns)?,
        plain("resource, packed columns in one call", Design::ColumnsAtOnce)?,
        plain("resource, packed columns, bound", Design::Bound)?,
        plain("resource, packed columns, bound, in one call", Design::BoundAtOnce)?,
        plain("projection by value, packed columns", Design::Projection)?,
        Row {
            live: Live::start(&with_epoch, &usual, lent::shadow)?,
            ..plain("packed columns, read in the guest's memory", Design::Columns)?
        },
        Row {
            live: Live::start(&with_epoch, &bump, |_| Ok(()))?,
            ..plain("packed columns, an allocator that only counts", Design::Columns)?
        },
        Row { deadline: false, ..plain("packed columns, no new deadline per call", Design::Columns)? },
        Row {
            name: "packed columns, no epoch interruption",
            design: Design::Columns,
            live: Live::start(&without_epoch, &timeless, |_| Ok(()))?,
            deadline: false,
        },
    ])
}
