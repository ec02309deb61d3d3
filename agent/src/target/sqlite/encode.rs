//! A planned batch as owned SQLite parameters, so that it can cross to the blocking thread.
//!
//! Pure. Values become what SQLite can hold: integers, reals, text and blobs; text and blobs lie in one arena.

use std::ops::Range;
use std::sync::Arc;

use crate::batch::Batch;
use crate::decode::value::{Value, read};
use crate::event::{CellKind, Reason};
use crate::target::Lossy;
use crate::target::error::{ErrorKind, TargetError};
use crate::target::losses::Losses;
use crate::target::plan::{Advance, DeliveryMode, KafkaCoordinates, Layout, RowAction, Step, WriteBatch};
use crate::target::sql::{WriteColumn, cell_of, key_cells, origin_bytes, version_bytes, write_columns, write_key_text};
use crate::target::text::write_text;

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Param {
    /// The row has no such column, or the change did not carry it.
    Absent,
    Null,
    Integer(i64),
    Real(f64),
    Text(Range<usize>),
    Blob(Range<usize>),
}

/// What to do with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Upsert,
    Patch,
    Delete,
    Append,
}

/// One operation; its parameters are `params[first..first + columns.len()]` of its table.
#[derive(Debug)]
pub(super) struct Op {
    pub event: u32,
    pub action: Action,
    pub first: usize,
    /// at_least_once: the order token, and the key as text (the origin for rows without key).
    pub version: [u8; 28],
    pub identity: Range<usize>,
}

/// Operations of one layout.
#[derive(Debug)]
pub(super) struct Table {
    pub layout: Arc<Layout>,
    pub columns: Vec<WriteColumn>,
    pub params: Vec<Param>,
    pub ops: Vec<Op>,
}

/// A step of the plan.
#[derive(Debug)]
pub(super) enum Work {
    Rows(Vec<Table>),
    Truncate(Arc<Layout>),
}

/// A dead letter with everything that is stored.
#[derive(Debug)]
pub(super) struct Letter {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub table: String,
    pub reason: Reason,
    pub message: String,
    pub record_ts_ms: i64,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub headers: Range<usize>,
    pub kafka: Option<KafkaCoordinates>,
}

/// A batch that owns all it needs.
#[derive(Debug)]
pub(super) struct Job {
    pub pipeline: String,
    pub mode: DeliveryMode,
    pub arena: Vec<u8>,
    pub work: Vec<Work>,
    pub advances: Vec<Advance>,
    pub letters: Vec<Letter>,
    pub settled: Vec<KafkaCoordinates>,
    pub effects: Vec<(Arc<str>, i32, i64)>,
    pub lossy: Vec<Lossy>,
    pub now_ms: i64,
}

/// Encodes a batch.
pub(super) fn encode(write: &WriteBatch<'_>, ledger: bool) -> Result<Job, TargetError> {
    let mut arena = Vec::with_capacity(write.batch.data.len() / 2);
    let mut losses = Losses::default();
    let mut work = Vec::with_capacity(write.steps.len());
    for step in write.steps {
        work.push(match step {
            Step::Truncate(layout) => Work::Truncate(Arc::clone(layout)),
            Step::Rows(tables) => {
                let mut out = Vec::with_capacity(tables.len());
                for table in tables {
                    out.push(encode_table(write, &table.layout, &table.ops, &mut arena, &mut losses)?);
                }
                Work::Rows(out)
            }
        });
    }
    let letters =
        write.dead_letters.iter().filter_map(|letter| encode_letter(write.batch, letter, &mut arena)).collect();
    let effects = if ledger { write.effects } else { &[] };
    Ok(Job {
        pipeline: write.pipeline.to_owned(),
        mode: write.mode,
        work,
        advances: write.advances.to_vec(),
        letters,
        settled: write.settled.to_vec(),
        effects: effects.iter().filter_map(|at| origin(write.batch, *at)).collect(),
        now_ms: write.now_ms,
        lossy: losses.into_inner(),
        arena,
    })
}

fn origin(batch: &Batch, event: u32) -> Option<(Arc<str>, i32, i64)> {
    let origin = batch.events.get(event as usize)?.origin;
    let topic = batch.topics.get(origin.topic as usize)?;
    Some((Arc::clone(topic), origin.partition, origin.offset))
}

