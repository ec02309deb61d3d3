//! Lag of a pipeline: the state machine over its partitions, tables and signs of life.
//!
//! Owns the meaning of `caught_up`, `behind`, `stalled` and `unknown` (docs/lag.md). Knows no metric and no clock: every
//! observation carries its time, every report the time it is made for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::life::Life;
use super::partition::{Doubt, Partition, PartitionLag};
use super::rate::Rates;
use super::report::{TableLag, Watermark};
use super::skew::Skew;

/// When a proof is too old and when standing still becomes stalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagConfig {
    /// How old the proof of "caught up" may be.
    pub proof_window: Duration,
    /// No progress for so long while there is something to do: stalled.
    pub stalled_after: Duration,
}

impl Default for LagConfig {
    /// 30 s: three heartbeats at the 10 s the connectors are configured with. 60 s: longer than a group rebalance or a
    /// failover of a target takes.
    fn default() -> Self {
        Self { proof_window: Duration::from_secs(30), stalled_after: Duration::from_secs(60) }
    }
}

impl LagConfig {
    pub(crate) fn proof_window_ms(&self) -> i64 {
        i64::try_from(self.proof_window.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn stalled_after_ms(&self) -> i64 {
        i64::try_from(self.stalled_after.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What is proven about a pipeline's lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LagState {
    /// The frontier is at the end, and both end and source were heard of within the proof window.
    CaughtUp,
    /// Neither is proven.
    Unknown,
    /// There is something to do, and it is being done.
    Behind,
    /// There is something to do, and nothing got done for `stalled_after`.
    Stalled,
}

impl LagState {
    /// Every state, for the state-set metric.
    pub const ALL: [Self; 4] = [Self::CaughtUp, Self::Behind, Self::Stalled, Self::Unknown];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CaughtUp => "caught_up",
            Self::Behind => "behind",
            Self::Stalled => "stalled",
            Self::Unknown => "unknown",
        }
    }
}

/// The lag of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableLagReport {
    /// Source table.
    pub source_table: Arc<str>,
    /// Table or collection it goes to.
    pub target_table: Arc<str>,
    /// State of the worst partition it comes from.
    pub state: LagState,
    /// Milliseconds from source commit to visible at the target: 0 only when proven, otherwise an upper bound.
    pub time_lag_ms: i64,
    /// Commit time of its newest durable event, as the source wrote it (milliseconds since 1970).
    pub newest_source_ts_ms: i64,
    /// When that event became visible here.
    pub newest_visible_at_ms: i64,
}

/// The lag of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LagReport {
    /// The worst of its partitions.
    pub state: LagState,
    /// Why nothing is proven, over all partitions; empty unless some are unknown.
    pub doubts: BTreeSet<&'static str>,
    /// Sum over partitions; `None` while one of them is not known.
    pub messages: Option<u64>,
    /// Worst partition; 0 only when caught up; `None` while nothing is known.
    pub time_lag_ms: Option<i64>,
    /// Age of the oldest partition's proof; `None` before every partition had one.
    pub proof_age_ms: Option<i64>,
    /// Until the backlog is gone at the present rates: 0 when caught up, `None` when it is not shrinking or unknown.
    pub catchup_eta_seconds: Option<f64>,
    /// How far the source's clock is ahead of this agent's, at least.
    pub clock_skew_ms: i64,
    /// Records per second made durable, over the last minute.
    pub consumed_per_second: Option<f64>,
    /// Records per second arriving at the broker, over the last minute.
    pub produced_per_second: Option<f64>,
    /// Partitions assigned to this agent.
    pub partitions: Vec<PartitionLag>,
    /// Tables seen on those partitions.
    pub tables: Vec<TableLagReport>,
}

#[derive(Debug)]
struct Table {
    topics: BTreeSet<Arc<str>>,
    newest_source_ts_ms: i64,
    newest_visible_at_ms: i64,
}

/// The worst of some partitions.
#[derive(Debug, Clone, Copy)]
struct TopicLag {
    state: LagState,
    ms: i64,
    /// One of them does not know its time lag.
    blind: bool,
}

impl Default for TopicLag {
    fn default() -> Self {
        Self { state: LagState::CaughtUp, ms: 0, blind: false }
    }
}

impl TopicLag {
    fn of(partition: &PartitionLag) -> Self {
        Self { state: partition.state, ms: partition.time_lag_ms.unwrap_or(0), blind: partition.time_lag_ms.is_none() }
    }

