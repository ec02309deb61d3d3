//! `whimbrel plugin docs`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::built_subject;
use crate::author::schema;
use crate::cli::Exit;

/// Arguments of `whimbrel plugin docs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin docs mask-fields
  whimbrel plugin docs hide-names > hide-names/OPTIONS.md

Descriptions are the doc comments of the configuration's fields.")]
pub(super) struct DocsArgs {
    /// A component, or a crate, which is built first
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

pub(super) fn run(args: &DocsArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match built_subject(&args.plugin, args.target_dir.as_ref(), err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    let manifest = &subject.manifest;
    writeln!(out, "# {} {}\n", manifest.name, manifest.version)?;
    let described = manifest.config.get("description").and_then(serde_json::Value::as_str);
    for text in [Some(manifest.description.as_str()), described].into_iter().flatten().filter(|text| !text.is_empty()) {
        writeln!(out, "{text}\n")?;
    }
    out.write_all(schema::table(&manifest.config).as_bytes())?;
    let grants = subject.grant_lines();
    if !grants.is_empty() {
        writeln!(out, "\nIt needs these grants:\n\n```yaml\ngrants:\n  {}\n```", grants.join("\n  "))?;
    }
    Ok(Exit::Ok)
}
