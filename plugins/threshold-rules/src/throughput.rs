//! Less moves than expected, while the pipeline or migration runs and there is something to move.

use std::collections::BTreeMap;

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::learned::Learned;
use crate::scene::Scene;

/// When throughput is low.
#[derive(Config, Debug)]
pub struct LowThroughput {
    /// Whether it is looked at.
    #[config(default = true)]
    enabled: bool,
    /// Below this share of what is expected it is low.
    #[config(default = 0.5)]
    factor: f64,
    /// Events or rows per second, by scope (`pipeline/shop`, `migration/*`); what fits none is learned.
    #[config(default)]
    expected: BTreeMap<String, f64>,
    /// How many steps in a row must be low.
    #[config(default = 4)]
    steps: u32,
    /// Up to so many events per second a caught-up pipeline is idle, not slow.
    #[config(default = 0.0)]
    idle_below: f64,
    /// Where it is learned: for how long it is only learned.
    #[config(default = 30)]
    learn_minutes: u32,
    /// Where it is learned: after how long a low throughput is the usual one.
    #[config(default = 24)]
    relearn_hours: u32,
    /// Where it is learned: expected to move fewer events or rows than this in those steps, it is not judged.
    #[config(default = 100)]
    minimum_events: u32,
    /// How bad it is: `warning` where nothing is said.
    #[config(default = Severity::Warning)]
    severity: Severity,
}

impl Default for LowThroughput {
    fn default() -> Self {
        LowThroughput {
            enabled: true,
            factor: 0.5,
            expected: BTreeMap::new(),
            steps: 4,
            idle_below: 0.0,
            learn_minutes: 30,
            relearn_hours: 24,
            minimum_events: 100,
            severity: Severity::Warning,
        }
    }
}

/// What is expected, and by whom.
#[derive(Clone, Copy)]
struct Expected {
    rate: f64,
    given: bool,
}

