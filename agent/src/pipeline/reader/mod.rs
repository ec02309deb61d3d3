//! The reader: polls, decodes, transforms, hands batches to the writer; answers the group's rebalances.
//!
//! Blocking, on a thread of its own. It never acknowledges anything by itself: offsets become durable at the target, and
//! the group's offsets are written afterwards, for lag tools.

mod group;
mod health;
mod takeover;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indexmap::{Equivalent, IndexMap};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender};

use self::health::Trouble;
use self::takeover::TakeOvers;
use super::ahead::PlanAhead;
use super::shared::Shared;
use super::writer::{OffsetsRequest, Prepared, Work};
use crate::batch::Batch;
use crate::decode::{Decoder, Record};
use crate::runtime::logging::chain;
use crate::source::kafka::headers::HeaderList;
use crate::source::kafka::{KafkaSource, Partition, Polled};
use crate::transform::Chain;

/// Longest poll while there is nothing to do; bounds how late a stop or an answer is noticed.
const IDLE_POLL: Duration = Duration::from_millis(50);
/// How long the writer may be behind before fetching is paused; shorter stalls are ridden out with what is fetched.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How often group offsets are written.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Records between two looks at notices and signals while records flow.
const LOOK_EVERY: usize = 256;
/// Of so many records the decoding of one is timed: two looks at the clock cost a tenth of what they would measure.
const TIME_EVERY: usize = 16;

/// How a reader ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As asked.
    Stopped,
    /// The client must be made anew.
    ClientLost,
}

pub(super) struct Reader {
    pub(super) pipeline: Arc<str>,
    pub(super) source: KafkaSource,
    pub(super) decoder: Decoder,
    pub(super) chain: Chain,
    pub(super) ahead: Option<PlanAhead>,
    pub(super) work: Sender<Work>,
    pub(super) offsets: UnboundedSender<OffsetsRequest>,
    pub(super) recycled: mpsc::Receiver<Batch>,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Limits,
    /// True for targets that keep no offsets: the group's are used.
    pub(super) use_group_offsets: bool,
    pub(super) state: State,
}

/// Limits of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_events: usize,
    pub(super) max_bytes: usize,
    pub(super) max_wait: Duration,
}

/// What changes while reading.
#[derive(Default)]
pub(super) struct State {
    generation: u64,
    batch: Batch,
    bytes: usize,
    /// Of the `timed` records among those of the batch.
    decode_time: Duration,
    timed: u32,
    full_at: Option<Instant>,
    received_us: i64,
    outgoing: Option<Box<Prepared>>,
    stuck_since: Option<Instant>,
    paused: bool,
    /// Partitions being read, and the offset that reading has come to; `None`: nothing delivered, nothing stored. A record
    /// of any other partition is not taken: it will be read again once its partition is taken over.
    assigned: IndexMap<Partition, Option<i64>>,
    /// Where in `assigned` the partition of the last record stands: records come in runs.
    last: usize,
    /// Where the records of the batch in hand continue from.
    from: Vec<(Partition, Option<i64>)>,
    takeovers: TakeOvers,
    /// How often operators have resumed, as far as the plugins know.
    resumes: u64,
    /// What keeps this reader from running, as told to `Shared::health`.
    trouble: Option<Trouble>,
    last_commit: Option<Instant>,
    last_topic_look: Option<Instant>,
    /// Troubles that were logged, and when.
    told: Vec<(String, Instant)>,
    /// When the brokers last refused us, unless they have taken us since.
    refused: Option<Instant>,
    /// Something kept us from the brokers; not called running again before they have answered.
    cut_off: bool,
}

impl State {
    /// A fresh state whose batches belong to this generation.
    pub(super) fn at(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }
}

impl Reader {
    /// Reads until told to stop.
    pub(super) fn run(&mut self) -> End {
        self.shared.set_reader_thread();
        self.waiting("partitions of the consumer group");
        loop {
            if self.shared.stopping() {
                self.finish();
                return End::Stopped;
            }
            self.notices();
            if self.chain.settle() {
                // A new version of a plugin may well be the remedy that is waited for.
                self.state.takeovers.hurry(Instant::now());
            }
            self.answers();
            if self.shared.reset_wanted() {
                self.start_over();
            }
            self.commit(false);
            if self.state.outgoing.is_some() && !self.hand_over() {
                continue;
            }
            if let Err(end) = self.fill() {
                return end;
            }
        }
    }

