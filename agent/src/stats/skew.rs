//! How far the source's clock runs ahead of ours, as far as one-way stamps can prove it.
//!
//! A record cannot arrive before it was written. One that arrives at `at` with a stamp `ts > at` proves that the source's
//! clock is ahead by at least `ts - at`. The largest such lead of the last ten to twenty minutes is the skew; a clock
//! that runs *behind* cannot be told from delay and is not reported as skew (it shows as lag).

/// How long a lead counts at least. Long enough to outlast a quiet spell, short enough that a repaired clock is
/// believed before anybody asks.
const HALF_WINDOW_MS: i64 = 600_000;

/// The largest lead seen lately.
#[derive(Debug, Default)]
pub struct Skew {
    current: i64,
    previous: i64,
    since_ms: Option<i64>,
}

impl Skew {
    /// A stamp of the source and when the record was seen here.
    pub fn observe(&mut self, source_ts_ms: i64, at_ms: i64) {
        let lead = source_ts_ms.saturating_sub(at_ms);
        let since = *self.since_ms.get_or_insert(at_ms);
        let age = at_ms.abs_diff(since);
        if age >= HALF_WINDOW_MS.unsigned_abs() {
            self.previous = if age >= 2 * HALF_WINDOW_MS.unsigned_abs() { 0 } else { self.current };
            self.current = 0;
            self.since_ms = Some(at_ms);
        }
        self.current = self.current.max(lead);
    }

    /// Milliseconds the source's clock is ahead, at least; 0 when there is no evidence.
    #[must_use]
    pub fn ms(&self) -> i64 {
        self.current.max(self.previous)
    }

    /// A stamp of the source in our time: at the latest then.
    #[must_use]
    pub fn correct(&self, source_ts_ms: i64) -> i64 {
        source_ts_ms.saturating_sub(self.ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_the_future_is_skew_and_wears_off() {
        let mut skew = Skew::default();
        skew.observe(900, 1_000);
        assert_eq!(skew.ms(), 0, "delay is not skew");
        skew.observe(6_000, 1_000);
        skew.observe(3_000, 1_500);
        assert_eq!(skew.ms(), 5_000);
        assert_eq!(skew.correct(6_000), 1_000);
        skew.observe(600_900, 601_000);
        assert_eq!(skew.ms(), 5_000, "still within the window");
        skew.observe(1_201_000, 1_201_000);
        assert_eq!(skew.ms(), 0);
    }
}
