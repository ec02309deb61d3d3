//! Topics and records.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;

/// Makes a topic and waits for it.
pub(crate) async fn create_topic_at(brokers: &str, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
}

/// Produces to one topic and remembers nothing.
pub(crate) struct Producer {
    inner: BaseProducer,
    topic: String,
}

impl Producer {
    pub(crate) fn new(brokers: &str, topic: &str) -> Self {
        let inner =
            ClientConfig::new().set("bootstrap.servers", brokers).set("enable.idempotence", "true").create().unwrap();
        Self { inner, topic: topic.to_owned() }
    }

    /// Queues a record.
    pub(crate) fn send(&self, partition: i32, key: Option<&str>, value: Option<&[u8]>) {
        loop {
            let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.topic).partition(partition);
            record.key = key;
            record.payload = value;
            match self.inner.send(record) {
                Ok(()) => return,
                Err((error, _)) if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                    self.inner.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("produce: {error}"),
            }
        }
    }

    /// Waits until all are in the log.
    pub(crate) fn flush(&self) {
        self.inner.flush(Duration::from_secs(60)).unwrap();
    }
}

/// A Debezium PostgreSQL envelope of table `public.items`, without schema.
pub(crate) fn envelope(op: &str, id: i64, note: &str, lsn: i64) -> Vec<u8> {
    let image = json!({"id": id, "note": note, "email": format!("user{id}@example.org")});
    let (before, after) = if op == "d" { (image, json!(null)) } else { (json!(null), image) };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = i64::try_from(now.as_millis()).unwrap();
    let envelope = json!({
        "before": before, "after": after,
        "source": {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": now_ms,
            "snapshot": "false", "db": "shop", "schema": "public", "table": "items", "txId": lsn, "lsn": lsn},
        "transaction": null, "op": op, "ts_ms": now_ms,
    });
    serde_json::to_vec(&envelope).unwrap()
}
