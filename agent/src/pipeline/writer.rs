//! The writer: plans batches, hands them to the target, and does what the table in `retry.rs` says about errors.
//!
//! Runs on a thread and runtime of its own. Batches are applied one after the other, so the frontier moves in order. A
//! range of events is either wholly durable, or split, or dropped because its generation is over; never skipped.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use super::dead_letters::DeadLetterTopic;
use super::plan::{Plan, Planner};
use super::poison::PoisonBudget;
use super::report;
use super::retry::{Action, Backoff, action};
use super::shared::{Part, Shared};
use super::spans::Spans;
use crate::batch::Batch;
use crate::event::{Kind, Reason};
use crate::faults;
use crate::source::kafka::Partition;
use crate::source::kafka::watch::now_ms;
use crate::stats::PipelineState;
use crate::target::{Advance, Applied, DeliveryMode, ErrorKind, StoredOffset, Target, TargetError, WriteBatch};
use crate::transform::Turn;

/// How often an idle writer asks the target whether it is well.
const IDLE_CHECK: Duration = Duration::from_secs(10);
/// How long a paused pipeline waits before it looks again whether it has been mended.
const PAUSE_CHECK: Duration = Duration::from_secs(5);

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

/// The pipeline is told to end before this could be done.
struct Abandoned;

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
        Ok(())
    }

    async fn write(&mut self, mut prepared: Prepared) {
        let begun = SystemTime::now();
        let mut outcome = Ok(());
        let whole: Range<usize> = 0..prepared.batch.events.len();
        let mut ranges = vec![whole];
        while let Some(range) = ranges.pop() {
            match self.write_range(&mut prepared, range.clone()).await {
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

    async fn write_range(&mut self, prepared: &mut Prepared, range: Range<usize>) -> Outcome {
        let mut excused = false;
        loop {
            if self.stale(prepared.generation) {
                return Outcome::Stale;
            }
            let mut plan = self.planner.plan(&mut prepared.batch, range.clone());
            let spent = self.spend(&prepared.batch, &plan, range.clone());
            if !excused && let Some(why) = spent.exceeded() {
                match self.pause_for_poison(why, prepared).await {
                    Ok(()) => excused = true,
                    Err(Abandoned) => return Outcome::Stale,
                }
                continue;
            }
            if let Some(topic) = &mut self.dead_letter_topic
                && let Err(error) = topic.send(&self.pipeline, &prepared.batch, &mut plan.dead_letters).await
            {
                if self.wait_after(&error).await.is_err() {
                    return Outcome::Stale;
                }
                continue;
            }
            let advances = advances(prepared, &plan);
            let write = WriteBatch {
                pipeline: &self.pipeline,
                mode: self.mode,
                batch: &prepared.batch,
                steps: &plan.steps,
                advances: &advances,
                dead_letters: &plan.dead_letters,
                settled: &[],
                effects: &plan.effects,
                now_ms: now_ms(),
            };
            let begun = Instant::now();
            let result = faults::apply(self.target.as_mut(), &write).await;
            let took = begun.elapsed();
            let error = match result {
                Ok(applied) => {
                    self.settled(prepared, range, &plan, &advances, &applied, took, spent);
                    return Outcome::Done;
                }
                Err(error) => error,
            };
            match action(error.kind) {
                Action::Retry => {
                    if self.wait_after(&error).await.is_err() || self.reopen_if_lost(&error).await.is_err() {
                        return Outcome::Stale;
                    }
                }
                Action::Pause => {
                    if self.wait_after(&error).await.is_err() || self.reopen().await.is_err() {
                        return Outcome::Stale;
                    }
                }
                Action::Resolve => match self.resolve(&error, &advances).await {
                    Ok(Resolved::Committed) => {
                        let rows = plan.effects.len() as u64;
                        let applied = Applied { rows, ..Applied::default() };
                        self.settled(prepared, range, &plan, &advances, &applied, took, spent);
                        return Outcome::Done;
                    }
                    Ok(Resolved::NotCommitted) => {}
                    Ok(Resolved::MovedOn) => return self.reset(prepared.generation, &error),
                    Err(Abandoned) => return Outcome::Stale,
                },
                Action::Isolate => match isolate(&mut prepared.batch, &range, &error) {
                    Isolated::Marked => {}
                    Isolated::Split => return Outcome::Split,
                    Isolated::Impossible => {
                        // Even the dead letter is refused: nobody but a human can help.
                        let error = TargetError { kind: ErrorKind::Unknown, ..error };
                        if self.wait_after(&error).await.is_err() {
                            return Outcome::Stale;
                        }
                    }
                },
                Action::Reset => return self.reset(prepared.generation, &error),
                Action::Replan => {
                    if let Err(error) = self.load_parked().await
                        && (self.wait_after(&error).await.is_err() || self.reopen().await.is_err())
                    {
                        return Outcome::Stale;
                    }
                }
            }
        }
    }

    /// The budget as it would stand after this plan.
    fn spend(&self, batch: &Batch, plan: &Plan, range: Range<usize>) -> PoisonBudget {
        let mut budget = self.budget.clone();
        let mut from = range.start;
        for letter in plan.dead_letters.iter().filter(|l| l.reason != Reason::ParkedBehind) {
            let at = letter.event as usize;
            budget.good(changes(batch, from..at));
            budget.bad();
            from = at + 1;
        }
        budget.good(changes(batch, from..range.end));
        budget
    }

    /// Upstream is acknowledged only after the target confirmed: this is called after that, and nothing else moves the
    /// frontier, the counters or the group's offsets.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a durable range")]
    fn settled(
        &mut self,
        prepared: &mut Prepared,
        range: Range<usize>,
        plan: &Plan,
        advances: &[Advance],
        applied: &Applied,
        took: Duration,
        budget: PoisonBudget,
    ) {
        let at = now_ms();
        self.budget = budget;
        if !plan.dead_letters.is_empty() {
            self.planner.park(&prepared.batch, &plan.dead_letters);
            self.letters_changed = true;
            for letter in &plan.dead_letters {
                if let Some(event) = prepared.batch.events.get(letter.event as usize) {
                    tracing::warn!(
                        pipeline = %self.pipeline,
                        topic = prepared.batch.topic(event),
                        partition = event.origin.partition,
                        offset = event.origin.offset,
                        reason = letter.reason.as_str(),
                        detail = letter.message,
                        "event stored as a dead letter"
                    );
                }
            }
        }
        for advance in advances {
            let partition: Partition = (Arc::clone(&advance.topic), advance.partition);
            // What is left of this batch continues from here.
            if let Some((_, from)) = prepared.from.iter_mut().find(|(known, _)| *known == partition) {
                *from = Some(advance.next);
            }
            self.shared.durable(&partition, advance.next);
            self.shared.observer.frontier(&advance.topic, advance.partition, advance.next, at);
        }
        let report = report::batch_report(prepared, range, plan, applied, took);
        self.shared.observer.applied(&report, at);
        self.recovered();
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        self.shared.health(Part::Writer, None);
    }

    fn reset(&mut self, generation: u64, error: &TargetError) -> Outcome {
        tracing::warn!(pipeline = %self.pipeline, %error, "offsets moved on elsewhere, reading them again");
        self.dead_generation = Some(generation);
        self.shared.want_reset();
        Outcome::Stale
    }

    /// Waits as the kind of error demands; ends early when an operator resumes or the pipeline must end.
    async fn wait_after(&mut self, error: &TargetError) -> Result<(), Abandoned> {
        let random = rand::random::<f64>();
        let wait = self.backoff.next(random);
        let wait = match action(error.kind) {
            Action::Pause | Action::Isolate => {
                self.report_pause(error);
                wait.max(PAUSE_CHECK)
            }
            _ => {
                // Conflicts that a second attempt settles are everyday; do not call the pipeline unready for them.
                if error.kind != ErrorKind::Conflict || self.backoff.attempts() > 3 {
                    self.report_retry(error);
                } else {
                    tracing::debug!(pipeline = %self.pipeline, %error, "target conflict, trying again");
                }
                wait
            }
        };
        self.sleep(wait).await
    }

    async fn sleep(&self, wait: Duration) -> Result<(), Abandoned> {
        let resumes = self.shared.resumes();
        let generation = self.shared.generation();
        let until = tokio::time::Instant::now() + wait;
        loop {
            if self.shared.abandoned() {
                return Err(Abandoned);
            }
            if self.shared.resumes() != resumes || self.shared.generation() != generation {
                return Ok(());
            }
            tokio::select! {
                () = self.shared.wake_writer.notified() => {}
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
    }

    fn report_retry(&self, error: &TargetError) {
        tracing::warn!(
            pipeline = %self.pipeline,
            kind = ?error.kind,
            attempt = self.backoff.attempts(),
            error = %chain(error),
            "target failed, trying again"
        );
        let what = format!("target: {}", chain(error));
        self.shared.health(Part::Writer, Some(PipelineState::Retrying { what, since_ms: now_ms() }));
    }

    fn report_pause(&self, error: &TargetError) {
        tracing::error!(pipeline = %self.pipeline, kind = ?error.kind, error = %chain(error), "pipeline paused");
        let remedy = "mend it at the target; the pipeline looks again by itself, or at once on SIGHUP".into();
        self.shared.health(Part::Writer, Some(PipelineState::Paused { why: chain(error), remedy }));
    }

    async fn pause_for_poison(&self, why: String, prepared: &Prepared) -> Result<(), Abandoned> {
        tracing::error!(pipeline = %self.pipeline, detail = why, "pipeline paused: too many dead letters");
        let remedy =
            "look at the reasons in the log; mend the plugin, mapping or source and restart, or accept them by SIGHUP";
        self.shared.health(
            Part::Writer,
            Some(PipelineState::Paused { why: format!("poison budget: {why}"), remedy: remedy.into() }),
        );
        let resumes = self.shared.resumes();
        while self.shared.resumes() == resumes {
            if self.stale(prepared.generation) {
                return Err(Abandoned);
            }
            self.shared.wake_writer.notified().await;
        }
        tracing::info!(pipeline = %self.pipeline, "resumed: this batch's dead letters are accepted");
        Ok(())
    }

    async fn reopen_if_lost(&mut self, error: &TargetError) -> Result<(), Abandoned> {
        match error.kind {
            ErrorKind::Network | ErrorKind::NotPrimary => self.reopen().await,
            _ => Ok(()),
        }
    }

    /// Connects, however long it takes.
    async fn reopen(&mut self) -> Result<(), Abandoned> {
        loop {
            match self.target.open().await {
                Ok(()) => return Ok(()),
                Err(error) => self.wait_after(&error).await?,
            }
        }
    }

    /// The commit was sent and its answer is lost: the state rows know.
    async fn resolve(&mut self, error: &TargetError, advances: &[Advance]) -> Result<Resolved, Abandoned> {
        tracing::warn!(pipeline = %self.pipeline, error = %chain(error), "outcome of a commit unknown, reading the state");
        let names: Vec<(String, i32)> = advances.iter().map(|a| (a.topic.to_string(), a.partition)).collect();
        loop {
            self.reopen().await?;
            match self.target.offsets(&self.pipeline, &names).await {
                Ok(found) if self.mode == DeliveryMode::AtLeastOnce => {
                    // Rows are guarded by their version: writing them again is harmless.
                    drop(found);
                    return Ok(Resolved::NotCommitted);
                }
                Ok(found) => {
                    let all =
                        |of: fn(&Advance) -> Option<i64>| advances.iter().zip(&found).all(|(a, s)| s.next == of(a));
                    return Ok(if all(|a| Some(a.next)) {
                        Resolved::Committed
                    } else if all(|a| a.expected) {
                        Resolved::NotCommitted
                    } else {
                        Resolved::MovedOn
                    });
                }
                Err(error) => self.wait_after(&error).await?,
            }
        }
    }
}

/// The moves this plan makes durable. Each expects what the reader continued from, so that a batch which does not follow
/// directly on what the target holds is fenced, whatever made it so.
fn advances(prepared: &Prepared, plan: &Plan) -> Vec<Advance> {
    plan.next
        .iter()
        .filter_map(|(topic, partition, next)| {
            let topic = Arc::clone(prepared.batch.topics.get(*topic as usize)?);
            let from = prepared.from.iter().find(|((t, p), _)| *t == topic && p == partition)?;
            Some(Advance { topic, partition: *partition, expected: from.1, next: *next })
        })
        .collect()
}

enum Resolved {
    Committed,
    NotCommitted,
    MovedOn,
}

enum Isolated {
    Marked,
    Split,
    Impossible,
}

/// Marks the record the error is about, or says how to find it.
fn isolate(batch: &mut Batch, range: &Range<usize>, error: &TargetError) -> Isolated {
    let reason = match error.kind {
        ErrorKind::BadValue => Reason::BadValue,
        ErrorKind::RowTooLarge => Reason::TooLarge,
        _ => Reason::Rejected,
    };
    let culprit = match error.event {
        Some(event) => event as usize,
        None if range.len() == 1 => range.start,
        None => return Isolated::Split,
    };
    let already = batch.events.get(culprit).is_none_or(|e| batch.failure(e).is_some());
    if already || !range.contains(&culprit) {
        return if range.len() > 1 { Isolated::Split } else { Isolated::Impossible };
    }
    batch.fail(culprit, reason, chain(error));
    Isolated::Marked
}

/// Change events in the range.
fn changes(batch: &Batch, range: Range<usize>) -> u64 {
    batch.events.get(range).unwrap_or_default().iter().filter(|e| matches!(e.kind, Kind::Change(_))).count() as u64
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
