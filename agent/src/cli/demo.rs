//! `whimbrel demo`.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use super::run::{sandbox, start};
use crate::config::units::Millis;
use crate::demo::{self, Options};
use crate::runtime::tls;

/// Arguments of `whimbrel demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything runs in this process and on loopback: an in-process Kafka broker, a shop that writes what a
Debezium connector would write (snapshot, inserts, updates, deletes, key changes, heartbeats, bursts, stalls, and records
that no agent can use), a WebAssembly plugin that masks e-mail addresses, and a SQLite file.

At the end the shop's own books are held against the database: every change applied exactly once, every row value by
value, the dead letters exactly the poison records, and no unmasked address anywhere in the file.

Examples:
  whimbrel demo
  whimbrel demo --duration 30s --no-tui --seed 7
  whimbrel demo --keep /tmp/shop && sqlite3 /tmp/shop/shop.db 'select * from customers limit 5'

Exit status: 0 proven, 1 not proven or an error, 2 usage."
)]
pub struct DemoArgs {
    /// End after this time, such as 30s; otherwise at Ctrl-C
    #[arg(long, value_name = "TIME")]
    duration: Option<Millis>,
    /// Records a second when the shop is steady; bursts are four times as fast
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Makes the shop: the same number gives the same changes
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Keep the database, the configuration and the log in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print lines even on a terminal
    #[arg(long)]
    no_tui: bool,
}

/// Runs the demo.
///
/// # Errors
/// When a part of it could not be started.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    let options = Options {
        duration: args.duration.map(|time| time.0),
        rate: f64::from(args.rate),
        seed: args.seed,
        keep: args.keep.clone(),
        full_screen: !args.no_tui && std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
    };
    tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    let start = Arc::new(|config: &crate::config::AgentConfig, telemetry: &crate::runtime::telemetry::Telemetry| {
        let pipeline = config.pipelines.first().context("the demo's configuration has no pipeline")?;
        Ok(start(pipeline, &sandbox(&config.plugins)?, &telemetry.instruments, &telemetry.traces, None)?)
    });
    let mut out = std::io::stdout();
    let summary = runtime.block_on(demo::run(options, start, &mut out))?;
    writeln!(out, "{}", summary.text)?;
    Ok(if summary.proven { Exit::Ok } else { Exit::Runtime })
}
