//! How fast the shop works: steady, a burst, a stall, steady, over and over. Pure.

use std::time::Duration;

/// Length of a cycle: short enough that ten seconds of demo show all of it.
const CYCLE: f64 = 12.0;
/// How much faster a burst is.
const BURST: f64 = 4.0;

/// What the shop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Steady,
    Burst,
    Stall,
}

impl Phase {
    /// For people.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Burst => "burst",
            Self::Stall => "stall",
        }
    }
}

/// The phase after so much time.
pub(crate) fn phase(elapsed: Duration) -> Phase {
    match elapsed.as_secs_f64() % CYCLE {
        t if t < 5.0 => Phase::Steady,
        t if t < 7.0 => Phase::Burst,
        t if t < 9.0 => Phase::Stall,
        _ => Phase::Steady,
    }
}

/// How many events are due within `step`, for a steady rate of `rate` a second.
pub(crate) fn due(elapsed: Duration, step: Duration, rate: f64) -> f64 {
    let factor = match phase(elapsed) {
        Phase::Steady => 1.0,
        Phase::Burst => BURST,
        Phase::Stall => 0.0,
    };
    rate * factor * step.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_has_steady_times_a_burst_and_a_stall() {
        let step = Duration::from_millis(10);
        let sum =
            |from: u64, to: u64| (from..to).map(|i| due(step * u32::try_from(i).unwrap(), step, 100.0)).sum::<f64>();
        assert!((sum(0, 500) - 500.0).abs() < 2.0);
        assert!((sum(500, 700) - 800.0).abs() < 8.0);
        assert!(sum(700, 900) < 2.0);
        assert_eq!(phase(Duration::from_secs(12 + 6)), Phase::Burst);
    }
}
