//! Plans a run of delivered events: maps tables, coalesces per key to the final state, parks and dead-letters. Pure.
//!
//! Order is kept per key. What the target gets in one step is over distinct (table, key) pairs, so it may write them in
//! any order; a truncate that is followed starts a new step. The frontier moves behind the last *delivered* event of
//! each partition: offsets that compaction or transaction markers left out never come.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use super::mapping::{KeySource, Mapped, Mapper};
use crate::batch::Batch;
use crate::event::{Cell, CellKind, Event, Kind, Op, Reason, Row, Verdict};
use crate::target::{DeadLetter, Layout, ParkedKey, RowAction, RowOp, RowVersion, Step, TableWrite};

/// Why a new row with a TOAST placeholder cannot be written.
const NO_VALUE_FOR_NEW_KEY: &str = "a new row (or one under a changed key) came without the value of a large column, which the \
source did not send; set REPLICA IDENTITY FULL on the source table and write the row again";

/// What a run of events comes to.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows to write, in steps.
    pub steps: Vec<Step>,
    /// Dead letters to store.
    pub dead_letters: Vec<DeadLetter>,
    /// Change events that are settled by this plan without being dead letters.
    pub effects: Vec<u32>,
    /// Per (topic index, partition): the next offset to read once this is durable.
    pub next: Vec<(u32, i32, i64)>,
    /// Which target table a (destination, source table) pair of indexes went to.
    pub tables: Vec<(u32, u32, Arc<str>)>,
    /// Values that were TOAST placeholders.
    pub unchanged_toast: u64,
    /// Change events of tables that the mapping skips.
    pub skipped: u64,
}

/// Makes plans; remembers layouts and parked keys.
#[derive(Debug)]
pub struct Planner {
    mapper: Mapper,
    parked: HashSet<ParkedKey>,
    hasher: DefaultHashBuilder,
}

/// Mapping of one combination of indexes in this batch.
struct Known {
    destination: u32,
    table: u32,
    row: Option<u32>,
    key: Option<u32>,
    mapped: Option<(Mapped, u32)>,
}

/// A key seen in the current step.
struct Slot {
    table: u32,
    key: u32,
    width: u32,
    group: usize,
    op: usize,
}

/// Rows of one layout while they are collected; an op that moved to another layout leaves a hole.
struct Group {
    layout: Arc<Layout>,
    ops: Vec<Option<RowOp>>,
}

#[derive(Default)]
struct Collected {
    groups: Vec<Group>,
    slots: HashTable<Slot>,
    tables: Vec<Arc<str>>,
    known: Vec<Known>,
}

impl Planner {
    /// A planner for this mapping.
    #[must_use]
    pub fn new(mapper: Mapper) -> Self {
        Self { mapper, parked: HashSet::new(), hasher: DefaultHashBuilder::default() }
    }

    /// Replaces what is known of parked keys.
    pub fn set_parked(&mut self, keys: impl IntoIterator<Item = ParkedKey>) {
        self.parked = keys.into_iter().collect();
    }

