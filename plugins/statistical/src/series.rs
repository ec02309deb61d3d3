//! One watched series: its past as the three detectors know it, and its alarm. Written as bytes for the agent to keep, and
//! read back: a version first, so that a later plugin knows what it does not know.

use whimbrel_plugin::Point;

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;
use crate::drift::Drift;
use crate::flat::Flat;
use crate::novelty::{Novelty, Score};

const VERSION: u8 = 1;
/// Values beyond this are taken for it: their squares must stay numbers.
const BOUND: f64 = 1e100;

/// The last value that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Alarm {
    pub(crate) at_ms: i64,
    pub(crate) value: f64,
    pub(crate) expected: f64,
    pub(crate) raw: f64,
    pub(crate) by_season: bool,
}

/// The past of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watched {
    pub(crate) cadence: Cadence,
    /// The newest point it knows; `i64::MIN` before the first.
    pub(crate) last_ms: i64,
    pub(crate) novelty: Novelty,
    pub(crate) flat: Flat,
    pub(crate) drift: Drift,
    pub(crate) alarm: Option<Alarm>,
    /// Up to which point the agent keeps it.
    pub(crate) saved_ms: i64,
}

impl Watched {
    pub(crate) fn new(step_ms: i64) -> Self {
        Watched {
            cadence: Cadence::of(step_ms),
            last_ms: i64::MIN,
            novelty: Novelty::default(),
            flat: Flat::default(),
            drift: Drift::default(),
            alarm: None,
            saved_ms: i64::MIN,
        }
    }

    /// Scores a point and learns it; `None` for one it knows, and for what is no number.
    pub(crate) fn push(&mut self, point: Point, noise: f64, drift_hours: u32) -> Option<Score> {
        if point.at_ms <= self.last_ms || !point.value.is_finite() {
            return None;
        }
        let value = point.value.clamp(-BOUND, BOUND);
        self.last_ms = point.at_ms;
        self.flat.push(point.at_ms, value, &self.cadence);
        self.drift.push(point.at_ms, value, noise, drift_hours);
        Some(self.novelty.push(point.at_ms, value, noise, &self.cadence))
    }

    pub(crate) fn write(&self, name: &str) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION);
        out.text(name);
        out.u32(self.cadence.step_ms);
        out.i64(self.last_ms);
        self.novelty.write(&mut out);
        self.flat.write(&mut out);
        self.drift.write(&mut out);
        match &self.alarm {
            None => out.u8(0),
            Some(alarm) => {
                out.u8(1 + u8::from(alarm.by_season));
                out.i64(alarm.at_ms);
                for value in [alarm.value, alarm.expected, alarm.raw] {
                    out.f64(value);
                }
            }
        }
        out.0
    }

    /// What was written under this name; `None` when it is of another version, of another series or torn.
    pub(crate) fn read(name: &str, bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        if from.u8()? != VERSION || from.text()? != name {
            return None;
        }
        let cadence = Cadence::of(i64::from(from.u32()?));
        let last_ms = from.i64()?;
        let novelty = Novelty::read(&mut from)?;
        let flat = Flat::read(&mut from)?;
        let drift = Drift::read(&mut from)?;
        let alarm = match from.u8()? {
            0 => None,
            kind => Some(Alarm {
                by_season: kind == 2,
                at_ms: from.i64()?,
                value: from.f64()?,
                expected: from.f64()?,
                raw: from.f64()?,
            }),
        };
        from.is_done().then_some(Watched { cadence, last_ms, novelty, flat, drift, alarm, saved_ms: last_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lived(values: &[f64]) -> Watched {
        let mut watched = Watched::new(300_000);
        for (row, value) in values.iter().enumerate() {
            watched.push(Point { at_ms: i64::try_from(row).unwrap() * 300_000, value: *value }, 0.0, 24);
        }
        watched
    }

    #[test]
    fn an_hour_of_points_every_five_minutes_is_some_kilobytes_and_a_week_not_more() {
        let size =
            |rows: u32| lived(&(0..rows).map(f64::from).collect::<Vec<_>>()).write("pipeline/shop|lag_seconds").len();
        assert!(size(12) < 1_000, "{}", size(12));
        assert!(size(3_000) < 2_800, "{}", size(3_000));
        assert_eq!(size(3_000), size(6_000), "bounded");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back_and_anything_else_is_refused(
            values in proptest::collection::vec(any::<f64>(), 0..200),
            at in 0_usize..100_000,
            byte in any::<u8>(),
        ) {
            let mut watched = lived(&values);
            watched.alarm = Some(Alarm { at_ms: 7, value: 1.0, expected: 2.0, raw: 3.0, by_season: true });
            watched.saved_ms = watched.last_ms;
            let bytes = watched.write("a");
            prop_assert_eq!(Watched::read("a", &bytes), Some(watched));
            prop_assert_eq!(Watched::read("b", &bytes), None);
            prop_assert_eq!(Watched::read("a", &bytes[..at % bytes.len()]), None);
            let mut damaged = bytes;
            let at = at % damaged.len();
            damaged[at] = byte;
            // Whatever it says now, it can be gone on with.
            if let Some(mut odd) = Watched::read("a", &damaged) {
                for row in 0..100 {
                    odd.push(Point { at_ms: row * 300_000, value: 1.0 }, 0.0, 24);
                }
            }
        }
    }
}
