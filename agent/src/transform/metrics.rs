//! The `plugin_*` instruments. The parent hands in the meter and decides what is exported; counters move once per call,
//! never per event.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use crate::plugin::TrapCause;

/// Calls of a batch of 1,000 take some 200 µs, single events some microseconds, and the default budget is a second.
const BUCKETS: [f64; 10] = [0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 1.0];

/// The instruments all plugins of an agent share.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    calls: Counter<u64>,
    duration: Histogram<f64>,
    events: Counter<u64>,
    traps: Counter<u64>,
    memory: Gauge<u64>,
    info: Gauge<u64>,
}

impl PluginMetrics {
    /// Registers the instruments.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        PluginMetrics {
            calls: meter.u64_counter("plugin_calls_total").with_description("calls of plugins by outcome").build(),
            duration: meter
                .f64_histogram("plugin_call_duration_seconds")
                .with_description("time a plugin had a batch, crossing included")
                .with_boundaries(BUCKETS.to_vec())
                .build(),
            events: meter.u64_counter("plugin_events_total").with_description("events plugins saw by what became of them").build(),
            traps: meter.u64_counter("plugin_traps_total").with_description("plugin instances that ended badly by cause").build(),
            memory: meter.u64_gauge("plugin_memory_bytes").with_description("linear memory of a plugin's instance").build(),
            info: meter.u64_gauge("plugin_info").with_description("plugins in use; always 1").build(),
        }
    }

    /// The same instruments with one plugin's labels, made once: a call must not build label sets.
    pub(super) fn of(&self, plugin: &str, version: &str, digest: &str) -> Handles {
        let labels = |name: &'static str, value: &'static str| [KeyValue::new("plugin", plugin.to_owned()), KeyValue::new(name, value)];
        let plugin_label = KeyValue::new("plugin", plugin.to_owned());
        self.info.record(1, &[plugin_label.clone(), KeyValue::new("version", version.to_owned()), KeyValue::new("digest", digest.to_owned())]);
        Handles {
            metrics: self.clone(),
            plugin: [plugin_label],
            outcomes: Outcome::ALL.map(|outcome| labels("outcome", outcome.as_str())),
            verdicts: ["keep", "drop", "fail"].map(|verdict| labels("verdict", verdict)),
            causes: TrapCause::ALL.map(|cause| (cause, labels("cause", cause.as_str()))),
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Refused,
    Trapped,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Ok, Outcome::Refused, Outcome::Trapped];

    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Trapped => "trapped",
        }
    }
}

/// One plugin's instruments.
#[derive(Debug)]
pub(super) struct Handles {
    metrics: PluginMetrics,
    plugin: [KeyValue; 1],
    outcomes: [[KeyValue; 2]; 3],
    verdicts: [[KeyValue; 2]; 3],
    causes: [(TrapCause, [KeyValue; 2]); 7],
}

impl Handles {
    pub(super) fn call(&self, outcome: Outcome, took: Duration, memory: usize) {
        if let Some(labels) = self.outcomes.get(outcome as usize) {
            self.metrics.calls.add(1, labels);
        }
        self.metrics.duration.record(took.as_secs_f64(), &self.plugin);
        self.metrics.memory.record(memory as u64, &self.plugin);
    }

    pub(super) fn trap(&self, cause: TrapCause) {
        if let Some((_, labels)) = self.causes.iter().find(|(known, _)| *known == cause) {
            self.metrics.traps.add(1, labels);
        }
    }

    /// Kept, dropped, failed.
    pub(super) fn events(&self, counts: [u64; 3]) {
        for (count, labels) in counts.into_iter().zip(&self.verdicts) {
            if count > 0 {
                self.metrics.events.add(count, labels);
            }
        }
    }
}
