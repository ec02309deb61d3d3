//! `whimbrel plugin new`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::KindWord;
use crate::author::scaffold::{ScaffoldError, scaffold};
use crate::cli::Exit;

/// Arguments of `whimbrel plugin new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin new hide-names --kind transform
  whimbrel plugin new ring --kind channel --path ~/plugins

The crate holds a copy of the SDK in sdk/, so it needs this program, Rust and a crates registry, nothing else. Inside
Whimbrel's own repository it uses the SDK there.")]
pub(super) struct NewArgs {
    /// Name of the crate and of the plugin
    name: String,
    /// What it is to be
    #[arg(long, value_enum)]
    kind: KindWord,
    /// Folder to make it in
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Use the SDK at this path, not a copy
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

pub(super) fn run(args: &NewArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let sdk = args.sdk.clone().or_else(|| upward(&args.path));
    match scaffold(&args.path, &args.name, args.kind.into(), sdk.as_deref()) {
        Ok(folder) => {
            let folder = folder.display();
            writeln!(out, "{folder}: a new plugin. What now:")?;
            writeln!(out, "  whimbrel plugin test {folder}     builds it, replays tests/*.json")?;
            writeln!(out, "  (cd {folder} && cargo test)       the same code natively, without a sandbox")?;
            writeln!(out, "  {folder}/src/lib.rs               is where it begins")?;
            Ok(Exit::Ok)
        }
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            Ok(if matches!(error, ScaffoldError::Write { .. }) { Exit::Runtime } else { Exit::Usage })
        }
    }
}

/// The SDK of the repository the folder lies in, if it does.
fn upward(path: &Path) -> Option<PathBuf> {
    let path = std::fs::canonicalize(path).ok()?;
    let found = path.ancestors().map(|folder| folder.join("plugin-sdk")).find(|sdk| sdk.join("Cargo.toml").is_file());
    // A copy inside another plugin's crate is that crate's own.
    found.filter(|sdk| sdk.parent().is_some_and(|root| root.join("agent/Cargo.toml").is_file()))
}
