//! How far a value is beyond everything its series has been so far, in units of its usual variation: record novelty. The
//! bounds come back slowly, so that what was a record once may be one again.

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;

/// Rows of the home cadence that are only learned from.
const WARM_UP: u32 = 50;

/// What one feature has been so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    seen: u32,
    low: f64,
    high: f64,
    mean: f64,
    variance: f64,
}

impl Record {
    /// How new this value is, 0 within the bounds; then learns it. Differences as small as `noise` mean little.
    pub(crate) fn score(&mut self, value: f64, noise: f64, cadence: &Cadence) -> f64 {
        if self.seen == 0 {
            *self = Record { seen: 1, low: value, high: value, mean: value, variance: 0.0 };
            return 0.0;
        }
        let score = if self.seen > cadence.rows(WARM_UP) {
            let beyond = (value - self.high).max(self.low - value).max(0.0);
            let usual = self.variance.sqrt() + noise;
            beyond / (usual + 1e-6 * (self.high.abs() + self.low.abs()) + 1e-12)
        } else {
            0.0
        };
        self.learn(value, cadence);
        score
    }

    fn learn(&mut self, value: f64, cadence: &Cadence) {
        self.seen = self.seen.saturating_add(1);
        let weight = cadence.weight(0.001).max(1.0 / f64::from(self.seen));
        let off = value - self.mean;
        self.mean += weight * off;
        self.variance = (1.0 - weight) * (self.variance + weight * off * off);
        let back = cadence.forgetting();
        self.low += back * (self.mean - self.low);
        self.high += back * (self.mean - self.high);
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.seen);
        for value in [self.low, self.high, self.mean, self.variance] {
            out.f64(value);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Record {
            seen: from.u32()?,
            low: from.f64()?,
            high: from.f64()?,
            mean: from.f64()?,
            variance: from.f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_beyond_the_bounds_is_new_and_each_record_is_one_once() {
        let cadence = Cadence::of(300_000);
        let mut record = Record::default();
        let learned: Vec<f64> = (0..200).map(|row| record.score(f64::from(row % 10), 0.0, &cadence)).collect();
        assert!(learned.iter().all(|score| *score < 0.01), "all of it within the bounds of the warm-up");
        assert!(record.score(5.0, 0.0, &cadence) == 0.0);
        let first = record.score(40.0, 0.0, &cadence);
        assert!(first > 5.0, "{first}");
        assert!(record.score(40.0, 0.0, &cadence) < 0.01);
        assert!(record.score(-40.0, 0.0, &cadence) > 5.0, "downwards too");
    }

    #[test]
    fn noise_makes_small_differences_mean_little() {
        let cadence = Cadence::of(300_000);
        let jump = |noise| {
            let mut record = Record::default();
            for _ in 0..100 {
                record.score(0.0, noise, &cadence);
            }
            record.score(3.0, noise, &cadence)
        };
        assert!(jump(0.0) > 1e9, "a series that never moved");
        assert!((jump(10.0) - 0.3).abs() < 1e-3);
    }
}
