//! Planned batches, built by hand as the pipeline's planner would build them.

use std::sync::Arc;

use serde_json::Value;
use whimbrel::batch::Batch;
use whimbrel::event::{
    Cell, CellKind, Column, Event, Kind, Op, Origin, Reason, Row, Shape, SourcePosition, SourceType, Span, Verdict,
};
use whimbrel::target::{
    Advance, DeadLetter, DeliveryMode, KafkaCoordinates, KeyColumn, Layout, LayoutColumn, RowAction, RowOp, RowVersion,
    Step, TableWrite, WriteBatch,
};

/// Stands for a value Debezium did not send.
pub(super) const UNAVAILABLE: &str = "__unavailable__";

pub(super) const TOPIC: &str = "shop.public.t";
pub(super) const PIPELINE: &str = "p1";

/// A layout: columns with their types, and which of them are the key.
pub(super) fn layout(table: &str, columns: &[(&str, SourceType)], key: &[&str]) -> Arc<Layout> {
    let columns: Vec<LayoutColumn> = columns
        .iter()
        .map(|(name, ty)| LayoutColumn {
            name: Arc::from(*name),
            ty: ty.clone(),
            nullable: true,
            write: true,
            key: key.iter().position(|k| k == name),
        })
        .collect();
    let key = key
        .iter()
        .map(|name| {
            let column = columns.iter().find(|c| &*c.name == *name).unwrap();
            KeyColumn { name: Arc::clone(&column.name), ty: column.ty.clone() }
        })
        .collect();
    Arc::new(Layout { table: Arc::from(table), columns, key, create: false })
}

/// A batch in the making.
pub(super) struct Planned {
    pub(super) batch: Batch,
    pub(super) mode: DeliveryMode,
    pub(super) steps: Vec<Step>,
    pub(super) advances: Vec<Advance>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) settled: Vec<KafkaCoordinates>,
    pub(super) effects: Vec<u32>,
}

impl Planned {
    pub(super) fn new(mode: DeliveryMode) -> Self {
        let mut batch = Batch::default();
        batch.topic_index(&Arc::from(TOPIC));
        Self { batch, mode, steps: vec![], advances: vec![], dead_letters: vec![], settled: vec![], effects: vec![] }
    }

