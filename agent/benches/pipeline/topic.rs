//! The pre-filled topic, and what reading it costs at least: librdkafka with the agent's own settings, payloads only
//! touched.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message as _};
use serde_json::json;
use whimbrel::config::raw;
use whimbrel::source::kafka::KafkaConfig;

use super::envelope::order;
use super::process;

/// The headers Debezium puts on every record, as in `tests/golden/debezium/plain.ndjson`.
const HEADERS: [(&str, &str); 4] = [
    ("__debezium.context.connectorLogicalName", "shop"),
    ("__debezium.context.taskId", "0"),
    ("__debezium.context.connectorName", "postgresql"),
    ("__debezium.context.runId", "01a20817-9c3d-75b6-ad1e-ff5487114086"),
];

pub(crate) fn brokers() -> String {
    format!("127.0.0.1:{}", std::env::var("KAFKA_PORT").unwrap_or_else(|_| "19092".into()))
}

fn admin() -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", brokers()).create()?)
}

/// Makes a topic of one partition with the orders 1 to `events`; gives the mean size of a value.
pub(crate) async fn fill(topic: &str, events: u64) -> Result<f64> {
    let made =
        admin()?.create_topics([&NewTopic::new(topic, 1, TopicReplication::Fixed(1))], &AdminOptions::new()).await?;
    for outcome in made {
        outcome.map_err(|(name, code)| anyhow!("topic {name}: {code}"))?;
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("linger.ms", "20")
        .set("batch.size", "500000")
        .create()?;
    let mut bytes = 0;
    for n in 1..=events {
        let (key, value) = order(usize::try_from(n)?);
        bytes += value.len();
        let headers = HEADERS
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let mut record = BaseRecord::to(topic).partition(0).key(&key).payload(&value).headers(headers);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(bytes as f64 / events as f64)
}

pub(crate) async fn delete(topic: &str) -> Result<()> {
    admin()?.delete_topics(&[topic], &AdminOptions::new()).await?;
    Ok(())
}

/// Reads `events` records and does nothing with them. Gives wall and CPU time of this process.
pub(crate) fn consume(topic: &str, events: u64) -> Result<(Duration, Duration)> {
    let raw: raw::Kafka = serde_json::from_value(json!({"brokers": [brokers()], "group": "bench-ceiling"}))?;
    let config = KafkaConfig::try_from(&raw).map_err(|invalid| anyhow!("{invalid:?}"))?;
    let consumer: BaseConsumer = config.consumer().create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)?;
    let (begun, cpu) = (Instant::now(), process::cpu(std::process::id())?);
    consumer.assign(&list)?;
    let mut count = 0;
    while count < events {
        match consumer.poll(Duration::from_secs(30)).context("no record in 30 s")? {
            Ok(message) => {
                black_box(message.payload().map(<[u8]>::len));
                count += 1;
            }
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => bail!(error),
        }
    }
    Ok((begun.elapsed(), process::cpu(std::process::id())?.saturating_sub(cpu)))
}
