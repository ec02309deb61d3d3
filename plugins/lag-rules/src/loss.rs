//! How long until something that was not read yet is deleted: by Kafka's retention, by the limit of a replication slot, by
//! the end of an oplog. Straight lines through the look-back; where the pipeline catches up first, there is no danger.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::group::Group;
use crate::partition::Partition;
use crate::scene::Scene;

/// A line needs so many points...
const POINTS: usize = 5;
/// ...over so much time.
const SPAN_MS: i64 = 300_000;
/// The part of the look-back whose pace counts too, where a burst is no jump.
const RECENT_MS: i64 = 900_000;

/// How soon is too soon.
#[derive(Config, Debug)]
pub struct DataLoss {
    /// Whether it is looked at.
    #[config(default = true)]
    enabled: bool,
    /// Hours until the loss from which on it is a warning.
    #[config(default = 6.0)]
    warning_hours: f64,
    /// Hours until the loss from which on it is critical.
    #[config(default = 1.0)]
    critical_hours: f64,
    /// With less headroom than this in bytes a replication slot is a warning, whatever its pace.
    #[config(default = 0)]
    least_slot_bytes: u64,
    /// With less headroom than this an oplog is a warning, whatever its pace.
    #[config(default = 3_600.0)]
    least_oplog_seconds: f64,
}

impl Default for DataLoss {
    fn default() -> Self {
        DataLoss {
            enabled: true,
            warning_hours: 6.0,
            critical_hours: 1.0,
            least_slot_bytes: 0,
            least_oplog_seconds: 3_600.0,
        }
    }
}

/// The soonest loss of a group.
struct Soonest<'a> {
    group: Group<'a>,
    /// Milliseconds.
    left: f64,
}

impl DataLoss {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.critical_hours >= 0.0 && self.warning_hours >= self.critical_hours && self.warning_hours.is_finite())
        {
            return Err("data_loss: `critical_hours` must be 0 or more and `warning_hours` not below it".to_owned());
        }
        if self.least_oplog_seconds.is_nan() || self.least_oplog_seconds < 0.0 {
            return Err("data_loss.least_oplog_seconds: must be 0 or more".to_owned());
        }
        Ok(())
    }

    pub(crate) fn judge(&self, scene: &Scene<'_>) -> Vec<Finding> {
        if !self.enabled {
            return Vec::new();
        }
        [self.retention(scene), self.source(scene, "slot"), self.source(scene, "oplog")].into_iter().flatten().collect()
    }

    fn limit(&self) -> f64 {
        self.warning_hours * 3_600_000.0
    }

    fn severity(&self, left: f64) -> Severity {
        if left <= self.critical_hours * 3_600_000.0 { Severity::Critical } else { Severity::Warning }
    }

    /// Kafka deletes from the start of a partition; what is lost is what lies before the start and behind the frontier.
    fn retention(&self, scene: &Scene<'_>) -> Option<Finding> {
        let mut soon = Soonest { group: Group::new("partition"), left: f64::INFINITY };
        let mut lost = 0.0;
        for ((topic, partition), series) in &scene.partitions {
            let Some((left, gone)) = retained(scene, series).filter(|(left, _)| *left <= self.limit()) else {
                continue;
            };
            // The sooner, the worse.
            soon.group.add(topic, partition, -left, i64::MAX);
            soon.left = soon.left.min(left);
            lost += gone;
        }
        if soon.group.is_empty() {
            return None;
        }
        let count = soon.group.count();
        let (title, detail) = if lost > 0.0 {
            (
                format!("{count} lost {} messages to retention", number(lost)),
                "Kafka deleted them before they were applied".to_owned(),
            )
        } else {
            (
                format!("{count} {} data in {} to retention", soon.group.verb("loses", "lose"), time(soon.left)),
                "Kafka's start of the log comes closer to what is not applied yet".to_owned(),
            )
        };
        let detail = format!("{detail}; {}", soon.group.worst(|left| time(-left)));
        let action = "Raise `retention.ms` and `retention.bytes` of the topic now, then make the pipeline faster or start it \
                      again. What is lost already must be copied again by a snapshot.";
        Some(self.finding(&soon, "data_loss/retention", title, detail, action, scene.hop()))
    }

    /// A source keeps what its reader has not confirmed, up to a limit; how far that is away is told by the agent.
    fn source<'a>(&self, scene: &Scene<'a>, by: &'static str) -> Option<Finding> {
        let name = if by == "slot" { "source_headroom_bytes" } else { "source_headroom_seconds" };
        let mut soon = Soonest { group: Group::new(by), left: f64::INFINITY };
        let mut least = f64::INFINITY;
        for series in scene.named(name).filter(|series| series.label("by") == Some(by)) {
            let Some(headroom) = scene.now(series) else { continue };
            let left = if headroom <= 0.0 { 0.0 } else { time_left(scene, series, headroom) };
            let floor = if by == "slot" { self.least_slot_bytes as f64 } else { self.least_oplog_seconds };
            if left > self.limit() && headroom >= floor {
                continue;
            }
            soon.group.add(series.label("name").unwrap_or("?"), "", -left, i64::MAX);
            soon.left = soon.left.min(left);
            least = least.min(headroom);
        }
        if soon.group.is_empty() {
            return None;
        }
        let count = soon.group.count();
        let headroom = if by == "slot" { bytes(least) } else { time(least * 1_000.0) };
        let title = match (soon.left, by) {
            (left, "slot") if left <= 0.0 => format!("{count} has no headroom left: what it held may be gone"),
            (left, _) if left <= 0.0 => format!("{count} does not reach back far enough: changes may be gone"),
            (left, _) if left.is_finite() && left <= self.limit() => {
                format!("{count} {} changes in {}", soon.group.verb("loses", "lose"), time(left))
            }
            _ => format!("{count} {} only {headroom} of headroom", soon.group.verb("has", "have")),
        };
        let detail = format!("headroom: {headroom}; {}", soon.group.worst(|left| time(-left)));
        let action = if by == "slot" {
            "Raise `max_slot_wal_keep_size` and see to the disk's room, then make the reader confirm again: look at the \
             connector that owns the slot. A slot that is invalidated needs a new snapshot."
        } else {
            "Make the oplog larger (`replSetResizeOplog`), then make the reader catch up: look at the connector. What falls \
             out of the oplog unread needs a new snapshot."
        };
        Some(self.finding(&soon, &format!("data_loss/{by}"), title, detail, action, "capture"))
    }

    fn finding(
        &self,
        soon: &Soonest<'_>,
        key: &str,
        title: String,
        detail: String,
        action: &str,
        hop: &str,
    ) -> Finding {
        let severity = self.severity(soon.left);
        let finding = Finding::new(key, "data_loss_soon", severity, title).detail(detail).action(action);
        let finding = match soon.left.is_finite() {
            true => finding.attribute("seconds_left", Value::Float(soon.left / 1_000.0)),
            false => finding,
        };
        soon.group.finish(finding, hop)
    }
}