    /// Polls until the batch is full or its time is up, then seals it.
    fn fill(&mut self) -> Result<(), End> {
        for _ in 0..LOOK_EVERY {
            // One look at the clock a record: a batch whose time ends during the poll is found late by the next.
            let now = Instant::now();
            let wait = self.state.full_at.map_or(IDLE_POLL, |at| at.saturating_duration_since(now));
            match self.source.poll(wait) {
                Polled::Record(message) => {
                    take_record(&mut self.state, &mut self.decoder, &message, self.limits.max_wait)
                }
                Polled::Nothing => {
                    if self.state.batch.events.is_empty() {
                        self.look_for_topics();
                        return Ok(());
                    }
                }
                Polled::Trouble(what) => self.trouble(&what),
                Polled::OffsetGone(what) => self.offset_gone(&what),
                Polled::Fatal(what) => {
                    tracing::error!(pipeline = %self.pipeline, error = what, "kafka client lost, making a new one");
                    return Err(End::ClientLost);
                }
            }
            let full =
                self.state.batch.events.len() >= self.limits.max_events || self.state.bytes >= self.limits.max_bytes;
            let late = self.state.full_at.is_some_and(|at| at <= now);
            if full || late {
                self.seal();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs the plugins over the batch and makes it ready to go.
    fn seal(&mut self) {
        if self.state.batch.events.is_empty() {
            return;
        }
        let mut batch = std::mem::replace(&mut self.state.batch, self.recycled.try_recv().unwrap_or_default());
        self.state.full_at = None;
        let begun = Instant::now();
        let records = u32::try_from(batch.events.len()).unwrap_or(u32::MAX);
        let timed = std::mem::take(&mut self.state.timed).max(1);
        let decode_time = std::mem::take(&mut self.state.decode_time).mul_f64(f64::from(records) / f64::from(timed));
        let bytes = std::mem::take(&mut self.state.bytes);
        let from = std::mem::take(&mut self.state.from);
        if let Err(error) = self.chain.apply(&mut batch) {
            self.halted(&chain(&error));
            return;
        }
        self.over(Trouble::Halted);
        let plugins = begun.elapsed();
        let sealed_at = SystemTime::now();
        let ahead = match &mut self.ahead {
            Some(ahead) if !self.shared.parks() => ahead.plan(&self.pipeline, &mut batch),
            _ => None,
        };
        self.state.outgoing = Some(Box::new(Prepared {
            batch,
            from,
            plugins,
            turns: self.chain.turns(),
            sealed_at,
            generation: self.state.generation,
            received_us: self.state.received_us,
            transform: decode_time + plugins,
            bytes,
            ahead,
        }));
        self.hand_over();
    }

    /// Gives the sealed batch to the writer; false when there is no room yet.
    fn hand_over(&mut self) -> bool {
        let Some(prepared) = self.state.outgoing.take() else { return true };
        match self.work.try_send(Work::Batch(prepared)) {
            Ok(()) => {
                self.state.stuck_since = None;
                if std::mem::take(&mut self.state.paused) {
                    self.source.resume(&self.partitions());
                }
                true
            }
            Err(TrySendError::Full(Work::Batch(prepared))) => {
                self.state.outgoing = Some(prepared);
                let since = *self.state.stuck_since.get_or_insert_with(Instant::now);
                if since.elapsed() < PAUSE_AFTER {
                    // The writer unparks this thread when it takes a batch.
                    std::thread::park_timeout(IDLE_POLL);
                } else {
                    if !std::mem::replace(&mut self.state.paused, true) {
                        self.source.pause(&self.partitions());
                    }
                    // The group must see polls; a record that slipped through is kept, never dropped.
                    if let Polled::Record(message) = self.source.poll(IDLE_POLL) {
                        take_record(&mut self.state, &mut self.decoder, &message, self.limits.max_wait);
                    }
                }
                false
            }
            // The writer has ended; the stop signal follows.
            Err(TrySendError::Full(Work::Flush(_)) | TrySendError::Closed(_)) => {
                std::thread::park_timeout(IDLE_POLL);
                true
            }
        }
    }

    fn commit(&mut self, wait: bool) {
        let due = self.state.last_commit.is_none_or(|at| at.elapsed() >= COMMIT_EVERY);
        if due || wait {
            self.state.last_commit = Some(Instant::now());
            self.source.commit_for_tools(&self.shared.take_uncommitted(), wait);
        }
    }

    /// Stop polling, finish what is in flight, leave the group.
    fn finish(&mut self) {
        let settled = self.drain(Instant::now() + Duration::from_secs(3600));
        if settled {
            self.commit(true);
        }
        tracing::info!(pipeline = %self.pipeline, settled, "reader stopped");
    }

    fn partitions(&self) -> Vec<Partition> {
        self.state.assigned.keys().cloned().collect()
    }
}

/// A partition by its borrowed name.
#[derive(Hash)]
struct Named<'a>(&'a str, i32);

impl Equivalent<Partition> for Named<'_> {
    fn equivalent(&self, (topic, number): &Partition) -> bool {
        self.1 == *number && *self.0 == **topic
    }
}

/// Decodes a record into the batch.
fn take_record(state: &mut State, decoder: &mut Decoder, message: &BorrowedMessage<'_>, max_wait: Duration) {
    let number = message.partition();
    match state.assigned.get_index(state.last) {
        Some(((topic, known), _)) if *known == number && **topic == *message.topic() => {}
        _ => match state.assigned.get_index_of(&Named(message.topic(), number)) {
            Some(at) => state.last = at,
            None => {
                tracing::trace!(topic = message.topic(), partition = number, "record of a partition not taken over");
                return;
            }
        },
    }
    let Some((partition, position)) = state.assigned.get_index_mut(state.last) else { return };
    let before = position.replace(message.offset() + 1);
    if state.from.last().is_none_or(|(last, _)| last != partition)
        && !state.from.iter().any(|(known, _)| known == partition)
    {
        state.from.push((partition.clone(), before));
    }
    if state.full_at.is_none() {
        state.full_at = Some(Instant::now() + max_wait);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        state.received_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    }
    let headers = HeaderList::of(message);
    let record = Record {
        topic: &partition.0,
        partition: number,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key(),
        value: message.payload(),
        headers: headers.as_slice(),
    };
    state.bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    let timed = state.batch.events.len().is_multiple_of(TIME_EVERY).then(Instant::now);
    decoder.decode(&record, &mut state.batch);
    if let Some(begun) = timed {
        state.decode_time += begun.elapsed();
        state.timed += 1;
    }
}
