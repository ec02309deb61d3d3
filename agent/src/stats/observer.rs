//! The observer of a pipeline: what `pipeline/` tells and what everybody else asks.
//!
//! Called per batch, not per event; every call takes one short lock. It holds no data of rows and does no I/O.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use serde::Serialize;

use super::family::Label;
use super::hops::Hop;
use super::instruments::{Count, Instruments};
use super::lag::{Lag, LagConfig, LagReport};
use super::report::BatchReport;
use super::state::{Component, Health, PipelineState, Readiness};
use crate::event::Op;

/// Gauges of one scrape ask for the lag one after another: within this time they get the same report.
const REPORT_REUSE_MS: i64 = 20;

/// Not told yet.
const NO_COUNT: u64 = u64::MAX;

#[derive(Debug)]
struct Inner {
    lag: Lag,
    state: PipelineState,
    components: BTreeMap<Component, Health>,
    totals: Totals,
    group: Arc<str>,
    migration_id: Arc<str>,
    last_batch_at_ms: Option<i64>,
    recent: Option<(i64, Arc<LagReport>)>,
}

/// What was counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Batches made durable.
    pub batches: u64,
    /// Change events made durable, by operation.
    pub events: BTreeMap<&'static str, u64>,
    /// Rows written or deleted at the target.
    pub rows: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Events stored as dead letters, by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Events a plugin dropped.
    pub dropped: u64,
    /// Unchanged TOAST values left alone.
    pub unchanged_toast_values: u64,
    /// Conversions that lost information.
    pub lossy_conversions: u64,
    /// Rows the version guard skipped.
    pub skipped_older: u64,
    /// How long the parts of the way took, in the order of [`Hop::ALL`]: seconds, and observations.
    #[serde(skip)]
    pub hops: [(f64, u64); 5],
}

/// The status of a pipeline, as `/api/v1/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    /// Name.
    pub pipeline: Arc<str>,
    /// The migration it is part of; its own name unless configured otherwise.
    pub migration_id: Arc<str>,
    /// Kind of source.
    pub source: Arc<str>,
    /// Kind of target.
    pub target: Arc<str>,
    /// Consumer group.
    pub group: Arc<str>,
    /// What it is doing.
    #[serde(flatten)]
    pub state: PipelineState,
    /// Whether it is ready, and why not.
    pub readiness: Readiness,
    /// How late it is.
    pub lag: LagReport,
    /// What it did since the start.
    pub totals: Totals,
    /// Dead letters stored and not yet settled; `null` before the target was asked.
    pub dead_letters_stored: Option<u64>,
    /// When the last batch became durable, milliseconds since 1970.
    pub last_batch_at_ms: Option<i64>,
}

/// Observer of one pipeline.
#[derive(Debug)]
pub struct Observer {
    pipeline: Arc<str>,
    source_kind: Arc<str>,
    target_kind: Arc<str>,
    instruments: Instruments,
    hop_attributes: [(Hop, [KeyValue; 2]); 5],
    stored_dead_letters: AtomicU64,
    inner: Mutex<Inner>,
}

impl Observer {
    /// An observer, read by `instruments` as long as it lives.
    #[must_use]
    pub fn new(
        pipeline: &str,
        source_kind: &str,
        target_kind: &str,
        config: LagConfig,
        instruments: Instruments,
    ) -> Arc<Self> {
        let pipeline: Arc<str> = pipeline.into();
        let attributes =
            |hop: Hop| [KeyValue::new("pipeline", Arc::clone(&pipeline)), KeyValue::new("hop", hop.as_str())];
        let observer = Arc::new(Self {
            hop_attributes: Hop::ALL.map(|hop| (hop, attributes(hop))),
            source_kind: source_kind.into(),
            target_kind: target_kind.into(),
            stored_dead_letters: AtomicU64::new(NO_COUNT),
            inner: Mutex::new(Inner {
                lag: Lag::new(config),
                state: PipelineState::Starting,
                components: BTreeMap::new(),
                totals: Totals::default(),
                group: "".into(),
                migration_id: Arc::clone(&pipeline),
                last_batch_at_ms: None,
                recent: None,
            }),
            pipeline,
            instruments,
        });
        observer.instruments.watch(&observer);
        // Counters that only move when something goes wrong must exist before: a first failure is an increase too.
        let name = || Label::from(&observer.pipeline);
        for reason in crate::event::Reason::ALL {
            observer.instruments.add(Count::DeadLetters, vec![name(), Label::Word(reason.as_str())], 0);
        }
        for count in [Count::Toast, Count::Rows, Count::Bytes, Count::Dropped] {
            observer.instruments.add(count, vec![name()], 0);
        }
        observer
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent = None;
        inner
    }