    pub(super) fn write(&self) -> WriteBatch<'_> {
        WriteBatch {
            pipeline: PIPELINE,
            mode: self.mode,
            batch: &self.batch,
            steps: &self.steps,
            advances: &self.advances,
            dead_letters: &self.dead_letters,
            settled: &self.settled,
            effects: &self.effects,
            now_ms: 1_764_000_000_000,
        }
    }

    pub(super) fn advance(&mut self, expected: Option<i64>, next: i64) -> &mut Self {
        self.advances.push(Advance { topic: Arc::from(TOPIC), partition: 0, expected, next });
        self
    }

    /// An event at this offset; its Kafka key and value are made up from what is given.
    pub(super) fn event(&mut self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
        let raw_key = key.map(|key| self.batch.push_bytes(key));
        let raw_value = value.map(|value| self.batch.push_bytes(value));
        let raw_headers = self.batch.push_headers([("h", Some(&b"1"[..]))]);
        let destination = self.batch.name_index(&Arc::from("public.t"));
        self.batch.events.push(Event {
            origin: Origin { topic: 0, partition: 0, offset },
            broker_ts_ms: 1_763_000_000_000,
            kind: Kind::Change(Op::Update),
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
            position: SourcePosition { major: offset.unsigned_abs(), minor: 0 },
            snapshot: false,
            verdict: Verdict::Keep,
        });
        u32::try_from(self.batch.events.len() - 1).unwrap()
    }

    pub(super) fn cell(&mut self, value: Option<&Value>) -> Cell {
        let (kind, span) = match value {
            None => (CellKind::Absent, Span::default()),
            Some(Value::Null) => (CellKind::Null, Span::default()),
            Some(Value::Bool(true)) => (CellKind::True, Span::default()),
            Some(Value::Bool(false)) => (CellKind::False, Span::default()),
            Some(Value::Number(number)) => (CellKind::Number, self.batch.push_bytes(number.to_string().as_bytes())),
            Some(Value::String(text)) if text == UNAVAILABLE => (CellKind::Unavailable, Span::default()),
            Some(Value::String(text)) => {
                let json = serde_json::to_string(text).unwrap();
                let inside = &json[1..json.len() - 1];
                let kind = if inside.contains('\\') { CellKind::Escaped } else { CellKind::Text };
                (kind, self.batch.push_bytes(inside.as_bytes()))
            }
            Some(nested) => (CellKind::Json, self.batch.push_bytes(nested.to_string().as_bytes())),
        };
        Cell { span, kind }
    }

    fn row(&mut self, layout: &Layout, values: &Value) -> Row {
        let cells: Vec<Cell> = layout.columns.iter().map(|c| self.cell(values.get(&*c.name))).collect();
        let columns =
            layout.columns.iter().map(|c| Column { name: Arc::clone(&c.name), ty: c.ty.clone(), nullable: true });
        let shape = self.batch.shape_index(&Arc::new(Shape { columns: columns.collect() }));
        self.batch.push_row(shape, cells)
    }

    fn key(&mut self, layout: &Layout, values: &Value) -> u32 {
        let first = u32::try_from(self.batch.cells.len()).unwrap();
        for column in &layout.key {
            let cell = self.cell(values.get(&*column.name));
            self.batch.cells.push(cell);
        }
        first
    }

    /// Adds an operation at this offset; rows of one step are over distinct keys.
    pub(super) fn op(
        &mut self,
        layout: &Arc<Layout>,
        offset: i64,
        values: &Value,
        action: fn(Row) -> RowAction,
    ) -> &mut Self {
        let event = self.event(offset, Some(values.to_string().as_bytes()), Some(b"{}"));
        let key = self.key(layout, values);
        let row = self.row(layout, values);
        let position = SourcePosition { major: offset.unsigned_abs(), minor: 0 };
        let op = RowOp { event, key, version: RowVersion { position, partition: 0, offset }, action: action(row) };
        self.effects.push(event);
        if !matches!(self.steps.last(), Some(Step::Rows(_))) {
            self.steps.push(Step::Rows(vec![]));
        }
        let Some(Step::Rows(tables)) = self.steps.last_mut() else { unreachable!() };
        match tables.iter_mut().find(|table| Arc::ptr_eq(&table.layout, layout)) {
            Some(table) => table.ops.push(op),
            None => tables.push(TableWrite { layout: Arc::clone(layout), ops: vec![op] }),
        }
        self
    }

    pub(super) fn upsert(&mut self, layout: &Arc<Layout>, offset: i64, values: &Value) -> &mut Self {
        self.op(layout, offset, values, RowAction::Upsert)
    }

    pub(super) fn patch(&mut self, layout: &Arc<Layout>, offset: i64, values: &Value) -> &mut Self {
        self.op(layout, offset, values, RowAction::Patch)
    }

    pub(super) fn append(&mut self, layout: &Arc<Layout>, offset: i64, values: &Value) -> &mut Self {
        self.op(layout, offset, values, RowAction::Append)
    }

    pub(super) fn delete(&mut self, layout: &Arc<Layout>, offset: i64, values: &Value) -> &mut Self {
        self.op(layout, offset, values, |_| RowAction::Delete)
    }

    pub(super) fn dead_letter(&mut self, offset: i64, key: &[u8], reason: Reason) -> &mut Self {
        let event = self.event(offset, Some(key), Some(b"\xffbroken"));
        let message = format!("{reason} in the test");
        self.dead_letters.push(DeadLetter { event, reason, message, kafka: None });
        self
    }
}
