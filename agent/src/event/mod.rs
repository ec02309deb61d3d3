//! One change event, as spans into the arena of the [`Batch`](crate::batch::Batch) it travels in.
//!
//! Owns the vocabulary every stage shares: where an event came from ([`Origin`]), what it is ([`Kind`], [`Op`]), which
//! row images it carries ([`Row`], [`Cell`]), what a column means ([`Shape`], [`SourceType`]) and what became of it
//! ([`Verdict`]). No I/O, no clock, no owned payload bytes: those live in the batch.

pub mod words;

use std::fmt;
use std::sync::Arc;

/// A run of bytes in the arena of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// The span as an index range.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// How the bytes of a [`Cell`] are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CellKind {
    /// The row has no such column: removed by a plugin, or never sent.
    Absent,
    /// Debezium's placeholder for a value that the change did not touch (TOAST): leave the target's column alone.
    Unavailable,
    /// SQL NULL or JSON null.
    Null,
    /// JSON `false`.
    False,
    /// JSON `true`.
    True,
    /// A JSON number, as written.
    Number,
    /// Plain UTF-8 text: the value itself, without quotes and without escapes.
    Text,
    /// The inside of a JSON string, quotes excluded, with at least one backslash escape.
    Escaped,
    /// A JSON object or array, as written.
    Json,
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Where its bytes are; meaningless for the kinds that have none.
    pub span: Span,
    /// How to read them.
    pub kind: CellKind,
}

impl Cell {
    /// A cell without bytes.
    #[must_use]
    pub const fn bare(kind: CellKind) -> Self {
        Self { span: Span { start: 0, len: 0 }, kind }
    }
}

/// A row image: `shape.columns.len()` consecutive cells of the batch, the first at `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index into [`Batch::shapes`](crate::batch::Batch::shapes).
    pub shape: u32,
    /// Index of its first cell in [`Batch::cells`](crate::batch::Batch::cells).
    pub first: u32,
}

/// What Debezium says happened (`op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `c`: inserted.
    Create,
    /// `u`: updated.
    Update,
    /// `d`: deleted.
    Delete,
    /// `r`: read by a snapshot.
    Read,
    /// `t`: the table was truncated.
    Truncate,
    /// `m`: a logical decoding message; not a row.
    Message,
}

impl Op {
    /// The word used in metric labels and by plugins.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Truncate => "truncate",
            Self::Message => "message",
        }
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A change of a row or a table.
    Change(Op),
    /// A null value after a delete, for log compaction: acknowledged, counted, does nothing.
    Tombstone,
    /// Debezium's sign of life on an idle source; its time is in [`Event::source_ts_us`].
    Heartbeat,
    /// Transaction metadata (BEGIN, END).
    Transaction,
    /// A schema change record (MySQL's history topic and the like).
    SchemaChange,
    /// Could not be understood; the verdict says why.
    Undecodable,
}

/// Where a record stood in Kafka. Together with the topic's name it identifies an event for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Index into [`Batch::topics`](crate::batch::Batch::topics).
    pub topic: u32,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// The source's own position of a change, comparable within one source: PostgreSQL `(lsn, 0)`, MySQL
/// `(file number, position)`, MongoDB `(seconds, ordinal)`. Several events may share one (a key change is a delete and
/// a create at one LSN), so an order token always ends with partition and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SourcePosition {
    /// The coarse part.
    pub major: u64,
    /// The fine part.
    pub minor: u64,
}

/// What the pipeline shall do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    Keep,
    /// A plugin dropped it: acknowledged, counted, not applied.
    Drop,
    /// To the dead letters; index into [`Batch::failures`](crate::batch::Batch::failures).
    Fail(u32),
}

/// One record of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where it came from.
    pub origin: Origin,
    /// Kafka's timestamp, milliseconds since 1970, 0 when the record has none.
    pub broker_ts_ms: i64,
    /// What it is.
    pub kind: Kind,
    /// Source table; index into [`Batch::tables`](crate::batch::Batch::tables). Meaningless for records that are not changes.
    pub table: u32,
    /// Destination name as plugins left it; index into [`Batch::names`](crate::batch::Batch::names). Starts as the source
    /// table's [`TableRef::qualified`] name.
    pub destination: u32,
    /// The record key as a row of key columns; `None` for tables without a primary key.
    pub key: Option<Row>,
    /// The row before the change, as far as the source sends it.
    pub before: Option<Row>,
    /// The row after the change.
    pub after: Option<Row>,
    /// Kafka key, as received.
    pub raw_key: Option<Span>,
    /// Kafka value, as received.
    pub raw_value: Option<Span>,
    /// Kafka headers in the packed form of [`Batch::headers`](crate::batch::Batch::headers).
    pub raw_headers: Span,
    /// Commit time at the source, microseconds since 1970, 0 when unknown. For a heartbeat: the connector's time.
    pub source_ts_us: i64,
    /// When the connector captured it, microseconds since 1970, 0 when unknown.
    pub captured_ts_us: i64,
    /// The source's position.
    pub position: SourcePosition,
    /// True when it stems from a snapshot.
    pub snapshot: bool,
    /// What is to be done with it.
    pub verdict: Verdict,
}

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TableRef {
    /// Connector kind as Debezium names it: `postgresql`, `mysql`, `mongodb`, …
    pub connector: String,
    /// Logical server name (`topic.prefix`).
    pub source: String,
    /// Database.
    pub db: String,
    /// Schema; empty where the source has none (MySQL, MongoDB).
    pub schema: String,
    /// Table or collection.
    pub table: String,
}

