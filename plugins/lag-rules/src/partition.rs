//! One partition of a topic over time, and what its consumer does: the rules that Burrow documents (linkedin/Burrow, wiki
//! "Consumer Lag Evaluation Rules"), which need no threshold. A consumer is judged by the last so many steps of its
//! frontier (what is durable at the target) and of its distance from the end of the partition:
//!
//! 1. While any lag in the window is zero, all is well; and whoever is at the end now has nothing to catch up with.
//! 2. The frontier went back, and is not where it was yet: rewind.
//! 3. The frontier was last told longer ago than the window is long, and there is something to read: stop.
//! 4. The frontier does not move, and the lag is the same or grows: stall.
//! 5. The frontier moves, and the lag grew without ever shrinking: it falls behind.
//!
//! Stop and rewind hold as well for a consumer that had no lag before: it may have ended, or been set back, right then.

use whimbrel_plugin::{Point, Series};

/// What a consumer does, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Stop,
    Rewind,
    Stall,
    Growing,
}

/// A partition that is in trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) trouble: Trouble,
    pub(crate) since_ms: i64,
    pub(crate) lag: f64,
    /// Whether the end of the partition went back too: then the topic was made anew.
    pub(crate) anew: bool,
}

/// The series of one partition, as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partition<'a> {
    pub(crate) frontier: Option<&'a Series>,
    pub(crate) end: Option<&'a Series>,
    pub(crate) start: Option<&'a Series>,
    pub(crate) lag: Option<&'a Series>,
}

/// When it is, and how much is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) now_ms: i64,
    pub(crate) step_ms: i64,
    /// How many steps make a window.
    pub(crate) steps: usize,
    /// So many messages behind counts as none.
    pub(crate) tolerated: f64,
    /// Whether somebody paused it: then it need not move.
    pub(crate) paused: bool,
}

/// One step of a consumer.
#[derive(Clone, Copy, Debug)]
struct Step {
    at_ms: i64,
    frontier: f64,
    lag: f64,
}

fn finite<'a>(series: Option<&'a Series>, now_ms: i64) -> impl DoubleEndedIterator<Item = Point> + use<'a> {
    let points = series.map(|series| series.points.as_slice()).unwrap_or_default();
    points.iter().copied().filter(move |point| point.value.is_finite() && point.at_ms <= now_ms)
}

impl<'a> Partition<'a> {
    /// A partition of which one series is known.
    pub(crate) fn of(quantity: &str, series: &'a Series) -> Self {
        let only = |name| (quantity == name).then_some(series);
        Partition {
            frontier: only("frontier"),
            end: only("end_offset"),
            start: only("start_offset"),
            lag: only("lag_messages"),
        }
    }

    /// Takes over what another knows.
    pub(crate) fn join(&mut self, other: &Self) {
        self.frontier = self.frontier.or(other.frontier);
        self.end = self.end.or(other.end);
        self.start = self.start.or(other.start);
        self.lag = self.lag.or(other.lag);
    }

    /// The lag now: of the newest end that is known and the newest frontier, whenever that was.
    pub(crate) fn lag_now(&self, now_ms: i64) -> Option<f64> {
        let told = finite(self.lag, now_ms).next_back();
        let end = finite(self.end, now_ms).next_back();
        let frontier = finite(self.frontier, now_ms).next_back();
        match (end, frontier, told) {
            (Some(end), Some(frontier), told) if told.is_none_or(|told| told.at_ms < end.at_ms) => {
                Some((end.value - frontier.value).max(0.0))
            }
            (_, _, told) => told.map(|told| told.value.max(0.0)),
        }
    }

