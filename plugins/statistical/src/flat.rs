//! Whether a series that always varied stands still: the same value again and again, for much longer than ever lately. What
//! often stands still by itself (a rate at night, a lag of zero) has done so before and is left alone.

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;

/// The share of rows that must have differed from the one before.
const VARIED: f64 = 0.9;
/// Rows of the home cadence that must have been seen before.
const WARM_UP: u32 = 100;
/// How many times as long as the longest stand so far.
const LONGER: f64 = 3.0;
/// After so long the new value is the usual one.
const OLD_MS: i64 = 7 * 86_400_000;

/// How long the series stands still, and how it did before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flat {
    seen: u32,
    value: f64,
    since_ms: i64,
    /// Rows with the same value as the one before, in a row.
    run: u32,
    /// The longest such run lately; it is slowly forgotten.
    longest: f64,
    /// The share of rows that differed, without the current run.
    varied: f64,
}

/// A stand that is unusual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stand {
    pub(crate) value: f64,
    pub(crate) since_ms: i64,
}

impl Flat {
    pub(crate) fn push(&mut self, at_ms: i64, value: f64, cadence: &Cadence) {
        // Standing still means the very same value.
        if self.seen > 0 && value == self.value {
            self.run = self.run.saturating_add(1);
        } else {
            self.longest = self.longest.max(f64::from(self.run));
            // The run that ends was so many rows without a change, before this one with one.
            let kept = 1.0 - cadence.weight(0.01).max(1.0 / f64::from(self.seen.saturating_add(1)));
            self.varied = self.varied * kept.powf(f64::from(self.run) + 1.0) + (1.0 - kept);
            (self.value, self.since_ms, self.run) = (value, at_ms, 0);
        }
        self.longest *= cadence.recovery();
        self.seen = self.seen.saturating_add(1);
    }

    /// The stand, if it has taken at least `least_ms` and is unusual.
    pub(crate) fn stand(&self, now_ms: i64, least_ms: i64, cadence: &Cadence) -> Option<Stand> {
        let before = self.seen.saturating_sub(self.run);
        let took = now_ms.saturating_sub(self.since_ms);
        let unusual = before > cadence.rows(WARM_UP)
            && self.varied >= VARIED
            && self.run >= cadence.rows_in(least_ms)
            && f64::from(self.run) > LONGER * self.longest
            && took >= least_ms
            && took < OLD_MS;
        unusual.then_some(Stand { value: self.value, since_ms: self.since_ms })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.seen);
        out.f64(self.value);
        out.i64(self.since_ms);
        out.u32(self.run);
        out.f64(self.longest);
        out.f64(self.varied);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Flat {
            seen: from.u32()?,
            value: from.f64()?,
            since_ms: from.i64()?,
            run: from.u32()?,
            longest: from.f64()?,
            varied: from.f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 300_000;
    const HOUR: i64 = 3_600_000;

    /// Whether a series stands unusually still at its end.
    fn stands(values: impl IntoIterator<Item = f64>) -> Option<i64> {
        let cadence = Cadence::of(STEP);
        let (mut flat, mut now) = (Flat::default(), 0);
        for value in values {
            flat.push(now, value, &cadence);
            now += STEP;
        }
        flat.stand(now - STEP, HOUR, &cadence).map(|stand| stand.since_ms / STEP)
    }

    fn lively(rows: u32) -> impl Iterator<Item = f64> {
        (0..rows).map(|row| f64::from(row * 7_919 % 101))
    }

    #[test]
    fn only_a_series_that_always_varied_can_stand_still() {
        let still = |rows: usize| std::iter::repeat_n(55.5, rows);
        assert_eq!(stands(lively(300)), None);
        assert_eq!(stands(lively(300).chain(still(12))), None, "55 minutes");
        assert_eq!(stands(lively(300).chain(still(13))), Some(300), "an hour");
        assert_eq!(stands(lively(50).chain(still(13))), None, "seen for too short a time");
        assert_eq!(stands(still(500)), None, "it never varied");
        assert_eq!(stands(lively(300).chain(still(3_000))), None, "after a week it is the usual value");
        let halting = (0..400).map(|row| f64::from(row / 3));
        assert_eq!(stands(halting.chain(still(100))), None, "two of three rows were as the one before");
        let nights = || lively(100).chain(still(60)).chain(lively(100));
        assert_eq!(stands(nights().chain(lively(200)).chain(still(70))), None, "it stood as long before");
        assert_eq!(stands(nights().chain(lively(200)).chain(still(190))), Some(460), "but not three times as long");
    }
}
