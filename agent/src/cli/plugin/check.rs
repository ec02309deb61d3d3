//! `whimbrel plugin check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{size, subject};
use crate::author::check;
use crate::cli::Exit;
use crate::plugin::Engine;

/// Arguments of `whimbrel plugin check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin check target/hide-names.wasm
  whimbrel plugin check target/hide-names.wasm --config '{\"column\": \"name\"}'
  whimbrel plugin check mask-fields

Checks that the file is a whole component, its manifest, kind, WIT version and imports, the config schema and its defaults,
the exports; then starts it once with everything granted that it asks for, and lets it configure itself. No other code of it
runs, and nothing leaves.

Exit status: 0 the agent would run it, 1 it would not, 2 usage or a file that cannot be read.")]
pub(super) struct CheckArgs {
    /// The component
    file: PathBuf,
    /// Configuration to try, as JSON; default: the plugin's own defaults
    #[arg(long, value_name = "JSON", value_parser = json)]
    config: Option<Value>,
}

pub(super) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(super) fn run(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match subject(&args.file, err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    let file = args.file.display();
    match check::check(&Engine::new()?, &subject, args.config.as_ref()) {
        Ok(checked) => {
            let (kind, name, version) = (subject.kind, &subject.manifest.name, &subject.manifest.version);
            writeln!(out, "{file}: {kind} {name} {version} would run in this agent")?;
            match checked.untried.as_slice() {
                [] => writeln!(out, "  configured, an instance has {}", size(checked.memory))?,
                names => {
                    let names = names.join("`, `");
                    writeln!(out, "  `{names}` must be configured: say --config JSON to try that too")?;
                }
            }
            let grants = subject.grant_lines();
            if !grants.is_empty() {
                writeln!(out, "  it needs grants, see `whimbrel plugin inspect {file}`")?;
            }
            Ok(Exit::Ok)
        }
        Err(error) => {
            writeln!(err, "whimbrel: {file}: {error}")?;
            Ok(Exit::Runtime)
        }
    }
}
