//! What is read of pipelines and migrations each second. The names of the series are a contract with rules: docs/rules.md.

use std::sync::Arc;

use whimbrel_monitor::history::{Key, Reading, Value};

use crate::stats::{Hop, Instruments, LagState, MigrationStatus, PartitionLag, PipelineStatus, PluginMeter};

/// All that can be read now. What is not known is not read: it is never 0.
pub(super) fn readings(instruments: &Instruments) -> Vec<Reading> {
    let mut all = Vec::new();
    for observer in instruments.observers() {
        let mut into = Into { scope: format!("pipeline/{}", observer.pipeline()).into(), all: &mut all };
        into.pipeline(&observer.status());
    }
    for meter in instruments.plugins() {
        if let Some(pipeline) = meter.pipeline() {
            let mut into = Into { scope: format!("pipeline/{pipeline}").into(), all: &mut all };
            into.plugin(&meter);
        }
    }
    if let Some(board) = instruments.migrations() {
        for migration in board.status().migrations {
            let scope = format!("migration/{}", migration.label()).into();
            Into { scope, all: &mut all }.migration(&migration);
        }
    }
    all
}

/// Where readings of one scope go.
struct Into<'a> {
    scope: Arc<str>,
    all: &'a mut Vec<Reading>,
}

impl Into<'_> {
    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: Value, fine: bool) {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let key = Key { scope: Arc::clone(&self.scope), name: name.into(), labels };
        self.all.push(Reading { key, value, fine });
    }

    /// One that people look at by the second.
    fn fine(&mut self, name: &str, value: Value) {
        self.put(name, &[], value, true);
    }

    fn coarse(&mut self, name: &str, value: Value) {
        self.put(name, &[], value, false);
    }

    fn pipeline(&mut self, status: &PipelineStatus) {
        let totals = &status.totals;
        let events = number(totals.events.values().sum());
        let letters = number(totals.dead_letters.values().sum());
        self.fine("events_per_second", Value::Rate(events));
        self.fine("errors_per_second", Value::Rate(letters));
        self.coarse("error_ratio", Value::Ratio(letters, events + letters));
        self.coarse("running", Value::Level(truth(status.state.as_str() == "running")));
        let lag = &status.lag;
        self.coarse("lag_state", Value::Level(lag_state(lag.state)));
        if lag.state != LagState::Unknown
            && let Some(ms) = lag.time_lag_ms
        {
            self.fine("lag_seconds", Value::Level(seconds(ms)));
        }
        for (name, value) in [
            ("lag_messages", lag.messages.map(number)),
            ("proof_age_seconds", lag.proof_age_ms.map(seconds)),
            ("catchup_eta_seconds", lag.catchup_eta_seconds),
            ("produced_per_second", lag.produced_per_second),
            ("dead_letters_stored", status.dead_letters_stored.map(number)),
        ] {
            if let Some(value) = value {
                self.coarse(name, Value::Level(value));
            }
        }
        for (hop, (sum, count)) in Hop::ALL.iter().zip(totals.hops) {
            self.put("hop_seconds", &[("hop", hop.as_str())], Value::Ratio(sum, number(count)), false);
        }
        for partition in lag.partitions.iter().filter(|partition| !partition.heartbeat) {
            self.partition(partition);
        }
    }

    fn partition(&mut self, lag: &PartitionLag) {
        let partition = lag.partition.to_string();
        let labels = [("topic", &*lag.topic), ("partition", partition.as_str())];
        for (name, value) in [
            ("partition_end_offset", lag.end.map(offset)),
            ("partition_frontier", lag.next.map(offset)),
            ("partition_start_offset", lag.start.map(offset)),
            ("partition_lag_messages", lag.messages.map(number)),
        ] {
            if let Some(value) = value {
                self.put(name, &labels, Value::Level(value), false);
            }
        }
    }

    fn plugin(&mut self, meter: &PluginMeter) {
        let totals = meter.totals();
        let labels = [("plugin", &**meter.name())];
        self.put("plugin_seconds_per_event", &labels, Value::Ratio(totals.seconds, number(totals.events)), false);
        self.put("plugin_errors_per_second", &labels, Value::Rate(number(totals.errors)), false);
    }

    fn migration(&mut self, status: &MigrationStatus) {
        let running = status.state == "running";
        self.coarse("running", Value::Level(truth(running)));
        if !running {
            return;
        }
        let rows = number(status.places.iter().map(|place| place.done).sum());
        let errors = number(status.retries);
        self.fine("rows_per_second", Value::Rate(rows));
        self.fine("errors_per_second", Value::Rate(errors));
        self.coarse("error_ratio", Value::Ratio(errors, rows + errors));
        self.coarse("blocked_sessions", Value::Level(number(status.blocked.len() as u64)));
        for (name, value) in [
            ("progress_ratio", status.progress_ratio),
            ("eta_seconds", status.eta_seconds),
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of lag")]
            ("replication_lag_seconds", status.replication_lag_ms.map(|ms| ms as f64 / 1_000.0)),
        ] {
            if let Some(value) = value {
                self.fine(name, Value::Level(value));
            }
        }
    }
}

const fn truth(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

const fn lag_state(state: LagState) -> f64 {
    match state {
        LagState::CaughtUp => 0.0,
        LagState::Behind => 1.0,
        LagState::Stalled => 2.0,
        LagState::Unknown => 3.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts as points of a series")]
const fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "offsets as points of a series")]
const fn offset(offset: i64) -> f64 {
    offset as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds as points of a series")]
const fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