    /// Whether any key is parked.
    #[must_use]
    pub fn parks(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Remembers the keys of dead letters that are durable now.
    pub fn park(&mut self, batch: &Batch, dead_letters: &[DeadLetter]) {
        for letter in dead_letters {
            if let Some(key) = batch.events.get(letter.event as usize).and_then(|e| parked_key(batch, e)) {
                self.parked.insert(key);
            }
        }
    }

    /// Plans the events at `range`. May append merged rows and copied keys to the batch's cells, and mark events that
    /// cannot be written as failed; calling it again for the same or a smaller range is fine.
    pub fn plan(&mut self, batch: &mut Batch, range: Range<usize>) -> Plan {
        let mut plan = Plan::default();
        let mut collected = Collected { slots: HashTable::with_capacity(range.len()), ..Collected::default() };
        let mut parked_here: HashSet<ParkedKey> = HashSet::new();
        for index in range {
            let Some(event) = batch.events.get(index) else { break };
            let event = event.clone();
            advance(&mut plan.next, &event);
            let Ok(number) = u32::try_from(index) else { break };
            if let Kind::Change(op) = event.kind
                && event.verdict == Verdict::Keep
            {
                self.change(batch, &mut plan, &mut collected, &mut parked_here, &event, number, op);
            } else if event.verdict == Verdict::Drop {
                plan.effects.push(number);
            }
            // Failed before (decode, plugin, target) or just now (no key).
            if let Some(failure) = batch.events.get(index).and_then(|e| batch.failure(e)) {
                let (reason, message) = (failure.reason, failure.message.clone());
                if let Some(key) = parked_key(batch, &event) {
                    parked_here.insert(key);
                }
                plan.dead_letters.push(DeadLetter { event: number, reason, message, kafka: None });
            }
        }
        collected.finish_step(&mut plan.steps);
        plan.tables = collected
            .known
            .iter()
            .filter_map(|k| Some((k.destination, k.table, Arc::clone(&k.mapped.as_ref()?.0.layout.table))))
            .collect();
        plan
    }

    #[expect(clippy::too_many_arguments, reason = "the working set of one loop body, kept out of `self` to stay pure")]
    fn change(
        &mut self,
        batch: &mut Batch,
        plan: &mut Plan,
        collected: &mut Collected,
        parked_here: &mut HashSet<ParkedKey>,
        event: &Event,
        number: u32,
        op: Op,
    ) {
        if !(self.parked.is_empty() && parked_here.is_empty())
            && let Some(key) = parked_key(batch, event)
            && (self.parked.contains(&key) || parked_here.contains(&key))
        {
            plan.dead_letters.push(DeadLetter {
                event: number,
                reason: Reason::ParkedBehind,
                message: "an earlier event of this key is a dead letter; re-drive the key to apply both in order"
                    .into(),
                kafka: None,
            });
            return;
        }
        if op == Op::Message {
            return;
        }
        let row = if op == Op::Delete { event.before } else { event.after };
        let Some(known) = collected.map(&mut self.mapper, batch, event, row) else {
            plan.skipped += 1;
            plan.effects.push(number);
            return;
        };
        let (mapped, table) = known;
        if op == Op::Truncate {
            if mapped.truncate {
                collected.finish_step(&mut plan.steps);
                plan.steps.push(Step::Truncate(Arc::clone(&mapped.layout)));
            }
            plan.effects.push(number);
            return;
        }
        let key = match key_of(batch, event, row, &mapped.key) {
            Ok(key) => key,
            Err(message) => {
                batch.fail(number as usize, Reason::NoKey, message);
                return;
            }
        };
        let version =
            RowVersion { position: event.position, partition: event.origin.partition, offset: event.origin.offset };
        let Some(key) = key else {
            match (op, row) {
                (Op::Create | Op::Read, Some(row)) => {
                    let append = RowOp { event: number, key: 0, version, action: RowAction::Append(row) };
                    let group = collected.group(&mapped.layout);
                    collected.push(group, append);
                    plan.effects.push(number);
                }
                _ => batch.fail(
                    number as usize,
                    Reason::NoKey,
                    "an update or delete of a table without a primary key; name its key columns under `tables: … key:`",
                ),
            }
            return;
        };
        let action = match (op, row) {
            (Op::Delete, _) => RowAction::Delete,
            (_, Some(row)) => {
                let missing = batch.row(row).iter().filter(|c| c.kind == CellKind::Unavailable).count();
                if missing > 0 && matches!(op, Op::Create | Op::Read) {
                    // A key change comes as delete and create, and the create has no old row under its key to leave the
                    // value in: writing it would lose the value without a word.
                    batch.fail(number as usize, Reason::BadValue, NO_VALUE_FOR_NEW_KEY);
                    return;
                }
                plan.unchanged_toast += missing as u64;
                if missing > 0 { RowAction::Patch(row) } else { RowAction::Upsert(row) }
            }
            (_, None) => {
                batch.fail(number as usize, Reason::NotAnEnvelope, "an insert or update without an `after` image");
                return;
            }
        };
        plan.effects.push(number);
        let new = RowOp { event: number, key, version, action };
        collected.coalesce(batch, &self.hasher, table, &mapped.layout, new);
    }
}

/// The Kafka key under which an event parks; records without a key never park.
fn parked_key(batch: &Batch, event: &Event) -> Option<ParkedKey> {
    let key = batch.bytes(event.raw_key?);
    Some(ParkedKey { topic: batch.topic(event).to_owned(), key: key.to_vec() })
}

fn advance(next: &mut Vec<(u32, i32, i64)>, event: &Event) {
    let origin = event.origin;
    let after = origin.offset.saturating_add(1);
    match next.iter_mut().rev().find(|(t, p, _)| *t == origin.topic && *p == origin.partition) {
        Some((_, _, offset)) => *offset = after.max(*offset),
        None => next.push((origin.topic, origin.partition, after)),
    }
}

/// First of the key's cells, consecutive and unescaped; `None` when the table has no key.
fn key_of(batch: &mut Batch, event: &Event, row: Option<Row>, source: &KeySource) -> Result<Option<u32>, String> {
    let cells: Vec<Cell>;
    match source {
        KeySource::None => return Ok(None),
        KeySource::Missing(column) => {
            return Err(format!("key column `{column}` is not in the row; mend `key` in the table mapping"));
        }
        KeySource::Record => {
            let Some(key) = event.key else { return Ok(None) };
            let found = batch.row(key);
            if found.iter().all(|c| c.kind != CellKind::Escaped) {
                return Ok(Some(key.first));
            }
            cells = found.to_vec();
        }
        KeySource::Row(columns) => {
            let Some(row) = row else { return Err("the event has no row image to take the key from".into()) };
            let all = batch.row(row);
            cells = columns.iter().filter_map(|at| all.get(*at).copied()).collect();
            if cells.iter().any(|c| matches!(c.kind, CellKind::Null | CellKind::Absent | CellKind::Unavailable)) {
                return Err("a key column is null or was not sent; the source table needs REPLICA IDENTITY FULL, or another key".into());
            }
        }
    }
    let first = u32::try_from(batch.cells.len()).unwrap_or(u32::MAX);
    for cell in cells {
        // The same value may come escaped or not once a plugin has written it: compare what it means.
        let cell = if cell.kind == CellKind::Escaped {
            let text = batch.text(cell).unwrap_or_default().into_owned();
            Cell { span: batch.push_bytes(text.as_bytes()), kind: CellKind::Text }
        } else {
            cell
        };
        batch.cells.push(cell);
    }
    Ok(Some(first))
}

impl Collected {
    fn map(&mut self, mapper: &mut Mapper, batch: &Batch, event: &Event, row: Option<Row>) -> Option<(Mapped, u32)> {
        let (row, key) = (row.map(|r| r.shape), event.key.map(|r| r.shape));
        let same =
            |k: &&Known| k.destination == event.destination && k.table == event.table && k.row == row && k.key == key;
        if let Some(known) = self.known.iter().rev().find(same) {
            return known.mapped.clone();
        }
        let shape = |index: Option<u32>| index.and_then(|i| batch.shapes.get(i as usize));
        let name = batch.names.get(event.destination as usize)?;
        let mapped = mapper.map(name, batch.table(event)?, shape(row), shape(key)).map(|mapped| {
            let table = self.tables.iter().position(|t| **t == *mapped.layout.table).unwrap_or_else(|| {
                self.tables.push(Arc::clone(&mapped.layout.table));
                self.tables.len() - 1
            });
            (mapped, u32::try_from(table).unwrap_or(u32::MAX))
        });
        self.known.push(Known { destination: event.destination, table: event.table, row, key, mapped: mapped.clone() });
        mapped
    }

