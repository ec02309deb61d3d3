//! `whimbrel plugin promote`: shows how a plugin's shadow compares, then asks the running agent to put it to work. The agent
//! decides: it checks the conditions again on its own numbers.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::asked::{AskedArgs, client};
use crate::cli::Exit;
use crate::cli::agent_api::{block_on, refusal};
use crate::cli::dead_letters::escaped;
use crate::export::control::HEADER;
use crate::stats::{Compared, Conditions, Difference};

/// Arguments of `plugin promote`.
#[derive(Debug, Args)]
#[command(
    after_help = "The configuration file stays as it is, and the answer says what to write into it: without that a restart
brings the old version back.

Exit status: 0 promoted, 1 not promoted or no agent there, 2 usage."
)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    asked: AskedArgs,
    /// Refuse when fewer events were compared
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_events: u64,
    /// Refuse when more events differ or end in an error [default: any number may differ, none may end in an error]
    #[arg(long, value_name = "N")]
    max_differs: Option<u64>,
    /// Only show how it compares
    #[arg(long)]
    dry_run: bool,
}

/// As much of a plugin's status as is shown.
#[derive(Debug, Deserialize)]
struct Place {
    pipeline: String,
    plugin: String,
    version: String,
    digest: String,
    shadow: Option<Shadow>,
}

#[derive(Debug, Deserialize)]
struct Shadow {
    source: String,
    version: String,
    digest: String,
    events: Compared,
    parts: serde_json::Map<String, Value>,
    examples: Vec<Difference>,
    why: Option<String>,
}

/// What is asked for, and what may come back.
#[derive(Debug, Deserialize)]
struct Promoted {
    at_work: bool,
    then: String,
}

pub(super) fn run(args: &PromoteArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    block_on(promote(args, out))
}

async fn promote(args: &PromoteArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (client, asked) = (client()?, &args.asked);
    let unreachable = || asked.unreachable();
    let answer = client.get(asked.plugins()?).send().await.and_then(reqwest::Response::error_for_status);
    let places: Vec<Place> = answer.with_context(unreachable)?.json().await.with_context(unreachable)?;
    let Some(place) = places.iter().find(|place| place.pipeline == asked.pipeline && place.plugin == asked.plugin)
    else {
        let known: Vec<String> = places.iter().map(|place| format!("{}/{}", place.pipeline, place.plugin)).collect();
        bail!("there is no plugin `{}/{}`; there are: {}", asked.pipeline, asked.plugin, known.join(", "));
    };
    let Some(shadow) = &place.shadow else {
        bail!("nothing runs in the shadow of this plugin; write `shadow` into its entry of the configuration");
    };
    show(place, shadow, out)?;
    if args.dry_run {
        return Ok(Exit::Ok);
    }
    let wanted = Conditions { min_events: args.min_events, max_differs: args.max_differs };
    let answer =
        client.post(asked.page("promote")?).header(HEADER, "1").json(&wanted).send().await.with_context(unreachable)?;
    if !answer.status().is_success() {
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        bail!("not promoted: {}", refusal(status, &body));
    }
    let promoted: Promoted = answer.json().await.context("the agent's answer cannot be read")?;
    let state = if promoted.at_work { "at work" } else { "taken after the batch in hand" };
    writeln!(out, "promoted: version {} is {state}", escaped(&shadow.version))?;
    writeln!(out, "{}", escaped(&promoted.then))?;
    Ok(Exit::Ok)
}

fn show(place: &Place, shadow: &Shadow, out: &mut dyn Write) -> std::io::Result<()> {
    let short = |digest: &str| escaped(&digest.chars().take(12).collect::<String>());
    writeln!(out, "at work    version {} ({})", escaped(&place.version), short(&place.digest))?;
    let (version, source) = (escaped(&shadow.version), escaped(&shadow.source));
    writeln!(out, "in shadow  version {version} ({}) from {source}", short(&shadow.digest))?;
    if let Some(why) = &shadow.why {
        writeln!(out, "           what is in its file now does not run: {}", escaped(why))?;
    }
    let Compared { same, differs, error, skipped } = shadow.events;
    writeln!(out, "compared   {same} same, {differs} differ, {error} errors; {skipped} skipped because it was busy")?;
    for (part, count) in &shadow.parts {
        writeln!(out, "differs    {} in {count} events", escaped(part))?;
    }
    for example in &shadow.examples {
        let Difference { topic, partition, offset, parts } = example;
        writeln!(out, "example    {}[{partition}]@{offset}: {}", escaped(topic), escaped(&parts.join(", ")))?;
    }
    Ok(())
}
