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
