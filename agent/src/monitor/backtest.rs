//! What rules would have found in the history: the same components over the same windows, step by step, with the clock of
//! then and with state that begins empty and is not kept.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::Serialize;
use whimbrel_monitor::history::{Point, Series};
use whimbrel_monitor::incident::{Book, Incident};
use whimbrel_monitor::millis;
use whimbrel_monitor::store::Store;

use super::StartError;
use super::config::MonitorConfig;
use super::plugins::{RulePlace, window};
use crate::plugin::Sandbox;
use crate::plugin::store::Memory;
use crate::stats::Instruments;

/// What would have fired.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From when on was looked, milliseconds since 1970.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// Steps of which there is something.
    pub steps: u64,
    /// Evaluations that failed, by rule.
    pub failed: Vec<(String, u64)>,
    /// What would have fired, in the order of its beginning.
    pub incidents: Vec<Incident>,
}

/// A part of the history in which rules are tried.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// From when on, milliseconds since 1970.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
}

/// Runs the rules, or the one that is named, over the history of a file, which an agent may be writing to.
///
/// # Errors
/// When the file cannot be read, or a rule cannot be used.
pub fn run(
    config: &MonitorConfig,
    file: &Path,
    only: Option<&str>,
    span: Span,
    sandbox: &Sandbox,
    instruments: &Instruments,
) -> Result<Report, StartError> {
    let clock = Arc::new(AtomicI64::new(span.from_ms));
    let mut sandbox = sandbox.clone();
    sandbox.services.store = Arc::new(Memory::default());
    let told = Arc::clone(&clock);
    sandbox.services.clock = Arc::new(move || told.load(Ordering::Relaxed));
    let mut rules = super::rules(config, &sandbox, instruments)?;
    rules.retain(|rule| only.is_none_or(|only| rule.name == only));
    let look_back_ms = millis(config.history.look_back);
    let store = Store::read(file)?;
    let all = store.points(None, span.from_ms.saturating_sub(look_back_ms), span.until_ms)?;
    let mut by_scope: Vec<(Arc<str>, Vec<Series>)> = Vec::new();
    // They come sorted by scope.
    for series in all {
        match by_scope.last_mut() {
            Some((scope, of_it)) if *scope == series.key.scope => of_it.push(series),
            _ => by_scope.push((Arc::clone(&series.key.scope), vec![series])),
        }
    }
    let mut played = Played { book: Book::default(), failed: Vec::new(), steps: 0, incidents: HashMap::new() };
    let step_ms = millis(config.history.step).max(1);
    let mut start_ms = span.from_ms - span.from_ms.rem_euclid(step_ms);
    while start_ms < span.until_ms {
        let end_ms = start_ms + step_ms;
        clock.store(end_ms, Ordering::Relaxed);
        let mut any = false;
        for (scope, series) in &by_scope {
            let within: Vec<Series> = series.iter().map(|one| cut(one, end_ms - look_back_ms, end_ms)).collect();
            let lives = within.iter().any(|one| one.points.last().is_some_and(|point| point.at_ms >= start_ms));
            if lives {
                any = true;
                played.judge(&mut rules, scope, (start_ms, end_ms), &within);
            }
        }
        played.steps += u64::from(any);
        start_ms = end_ms;
    }
    Ok(played.report(span))
}

/// The points of a series in a span, found by halving: there are many.
fn cut(series: &Series, from_ms: i64, until_ms: i64) -> Series {
    let first = series.points.partition_point(|point| point.at_ms < from_ms);
    let last = series.points.partition_point(|point| point.at_ms < until_ms);
    let points: Vec<Point> = series.points.get(first..last).unwrap_or_default().to_vec();
    Series { key: series.key.clone(), points }
}

struct Played {
    book: Book,
    failed: Vec<(String, u64)>,
    steps: u64,
    incidents: HashMap<String, Incident>,
}

impl Played {
    fn judge(&mut self, rules: &mut [RulePlace], scope: &str, (start_ms, end_ms): (i64, i64), series: &[Series]) {
        let series: Vec<Series> = series.iter().filter(|one| !one.points.is_empty()).cloned().collect();
        let window = window(scope, start_ms, end_ms, &series);
        for rule in rules.iter_mut().filter(|rule| rule.looks_at(scope)) {
            match rule.evaluate(&window) {
                Ok(findings) => self.book.evaluated(&rule.name, scope, findings, end_ms),
                Err(error) => {
                    tracing::warn!(rule = rule.name, scope, %error, "rule failed");
                    match self.failed.iter_mut().find(|(name, _)| *name == rule.name) {
                        Some((_, count)) => *count += 1,
                        None => self.failed.push((rule.name.clone(), 1)),
                    }
                }
            }
        }
        self.keep();
    }

    /// A book forgets what ended a day ago; a report does not.
    fn keep(&mut self) {
        for incident in self.book.changes().0 {
            self.incidents.insert(incident.id.clone(), incident);
        }
    }

    fn report(self, span: Span) -> Report {
        let mut incidents: Vec<Incident> = self.incidents.into_values().collect();
        incidents.sort_by(|one, other| one.since_ms.cmp(&other.since_ms).then(one.id.cmp(&other.id)));
        Report { from_ms: span.from_ms, until_ms: span.until_ms, steps: self.steps, failed: self.failed, incidents }
    }
}
