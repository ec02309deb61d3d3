//! What a target is asked to write: one batch, planned.
//!
//! The planner in `pipeline/` has already mapped tables and columns, coalesced events per key to their final state and
//! split off dead letters; a target only encodes and writes. All spans and rows refer to the [`Batch`] that travels along.

use std::sync::Arc;

use crate::batch::Batch;
use crate::event::{Reason, Row, SourcePosition, SourceType};

/// How delivery is kept (DELIVERY.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Offsets, rows and dead letters in one target transaction, fenced by compare-and-set.
    ExactlyOnce,
    /// Rows carry a version and are written only if newer; offsets are stored after the rows.
    AtLeastOnce,
}

/// A column of a target table as one shape of a source table fills it.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutColumn {
    /// Name in the target.
    pub name: Arc<str>,
    /// What the source says the value is.
    pub ty: SourceType,
    /// May be null at the source.
    pub nullable: bool,
    /// False when the mapping leaves the column out.
    pub write: bool,
    /// Position in the key, when it is part of it.
    pub key: Option<usize>,
}

/// A key column of a target table.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyColumn {
    /// Name in the target.
    pub name: Arc<str>,
    /// What the source says the value is.
    pub ty: SourceType,
}

/// One target table as one shape of a source table fills it. The same `Arc` comes again for the same shape, so targets
/// may cache by pointer what they derive from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Table or collection in the target (after mapping; may be `schema.table` for SQL targets).
    pub table: Arc<str>,
    /// One per cell of a row, in order. Empty for layouts that only delete.
    pub columns: Vec<LayoutColumn>,
    /// The key; empty for tables without one.
    pub key: Vec<KeyColumn>,
    /// The target may create the table, or add columns, from this layout when it is missing.
    pub create: bool,
}

/// The order token of a row (DELIVERY.md): source position first, then partition and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RowVersion {
    /// Position at the source.
    pub position: SourcePosition,
    /// Kafka partition.
    pub partition: i32,
    /// Kafka offset.
    pub offset: i64,
}

/// What to do with the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowAction {
    /// Make the row be exactly this, whether or not it exists.
    Upsert(Row),
    /// Write only the cells that are neither `Absent` nor `Unavailable`; the row should exist, but create it if not.
    Patch(Row),
    /// Remove the row; nothing to do when it is not there.
    Delete,
    /// A row of a table without key: insert it. Its identity is the origin of its event.
    Append(Row),
}

/// The final state of one key in this batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowOp {
    /// The last event of the key, index into [`Batch::events`].
    pub event: u32,
    /// First of `layout.key.len()` consecutive key cells in [`Batch::cells`].
    pub key: u32,
    /// Order token of the last event.
    pub version: RowVersion,
    /// What to do.
    pub action: RowAction,
}

/// Rows of one layout, over distinct keys: may be written in any order among themselves.
#[derive(Debug, Clone)]
pub struct TableWrite {
    /// Where and how.
    pub layout: Arc<Layout>,
    /// What.
    pub ops: Vec<RowOp>,
}

/// Steps are done in order; the writes inside one step are over distinct (table, key) pairs and may be done in any order.
#[derive(Debug, Clone)]
pub enum Step {
    /// Write rows.
    Rows(Vec<TableWrite>),
    /// Empty a table (source truncate, when the mapping says to follow it).
    Truncate(Arc<Layout>),
}

/// The move of one partition's frontier that this batch makes durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// What the target must hold now; `None`: no state row yet.
    pub expected: Option<i64>,
    /// The next offset to read after this batch.
    pub next: i64,
}

/// An event that is stored as a dead letter, in the same transaction as the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Index into [`Batch::events`]; the event holds key, value, headers and origin.
    pub event: u32,
    /// Why.
    pub reason: Reason,
    /// The sentence for people; holds no row values.
    pub message: String,
    /// Where the full record was put when dead letters go to a Kafka topic; the store then keeps no payload.
    pub kafka: Option<KafkaCoordinates>,
}

/// A record in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KafkaCoordinates {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// One planned batch.
#[derive(Debug)]
pub struct WriteBatch<'a> {
    /// Pipeline name: part of the identity of state rows and dead letters.
    pub pipeline: &'a str,
    /// Mode.
    pub mode: DeliveryMode,
    /// The events and their bytes.
    pub batch: &'a Batch,
    /// Rows to write.
    pub steps: &'a [Step],
    /// Frontier moves; empty when dead letters are re-driven.
    pub advances: &'a [Advance],
    /// Dead letters to store.
    pub dead_letters: &'a [DeadLetter],
    /// Dead letters that this batch settles: deleted in the same transaction. Missing ones fail the batch as fenced.
    pub settled: &'a [KafkaCoordinates],
    /// Insert one row (topic, partition, offset) per applied or dropped event into the effects ledger, when the target's
    /// `ledger` option is set. Indexes into [`Batch::events`].
    pub effects: &'a [u32],
    /// Now, milliseconds since 1970, for `updated_at` columns.
    pub now_ms: i64,
}