impl TableRef {
    /// `schema.table`, or `db.table` where there is no schema; the name that mappings and plugins see.
    #[must_use]
    pub fn qualified(&self) -> String {
        let owner = if self.schema.is_empty() { &self.db } else { &self.schema };
        if owner.is_empty() { self.table.clone() } else { format!("{owner}.{}", self.table) }
    }
}

/// What a column holds, once the connector's encoding is undone. Names follow Debezium's semantic types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceType {
    /// No schema was sent: take the JSON value as it is.
    Unknown,
    /// Boolean.
    Boolean,
    /// 8, 16 or 32 bit signed integer.
    Int32,
    /// 64 bit signed integer.
    Int64,
    /// 32 bit float; `"NaN"`, `"Infinity"` and `"-Infinity"` come as strings.
    Float32,
    /// 64 bit float; likewise.
    Float64,
    /// Text.
    Text,
    /// Base64 of bytes (`binary.handling.mode=bytes`).
    Bytes,
    /// Base64 of the unscaled big-endian two's complement; the scale stands in the schema.
    Decimal {
        /// Digits after the decimal point.
        scale: i32,
    },
    /// `{"scale": n, "value": base64}`.
    VariableDecimal,
    /// Days since 1970-01-01.
    DateDays,
    /// Milliseconds since midnight.
    TimeMillis,
    /// Microseconds since midnight.
    TimeMicros,
    /// Nanoseconds since midnight.
    TimeNanos,
    /// ISO time of day with zone.
    ZonedTime,
    /// Milliseconds since 1970 without zone.
    TimestampMillis,
    /// Microseconds since 1970 without zone.
    TimestampMicros,
    /// Nanoseconds since 1970 without zone.
    TimestampNanos,
    /// ISO 8601 with zone.
    ZonedTimestamp,
    /// ISO 8601 text of a date, time or timestamp without zone (`time.precision.mode=isostring`).
    IsoDate,
    /// See [`SourceType::IsoDate`].
    IsoTime,
    /// See [`SourceType::IsoDate`].
    IsoTimestamp,
    /// Microseconds; a year counts 365.25 days.
    IntervalMicros,
    /// ISO 8601 duration.
    IntervalIso,
    /// JSON in a string.
    Json,
    /// XML in a string.
    Xml,
    /// UUID in a string.
    Uuid,
    /// One of a set of words, in a string.
    Enum,
    /// MySQL SET: comma-separated words.
    EnumSet,
    /// Base64 of a bit string, least significant byte first.
    Bits {
        /// Declared number of bits; 0 when unlimited.
        length: u32,
    },
    /// A year number.
    Year,
    /// `{"x", "y", "wkb", "srid"}`.
    Geometry,
    /// A JSON array of the inner type.
    Array(Box<SourceType>),
    /// A JSON object with fixed fields.
    Struct(Vec<(String, SourceType)>),
    /// A JSON object with free keys.
    Map,
    /// A MongoDB document as extended JSON in a string.
    MongoDocument,
}

/// A column of a [`Shape`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    /// Name as the source has it.
    pub name: Arc<str>,
    /// What it holds.
    pub ty: SourceType,
    /// May be null (true when no schema says otherwise).
    pub nullable: bool,
}

/// One version of the columns of one table: all rows that share it have the same columns in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Columns in payload order; names are unique.
    pub columns: Vec<Column>,
}

impl Shape {
    /// Index of the column called `name`.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| &*c.name == name)
    }
}

/// Why an event went to the dead letters: a closed set, used as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not UTF-8 or not JSON.
    Malformed,
    /// JSON, but not an envelope or row this agent knows.
    NotAnEnvelope,
    /// Larger than the configured limit.
    TooLarge,
    /// The table has no key, and the operation needs one.
    NoKey,
    /// A value does not fit the type its schema or the target declares.
    BadValue,
    /// The target refused the row: constraint, validator, type.
    Rejected,
    /// A plugin said so.
    TransformFailed,
    /// A plugin crashed on it.
    TransformTrapped,
    /// An earlier event of the same key is parked: order is kept by parking this one behind it.
    ParkedBehind,
}

impl Reason {
    /// Every reason, for metrics and docs.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::NotAnEnvelope,
        Self::TooLarge,
        Self::NoKey,
        Self::BadValue,
        Self::Rejected,
        Self::TransformFailed,
        Self::TransformTrapped,
        Self::ParkedBehind,
    ];

    /// The metric label and stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAnEnvelope => "not_an_envelope",
            Self::TooLarge => "too_large",
            Self::NoKey => "no_key",
            Self::BadValue => "bad_value",
            Self::Rejected => "rejected",
            Self::TransformFailed => "transform_failed",
            Self::TransformTrapped => "transform_trapped",
            Self::ParkedBehind => "parked_behind",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason and the sentence that explains it to a person. Never contains row values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The closed reason.
    pub reason: Reason,
    /// What, where, how to mend it.
    pub message: String,
}
