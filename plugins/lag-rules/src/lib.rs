//! Judges how far a pipeline is behind: each partition by what its consumer does (no threshold needed), the whole by lag in
//! time, and all of it by how long the source and the broker still keep what was not read. Remembers nothing: the
//! look-back of each window is all it needs, so a restart changes nothing.

mod consumers;
mod group;
mod lag;
mod loss;
mod partition;
mod scene;

use whimbrel_plugin::prelude::*;

pub use consumers::Consumers;
pub use lag::Lag;
pub use loss::DataLoss;

use crate::scene::Scene;

/// Judges lag: by consumers, by time, and by what it may cost.
#[derive(Config)]
pub struct LagRules {
    /// Consumers that stop, stall, go back or fall behind.
    #[config(default)]
    consumers: Consumers,
    /// Limits of lag in time.
    #[config(default)]
    lag: Lag,
    /// Time until data is lost.
    #[config(default)]
    data_loss: DataLoss,
}

#[rule]
impl Rule for LagRules {
    fn start(&mut self, _cx: &Context) -> Result<(), Failure> {
        let checked = self.consumers.check().and_then(|()| self.lag.check()).and_then(|()| self.data_loss.check());
        checked.map_err(|reason| Failure::new("config", reason))
    }

    fn evaluate(&mut self, window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        let scene = Scene::of(window);
        let mut findings = self.consumers.judge(&scene);
        // The state says of the whole what the partitions may have said already, with names.
        let known = findings.iter().any(|finding| finding.kind == "stall" || finding.kind == "stop");
        let lag = self.lag.judge(&scene).into_iter().filter(|finding| !(known && finding.key == "stalled"));
        findings.extend(lag.chain(self.data_loss.judge(&scene)));
        Ok(findings)
    }
}

#[cfg(test)]
mod tests;
