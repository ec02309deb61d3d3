//! Debezium records as bytes become events in a [`Batch`].
//!
//! Owns what a record means: envelopes with and without embedded schema, unwrapped rows, tombstones, heartbeats,
//! transaction metadata, schema changes, and which of them cannot be understood. Payloads are copied into the batch once
//! and scanned in one pass; rows become cells that point into the copy. [`Decoder::decode`] pushes exactly one event for
//! every record, whatever its bytes: what cannot be understood is a dead letter with a reason. Pure: no I/O, no clock; the
//! only state is caches. Bytes come from a source, batches go to `transform`.
//!
//! Keys: the fields of a key object are the key's columns; a key that is a bare scalar has one column called
//! [`SCALAR_KEY`]. MongoDB: a row image is one column called [`DOCUMENT`] of type
//! [`SourceType::MongoDocument`](crate::event::SourceType::MongoDocument). An update that was captured without its document
//! is never applied: see [`WithoutDocument`](crate::config::raw::WithoutDocument).

mod change;
mod config;
mod envelope;
mod error;
mod frame;
mod json;
mod layout;
mod placeholder;
mod schema;
mod source;
mod topic;
mod trail;
mod unwrapped;
pub mod value;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod pitfalls;

use std::collections::HashMap;
use std::sync::Arc;

pub use config::{DEFAULT_MAX_RECORD, DEFAULT_PLACEHOLDER, DeclaredType, DecodeConfig};

use crate::batch::Batch;
use crate::event::{Event, Kind, Origin, SourcePosition, Span, Verdict};
use error::DecodeError;
use placeholder::Placeholders;
use topic::Topic;

/// Column of a key that is not an object.
pub const SCALAR_KEY: &str = "key";
/// Column that holds a MongoDB document.
pub const DOCUMENT: &str = "document";

/// An index that no list of a batch has: what an event that is not a change has for a table and a destination.
const NONE: u32 = u32::MAX;

/// Topics remembered; past it all are forgotten.
const MAX_TOPICS: usize = 4096;

/// A record as Kafka delivers it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Name of the topic. Cheapest when records of one topic share one `Arc`.
    pub topic: &'a Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970, 0 when there is none.
    pub timestamp_ms: i64,
    /// Key as received.
    pub key: Option<&'a [u8]>,
    /// Value as received.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Turns records into events.
#[derive(Debug)]
pub struct Decoder {
    config: DecodeConfig,
    placeholders: Placeholders,
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, usize>,
    last: usize,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new(config: DecodeConfig) -> Self {
        let placeholders = Placeholders::new(&config.unavailable_placeholder);
        Self { config, placeholders, topics: Vec::new(), by_name: HashMap::new(), last: 0 }
    }

    /// Pushes exactly one event for `record`. What cannot be understood becomes [`Kind::Undecodable`] with a failure that
    /// says what is wrong and where, without values of the row.
    pub fn decode(&mut self, record: &Record<'_>, batch: &mut Batch) {
        let index = batch.events.len();
        let mut event = bare(record, batch);
        let outcome = match admit(record, batch, &mut event) {
            Ok(()) => {
                let topic = self.topic(record.topic);
                match self.topics.get_mut(topic) {
                    Some(topic) => change::fill(&self.config, &self.placeholders, topic, record, batch, &mut event),
                    None => Ok(()),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            event.kind = Kind::Undecodable;
            event.before = None;
            event.after = None;
            batch.events.push(event);
            batch.fail(index, error.reason(), error.to_string());
        } else {
            batch.events.push(event);
        }
    }

    /// Index of what is remembered of a topic.
    fn topic(&mut self, name: &Arc<str>) -> usize {
        match self.topics.get(self.last) {
            Some(topic) if Arc::ptr_eq(&topic.name, name) => return self.last,
            _ => {}
        }
        self.last = match self.by_name.get(name) {
            Some(index) => *index,
            None => {
                if self.topics.len() >= MAX_TOPICS {
                    self.topics.clear();
                    self.by_name.clear();
                }
                self.topics.push(Topic::new(name, &self.config));
                self.by_name.insert(Arc::clone(name), self.topics.len() - 1);
                self.topics.len() - 1
            }
        };
        self.last
    }
}

/// An event that knows where it came from and nothing else.
fn bare(record: &Record<'_>, batch: &mut Batch) -> Event {
    Event {
        origin: Origin { topic: batch.topic_index(record.topic), partition: record.partition, offset: record.offset },
        broker_ts_ms: record.timestamp_ms.max(0),
        kind: Kind::Undecodable,
        table: NONE,
        destination: NONE,
        key: None,
        before: None,
        after: None,
        raw_key: None,
        raw_value: None,
        raw_headers: Span::default(),
        source_ts_us: 0,
        captured_ts_us: 0,
        position: SourcePosition::default(),
        snapshot: false,
        verdict: Verdict::Keep,
    }
}

/// Copies the record into the batch, if the batch can hold it.
fn admit(record: &Record<'_>, batch: &mut Batch, event: &mut Event) -> Result<(), DecodeError> {
    let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers: usize = record.headers.iter().map(|(name, value)| 8 + name.len() + size(*value)).sum();
    let payload = size(record.key).saturating_add(size(record.value));
    let room = (u32::MAX as usize).saturating_sub(batch.data.len());
    if payload.saturating_add(headers) > room {
        return Err(DecodeError::TooLarge { size: payload, limit: room });
    }
    event.raw_key = record.key.map(|bytes| batch.push_bytes(bytes));
    event.raw_value = record.value.map(|bytes| batch.push_bytes(bytes));
    event.raw_headers = batch.push_headers(record.headers.iter().copied());
    Ok(())
}
