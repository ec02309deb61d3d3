//! `whimbrel dead-letters list|show|redrive`.
//!
//! Reads the store of a pipeline's target through the target's own contract; changes nothing but by re-driving, which is the
//! pipeline's work. Record contents are shown only when asked for; those that are in a Kafka topic are read from there.

mod payload;
mod shown;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use self::payload::Unreadable;
pub(super) use self::shown::escaped;
use self::shown::{Payload, facts, list, show, told, write_json};
use super::Exit;
use crate::config::{self, PipelineConfig};
use crate::pipeline::redrive::{self, Redriven};
use crate::runtime::tls;
use crate::source::kafka::watch::now_ms;
use crate::stats::Instruments;
use crate::target::{DeadLetterFilter, StoredDeadLetter};
use crate::transform;

/// Arguments of `whimbrel dead-letters`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel dead-letters list --config whimbrel.yaml --pipeline shop --reason bad_value
  whimbrel dead-letters show --config whimbrel.yaml --topic shop.public.orders --partition 0 --offset 4711 --payload
  whimbrel dead-letters redrive --config whimbrel.yaml --pipeline shop --key '{\"id\":7}'

Re-driving takes a key whole: records parked behind the ones that are asked for go with them, in order.

Exit status: 0 ok, 1 runtime error, records that failed again or cannot be read, 2 usage or configuration.")]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List dead letters: where they were read, why they are here
    List {
        #[command(flatten)]
        which: Which,
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show dead letters with all that is known of them; a record that is in a Kafka topic is read from there
    Show {
        #[command(flatten)]
        which: Which,
        /// Also key, headers and value of the record; they may hold personal data
        #[arg(long)]
        payload: bool,
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Apply dead letters again, all of a key together and in order; what works is no dead letter any more
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Form of the output
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
struct Which {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Pipeline; may be left out when the configuration has only one
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only those read from this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only those read from this partition
    #[arg(long)]
    partition: Option<i32>,
    /// Only the one read at this offset
    #[arg(long)]
    offset: Option<i64>,
    /// Only those with this reason, such as malformed or bad_value
    #[arg(long, value_parser = reason)]
    reason: Option<String>,
    /// Only those with this Kafka key, as it was received
    #[arg(long)]
    key: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

fn reason(text: &str) -> Result<String, String> {
    let known = || crate::event::Reason::ALL.map(crate::event::Reason::as_str);
    match known().contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("known are {}", known().join(", "))),
    }
}

impl Which {
    fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            reason: self.reason.clone(),
            key: self.key.clone().map(String::into_bytes),
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
        }
    }

    /// The pipeline meant, or the sentence that says why there is none.
    fn pick(&self, pipelines: Vec<PipelineConfig>) -> Result<PipelineConfig, String> {
        let names = pipelines.iter().map(|pipeline| pipeline.settings.name.to_string()).collect::<Vec<_>>().join(", ");
        match &self.pipeline {
            Some(name) => pipelines
                .into_iter()
                .find(|pipeline| *pipeline.settings.name == **name)
                .ok_or_else(|| format!("no pipeline is called `{name}`; there are: {names}")),
            None => match <[PipelineConfig; 1]>::try_from(pipelines) {
                Ok([only]) => Ok(only),
                Err(_) => Err(format!("which pipeline? say --pipeline with one of: {names}")),
            },
        }
    }
}

/// Runs `whimbrel dead-letters`.
///
/// # Errors
/// When the target cannot be read, or the output not be written.
pub fn run(args: &DeadLettersArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let (Verb::List { which, .. } | Verb::Show { which, .. } | Verb::Redrive { which, .. }) = &args.verb;
    let loaded = match config::load(&which.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            writeln!(err, "{report}")?;
            return Ok(Exit::Usage);
        }
    };
    let config = match which.pick(loaded.config.pipelines.clone()) {
        Ok(config) => config,
        Err(why) => {
            writeln!(err, "whimbrel: {why}")?;
            return Ok(Exit::Usage);
        }
    };
    tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &args.verb {
        Verb::List { format, .. } => {
            let letters = runtime.block_on(read(&config, &which.filter()))?;
            match format {
                Format::Text => list(out, &letters)?,
                Format::Json => {
                    write_json(out, letters.iter().map(|letter| facts(letter, Payload::Hidden)).collect())?;
                }
            }
            Ok(Exit::Ok)
        }
        Verb::Show { payload, format, .. } => {
            let mut letters = runtime.block_on(read(&config, &which.filter()))?;
            let unreadable = if *payload { payload::fetch(&config.settings.kafka, &mut letters) } else { Vec::new() };
            let shown = |at: usize| match unreadable.iter().find(|one| one.letter == at) {
                _ if !payload => Payload::Hidden,
                None => Payload::Shown,
                Some(Unreadable { why, .. }) => Payload::Unreadable(why),
            };
            let mut all = letters.iter().enumerate();
            match format {
                Format::Text => all.try_for_each(|(at, letter)| show(out, letter, shown(at)))?,
                Format::Json => write_json(out, all.map(|(at, letter)| facts(letter, shown(at))).collect())?,
            }
            Ok(if unreadable.is_empty() { Exit::Ok } else { Exit::Runtime })
        }
        Verb::Redrive { format, .. } => {
            let done = again(&config, &loaded.config.plugins, &which.filter(), &runtime)?;
            match format {
                Format::Text => told(out, &done)?,
                Format::Json => {
                    serde_json::to_writer_pretty(&mut *out, &done)?;
                    writeln!(out)?;
                }
            }
            Ok(if done.failed.is_empty() { Exit::Ok } else { Exit::Runtime })
        }
    }
}

async fn read(config: &PipelineConfig, filter: &DeadLetterFilter) -> anyhow::Result<Vec<StoredDeadLetter>> {
    let mut target = super::run::target(&config.target);
    target
        .open()
        .await
        .with_context(|| format!("the target of pipeline `{}` cannot be opened", config.settings.name))?;
    target.dead_letters(&config.settings.name, filter).await.context("dead letters cannot be read")
}

/// Plugins may have been mended meanwhile: the letters go through the chain as it is configured now.
fn again(
    config: &PipelineConfig,
    plugins: &config::plugins::PluginsConfig,
    filter: &DeadLetterFilter,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<Redriven> {
    let sandbox = super::run::sandbox(plugins)?;
    // Counted nowhere: this process has no metrics page.
    let instruments = Instruments::detached(std::sync::Arc::new(now_ms));
    let mut chain = transform::build(&sandbox, &config.settings.name, &config.transform, &instruments)
        .with_context(|| format!("pipeline `{}`", config.settings.name))?;
    let mut target = super::run::target(&config.target);
    let work = redrive::redrive(&config.settings, &mut *target, &mut chain, filter);
    runtime.block_on(work).context("re-driving stopped; what was applied before is settled")
}
