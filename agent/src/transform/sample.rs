//! Events written by hand, as JSON: for replaying a plugin outside a pipeline. The same members as in
//! [`super::stored`], so what a plugin reads as JSON can be written down as a sample.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stored::{self, Image};
use crate::batch::Batch;
use crate::event::{Event, Kind, Op, Origin, SourcePosition, Span, Verdict};

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
            let mut row = |image: &Option<Image>| image.as_ref().map(|image| stored::row(&mut batch, None, image));
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
