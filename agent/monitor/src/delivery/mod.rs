//! What people are to be told, kept until a channel took it: when to try again, when to tell somebody else, when to give up.
//!
//! Delivery is at least once: what is queued leaves the queue only after the channel said that it has it. An agent killed
//! in between delivers again, with the same ids.

use std::time::Duration;

use crate::millis;
use crate::store::Queued;

/// How patient the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The first wait after a failure; each further is twice as long.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// After this time the fallback is told too.
    pub fallback_after: Duration,
    /// After this time it is given up.
    pub give_up_after: Duration,
}

impl Default for Policy {
    /// 5 s to 5 min; the fallback after 5 min; a day.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(300),
            fallback_after: Duration::from_secs(300),
            give_up_after: Duration::from_secs(86_400),
        }
    }
}

/// What becomes of a delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the fallback is to be told, if there is one.
    pub pass_on: bool,
    /// When to try again, milliseconds since 1970; none: it is given up.
    pub next_ms: Option<i64>,
}

impl Policy {
    /// What becomes of this one, which failed now. `retryable`: the channel says that the same may succeed later.
    #[must_use]
    pub fn after_failure(&self, queued: &Queued, retryable: bool, now_ms: i64) -> Verdict {
        let age_ms = now_ms.saturating_sub(queued.created_ms);
        let given_up = !retryable || age_ms >= millis(self.give_up_after);
        let pass_on = !queued.passed_on && (given_up || age_ms >= millis(self.fallback_after));
        Verdict { pass_on, next_ms: (!given_up).then(|| now_ms.saturating_add(self.wait_ms(queued))) }
    }

    /// Twice as long each time, and not all channels at the same moment: up to a quarter less, by the delivery's number.
    fn wait_ms(&self, queued: &Queued) -> i64 {
        let doubled =
            millis(self.initial).saturating_mul(1_i64.checked_shl(queued.attempts.min(30)).unwrap_or(i64::MAX));
        let wait = doubled.clamp(1, millis(self.max).max(1));
        let spread = queued.id.wrapping_mul(7_919).wrapping_add(i64::from(queued.attempts) * 104_729).rem_euclid(64);
        wait - wait / 4 * spread / 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(attempts: u32, passed_on: bool) -> Queued {
        Queued { id: 7, channel: "ops".to_owned(), alerts: Vec::new(), created_ms: 0, attempts, passed_on }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let policy = Policy::default();
        let mut before = 0;
        for attempts in 0..100 {
            let next_ms = policy.after_failure(&queued(attempts, false), true, 1_000).next_ms.unwrap();
            let wait = next_ms - 1_000;
            let full = (5_000_i64 << attempts.min(20)).min(300_000);
            assert!((full * 3 / 4..=full).contains(&wait), "{attempts}: {wait} of {full}");
            assert!(wait >= before * 3 / 4);
            before = wait;
        }
    }

    #[test]
    fn the_fallback_is_told_once_when_it_takes_long_or_never_will() {
        let policy = Policy::default();
        for (passed_on, retryable, age_s, expect_pass_on, expect_retry) in [
            (false, true, 10, false, true),
            (false, true, 300, true, true),
            (true, true, 400, false, true),
            (false, false, 0, true, false),
            (true, false, 0, false, false),
            (false, true, 86_400, true, false),
            (true, true, 86_400, false, false),
        ] {
            let verdict = policy.after_failure(&queued(3, passed_on), retryable, age_s * 1_000);
            assert_eq!(
                (verdict.pass_on, verdict.next_ms.is_some()),
                (expect_pass_on, expect_retry),
                "passed on {passed_on}, retryable {retryable}, {age_s} s"
            );
        }
    }
}
