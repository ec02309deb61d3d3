//! One look at the running demo: numbers from the generator, from the pipeline's status and from the metrics page. Both
//! views show this; neither asks the agent anything itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::generator::{Generator, phase_word};
use crate::export::prometheus::Scrape;
use crate::stats::Observer;

/// What is seen at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Since the generator began.
    pub(crate) elapsed: Duration,
    /// What the shop does: steady, burst, stall; or that it waits for the agent.
    pub(crate) shop: &'static str,
    /// Records sent, poison among them.
    pub(crate) sent: u64,
    pub(crate) poison: u64,
    /// Records settled.
    pub(crate) settled: u64,
    /// Records settled a second, since the last look.
    pub(crate) rate: f64,
    /// Lag: state, messages, milliseconds.
    pub(crate) lag: &'static str,
    pub(crate) lag_messages: Option<u64>,
    pub(crate) lag_ms: Option<i64>,
    /// Pipeline state.
    pub(crate) pipeline: &'static str,
    /// Why it is not ready, when it is not.
    pub(crate) unready: Option<String>,
    /// Dead letters by reason.
    pub(crate) dead_letters: BTreeMap<&'static str, u64>,
    /// Nanoseconds a plugin took per event, since the start.
    pub(crate) plugin_ns: Option<f64>,
    /// Resident memory, bytes.
    pub(crate) memory: u64,
    /// Rows written, batches committed.
    pub(crate) rows: u64,
    pub(crate) batches: u64,
}

/// Looks.
pub(crate) struct Eye {
    last: Option<(Instant, u64)>,
}

impl Eye {
    pub(crate) const fn new() -> Self {
        Self { last: None }
    }

    /// A look; `settled` is what the caller counts as settled.
    pub(crate) fn look(&mut self, generator: &Generator, observer: &Observer, scrape: &Scrape, settled: u64) -> Seen {
        let now = Instant::now();
        let rate = match self.last {
            Some((at, before)) if now > at => {
                #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
                let count = settled.saturating_sub(before) as f64;
                count / (now - at).as_secs_f64()
            }
            _ => 0.0,
        };
        self.last = Some((now, settled));
        let status = observer.status();
        let waiting = generator.live.waiting.load(Ordering::Relaxed);
        Seen {
            elapsed: generator.begun.elapsed(),
            shop: if waiting { "waiting for the agent" } else { phase_word(generator.begun) },
            sent: generator.live.sent.load(Ordering::Relaxed),
            poison: generator.live.poison.load(Ordering::Relaxed),
            settled,
            rate,
            lag: status.lag.state.as_str(),
            lag_messages: status.lag.messages,
            lag_ms: status.lag.time_lag_ms,
            pipeline: status.state.as_str(),
            unready: (!status.readiness.ready).then(|| status.readiness.reasons.join("; ")),
            dead_letters: status.totals.dead_letters,
            plugin_ns: scrape.text().ok().and_then(|text| plugin_ns(&String::from_utf8_lossy(&text))),
            memory: crate::export::process::usage().map_or(0, |usage| usage.resident_bytes),
            rows: status.totals.rows,
            batches: status.totals.batches,
        }
    }
}

/// Records of all topics that the pipeline has made durable: frontiers of partitions that began at 0.
pub(crate) fn settled(observer: &Observer, now_ms: i64) -> u64 {
    let report = observer.lag(now_ms);
    let counted = report.partitions.iter().filter(|partition| !partition.heartbeat);
    counted.filter_map(|partition| u64::try_from(partition.next?).ok()).sum()
}

/// Time in the plugin by events it judged, from the metrics page.
fn plugin_ns(page: &str) -> Option<f64> {
    let sum = |name: &str| -> f64 {
        let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let events = sum("plugin_events_total");
    (events > 0.0).then(|| sum("plugin_call_duration_seconds_sum") / events * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_time_is_read_from_the_metrics_page() {
        let page = "# TYPE plugin_events_total counter\nplugin_events_total{plugin=\"m\",verdict=\"keep\"} 300\n\
                    plugin_events_total{plugin=\"m\",verdict=\"fail\"} 100\nplugin_events_total_x 7\n\
                    plugin_call_duration_seconds_sum{plugin=\"m\"} 0.00008\n";
        assert_eq!(plugin_ns(page).unwrap().round(), 200.0);
        assert_eq!(plugin_ns(""), None);
    }
}