    /// What its consumer does.
    pub(crate) fn judge(&self, view: &View) -> Option<Verdict> {
        let lag = self.lag_now(view.now_ms).filter(|lag| *lag > view.tolerated)?;
        let frontier: Vec<Point> = finite(self.frontier, view.now_ms).collect();
        let window = frontier.get(frontier.len().saturating_sub(view.steps)..)?;
        let verdict = |trouble, since_ms| Some(Verdict { trouble, since_ms, lag, anew: false });
        if let Some(since_ms) = self.stopped(window, view) {
            return verdict(Trouble::Stop, since_ms);
        }
        if let Some((since_ms, anew)) = self.rewound(window, view) {
            return Some(Verdict { trouble: Trouble::Rewind, since_ms, lag, anew });
        }
        if view.paused || window.len() < view.steps {
            return None;
        }
        // From here on each lag must be known: an unknown one may have been zero.
        let steps: Vec<Step> = window.iter().map(|point| self.step(*point, view)).collect::<Option<_>>()?;
        if steps.iter().any(|step| step.lag <= view.tolerated) {
            return None;
        }
        let before = || frontier.iter().rev().map_while(|point| self.step(*point, view));
        let (first, last) = (steps.first()?, steps.last()?);
        let grows = pairs(&steps).all(|(older, newer)| newer.lag >= older.lag);
        if pairs(&steps).all(|(older, newer)| same(older.frontier, newer.frontier)) {
            let stands = before().take_while(|step| same(step.frontier, last.frontier) && step.lag > view.tolerated);
            return verdict(Trouble::Stall, stands.last().map_or(first.at_ms, |step| step.at_ms)).filter(|_| grows);
        }
        if grows && last.lag > first.lag && last.frontier > first.frontier {
            let mut later = f64::INFINITY;
            let growing = before().take_while(|step| {
                let still = step.lag <= later && step.lag > view.tolerated;
                later = step.lag;
                still
            });
            return verdict(Trouble::Growing, growing.last().map_or(first.at_ms, |step| step.at_ms));
        }
        None
    }

    fn step(&self, point: Point, view: &View) -> Option<Step> {
        let at = |series: Option<&Series>| series?.at(point.at_ms, view.step_ms / 2).filter(|value| value.is_finite());
        let lag = at(self.lag).or_else(|| at(self.end).map(|end| end - point.value))?;
        Some(Step { at_ms: point.at_ms, frontier: point.value, lag: lag.max(0.0) })
    }

    /// Since when the frontier is not told any more.
    fn stopped(&self, window: &[Point], view: &View) -> Option<i64> {
        let (first, last) = (window.first()?, window.last()?);
        let silent = view.now_ms.saturating_sub(last.at_ms);
        let long = silent > last.at_ms.saturating_sub(first.at_ms).max(view.step_ms.saturating_mul(3));
        // The broker must have been seen since, and have had more in each of the last steps: a record that came just now
        // is no reason to miss the frontier.
        let mut ends = finite(self.end, view.now_ms).rev().take_while(|end| end.at_ms > last.at_ms);
        let waiting = ends.by_ref().take(3).filter(|end| end.value - last.value > view.tolerated).count() == 3;
        (long && window.len() >= 2 && waiting).then_some(last.at_ms)
    }

    /// When the frontier went back, if it has not come back to where it was.
    fn rewound(&self, window: &[Point], view: &View) -> Option<(i64, bool)> {
        let last = window.last()?;
        let mut furthest = f64::NEG_INFINITY;
        let mut back = None;
        for (older, newer) in window.iter().zip(window.iter().skip(1)) {
            furthest = furthest.max(older.value);
            if newer.value < older.value {
                back = Some((*older, newer.at_ms));
            }
        }
        let (older, since_ms) = back.filter(|_| last.value < furthest)?;
        let end = |at_ms| self.end.and_then(|end| end.at(at_ms, view.step_ms / 2));
        let anew = end(older.at_ms).zip(end(last.at_ms)).is_some_and(|(then, now)| now < then);
        Some((since_ms, anew))
    }
}

fn pairs(steps: &[Step]) -> impl Iterator<Item = (&Step, &Step)> {
    steps.iter().zip(steps.iter().skip(1))
}

fn same(a: f64, b: f64) -> bool {
    a == b
}
