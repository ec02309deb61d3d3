//! `whimbrel silence`: tells a running agent what people know already.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use whimbrel_monitor::incident::Severity;
use whimbrel_monitor::millis;

use super::Exit;
use super::agent_api::{AgentArgs, block_on, moment};
use super::alerts::{Format, HowBad};
use super::dead_letters::escaped;
use crate::config::units::Millis;
use crate::monitor::{NewPhase, NewSilence};

/// Arguments of `silence`.
#[derive(Debug, Args)]
pub struct SilenceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Silence incidents, or announce a phase that explains them
    Add(AddArgs),
    /// List silences and announced phases
    List(ListArgs),
    /// End a silence, or a phase, before its time
    Expire(ExpireArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel silence add --scope pipeline/shop --kind 'lag*' --for 2h --comment 'broker upgrade'
  whimbrel silence add --phase cut-over --scope 'pipeline/*' --for 30m

A silence, like a phase, ends by itself. Incidents go on and are shown; people are not told, and are told when it ends and they
still fire.

Exit status: 0 added, 1 no agent there or it refuses, 2 usage.")]
struct AddArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Scope such as pipeline/shop; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    scope: Vec<String>,
    /// Name of a rule; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    rule: Vec<String>,
    /// Kind of trouble; `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    kind: Vec<String>,
    /// Severity
    #[arg(long, value_enum)]
    severity: Vec<HowBad>,
    /// For how long, at most 30d
    #[arg(long = "for", value_name = "DURATION")]
    time: Millis,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// Who asks [default: the variable USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Announce a phase of this name: it explains trouble of one scope, of the kinds given or of all
    #[arg(long, value_name = "NAME", conflicts_with_all = ["rule", "severity"], requires = "scope")]
    phase: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 shown, 1 no agent there or nothing is monitored, 2 usage.")]
struct ListArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// How they are shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 ended, 1 no agent there or no such silence, 2 usage.")]
struct ExpireArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Id of a silence, or name of a phase
    #[arg(value_name = "ID")]
    id: String,
}

/// Runs the command.
///
/// # Errors
/// When no agent answers, or it refuses.
pub fn run(args: &SilenceArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Add(args) => add(args, out),
        Command::List(args) => list(args, out),
        Command::Expire(args) => {
            block_on(args.agent.post(&["silences", &args.id, "expire"], &json!({})))?;
            writeln!(out, "{} has ended", escaped(&args.id))?;
            Ok(Exit::Ok)
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "JSON gives null for what is not there")]
fn add(args: &AddArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let for_ms = millis(args.time.0);
    if let Some(name) = &args.phase {
        for scope in &args.scope {
            let phase = NewPhase { name: name.clone(), scope: scope.clone(), explains: args.kind.clone(), for_ms };
            let answer = block_on(args.agent.post(&["phases"], &json!(phase)))?;
            let until = moment(answer["phase"]["ends_ms"].as_i64().unwrap_or_default());
            writeln!(out, "phase {} of {} until {until} UTC", escaped(name), escaped(scope))?;
        }
        return Ok(Exit::Ok);
    }
    let by = args.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let silence = NewSilence {
        scope: args.scope.clone(),
        rule: args.rule.clone(),
        kind: args.kind.clone(),
        severity: args.severity.iter().map(|how| Severity::from(*how)).collect(),
        for_ms,
        by,
        comment: args.comment.clone(),
    };
    let answer = block_on(args.agent.post(&["silences"], &json!(silence)))?;
    let silence = &answer["silence"];
    let until = moment(silence["ends_ms"].as_i64().unwrap_or_default());
    writeln!(out, "silence {} until {until} UTC", escaped(silence["id"].as_str().unwrap_or_default()))?;
    Ok(Exit::Ok)
}

#[expect(clippy::indexing_slicing, reason = "JSON gives null for what is not there")]
fn list(args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let answer = block_on(args.agent.get(&["silences"]))?;
    if args.format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(Exit::Ok);
    }
    let all = |list: &str| answer[list].as_array().cloned().unwrap_or_default();
    let (silences, phases) = (all("silences"), all("phases"));
    if silences.is_empty() && phases.is_empty() {
        writeln!(out, "nothing is silenced")?;
    }
    for silence in &silences {
        let text = |field: &str| escaped(silence[field].as_str().unwrap_or_default());
        let until = moment(silence["ends_ms"].as_i64().unwrap_or_default());
        let state = if silence["active"] == true { "until" } else { "ended" };
        writeln!(out, "silence {}  {state} {until}  by {}: {}", text("id"), text("by"), text("comment"))?;
        for field in ["scope", "rule", "kind", "severity"] {
            let said = joined(&silence[field]);
            if !said.is_empty() {
                writeln!(out, "    {field}: {said}")?;
            }
        }
    }
    for phase in &phases {
        let text = |field: &str| escaped(phase[field].as_str().unwrap_or_default());
        let until = moment(phase["ends_ms"].as_i64().unwrap_or_default());
        let explains = joined(&phase["explains"]);
        let explains = if explains.is_empty() { "everything".to_owned() } else { explains };
        writeln!(out, "phase {}  until {until}  explains {explains} of {}", text("name"), text("scope"))?;
    }
    Ok(Exit::Ok)
}

fn joined(list: &Value) -> String {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    escaped(&texts.collect::<Vec<_>>().join(", "))
}
