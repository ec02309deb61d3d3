//! The writer: plans batches, hands them to the target, and does what the table in `retry.rs` says about errors.
//!
//! Runs on a thread and runtime of its own. Batches are applied one after the other, so the frontier moves in order. A
//! range of events is either wholly durable, or split, or dropped because its generation is over; never skipped.

mod range;
mod trouble;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use self::trouble::Abandoned;
use super::ahead::Ahead;
use super::dead_letters::DeadLetterTopic;
use super::plan::Planner;
use super::poison::PoisonBudget;
use super::retry::Backoff;
use super::shared::{Part, Shared};
use super::spans::Spans;
use crate::batch::Batch;
use crate::source::kafka::Partition;
use crate::target::{DeliveryMode, StoredOffset, Target, TargetError};
use crate::transform::Turn;

/// How often an idle writer asks the target whether it is well.
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// A batch on its way to the writer.
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) generation: u64,
    /// Where the records of each partition continue from: what the target must hold before this batch.
    pub(super) from: Vec<(Partition, Option<i64>)>,
    /// When its last record was received, microseconds since 1970.
    pub(super) received_us: i64,
    /// Time decode and plugins took.
    pub(super) transform: Duration,
    /// Time plugins took.
    pub(super) plugins: Duration,
    /// What each plugin did with it.
    pub(super) turns: Vec<Turn>,
    /// When the plugins were through.
    pub(super) sealed_at: SystemTime,
    /// Payload bytes.
    pub(super) bytes: usize,
    /// What was planned and encoded already.
    pub(super) ahead: Option<Ahead>,
}

/// What goes through the bounded channel, in order.
pub(super) enum Work {
    Batch(Box<Prepared>),
    /// Answered when everything before it is settled.
    Flush(mpsc::Sender<()>),
}

/// A question about stored offsets, answered between batches.
pub(super) struct OffsetsRequest {
    pub(super) partitions: Vec<Partition>,
    pub(super) reply: mpsc::Sender<Vec<StoredOffset>>,
}

pub(super) struct Writer {
    pub(super) pipeline: Arc<str>,
    pub(super) mode: DeliveryMode,
    pub(super) target: Box<dyn Target>,
    pub(super) planner: Planner,
    pub(super) budget: PoisonBudget,
    pub(super) backoff: Backoff,
    pub(super) shared: Arc<Shared>,
    pub(super) spans: Spans,
    pub(super) dead_letter_topic: Option<DeadLetterTopic>,
    pub(super) recycle: mpsc::Sender<Batch>,
    pub(super) topics: HashSet<String>,
    /// Dead letters were stored since they were counted.
    pub(super) letters_changed: bool,
    /// Batches up to this generation are dropped: their offsets are out of date.
    pub(super) dead_generation: Option<u64>,
}

/// What became of a range.
enum Outcome {
    /// Durable.
    Done,
    /// Must be written in two halves, so that the record the target refuses is found.
    Split,
    /// Dropped; it will be read again.
    Stale,
}

impl Writer {
    /// Works until the channel closes.
    pub(super) async fn run(mut self, mut work: Receiver<Work>, mut offsets: UnboundedReceiver<OffsetsRequest>) {
        if self.reopen().await.is_err() {
            return;
        }
        let mut idle = tokio::time::interval(IDLE_CHECK);
        idle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(request) = offsets.recv() => {
                    if self.answer(request).await.is_err() {
                        return;
                    }
                }
                next = work.recv() => match next {
                    Some(Work::Batch(prepared)) => {
                        self.shared.wake_reader();
                        self.write(*prepared).await;
                    }
                    Some(Work::Flush(reply)) => {
                        // The reader may have given up waiting; then nobody needs the answer.
                        let _ = reply.send(());
                        self.shared.wake_reader();
                    }
                    None => return,
                },
                _ = idle.tick() => self.check().await,
            }
        }
    }

    async fn check(&mut self) {
        let result = match self.target.ping().await {
            Ok(()) => self.target.dead_letter_count(&self.pipeline).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(count) => {
                self.shared.observer.dead_letters_stored(count);
                self.shared.health(Part::Writer, None);
            }
            Err(error) => {
                self.report_retry(&error);
                let _ = self.reopen().await;
            }
        }
    }

    async fn answer(&mut self, request: OffsetsRequest) -> Result<(), Abandoned> {
        let names: Vec<(String, i32)> = request.partitions.iter().map(|(t, p)| (t.to_string(), *p)).collect();
        self.topics.extend(names.iter().map(|(t, _)| t.clone()));
        loop {
            match self.read_state(&names).await {
                Ok(found) => {
                    self.recovered();
                    let _ = request.reply.send(found);
                    self.shared.wake_reader();
                    return Ok(());
                }
                Err(error) => {
                    self.wait_after(&error).await?;
                    self.reopen().await?;
                }
            }
        }
    }

    async fn read_state(&mut self, names: &[(String, i32)]) -> Result<Vec<StoredOffset>, TargetError> {
        let found = self.target.offsets(&self.pipeline, names).await?;
        self.load_parked().await?;
        Ok(found)
    }

    async fn load_parked(&mut self) -> Result<(), TargetError> {
        let topics: Vec<String> = self.topics.iter().cloned().collect();
        let parked = self.target.parked_keys(&self.pipeline, &topics).await?;
        self.planner.set_parked(parked);
        self.shared.set_parks(self.planner.parks());
        Ok(())
    }

    async fn write(&mut self, mut prepared: Prepared) {
        let begun = SystemTime::now();
        let mut outcome = Ok(());
        let whole: Range<usize> = 0..prepared.batch.events.len();
        // Made of the whole batch, and as if no key were parked.
        let mut ahead = prepared.ahead.take().filter(|_| !self.planner.parks());
        let mut ranges = vec![whole];
        while let Some(range) = ranges.pop() {
            match self.write_range(&mut prepared, range.clone(), ahead.take()).await {
                Outcome::Done => {}
                Outcome::Split => {
                    let middle = range.start + range.len() / 2;
                    // The last pushed is written first: order is kept, and each half moves the frontier by itself.
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
                Outcome::Stale => {
                    outcome = Err("abandoned");
                    break;
                }
            }
        }
        self.spans.record(&self.pipeline, &prepared, begun, outcome);
        if std::mem::take(&mut self.letters_changed) {
            match self.target.dead_letter_count(&self.pipeline).await {
                Ok(count) => self.shared.observer.dead_letters_stored(count),
                Err(error) => tracing::debug!(pipeline = %self.pipeline, %error, "dead letters not counted"),
            }
        }
        prepared.batch.clear();
        let _ = self.recycle.send(prepared.batch);
    }

    fn stale(&self, generation: u64) -> bool {
        generation < self.shared.generation()
            || self.dead_generation.is_some_and(|dead| generation <= dead)
            || self.shared.abandoned()
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        self.shared.health(Part::Writer, None);
    }
}
