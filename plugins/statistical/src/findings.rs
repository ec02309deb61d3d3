//! What is said of a series: what it did, against what was usual, and where to look. Figures only; a series holds no row
//! values.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::drift::Drifted;
use crate::flat::Stand;
use crate::novelty::squeezed;
use crate::series::{Alarm, Watched};

/// A series with its labels: `hop_seconds{hop="apply"}`.
pub(crate) fn name(series: &Series) -> String {
    if series.labels.is_empty() {
        return series.name.clone();
    }
    let mut labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    labels.sort_unstable();
    format!("{}{{{}}}", series.name, labels.join(","))
}

/// A figure without the digits that mean nothing.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

/// The score of one point.
pub(crate) fn score(name: &str, at_ms: i64, raw: f64) -> Finding {
    let finding = Finding::new(format!("score/{name}/{at_ms}"), "score", Severity::Info, "");
    Finding { score: Some(squeezed(raw)), since_ms: Some(at_ms), ..finding }
}

pub(crate) fn anomaly(name: &str, alarm: &Alarm, watched: &Watched, severity: Severity, least: f64) -> Finding {
    let known = i64::from(watched.novelty.seen()).saturating_mul(i64::from(watched.cadence.step_ms));
    let against = if alarm.by_season { "at this hour of the week" } else { "lately" };
    let finding = Finding::new(
        format!("anomaly/{name}"),
        "anomaly",
        severity,
        format!("{name} is {}, as it never was before", number(alarm.value)),
    )
    .detail(format!(
        "usual {against}: {}; score {} (told from {} on); watched for {}",
        number(alarm.expected),
        number(alarm.raw),
        number(least),
        span(known),
    ))
    .action(
        "Look at what began at that time: a deployment, a schema change, a bulk load, load of the source or the target. \
         If it is as it should be, nothing is to be done: the next such value is usual.",
    )
    .attribute("series", Value::Text(name.to_owned()))
    .attribute("value", Value::Float(rounded(alarm.value)))
    .attribute("usual", Value::Float(rounded(alarm.expected)));
    Finding { since_ms: Some(alarm.at_ms), score: Some(rounded(squeezed(alarm.raw))), ..finding }
}

pub(crate) fn flat_line(name: &str, stand: &Stand, now_ms: i64, severity: Severity) -> Finding {
    let took = span(now_ms.saturating_sub(stand.since_ms));
    let finding = Finding::new(
        format!("flat_line/{name}"),
        "flat_line",
        severity,
        format!("{name} has been {} for {took}, and always varied before", number(stand.value)),
    )
    .detail("the very same value, for more than three times as long as ever lately")
    .action(
        "Look whether what is measured still moves, and whether it is still measured: a stuck reading looks the same.",
    )
    .attribute("series", Value::Text(name.to_owned()))
    .attribute("value", Value::Float(stand.value));
    Finding { since_ms: Some(stand.since_ms), ..finding }
}

pub(crate) fn slow_drift(name: &str, drifted: &Drifted, last: Option<Point>, severity: Severity) -> Finding {
    let way = if drifted.up { "up" } else { "down" };
    let now = last.map(|point| format!("{} now, ", number(point.value))).unwrap_or_default();
    let finding = Finding::new(
        format!("slow_drift/{name}"),
        "slow_drift",
        severity,
        format!("{name} drifts {way}, slowly and for hours"),
    )
    .detail(format!(
        "{now}{} on the mean of the last weeks; hourly means stay on one side of it",
        number(drifted.level)
    ))
    .action(
        "Compare with a week ago: more data or load, a table or an index that grows, a disk or memory that fills up. \
         A level that stays becomes the usual one.",
    )
    .attribute("series", Value::Text(name.to_owned()))
    .attribute("level", Value::Float(rounded(drifted.level)));
    Finding { since_ms: Some(drifted.since_ms), ..finding }
}