    /// The consumer group, for `cdc_pipeline_info` and `kafka.consumer_group.lag`.
    pub fn group(&self, name: &str) {
        self.lock().group = name.into();
    }

    /// The migration that the pipeline is part of, for `migration_data_lag_seconds`.
    pub fn migration_id(&self, id: &str) {
        self.lock().migration_id = id.into();
    }

    /// The oldest offset of a partition that the broker still has.
    pub fn start_offset(&self, topic: &Arc<str>, partition: i32, start: i64) {
        self.lock().lag.start_offset(topic, partition, start);
    }

    /// These partitions are this agent's now.
    pub fn assigned(&self, partitions: &[(Arc<str>, i32)]) {
        self.lock().lag.assigned(partitions);
    }

    /// These partitions are somebody else's now: their series end.
    pub fn revoked(&self, partitions: &[(Arc<str>, i32)]) {
        self.lock().lag.revoked(partitions);
    }

    /// The end of a partition (high watermark, or last stable offset when reading committed) as the broker told it at
    /// `at_ms`. This is half of every proof, so tell it also when nothing moves: every few seconds.
    pub fn end_offset(&self, topic: &Arc<str>, partition: i32, end: i64, at_ms: i64) {
        self.lock().lag.end_offset(topic, partition, end, at_ms);
    }

    /// Everything below `next` is durable at the target. Tell it once after the assignment with what the target has stored,
    /// then after every commit, and with the consumer's position when the end of the partition is reached: the last
    /// offsets may be control records or compacted away, which no event ever shows.
    pub fn frontier(&self, topic: &Arc<str>, partition: i32, next: i64, at_ms: i64) {
        self.lock().lag.frontier(topic, partition, next, at_ms);
    }

    /// A connector's sign of life with its own time, told after everything before it is durable.
    pub fn heartbeat(&self, topic: &Arc<str>, source_ts_ms: i64, at_ms: i64) {
        self.lock().lag.heartbeat(topic, source_ts_ms, at_ms);
    }

    /// A batch is durable.
    pub fn applied(&self, report: &BatchReport, at_ms: i64) {
        self.count(report);
        let mut hops = [(0.0, 0_u64); 5];
        for (hop, seconds) in report.hops.observations(at_ms) {
            if let Some((sum, count)) = hops.get_mut(hop as usize) {
                (*sum, *count) = (*sum + seconds, *count + 1);
            }
            if let Some((_, attributes)) = self.hop_attributes.iter().find(|(one, _)| *one == hop) {
                self.instruments.inner.hop.record(seconds, attributes);
            }
        }
        if let (Some(histogram), Some(took)) = (&self.instruments.inner.db, report.hops.apply) {
            let system = KeyValue::new("db.system.name", Arc::clone(&self.target_kind));
            histogram.record(took.as_secs_f64(), &[system, KeyValue::new("db.operation.name", "BATCH")]);
        }
        let mut inner = self.lock();
        inner.lag.applied(&report.tables, &report.watermarks, at_ms);
        inner.last_batch_at_ms = Some(at_ms);
        inner.totals.take(report);
        for (total, (seconds, count)) in inner.totals.hops.iter_mut().zip(hops) {
            *total = (total.0 + seconds, total.1 + count);
        }
    }

    fn count(&self, report: &BatchReport) {
        let name = || Label::from(&self.pipeline);
        for (source, table, op, count) in &report.events {
            let labels = vec![Label::from(source), Label::from(table), Label::Word(operation(*op))];
            self.instruments.add(Count::Events, labels, *count);
        }
        for (reason, count) in &report.dead_letters {
            self.instruments.add(Count::DeadLetters, vec![name(), Label::Word(reason.as_str())], *count);
        }
        for lossy in &report.lossy {
            let labels = vec![name(), Label::from(&lossy.table), Label::from(&lossy.column)];
            self.instruments.add(Count::Lossy, labels, lossy.count);
        }
        for (count, amount) in [
            (Count::Toast, report.toast),
            (Count::Rows, report.rows),
            (Count::Bytes, report.bytes),
            (Count::Dropped, report.dropped),
        ] {
            if amount > 0 {
                self.instruments.add(count, vec![name()], amount);
            }
        }
    }