fn encode_table(
    write: &WriteBatch<'_>,
    layout: &Arc<Layout>,
    ops: &[crate::target::plan::RowOp],
    arena: &mut Vec<u8>,
    losses: &mut Losses,
) -> Result<Table, TargetError> {
    let columns = write_columns(layout);
    let mut table = Table {
        layout: Arc::clone(layout),
        params: Vec::with_capacity(ops.len() * columns.len()),
        ops: Vec::new(),
        columns,
    };
    table.ops.reserve(ops.len());
    let guarded = write.mode == DeliveryMode::AtLeastOnce;
    for op in ops {
        let key = key_cells(write.batch, layout, op.key);
        let (action, row) = match op.action {
            RowAction::Upsert(row) => (Action::Upsert, Some(row)),
            RowAction::Patch(row) => (Action::Patch, Some(row)),
            RowAction::Append(row) => (Action::Append, Some(row)),
            RowAction::Delete => (Action::Delete, None),
        };
        let first = table.params.len();
        let mut action = action;
        for column in &table.columns {
            let cell = cell_of(write.batch, key, row, column.from);
            // A value that was not sent must never overwrite one that is there.
            if cell.kind == CellKind::Unavailable && action == Action::Upsert {
                action = Action::Patch;
            }
            let typed = read(write.batch, cell, &column.ty).map_err(|unfit| {
                let message = format!("the value of the column `{}` of `{}` {unfit}", column.name, layout.table);
                TargetError::new(ErrorKind::BadValue, message).at_event(op.event).caused_by(unfit)
            })?;
            if let Some(loss) = typed.loss {
                losses.add(&layout.table, &column.name, loss.as_str(), op.event);
            }
            table.params.push(encode_value(&typed.value, arena));
        }
        let start = arena.len();
        if guarded && action == Action::Append {
            if let Some((topic, partition, offset)) = origin(write.batch, op.event) {
                arena.extend_from_slice(&origin_bytes(&topic, partition, offset));
            }
        } else if guarded {
            write_key_text(write.batch, key, arena);
        }
        let version = if guarded { version_bytes(op.version) } else { [0; 28] };
        table.ops.push(Op { event: op.event, action, first, version, identity: start..arena.len() });
    }
    Ok(table)
}

fn encode_letter(batch: &Batch, letter: &crate::target::plan::DeadLetter, arena: &mut Vec<u8>) -> Option<Letter> {
    let event = batch.events.get(letter.event as usize)?;
    let mut keep = |bytes: &[u8]| {
        let start = arena.len();
        arena.extend_from_slice(bytes);
        start..arena.len()
    };
    let stored = letter.kafka.is_none();
    Some(Letter {
        topic: batch.topics.get(event.origin.topic as usize).cloned().unwrap_or_else(|| Arc::from("")),
        partition: event.origin.partition,
        offset: event.origin.offset,
        table: batch.destination(event).to_owned(),
        reason: letter.reason,
        message: letter.message.clone(),
        record_ts_ms: event.broker_ts_ms,
        key: event.raw_key.map(|span| keep(batch.bytes(span))),
        value: event.raw_value.filter(|_| stored).map(|span| keep(batch.bytes(span))),
        headers: keep(if stored { batch.bytes(event.raw_headers) } else { &[] }),
        kafka: letter.kafka.clone(),
    })
}

/// A value as SQLite keeps it: what it has no type for is text.
fn encode_value(value: &Value<'_>, arena: &mut Vec<u8>) -> Param {
    match value {
        Value::Unset => Param::Absent,
        Value::Null => Param::Null,
        Value::Bool(value) => Param::Integer(i64::from(*value)),
        Value::Int(value) => Param::Integer(*value),
        // SQLite would turn NaN into NULL.
        Value::Float(value) if !value.is_nan() => Param::Real(*value),
        Value::Bytes(bytes) => Param::Blob(keep(bytes, arena)),
        Value::Geometry { wkb: Some(wkb), .. } => Param::Blob(keep(wkb, arena)),
        other => {
            let start = arena.len();
            write_text(other, arena);
            Param::Text(start..arena.len())
        }
    }
}

fn keep(bytes: &[u8], arena: &mut Vec<u8>) -> Range<usize> {
    let start = arena.len();
    arena.extend_from_slice(bytes);
    start..arena.len()
}
