//! Planned batches for tests and benches of targets, built by hand. Also included by the tests crate, hence `whimbrel::`.

use std::sync::Arc;

use whimbrel::batch::Batch;
use whimbrel::event::{
    Cell, CellKind, Column, Event, Kind, Op, Origin, Reason, Row, Shape, SourcePosition, SourceType, Span, Verdict,
};
use whimbrel::target::{
    Advance, DeadLetter, DeliveryMode, KafkaCoordinates, KeyColumn, Layout, LayoutColumn, RowAction, RowOp, RowVersion,
    Step, TableWrite, WriteBatch,
};

/// A cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum V<'a> {
    /// No such column.
    Absent,
    /// Not sent (TOAST).
    Unavailable,
    /// Null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Num(&'a str),
    /// A string.
    Text(&'a str),
    /// The inside of a string with escapes.
    Escaped(&'a str),
    /// An object or array as written.
    Json(&'a str),
}

/// A layout whose key columns are the first `key` columns.
pub(crate) fn layout(table: &str, key: usize, columns: &[(&str, SourceType)], create: bool) -> Arc<Layout> {
    let column = |(i, (name, ty)): (usize, &(&str, SourceType))| LayoutColumn {
        name: Arc::from(*name),
        ty: ty.clone(),
        nullable: i >= key,
        write: true,
        key: (i < key).then_some(i),
    };
    let columns: Vec<LayoutColumn> = columns.iter().enumerate().map(column).collect();
    let key = columns.iter().take(key).map(|c| KeyColumn { name: Arc::clone(&c.name), ty: c.ty.clone() }).collect();
    Arc::new(Layout { table: Arc::from(table), columns, key, create })
}

/// A batch in the making.
pub(crate) struct Planned {
    /// Events and bytes.
    pub(crate) batch: Batch,
    /// Rows.
    pub(crate) steps: Vec<Step>,
    /// Frontier moves.
    pub(crate) advances: Vec<Advance>,
    /// Dead letters.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Settled dead letters.
    pub(crate) settled: Vec<KafkaCoordinates>,
    /// Ledger entries: one per row operation.
    pub(crate) effects: Vec<u32>,
    /// Mode.
    pub(crate) mode: DeliveryMode,
    /// Pipeline.
    pub(crate) pipeline: String,
    /// Topic of the events.
    pub(crate) topic: String,
    /// Offset of the next event.
    pub(crate) offset: i64,
    /// The clock.
    pub(crate) now_ms: i64,
}

impl Planned {
    /// An empty batch whose first event has offset 0 of partition 0 of `topic`.
    pub(crate) fn new(mode: DeliveryMode) -> Self {
        Self {
            batch: Batch::default(),
            steps: Vec::new(),
            advances: Vec::new(),
            dead_letters: Vec::new(),
            settled: Vec::new(),
            effects: Vec::new(),
            mode,
            pipeline: "shop".into(),
            topic: "topic".into(),
            offset: 0,
            now_ms: 1_700_000_000_000,
        }
    }

    /// The next event's offset.
    pub(crate) fn at(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }

    /// Adds a frontier move.
    pub(crate) fn advance(mut self, expected: Option<i64>, next: i64) -> Self {
        self.advances.push(Advance { topic: Arc::from(&*self.topic), partition: 0, expected, next });
        self
    }

    /// Row becomes exactly this; the version's position is `lsn`.
    pub(crate) fn upsert(self, layout: &Arc<Layout>, lsn: u64, row: &[V<'_>]) -> Self {
        self.op(layout, lsn, row, RowAction::Upsert)
    }

    /// Row gets these cells.
    pub(crate) fn patch(self, layout: &Arc<Layout>, lsn: u64, row: &[V<'_>]) -> Self {
        self.op(layout, lsn, row, RowAction::Patch)
    }

    /// Row of a table without key.
    pub(crate) fn append(self, layout: &Arc<Layout>, lsn: u64, row: &[V<'_>]) -> Self {
        self.op(layout, lsn, row, RowAction::Append)
    }

    /// Row goes; `key` holds the key cells.
    pub(crate) fn delete(self, layout: &Arc<Layout>, lsn: u64, key: &[V<'_>]) -> Self {
        self.op(layout, lsn, key, |_| RowAction::Delete)
    }

    /// Table is emptied.
    pub(crate) fn truncate(mut self, layout: &Arc<Layout>) -> Self {
        self.steps.push(Step::Truncate(Arc::clone(layout)));
        self
    }

    /// An event that becomes a dead letter.
    pub(crate) fn dead_letter(mut self, key: Option<&str>, value: &str, reason: Reason) -> Self {
        self.push_dead_letter(key.map(str::as_bytes), value.as_bytes(), reason);
        self
    }

    /// The same for bytes that need not be text.
    pub(crate) fn push_dead_letter(&mut self, key: Option<&[u8]>, value: &[u8], reason: Reason) {
        let event = self.event(0, key, Some(value));
        self.dead_letters.push(DeadLetter { event, reason, message: format!("because {reason}"), kafka: None });
    }

    /// Settles the dead letter at `offset` of this topic.
    pub(crate) fn settle(mut self, offset: i64) -> Self {
        self.settled.push(KafkaCoordinates { topic: self.topic.clone(), partition: 0, offset });
        self
    }

    /// The batch as a target sees it.
    pub(crate) fn write(&self) -> WriteBatch<'_> {
        WriteBatch {
            pipeline: &self.pipeline,
            mode: self.mode,
            batch: &self.batch,
            steps: &self.steps,
            advances: &self.advances,
            dead_letters: &self.dead_letters,
            settled: &self.settled,
            effects: &self.effects,
            now_ms: self.now_ms,
        }
    }

    fn op(mut self, layout: &Arc<Layout>, lsn: u64, cells: &[V<'_>], action: fn(Row) -> RowAction) -> Self {
        self.push_op(layout, lsn, None, cells, action);
        self
    }

    /// Adds a row operation; rows of one step are over distinct keys. Without a key that stands apart the row's first cells
    /// are the key.
    pub(crate) fn push_op(
        &mut self,
        layout: &Arc<Layout>,
        lsn: u64,
        key: Option<&[V<'_>]>,
        cells: &[V<'_>],
        action: fn(Row) -> RowAction,
    ) {
        let cells: Vec<Cell> = cells.iter().map(|v| self.cell(*v)).collect();
        let shape = Arc::new(Shape {
            columns: layout
                .columns
                .iter()
                .map(|c| Column { name: Arc::clone(&c.name), ty: c.ty.clone(), nullable: c.nullable })
                .collect(),
        });
        let first = u32::try_from(self.batch.cells.len()).unwrap();
        for value in key.unwrap_or_default() {
            let cell = self.cell(*value);
            self.batch.cells.push(cell);
        }
        let known = self.batch.shapes.iter().position(|s| **s == *shape);
        let shape = known.map_or_else(|| self.batch.shape_index(&shape), |at| u32::try_from(at).unwrap());
        let row = self.batch.push_row(shape, cells);
        let offset = self.offset;
        let event = self.event(lsn, None, None);
        self.effects.push(event);
        let version = RowVersion { position: SourcePosition { major: lsn, minor: 0 }, partition: 0, offset };
        let op = RowOp { event, key: first, version, action: action(row) };
        if !matches!(self.steps.last(), Some(Step::Rows(_))) {
            self.steps.push(Step::Rows(Vec::new()));
        }
        if let Some(Step::Rows(tables)) = self.steps.last_mut() {
            match tables.iter_mut().find(|t| Arc::ptr_eq(&t.layout, layout)) {
                Some(table) => table.ops.push(op),
                None => tables.push(TableWrite { layout: Arc::clone(layout), ops: vec![op] }),
            }
        }
    }

    fn event(&mut self, lsn: u64, key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
        let topic: Arc<str> = Arc::from(&*self.topic);
        let topic = self.batch.topic_index(&topic);
        let destination: Arc<str> = Arc::from("public.orders");
        let destination = self.batch.name_index(&destination);
        let raw_key = key.map(|k| self.batch.push_bytes(k));
        let raw_value = value.map(|v| self.batch.push_bytes(v));
        let raw_headers =
            if value.is_some() { self.batch.push_headers([("h", Some(&b"1"[..]))]) } else { Span::default() };
        self.batch.events.push(Event {
            origin: Origin { topic, partition: 0, offset: self.offset },
            broker_ts_ms: 1_600_000_000_000,
            kind: Kind::Change(Op::Create),
            table: 0,
            destination,
            key: None,
            before: None,
            after: None,
            raw_key,
            raw_value,
            raw_headers,
            source_ts_us: 0,
            captured_ts_us: 0,
            position: SourcePosition { major: lsn, minor: 0 },
            snapshot: false,
            verdict: Verdict::Keep,
        });
        self.offset += 1;
        u32::try_from(self.batch.events.len() - 1).unwrap()
    }

    fn cell(&mut self, value: V<'_>) -> Cell {
        let (kind, text) = match value {
            V::Absent => (CellKind::Absent, ""),
            V::Unavailable => (CellKind::Unavailable, ""),
            V::Null => (CellKind::Null, ""),
            V::Bool(false) => (CellKind::False, ""),
            V::Bool(true) => (CellKind::True, ""),
            V::Num(text) => (CellKind::Number, text),
            V::Text(text) => (CellKind::Text, text),
            V::Escaped(text) => (CellKind::Escaped, text),
            V::Json(text) => (CellKind::Json, text),
        };
        Cell { span: self.batch.push_bytes(text.as_bytes()), kind }
    }
}
