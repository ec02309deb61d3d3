//! `whimbrel plugin build`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::size;
use crate::author::build::{BuildError, Options, build};
use crate::cli::Exit;

/// Arguments of `whimbrel plugin build`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin build hide-names
  whimbrel plugin build hide-names --out /etc/whimbrel/plugins/hide-names.wasm

Runs cargo for wasm32-unknown-unknown with the profile `plugin` (fast, small, one code unit; your Cargo.toml may define
its own), encodes a component and reads it as the agent will.")]
pub(super) struct BuildArgs {
    /// The crate
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// File to write; default: target/NAME.wasm in the crate
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

pub(super) fn run(args: BuildArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    match build(&args.dir, &Options { out: args.out, target_dir: args.target_dir }) {
        Ok(built) => {
            let (path, subject) = (built.path.display(), &built.subject);
            let (kind, name, version) = (subject.kind, &subject.manifest.name, &subject.manifest.version);
            writeln!(out, "{path}: {kind} {name} {version}, {}", size(subject.bytes.len()))?;
            Ok(Exit::Ok)
        }
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            Ok(exit_of(&error))
        }
    }
}

pub(super) fn exit_of(error: &BuildError) -> Exit {
    match error {
        BuildError::NoCrate(_) | BuildError::NoCargo(_) => Exit::Usage,
        _ => Exit::Runtime,
    }
}
