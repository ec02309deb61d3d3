//! Events as JSON, written by hand or by an agent: for replaying a plugin outside a pipeline. The same members as in
//! [`super::stored`], so what a plugin reads as JSON can be written down as a sample.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stored::{self, Image};
use crate::batch::Batch;
use crate::event::{Cell, CellKind, Column, Event, Kind, Op, Origin, Row, Shape, SourcePosition, Span, Verdict, words};

/// One change event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// "create", "update", "delete", …
    pub operation: String,
    /// The table's full name.
    pub table: String,
    /// Milliseconds since 1970 at the source; 0: unknown.
    #[serde(default)]
    pub source_time: i64,
    /// Types of columns at the source, in the words of `decode.types`. Of any other column only its JSON is known.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub types: IndexMap<String, String>,
    /// The key.
    #[serde(default)]
    pub key: Option<Image>,
    /// The row before the change.
    #[serde(default)]
    pub before: Option<Image>,
    /// The row after it.
    #[serde(default)]
    pub after: Option<Image>,
}

const OPERATIONS: [Op; 6] = [Op::Create, Op::Update, Op::Delete, Op::Read, Op::Truncate, Op::Message];

impl Sample {
    /// A batch of these events.
    ///
    /// # Errors
    /// With a sentence when an operation is none.
    pub fn batch<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Result<Batch, String> {
        let mut batch = Batch::default();
        let topic = batch.topic_index(&Arc::from("sample"));
        for (offset, sample) in samples.into_iter().enumerate() {
            let op = OPERATIONS.into_iter().find(|op| op.as_str() == sample.operation).ok_or_else(|| {
                let known = OPERATIONS.map(Op::as_str).join(", ");
                format!("`{}` is no operation; write one of {known}", sample.operation)
            })?;
            let destination = batch.name_index(&Arc::from(sample.table.as_str()));
            let typed = typed(&mut batch, &sample.types)?;
            let mut row = |image: &Option<Image>| image.as_ref().map(|image| stored::row(&mut batch, typed, image));
            let (key, before, after) = (row(&sample.key), row(&sample.before), row(&sample.after));
            batch.events.push(Event {
                origin: Origin { topic, partition: 0, offset: i64::try_from(offset).unwrap_or(i64::MAX) },
                broker_ts_ms: 0,
                kind: Kind::Change(op),
                table: 0,
                destination,
                key,
                before,
                after,
                raw_key: None,
                raw_value: None,
                raw_headers: Span::default(),
                source_ts_us: sample.source_time.saturating_mul(1000),
                captured_ts_us: 0,
                position: SourcePosition::default(),
                snapshot: false,
                verdict: Verdict::Keep,
            });
        }
        Ok(batch)
    }

    /// An event of a batch, as it is now.
    ///
    /// # Errors
    /// When it holds what is no JSON.
    pub(super) fn of(batch: &Batch, event: &Event) -> serde_json::Result<Self> {
        let mut sample: Sample = serde_json::from_slice(&stored::event_json(batch, event))?;
        for shape in [event.key, event.before, event.after].into_iter().flatten().filter_map(|row| batch.shape(row)) {
            for column in &shape.columns {
                // A word that cannot be read again says nothing.
                if let Some(words) = words::of(&column.ty).filter(|words| words::parse(words).is_some()) {
                    sample.types.entry(column.name.to_string()).or_insert(words);
                }
            }
        }
        Ok(sample)
    }

    /// How many bytes its rows have as JSON, more or less.
    pub(super) fn size(&self) -> usize {
        let images = [&self.key, &self.before, &self.after];
        images.into_iter().flatten().flatten().map(|(name, raw)| name.len() + raw.get().len()).sum()
    }

    /// What became of the events of a batch: of each its verdict, and what goes on of it.
    #[must_use]
    pub fn outcomes(batch: &Batch) -> Vec<Value> {
        let outcome = |event: &Event| match event.verdict {
            Verdict::Drop => json!({ "verdict": "drop" }),
            Verdict::Fail(_) => {
                let reason = batch.failure(event).map(|failure| failure.message.as_str());
                json!({ "verdict": "fail", "reason": reason })
            }
            Verdict::Keep => {
                let mut kept = json!({ "verdict": "keep" });
                if let (Some(kept), Ok(Value::Object(event))) =
                    (kept.as_object_mut(), serde_json::from_slice(&stored::event_json(batch, event)))
                {
                    kept.extend(event);
                }
                kept
            }
        };
        batch.events.iter().map(outcome).collect()
    }
}

/// A row of nulls whose columns have these types: rows that are made after it take them over.
fn typed(batch: &mut Batch, types: &IndexMap<String, String>) -> Result<Option<Row>, String> {
    if types.is_empty() {
        return Ok(None);
    }
    let column = |(name, words): (&String, &String)| match words::parse(words) {
        Some(ty) => Ok(Column { name: Arc::from(name.as_str()), ty, nullable: true }),
        None => Err(format!("types.{name}: `{words}` is not a type; write one of {}", words::KNOWN)),
    };
    let columns: Vec<Column> = types.iter().map(column).collect::<Result<_, _>>()?;
    let cells = vec![Cell::bare(CellKind::Null); columns.len()];
    let shape = batch.shape_index(&Arc::new(Shape { columns }));
    Ok(Some(batch.push_row(shape, cells)))
}

#[cfg(test)]
mod tests {
    use super::{Batch, Sample};
    use crate::event::SourceType;
    use crate::plugin::{ColumnPath, EventBatch as _, Image, Value};
    use crate::transform::View;

    #[test]
    fn an_event_that_is_written_down_reads_as_it_did_to_a_plugin() {
        let json = r#"{"operation":"update","table":"public.orders","source_time":1700000000001,
            "key":{"id":"5f2b1c9e-0000-4000-8000-000000000001"},"before":{"total":"AN4="},
            "after":{"id":"5f2b1c9e-0000-4000-8000-000000000001","total":"AN4=","paid":"2024-02-29T00:00:00Z","raw":"AQI=","note":null}}"#;
        let mut sample: Sample = serde_json::from_str(json).unwrap();
        for (name, words) in [("id", "uuid"), ("total", "decimal(2)"), ("paid", "zoned_timestamp"), ("raw", "bytes")] {
            sample.types.insert(name.to_owned(), words.to_owned());
        }
        let batch = Sample::batch([&sample]).unwrap();
        let event = &batch.events[0];
        let after = batch.shape(event.after.unwrap()).unwrap();
        let types: Vec<_> = after.columns.iter().map(|column| column.ty.clone()).collect();
        let decimal = SourceType::Decimal { scale: 2 };
        assert_eq!(
            types,
            [SourceType::Uuid, decimal, SourceType::ZonedTimestamp, SourceType::Bytes, SourceType::Unknown]
        );
        let again = Sample::of(&batch, event).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&sample).unwrap());
        let values = |batch: &Batch, column: &'static str| {
            View::new(batch.clone()).read_values(ColumnPath { image: Image::After, column })
        };
        let (was, is) = (&batch, &Sample::batch([&again]).unwrap());
        for column in ["id", "total", "paid", "raw", "note"] {
            assert_eq!(values(was, column), values(is, column), "{column}");
        }
        assert_eq!(values(is, "total"), [Value::Tagged(("decimal".to_owned(), "AN4=".to_owned()))]);

        sample.types.insert("total".to_owned(), "money".to_owned());
        let error = Sample::batch([&sample]).unwrap_err();
        assert!(error.starts_with("types.total: `money` is not a type; write one of boolean,"), "{error}");
    }
}
