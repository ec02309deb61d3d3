//! Watches series without thresholds and without training: says when a value is unlike everything its series has been so far
//! (`anomaly`), when one that always varied stands still (`flat_line`), and when one slowly leaves its level
//! (`slow_drift`). A fixed number of operations for each point, a bounded number of bytes for each series, and all of it
//! outlives a restart. It knows nothing of what a series means: what is expected of rates and lags is for other rules.

mod bytes;
mod cadence;
mod drift;
mod findings;
mod flat;
mod kept;
mod median;
mod novelty;
mod record;
mod season;
mod series;

use whimbrel_plugin::prelude::*;

use crate::cadence::Cadence;
use crate::kept::Kept;
use crate::series::{Alarm, Watched};

/// Finds what a series never did before.
#[derive(Config)]
pub struct Statistical {
    /// Which series; the first pattern that fits one decides. Without it, rates, lags and the times of hops.
    #[config(default = usual())]
    watch: Vec<Watch>,
    /// The score from which on a value is an anomaly. 0.5 is for waking people; 0.071 finds more, and more that is nothing.
    #[config(default = 0.5)]
    least_score: f64,
    /// How long an anomaly is reported.
    #[config(default = 10)]
    hold_minutes: u32,
    /// How bad an anomaly is: `warning` where nothing is said.
    #[config(default = Severity::Warning)]
    severity: Severity,
    /// How long a series must stand still to be a flat line; 0: it never is.
    #[config(default = 60)]
    flat_after_minutes: u32,
    /// After how long a drift is told at the earliest; 0: never.
    #[config(default = 24)]
    drift_after_hours: u32,
    /// How bad flat lines and drifts are: `warning` where nothing is said.
    #[config(default = Severity::Warning)]
    slow_severity: Severity,
    /// The most series that are watched, of all pipelines together.
    #[config(default = 500)]
    most_series: u32,
    /// The distance of points in seconds; without it, it is taken from the points.
    step_seconds: Option<f64>,
    /// Reports the score of every new point as a finding of the kind `score`. For measuring the detector, not for people.
    #[config(default = false)]
    report_scores: bool,
    #[config(skip)]
    kept: Kept,
    #[config(skip)]
    refused: usize,
}

/// Some series.
#[derive(Config, Clone)]
pub struct Watch {
    /// A pattern over their names.
    series: Glob,
    /// A pattern over the pipelines and migrations (`pipeline/shop`) they are of.
    #[config(default = Glob::new("*"))]
    scopes: Glob,
    /// A difference of this size, in the unit of the series, means nothing.
    #[config(default = 0.0)]
    noise: f64,
}

/// What is watched where nothing is said: rates, lags and the times of hops.
fn usual() -> Vec<Watch> {
    [
        ("events_per_second", 1.0),
        ("produced_per_second", 1.0),
        ("rows_per_second", 1.0),
        ("lag_seconds", 10.0),
        ("replication_lag_seconds", 10.0),
        ("hop_seconds", 1.0),
    ]
    .map(|(series, noise)| Watch { series: Glob::new(series), scopes: Glob::new("*"), noise })
    .to_vec()
}

#[rule]
impl Rule for Statistical {
    fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
        let refuse = |words: String| Err(Failure::new("config", words));
        if self.watch.is_empty() {
            return refuse("watch: name at least one series; without `watch` the usual ones are taken".to_owned());
        }
        if let Some(index) = self.watch.iter().position(|watch| !watch.noise.is_finite() || watch.noise < 0.0) {
            return refuse(format!("watch[{index}].noise: must be 0 or more"));
        }
        if !self.least_score.is_finite() || self.least_score <= 0.0 {
            return refuse("least_score: must be more than 0".to_owned());
        }
        if self.most_series == 0 {
            return refuse("most_series: must be at least 1".to_owned());
        }
        if self.step_seconds.is_some_and(|step| !step.is_finite() || step <= 0.0) {
            return refuse("step_seconds: must be more than 0".to_owned());
        }
        Ok(())
    }

    fn evaluate(&mut self, window: &Window, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        for series in &window.series {
            let fits = |watch: &&Watch| watch.series.matches(&series.name) && watch.scopes.matches(&window.scope);
            let Some(noise) = self.watch.iter().find(fits).map(|watch| watch.noise) else { continue };
            self.judge(window, series, noise, &mut findings, cx);
        }
        self.kept.tell(&mut self.refused, self.most_series as usize, cx);
        Ok(findings)
    }
}

impl Statistical {
    fn judge(&mut self, window: &Window, series: &Series, noise: f64, findings: &mut Vec<Finding>, cx: &Context) {
        let Some(oldest_ms) = series.points.first().map(|point| point.at_ms) else { return };
        let name = findings::name(series);
        let id = format!("{}|{name}", window.scope);
        let step_ms = self.step_ms(window, series);
        let most = self.most_series as usize;
        let Some(mut watched) = self.kept.watch(&id, step_ms, window.end_ms, most, cx) else { return };
        if is_other(watched, step_ms, series.points.len()) {
            self.kept.forget(&id, cx);
            let Some(anew) = self.kept.watch(&id, step_ms, window.end_ms, most, cx) else { return };
            watched = anew;
        }
        let mut told = false;
        for point in &series.points {
            let Some(score) = watched.push(*point, noise, self.drift_after_hours) else { continue };
            // What lies before the window was missed or is the look-back: it teaches, and is no news.
            if point.at_ms < window.start_ms {
                continue;
            }
            if self.report_scores {
                findings.push(findings::score(&name, point.at_ms, score.raw));
            }
            if score.raw >= self.least_score {
                told = true;
                watched.alarm = Some(Alarm {
                    at_ms: point.at_ms,
                    value: point.value,
                    expected: score.expected,
                    raw: score.raw,
                    by_season: score.feature == novelty::Feature::Season,
                });
            }
        }
        let hold_ms = i64::from(self.hold_minutes) * 60_000;
        if let Some(alarm) = &watched.alarm
            && (told || window.end_ms.saturating_sub(alarm.at_ms) < hold_ms)
        {
            findings.push(findings::anomaly(&name, alarm, watched, self.severity, self.least_score));
        }
        let flat_ms = i64::from(self.flat_after_minutes) * 60_000;
        if flat_ms > 0
            && let Some(stand) = watched.flat.stand(watched.last_ms, flat_ms, &watched.cadence)
        {
            findings.push(findings::flat_line(&name, &stand, watched.last_ms, self.slow_severity));
        }
        if self.drift_after_hours > 0
            && let Some(drifted) = watched.drift.drifted()
        {
            findings.push(findings::slow_drift(&name, &drifted, series.last(), self.slow_severity));
        }
        self.kept.store(&id, oldest_ms, told, cx);
    }

    /// The distance of a series' points: as configured, else the middle one of those there are, else the window's length.
    fn step_ms(&self, window: &Window, series: &Series) -> i64 {
        if let Some(seconds) = self.step_seconds {
            return (seconds * 1_000.0) as i64;
        }
        match series.step_ms() {
            Some(step) if series.points.len() > 3 => step,
            _ => window.end_ms.saturating_sub(window.start_ms),
        }
    }
}

/// Whether a series now comes at so different a distance that what was learned of it is of no use.
fn is_other(watched: &Watched, step_ms: i64, points: usize) -> bool {
    /// Fewer points may be far apart by chance.
    const ENOUGH: usize = 20;
    let now = Cadence::of(step_ms);
    points >= ENOUGH && (now.rows(60) > 2 * watched.cadence.rows(60) || watched.cadence.rows(60) > 2 * now.rows(60))
}

#[cfg(test)]
mod tests;
