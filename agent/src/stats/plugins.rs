//! What is counted about a plugin, whatever stage it serves.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;

use super::family::{Label, OVERFLOW};
use super::instruments::{Count, Instruments};
use crate::plugin::TrapCause;
use crate::plugin::services::MetricSink;

/// How many names of series one plugin may have; what comes beyond shares one.
const MAX_CUSTOM: usize = 100;

/// The meter of one plugin. Its series of memory and facts end when it is dropped; what was counted stays.
pub struct PluginMeter {
    name: Arc<str>,
    version: Arc<str>,
    digest: Arc<str>,
    instruments: Instruments,
    attributes: [KeyValue; 1],
    memory: AtomicU64,
    custom: Mutex<HashSet<String>>,
    pipeline: OnceLock<Arc<str>>,
    totals: [AtomicU64; 4],
}

/// What a plugin did since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PluginTotals {
    /// Seconds in calls.
    pub seconds: f64,
    /// Calls.
    pub calls: u64,
    /// Calls that did not end well.
    pub errors: u64,
    /// Events with a verdict.
    pub events: u64,
}

impl fmt::Debug for PluginMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginMeter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PluginMeter {
    /// A meter for the plugin of this name, with the facts for `plugin_info`.
    #[must_use]
    pub fn new(name: &str, version: &str, digest: &str, instruments: &Instruments) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let meter = Arc::new(Self {
            attributes: [KeyValue::new("plugin", Arc::clone(&name))],
            name,
            version: version.into(),
            digest: digest.into(),
            instruments: instruments.clone(),
            memory: AtomicU64::new(0),
            custom: Mutex::default(),
            pipeline: OnceLock::new(),
            totals: Default::default(),
        });
        instruments.watch_plugin(&meter);
        meter
    }

    /// A call ended: `outcome` is a word such as `ok`, `error`, `trap`, `timeout`.
    pub fn call(&self, outcome: &'static str, took: Duration) {
        self.instruments.add(Count::PluginCalls, vec![Label::from(&self.name), Label::Word(outcome)], 1);
        self.instruments.inner.call.record(took.as_secs_f64(), &self.attributes);
        let [nanoseconds, calls, errors, _] = &self.totals;
        nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        calls.fetch_add(1, Ordering::Relaxed);
        errors.fetch_add(u64::from(outcome != "ok"), Ordering::Relaxed);
    }

    /// The plugin's verdicts about events: `keep`, `drop`, `fail`.
    pub fn events(&self, verdict: &'static str, count: u64) {
        if count > 0 {
            let [.., events] = &self.totals;
            events.fetch_add(count, Ordering::Relaxed);
            self.instruments.add(Count::PluginEvents, vec![Label::from(&self.name), Label::Word(verdict)], count);
        }
    }

    /// A call trapped: `cause` is a word such as `deadline`, `memory`, `unreachable`.
    pub fn trap(&self, cause: &'static str) {
        self.instruments.add(Count::PluginTraps, vec![Label::from(&self.name), Label::Word(cause)], 1);
    }

    /// A crash left a repro bundle, or should have: `outcome` is `written` or `dropped`.
    pub fn bundle(&self, outcome: &'static str) {
        self.instruments.add(Count::PluginBundles, vec![Label::from(&self.name), Label::Word(outcome)], 1);
    }

    /// Linear memory of its instances now.
    pub fn memory_bytes(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// It works in this pipeline.
    pub fn serves(&self, pipeline: &str) {
        let _ = self.pipeline.set(pipeline.into());
    }

    /// The pipeline it works in, if it does.
    pub(crate) fn pipeline(&self) -> Option<&Arc<str>> {
        self.pipeline.get()
    }

    /// What it did since it was loaded.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of months fit")]
    pub(crate) fn totals(&self) -> PluginTotals {
        let [nanoseconds, calls, errors, events] = &self.totals;
        PluginTotals {
            seconds: nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
            calls: calls.load(Ordering::Relaxed),
            errors: errors.load(Ordering::Relaxed),
            events: events.load(Ordering::Relaxed),
        }
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn version(&self) -> &Arc<str> {
        &self.version
    }

    pub(crate) const fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes as a metric value")]
    pub(crate) fn memory(&self) -> f64 {
        self.memory.load(Ordering::Relaxed) as f64
    }
}

impl PluginMeter {
    /// The labels of a series of the plugin's own.
    fn custom(&self, name: &str) -> [KeyValue; 2] {
        let mut names = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.contains(name) || (names.len() < MAX_CUSTOM && names.insert(name.to_owned()));
        let name = if known { name.to_owned() } else { OVERFLOW.to_owned() };
        [KeyValue::new("plugin", Arc::clone(&self.name)), KeyValue::new("name", name)]
    }
}

impl MetricSink for PluginMeter {
    fn add(&self, name: &str, by: f64) {
        self.instruments.inner.custom.total.add(by, &self.custom(name));
    }

    fn set(&self, name: &str, value: f64) {
        self.instruments.inner.custom.value.record(value, &self.custom(name));
    }

    fn observe(&self, name: &str, value: f64) {
        self.instruments.inner.custom.observations.record(value, &self.custom(name));
    }

    fn memory(&self, bytes: usize) {
        self.memory_bytes(bytes as u64);
    }

    fn called(&self, outcome: &'static str, took: Duration, trap: Option<TrapCause>) {
        self.call(outcome, took);
        if let Some(cause) = trap {
            self.trap(cause.as_str());
        }
    }
}
