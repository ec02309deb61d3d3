//! The lag of one partition: what is known of its end, its frontier and its source, and what that proves.
//!
//! Two facts are kept apart. *Behind* is proven by one observation of the end beyond the frontier. *Caught up* needs a
//! chain: at time `T` the end was at or below what is durable now, and at `T` the source was known to have emitted
//! everything committed before `S`. Then everything committed before `min(T, S)` is visible at the target: the moment
//! this partition is *proven until*.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::lag::{LagConfig, LagState};

/// Observations of the end that the frontier has not reached yet. When there are more, every second one is forgotten:
/// that only makes a later proof older than it could be.
const MAX_AHEAD: usize = 64;

/// Why nothing is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No partition is assigned to this agent.
    NoPartitions,
    /// The end offset was never observed.
    NoEndOffset,
    /// It is not known from where this agent reads.
    NoFrontier,
    /// The end offset was last observed longer ago than the proof window.
    EndOffsetOld,
    /// The end offset went back: the topic was truncated or made anew.
    EndOffsetWentBack,
    /// Neither a heartbeat nor an event was ever seen: the source may be idle or silent.
    NoSignOfLife,
    /// The newest heartbeat or event is older than the proof window.
    SignOfLifeOld,
}

impl Doubt {
    /// The word used in status and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPartitions => "no_partitions",
            Self::NoEndOffset => "no_end_offset",
            Self::NoFrontier => "no_frontier",
            Self::EndOffsetOld => "end_offset_old",
            Self::EndOffsetWentBack => "end_offset_went_back",
            Self::NoSignOfLife => "no_sign_of_life",
            Self::SignOfLifeOld => "sign_of_life_old",
        }
    }
}

/// An observation of the end.
#[derive(Debug, Clone, Copy)]
struct EndSeen {
    end: i64,
    at_ms: i64,
    /// Everything committed before this had been emitted then, in our time.
    life_ms: Option<i64>,
}

/// What is known of a partition.
#[derive(Debug)]
pub(crate) struct Partition {
    next: Option<i64>,
    newest_end: Option<EndSeen>,
    highest_end: i64,
    /// Ends beyond the frontier, oldest first, strictly growing.
    ahead: VecDeque<EndSeen>,
    /// Everything committed before this is visible at the target.
    proven_until_ms: Option<i64>,
    /// Since when there is something to do and nothing got done.
    waiting_since_ms: Option<i64>,
    /// Commit time, as the source wrote it, of the newest event that is durable.
    newest_source_ts_ms: Option<i64>,
    /// The oldest offset that the broker still has.
    start: Option<i64>,
}

/// The lag of one partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionLag {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// True for a connector's heartbeat topic: it proves life and does not count as backlog.
    pub heartbeat: bool,
    /// State.
    pub state: LagState,
    /// Why it is unknown; only then.
    pub doubt: Option<Doubt>,
    /// The oldest offset that the broker still has, as last observed: what is before it is lost to whoever did not read it.
    pub start: Option<i64>,
    /// End offset as last observed.
    pub end: Option<i64>,
    /// Next offset to make durable.
    pub next: Option<i64>,
    /// End minus frontier.
    pub messages: Option<u64>,
    /// Milliseconds from source commit to visible at the target: 0 only when proven, otherwise an upper bound.
    pub time_lag_ms: Option<i64>,
    /// Everything committed at the source before this (milliseconds since 1970, our clock) is proven visible.
    pub proven_until_ms: Option<i64>,
    /// Commit time of the newest durable event, as the source wrote it.
    pub newest_source_ts_ms: Option<i64>,
}

impl Partition {
    pub(crate) const fn new() -> Self {
        Self {
            next: None,
            newest_end: None,
            highest_end: i64::MIN,
            ahead: VecDeque::new(),
            proven_until_ms: None,
            waiting_since_ms: None,
            newest_source_ts_ms: None,
            start: None,
        }
    }

    /// The oldest offset that the broker still has.
    pub(crate) const fn start(&mut self, start: i64) {
        self.start = Some(start);
    }

    /// The end was observed; returns by how much it moved on since the observation before.
    pub(crate) fn end(&mut self, end: i64, at_ms: i64, life_ms: Option<i64>) -> u64 {
        let seen = EndSeen { end, at_ms, life_ms };
        let grown = self.newest_end.map_or(0, |before| u64::try_from(end.saturating_sub(before.end)).unwrap_or(0));
        self.newest_end = Some(seen);
        if end < self.highest_end {
            return 0;
        }
        self.highest_end = end;
        match self.next {
            Some(next) if end <= next => self.prove(seen),
            _ => {
                self.waiting_since_ms.get_or_insert(at_ms);
                self.push_ahead(seen);
            }
        }
        grown
    }

