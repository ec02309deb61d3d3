//! How unlike its past a value is: records of three features, combined, and told once. After each alarm the series is left
//! alone for a while unless it gets worse (refractory period), and what keeps giving alarms gives fewer (fatigue).
//!
//! Each state is scored with first and updated then, so a score depends on the past alone. One step is a fixed number of
//! operations. Blind to flat lines and to drifts inside the old bounds: see `flat` and `drift`.

use crate::bytes::{Reader, Writer};
use crate::cadence::Cadence;
use crate::median::Median;
use crate::record::Record;
use crate::season::Season;

/// Rows of the home cadence for which an alarm mutes smaller ones.
const REFRACTORY: u32 = 60;
/// By how much worse a value must be to be told all the same.
const WORSE: f64 = 1.5;
/// From this score on an alarm tires.
const TIRING: f64 = 0.1;
/// How much.
const FATIGUE: f64 = 0.8;
/// Half of the output's range.
const HALF: f64 = 0.2;

/// From what a value is furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Its own running mean.
    Mean,
    /// Nothing else: its running median itself has moved where it never was.
    Median,
    /// What is usual at this hour of the week.
    Season,
}

/// A value's score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// Raw, without an upper bound; 0 where nothing is told.
    pub(crate) raw: f64,
    /// What gave it.
    pub(crate) feature: Feature,
    /// What the value was expected to be, by that feature.
    pub(crate) expected: f64,
}

/// From 0 to 1: half at a raw score of 0.2.
pub(crate) fn squeezed(raw: f64) -> f64 {
    raw / (raw + HALF)
}

/// The past of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Novelty {
    seen: u32,
    mean: f64,
    median: Median,
    season: Season,
    records: [Record; 3],
    fatigue: f64,
    muted_for: u32,
    muted_at: f64,
}

impl Novelty {
    /// Scores a value, then learns it.
    pub(crate) fn push(&mut self, at_ms: i64, value: f64, noise: f64, cadence: &Cadence) -> Score {
        let usual = if self.seen == 0 { value } else { self.mean };
        self.mean = usual;
        self.seen = self.seen.saturating_add(1);
        self.mean += cadence.weight(0.01).max(1.0 / f64::from(self.seen)) * (value - usual);
        let median = self.median.push(value, cadence);
        let off_season = self.season.off(at_ms, value, cadence);

        let [by_mean, by_median, by_season] = &mut self.records;
        let mut found =
            Score { raw: by_mean.score(value - usual, noise, cadence), feature: Feature::Mean, expected: usual };
        let moved = by_median.score(median, noise, cadence);
        if moved > found.raw {
            found = Score { raw: moved, feature: Feature::Median, expected: usual };
        }
        if let Some(off) = off_season {
            let unseasonal = 0.5 * by_season.score(off, noise, cadence);
            if unseasonal > found.raw {
                found = Score { raw: unseasonal, feature: Feature::Season, expected: value - off };
            }
        }
        Score { raw: self.told(found.raw, cadence), ..found }
    }

    /// What is left of a score after fatigue, and 0 where an alarm that is not much smaller was told a while ago.
    fn told(&mut self, raw: f64, cadence: &Cadence) -> f64 {
        self.fatigue *= cadence.recovery();
        if self.muted_for > 0 {
            self.muted_for -= 1;
            if self.muted_for == 0 {
                self.muted_at = 0.0;
            }
        }
        let score = raw / (1.0 + FATIGUE * self.fatigue);
        // Not so for what is no number either: values beyond all bounds.
        if !(score > 0.0 && score > WORSE * self.muted_at && score.is_finite()) {
            return 0.0;
        }
        self.muted_at = score;
        self.muted_for = cadence.rows(REFRACTORY);
        if score >= TIRING {
            self.fatigue += 1.0;
        }
        score
    }

