//! The reader: polls, decodes, transforms, hands batches to the writer; answers the group's rebalances.
//!
//! Blocking, on a thread of its own. It never acknowledges anything by itself: offsets become durable at the target, and
//! the group's offsets are written afterwards, for lag tools.

use std::sync::mpsc as blocking;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender};

use super::shared::{Part, Shared};
use super::writer::{OffsetsRequest, Prepared, Work, chain};
use crate::batch::Batch;
use crate::decode::{Decoder, Record};
use crate::source::kafka::headers::HeaderList;
use crate::source::kafka::watch::now_ms;
use crate::source::kafka::{KafkaSource, Notice, Partition, Polled, ReadFrom, SourceError};
use crate::stats::PipelineState;
use crate::target::StoredOffset;
use crate::transform::Chain;

/// Longest poll while there is nothing to do; bounds how late a stop or an answer is noticed.
const IDLE_POLL: Duration = Duration::from_millis(50);
/// How long the writer may be behind before fetching is paused; shorter stalls are ridden out with what is fetched.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How long partitions that are taken away wait for what is in flight. Well below any session time-out.
const REVOKE_GRACE: Duration = Duration::from_secs(5);
/// How often group offsets are written.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a failed take-over or a plugin that halted is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How often topics that do not exist are looked for while nothing is assigned.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(5);
/// How long the same trouble is not logged again.
const SAY_AGAIN: Duration = Duration::from_secs(60);
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

/// A take-over that waits for the stored offsets.
struct Pending {
    partitions: Vec<Partition>,
    reply: blocking::Receiver<Vec<StoredOffset>>,
    /// True: they are assigned already and only continue elsewhere.
    seek: bool,
}

/// A take-over that failed and is tried again.
struct Later {
    at: Instant,
    resumes: u64,
    partitions: Vec<Partition>,
    seek: bool,
}

