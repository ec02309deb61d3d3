//! Changes of the shop as Debezium 3.7's PostgreSQL connector writes them: JSON without embedded schema, key, headers.
//! Pure; the shape is that of real messages (`tests/fixtures`), and a test decodes every one with the agent's own decoder.

use serde_json::json;

use super::shop::{Change, Row, RowChange, Table};

/// `topic.prefix` of the connector.
pub(crate) const PREFIX: &str = "shop";

/// Debezium's placeholder for a value the change did not touch and the source did not send.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// PostgreSQL stores texts out of line from about 2 kB on; the demo's are shorter, and so is this.
const OUT_OF_LINE: usize = 200;

/// One record for Kafka.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) key: Vec<u8>,
    /// `None`: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Topic of a table.
pub(crate) fn topic(table: Table) -> String {
    format!("{PREFIX}.public.{}", table.name())
}

/// Topic of the connector's heartbeats.
pub(crate) fn heartbeat_topic() -> String {
    format!("__debezium-heartbeat.{PREFIX}")
}

/// A sign of life.
pub(crate) fn heartbeat(now_us: i64) -> Record {
    Record {
        topic: heartbeat_topic(),
        key: json!({"serverName": PREFIX}).to_string().into_bytes(),
        value: Some(json!({"ts_ms": now_us / 1_000}).to_string().into_bytes()),
        headers: Vec::new(),
    }
}

/// Writes envelopes; keeps the log position, which only grows.
#[derive(Debug)]
pub(crate) struct Envelopes {
    lsn: u64,
    trace: u64,
}

impl Envelopes {
    /// `seed` makes the trace ids.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { lsn: 22_372_736, trace: seed }
    }

    /// The records of one change: the envelope, and behind a delete its tombstone. `marker` is `source.snapshot`.
    pub(crate) fn records(&mut self, change: &RowChange, order: usize, marker: &str, now_us: i64) -> Vec<Record> {
        if change.other_key.is_none() || change.change == Change::Delete {
            // The two halves of a key change share one position.
            self.lsn += 56;
        }
        let key = serde_json::to_vec(&change.key()).unwrap_or_default();
        let mut headers = self.headers();
        if let Some(other) = &change.other_key {
            let name = if change.change == Change::Delete { "__debezium.newkey" } else { "__debezium.oldkey" };
            headers.push((name, serde_json::Value::Object(other.clone()).to_string()));
        }
        let topic = topic(change.table);
        let value = self.envelope(change, order, marker, now_us).into_bytes();
        let tombstone = (change.change == Change::Delete).then(|| Record {
            topic: topic.clone(),
            key: key.clone(),
            value: None,
            headers: headers.clone(),
        });
        std::iter::once(Record { topic, key, value: Some(value), headers }).chain(tombstone).collect()
    }

    fn envelope(&self, change: &RowChange, order: usize, marker: &str, now_us: i64) -> String {
        let op = match change.change {
            Change::Read => "r",
            Change::Create => "c",
            Change::Update => "u",
            Change::Delete => "d",
        };
        // REPLICA IDENTITY DEFAULT: an update has no old image, a delete only the key, everything else null.
        let before = match change.change {
            Change::Delete => change.before.as_ref().map(|row| only_key(change.table, row)),
            Change::Read | Change::Create | Change::Update => None,
        };
        let after = change.after.as_ref().map(|row| unchanged_as_placeholder(change, row));
        let commit_us = now_us - 180_000;
        let transaction = match change.change {
            Change::Read => serde_json::Value::Null,
            _ => json!({
                "id": format!("{}:{}", change.transaction, self.lsn),
                "total_order": order + 1, "data_collection_order": order + 1,
            }),
        };
        let sequence = format!("[\"{}\",\"{}\"]", self.lsn - 56, self.lsn);
        json!({
            "before": before,
            "after": after,
            "source": {
                "version": "3.7.0.Final", "connector": "postgresql", "name": PREFIX, "ts_ms": commit_us / 1_000,
                "snapshot": marker, "db": "shop", "sequence": sequence, "ts_us": commit_us,
                "ts_ns": commit_us * 1_000, "schema": "public", "table": change.table.name(),
                "txId": change.transaction, "lsn": self.lsn, "xmin": null, "origin": null, "origin_lsn": null,
            },
            "transaction": transaction,
            "op": op,
            "ts_ms": now_us / 1_000, "ts_us": now_us, "ts_ns": now_us * 1_000,
        })
        .to_string()
    }

    /// Debezium's context headers, and the trace the application's request was part of (W3C Trace Context).
    fn headers(&mut self) -> Vec<(&'static str, String)> {
        self.trace = self.trace.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (high, low) = (self.trace, self.trace.rotate_left(23) ^ self.lsn);
        vec![
            ("__debezium.context.connectorLogicalName", PREFIX.into()),
            ("__debezium.context.taskId", "0".into()),
            ("__debezium.context.connectorName", "postgresql".into()),
            ("traceparent", format!("00-{high:016x}{low:016x}-{:016x}-01", low | 1)),
        ]
    }
}

fn only_key(table: Table, row: &Row) -> Row {
    row.iter()
        .map(|(name, value)| {
            let kept = table.key().contains(&name.as_str());
            (name.clone(), if kept { value.clone() } else { serde_json::Value::Null })
        })
        .collect()
}

/// A long text that the update left alone is not in the log: the placeholder stands for it.
fn unchanged_as_placeholder(change: &RowChange, row: &Row) -> Row {
    let mut row = row.clone();
    if change.change == Change::Update
        && let Some(before) = &change.before
    {
        for (name, value) in &mut row {
            let long = value.as_str().is_some_and(|text| text.len() >= OUT_OF_LINE);
            if long && before.get(name) == Some(&*value) {
                *value = UNAVAILABLE.into();
            }
        }
    }
    row
}