    fn group(&mut self, layout: &Arc<Layout>) -> usize {
        self.groups.iter().rposition(|g| Arc::ptr_eq(&g.layout, layout)).unwrap_or_else(|| {
            self.groups.push(Group { layout: Arc::clone(layout), ops: Vec::new() });
            self.groups.len() - 1
        })
    }

    fn push(&mut self, group: usize, op: RowOp) -> usize {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        group.ops.push(Some(op));
        group.ops.len() - 1
    }

    /// Puts `new` in the place of what is known of its key.
    fn coalesce(
        &mut self,
        batch: &mut Batch,
        hasher: &DefaultHashBuilder,
        table: u32,
        layout: &Arc<Layout>,
        new: RowOp,
    ) {
        let width = u32::try_from(layout.key.len()).unwrap_or(0);
        let group = self.group(layout);
        let hash = |batch: &Batch, table: u32, key: u32, width: u32| {
            hasher.hash_one((table, KeyCells { batch, cells: key_cells(batch, key, width) }))
        };
        let wanted = hash(batch, table, new.key, width);
        let entry = self.slots.entry(
            wanted,
            |slot| {
                slot.table == table
                    && slot.width == width
                    && same_cells(batch, key_cells(batch, slot.key, width), key_cells(batch, new.key, width))
            },
            |slot| hash(batch, slot.table, slot.key, slot.width),
        );
        match entry {
            Entry::Vacant(vacant) => {
                let op = self.groups.get(group).map_or(0, |g| g.ops.len());
                vacant.insert(Slot { table, key: new.key, width, group, op });
                self.push(group, new);
            }
            Entry::Occupied(mut occupied) => {
                let slot = occupied.get_mut();
                let old_group = self.groups.get_mut(slot.group);
                let old_layout = old_group.as_ref().map(|g| Arc::clone(&g.layout));
                let old = old_group.and_then(|g| g.ops.get_mut(slot.op)).and_then(Option::take);
                let merged = match (old, old_layout) {
                    (Some(old), Some(old_layout)) => merge(batch, &old_layout, old, layout, new),
                    _ => new,
                };
                if slot.group == group {
                    if let Some(place) = self.groups.get_mut(group).and_then(|g| g.ops.get_mut(slot.op)) {
                        *place = Some(merged);
                    }
                } else {
                    slot.group = group;
                    slot.op = self.groups.get(group).map_or(0, |g| g.ops.len());
                    self.push(group, merged);
                }
            }
        }
    }