pub(super) struct Reader {
    pub(super) pipeline: Arc<str>,
    pub(super) source: KafkaSource,
    pub(super) decoder: Decoder,
    pub(super) chain: Chain,
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
    assigned: HashMap<Partition, Option<i64>>,
    /// Where the records of the batch in hand continue from.
    from: Vec<(Partition, Option<i64>)>,
    /// Paused by a plugin or a lost offset: not called running again before a batch has passed.
    halted: bool,
    pending: Vec<Pending>,
    later: Option<Later>,
    topics: Vec<Arc<str>>,
    last_commit: Option<Instant>,
    last_topic_look: Option<Instant>,
    last_trouble: Option<(String, Instant)>,
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
        self.wait_state("partitions of the consumer group");
        loop {
            if self.shared.stopping() {
                self.finish();
                return End::Stopped;
            }
            self.notices();
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
        if std::mem::take(&mut self.state.halted) {
            self.now_running();
        }
        let plugins = begun.elapsed();
        self.state.outgoing = Some(Box::new(Prepared {
            batch,
            from,
            plugins,
            turns: self.chain.turns(),
            sealed_at: SystemTime::now(),
            generation: self.state.generation,
            received_us: self.state.received_us,
            transform: decode_time + plugins,
            bytes,
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

    fn notices(&mut self) {
        for notice in self.source.notices() {
            match notice {
                Notice::Assigned(partitions) => {
                    tracing::info!(pipeline = %self.pipeline, partitions = ?names(&partitions), "partitions assigned");
                    self.ask_offsets(partitions, false);
                }
                Notice::Revoked(partitions) => self.give_up(&partitions),
                Notice::Trouble(what) => self.trouble(&what),
                Notice::ReachedEnd { partition, end } => self.reached_end(&partition, end),
            }
        }
    }

    fn ask_offsets(&mut self, partitions: Vec<Partition>, seek: bool) {
        if partitions.is_empty() && !seek {
            // An empty assignment must be answered too: the group waits for it.
            self.report_failure(self.source.assign(&[], false));
            self.now_running();
            return;
        }
        let (reply, receiver) = blocking::channel();
        let request = OffsetsRequest { partitions: partitions.clone(), reply };
        if self.offsets.send(request).is_ok() {
            self.state.pending.push(Pending { partitions, reply: receiver, seek });
        }
    }

    /// Takes over the partitions whose stored offsets have come.
    fn answers(&mut self) {
        let mut ready = Vec::new();
        self.state.pending.retain(|pending| match pending.reply.try_recv() {
            Ok(stored) => {
                ready.push((pending.partitions.clone(), stored, pending.seek));
                false
            }
            Err(blocking::TryRecvError::Empty) => true,
            Err(blocking::TryRecvError::Disconnected) => false,
        });
        for (partitions, stored, seek) in ready {
            self.take_over(partitions, &stored, seek);
        }
        let due =
            self.state.later.as_ref().is_some_and(|l| l.at <= Instant::now() || l.resumes != self.shared.resumes());
        if due && let Some(later) = self.state.later.take() {
            if later.resumes != self.shared.resumes() {
                self.chain.pardon();
            }
            self.ask_offsets(later.partitions, later.seek);
        }
    }

    fn take_over(&mut self, partitions: Vec<Partition>, stored: &[StoredOffset], seek: bool) {
        let from: Vec<(Partition, ReadFrom)> = partitions
            .iter()
            .zip(stored)
            .map(|(p, s)| (p.clone(), s.next.map_or(ReadFrom::Start, ReadFrom::Offset)))
            .collect();
        let result = if seek {
            self.source.seek(&from, self.use_group_offsets)
        } else {
            self.source.assign(&from, self.use_group_offsets)
        };
        match result {
            Ok(()) => {
                self.shared.observer.assigned(&partitions);
                for (partition, stored) in partitions.into_iter().zip(stored) {
                    if let Some(next) = stored.next {
                        self.shared.observer.frontier(&partition.0, partition.1, next, now_ms());
                    }
                    self.state.assigned.insert(partition, stored.next);
                }
                let partitions = self.partitions();
                self.shared.set_assigned(partitions.clone());
                // A pause from before the new position may still hold.
                self.source.resume(&partitions);
                self.now_running();
            }
            Err(error) => {
                let remedy = match &error {
                    SourceError::NoStart { .. } => "set `start` for this pipeline and restart",
                    SourceError::Client { .. } => "check the brokers; it is tried again by itself",
                };
                tracing::error!(pipeline = %self.pipeline, error = %chain(&error), "partitions not taken over");
                self.shared
                    .health(Part::Reader, Some(PipelineState::Paused { why: chain(&error), remedy: remedy.into() }));
                self.state.later =
                    Some(Later { at: Instant::now() + TRY_AGAIN, resumes: self.shared.resumes(), partitions, seek });
            }
        }
    }

    /// Partitions go to another agent: first everything of theirs becomes durable, or is dropped to be read again there.
    fn give_up(&mut self, partitions: &[Partition]) {
        tracing::info!(pipeline = %self.pipeline, partitions = ?names(partitions), "partitions revoked");
        let settled = self.drain(Instant::now() + REVOKE_GRACE);
        if settled {
            self.commit(true);
        }
        self.source.unassign(partitions);
        for pending in &mut self.state.pending {
            pending.partitions.retain(|p| !partitions.contains(p));
        }
        self.state.pending.retain(|p| !p.partitions.is_empty());
        self.state.assigned.retain(|p, _| !partitions.contains(p));
        self.shared.forget(partitions);
        self.shared.set_assigned(self.partitions());
        self.shared.observer.revoked(partitions);
        if !settled {
            self.start_over();
        }
    }

    /// Hands over what there is and waits until it is settled; false when the time is up.
    fn drain(&mut self, deadline: Instant) -> bool {
        self.seal();
        while self.state.outgoing.is_some() {
            if Instant::now() >= deadline || self.shared.reset_wanted() || self.shared.abandoned() {
                return false;
            }
            self.hand_over();
        }
        let (reply, flushed) = blocking::channel();
        let mut flush = Work::Flush(reply);
        loop {
            match self.work.try_send(flush) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => {
                    if Instant::now() >= deadline {
                        return false;
                    }
                    flush = back;
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        flushed.recv_timeout(left).is_ok() && !self.shared.reset_wanted()
    }

    /// Drops what is in flight and reads on from what the target holds.
    fn start_over(&mut self) {
        let partitions = self.let_go();
        if !partitions.is_empty() {
            self.ask_offsets(partitions, true);
        }
    }

    /// Drops what is in flight. Until its stored offset is known again, no record of these partitions is taken: what
    /// librdkafka still hands out continues from where reading was, not from where the target is.
    fn let_go(&mut self) -> Vec<Partition> {
        self.state.generation = self.shared.next_generation();
        self.state.batch.clear();
        self.state.from.clear();
        self.state.bytes = 0;
        self.state.full_at = None;
        self.state.outgoing = None;
        self.state.stuck_since = None;
        self.state.paused = false;
        let mut partitions: Vec<Partition> = self.state.assigned.drain().map(|(partition, _)| partition).collect();
        // Answers to earlier questions are out of date by now.
        self.state.pending.retain(|pending| {
            if pending.seek {
                partitions.extend(pending.partitions.iter().cloned());
            }
            !pending.seek
        });
        if self.state.later.as_ref().is_some_and(|later| later.seek)
            && let Some(later) = self.state.later.take()
        {
            partitions.extend(later.partitions);
        }
        partitions
    }

    /// Drops what is in flight and tries again in a while, or when an operator resumes.
    fn start_over_later(&mut self, why: String, remedy: &str) {
        self.shared.health(Part::Reader, Some(PipelineState::Paused { why, remedy: remedy.to_owned() }));
        self.state.halted = true;
        let partitions = self.let_go();
        self.source.pause(&partitions);
        self.state.later =
            Some(Later { at: Instant::now() + TRY_AGAIN, resumes: self.shared.resumes(), partitions, seek: true });
    }

    /// A plugin trapped and its policy is to halt.
    fn halted(&mut self, why: &str) {
        tracing::error!(pipeline = %self.pipeline, error = why, "pipeline paused by a plugin");
        self.start_over_later(
            format!("transform: {why}"),
            "mend or replace the plugin; it is tried again by itself, or at once on SIGHUP",
        );
    }

    fn offset_gone(&mut self, what: &str) {
        tracing::error!(pipeline = %self.pipeline, error = what, "stored offset is not in the log");
        self.start_over_later(
            format!("a stored offset is not in the log any more: {what}"),
            "records were deleted before they were applied: take a new snapshot, or remove the stored offset to begin anew",
        );
    }

    fn trouble(&mut self, what: &str) {
        let known = |(last, at): &(String, Instant)| last == what && at.elapsed() < SAY_AGAIN;
        if !self.state.last_trouble.as_ref().is_some_and(known) {
            tracing::warn!(pipeline = %self.pipeline, error = what, "kafka client has trouble and goes on trying");
            self.state.last_trouble = Some((what.to_owned(), Instant::now()));
        }
        if self.state.assigned.is_empty() || what.contains("AllBrokersDown") || what.contains("brokers are down") {
            self.wait_state(&format!("kafka: {what}"));
        }
    }

    fn look_for_topics(&mut self) {
        let due = self.state.last_topic_look.is_none_or(|at| at.elapsed() >= LOOK_FOR_TOPICS);
        if !self.state.assigned.is_empty() || !self.state.pending.is_empty() || !due {
            return;
        }
        self.state.last_topic_look = Some(Instant::now());
        match self.source.missing_topics(Duration::from_secs(2)) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => self.wait_state(&format!("topics that do not exist: {}", missing.join(", "))),
            Err(error) => self.wait_state(&format!("kafka: {error}")),
        }
    }

    fn wait_state(&self, what: &str) {
        self.shared.health(Part::Reader, Some(PipelineState::Waiting { for_what: what.to_owned() }));
    }

    fn now_running(&self) {
        if !self.state.halted {
            self.shared.health(Part::Reader, None);
        }
    }

    fn report_failure(&self, result: Result<(), SourceError>) {
        if let Err(error) = result {
            tracing::warn!(pipeline = %self.pipeline, error = %chain(&error), "kafka client call failed");
        }
    }

    /// The brokers say that nothing is left of this partition, and all of it that was delivered is durable: what lies
    /// between is transaction markers.
    fn reached_end(&mut self, partition: &Partition, end: i64) {
        let idle = self.state.batch.events.is_empty() && self.state.outgoing.is_none();
        let Some(delivered) = self.state.assigned.get(partition).copied() else { return };
        let durable = self.shared.durable_next(partition);
        if idle && delivered.is_none_or(|next| durable.unwrap_or(next) >= next && end >= next) {
            self.shared.observer.frontier(&partition.0, partition.1, end, now_ms());
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

/// Decodes a record into the batch.
fn take_record(state: &mut State, decoder: &mut Decoder, message: &BorrowedMessage<'_>, max_wait: Duration) {
    let topic = topic_name(&mut state.topics, message.topic());
    let partition: Partition = (topic, message.partition());
    let Some(position) = state.assigned.get_mut(&partition) else {
        tracing::trace!(topic = %partition.0, partition = partition.1, "record of a partition not taken over");
        return;
    };
    let before = position.replace(message.offset() + 1);
    if state.from.last().is_none_or(|(last, _)| *last != partition)
        && !state.from.iter().any(|(known, _)| *known == partition)
    {
        state.from.push((partition.clone(), before));
    }
    let topic = partition.0;
    if state.full_at.is_none() {
        state.full_at = Some(Instant::now() + max_wait);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        state.received_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    }
    let headers = HeaderList::of(message);
    let record = Record {
        topic: &topic,
        partition: message.partition(),
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

/// The same `Arc` for the same topic; records come in runs, so the newest is looked at first.
fn topic_name(known: &mut Vec<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(at) = known.iter().rposition(|t| **t == *name) {
        let last = known.len() - 1;
        known.swap(at, last);
        return known.last().map_or_else(|| Arc::from(name), Arc::clone);
    }
    let topic: Arc<str> = Arc::from(name);
    known.push(Arc::clone(&topic));
    topic
}

fn names(partitions: &[Partition]) -> Vec<String> {
    partitions.iter().map(|(t, p)| format!("{t}/{p}")).collect()
}
