//! Whether a series slowly leaves the level it long had, also inside its old bounds: a two-sided cumulative sum (Page,
//! 1954) of hourly means against the mean of that hour of all days so far, in deviations. Hours rather than rows and each
//! against its like, so that a day's rise and fall does not add up; clipped, so that no single hour can raise the alarm.

use crate::bytes::{Reader, Writer};

const HOUR_MS: i64 = 3_600_000;
/// Hours that are only learned from: three days.
const WARM_UP: u32 = 72;
/// The past that counts: four weeks, in hours and in days.
const MEMORY: u32 = 672;
const DAYS: u8 = 28;
/// What does not add up, in deviations.
const SLACK: f64 = 1.0;
/// The most that one hour counts for, in deviations.
const CLIP: f64 = 4.0;
/// The least deviation, as a share of the level: a smaller change matters to nobody.
const LEAST: f64 = 0.02;

/// Hourly means, and what they add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drift {
    hour: i64,
    sum: f64,
    rows: u32,
    hours: u32,
    /// The mean of each hour of the day, and of how many days.
    usual: [(f64, u8); 24],
    /// Of the hours from their means.
    variance: f64,
    up: Side,
    down: Side,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Side {
    sum: f64,
    since_ms: i64,
    told: bool,
}

/// A drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drifted {
    pub(crate) up: bool,
    /// When it began to add up.
    pub(crate) since_ms: i64,
    /// The usual level, by all hours.
    pub(crate) level: f64,
}

impl Side {
    fn add(&mut self, deviations: f64, at_ms: i64, limit: f64) {
        if self.sum <= 0.0 {
            self.since_ms = at_ms;
        }
        // Bounded, so that it ends soon after the drift does.
        self.sum = (self.sum + deviations.min(CLIP) - SLACK).clamp(0.0, 1.25 * limit);
        self.told = self.sum > if self.told { limit / 2.0 } else { limit };
    }
}

impl Drift {
    /// Learns a value; `hours` is the least time after which a drift is told.
    pub(crate) fn push(&mut self, at_ms: i64, value: f64, noise: f64, hours: u32) {
        let hour = at_ms.div_euclid(HOUR_MS);
        if hour != self.hour && self.rows > 0 {
            self.close(noise, hours);
        }
        self.hour = hour;
        self.sum += value;
        self.rows = self.rows.saturating_add(1);
    }

    fn close(&mut self, noise: f64, hours: u32) {
        let level = self.sum / f64::from(self.rows);
        (self.sum, self.rows) = (0.0, 0);
        let hour = usize::try_from(self.hour.rem_euclid(24)).unwrap_or_default();
        let Some((usual, days)) = self.usual.get_mut(hour) else { return };
        let mut off = if *days == 0 { 0.0 } else { level - *usual };
        if self.hours >= WARM_UP {
            let deviation = self.variance.sqrt() + LEAST * usual.abs() + noise + 1e-12;
            let at_ms = self.hour.saturating_mul(HOUR_MS);
            let limit = (CLIP - SLACK) * f64::from(hours);
            self.up.add(off / deviation, at_ms, limit);
            self.down.add(-off / deviation, at_ms, limit);
            // Nor may a single hour widen what is usual.
            off = off.clamp(-CLIP * deviation, CLIP * deviation);
        }
        if *days == 0 {
            *usual = level;
        }
        *days = days.saturating_add(1).min(DAYS);
        *usual += off / f64::from(*days);
        self.hours = self.hours.saturating_add(1);
        let weight = 1.0 / f64::from(self.hours.min(MEMORY));
        self.variance = (1.0 - weight) * (self.variance + weight * off * off);
    }

    pub(crate) fn drifted(&self) -> Option<Drifted> {
        let known = self.usual.iter().filter(|(_, days)| *days > 0);
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), (usual, _)| (sum + usual, count + 1.0));
        let level = sum / f64::max(count, 1.0);
        let told = |side: &Side, up| side.told.then_some(Drifted { up, since_ms: side.since_ms, level });
        told(&self.up, true).or(told(&self.down, false))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.i64(self.hour);
        out.f64(self.sum);
        out.u32(self.rows);
        out.u32(self.hours);
        for (usual, days) in self.usual {
            out.f64(usual);
            out.u8(days);
        }
        out.f64(self.variance);
        for side in [&self.up, &self.down] {
            out.f64(side.sum);
            out.i64(side.since_ms);
            out.u8(u8::from(side.told));
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let side =
            |from: &mut Reader<'_>| Some(Side { sum: from.f64()?, since_ms: from.i64()?, told: from.u8()? == 1 });
        let (hour, sum, rows, hours) = (from.i64()?, from.f64()?, from.u32()?, from.u32()?);
        let mut usual = [(0.0, 0); 24];
        for known in &mut usual {
            *known = (from.f64()?, from.u8()?);
        }
        Some(Drift { hour, sum, rows, hours, usual, variance: from.f64()?, up: side(from)?, down: side(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hour in which a drift was first told, and its direction.
    fn first(hours: usize, level: impl Fn(f64) -> f64) -> Option<(usize, bool)> {
        let mut drift = Drift::default();
        for hour in 0..hours {
            for quarter in 0..4 {
                let at_ms = i64::try_from(hour * 4 + quarter).unwrap() * HOUR_MS / 4;
                // Noise that repeats, the same in every run.
                let noise = f64::from(u32::try_from((hour * 4 + quarter) * 7_919 % 101).unwrap()) / 10.0 - 5.0;
                drift.push(at_ms, level(hour as f64) + noise, 0.0, 24);
            }
            if let Some(found) = drift.drifted() {
                return Some((hour, found.up));
            }
        }
        None
    }

    #[test]
    fn what_stays_or_comes_and_goes_is_no_drift() {
        assert_eq!(first(2_000, |_| 100.0), None);
        assert_eq!(first(2_000, |hour| 100.0 + 40.0 * (hour * std::f64::consts::TAU / 24.0).sin()), None, "days");
        let weekend = |hour: f64| if (hour / 24.0).rem_euclid(7.0) < 2.0 { 60.0 } else { 100.0 };
        assert_eq!(first(2_000, weekend), None, "weekends");
        assert_eq!(first(2_000, |hour| if hour % 100.0 < 2.0 { 1_000.0 } else { 100.0 }), None, "peaks");
    }

    #[test]
    fn a_slow_rise_inside_the_old_bounds_is_told_within_days() {
        // Peaks to 300 every other day, and from hour 500 on half a unit more each hour.
        let leak = |hour: f64| if hour % 50.0 < 1.0 { 300.0 } else { 100.0 + (hour - 500.0).max(0.0) * 0.5 };
        let (told, up) = first(1_000, leak).unwrap();
        assert!(up && (550..700).contains(&told), "told in hour {told}");
        let (told, up) = first(1_000, |hour| 400.0 - leak(hour)).unwrap();
        assert!(!up && (550..700).contains(&told), "told in hour {told}");
    }

    #[test]
    fn it_ends_when_the_level_returns_or_became_the_usual_one() {
        let mut drift = Drift::default();
        let mut told = Vec::new();
        for hour in 0..2_000_i64 {
            let value = if (300..500).contains(&hour) { 130.0 } else { 100.0 };
            drift.push(hour * HOUR_MS, value + (hour % 7) as f64, 0.0, 24);
            told.push(drift.drifted().is_some());
        }
        assert!(told[420] && !told[300] && !told[600] && !told[1_999]);
    }
}
