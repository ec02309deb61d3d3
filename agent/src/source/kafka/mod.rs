//! The Kafka source: a member of a consumer group that starts every partition where the pipeline tells it to, and never
//! commits on its own. The group's committed offsets are written afterwards, for lag tools only.

pub mod config;
mod context;
pub mod fetch;
pub mod headers;
pub mod refusal;
pub mod watch;

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub use config::{KafkaConfig, StartAt};
use context::Context;
pub use context::{Notice, Partition};

/// Why the source cannot go on by itself.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// librdkafka refused.
    #[error("kafka client failed to {what}")]
    Client {
        /// What was tried.
        what: &'static str,
        /// Its error.
        #[source]
        source: KafkaError,
    },
    /// A partition has no stored offset and the configuration says not to guess.
    #[error(
        "partition {partition} of topic `{topic}` has no stored offset and `start: error` is set; choose `earliest` or `latest` once"
    )]
    NoStart {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled<'a> {
    /// A record.
    Record(BorrowedMessage<'a>),
    /// Nothing in time.
    Nothing,
    /// The stored offset is no longer (or not yet) in the log: somebody must decide.
    OffsetGone(String),
    /// An error the client recovers from by itself; worth reporting.
    Trouble(String),
    /// The client is beyond recovery and must be made anew.
    Fatal(String),
}

/// From where a partition is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// This offset.
    Offset(i64),
    /// Nothing is stored: what the group committed if `group_offsets`, else the configured start.
    Start,
}

/// The source.
pub struct KafkaSource {
    consumer: BaseConsumer<Context>,
    config: KafkaConfig,
}

impl KafkaSource {
    /// Makes the client and subscribes; the network is tried in the background.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn subscribe(config: &KafkaConfig) -> Result<Self, SourceError> {
        let client = |source| SourceError::Client { what: "start", source };
        let consumer: BaseConsumer<Context> =
            config.consumer().create_with_context(Context::default()).map_err(client)?;
        let names = config.subscription();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|source| SourceError::Client { what: "subscribe", source })?;
        Ok(Self { consumer, config: config.clone() })
    }

    /// The next record, or what else there is.
    pub fn poll(&self, timeout: Duration) -> Polled<'_> {
        match self.consumer.poll(timeout) {
            None => Polled::Nothing,
            Some(Ok(message)) => Polled::Record(message),
            Some(Err(KafkaError::PartitionEOF(_))) => Polled::Nothing,
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Polled::Fatal(code.to_string()),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    Polled::OffsetGone(error.to_string())
                }
                Some(RDKafkaErrorCode::Fatal) => Polled::Fatal(error.to_string()),
                _ => Polled::Trouble(error.to_string()),
            },
        }
    }

    /// What happened since the last call.
    pub fn notices(&self) -> VecDeque<Notice> {
        self.consumer.context().take()
    }

    /// Takes over partitions and reads each from where it is told.
    ///
    /// # Errors
    /// When a start is unknown and may not be guessed, or the client refuses.
    pub fn assign(&self, partitions: &[(Partition, ReadFrom)], use_group_offsets: bool) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for ((topic, partition), from) in partitions {
            let offset = self.resolve(topic, *partition, *from, use_group_offsets)?;
            list.add_partition_offset(topic, *partition, offset)
                .map_err(|source| SourceError::Client { what: "prepare the assignment", source })?;
        }
        self.consumer
            .incremental_assign(&list)
            .map_err(|source| SourceError::Client { what: "take over partitions", source })
    }

    fn resolve(
        &self,
        topic: &str,
        partition: i32,
        from: ReadFrom,
        use_group_offsets: bool,
    ) -> Result<Offset, SourceError> {
        if let ReadFrom::Offset(offset) = from {
            return Ok(Offset::Offset(offset));
        }
        if use_group_offsets {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition(topic, partition);
            let committed = self
                .consumer
                .committed_offsets(list, Duration::from_secs(10))
                .map_err(|source| SourceError::Client { what: "read the group's offsets", source })?;
            if let Some(Offset::Offset(offset)) = committed.find_partition(topic, partition).map(|e| e.offset()) {
                return Ok(Offset::Offset(offset));
            }
        }
        match self.config.start {
            StartAt::Earliest => Ok(Offset::Beginning),
            StartAt::Latest => Ok(Offset::End),
            StartAt::Refuse => Err(SourceError::NoStart { topic: topic.into(), partition }),
        }
    }

    /// Gives partitions up; call only when nothing of theirs is in flight.
    pub fn unassign(&self, partitions: &[Partition]) {
        if let Err(error) = self.consumer.incremental_unassign(&list_of(partitions)) {
            tracing::warn!(%error, "kafka client failed to give up partitions");
        }
    }

    /// Continues partitions from other offsets. librdkafka drops what it had fetched.
    ///
    /// # Errors
    /// When a start is unknown and may not be guessed, or the client refuses.
    pub fn seek(&self, partitions: &[(Partition, ReadFrom)], use_group_offsets: bool) -> Result<(), SourceError> {
        // Unassign and assign rather than seek: a partition whose fetcher has stopped on an error is revived too.
        let names: Vec<Partition> = partitions.iter().map(|(p, _)| p.clone()).collect();
        self.unassign(&names);
        self.assign(partitions, use_group_offsets)
    }

    /// Stops fetching while the target is away; polling goes on, so that the group keeps us.
    pub fn pause(&self, partitions: &[Partition]) {
        log_failure("pause", self.consumer.pause(&list_of(partitions)));
    }

    /// Fetches again.
    pub fn resume(&self, partitions: &[Partition]) {
        log_failure("resume", self.consumer.resume(&list_of(partitions)));
    }

    /// Writes the group's offsets, for lag tools; never read back by pipelines whose target keeps state.
    pub fn commit_for_tools(&self, offsets: &[(Partition, i64)], wait: bool) {
        if offsets.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), next) in offsets {
            log_failure("prepare a commit", list.add_partition_offset(topic, *partition, Offset::Offset(*next)));
        }
        let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
        if let Err(error) = self.consumer.commit(&list, mode) {
            tracing::debug!(%error, "group offsets not committed; the target's are what counts");
        }
    }

    /// The topics that are subscribed by name and do not exist, as far as the brokers say.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn missing_topics(&self, timeout: Duration) -> KafkaResult<Vec<String>> {
        let config::Topics::Names(names) = &self.config.topics else {
            // A pattern misses nothing, but whether the brokers answer is to be known for it as well.
            return self.consumer.fetch_metadata(None, timeout).map(|_| Vec::new());
        };
        let mut missing = Vec::new();
        for name in names {
            let metadata = self.consumer.fetch_metadata(Some(name), timeout)?;
            let found = metadata.topics().iter().any(|t| t.name() == name && t.error().is_none());
            if !found {
                missing.push(name.clone());
            }
        }
        Ok(missing)
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // The consumer leaves the group when it is dropped, and waits for its partitions to be given up.
        self.consumer.context().close();
    }
}

fn list_of(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

fn log_failure(what: &'static str, result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "kafka client call failed");
    }
}
