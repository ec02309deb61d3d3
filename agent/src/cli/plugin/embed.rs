//! `whimbrel plugin embed`: the last step of a recipe in another language.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::author::encode;
use crate::cli::Exit;

/// Arguments of `whimbrel plugin embed`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  whimbrel plugin embed build/mask.core.wasm --manifest manifest.json -o mask.wasm

A core module is encoded as a component for the world of the manifest's kind. What it imports of WASI preview 1 is answered
inside the component: no arguments, no files, zeros for random bytes, a clock that stands still. A component is taken as it
is. Then the manifest is appended, and the result is checked as the agent would check it.

Exit status: 0 written, 2 it cannot become a plugin.")]
pub(super) struct EmbedArgs {
    /// A core module or a component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the plugin says of itself, as JSON
    #[arg(long, value_name = "FILE", default_value = "manifest.json")]
    manifest: PathBuf,
    /// Where the plugin goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &EmbedArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let file = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let manifest = fs::read(&args.manifest).with_context(|| format!("cannot read {}", args.manifest.display()))?;
    match encode::plugin(&file, &manifest) {
        Ok(plugin) => {
            fs::write(&args.output, &plugin).with_context(|| format!("cannot write {}", args.output.display()))?;
            writeln!(out, "{}: {} bytes", args.output.display(), plugin.len())?;
            Ok(Exit::Ok)
        }
        Err(error) => {
            writeln!(err, "{}: {:#}", args.file.display(), anyhow::Error::from(error))?;
            Ok(Exit::Usage)
        }
    }
}