    /// How many rows it was learned from.
    pub(crate) fn seen(&self) -> u32 {
        self.seen
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.seen);
        out.f64(self.mean);
        self.median.write(out);
        self.season.write(out);
        self.records.iter().for_each(|record| record.write(out));
        out.f64(self.fatigue);
        out.u32(self.muted_for);
        out.f64(self.muted_at);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Novelty {
            seen: from.u32()?,
            mean: from.f64()?,
            median: Median::read(from)?,
            season: Season::read(from)?,
            records: [Record::read(from)?, Record::read(from)?, Record::read(from)?],
            fatigue: from.f64()?,
            muted_for: from.u32()?,
            muted_at: from.f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recipe written down as plainly as it can be: everything that was seen is kept, nothing is incremental but what the
    /// recipe defines so. Every five minutes.
    #[derive(Default)]
    struct Plain {
        seen: Vec<f64>,
        mean: f64,
        hours: std::collections::BTreeMap<i64, (f64, f64)>,
        features: [Vec<f64>; 3],
        bounds: [(f64, f64, f64, f64); 3],
        tired: f64,
        level: f64,
        left: u32,
    }

    impl Plain {
        fn record(&mut self, feature: usize, value: f64) -> f64 {
            let count = self.features[feature].len();
            self.features[feature].push(value);
            let (low, high, mean, variance) = &mut self.bounds[feature];
            if count == 0 {
                (*low, *high, *mean, *variance) = (value, value, value, 0.0);
                return 0.0;
            }
            let beyond = f64::max(0.0, f64::max(value - *high, *low - value));
            let score = beyond / (variance.sqrt() + 1e-6 * (high.abs() + low.abs()) + 1e-12);
            let weight = f64::max(0.001, 1.0 / (count as f64 + 1.0));
            let off = value - *mean;
            *mean += weight * off;
            *variance = (1.0 - weight) * (*variance + weight * off * off);
            let back = 1.0 - 2.0_f64.powf(-1.0 / 10_000.0);
            *low = f64::min(*low + back * (*mean - *low), value);
            *high = f64::max(*high + back * (*mean - *high), value);
            if count > 50 { score } else { 0.0 }
        }

        fn push(&mut self, at_ms: i64, value: f64) -> f64 {
            if self.seen.is_empty() {
                self.mean = value;
            }
            let off_mean = value - self.mean;
            self.mean += f64::max(0.01, 1.0 / (self.seen.len() as f64 + 1.0)) * off_mean;
            self.seen.push(value);
            let mut last: Vec<f64> = self.seen.iter().rev().take(60).copied().collect();
            last.sort_by(f64::total_cmp);
            let median = (last[(last.len() - 1) / 2] + last[last.len() / 2]) / 2.0;
            let hour = self.hours.entry((at_ms / 3_600_000) % 168).or_default();
            let off_hour = (hour.1 > 0.0).then_some(value - hour.0);
            hour.1 += 1.0;
            hour.0 += f64::max(0.3, 1.0 / hour.1) * (value - hour.0);

            let mut score = f64::max(self.record(0, off_mean), self.record(1, median));
            if let Some(off) = off_hour {
                score = f64::max(score, 0.5 * self.record(2, off));
            }
            self.tired *= 2.0_f64.powf(-1.0 / 3_000.0);
            if self.left > 0 {
                self.left -= 1;
                if self.left == 0 {
                    self.level = 0.0;
                }
            }
            let score = score / (1.0 + 0.8 * self.tired);
            if score <= 0.0 || score <= 1.5 * self.level {
                return 0.0;
            }
            (self.level, self.left) = (score, 60);
            if score >= 0.1 {
                self.tired += 1.0;
            }
            score
        }
    }

    #[test]
    fn scores_are_those_of_the_recipe() {
        let cadence = Cadence::of(300_000);
        let (mut novelty, mut plain) = (Novelty::default(), Plain::default());
        let mut told = 0;
        let mut random = 1_u64;
        for row in 0..6_000_i64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (random >> 40) as f64 / f64::from(1 << 24);
            let day = (row as f64 * std::f64::consts::TAU / 288.0).sin();
            let burst = if row % 701 > 690 { 20.0 * noise } else { 0.0 };
            let (at_ms, value) = (row * 300_000, 5.0 * day + noise + burst + (row / 2_500) as f64 * 3.0);
            let (got, expect) = (novelty.push(at_ms, value, 0.0, &cadence).raw, plain.push(at_ms, value));
            assert!((got - expect).abs() <= 1e-9 * expect.max(1.0), "row {row}: {got}, by the recipe {expect}");
            told += usize::from(got > 0.0);
        }
        assert!(told > 20, "{told} scores are no test");
    }
}
