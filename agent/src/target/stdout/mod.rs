//! NDJSON on standard output or into a file: for looking and for pipes.
//!
//! It keeps no state: offsets are those of the Kafka consumer group, so only at_least_once is possible, and there is no
//! place for dead letters (they need `delivery.dead_letters.topic`, and even then nothing remembers which keys are
//! parked). A line may come twice after a crash, and a crash while writing may cut one short.

pub mod config;

mod client;
mod encode;

use async_trait::async_trait;

use super::error::{ErrorKind, TargetError};
use super::plan::{DeliveryMode, WriteBatch};
use super::{Applied, DeadLetterFilter, ParkedKey, StoredDeadLetter, StoredOffset, Target};

pub use config::Settings;

/// The stdout target.
#[derive(Debug)]
pub struct StdoutTarget {
    settings: Settings,
    /// Away while a blocking thread writes.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sink: client::Sink,
    buffer: Vec<u8>,
}

impl StdoutTarget {
    /// A target that is not open yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self { settings, open: None }
    }
}

#[async_trait]
impl Target for StdoutTarget {
    async fn open(&mut self) -> Result<(), TargetError> {
        let sink = client::Sink::open(&self.settings)?;
        self.open = Some(Open { sink, buffer: Vec::new() });
        Ok(())
    }

    /// Nothing is stored here: the source begins where its consumer group left off.
    async fn offsets(
        &mut self,
        _pipeline: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<StoredOffset>, TargetError> {
        let unknown = |(topic, partition): &(String, i32)| StoredOffset {
            topic: topic.clone(),
            partition: *partition,
            next: None,
        };
        Ok(partitions.iter().map(unknown).collect())
    }

    async fn apply(&mut self, write: &WriteBatch<'_>) -> Result<Applied, TargetError> {
        if write.mode == DeliveryMode::ExactlyOnce {
            return Err(TargetError::new(
                ErrorKind::Unsupported,
                "standard output has no transactions: set `delivery.mode: at_least_once`",
            ));
        }
        if write.dead_letters.iter().any(|letter| letter.kafka.is_none()) {
            return Err(TargetError::new(
                ErrorKind::Unsupported,
                "standard output cannot keep dead letters: set `delivery.dead_letters.topic`",
            ));
        }
        let Some(mut open) = self.open.take() else {
            return Err(TargetError::new(ErrorKind::Network, "the output is not open"));
        };
        open.buffer.clear();
        let rows = encode::encode(write, &mut open.buffer);
        let done = tokio::task::spawn_blocking(move || {
            let written = open.sink.write(&open.buffer);
            (open, written)
        });
        let (open, written) =
            done.await.map_err(|e| TargetError::new(ErrorKind::Unknown, "the writing thread died").caused_by(e))?;
        self.open = Some(open);
        written.map(|()| Applied { rows, ..Applied::default() })
    }

    async fn parked_keys(&mut self, _pipeline: &str, _topics: &[String]) -> Result<Vec<ParkedKey>, TargetError> {
        Ok(Vec::new())
    }

    async fn dead_letters(
        &mut self,
        _pipeline: &str,
        _filter: &DeadLetterFilter,
    ) -> Result<Vec<StoredDeadLetter>, TargetError> {
        Ok(Vec::new())
    }

    async fn dead_letter_count(&mut self, _pipeline: &str) -> Result<u64, TargetError> {
        Ok(0)
    }

    async fn ping(&mut self) -> Result<(), TargetError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
