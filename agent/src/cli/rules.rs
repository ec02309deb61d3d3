//! `whimbrel rules backtest`: what the rules would have found in what was recorded.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, Subcommand};
use whimbrel_monitor::millis;

use super::Exit;
use super::agent_api::{moment, span};
use super::alerts::Format;
use super::dead_letters::escaped;
use super::run::sandbox;
use crate::config;
use crate::config::plugins::PluginsConfig;
use crate::config::units::Millis;
use crate::monitor::backtest::{self, Report, Span};
use crate::source::kafka::watch::now_ms;
use crate::stats::Instruments;

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run rules over recorded history and print what would have fired, when, for how long
    Backtest(BacktestArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Rules run as they are configured now, over the history in `monitor.file`, step by step, beginning without state. An agent may be
running and writing to the file; nothing is written, nobody is told.

Exit status: 0 done, 1 the history cannot be read, 2 configuration."
)]
struct BacktestArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How far back to begin
    #[arg(long, value_name = "DURATION")]
    since: Millis,
    /// How long ago to end
    #[arg(long, value_name = "DURATION")]
    until: Option<Millis>,
    /// Only the rule of this name
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When the history cannot be read or a rule cannot be used.
pub fn run(args: &RulesArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let Command::Backtest(args) = &args.command;
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            write!(err, "{report}")?;
            return Ok(Exit::Usage);
        }
    };
    let Some(monitor) = loaded.config.monitor else {
        bail!("{} has no section `monitor`, and so no history", args.config.display());
    };
    let Some(file) = monitor.file.clone() else {
        bail!("history is kept in memory only; name a `file` in the section `monitor`");
    };
    // What rules remember belongs to the agent: here they begin with nothing.
    let sandbox = sandbox(&PluginsConfig { state_file: None, ..loaded.config.plugins })?;
    let now_ms = now_ms();
    let back = |time: Millis| now_ms.saturating_sub(millis(time.0));
    let span = Span { from_ms: back(args.since), until_ms: args.until.map_or(now_ms, back) };
    if span.from_ms >= span.until_ms {
        bail!("--since must be longer ago than --until");
    }
    let instruments = Instruments::detached(Arc::new(move || now_ms));
    let report = backtest::run(&monitor, &file, args.rule.as_deref(), span, &sandbox, &instruments)?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Text => show(&report, out)?,
    }
    Ok(Exit::Ok)
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    for incident in &report.incidents {
        let lasted = match incident.until_ms {
            Some(until_ms) => format!("for {}", span(until_ms - incident.since_ms)),
            None => format!("for {}, still firing at the end", span(report.until_ms - incident.since_ms)),
        };
        writeln!(
            out,
            "{}  {:<8} {}  {}  {lasted}  ({}/{})",
            moment(incident.since_ms),
            incident.severity.as_str(),
            escaped(&incident.scope),
            escaped(&incident.title),
            escaped(&incident.rule),
            escaped(&incident.kind),
        )?;
    }
    for (rule, count) in &report.failed {
        writeln!(out, "rule {} failed {count} times; run with WHIMBREL_LOG=warn to see why", escaped(rule))?;
    }
    let (from, until) = (moment(report.from_ms), moment(report.until_ms));
    writeln!(
        out,
        "{} would have fired between {from} and {until} UTC, in {} steps that were recorded",
        report.incidents.len(),
        report.steps
    )
}