    /// Everything below `next` is durable; returns by how much the frontier moved.
    pub(crate) fn frontier(&mut self, next: i64, at_ms: i64) -> u64 {
        let before = self.next;
        if before.is_some_and(|before| next < before) {
            // Somebody moved the stored state back: what was proven is not any more.
            *self = Self { newest_end: self.newest_end, start: self.start, ..Self::new() };
            self.highest_end = self.newest_end.map_or(i64::MIN, |seen| seen.end);
            if let Some(seen) = self.newest_end {
                self.push_ahead(seen);
                self.waiting_since_ms = Some(at_ms);
            }
        }
        self.next = Some(next);
        let mut reached = None;
        while let Some(seen) = self.ahead.pop_front_if(|seen| seen.end <= next) {
            reached = Some(seen);
        }
        if let Some(seen) = reached {
            self.prove(seen);
        }
        let moved = before.map_or(0, |before| u64::try_from(next.saturating_sub(before)).unwrap_or(0));
        if self.ahead.is_empty() {
            self.waiting_since_ms = None;
        } else if before.is_none() || moved > 0 {
            self.waiting_since_ms = Some(at_ms);
        }
        moved
    }

    /// An event committed at this time is durable.
    pub(crate) fn newest_source_ts(&mut self, source_ts_ms: i64) {
        self.newest_source_ts_ms =
            Some(self.newest_source_ts_ms.map_or(source_ts_ms, |newest| newest.max(source_ts_ms)));
    }

    fn push_ahead(&mut self, seen: EndSeen) {
        // The same end again with a newer time proves more once it is reached.
        if let Some(last) = self.ahead.back_mut().filter(|last| last.end == seen.end) {
            *last = seen;
            return;
        }
        if self.ahead.len() >= MAX_AHEAD {
            let mut index = 0;
            self.ahead.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        self.ahead.push_back(seen);
    }

    fn prove(&mut self, seen: EndSeen) {
        if let Some(life_ms) = seen.life_ms {
            let until = seen.at_ms.min(life_ms);
            self.proven_until_ms = Some(self.proven_until_ms.map_or(until, |before| before.max(until)));
        }
        if self.ahead.is_empty() {
            self.waiting_since_ms = None;
        }
    }

    fn messages(&self) -> Option<u64> {
        let (end, next) = (self.newest_end?.end, self.next?);
        // A frontier beyond the last observed end only means that the observation is older.
        Some(u64::try_from(end.saturating_sub(next)).unwrap_or(0))
    }

    fn state(&self, now_ms: i64, config: &LagConfig) -> Result<LagState, Doubt> {
        let seen = self.newest_end.ok_or(Doubt::NoEndOffset)?;
        let next = self.next.ok_or(Doubt::NoFrontier)?;
        if seen.end < self.highest_end {
            return Err(Doubt::EndOffsetWentBack);
        }
        if seen.end > next {
            let idle_ms = now_ms.saturating_sub(self.waiting_since_ms.unwrap_or(now_ms));
            return Ok(if idle_ms >= config.stalled_after_ms() { LagState::Stalled } else { LagState::Behind });
        }
        // Distance, not age: a clock that was set back must not keep a proof alive.
        let fresh = |at_ms: i64| now_ms.abs_diff(at_ms) <= config.proof_window_ms().unsigned_abs();
        if !fresh(seen.at_ms) {
            return Err(Doubt::EndOffsetOld);
        }
        match seen.life_ms {
            None => Err(Doubt::NoSignOfLife),
            Some(life_ms) if !fresh(life_ms) => Err(Doubt::SignOfLifeOld),
            Some(_) => Ok(LagState::CaughtUp),
        }
    }

    /// The report; `skew_ms` is how far the source's clock is known to be ahead.
    pub(crate) fn report(
        &self,
        topic: &Arc<str>,
        partition: i32,
        heartbeat: bool,
        now_ms: i64,
        skew_ms: i64,
        config: &LagConfig,
    ) -> PartitionLag {
        let (state, doubt) = match self.state(now_ms, config) {
            Ok(state) => (state, None),
            Err(doubt) => (LagState::Unknown, Some(doubt)),
        };
        let known_until_ms =
            self.newest_source_ts_ms.map(|stamp| stamp.saturating_sub(skew_ms)).max(self.proven_until_ms);
        let time_lag_ms = if state == LagState::CaughtUp {
            Some(0)
        } else {
            // Unproven is never zero, however young.
            known_until_ms.map(|until| now_ms.saturating_sub(until).max(1))
        };
        PartitionLag {
            topic: Arc::clone(topic),
            partition,
            heartbeat,
            state,
            doubt,
            start: self.start,
            end: self.newest_end.map(|seen| seen.end),
            next: self.next,
            messages: self.messages(),
            time_lag_ms,
            proven_until_ms: self.proven_until_ms,
            newest_source_ts_ms: self.newest_source_ts_ms,
        }
    }
}
