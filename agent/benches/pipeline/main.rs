//! The whole agent beside ceilings measured in the same run, over pre-filled topics of 0.9 kB envelopes.
//!
//! `./x bench pipeline [PART...] [--events N] [--rounds N]` brings the servers up; by hand, KAFKA_PORT, MONGO_PORT,
//! PG_PORT, PG_USER and PG_PASSWORD name them. Parts: `stdout`, `mongodb`, `postgres`, `monitor`, `footprint`; `peers` alone when
//! asked for. Rates are ratios: what else the machine does hits both sides, since they take turns. CPU time is that of
//! the agent's process, from the kernel. Both count from the first events that are durable on, so that joining the group
//! and the first fetch cost nothing; `footprint` measures those. A figure is the median of its rounds.

#![expect(clippy::indexing_slicing, reason = "a bench: the JSON is its own, and a wrong turn may stop it")]

mod agent;
#[path = "../ceiling/mongodb.rs"]
mod ceiling_mongodb;
#[path = "../ceiling/postgres.rs"]
mod ceiling_postgres;
#[path = "../shop/envelope.rs"]
mod envelope;
mod figures;
mod footprint;
mod mongodb;
mod monitor;
mod peers;
mod postgres;
mod process;
mod stdout;
mod topic;
mod transform;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use figures::Figures;

/// Parts run when none is named.
const PARTS: [&str; 5] = ["stdout", "mongodb", "postgres", "monitor", "footprint"];

/// Events a round, so that one run lasts five seconds or more where a database is written: checkpoints, flushes and the
/// growth of indexes are then part of it, for the agent and for its ceiling.
fn enough(part: &str) -> u64 {
    match part {
        "postgres" => 800_000,
        "mongodb" | "peers" => 250_000,
        "stdout" => 1_000_000,
        // Two seconds pass before the first step is judged.
        "monitor" => 2_000_000,
        // Makes a topic of its own.
        _ => 0,
    }
}

/// What all parts work with.
pub(crate) struct Setup {
    /// The pre-filled topic.
    pub(crate) topic: String,
    /// Records in it.
    pub(crate) events: u64,
    /// How often each figure is taken.
    pub(crate) rounds: u32,
    directory: tempfile::TempDir,
}

impl Setup {
    /// For configurations and the plugin cache.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A name of this run alone: groups and pipelines keep offsets.
    pub(crate) fn name(&self, role: &str) -> String {
        format!("bench-{}-{role}", std::process::id())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut events, mut rounds, mut parts) = (None, 3, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--events" => events = Some(value()?.parse()?),
            "--rounds" => rounds = value()?.parse()?,
            "--bench" => {} // cargo says so
            "peers" => parts.push("peers"),
            other => match PARTS.iter().find(|part| **part == other) {
                Some(part) => parts.push(part),
                None => bail!("no part `{other}`; there are: {} peers", PARTS.join(" ")),
            },
        }
    }
    if parts.is_empty() {
        parts.extend(PARTS);
    }
    let whole = |events: u64| events > 0 && events.is_multiple_of(1000);
    ensure!(events.is_none_or(whole) && rounds > 0, "events come in batches of 1,000, rounds at least once");
    whimbrel::runtime::tls::install();
    for part in parts {
        println!("\n## {part}");
        let topic = format!("bench-{}-{part}.public.orders", std::process::id());
        let events = events.unwrap_or(enough(part));
        let setup = Setup { topic, events, rounds, directory: tempfile::tempdir()? };
        if part == "footprint" {
            run(&setup, part).await?;
            continue;
        }
        let size = topic::fill(&setup.topic, events).await?;
        println!("{events} envelopes of {size:.0} B, batches of 1,000, {rounds} rounds");
        let done = run(&setup, part).await;
        topic::delete(&setup.topic).await?;
        done?;
    }
    Ok(())
}

async fn run(setup: &Setup, part: &str) -> Result<()> {
    let mut figures = Figures::default();
    match part {
        "stdout" => stdout::measure(setup, &mut figures).await?,
        "mongodb" => mongodb::measure(setup, &mut figures).await?,
        "postgres" => postgres::measure(setup, &mut figures).await?,
        "monitor" => monitor::measure(setup, &mut figures).await?,
        "footprint" => footprint::measure(setup, &mut figures).await?,
        _ => peers::measure(setup, &mut figures).await?,
    }
    figures.print();
    Ok(())
}
