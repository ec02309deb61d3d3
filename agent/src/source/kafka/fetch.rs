//! One record by its coordinates: for dead letters whose payload is in a topic.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::config::KafkaConfig;
use super::headers::HeaderList;

/// Headers the agent adds to a dead letter's record begin with this.
const OURS: &str = "whimbrel.";

/// A record as it was received at first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchedRecord {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers, without those the agent added.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Reads single records.
pub struct Fetcher {
    consumer: BaseConsumer,
}

impl Fetcher {
    /// Makes the client.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(config: &KafkaConfig) -> KafkaResult<Self> {
        let mut client = config.client();
        client.set("client.id", "whimbrel-fetch");
        client.set("group.id", format!("{}-fetch", config.group));
        client.set("enable.auto.commit", "false");
        client.set("auto.offset.reset", "error");
        Ok(Self { consumer: client.create()? })
    }

    /// The record at an offset.
    ///
    /// # Errors
    /// When it is not there any more, or the brokers do not answer in time.
    pub fn fetch(&self, topic: &str, partition: i32, offset: i64, timeout: Duration) -> KafkaResult<FetchedRecord> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        self.consumer.assign(&list)?;
        let deadline = Instant::now() + timeout;
        let record = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            match self.consumer.poll(left) {
                Some(Ok(message)) if message.offset() == offset => break Ok(record_of(&message)),
                Some(Ok(_)) => break Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetOutOfRange)),
                Some(Err(error)) => break Err(error),
                None => {}
            }
        };
        self.consumer.unassign()?;
        record
    }
}

fn record_of(message: &BorrowedMessage<'_>) -> FetchedRecord {
    let headers = HeaderList::of(message);
    let headers = headers.as_slice().iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)));
    FetchedRecord {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.filter(|(name, _)| !name.starts_with(OURS)).collect(),
    }
}
