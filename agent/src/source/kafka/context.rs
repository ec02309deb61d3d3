//! Callbacks of librdkafka: noted here, acted upon by the reader between polls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::refusal::{Refusal, refusal};

/// A partition of a topic.
pub type Partition = (Arc<str>, i32);

/// What happened to the group or the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// These partitions are ours now; reading must be started.
    Assigned(Vec<Partition>),
    /// These partitions are to be given up.
    Revoked(Vec<Partition>),
    /// The client met an error that it handles itself (broker away, …).
    Trouble(String),
    /// The client goes on trying, but somebody must mend something first.
    Refused(Refusal),
    /// The end of a partition as the last fetch saw it: everything below has been handed out.
    ReachedEnd {
        /// Which.
        partition: Partition,
        /// Next offset that does not exist yet.
        end: i64,
    },
}

/// The context of the consumer.
#[derive(Debug, Default)]
pub(super) struct Context {
    notices: Mutex<VecDeque<Notice>>,
    closing: AtomicBool,
}

impl Context {
    /// Takes the notices that have come in.
    pub(super) fn take(&self) -> VecDeque<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on rebalances are answered on the spot: nobody polls and acts upon notices any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn note(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push_back(notice);
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|e| (Arc::from(e.topic()), e.partition())).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // A broker that hangs up is no error to librdkafka, though it may have a suspicion why.
        if fac == "FAIL"
            && let Some(refusal) = refusal(None, message)
        {
            self.note(Notice::Refused(refusal));
        }
        match level {
            // Connections that end, which is everyday, and told because librdkafka may have that suspicion.
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info if fac == "FAIL" => {
                tracing::debug!(facility = fac, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility = fac, detail = message, "kafka client reports an error");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility = fac, detail = message, "kafka client warns"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility = fac, detail = message, "kafka client informs");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility = fac, detail = message, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return; // no error: the end of a partition was reached
        }
        match refusal(error.rdkafka_error_code(), reason) {
            Some(refusal) => self.note(Notice::Refused(refusal)),
            None => self.note(Notice::Trouble(format!("{error}: {reason}"))),
        }
    }

    fn stats(&self, statistics: Statistics) {
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                // `eof_offset` is set when a fetch came back empty; nothing is queued, so all below it was handed out.
                // It counts transaction markers, which are never delivered.
                if *number >= 0 && partition.eof_offset >= 0 && partition.fetchq_cnt == 0 {
                    let partition_id = (Arc::from(name.as_str()), *number);
                    self.note(Notice::ReachedEnd { partition: partition_id, end: partition.eof_offset });
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // Not acted upon here: before partitions are given up, what is in flight must be durable; before they are read,
        // the target must say from where. librdkafka waits for the assign or unassign call that the reader makes.
        if self.closing.load(Ordering::Acquire) {
            if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS
                && let Err(error) = consumer.incremental_unassign(list)
            {
                tracing::debug!(%error, "partitions not given up while closing");
            }
            return;
        }
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.note(Notice::Assigned(partitions(list))),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.note(Notice::Revoked(partitions(list))),
            other => self.note(Notice::Trouble(format!("rebalance failed: {other:?}"))),
        }
    }
}
