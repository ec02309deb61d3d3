//! From readings to points.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::millis;

use super::series::{Key, Point, Reading, Series, Value};

/// How much is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The length of a step.
    pub step: Duration,
    /// How far rules look back.
    pub look_back: Duration,
    /// How long each reading is kept, of series that are looked at.
    pub fine: Duration,
    /// Series; more are counted and not kept.
    pub series: usize,
}

impl Default for Limits {
    /// A step of half a minute, an hour of them, a quarter of an hour of seconds.
    fn default() -> Self {
        Self {
            step: Duration::from_secs(30),
            look_back: Duration::from_secs(3_600),
            fine: Duration::from_secs(900),
            series: 5_000,
        }
    }
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When it began, milliseconds since 1970.
    pub start_ms: i64,
    /// When it ended.
    pub end_ms: i64,
    /// The points it made.
    pub points: Vec<(Key, f64)>,
}

#[derive(Debug, Default)]
struct Track {
    /// As it was when the step began, and when that was.
    base: Option<(i64, Value)>,
    last: Option<(i64, Value)>,
    /// Since the step began.
    is_read: bool,
    points: VecDeque<Point>,
    /// Each reading: milliseconds after `epoch`, and the value. Half the size of a point, and there are many.
    fine: VecDeque<(u32, f32)>,
}

/// Makes points of readings.
#[derive(Debug)]
pub struct Recorder {
    limits: Limits,
    /// By scope, so that a scope's window needs no search.
    scopes: BTreeMap<Arc<str>, HashMap<Key, Track>>,
    count: usize,
    refused: u64,
    epoch_ms: i64,
    step_ms: Option<i64>,
}

impl Recorder {
    /// Nothing read yet. `now_ms`: from when on.
    #[must_use]
    pub fn new(limits: Limits, now_ms: i64) -> Self {
        Self { limits, scopes: BTreeMap::new(), count: 0, refused: 0, epoch_ms: now_ms, step_ms: None }
    }

    /// Points of before, for rules to look back on.
    pub fn restore(&mut self, series: Vec<Series>, now_ms: i64) {
        let from_ms = now_ms.saturating_sub(millis(self.limits.look_back));
        for Series { key, points } in series {
            let Some(track) = self.track(&key) else { continue };
            track.points.extend(points.into_iter().filter(|point| point.at_ms >= from_ms));
        }
    }

    fn track(&mut self, key: &Key) -> Option<&mut Track> {
        let scope = self.scopes.entry(Arc::clone(&key.scope)).or_default();
        if !scope.contains_key(key) {
            if self.count >= self.limits.series {
                self.refused += 1;
                return None;
            }
            self.count += 1;
        }
        Some(scope.entry(key.clone()).or_default())
    }

    /// All that could be read at this moment. Gives the step that ended with it, if one did.
    pub fn read(&mut self, readings: Vec<Reading>, now_ms: i64) -> Option<Step> {
        let step = self.turn(now_ms);
        let fine_ms = millis(self.limits.fine);
        let offset = u32::try_from(now_ms.saturating_sub(self.epoch_ms)).unwrap_or(u32::MAX);
        let oldest = u32::try_from(now_ms.saturating_sub(self.epoch_ms).saturating_sub(fine_ms)).unwrap_or(0);
        for Reading { key, value, fine } in readings.into_iter().filter(|reading| reading.value.is_finite()) {
            let Some(track) = self.track(&key) else { continue };
            if fine {
                let (since_ms, before) = track.last.map_or((now_ms, None), |(at_ms, value)| (at_ms, Some(value)));
                if let Some(measured) = value.measured(before, now_ms - since_ms) {
                    #[expect(clippy::cast_possible_truncation, reason = "to be looked at: seven digits will do")]
                    track.fine.push_back((offset, measured as f32));
                }
                while track.fine.front().is_some_and(|(at, _)| *at < oldest) {
                    track.fine.pop_front();
                }
            }
            track.base.get_or_insert((now_ms, value));
            track.last = Some((now_ms, value));
            track.is_read = true;
        }
        step
    }

    /// Ends the step when its time is over.
    fn turn(&mut self, now_ms: i64) -> Option<Step> {
        let length_ms = millis(self.limits.step).max(1);
        let current_ms = now_ms - now_ms.rem_euclid(length_ms);
        let start_ms = *self.step_ms.get_or_insert(current_ms);
        // A clock that was set back begins a step again; its points come when it has passed that time.
        if current_ms <= start_ms {
            return None;
        }
        self.step_ms = Some(current_ms);
        let kept_ms = current_ms.saturating_sub(millis(self.limits.look_back));
        let mut points = Vec::new();
        for scope in self.scopes.values_mut() {
            for (key, track) in scope.iter_mut() {
                let read = std::mem::take(&mut track.is_read);
                if let (true, Some((at_ms, value))) = (read, track.last) {
                    let (since_ms, base) = track.base.unwrap_or((at_ms, value));
                    if let Some(measured) = value.measured(Some(base), at_ms - since_ms) {
                        track.points.push_back(Point { at_ms: start_ms, value: measured });
                        points.push((key.clone(), measured));
                    }
                    track.base = Some((at_ms, value));
                } else {
                    // It was not there: what a total grew by meanwhile would be no rate of the next step.
                    (track.base, track.last) = (None, None);
                }
                while track.points.front().is_some_and(|point| point.at_ms < kept_ms) {
                    track.points.pop_front();
                }
            }
            let before = scope.len();
            scope.retain(|_, track| !track.points.is_empty() || track.last.is_some());
            self.count -= before - scope.len();
        }
        self.scopes.retain(|_, scope| !scope.is_empty());
        Some(Step { start_ms, end_ms: current_ms, points })
    }

    /// What there are series of.
    #[must_use]
    pub fn scopes(&self) -> Vec<Arc<str>> {
        self.scopes.keys().cloned().collect()
    }

    /// The points of a scope, as far back as rules look, in the order of their names.
    #[must_use]
    pub fn window(&self, scope: &str) -> Vec<Series> {
        self.collect(scope, |track| track.points.iter().copied().collect())
    }

    /// The readings of a scope that are kept for people.
    #[must_use]
    pub fn fine(&self, scope: &str, since_ms: i64) -> Vec<Series> {
        let point =
            |(at, value): &(u32, f32)| Point { at_ms: self.epoch_ms + i64::from(*at), value: f64::from(*value) };
        self.collect(scope, |track| track.fine.iter().map(point).filter(|point| point.at_ms >= since_ms).collect())
    }

    fn collect(&self, scope: &str, points: impl Fn(&Track) -> Vec<Point>) -> Vec<Series> {
        let tracks = self.scopes.get(scope).into_iter().flatten();
        let mut series: Vec<Series> =
            tracks.map(|(key, track)| Series { key: key.clone(), points: points(track) }).collect();
        series.retain(|series| !series.points.is_empty());
        series.sort_by(|one, other| one.key.cmp(&other.key));
        series
    }

    /// How many series there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was read yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many readings were not kept because there are too many series.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
