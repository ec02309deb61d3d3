//! `whimbrel plugin dev`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::test::cases;
use crate::author::build::{Options, build};
use crate::author::watch::Watch;
use crate::cli::Exit;
use crate::plugin::place::place;

/// Arguments of `whimbrel plugin dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin dev
  whimbrel plugin dev hide-names --into /etc/whimbrel/plugins/hide-names.wasm

Builds on every save and replays tests/*.json. What passes is put in place of the file --into at once, never half: an agent
that watches the file takes it between two batches. What does not pass stays out. Ends with Ctrl-C.")]
pub(super) struct DevArgs {
    /// The crate
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The file a running agent watches
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Build, replay and hand over once, and end
    #[arg(long)]
    once: bool,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

pub(super) fn run(args: &DevArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    if !args.dir.join("Cargo.toml").is_file() {
        writeln!(err, "whimbrel: {}", crate::author::build::BuildError::NoCrate(args.dir.display().to_string()))?;
        return Ok(Exit::Usage);
    }
    let watch = Watch::new(&args.dir)?;
    loop {
        let done = round(args, out, err)?;
        if args.once {
            return Ok(done);
        }
        writeln!(out, "waiting for a change in {}", args.dir.display())?;
        out.flush()?;
        while !watch.wait(Duration::from_secs(3600)) {}
    }
}

/// Builds, replays, hands over.
fn round(args: &DevArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let options = Options { out: None, target_dir: args.target_dir.clone() };
    let subject = match build(&args.dir, &options) {
        Ok(built) => built.subject,
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            return Ok(super::build::exit_of(&error));
        }
    };
    let done = cases(&subject, &args.dir.join("tests"), false, out, err)?;
    if done != Exit::Ok {
        return Ok(done);
    }
    if let Some(into) = &args.into {
        if let Err(error) = place(into, &subject.bytes) {
            writeln!(err, "whimbrel: cannot write {}: {error}", into.display())?;
            return Ok(Exit::Runtime);
        }
        writeln!(out, "{}: sha256:{} is in place", into.display(), subject.digest)?;
    }
    Ok(Exit::Ok)
}
