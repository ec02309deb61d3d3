//! `whimbrel doctor`: what is wrong around the agent, and what to do about it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use super::agent_api::block_on;
use super::alerts::Format;
use super::dead_letters::escaped;
use super::run::sandbox;
use crate::config;
use crate::doctor::{Finding, State, examine};

/// The status when something does not work.
const UNWELL: u8 = 1;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Looks at brokers and topics, Kafka Connect and its tasks, databases, replication slots, migrations, the collector, plugins,
files, ports and clocks. Writes nothing; an agent may be running.

Exit status: 0 all works (warnings are allowed), 1 something does not, 2 configuration."
)]
pub struct DoctorArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When it cannot be begun.
pub fn run(args: &DoctorArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            write!(err, "{report}")?;
            return Ok(Exit::Usage);
        }
    };
    if !loaded.report.findings().is_empty() {
        write!(err, "{}", loaded.report)?;
    }
    let sandbox = sandbox(&config::plugins::PluginsConfig { state_file: None, ..loaded.config.plugins.clone() })?;
    let findings = block_on(async { Ok(examine(&loaded.config, sandbox).await) })?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?,
        Format::Text => show(&findings, out)?,
    }
    let is_bad = findings.iter().any(|finding| finding.state == State::Bad);
    Ok(if is_bad { Exit::Status(UNWELL) } else { Exit::Ok })
}

fn show(findings: &[Finding], out: &mut dyn Write) -> std::io::Result<()> {
    for finding in findings {
        let mark = match finding.state {
            State::Good => "ok  ",
            State::Warning => "warn",
            State::Bad => "BAD ",
        };
        writeln!(out, "{mark}  {}: {}", escaped(&finding.what), escaped(&finding.said))?;
        if !finding.remedy.is_empty() {
            writeln!(out, "        {}", escaped(&finding.remedy))?;
        }
    }
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    writeln!(out, "{} looked at: {} bad, {} warnings", findings.len(), count(State::Bad), count(State::Warning))
}