/// Milliseconds until Kafka deletes what is not applied yet, and how many messages it already did.
fn retained(scene: &Scene<'_>, partition: &Partition<'_>) -> Option<(f64, f64)> {
    let (start, frontier) = (partition.start?, partition.frontier?);
    let now_ms = scene.window.end_ms;
    let lag = partition.lag_now(now_ms).filter(|lag| *lag > 0.0)?;
    let newest = start.points.iter().rev().find(|point| point.value.is_finite() && point.at_ms <= now_ms)?;
    // A stopped consumer tells no frontier any more; it is still where it was.
    let last = frontier.points.iter().rev().find(|point| point.value.is_finite() && point.at_ms <= now_ms)?;
    let room = last.value - newest.value;
    if room < 0.0 {
        return Some((0.0, -room));
    }
    let at = |at_ms: i64| frontier.at(at_ms, scene.step_ms / 2).unwrap_or(last.value);
    let rooms: Vec<(i64, f64)> = start
        .points
        .iter()
        .filter(|point| point.value.is_finite() && point.at_ms <= now_ms)
        .map(|point| (point.at_ms, at(point.at_ms) - point.value))
        .collect();
    let pace = -slope(&rooms)?;
    if pace <= 0.0 {
        return None;
    }
    let left = room / pace;
    let ends = partition.end.map(|end| end.points.as_slice()).unwrap_or_default();
    let lags: Vec<(i64, f64)> = ends.iter().map(|end| (end.at_ms, end.value - at(end.at_ms))).collect();
    let caught_up = slope(&lags).filter(|slope| *slope < 0.0).map(|slope| lag / -slope);
    (caught_up.is_none_or(|caught_up| caught_up >= left)).then_some((left, 0.0))
}

/// Milliseconds until nothing is left at the pace of the look-back, or of its last minutes if that is faster; infinite where
/// it does not shrink.
fn time_left(scene: &Scene<'_>, series: &Series, headroom: f64) -> f64 {
    let all: Vec<(i64, f64)> = series
        .points
        .iter()
        .filter(|point| point.value.is_finite() && point.at_ms <= scene.window.end_ms)
        .map(|point| (point.at_ms, point.value))
        .collect();
    let recent_from = scene.window.end_ms.saturating_sub(RECENT_MS);
    let recent = all.get(all.partition_point(|(at_ms, _)| *at_ms < recent_from)..).unwrap_or_default();
    let pace = [slope(&all), slope(recent)].into_iter().flatten().fold(0.0, f64::min);
    if pace < 0.0 { headroom / -pace } else { f64::INFINITY }
}

/// The slope of the least-squares line, per millisecond; `None` where there are too few points for one.
fn slope(points: &[(i64, f64)]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < POINTS || last.0.saturating_sub(first.0) < SPAN_MS {
        return None;
    }
    let count = points.len() as f64;
    let x = |at_ms: i64| at_ms.saturating_sub(first.0) as f64;
    let mean_x = points.iter().map(|(at_ms, _)| x(*at_ms)).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, value)| *value / count).sum::<f64>();
    let (mut along, mut across) = (0.0, 0.0);
    for (at_ms, value) in points {
        along += (x(*at_ms) - mean_x) * (value - mean_y);
        across += (x(*at_ms) - mean_x).powi(2);
    }
    Some(along / across).filter(|slope| slope.is_finite())
}

fn time(milliseconds: f64) -> String {
    if !milliseconds.is_finite() {
        return "it does not shrink".to_owned();
    }
    // An estimate: the last millisecond must not turn "4 h" into "3 h 59 min".
    span(((milliseconds / 1_000.0).round() as i64).saturating_mul(1_000))
}

fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count.max(0.0);
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < units.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", number(value), units.get(unit).copied().unwrap_or_default())
}