    fn finish_step(&mut self, steps: &mut Vec<Step>) {
        self.slots.clear();
        let writes: Vec<TableWrite> = self
            .groups
            .drain(..)
            .map(|g| TableWrite { layout: g.layout, ops: g.ops.into_iter().flatten().collect() })
            .filter(|w: &TableWrite| !w.ops.is_empty())
            .collect();
        if !writes.is_empty() {
            steps.push(Step::Rows(writes));
        }
    }
}

/// The newer state of a key, with what it leaves out taken from the older one.
fn merge(batch: &mut Batch, old_layout: &Layout, old: RowOp, layout: &Layout, new: RowOp) -> RowOp {
    let RowAction::Patch(row) = new.action else { return new };
    let (old_row, complete) = match old.action {
        RowAction::Upsert(row) => (row, true),
        RowAction::Patch(row) => (row, false),
        RowAction::Delete | RowAction::Append(_) => return new,
    };
    let old_cells = batch.row(old_row).to_vec();
    let mut missing = false;
    let cells: Vec<Cell> = batch
        .row(row)
        .iter()
        .zip(&layout.columns)
        .map(|(cell, column)| {
            if cell.kind != CellKind::Unavailable {
                return *cell;
            }
            let before = old_layout.columns.iter().position(|c| c.name == column.name);
            let filled = before.and_then(|at| old_cells.get(at).copied()).unwrap_or(*cell);
            missing |= filled.kind == CellKind::Unavailable;
            filled
        })
        .collect();
    let row = batch.push_row(row.shape, cells);
    let action = if complete && !missing { RowAction::Upsert(row) } else { RowAction::Patch(row) };
    RowOp { action, ..new }
}

fn key_cells(batch: &Batch, first: u32, width: u32) -> &[Cell] {
    let first = first as usize;
    batch.cells.get(first..first + width as usize).unwrap_or_default()
}

fn same_cells(batch: &Batch, a: &[Cell], b: &[Cell]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.kind == b.kind && batch.bytes(a.span) == batch.bytes(b.span))
}

struct KeyCells<'a> {
    batch: &'a Batch,
    cells: &'a [Cell],
}

impl std::hash::Hash for KeyCells<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for cell in self.cells {
            state.write_u8(cell.kind as u8);
            state.write(self.batch.bytes(cell.span));
        }
    }
}
