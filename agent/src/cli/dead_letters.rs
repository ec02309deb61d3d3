//! `whimbrel dead-letters list|show|redrive`.
//!
//! Reads the store of a pipeline's target through the target's own contract; changes nothing but by re-driving, which is the
//! pipeline's work. Record contents are shown only when asked for, with control characters escaped.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Exit;
use crate::batch::unpack_headers;
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

Exit status: 0 ok, 1 runtime error or records that failed again, 2 usage or configuration.")]
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
    /// Show dead letters with all that is known of them
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
                Format::Json => write_json(out, letters.iter().map(|letter| facts(letter, false)).collect())?,
            }
            Ok(Exit::Ok)
        }
        Verb::Show { payload, format, .. } => {
            let letters = runtime.block_on(read(&config, &which.filter()))?;
            match format {
                Format::Text => letters.iter().try_for_each(|letter| show(out, letter, *payload))?,
                Format::Json => write_json(out, letters.iter().map(|letter| facts(letter, *payload)).collect())?,
            }
            Ok(Exit::Ok)
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

fn told(out: &mut dyn Write, done: &Redriven) -> std::io::Result<()> {
    for letter in &done.failed {
        let (topic, message) = (escaped(&letter.topic), escaped(&letter.message));
        writeln!(out, "{topic}[{}]@{}  {}  {message}", letter.partition, letter.offset, letter.reason)?;
    }
    let (applied, failed, waiting) = (done.applied, done.failed.len(), done.waiting);
    writeln!(out, "{applied} applied, {failed} failed again, {waiting} wait behind one that failed")
}

fn list(out: &mut dyn Write, letters: &[StoredDeadLetter]) -> std::io::Result<()> {
    if letters.is_empty() {
        return writeln!(out, "no dead letters");
    }
    for letter in letters {
        writeln!(
            out,
            "{}[{}]@{}  {}  {}  {}",
            escaped(&letter.topic),
            letter.partition,
            letter.offset,
            escaped(&letter.reason),
            known_table(letter),
            escaped(&letter.message),
        )?;
    }
    Ok(())
}

/// A record that could not be read has no table.
fn known_table(letter: &StoredDeadLetter) -> String {
    if letter.table.is_empty() { "-".into() } else { escaped(&letter.table) }
}

fn show(out: &mut dyn Write, letter: &StoredDeadLetter, payload: bool) -> std::io::Result<()> {
    writeln!(out, "{}[{}]@{}", escaped(&letter.topic), letter.partition, letter.offset)?;
    writeln!(out, "  reason      {}", escaped(&letter.reason))?;
    writeln!(out, "  message     {}", escaped(&letter.message))?;
    writeln!(out, "  table       {}", known_table(letter))?;
    writeln!(out, "  stored at   {} (milliseconds since 1970)", letter.stored_at_ms)?;
    writeln!(out, "  record time {} (milliseconds since 1970)", letter.record_ts_ms)?;
    match &letter.kafka {
        Some(kafka) => {
            writeln!(out, "  full record {}[{}]@{}", escaped(&kafka.topic), kafka.partition, kafka.offset)?;
        }
        None => writeln!(out, "  size        {} bytes", letter.value.as_ref().map_or(0, Vec::len))?,
    }
    if payload {
        writeln!(out, "  key         {}", bytes(letter.key.as_deref()))?;
        for (name, value) in headers(letter) {
            writeln!(out, "  header      {}: {}", escaped(&name), bytes(value.as_deref()))?;
        }
        writeln!(out, "  value       {}", bytes(letter.value.as_deref()))?;
    }
    Ok(())
}

fn facts(letter: &StoredDeadLetter, payload: bool) -> Value {
    let mut facts = json!({
        "topic": letter.topic, "partition": letter.partition, "offset": letter.offset,
        "reason": letter.reason, "message": letter.message, "table": letter.table,
        "stored_at_ms": letter.stored_at_ms, "record_ts_ms": letter.record_ts_ms,
        "full_record": letter.kafka.as_ref().map(|kafka| {
            json!({"topic": kafka.topic, "partition": kafka.partition, "offset": kafka.offset})
        }),
    });
    if payload && let Some(facts) = facts.as_object_mut() {
        // Bytes that are no text come as base64, so that nothing is lost or changed.
        let content = |bytes: Option<&[u8]>| match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => Value::Null,
            Some((_, Ok(text))) => json!(text),
            Some((bytes, Err(_))) => {
                json!({"base64": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)})
            }
        };
        facts.insert("key".into(), content(letter.key.as_deref()));
        facts.insert("value".into(), content(letter.value.as_deref()));
        let all = headers(letter).into_iter().map(|(name, value)| json!([name, content(value.as_deref())]));
        facts.insert("headers".into(), all.collect());
    }
    facts
}

fn write_json(out: &mut dyn Write, letters: Vec<Value>) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &letters)?;
    writeln!(out)?;
    Ok(())
}

fn headers(letter: &StoredDeadLetter) -> Vec<(String, Option<Vec<u8>>)> {
    unpack_headers(&letter.headers).map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect()
}

/// Text with control characters escaped: a record must not be able to drive the terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Also the invisible characters that turn the direction of text around.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Bytes as text; what is no UTF-8 as `\xNN`.
fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".into() };
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    fn letter() -> StoredDeadLetter {
        let mut batch = Batch::default();
        let span = batch.push_headers([("trace\u{7}", Some(&b"1"[..])), ("none", None)]);
        StoredDeadLetter {
            topic: "shop.public.orders".into(),
            partition: 2,
            offset: 7,
            table: "public.orders".into(),
            reason: "malformed".into(),
            message: "value is not \u{1b}[31mJSON".into(),
            stored_at_ms: 5,
            record_ts_ms: 4,
            key: Some(b"{\"id\":1}".to_vec()),
            value: Some(b"secret\x1b]0;title\x07\xff\xe2\x80\xae".to_vec()),
            headers: batch.bytes(span).to_vec(),
            kafka: None,
        }
    }

    fn shown(payload: bool) -> String {
        let mut out = Vec::new();
        show(&mut out, &letter(), payload).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn contents_are_shown_only_when_asked_for() {
        assert!(!shown(false).contains("secret") && !shown(false).contains("id"));
        assert!(shown(true).contains("secret") && shown(true).contains(r#"{"id":1}"#));
        assert!(!facts(&letter(), false).to_string().contains("secret"));
    }

    #[test]
    fn no_record_can_drive_the_terminal() {
        let mut listed = Vec::new();
        list(&mut listed, &[letter()]).unwrap();
        for text in [shown(true), shown(false), String::from_utf8(listed).unwrap()] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert!(!text.contains('\u{202e}'));
        }
        assert!(shown(true).contains(r"\u{1b}]0;title\u{7}\xff\u{202e}"), "{}", shown(true));
        assert!(shown(true).contains("header      none: null"));
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let facts = facts(&letter(), true);
        assert_eq!(facts["key"], "{\"id\":1}");
        assert_eq!(facts["value"]["base64"], "c2VjcmV0G10wO3RpdGxlB//igK4=");
        assert_eq!(facts["headers"][0][1], "1");
    }
}
