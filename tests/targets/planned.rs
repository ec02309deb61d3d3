//! Planned batches from JSON values: the fixture of the targets, spoken to as a document store's tests like to.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde_json::Value;
use whimbrel::event::{Reason, Row, SourceType};
use whimbrel::target::{Advance, DeliveryMode, Layout, RowAction};

use super::fixture::{self, V};

/// Stands for a value Debezium did not send.
pub(super) const UNAVAILABLE: &str = "__unavailable__";

pub(super) const TOPIC: &str = "shop.public.t";
pub(super) const PIPELINE: &str = "p1";

/// A layout whose first columns are the key.
pub(super) fn layout(table: &str, columns: &[(&str, SourceType)], key: &[&str]) -> Arc<Layout> {
    assert!(columns.iter().zip(key).all(|((column, _), key)| column == key), "the key columns come first");
    fixture::layout(table, key.len(), columns, false)
}

/// A batch in the making.
pub(super) struct Planned(fixture::Planned);

impl Deref for Planned {
    type Target = fixture::Planned;

    fn deref(&self) -> &fixture::Planned {
        &self.0
    }
}

impl DerefMut for Planned {
    fn deref_mut(&mut self) -> &mut fixture::Planned {
        &mut self.0
    }
}

impl Planned {
    pub(super) fn new(mode: DeliveryMode) -> Self {
        let mut planned = fixture::Planned::new(mode);
        planned.pipeline = PIPELINE.into();
        planned.topic = TOPIC.into();
        Self(planned)
    }

    pub(super) fn advance(&mut self, expected: Option<i64>, next: i64) -> &mut Self {
        self.0.advances.push(Advance { topic: Arc::from(TOPIC), partition: 0, expected, next });
        self
    }

    /// Adds an operation at this offset, which is also its version.
    pub(super) fn op(
        &mut self,
        layout: &Arc<Layout>,
        offset: i64,
        values: &Value,
        action: fn(Row) -> RowAction,
    ) -> &mut Self {
        let key = Texts::of(values, layout.key.iter().map(|column| &*column.name));
        let row = Texts::of(values, layout.columns.iter().map(|column| &*column.name));
        self.0.offset = offset;
        self.0.push_op(layout, offset.unsigned_abs(), Some(&key.cells()), &row.cells(), action);
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
        self.0.offset = offset;
        self.0.push_dead_letter(Some(key), b"\xffbroken", reason);
        self
    }
}

/// Some of the values, and how they stand in a message.
struct Texts<'a>(Vec<(Option<&'a Value>, String)>);

impl<'a> Texts<'a> {
    fn of<'b>(values: &'a Value, names: impl Iterator<Item = &'b str>) -> Self {
        Self(names.map(|name| values.get(name)).map(|value| (value, value.map(text).unwrap_or_default())).collect())
    }

    fn cells(&self) -> Vec<V<'_>> {
        self.0.iter().map(|(value, text)| cell(*value, text)).collect()
    }
}

/// A value as it stands in a message: strings without their quotes.
fn text(value: &Value) -> String {
    let json = value.to_string();
    match value {
        Value::String(_) => json[1..json.len() - 1].to_owned(),
        _ => json,
    }
}

fn cell<'a>(value: Option<&Value>, text: &'a str) -> V<'a> {
    match value {
        None => V::Absent,
        Some(Value::Null) => V::Null,
        Some(Value::Bool(value)) => V::Bool(*value),
        Some(Value::Number(_)) => V::Num(text),
        Some(Value::String(value)) if value == UNAVAILABLE => V::Unavailable,
        Some(Value::String(_)) if text.contains('\\') => V::Escaped(text),
        Some(Value::String(_)) => V::Text(text),
        Some(Value::Array(_) | Value::Object(_)) => V::Json(text),
    }
}
