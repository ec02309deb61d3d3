//! The one table: what is done about each kind of target error. Total: a new kind does not compile until it is placed.

use std::time::Duration;

use crate::target::ErrorKind;

/// What the writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Wait with jitter and write the same batch again; nothing was committed.
    Retry,
    /// Reconnect, read the state rows and find out; never re-run the body blindly.
    Resolve,
    /// Find the record, dead-letter it, let its neighbours pass.
    Isolate,
    /// Not ready, tell a human, look again now and then: resumes without a restart once it is mended.
    Pause,
    /// Somebody else moved the partition on: drop what is in flight, read the state rows, seek.
    Reset,
    /// The plan is out of date: make it again.
    Replan,
}

/// The table.
#[must_use]
pub const fn action(kind: ErrorKind) -> Action {
    match kind {
        ErrorKind::Network | ErrorKind::NotPrimary | ErrorKind::Conflict | ErrorKind::Overloaded => Action::Retry,
        ErrorKind::CommitUnknown => Action::Resolve,
        ErrorKind::BadValue | ErrorKind::Constraint | ErrorKind::RowTooLarge => Action::Isolate,
        ErrorKind::Authentication
        | ErrorKind::Authorization
        | ErrorKind::SchemaMismatch
        | ErrorKind::Storage
        | ErrorKind::Unsupported
        | ErrorKind::Unknown => Action::Pause,
        ErrorKind::Fenced => Action::Reset,
        ErrorKind::Unparked => Action::Replan,
    }
}

/// Exponential back-off with full jitter.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// From the first to the longest wait.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, attempt: 0 }
    }

    /// The next wait; `random` is uniform in 0..1.
    pub fn next(&mut self, random: f64) -> Duration {
        let ceiling = self.initial.saturating_mul(1_u32 << self.attempt.min(20)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        // At least a tenth, so that a burst of bad luck does not become a busy loop.
        ceiling.mul_f64(random.clamp(0.1, 1.0))
    }

    /// How many waits there were.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Success: start over.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_stay_there() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(10));
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= Duration::from_secs(1));
        }
    }
}
