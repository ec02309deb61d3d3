//! Targets: where rows are made durable. One folder each, all with the same files: `mod.rs` (the [`Target`] itself),
//! `config.rs`, `client.rs` (connecting, error kinds), `encode.rs` (cells to the target's bytes), `write.rs` (statements and
//! transactions), `state.rs` (offsets, dead letters, ledger).
//!
//! A target never reads from a source, never decides to retry and never drops a row: it writes a [`WriteBatch`] whole or
//! answers with a [`TargetError`] whose kind the pipeline looks up in its table.

#[cfg(test)]
pub mod cases;
pub mod error;
#[cfg(test)]
pub mod fixture;
pub mod losses;
pub mod mongodb;
pub mod plan;
pub mod postgres;
pub mod sql;
pub mod sqlite;
pub mod stdout;
pub mod text;

use std::any::Any;

use async_trait::async_trait;

pub use error::{ErrorKind, TargetError};
pub use plan::{
    Advance, DeadLetter, DeliveryMode, KafkaCoordinates, KeyColumn, Layout, LayoutColumn, RowAction, RowOp, RowVersion,
    Step, TableWrite, WriteBatch,
};

/// The stored frontier of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffset {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Next offset to read; `None` when the target knows nothing of this partition.
    pub next: Option<i64>,
}

/// What a successful [`Target::apply`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows written or deleted, as the server counted or as sent.
    pub rows: u64,
    /// Rows the version guard skipped because the target already had a newer one (at_least_once).
    pub skipped_older: u64,
    /// Conversions that lost information: (table, column, count).
    pub lossy: Vec<Lossy>,
}

/// A column whose conversions lost information in this batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lossy {
    /// Target table.
    pub table: String,
    /// Column.
    pub column: String,
    /// How many values.
    pub count: u64,
    /// What was lost, in words; no values.
    pub what: &'static str,
    /// First event concerned, index into the batch's events (its origin is logged).
    pub event: u32,
}

/// A dead letter as stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoredDeadLetter {
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: i32,
    /// Offset it was read from.
    pub offset: i64,
    /// Destination table as far as known.
    pub table: String,
    /// Reason label.
    pub reason: String,
    /// Sentence for people.
    pub message: String,
    /// When it was stored, milliseconds since 1970.
    pub stored_at_ms: i64,
    /// Kafka timestamp of the record, milliseconds since 1970.
    pub record_ts_ms: i64,
    /// Kafka key as received.
    #[serde(skip)]
    pub key: Option<Vec<u8>>,
    /// Kafka value as received; `None` also when the payload is in Kafka.
    #[serde(skip)]
    pub value: Option<Vec<u8>>,
    /// Packed headers (see [`crate::batch::Batch::push_headers`]).
    #[serde(skip)]
    pub headers: Vec<u8>,
    /// Where the full record is, when dead letters go to a Kafka topic.
    #[serde(skip)]
    pub kafka: Option<KafkaCoordinates>,
}

/// Which dead letters to read.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only this topic.
    pub topic: Option<String>,
    /// Only this partition.
    pub partition: Option<i32>,
    /// Only this offset.
    pub offset: Option<i64>,
    /// Only this reason.
    pub reason: Option<String>,
    /// Only records with this Kafka key.
    pub key: Option<Vec<u8>>,
    /// At most so many; ordered by topic, partition, offset.
    pub limit: usize,
}

/// The rows of a batch as their target sends them; only it can look inside.
pub struct Encoded(Box<dyn Any + Send>);

impl Encoded {
    /// Hides a target's own form.
    pub fn new(rows: impl Any + Send) -> Self {
        Self(Box::new(rows))
    }

    /// Shows it again to the target whose form it is.
    #[must_use]
    pub fn open<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|rows| *rows)
    }
}

/// Encodes the rows of a batch before it is its turn, on another thread than the one that writes. Has no connection.
pub trait Encoder: Send {
    /// The rows of `write`, of which only mode, batch, steps and time are looked at. `None` when more must be known than is
    /// known without a connection, or when a row cannot be encoded: [`Target::apply`] then does it, and says what is wrong.
    fn encode(&mut self, write: &WriteBatch<'_>) -> Option<Encoded>;
}

/// A place rows are made durable in.
#[async_trait]
pub trait Target: Send {
    /// Connects and makes sure that the state tables exist. Called again after errors that lost the connection.
    async fn open(&mut self) -> Result<(), TargetError>;

    /// The stored frontiers of these (topic, partition) pairs, in the same order.
    async fn offsets(&mut self, pipeline: &str, partitions: &[(String, i32)])
    -> Result<Vec<StoredOffset>, TargetError>;

    /// Writes a batch whole. In exactly_once mode: all in one transaction, first the compare-and-set of every advance
    /// (a miss is [`ErrorKind::Fenced`]), then rows, dead letters, effects; then commit. In at_least_once mode rows first,
    /// then dead letters, then offsets.
    async fn apply(&mut self, write: &WriteBatch<'_>) -> Result<Applied, TargetError>;

    /// What encodes rows for this target ahead of time; `None` when it cannot, or gains nothing by it.
    fn encoder(&self) -> Option<Box<dyn Encoder>> {
        None
    }

    /// [`Target::apply`] with rows that were encoded before.
    async fn apply_encoded(&mut self, write: &WriteBatch<'_>, rows: Encoded) -> Result<Applied, TargetError> {
        drop(rows);
        self.apply(write).await
    }

    /// Kafka keys that have dead letters of these topics: their later events must park behind them.
    async fn parked_keys(&mut self, pipeline: &str, topics: &[String]) -> Result<Vec<ParkedKey>, TargetError>;

    /// Stored dead letters, in order.
    async fn dead_letters(
        &mut self,
        pipeline: &str,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError>;

    /// How many dead letters are stored.
    async fn dead_letter_count(&mut self, pipeline: &str) -> Result<u64, TargetError>;

    /// A round trip, for readiness.
    async fn ping(&mut self) -> Result<(), TargetError>;
}

/// A key with dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParkedKey {
    /// Topic.
    pub topic: String,
    /// Kafka key as received.
    pub key: Vec<u8>,
}
