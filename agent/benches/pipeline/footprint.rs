//! Memory without work, start-up, and loading a plugin from the cache.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use whimbrel::plugin::{self, Cache, Engine, Origin, Plugin, Transform, bundled};
use whimbrel::transform::View;

use super::agent::{Agent, config};
use super::figures::Figures;
use super::figures::Target::{AtMost, Shown};
use super::{Setup, mongodb, process, topic, transform};

/// Long enough for everything that begins by itself to have begun.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let few = setup.name("few");
    topic::fill(&few, 10).await?;
    for round in 0..setup.rounds {
        let target = mongodb::pipeline(&format!("few_{round}"), "exactly_once", &transform::two_columns());
        let config = config(setup.directory(), &few, &setup.name(&format!("few-{round}")), target);
        let mut agent = Agent::start(setup.directory(), &config)?;
        let running = agent.logged("agent is running")?.0 - agent.started;
        let assigned = agent.logged("partitions assigned")?.0;
        agent.reach(10, Duration::from_millis(2)).await?;
        let first = assigned.elapsed();
        tokio::time::sleep(SETTLE).await;
        figures.add("idle memory, RSS, one plugin", "MiB", AtMost(40.0), process::mebibytes(agent.pid(), "VmRSS")?);
        figures.add("process start to running", "ms", Shown, running.as_secs_f64() * 1e3);
        figures.add("partitions assigned to first events durable", "ms", Shown, first.as_secs_f64() * 1e3);
        figures.add(
            "start to first applied event, group join excluded",
            "ms",
            AtMost(500.0),
            (running + first).as_secs_f64() * 1e3,
        );
        agent.stop()?;
        figures.add("plugin load from the cache", "ms", AtMost(5.0), load(setup.directory())?.as_secs_f64() * 1e3);
    }
    topic::delete(&few).await
}

/// The agent has put it into the cache before.
fn load(directory: &Path) -> Result<Duration> {
    let bytes = bundled::find("mask-fields").context("the plugin is not bundled")?;
    let section = transform::two_columns();
    let engine = Engine::new()?;
    let cache = Cache::at(directory.join("plugins"));
    let begun = Instant::now();
    let setup = plugin::Setup::new("mask-fields", &section[0]["config"].to_string());
    let plugin: Plugin<Transform<View>> = Plugin::load(&engine, &cache, bytes, setup)?;
    let took = begun.elapsed();
    ensure!(plugin.origin() == Origin::Cached, "the plugin was not in the cache");
    Ok(took)
}
