//! The whole agent beside ceilings measured in the same run, over a pre-filled topic of 0.9 kB envelopes.
//!
//! `./x bench pipeline [PART...] [--events N] [--rounds N]` brings the servers up; by hand, KAFKA_PORT, MONGO_PORT,
//! PG_PORT, PG_USER and PG_PASSWORD name them. Parts: `stdout`, `mongodb`, `postgres`, `footprint`; `peers` alone when
//! asked for. Rates are ratios: what else the machine does hits both sides, since they take turns. CPU time is that of
//! the agent's process, from the kernel. A figure is the median of its rounds.

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
const PARTS: [&str; 4] = ["stdout", "mongodb", "postgres", "footprint"];

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
    let (mut events, mut rounds, mut parts) = (200_000, 3, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--events" => events = value()?.parse()?,
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
    ensure!(events > 0 && events % 1000 == 0 && rounds > 0, "events come in batches of 1,000, rounds at least once");
    whimbrel::runtime::tls::install();
    let topic = format!("bench-{}.public.orders", std::process::id());
    let setup = Setup { topic, events, rounds, directory: tempfile::tempdir()? };
    let size = topic::fill(&setup.topic, events).await?;
    println!("{events} envelopes of {size:.0} B, batches of 1,000, {rounds} rounds");
    let done = run(&setup, &parts).await;
    topic::delete(&setup.topic).await?;
    done
}

async fn run(setup: &Setup, parts: &[&str]) -> Result<()> {
    let mut figures = Figures::default();
    for part in parts {
        println!("\n## {part}");
        match *part {
            "stdout" => stdout::measure(setup, &mut figures).await?,
            "mongodb" => mongodb::measure(setup, &mut figures).await?,
            "postgres" => postgres::measure(setup, &mut figures).await?,
            "footprint" => footprint::measure(setup, &mut figures).await?,
            _ => peers::measure(setup, &mut figures).await?,
        }
        figures.print();
    }
    Ok(())
}
