//! How often a failed connector may be restarted: at most N times per window, with growing pauses.
//!
//! Pure: the clock is handed in. A connector that fails for good must not be hammered, and one that recovers must
//! get its whole budget back: spent restarts age out of the window one by one.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Restarts per window; 0 means never.
    pub max: u32,
    /// The window.
    pub window: Duration,
    /// Pause after the first restart in a window.
    pub first_delay: Duration,
    /// Longest pause.
    pub max_delay: Duration,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            // A database that restarts is back within two or three attempts; five leave room without hiding a fault.
            max: 5,
            window: Duration::from_secs(600),
            // Debezium retries its own connection for some seconds before it fails.
            first_delay: Duration::from_secs(10),
            max_delay: Duration::from_secs(120),
        }
    }
}

/// What may be done about a failed connector now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Restart it.
    Restart,
    /// Too soon after the last restart.
    Wait {
        /// When a restart is next allowed.
        until: Instant,
    },
    /// The budget is spent; a person should look.
    Exhausted {
        /// When the oldest restart ages out; `None` if none is ever allowed.
        until: Option<Instant>,
    },
}

/// The restarts of one connector.
#[derive(Clone, Debug)]
pub struct Budget {
    policy: BudgetPolicy,
    spent: VecDeque<Instant>,
}

impl Budget {
    /// A budget nothing was spent of.
    pub fn new(policy: BudgetPolicy) -> Self {
        Self { policy, spent: VecDeque::new() }
    }

    /// What may be done at `now`. Changes nothing: [`spend`](Self::spend) once Connect took the request.
    pub fn decide(&self, now: Instant) -> Decision {
        let mut live = self.live(now);
        let used = self.used(now);
        let oldest = live.next();
        if used >= self.policy.max {
            return Decision::Exhausted { until: oldest.map(|at| at + self.policy.window) };
        }
        match live.last().or(oldest) {
            Some(last) if now < last + self.delay(used) => Decision::Wait { until: last + self.delay(used) },
            _ => Decision::Restart,
        }
    }

    /// Counts a restart at `now`.
    pub fn spend(&mut self, now: Instant) {
        while self.spent.front().is_some_and(|&at| now.saturating_duration_since(at) >= self.policy.window) {
            self.spent.pop_front();
        }
        self.spent.push_back(now);
    }

    /// Restarts inside the window that ends at `now`.
    pub fn used(&self, now: Instant) -> u32 {
        u32::try_from(self.live(now).count()).unwrap_or(u32::MAX)
    }

    /// Restarts allowed per window.
    pub fn max(&self) -> u32 {
        self.policy.max
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = Instant> {
        self.spent.iter().copied().filter(move |&at| now.saturating_duration_since(at) < self.policy.window)
    }

    /// The pause after `used` restarts: the first one, doubled for each further one, up to the longest.
    fn delay(&self, used: u32) -> Duration {
        let factor = 2u32.saturating_pow(used.saturating_sub(1));
        self.policy.first_delay.saturating_mul(factor).min(self.policy.max_delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BudgetPolicy = BudgetPolicy {
        max: 4,
        window: Duration::from_secs(100),
        first_delay: Duration::from_secs(5),
        max_delay: Duration::from_secs(12),
    };

    fn restarts(policy: BudgetPolicy, failed_for: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut budget = Budget::new(policy);
        (0..failed_for)
            .filter(|&second| {
                let now = start + Duration::from_secs(second);
                let restart = budget.decide(now) == Decision::Restart;
                if restart {
                    budget.spend(now);
                }
                restart
            })
            .collect()
    }

    #[test]
    fn restarts_come_with_growing_pauses_until_the_budget_is_spent() {
        // At once, then after 5, 10 and 12 (the cap) seconds; the next when the first one ages out at 100.
        assert_eq!(restarts(POLICY, 100), [0, 5, 15, 27]);
        assert_eq!(restarts(POLICY, 130), [0, 5, 15, 27, 100, 112, 124]);
    }

    #[test]
    fn a_spent_budget_says_until_when_and_a_budget_of_none_never_restarts() {
        let start = Instant::now();
        let mut budget = Budget::new(BudgetPolicy { max: 1, ..POLICY });
        budget.spend(start);
        assert_eq!(budget.decide(start), Decision::Exhausted { until: Some(start + POLICY.window) });
        assert_eq!(budget.decide(start + POLICY.window), Decision::Restart);
        assert_eq!(Budget::new(BudgetPolicy { max: 0, ..POLICY }).decide(start), Decision::Exhausted { until: None });
        assert!(restarts(BudgetPolicy { max: 0, ..POLICY }, 1_000).is_empty());
    }

    #[test]
    fn a_recovered_connector_has_its_whole_budget_again() {
        let start = Instant::now();
        let mut budget = Budget::new(POLICY);
        for second in [0, 5, 15, 27] {
            budget.spend(start + Duration::from_secs(second));
        }
        let later = start + Duration::from_secs(200);
        assert_eq!((budget.used(later), budget.decide(later)), (0, Decision::Restart));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_budget(
            max in 0u32..6, window in 1u64..60, first in 0u64..10, cap in 0u64..20, for_seconds in 0u64..400,
        ) {
            let policy = BudgetPolicy {
                max,
                window: Duration::from_secs(window),
                first_delay: Duration::from_secs(first),
                max_delay: Duration::from_secs(cap),
            };
            let at = restarts(policy, for_seconds);
            for &from in &at {
                let inside = at.iter().filter(|&&t| t >= from && t < from + window).count();
                prop_assert!(inside <= max as usize, "{inside} in {from}..{}: {at:?}", from + window);
            }
            if max > 0 && for_seconds > 0 {
                prop_assert_eq!(at.first(), Some(&0));
            }
        }
    }
}
