//! `whimbrel alerts`: what is wrong by the word of a running agent, and whether a channel gets through.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use whimbrel_monitor::incident::{Alert, Severity, Status};

use super::Exit;
use super::agent_api::{AgentArgs, block_on, moment, span};
use super::dead_letters::escaped;
use super::run::sandbox;
use crate::config;
use crate::monitor::try_channel;
use crate::source::kafka::watch::now_ms;
use crate::stats::Instruments;

/// Arguments of `alerts`.
#[derive(Debug, Args)]
pub struct AlertsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List incidents of a running agent
    List(ListArgs),
    /// Have a channel deliver one alert now, to see whether it gets through
    Test(TestArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 shown, 1 no agent there or nothing is monitored, 2 usage.")]
struct ListArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Those that ended in the last day too
    #[arg(long)]
    all: bool,
    /// How they are shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The channel is loaded from the configuration file as `whimbrel run` would; no agent need run. The alert fires, and with
--resolve it is resolved right after.

Exit status: 0 taken, 1 not taken, 2 configuration."
)]
struct TestArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Channel, by its name in `monitor.channels`
    #[arg(long, value_name = "NAME")]
    channel: String,
    /// How bad the alert is
    #[arg(long, value_enum, default_value_t = HowBad::Info)]
    severity: HowBad,
    /// Resolve it right after
    #[arg(long)]
    resolve: bool,
}

/// Severities on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HowBad {
    /// Good to know
    Info,
    /// Look at it today
    Warning,
    /// Somebody must act now
    Critical,
}

impl From<HowBad> for Severity {
    fn from(how: HowBad) -> Self {
        match how {
            HowBad::Info => Self::Info,
            HowBad::Warning => Self::Warning,
            HowBad::Critical => Self::Critical,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When no agent answers, or the channel does not take the alert.
pub fn run(args: &AlertsArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list(args, out),
        Command::Test(args) => test(args, out, err),
    }
}

#[expect(clippy::indexing_slicing, reason = "JSON gives null for what is not there")]
fn list(args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut answer = block_on(args.agent.get(&["incidents"]))?;
    let now_ms = answer["now_ms"].as_i64().unwrap_or_default();
    if let Some(incidents) = answer.get_mut("incidents").and_then(Value::as_array_mut) {
        incidents.retain(|incident| args.all || incident["status"] == "firing");
    }
    if args.format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let incidents = answer["incidents"].as_array().cloned().unwrap_or_default();
    if incidents.is_empty() {
        let evaluated = answer["evaluated_at_ms"].as_i64();
        let when = evaluated.map_or_else(
            || "rules have not been asked yet".to_owned(),
            |at_ms| format!("rules were asked {} ago", span(now_ms - at_ms)),
        );
        writeln!(out, "nothing fires; {when}")?;
    }
    for incident in &incidents {
        show(incident, now_ms, out)?;
    }
    Ok(Exit::Ok)
}

fn show(incident: &Value, now_ms: i64, out: &mut dyn Write) -> std::io::Result<()> {
    let text = |field: &str| escaped(incident[field].as_str().unwrap_or_default());
    let since_ms = incident["since_ms"].as_i64().unwrap_or_default();
    let how_long = match incident["until_ms"].as_i64() {
        Some(until_ms) => format!("resolved {}, lasted {}", moment(until_ms), span(until_ms - since_ms)),
        None => format!("since {} ({})", moment(since_ms), span(now_ms - since_ms)),
    };
    writeln!(out, "{:<8} {}  {}  {how_long}", text("severity"), text("scope"), text("title"))?;
    for (field, name) in
        [("detail", "detail"), ("action", "to do"), ("silenced_by", "silence"), ("inhibited_by", "explained by")]
    {
        let said = text(field);
        if !said.is_empty() {
            writeln!(out, "         {name}: {said}")?;
        }
    }
    writeln!(out, "         {} ({}/{})", text("id"), text("rule"), text("kind"))
}

fn test(args: &TestArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            write!(err, "{report}")?;
            return Ok(Exit::Usage);
        }
    };
    let Some(monitor) = loaded.config.monitor else {
        bail!("{} has no section `monitor`, and so no channels", args.config.display());
    };
    let sandbox = sandbox(&loaded.config.plugins)?;
    let instruments = Instruments::detached(std::sync::Arc::new(now_ms));
    let alert = sample(&args.channel, args.severity.into());
    try_channel(&monitor, &args.channel, std::slice::from_ref(&alert), &sandbox, &instruments)?;
    writeln!(out, "channel {} took a test alert ({})", args.channel, alert.severity.as_str())?;
    if args.resolve {
        let resolved = Alert { status: Status::Resolved, until_ms: Some(now_ms()), ..alert };
        try_channel(&monitor, &args.channel, &[resolved], &sandbox, &instruments)?;
        writeln!(out, "and its end")?;
    }
    Ok(Exit::Ok)
}

fn sample(channel: &str, severity: Severity) -> Alert {
    let now_ms = now_ms();
    Alert {
        id: format!("test-{now_ms:x}"),
        status: Status::Firing,
        severity,
        rule: "whimbrel".to_owned(),
        kind: "test".to_owned(),
        title: "test alert: nothing is wrong".to_owned(),
        detail: format!("asked for by `whimbrel alerts test --channel {channel}`"),
        action: "none; somebody is looking whether alerts arrive here".to_owned(),
        scope: "agent".to_owned(),
        since_ms: now_ms,
        until_ms: None,
        count: 1,
        url: None,
        attributes: Vec::new(),
    }
}
