//! Looks at the source from outside the group: the end of each partition, and the connectors' heartbeats.
//!
//! Its own client, without group membership, so that every agent of a group sees every heartbeat. Blocking; runs on a
//! thread of its own. What it reports is evidence: each observation carries the time it was made.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::config::KafkaConfig;
use super::context::Partition;

/// Every so many looks the start of the partitions is asked for too.
const STARTS_EVERY: u64 = 30;

/// One look.
#[derive(Debug, Default)]
pub struct Observation {
    /// End offset (last stable offset) per partition, as the leader answered.
    pub ends: Vec<(Partition, i64)>,
    /// The oldest offset that the broker still has, per partition; now and then.
    pub starts: Vec<(Partition, i64)>,
    /// Heartbeats that came since the last look: topic, connector's time in milliseconds since 1970.
    pub heartbeats: Vec<(Arc<str>, i64)>,
    /// What did not work, in words.
    pub trouble: Option<String>,
}

/// The observer's client.
pub struct Watch {
    consumer: BaseConsumer,
    heartbeat_topics: Vec<Arc<str>>,
    assigned: bool,
    looks: u64,
}

#[derive(Deserialize)]
struct Heartbeat {
    ts_ms: i64,
}

impl Watch {
    /// Makes the client.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn new(config: &KafkaConfig) -> KafkaResult<Self> {
        let mut client = config.client();
        client.set("client.id", "whimbrel-watch");
        // librdkafka wants a name; nothing is ever joined or committed under it.
        client.set("group.id", format!("{}-watch", config.group));
        client.set("enable.auto.commit", "false");
        client.set("isolation.level", "read_committed");
        client.set("auto.offset.reset", "latest");
        client.set("queued.max.messages.kbytes", "256");
        client.set("fetch.message.max.bytes", "65536");
        client.set("allow.auto.create.topics", "false");
        let heartbeat_topics = config.heartbeat_topics.iter().map(|t| Arc::from(t.as_str())).collect();
        Ok(Self { consumer: client.create()?, heartbeat_topics, assigned: false, looks: 0 })
    }

    /// Asks the leaders for the ends of `partitions` and collects heartbeats; takes at most about twice `timeout`.
    pub fn look(&mut self, partitions: &[Partition], timeout: Duration) -> Observation {
        let mut seen = Observation::default();
        if !partitions.is_empty() {
            // ListOffsets with the special timestamp -1: the end (with read_committed: the last stable offset).
            match self.offsets(partitions, Offset::End, timeout) {
                Ok(ends) => seen.ends = ends,
                Err(error) => seen.trouble = Some(format!("end offsets: {error}")),
            }
        }
        // And -2: the start, which moves as slowly as segments are deleted.
        if !partitions.is_empty() && self.looks.is_multiple_of(STARTS_EVERY) {
            match self.offsets(partitions, Offset::Beginning, timeout) {
                Ok(starts) => seen.starts = starts,
                Err(error) => seen.trouble = Some(format!("start offsets: {error}")),
            }
        }
        self.looks += u64::from(!partitions.is_empty());
        if !self.heartbeat_topics.is_empty()
            && let Err(error) = self.heartbeats(timeout, &mut seen.heartbeats)
        {
            seen.trouble = Some(format!("heartbeats: {error}"));
        }
        seen
    }

    fn offsets(&self, partitions: &[Partition], of: Offset, timeout: Duration) -> KafkaResult<Vec<(Partition, i64)>> {
        let mut query = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            query.add_partition_offset(topic, *partition, of)?;
        }
        let answer = self.consumer.offsets_for_times(query, timeout)?;
        let mut found = Vec::with_capacity(partitions.len());
        for element in answer.elements() {
            if let (Ok(()), Offset::Offset(offset)) = (element.error(), element.offset()) {
                found.push(((Arc::from(element.topic()), element.partition()), offset));
            }
        }
        Ok(found)
    }

    fn heartbeats(&mut self, timeout: Duration, found: &mut Vec<(Arc<str>, i64)>) -> KafkaResult<()> {
        if !self.assigned {
            let mut list = TopicPartitionList::new();
            for topic in &self.heartbeat_topics {
                let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
                for partition in metadata.topics().iter().filter(|t| t.name() == &**topic).flat_map(|t| t.partitions())
                {
                    list.add_partition_offset(topic, partition.id(), Offset::OffsetTail(1))?;
                }
            }
            if list.count() == 0 {
                return Ok(()); // not created yet: the connector has not sent its first
            }
            self.consumer.assign(&list)?;
            self.assigned = true;
        }
        while let Some(message) = self.consumer.poll(Duration::ZERO) {
            let message = message?;
            let topic = self.heartbeat_topics.iter().find(|t| &***t == message.topic());
            let time = message.payload().and_then(heartbeat_time);
            if let (Some(topic), Some(time)) = (topic, time) {
                found.push((Arc::clone(topic), time));
            }
        }
        Ok(())
    }
}

/// `{"ts_ms": …}`, with or without an embedded schema.
fn heartbeat_time(value: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct WithSchema {
        payload: Heartbeat,
    }
    serde_json::from_slice::<Heartbeat>(value)
        .map(|h| h.ts_ms)
        .or_else(|_| serde_json::from_slice::<WithSchema>(value).map(|w| w.payload.ts_ms))
        .ok()
}

/// Now, milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::heartbeat_time;

    #[test]
    fn heartbeats_are_read_with_and_without_schema() {
        assert_eq!(heartbeat_time(br#"{"ts_ms":5}"#), Some(5));
        assert_eq!(heartbeat_time(br#"{"schema":{},"payload":{"ts_ms":6}}"#), Some(6));
        assert_eq!(heartbeat_time(b"nonsense"), None);
    }
}
