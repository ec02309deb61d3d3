//! `whimbrel plugin inspect`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Format, size, subject};
use crate::author::schema;
use crate::author::subject::Subject;
use crate::cli::Exit;

/// Arguments of `whimbrel plugin inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin inspect target/hide-names.wasm
  whimbrel plugin inspect mask-fields --format json | jq .config

Reads the file; runs nothing of it.")]
pub(super) struct InspectArgs {
    /// The component
    file: PathBuf,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(args: &InspectArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match subject(&args.file, err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    match args.format {
        Format::Text => text(&subject, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &document(&subject))?;
            writeln!(out)?;
        }
    }
    Ok(Exit::Ok)
}

fn document(subject: &Subject) -> serde_json::Value {
    let manifest = &subject.manifest;
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "kind": subject.kind.as_str(),
        "description": manifest.description,
        "wit": manifest.wit,
        "digest": format!("sha256:{}", subject.digest),
        "bytes": subject.bytes.len(),
        "imports": manifest.imports.iter().map(|interface| interface.as_str()).collect::<Vec<_>>(),
        "wants": { "http": manifest.wants.http, "secrets": manifest.wants.secrets },
        "grants": subject.grant_lines(),
        "config": manifest.config,
    })
}

fn text(subject: &Subject, out: &mut dyn Write) -> std::io::Result<()> {
    let manifest = &subject.manifest;
    let imports: Vec<&str> = manifest.imports.iter().map(|interface| interface.as_str()).collect();
    writeln!(out, "name         {} {}", manifest.name, manifest.version)?;
    writeln!(out, "kind         {}", subject.kind)?;
    if !manifest.description.is_empty() {
        writeln!(out, "description  {}", manifest.description)?;
    }
    writeln!(out, "contract     whimbrel:plugin {}", manifest.wit)?;
    writeln!(out, "digest       sha256:{}", subject.digest)?;
    writeln!(out, "size         {}", size(subject.bytes.len()))?;
    writeln!(out, "imports      {}", imports.join(", "))?;
    for (word, wanted) in [("http", &manifest.wants.http), ("secrets", &manifest.wants.secrets)] {
        if let Some(wanted) = wanted {
            writeln!(out, "wants        {word}: {}", wanted.join(", "))?;
        }
    }
    let grants = subject.grant_lines();
    if grants.is_empty() {
        writeln!(out, "grants       none needed")?;
    } else {
        writeln!(out, "grants       write this where the plugin stands in the agent's configuration:")?;
        writeln!(out, "               grants:")?;
        grants.iter().try_for_each(|line| writeln!(out, "                 {line}"))?;
    }
    writeln!(out, "options")?;
    for option in schema::options(&manifest.config) {
        let stands = match (&option.default, option.required) {
            (Some(default), _) => format!(", default {default}"),
            (None, true) => ", required".to_owned(),
            (None, false) => String::new(),
        };
        writeln!(out, "  {}: {}{stands}", option.path, option.takes)?;
    }
    Ok(())
}
