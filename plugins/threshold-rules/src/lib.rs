//! Two limits: how slow a pipeline or migration may be against what is expected of it, and how much of it may fail. What
//! keeps up with a quiet source is not slow. Lag and anomalies are for other rules.

mod errors;
mod learned;
mod scene;
mod throughput;

use whimbrel_plugin::prelude::*;

pub use errors::HighErrorRate;
pub use throughput::LowThroughput;

use crate::learned::Learned;
use crate::scene::Scene;

/// Warns of low throughput and of high error rates.
#[derive(Config)]
pub struct ThresholdRules {
    /// Fewer events or rows per second than expected.
    #[config(default)]
    low_throughput: LowThroughput,
    /// More errors than may be.
    #[config(default)]
    high_error_rate: HighErrorRate,
    #[config(skip)]
    learned: Learned,
}

#[rule]
impl Rule for ThresholdRules {
    fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
        let checked = self.low_throughput.check().and_then(|()| self.high_error_rate.check());
        checked.map_err(|reason| Failure::new("config", reason))
    }

    fn evaluate(&mut self, window: &Window, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let scene = Scene::of(window);
        let slow = self.low_throughput.judge(&scene, &mut self.learned, cx);
        let failing = self.high_error_rate.judge(&scene);
        Ok(slow.into_iter().chain(failing).collect())
    }
}

#[cfg(test)]
mod tests;
