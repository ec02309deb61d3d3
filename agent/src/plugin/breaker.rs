//! When a plugin traps again and again it is not the input: the breaker opens and the plugin is called no more, until
//! somebody says so. Pure: the clock is handed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many traps in which time open the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// How many.
    pub traps: u32,
    /// Within which time.
    pub within: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        // One bad event in a batch costs two traps: the batch, then the event alone. Five are more than bad luck.
        BreakerLimits { traps: 5, within: Duration::from_secs(60) }
    }
}

/// Counts traps.
#[derive(Debug)]
pub(super) struct Breaker {
    limits: BreakerLimits,
    recent: VecDeque<Instant>,
    open: bool,
}

impl Breaker {
    pub(super) fn new(limits: BreakerLimits) -> Self {
        Breaker { limits, recent: VecDeque::new(), open: false }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// A call trapped.
    pub(super) fn trapped(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.limits.within) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.open = self.recent.len() >= self.limits.traps as usize;
    }

    /// The plugin may try again.
    pub(super) fn close(&mut self) {
        self.recent.clear();
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_given_number_within_the_time_and_not_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::new(BreakerLimits { traps: 3, within: Duration::from_secs(60) });
        for seconds in [0, 30, 61, 100] {
            breaker.trapped(at(seconds));
            assert!(!breaker.is_open(), "at {seconds} s");
        }
        breaker.trapped(at(101));
        assert!(breaker.is_open());
        breaker.close();
        breaker.trapped(at(102));
        assert!(!breaker.is_open());
    }
}
