//! What the pipeline tells of a batch once it is durable. Counters move here and nowhere else, so a retried batch counts
//! once.

use std::sync::Arc;

use super::hops::HopSamples;
use crate::event::{Op, Reason};

/// A durable batch.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// Applied events: (source, source table, operation, count). The source is the logical server name.
    pub events: Vec<(Arc<str>, Arc<str>, Op, u64)>,
    /// Newest commit time per table.
    pub tables: Vec<TableLag>,
    /// Newest commit time per partition.
    pub watermarks: Vec<Watermark>,
    /// How long the way took.
    pub hops: HopSamples,
    /// Rows written or deleted at the target.
    pub rows: u64,
    /// Bytes of payload read.
    pub bytes: u64,
    /// Events stored as dead letters, by reason.
    pub dead_letters: Vec<(Reason, u64)>,
    /// Unchanged TOAST values left alone.
    pub toast: u64,
    /// Conversions that lost information.
    pub lossy: Vec<LossyCount>,
    /// Events a plugin dropped.
    pub dropped: u64,
    /// Rows the version guard skipped because the target had a newer one.
    pub skipped_older: u64,
}

/// The newest event of a table in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLag {
    /// Topic it was read from: its lag is the lag of that topic's partitions.
    pub topic: Arc<str>,
    /// Source table, `schema.table` or `db.table`.
    pub source_table: Arc<str>,
    /// Table or collection at the target.
    pub target_table: Arc<str>,
    /// Newest commit time, milliseconds since 1970 by the source's clock; 0 when the source did not say.
    pub newest_source_ts_ms: i64,
}

/// The newest event of a partition in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Newest commit time, milliseconds since 1970 by the source's clock; 0 when the source did not say.
    pub newest_source_ts_ms: i64,
}

/// Lossy conversions of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossyCount {
    /// Target table.
    pub table: Arc<str>,
    /// Column.
    pub column: Arc<str>,
    /// Values.
    pub count: u64,
}
