//! A range of a batch's events: planned, applied, and what the table in `retry.rs` says when that fails.
//!
//! The only place where something becomes durable, and so the only one that moves the frontier, counts, and
//! acknowledges.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::trouble::{Abandoned, Resolved};
use super::{Outcome, Prepared, Writer};
use crate::batch::Batch;
use crate::event::{Kind, Reason};
use crate::mutants;
use crate::pipeline::ahead::Ahead;
use crate::pipeline::plan::Plan;
use crate::pipeline::poison::PoisonBudget;
use crate::pipeline::report;
use crate::pipeline::retry::{Action, action};
use crate::runtime::logging::chain;
use crate::source::kafka::Partition;
use crate::source::kafka::watch::now_ms;
use crate::target::{Advance, Applied, ErrorKind, TargetError, WriteBatch};

impl Writer {
    /// Writes the events at `range`, however often it takes; the first time as it was planned `ahead`.
    pub(super) async fn write_range(
        &mut self,
        prepared: &mut Prepared,
        range: Range<usize>,
        mut ahead: Option<Ahead>,
    ) -> Outcome {
        let mut excused = false;
        loop {
            if self.stale(prepared.generation) {
                return Outcome::Stale;
            }
            let (mut plan, rows, encoding) = match ahead.take() {
                Some(Ahead { plan, rows, took }) => (plan, Some(rows), took),
                None => (self.planner.plan(&mut prepared.batch, range.clone()), None, Duration::ZERO),
            };
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
            let result = mutants::apply(self.target.as_mut(), &write, rows).await;
            let took = begun.elapsed() + encoding;
            let error = match result {
                Ok(applied) => {
                    self.settled(prepared, range, &plan, &advances, &applied, took, spent);
                    return Outcome::Done;
                }
                Err(error) => error,
            };
            let action = action(error.kind);
            match action {
                Action::Retry => {
                    if self.wait(action, &error).await.is_err() || self.reopen_if_lost(&error).await.is_err() {
                        return Outcome::Stale;
                    }
                }
                Action::Pause => {
                    if self.wait(action, &error).await.is_err() || self.reopen().await.is_err() {
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
                        if self.wait(Action::Pause, &error).await.is_err() {
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
            self.shared.set_parks(self.planner.parks());
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

    fn reset(&mut self, generation: u64, error: &TargetError) -> Outcome {
        tracing::warn!(pipeline = %self.pipeline, %error, "offsets moved on elsewhere, reading them again");
        self.dead_generation = Some(generation);
        self.shared.want_reset();
        Outcome::Stale
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
