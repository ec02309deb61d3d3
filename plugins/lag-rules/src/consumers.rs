//! The verdicts on all partitions of a pipeline, told in one finding for each kind of trouble.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::group::Group;
use crate::partition::{Trouble, View};
use crate::scene::Scene;

/// How consumers are judged.
#[derive(Config, Debug)]
pub struct Consumers {
    /// Whether they are.
    #[config(default = true)]
    enabled: bool,
    /// How many steps make the window they are judged by.
    #[config(default = 10)]
    window: u32,
    /// So many messages behind counts as none.
    #[config(default = 0)]
    tolerated_lag: u32,
    /// How bad it is when a partition's frontier is not told any more: `critical` where nothing is said.
    #[config(default = Severity::Critical)]
    stop: Severity,
    /// How bad it is when a partition stands still: `critical` where nothing is said.
    #[config(default = Severity::Critical)]
    stall: Severity,
    /// How bad it is when a partition went back: `critical` where nothing is said.
    #[config(default = Severity::Critical)]
    rewind: Severity,
    /// How bad it is when a partition falls behind: `warning` where nothing is said.
    #[config(default = Severity::Warning)]
    lag_growing: Severity,
}

impl Default for Consumers {
    fn default() -> Self {
        Consumers {
            enabled: true,
            window: 10,
            tolerated_lag: 0,
            stop: Severity::Critical,
            stall: Severity::Critical,
            rewind: Severity::Critical,
            lag_growing: Severity::Warning,
        }
    }
}

impl Consumers {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.window < 3 { Err("consumers.window: must be at least 3".to_owned()) } else { Ok(()) }
    }

    pub(crate) fn judge(&self, scene: &Scene<'_>) -> Vec<Finding> {
        if !self.enabled {
            return Vec::new();
        }
        let view = View {
            now_ms: scene.window.end_ms,
            step_ms: scene.step_ms,
            steps: self.window as usize,
            tolerated: f64::from(self.tolerated_lag),
            paused: scene.is_paused(),
        };
        let mut groups = [Trouble::Stop, Trouble::Rewind, Trouble::Stall, Trouble::Growing]
            .map(|trouble| (trouble, Group::new("partition"), 0_usize));
        for ((topic, partition), series) in &scene.partitions {
            let Some(verdict) = series.judge(&view) else { continue };
            if let Some((_, group, anew)) = groups.iter_mut().find(|(trouble, _, _)| *trouble == verdict.trouble) {
                group.add(topic, partition, verdict.lag, verdict.since_ms);
                *anew += usize::from(verdict.anew);
            }
        }
        let filled = groups.iter().filter(|(_, group, _)| !group.is_empty());
        filled.map(|(trouble, group, anew)| self.finding(scene, *trouble, group, *anew)).collect()
    }

    fn finding(&self, scene: &Scene<'_>, trouble: Trouble, group: &Group<'_>, anew: usize) -> Finding {
        let (count, lag) = (group.count(), number(group.total()));
        let took = span(scene.window.end_ms.saturating_sub(group.since_ms()));
        let (kind, severity, title, detail, action, hop) = match trouble {
            Trouble::Stop => (
                "stop",
                self.stop,
                format!("{count} {} not read any more, {lag} messages wait", group.verb("is", "are")),
                format!("the frontier was last told {took} ago"),
                "See whether the pipeline still runs and owns these partitions (`/readyz` says why not): another member of \
                 its consumer group may have them, or it has ended. It goes on where it was.",
                "apply",
            ),
            Trouble::Rewind => (
                "rewind",
                self.rewind,
                format!("{count} went back, {lag} messages come again"),
                match anew {
                    0 => format!("{took} ago; the frontier is not where it was before"),
                    anew => format!("{took} ago; {anew} of them with their end: the topic was made anew or truncated"),
                },
                "See who set the position back: a changed group or target, a restored database, or a topic that was made anew. \
                 Targets with positions of their own apply nothing twice; others see events again.",
                "apply",
            ),
            Trouble::Stall => (
                "stall",
                self.stall,
                format!("{count} {} still, {lag} messages wait", group.verb("stands", "stand")),
                format!("produced, and not applied: nothing became durable for {took}"),
                "See what the pipeline waits for: a record that fails again and again, a plugin in quarantine, or a target that \
                 does not answer (`/readyz`, and the log of the last minutes).",
                scene.hop(),
            ),
            Trouble::Growing => (
                "lag_growing",
                self.lag_growing,
                format!("{count} {} behind, {lag} messages by now", group.verb("falls", "fall")),
                format!("more is produced than applied, without a break for {took}"),
                "Find the slow hop (`cdc_hop_duration_seconds`): mostly the target. Give it room, or the pipeline more members \
                 if there are more partitions than members.",
                scene.hop(),
            ),
        };
        let detail = format!("{detail}; {}", group.worst(number));
        let finding = Finding::new(kind, kind, severity, title).detail(detail).action(action);
        group.finish(finding.attribute("lag_messages", Value::Float(group.total())), hop)
    }
}
