//! Dead letters in a Kafka topic: full records go there first, the target then stores their coordinates.
//!
//! The topic is written before the target commits, so a crash in between leaves a second copy in the topic; the headers
//! `whimbrel.topic`, `.partition` and `.offset` identify it. The target's entry is what counts, and is never doubled.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use crate::batch::Batch;
use crate::source::kafka::KafkaConfig;
use crate::target::{DeadLetter, ErrorKind, KafkaCoordinates, TargetError};

/// How long a record may wait for the brokers before the attempt counts as failed and is retried.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The topic.
pub(super) struct DeadLetterTopic {
    producer: FutureProducer,
    topic: String,
    /// Already sent for the batch in hand, so that a retried batch does not send again: origin -> coordinates.
    sent: std::collections::HashMap<(Arc<str>, i32, i64), KafkaCoordinates>,
}

impl DeadLetterTopic {
    /// Makes the producer: idempotent, all replicas.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub(super) fn new(config: &KafkaConfig, topic: String) -> rdkafka::error::KafkaResult<Self> {
        let mut client = config.client();
        client.set("client.id", "whimbrel-dead-letters");
        client.set("enable.idempotence", "true");
        client.set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        Ok(Self { producer: client.create()?, topic, sent: std::collections::HashMap::new() })
    }

    /// Sends the letters that are not in the topic yet, and writes their coordinates into them.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] when the brokers do not confirm; the letters that were confirmed are remembered.
    pub(super) async fn send(
        &mut self,
        pipeline: &str,
        batch: &Batch,
        letters: &mut [DeadLetter],
    ) -> Result<(), TargetError> {
        if letters.is_empty() {
            self.sent.clear();
            return Ok(());
        }
        let mut waiting = Vec::new();
        for (index, letter) in letters.iter_mut().enumerate() {
            let Some(event) = batch.events.get(letter.event as usize) else { continue };
            let topic: Arc<str> = Arc::from(batch.topic(event));
            let origin = (topic, event.origin.partition, event.origin.offset);
            if let Some(coordinates) = self.sent.get(&origin) {
                letter.kafka = Some(coordinates.clone());
                continue;
            }
            let mut headers = OwnedHeaders::new();
            for (name, value) in batch.headers(event) {
                headers = headers.insert(Header { key: name, value });
            }
            let numbers = (event.origin.partition.to_string(), event.origin.offset.to_string());
            for (key, value) in [
                ("whimbrel.pipeline", pipeline),
                ("whimbrel.topic", batch.topic(event)),
                ("whimbrel.partition", &numbers.0),
                ("whimbrel.offset", &numbers.1),
                ("whimbrel.reason", letter.reason.as_str()),
                ("whimbrel.message", &letter.message),
            ] {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).headers(headers);
            record.key = event.raw_key.map(|span| batch.bytes(span));
            record.payload = event.raw_value.map(|span| batch.bytes(span));
            match self.producer.send_result(record) {
                Ok(delivery) => waiting.push((index, origin, delivery)),
                Err((error, _)) => return Err(failed(&self.topic).caused_by(error)),
            }
        }
        for (index, origin, delivery) in waiting {
            let delivered = match delivery.await {
                Ok(Ok(delivered)) => delivered,
                Ok(Err((error, _))) => return Err(failed(&self.topic).caused_by(error)),
                Err(_) => return Err(failed(&self.topic)),
            };
            let coordinates = KafkaCoordinates {
                topic: self.topic.clone(),
                partition: delivered.partition,
                offset: delivered.offset,
            };
            if let Some(letter) = letters.get_mut(index) {
                letter.kafka = Some(coordinates.clone());
            }
            self.sent.insert(origin, coordinates);
        }
        Ok(())
    }
}

impl Drop for DeadLetterTopic {
    fn drop(&mut self) {
        // Nothing unconfirmed is ever relied upon; the purge only spares the wait.
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    }
}

fn failed(topic: &str) -> TargetError {
    TargetError::new(ErrorKind::Network, format!("dead letters not confirmed by topic `{topic}`"))
}