    /// What the pipeline is doing now.
    pub fn state(&self, state: PipelineState) {
        self.lock().state = state;
    }

    /// Health of a component, for `/readyz`.
    pub fn component(&self, component: Component, health: Health) {
        self.lock().components.insert(component, health);
    }

    /// How many dead letters the target holds.
    pub fn dead_letters_stored(&self, count: u64) {
        self.stored_dead_letters.store(count.min(NO_COUNT - 1), Ordering::Relaxed);
    }

    /// How late the pipeline is.
    #[must_use]
    pub fn lag(&self, now_ms: i64) -> LagReport {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).lag.report(now_ms)
    }

    /// The same, shared by those who ask within a few milliseconds.
    pub(crate) fn recent_lag(&self, now_ms: i64) -> Arc<LagReport> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at_ms, report)) = &inner.recent
            && now_ms.abs_diff(*at_ms) <= REPORT_REUSE_MS.unsigned_abs()
        {
            return Arc::clone(report);
        }
        let report = Arc::new(inner.lag.report(now_ms));
        inner.recent = Some((now_ms, Arc::clone(&report)));
        report
    }

    /// Everything there is to know.
    #[must_use]
    pub fn status(&self) -> PipelineStatus {
        let now_ms = self.instruments.now_ms();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        PipelineStatus {
            pipeline: Arc::clone(&self.pipeline),
            migration_id: Arc::clone(&inner.migration_id),
            source: Arc::clone(&self.source_kind),
            target: Arc::clone(&self.target_kind),
            group: Arc::clone(&inner.group),
            state: inner.state.clone(),
            readiness: Readiness::of(&inner.state, &inner.components),
            lag: inner.lag.report(now_ms),
            totals: inner.totals.clone(),
            dead_letters_stored: self.dead_letters(),
            last_batch_at_ms: inner.last_batch_at_ms,
        }
    }

    /// Whether the pipeline is ready, and why not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Readiness::of(&inner.state, &inner.components)
    }

    /// Name of the pipeline.
    #[must_use]
    pub const fn pipeline(&self) -> &Arc<str> {
        &self.pipeline
    }

    pub(crate) const fn source_kind(&self) -> &Arc<str> {
        &self.source_kind
    }

    pub(crate) const fn target_kind(&self) -> &Arc<str> {
        &self.target_kind
    }

    pub(crate) fn migration(&self) -> Arc<str> {
        Arc::clone(&self.inner.lock().unwrap_or_else(PoisonError::into_inner).migration_id)
    }

    pub(crate) fn consumer_group(&self) -> Arc<str> {
        Arc::clone(&self.inner.lock().unwrap_or_else(PoisonError::into_inner).group)
    }

    pub(crate) fn state_word(&self) -> &'static str {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).state.as_str()
    }

    pub(crate) fn dead_letters(&self) -> Option<u64> {
        Some(self.stored_dead_letters.load(Ordering::Relaxed)).filter(|count| *count != NO_COUNT)
    }
}

/// The label of an operation: the words of `Op`, so that metric, plugin and status agree.
const fn operation(op: Op) -> &'static str {
    op.as_str()
}

impl Totals {
    fn take(&mut self, report: &BatchReport) {
        self.batches += 1;
        for (_, _, op, count) in &report.events {
            *self.events.entry(operation(*op)).or_default() += count;
        }
        for (reason, count) in &report.dead_letters {
            *self.dead_letters.entry(reason.as_str()).or_default() += count;
        }
        self.rows += report.rows;
        self.bytes += report.bytes;
        self.dropped += report.dropped;
        self.unchanged_toast_values += report.toast;
        self.lossy_conversions += report.lossy.iter().map(|lossy| lossy.count).sum::<u64>();
        self.skipped_older += report.skipped_older;
    }
}
