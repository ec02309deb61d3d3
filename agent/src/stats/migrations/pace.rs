//! How fast something moves, and when it is there. Pure: the time is handed in.

use std::collections::VecDeque;

/// The span a rate is taken over: it smooths chunks and waits, and follows a throttle within half a minute.
const SPAN_MS: i64 = 30_000;
/// Samples closer together than this are merged: at most some sixty are kept.
const STEP_MS: i64 = 500;
/// No rate from less than this: two chunks say nothing.
const MIN_SPAN_MS: i64 = 1_000;

/// A count that grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    samples: VecDeque<(i64, u64)>,
}

impl Pace {
    /// The count was `done` at `now_ms`.
    pub(super) fn at(&mut self, done: u64, now_ms: i64) {
        // A clock that was set back, or a count that begins anew, makes the history meaningless.
        if self.samples.back().is_some_and(|(at, known)| *at > now_ms || *known > done) {
            self.samples.clear();
        }
        while self.samples.len() > 1 && self.samples.front().is_some_and(|(at, _)| now_ms - at > SPAN_MS) {
            self.samples.pop_front();
        }
        let before = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index)).map(|(at, _)| *at);
        match self.samples.back_mut() {
            Some(last) if before.is_some_and(|before| now_ms - before < STEP_MS) => *last = (now_ms, done),
            _ => self.samples.push_back((now_ms, done)),
        }
    }

    /// Per second, up to now; none before there is enough to tell, or when nothing moved for long.
    #[must_use]
    pub(super) fn per_second(&self, now_ms: i64) -> Option<f64> {
        let (first_at, first) = self.samples.front()?;
        let (last_at, last) = self.samples.back()?;
        let span = now_ms - first_at;
        if span < MIN_SPAN_MS || now_ms - last_at > SPAN_MS {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate, not an identity")]
        let rate = last.saturating_sub(*first) as f64 * 1_000.0 / span as f64;
        (rate > 0.0).then_some(rate)
    }

    /// Seconds until `expected` is reached at this pace.
    #[must_use]
    pub(super) fn eta_seconds(&self, expected: u64, now_ms: i64) -> Option<f64> {
        let (_, done) = self.samples.back()?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = expected.saturating_sub(*done) as f64;
        self.per_second(now_ms).map(|rate| left / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_a_second_and_goes_down_while_nothing_moves() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_second(0), None);
        pace.at(0, 0);
        pace.at(500, 500);
        assert_eq!(pace.per_second(900), None, "less than a second");
        pace.at(1_000, 1_000);
        assert_eq!(pace.per_second(1_000), Some(1_000.0));
        assert_eq!(pace.eta_seconds(3_000, 1_000), Some(2.0));
        assert_eq!(pace.per_second(4_000), Some(250.0), "three seconds without a chunk");
        assert_eq!(pace.per_second(40_000), None, "no pace at all");
    }

    #[test]
    fn what_begins_anew_has_no_history_and_little_is_kept() {
        let mut pace = Pace::default();
        for at in 0..100_000 {
            pace.at(u64::try_from(at).unwrap(), at);
        }
        assert!(pace.samples.len() < 100, "{}", pace.samples.len());
        pace.at(5, 100_000);
        assert_eq!(pace.per_second(100_500), None, "the count fell");
        pace.at(10, 99_000);
        assert_eq!(pace.samples.len(), 1, "the clock was set back");
    }
}
