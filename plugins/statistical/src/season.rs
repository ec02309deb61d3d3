//! What is usual at this hour of the week, in UTC: one running value for each of 168 hours.

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;

const HOURS: usize = 168;
const HOUR_MS: i64 = 3_600_000;

/// The usual value of each hour, and how often it was seen, as far as that still matters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Season {
    usual: Vec<(f64, u8)>,
}

impl Default for Season {
    fn default() -> Self {
        Season { usual: vec![(0.0, 0); HOURS] }
    }
}

impl Season {
    /// How far the value is from what is usual, `None` in an hour seen for the first time; then learns it.
    pub(crate) fn off(&mut self, at_ms: i64, value: f64, cadence: &Cadence) -> Option<f64> {
        let hour = usize::try_from(at_ms.div_euclid(HOUR_MS).rem_euclid(HOURS as i64)).unwrap_or_default();
        let (usual, seen) = self.usual.get_mut(hour)?;
        let off = (*seen > 0).then_some(value - *usual);
        *seen = seen.saturating_add(1);
        *usual += cadence.weight(0.3).max(1.0 / f64::from(*seen)) * (value - *usual);
        off
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        for (usual, seen) in &self.usual {
            out.u8(*seen);
            // Most hours of a young series were never seen.
            if *seen > 0 {
                out.f64(*usual);
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let hour = |from: &mut Reader<'_>| match from.u8()? {
            0 => Some((0.0, 0)),
            seen => Some((from.f64()?, seen)),
        };
        Some(Season { usual: (0..HOURS).map(|_| hour(from)).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hour_of_the_week_has_a_usual_value_of_its_own() {
        let cadence = Cadence::of(HOUR_MS);
        let mut season = Season::default();
        let day_and_night = |hour: i64| if hour % 24 < 8 { 1.0 } else { 9.0 };
        for hour in 0..168 {
            assert_eq!(season.off(hour * HOUR_MS, day_and_night(hour), &cadence), None);
        }
        for hour in 168..336 {
            assert_eq!(season.off(hour * HOUR_MS, day_and_night(hour), &cadence), Some(0.0));
        }
        assert_eq!(season.off(336 * HOUR_MS, 9.0, &cadence), Some(8.0), "day's value at night");
        assert_eq!(season.off(-HOUR_MS, 9.0, &cadence), Some(0.0), "before 1970 there were weeks too");
    }
}
