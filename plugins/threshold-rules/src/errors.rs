//! Too large a share of events or rows fails.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::{number, span};

use crate::scene::Scene;

/// When too much fails.
#[derive(Config, Debug)]
pub struct HighErrorRate {
    /// Whether it is looked at.
    #[config(default = true)]
    enabled: bool,
    /// The share of failures that may be: 0.01 is one in a hundred.
    #[config(default = 0.01)]
    ratio: f64,
    /// How many steps in a row must be above it.
    #[config(default = 2)]
    steps: u32,
    /// With fewer events or rows than this in those steps, a share says nothing.
    #[config(default = 20)]
    minimum_events: u32,
    /// How bad it is: `critical` where nothing is said.
    #[config(default = Severity::Critical)]
    severity: Severity,
}

impl Default for HighErrorRate {
    fn default() -> Self {
        HighErrorRate { enabled: true, ratio: 0.01, steps: 2, minimum_events: 20, severity: Severity::Critical }
    }
}

impl HighErrorRate {
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.ratio, self.steps) {
            (ratio, _) if !(0.0..1.0).contains(&ratio) => {
                Err("high_error_rate.ratio: must be from 0 to less than 1".to_owned())
            }
            (_, 0) => Err("high_error_rate.steps: must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    pub(crate) fn judge(&self, scene: &Scene<'_>) -> Option<Finding> {
        if !self.enabled {
            return None;
        }
        let ratios = scene.named("error_ratio")?;
        let since_ms = scene.window.lasting(ratios, self.steps as usize, |point| point.value > self.ratio)?;
        let judged: Vec<Point> = scene.window.newest(ratios).take(self.steps as usize).collect();
        let newest = judged.first()?;
        if self.handled(scene, &judged).is_some_and(|handled| handled < f64::from(self.minimum_events)) {
            return None;
        }
        let mean = judged.iter().map(|point| point.value).sum::<f64>() / judged.len() as f64;
        // Without the digits that mean nothing.
        let mean = (mean * 1e6).round() / 1e6;
        let (pipeline, unit) = (scene.unit == "events", scene.unit);
        let failing = scene.at("errors_per_second", newest.at_ms);
        let stored = scene.at("dead_letters_stored", newest.at_ms);
        let mut detail = format!(
            "more than {} % for {}",
            number(self.ratio * 100.0),
            span(scene.window.end_ms.saturating_sub(since_ms)),
        );
        if let Some(failing) = failing {
            detail += &format!("; {} errors/s", number(failing));
        }
        if let Some(stored) = stored {
            detail += &format!("; {} dead letters in all", number(stored));
        }
        let action = if pipeline {
            "See why they fail: `whimbrel dead-letters list` and `show` give reason and place of each. After the cause is \
             mended, `whimbrel dead-letters redrive` sends them through again."
        } else {
            "See which error it is in `migration_errors_total` and the log; what is applied stays, and the migration can be \
             resumed after the cause is mended."
        };
        let finding = Finding::new(
            "high_error_rate",
            "high_error_rate",
            self.severity,
            format!("{} % of {unit} fail", number(mean * 100.0)),
        )
        .detail(detail)
        .action(action)
        .attribute("hop", Value::Text("apply".to_owned()))
        .attribute("error_ratio", Value::Float(mean));
        Some(Finding { since_ms: Some(since_ms), score: Some(mean.clamp(0.0, 1.0)), ..finding })
    }

    /// How many events or rows the judged steps had, failures included; `None` where no rate is known.
    fn handled(&self, scene: &Scene<'_>, judged: &[Point]) -> Option<f64> {
        let rate = scene.rate?;
        let seconds = scene.step_ms as f64 / 1_000.0;
        let step = |point: &Point| {
            let good = rate.at(point.at_ms, scene.step_ms / 2).filter(|rate| rate.is_finite())?;
            let bad = scene.at("errors_per_second", point.at_ms).unwrap_or_default();
            Some((good + bad).max(0.0) * seconds)
        };
        judged.iter().map(step).sum()
    }
}
