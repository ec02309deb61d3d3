//! The score of the Numenta Anomaly Benchmark, version 1.1, by its documented rules (Lavin and Ahmad, "Evaluating Real-time
//! Anomaly Detection Algorithms", 2015):
//!
//! - The first 15 % of a file's rows, at most 750, are not looked at.
//! - A row with at least the threshold is a detection. One threshold for all files, the best for the profile.
//! - In a window counts the best detection, more the earlier it is: σ(y) = 2 / (1 + e^5y) − 1 of its place, −1 at the window's
//!   begin and almost 0 at its end, so that the first row has 1. A window without a detection costs the profile's price.
//! - A detection outside windows costs more the farther it is behind the last window, and all of it where there was none.
//! - 0 is what no detection at all has, 100 what the first row of every window alone has.

use crate::corpus::File;

/// What a hit brings, and what a false alarm and a missed window cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    hit: f64,
    false_alarm: f64,
    miss: f64,
}

impl Profile {
    pub(crate) const ALL: [Profile; 3] = [
        Profile { name: "standard", hit: 1.0, false_alarm: 0.11, miss: 1.0 },
        Profile { name: "low FP", hit: 1.0, false_alarm: 0.22, miss: 1.0 },
        Profile { name: "low FN", hit: 1.0, false_alarm: 0.11, miss: 2.0 },
    ];
}

/// A row that is looked at.
#[derive(Clone, Copy, Debug)]
struct Row {
    score: f64,
    /// What a detection is worth here: up to 1 in a window, down to −1 outside.
    worth: f64,
    window: Option<usize>,
}

/// The rows of all files.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    rows: Vec<Row>,
    windows: usize,
    all_scores: Vec<f64>,
}

fn sigmoid(place: f64) -> f64 {
    if place > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * place).exp()) - 1.0 }
}

impl Corpus {
    /// Adds a file with the score of each of its rows.
    pub(crate) fn add(&mut self, file: &File, scores: Vec<f64>) {
        let count = file.rows.len();
        let probation = (count * 15 / 100).min(750);
        for (row, score) in scores.iter().enumerate().skip(probation) {
            let window = file.windows.iter().position(|(first, last)| (*first..=*last).contains(&row));
            let before = file.windows.iter().rev().find(|(_, last)| *last < row);
            let worth = match (window.and_then(|window| file.windows.get(window)), before) {
                (Some((first, last)), _) => {
                    let length = (last - first + 1) as f64;
                    sigmoid(-((last - row + 1) as f64) / length) / sigmoid(-1.0)
                }
                (None, Some((first, last))) => sigmoid((row - last) as f64 / (last - first) as f64),
                (None, None) => -1.0,
            };
            self.rows.push(Row { score: *score, worth, window: window.map(|window| self.windows + window) });
        }
        self.windows += file.windows.len();
        self.all_scores.extend(scores);
    }

    pub(crate) fn rows(&self) -> usize {
        self.all_scores.len()
    }

    pub(crate) fn windows(&self) -> usize {
        self.windows
    }

    /// How many rows have at least this score, those that are not looked at included.
    pub(crate) fn count(&self, least: f64) -> usize {
        self.all_scores.iter().filter(|score| **score >= least).count()
    }

    /// The best score, and the threshold that gives it.
    pub(crate) fn best(&self, profile: &Profile) -> (f64, f64) {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut tally = Tally::new(self, profile);
        let mut best = (tally.total, f64::INFINITY);
        for (index, row) in rows.iter().enumerate() {
            tally.detect(row);
            let last_of_its_score = rows.get(index + 1).is_none_or(|next| next.score < row.score);
            if last_of_its_score && tally.total > best.0 {
                best = (tally.total, row.score);
            }
        }
        (self.normalised(profile, best.0), best.1)
    }

    /// The score with this threshold.
    pub(crate) fn at(&self, profile: &Profile, threshold: f64) -> f64 {
        let mut tally = Tally::new(self, profile);
        self.rows.iter().filter(|row| row.score >= threshold).for_each(|row| tally.detect(row));
        self.normalised(profile, tally.total)
    }

    /// Windows that have a row that is looked at.
    fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.windows];
        for window in self.rows.iter().filter_map(|row| row.window) {
            if let Some(live) = live.get_mut(window) {
                *live = true;
            }
        }
        live
    }

    fn normalised(&self, profile: &Profile, total: f64) -> f64 {
        let nothing = -profile.miss * self.live().into_iter().filter(|live| *live).count() as f64;
        let perfect = profile.hit * self.windows as f64;
        100.0 * (total - nothing) / (perfect - nothing)
    }
}

/// The sum over windows and false alarms while detections are added.
struct Tally<'a> {
    profile: &'a Profile,
    best: Vec<f64>,
    total: f64,
}

impl<'a> Tally<'a> {
    fn new(corpus: &Corpus, profile: &'a Profile) -> Self {
        let best: Vec<f64> = corpus.live().iter().map(|live| if *live { -profile.miss } else { 0.0 }).collect();
        Tally { profile, total: best.iter().sum(), best }
    }

    fn detect(&mut self, row: &Row) {
        match row.window {
            None => self.total += row.worth * self.profile.false_alarm,
            Some(window) => {
                let Some(best) = self.best.get_mut(window) else { return };
                let better = (row.worth * self.profile.hit).max(*best);
                self.total += better - *best;
                *best = better;
            }
        }
    }
}
