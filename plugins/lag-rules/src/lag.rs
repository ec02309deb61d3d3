//! Plain limits of lag in time, and the state "stalled" that the agent itself gives its pipelines.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::scene::Scene;

/// `lag_state` of a pipeline that does not move although it should.
const STALLED: f64 = 2.0;

/// How late is too late.
#[derive(Config, Debug)]
pub struct Lag {
    /// Whether it is looked at.
    #[config(default = true)]
    enabled: bool,
    /// Seconds behind the source from which on it is a warning.
    #[config(default = 60.0)]
    warning_seconds: f64,
    /// Seconds behind the source from which on it is critical.
    #[config(default = 300.0)]
    critical_seconds: f64,
    /// How many steps in a row.
    #[config(default = 2)]
    steps: u32,
    /// How bad it is when the agent calls the pipeline stalled: `critical` where nothing is said.
    #[config(default = Severity::Critical)]
    stalled: Severity,
}

impl Default for Lag {
    fn default() -> Self {
        Lag { enabled: true, warning_seconds: 60.0, critical_seconds: 300.0, steps: 2, stalled: Severity::Critical }
    }
}

impl Lag {
    pub(crate) fn check(&self) -> Result<(), String> {
        // Also what is no number is refused.
        if !(self.warning_seconds > 0.0 && self.critical_seconds >= self.warning_seconds) {
            return Err("lag: `warning_seconds` must be above 0 and `critical_seconds` not below it".to_owned());
        }
        if self.steps == 0 { Err("lag.steps: must be at least 1".to_owned()) } else { Ok(()) }
    }

    pub(crate) fn judge(&self, scene: &Scene<'_>) -> Vec<Finding> {
        if !self.enabled {
            return Vec::new();
        }
        let late = ["lag_seconds", "replication_lag_seconds"]
            .into_iter()
            .filter_map(|name| self.late(scene, scene.named(name).next()?));
        late.chain(self.stalled(scene)).collect()
    }

    fn late(&self, scene: &Scene<'_>, lag: &Series) -> Option<Finding> {
        let above = |limit: f64| scene.window.lasting(lag, self.steps as usize, |point| point.value >= limit);
        let since_ms = above(self.warning_seconds)?;
        let critical = above(self.critical_seconds);
        let seconds = scene.now(lag)?;
        let (severity, limit) = match critical {
            Some(_) => (Severity::Critical, self.critical_seconds),
            None => (Severity::Warning, self.warning_seconds),
        };
        let behind = span((seconds * 1_000.0) as i64);
        let replica = lag.name == "replication_lag_seconds";
        let hop = if replica { "apply" } else { scene.hop() };
        let took = span(scene.window.end_ms.saturating_sub(since_ms));
        let mut detail = format!("at or above {} for {took}", span((limit * 1_000.0).min(1e15) as i64));
        if !replica {
            if let Some(waiting) = scene.waiting() {
                detail += &format!("; {} messages wait at the broker", number(waiting));
            }
            let eta = scene.named("catchup_eta_seconds").find_map(|series| scene.now(series));
            if let Some(eta) = eta.filter(|eta| (0.0..1e9).contains(eta)) {
                let eta = span((eta * 1_000.0) as i64);
                detail += &format!("; at this pace it has caught up in {eta}");
            }
        }
        let title =
            if replica { format!("replicas are {behind} behind") } else { format!("the target is {behind} behind") };
        let finding = Finding::new(&*lag.name, "lag", severity, title)
            .detail(detail)
            .action(action(if replica { "replica" } else { hop }))
            .attribute("hop", Value::Text(hop.to_owned()))
            .attribute("seconds", Value::Float(seconds));
        Some(Finding { since_ms: Some(since_ms), ..finding })
    }

    fn stalled(&self, scene: &Scene<'_>) -> Option<Finding> {
        if scene.is_paused() {
            return None;
        }
        let state = scene.named("lag_state").next()?;
        let since_ms = scene.window.lasting(state, self.steps as usize, |point| point.value == STALLED)?;
        let hop = scene.hop();
        let took = span(scene.window.end_ms.saturating_sub(since_ms));
        let (title, detail) = match scene.waiting() {
            Some(waiting) if waiting > 0.0 => (
                "the pipeline stands still, and there is something to do".to_owned(),
                format!("stalled for {took}; {} messages wait at the broker", number(waiting)),
            ),
            Some(_) => (
                "nothing comes from the source any more".to_owned(),
                format!("stalled for {took}; all that reached the broker is applied, and its end does not move"),
            ),
            None => ("the pipeline stands still".to_owned(), format!("stalled for {took}")),
        };
        let finding = Finding::new("stalled", "stall", self.stalled, title)
            .detail(detail)
            .action(action(hop))
            .attribute("hop", Value::Text(hop.to_owned()));
        Some(Finding { since_ms: Some(since_ms), ..finding })
    }
}

fn action(hop: &str) -> &'static str {
    match hop {
        "capture" => {
            "All that reached the broker is applied, so it is late before that: look at the connector and its task \
             (`whimbrel connectors status`), its heartbeats, and the source's slot or oplog."
        }
        "broker" => "Records wait at the broker before they are read: look at its load, and at the network to it.",
        "transform" => "Plugins take the time: see which in `plugin_call_duration_seconds`.",
        "replica" => {
            "Slow the migration down (smaller chunks, a pause between them), or look at what holds the replicas up."
        }
        _ => {
            "Records wait because writing takes the time: look at the target's load, locks and slow statements, and at what \
             the pipeline tries again (`/readyz`)."
        }
    }
}