impl LowThroughput {
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err("low_throughput.factor: must be between 0 and 1".to_owned());
        }
        if self.steps == 0 {
            return Err("low_throughput.steps: must be at least 1".to_owned());
        }
        if !self.idle_below.is_finite() || self.idle_below < 0.0 {
            return Err("low_throughput.idle_below: must be 0 or more".to_owned());
        }
        match self.expected.iter().find(|(_, rate)| !rate.is_finite() || **rate <= 0.0) {
            Some((scope, _)) => Err(format!("low_throughput.expected.{scope}: must be more than 0")),
            None => Ok(()),
        }
    }

    pub(crate) fn judge(&self, scene: &Scene<'_>, learned: &mut Learned, cx: &Context) -> Option<Finding> {
        if !self.enabled {
            return None;
        }
        let (scope, rates) = (scene.window.scope.as_str(), scene.rate?);
        if let Some(expected) = self.given(scope) {
            let since_ms = self.slow_since(scene, rates, expected)?;
            return self.finding(scene, rates, expected, since_ms);
        }
        let now_ms = rates.last()?.at_ms;
        let level = learned.of(scope, cx);
        let taught = level.filter(|level| {
            i64::from(level.steps).saturating_mul(scene.step_ms) >= i64::from(self.learn_minutes) * 60_000
        });
        let expected = taught.map(|level| Expected { rate: level.rate, given: false });
        let judged = expected.filter(|expected| {
            let events = expected.rate * f64::from(self.steps) * scene.step_ms as f64 / 1_000.0;
            events >= f64::from(self.minimum_events)
        });
        let slow = judged.and_then(|expected| Some((expected, self.slow_since(scene, rates, expected)?)));
        let since_ms = learned.mark(scope, slow.map(|(_, since_ms)| since_ms), now_ms, cx);
        if since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= i64::from(self.relearn_hours) * 3_600_000) {
            cx.log(Level::Info, "a throughput that stayed low is the expected one now", &[("scope", scope)]);
            learned.forget(scope, now_ms, cx);
            return None;
        }
        let good = |point: &Point| {
            let fast = expected.is_none_or(|expected| point.value >= self.factor * expected.rate);
            fast && point.value > 0.0 && scene.is_running(point.at_ms) && !self.is_idle(scene, *point)
        };
        let points: Vec<Point> =
            rates.points.iter().copied().filter(|point| point.value.is_finite() && good(point)).collect();
        if points.last().is_some_and(|newest| newest.at_ms == now_ms) {
            let rates = points.iter().map(|point| point.value).collect();
            learned.learn(scope, rates, scene.step_ms, now_ms, cx);
        }
        let (expected, found_ms) = slow?;
        self.finding(scene, rates, expected, since_ms.unwrap_or(found_ms))
    }

    /// What the configuration expects of a scope: its own entry before any pattern.
    fn given(&self, scope: &str) -> Option<Expected> {
        let fitting = || self.expected.iter().find(|(pattern, _)| Glob::new(pattern.as_str()).matches(scope));
        let rate = self.expected.get(scope).or_else(|| fitting().map(|(_, rate)| rate))?;
        Some(Expected { rate: *rate, given: true })
    }

    fn slow_since(&self, scene: &Scene<'_>, rates: &Series, expected: Expected) -> Option<i64> {
        scene.window.lasting(rates, self.steps as usize, |point| {
            let low = point.value < self.factor * expected.rate;
            // A source that is quieter than usual makes no pipeline slow. Against a figure that somebody gave, it does.
            let excused = if expected.given { self.is_idle(scene, point) } else { keeps_up(scene, point) };
            low && !excused && scene.is_running(point.at_ms)
        })
    }

    /// Whether nothing was produced, and all that ever was is at the target.
    fn is_idle(&self, scene: &Scene<'_>, point: Point) -> bool {
        let produced = scene.at("produced_per_second", point.at_ms).unwrap_or(point.value);
        scene.is_caught_up(point.at_ms) && produced.max(point.value) <= self.idle_below
    }

    fn finding(&self, scene: &Scene<'_>, rates: &Series, expected: Expected, since_ms: i64) -> Option<Finding> {
        let newest = rates.last()?;
        let (at_ms, unit) = (newest.at_ms, scene.unit);
        let hop = hop(scene, at_ms);
        let mut detail = format!(
            "below {} for {}; {} {unit}/s are expected ({})",
            number(self.factor * expected.rate),
            span(scene.window.end_ms.saturating_sub(since_ms)),
            number(expected.rate),
            if expected.given { "configured" } else { "learned" },
        );
        let beside = [
            ("produced_per_second", "produced", "/s"),
            ("lag_seconds", "lag", " s"),
            ("replication_lag_seconds", "replication lag", " s"),
            ("blocked_sessions", "waiting for locks", " sessions"),
        ];
        for (name, word, unit) in beside {
            if let Some(value) = scene.at(name, at_ms) {
                detail += &format!("; {word}: {}{unit}", number(value));
            }
        }
        let finding = Finding::new(
            "low_throughput",
            "low_throughput",
            self.severity,
            format!("only {} {unit}/s, {} expected", number(newest.value), number(expected.rate)),
        )
        .detail(detail)
        .action(action(hop))
        .attribute("hop", Value::Text(hop.to_owned()))
        .attribute("rate", Value::Float(newest.value))
        .attribute("expected", Value::Float(expected.rate));
        let score = ((1.0 - newest.value / expected.rate) * 1e6).round() / 1e6;
        Some(Finding { since_ms: Some(since_ms), score: score.is_finite().then(|| score.clamp(0.0, 1.0)), ..finding })
    }
}

/// Whether the pipeline has delivered what there was: then it is as fast as its source.
fn keeps_up(scene: &Scene<'_>, point: Point) -> bool {
    let produced = scene.at("produced_per_second", point.at_ms);
    scene.has_all(point.at_ms) && produced.is_none_or(|produced| point.value >= 0.9 * produced)
}

/// Where it is slow.
fn hop<'a>(scene: &Scene<'a>, at_ms: i64) -> &'a str {
    if scene.unit == "rows" {
        return "apply";
    }
    if scene.has_all(at_ms) {
        return "capture";
    }
    scene.slowest_hop(at_ms).map_or("apply", |(hop, _)| hop)
}

fn action(hop: &str) -> &'static str {
    match hop {
        "capture" => {
            "The pipeline has delivered all that reached the broker, so less comes from the source: look at its load, and at \
             the connector (`whimbrel connectors status`)."
        }
        "broker" => "Records wait at the broker before they are read: look at its load, and at the network to it.",
        "transform" => "Plugins take the time: see which in `plugin_call_duration_seconds`.",
        _ => "Writing takes the time: look at the target's load, locks and slow statements.",
    }
}
