//! The span of a batch, made once the batch is settled: its times are known then, and nothing is spent when traces are off.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::writer::Prepared;
use crate::export::trace::{BatchFacts, Links, PluginFacts, Traces};

/// The header that W3C Trace Context defines.
const TRACEPARENT: &str = "traceparent";

/// Where spans go and what they say of the pipeline.
pub(super) struct Spans {
    pub(super) traces: Traces,
    pub(super) group: String,
    pub(super) system: &'static str,
}

impl Spans {
    /// Records the span of a batch whose write began at `begun`; `outcome` is the class of what went wrong.
    pub(super) fn record(
        &self,
        pipeline: &str,
        prepared: &Prepared,
        begun: SystemTime,
        outcome: Result<(), &'static str>,
    ) {
        if !self.traces.is_on() {
            return;
        }
        let batch = &prepared.batch;
        let mut links = Links::default();
        'events: for event in &batch.events {
            for (name, value) in batch.headers(event) {
                if name.eq_ignore_ascii_case(TRACEPARENT)
                    && let Some(value) = value
                    && !links.take(value)
                {
                    break 'events;
                }
            }
        }
        let ended = SystemTime::now();
        let received = UNIX_EPOCH + Duration::from_micros(u64::try_from(prepared.received_us).unwrap_or(0));
        let topic = match batch.topics.as_slice() {
            [one] => Some(&**one),
            _ => None,
        };
        let facts = BatchFacts { pipeline, group: &self.group, topic, records: batch.events.len() };
        let span = self.traces.batch(&facts, links, received);
        let plugins_began = prepared.sealed_at - prepared.plugins;
        span.stage("decode", received, plugins_began.max(received));
        span.stage("transform", plugins_began.max(received), prepared.sealed_at);
        for turn in &prepared.turns {
            let facts = PluginFacts {
                plugin: &turn.plugin,
                events: turn.events,
                calls: turn.calls,
                traps: turn.traps,
                cause: turn.cause,
            };
            span.plugin(&facts, turn.begun, turn.begun + turn.took);
        }
        span.apply(self.system, batch.events.len(), begun, ended, outcome);
        span.end(ended, outcome);
    }
}