    fn worsen(&mut self, other: Self) {
        self.state = self.state.max(other.state);
        self.ms = self.ms.max(other.ms);
        self.blind |= other.blind;
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Lag {
    config: LagConfig,
    partitions: BTreeMap<(Arc<str>, i32), Partition>,
    tables: BTreeMap<(Arc<str>, Arc<str>), Table>,
    life: Life,
    skew: Skew,
    rates: Rates,
}

impl Lag {
    /// Nothing known yet.
    #[must_use]
    pub fn new(config: LagConfig) -> Self {
        Self {
            config,
            partitions: BTreeMap::new(),
            tables: BTreeMap::new(),
            life: Life::default(),
            skew: Skew::default(),
            rates: Rates::default(),
        }
    }

    /// These partitions are this agent's now.
    pub fn assigned(&mut self, partitions: &[(Arc<str>, i32)]) {
        for key in partitions {
            // An assignment that is repeated (cooperative rebalancing) keeps what is known.
            self.partitions.entry(key.clone()).or_insert_with(Partition::new);
        }
    }

    /// These partitions are somebody else's now; so are the tables that came from nowhere else.
    pub fn revoked(&mut self, partitions: &[(Arc<str>, i32)]) {
        for key in partitions {
            self.partitions.remove(key);
        }
        let gone: BTreeSet<&Arc<str>> =
            partitions.iter().map(|(topic, _)| topic).filter(|topic| !self.reads(topic)).collect();
        for topic in &gone {
            self.life.forget(topic);
        }
        self.tables.retain(|_, table| {
            table.topics.retain(|topic| !gone.contains(topic));
            !table.topics.is_empty()
        });
    }

    fn reads(&self, topic: &Arc<str>) -> bool {
        self.partitions.range((Arc::clone(topic), i32::MIN)..=(Arc::clone(topic), i32::MAX)).next().is_some()
    }

    /// The oldest offset of a partition that the broker still has.
    pub fn start_offset(&mut self, topic: &Arc<str>, partition: i32, start: i64) {
        if let Some(known) = self.partitions.get_mut(&(Arc::clone(topic), partition)) {
            known.start(start);
        }
    }

    /// The end of a partition (its high watermark) as the broker told it.
    pub fn end_offset(&mut self, topic: &Arc<str>, partition: i32, end: i64, at_ms: i64) {
        let life_ms = self.life.newest(topic).map(|stamp| self.skew.correct(stamp));
        if let Some(known) = self.partitions.get_mut(&(Arc::clone(topic), partition)) {
            let grown = known.end(end, at_ms, life_ms);
            if !self.life.is_heartbeat(topic) {
                self.rates.produced(grown, at_ms);
            }
        }
    }

    /// Everything below `next` is durable at the target.
    pub fn frontier(&mut self, topic: &Arc<str>, partition: i32, next: i64, at_ms: i64) {
        if let Some(known) = self.partitions.get_mut(&(Arc::clone(topic), partition)) {
            let moved = known.frontier(next, at_ms);
            if !self.life.is_heartbeat(topic) {
                self.rates.consumed(moved, at_ms);
            }
        }
    }

    /// A connector's sign of life, told after everything before it is durable.
    pub fn heartbeat(&mut self, topic: &Arc<str>, source_ts_ms: i64, at_ms: i64) {
        self.skew.observe(source_ts_ms, at_ms);
        self.life.heartbeat(topic, source_ts_ms);
    }

    /// Events are durable.
    pub fn applied(&mut self, tables: &[TableLag], watermarks: &[Watermark], at_ms: i64) {
        for mark in watermarks {
            self.stamp(&mark.topic, mark.newest_source_ts_ms, at_ms);
            if let Some(known) = self.partitions.get_mut(&(Arc::clone(&mark.topic), mark.partition)) {
                known.newest_source_ts(mark.newest_source_ts_ms);
            }
        }
        for lag in tables {
            self.stamp(&lag.topic, lag.newest_source_ts_ms, at_ms);
            if lag.newest_source_ts_ms <= 0 || !self.reads(&lag.topic) {
                continue;
            }
            let key = (Arc::clone(&lag.source_table), Arc::clone(&lag.target_table));
            let table = self.tables.entry(key).or_insert_with(|| Table {
                topics: BTreeSet::new(),
                newest_source_ts_ms: lag.newest_source_ts_ms,
                newest_visible_at_ms: at_ms,
            });
            if !table.topics.contains(&lag.topic) {
                table.topics.insert(Arc::clone(&lag.topic));
            }
            if lag.newest_source_ts_ms >= table.newest_source_ts_ms {
                table.newest_source_ts_ms = lag.newest_source_ts_ms;
                table.newest_visible_at_ms = at_ms;
            }
        }
    }

    fn stamp(&mut self, topic: &Arc<str>, source_ts_ms: i64, at_ms: i64) {
        // 0 is "the source did not say".
        if source_ts_ms > 0 {
            self.skew.observe(source_ts_ms, at_ms);
            self.life.event(topic, source_ts_ms);
        }
    }

    /// Milliseconds the source's clock is ahead of this agent's, at least.
    #[must_use]
    pub fn clock_skew_ms(&self) -> i64 {
        self.skew.ms()
    }

    /// What is proven now.
    #[must_use]
    pub fn report(&self, now_ms: i64) -> LagReport {
        let skew_ms = self.skew.ms();
        let partitions: Vec<PartitionLag> = self
            .partitions
            .iter()
            .map(|((topic, number), known)| {
                known.report(topic, *number, self.life.is_heartbeat(topic), now_ms, skew_ms, &self.config)
            })
            .collect();
        let data = || partitions.iter().filter(|partition| !partition.heartbeat);
        let state = data().map(|partition| partition.state).max().unwrap_or(LagState::Unknown);
        let mut doubts: BTreeSet<&'static str> = data().filter_map(|p| p.doubt).map(Doubt::as_str).collect();
        if data().next().is_none() {
            doubts.insert(Doubt::NoPartitions.as_str());
        }
        let messages =
            data().map(|partition| partition.messages).sum::<Option<u64>>().filter(|_| data().next().is_some());
        let proven_until_ms =
            data().map(|p| p.proven_until_ms).reduce(|oldest, next| oldest.zip(next).map(|(a, b)| a.min(b))).flatten();
        let rates = self.rates.per_second(now_ms);
        LagReport {
            state,
            doubts,
            messages,
            time_lag_ms: match state {
                LagState::CaughtUp => Some(0),
                LagState::Unknown => {
                    data().map(|p| p.time_lag_ms).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten()
                }
                LagState::Behind | LagState::Stalled => data().filter_map(|p| p.time_lag_ms).max(),
            }
            .filter(|lag| state == LagState::CaughtUp || *lag > 0),
            proof_age_ms: proven_until_ms.map(|until| now_ms.saturating_sub(until).max(0)),
            catchup_eta_seconds: match state {
                LagState::CaughtUp => Some(0.0),
                LagState::Behind | LagState::Stalled => {
                    messages.filter(|count| *count > 0).and_then(|count| self.rates.eta_seconds(count, now_ms))
                }
                LagState::Unknown => None,
            },
            clock_skew_ms: skew_ms,
            consumed_per_second: rates.map(|rates| rates.consumed),
            produced_per_second: rates.map(|rates| rates.produced),
            tables: self.tables(&partitions, now_ms, skew_ms),
            partitions,
        }
    }

    fn tables(&self, partitions: &[PartitionLag], now_ms: i64, skew_ms: i64) -> Vec<TableLagReport> {
        let mut topics: BTreeMap<&Arc<str>, TopicLag> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().worsen(TopicLag::of(partition));
        }
        let report = |((source_table, target_table), table): (&(Arc<str>, Arc<str>), &Table)| {
            let mut worst = TopicLag::default();
            for lag in table.topics.iter().filter_map(|topic| topics.get(topic)) {
                worst.worsen(*lag);
            }
            // Where a partition cannot tell, the table's own newest event is all that is known.
            let own = now_ms.saturating_sub(table.newest_source_ts_ms.saturating_sub(skew_ms));
            let known = if worst.blind { worst.ms.max(own) } else { worst.ms };
            let state = worst.state;
            TableLagReport {
                source_table: Arc::clone(source_table),
                target_table: Arc::clone(target_table),
                state,
                time_lag_ms: if state == LagState::CaughtUp { 0 } else { known.max(1) },
                newest_source_ts_ms: table.newest_source_ts_ms,
                newest_visible_at_ms: table.newest_visible_at_ms,
            }
        };
        self.tables.iter().map(report).collect()
    }
}
