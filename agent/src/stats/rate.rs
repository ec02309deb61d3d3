//! How fast the backlog shrinks: records made durable and records arriving, over the last minute.

use std::collections::VecDeque;

/// The span rates are taken over: long enough to smooth batches and polls of the end offset, short enough that an
/// estimate follows a change of load within a minute.
const SPAN_MS: i64 = 60_000;
/// Samples closer together than this are merged: bounds the memory to about sixty samples.
const STEP_MS: i64 = 1_000;
/// No rate from less than this: two polls of the end offset must lie within.
const MIN_SPAN_MS: i64 = 5_000;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: i64,
    consumed: u64,
    produced: u64,
}

/// Totals over time.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
    consumed: u64,
    produced: u64,
}

/// Records per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerSecond {
    /// Made durable at the target.
    pub consumed: f64,
    /// Arriving at the broker.
    pub produced: f64,
}

impl Rates {
    /// So many offsets were made durable.
    pub fn consumed(&mut self, offsets: u64, at_ms: i64) {
        self.consumed = self.consumed.saturating_add(offsets);
        self.sample(at_ms);
    }

    /// The end moved on by so many offsets.
    pub fn produced(&mut self, offsets: u64, at_ms: i64) {
        self.produced = self.produced.saturating_add(offsets);
        self.sample(at_ms);
    }

    fn sample(&mut self, at_ms: i64) {
        // A clock that was set back makes the history meaningless.
        if self.samples.back().is_some_and(|last| last.at_ms > at_ms) {
            self.samples.clear();
        }
        while self.samples.front().is_some_and(|first| at_ms.saturating_sub(first.at_ms) > SPAN_MS) {
            self.samples.pop_front();
        }
        let before = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index)).map(|s| s.at_ms);
        let new = Sample { at_ms, consumed: self.consumed, produced: self.produced };
        match self.samples.back_mut() {
            Some(last) if before.is_some_and(|before| at_ms.saturating_sub(before) < STEP_MS) => *last = new,
            _ => self.samples.push_back(new),
        }
    }

    /// Rates up to now; `None` before there is enough history.
    #[must_use]
    pub fn per_second(&self, now_ms: i64) -> Option<PerSecond> {
        let first = self.samples.iter().find(|sample| now_ms.saturating_sub(sample.at_ms) <= SPAN_MS)?;
        let span_ms = now_ms.saturating_sub(first.at_ms);
        if span_ms < MIN_SPAN_MS {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "rates, not identities")]
        let per_second = |count: u64| count as f64 * 1_000.0 / span_ms as f64;
        Some(PerSecond {
            consumed: per_second(self.consumed.saturating_sub(first.consumed)),
            produced: per_second(self.produced.saturating_sub(first.produced)),
        })
    }

    /// Seconds until a backlog of `messages` is gone at the present rates; `None` when it is not shrinking or unknown.
    #[must_use]
    pub fn eta_seconds(&self, messages: u64, now_ms: i64) -> Option<f64> {
        let rates = self.per_second(now_ms)?;
        let shrinking = rates.consumed - rates.produced;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let eta = messages as f64 / shrinking;
        (shrinking > 0.0 && eta.is_finite()).then_some(eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_backlog_over_net_rate_and_there_is_none_while_it_grows() {
        let mut rates = Rates::default();
        assert_eq!(rates.eta_seconds(10, 0), None);
        for second in 0..=20 {
            rates.consumed(300, second * 1_000);
            rates.produced(100, second * 1_000);
        }
        let eta = rates.eta_seconds(4_000, 20_000).unwrap();
        assert!((eta - 20.0).abs() < 1.0, "{eta}");
        for second in 21..=90 {
            rates.consumed(100, second * 1_000);
            rates.produced(100, second * 1_000);
        }
        assert_eq!(rates.eta_seconds(4_000, 90_000), None, "as much arrives as leaves");
    }

    #[test]
    fn memory_is_bounded_at_any_call_rate() {
        let mut rates = Rates::default();
        for ms in 0..200_000 {
            rates.consumed(1, ms);
        }
        assert!(rates.samples.len() <= 2 * 61, "{}", rates.samples.len());
        let now = rates.per_second(200_000).unwrap();
        assert!((now.consumed - 1_000.0).abs() < 20.0, "{now:?}");
    }
}
