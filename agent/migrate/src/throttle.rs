//! When chunks wait for the replicas: pure, the clock is handed in.
//!
//! Two thresholds make the gate: it closes when the lag is above the upper, and opens when it is below the lower, so that a
//! lag between the two changes nothing. While it is closed one chunk in `floor` passes: a replica that never comes back must
//! not stop the migration for good.

use std::time::{Duration, Instant};

use crate::migration::Throttle;

/// A gate before each chunk.
#[derive(Debug)]
pub struct Gate {
    settings: Throttle,
    closed: bool,
    passed: Option<Instant>,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Go.
    Now,
    /// Ask again, with a new look at the lag, after this.
    After(Duration),
}

/// How often the lag is looked at while the gate is closed.
const LOOK: Duration = Duration::from_millis(500);

impl Gate {
    /// An open gate.
    #[must_use]
    pub const fn new(settings: Throttle) -> Self {
        Self { settings, closed: false, passed: None }
    }

    /// Whether a chunk may go at `now`, the furthest replica being `lag` behind; `None`: not known, which holds nobody up.
    pub fn ask(&mut self, now: Instant, lag: Option<Duration>) -> Pass {
        match lag {
            None => self.closed = false,
            Some(lag) if lag > self.settings.above => self.closed = true,
            Some(lag) if lag < self.settings.below => self.closed = false,
            Some(_) => {}
        }
        if self.closed
            && let Some(passed) = self.passed
        {
            let since = now.saturating_duration_since(passed);
            if since < self.settings.floor {
                return Pass::After(LOOK.min(self.settings.floor - since));
            }
        }
        self.passed = Some(now);
        Pass::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Throttle =
        Throttle { above: Duration::from_secs(10), below: Duration::from_secs(5), floor: Duration::from_secs(30) };

    fn run(lags: &[(u64, Option<u64>, bool)]) {
        let start = Instant::now();
        let mut gate = Gate::new(SETTINGS);
        for (index, (at, lag, passes)) in lags.iter().enumerate() {
            let pass = gate.ask(start + Duration::from_secs(*at), lag.map(Duration::from_secs));
            assert_eq!(pass == Pass::Now, *passes, "look {index} of {lags:?}: {pass:?}");
        }
    }

    #[test]
    fn the_gate_closes_above_one_threshold_and_opens_below_the_other() {
        run(&[
            (0, Some(0), true),
            (1, Some(9), true),
            (2, Some(11), false),
            (3, Some(8), false),
            (4, Some(6), false),
            (5, Some(4), true),
            (6, Some(9), true),
        ]);
    }

    #[test]
    fn a_replica_that_never_comes_back_lets_one_chunk_pass_in_each_floor() {
        run(&[
            (0, Some(0), true),
            (1, Some(99), false),
            (29, Some(99), false),
            (30, Some(99), true),
            (31, Some(99), false),
        ]);
    }

    #[test]
    fn what_is_not_known_holds_nobody_up() {
        run(&[(0, Some(0), true), (1, Some(99), false), (2, None, true)]);
    }

    #[test]
    fn waits_never_reach_beyond_the_floor() {
        let start = Instant::now();
        let mut gate = Gate::new(SETTINGS);
        assert_eq!(gate.ask(start, Some(Duration::ZERO)), Pass::Now);
        let late = start + Duration::from_millis(29_900);
        assert_eq!(gate.ask(late, Some(Duration::from_secs(99))), Pass::After(Duration::from_millis(100)));
    }
}
