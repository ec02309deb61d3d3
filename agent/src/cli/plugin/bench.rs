//! `whimbrel plugin bench`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{built_subject, size};
use crate::author::bench;
use crate::author::replay::case::{self, Case};
use crate::cli::Exit;
use crate::plugin::{Engine, Kind};

/// Arguments of `whimbrel plugin bench`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin bench hide-names
  whimbrel plugin bench mask-fields --case tests/mask.json

A transform gets batches of 1, 16, 256 and 1024 events, the case's own over and over; other kinds get the case's call.
Figures are medians of CPU time, with the engine's settings of an agent.")]
pub(super) struct BenchArgs {
    /// A component, or a crate, which is built first
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,
    /// The case to repeat; default: the first in tests
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

pub(super) fn run(args: &BenchArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match built_subject(&args.plugin, args.target_dir.as_ref(), err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    let beside = if args.plugin.is_dir() { args.plugin.join("tests") } else { PathBuf::from("tests") };
    let found = case::files(args.case.as_deref().unwrap_or(&beside));
    let read = found.and_then(|files| match files.first() {
        Some(file) => Case::read(file).map(|case| (file.clone(), case)),
        None => Err(case::CaseError::None(beside.display().to_string())),
    });
    let (file, case) = match read {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            return Ok(Exit::Usage);
        }
    };
    let figures = match bench::bench(&Engine::new()?, &subject, &case) {
        Ok(figures) => figures,
        Err(error) => {
            writeln!(err, "whimbrel: {}: {error}", file.display())?;
            return Ok(Exit::Runtime);
        }
    };
    writeln!(out, "{} {}, {}", subject.manifest.name, subject.manifest.version, file.display())?;
    writeln!(out, "size      {}", size(subject.bytes.len()))?;
    writeln!(out, "compile   {:.1} ms, once; the agent keeps the code", figures.compile.as_secs_f64() * 1e3)?;
    writeln!(out, "start     {:.2} ms, an instance with its configuration", figures.start.as_secs_f64() * 1e3)?;
    for row in figures.rows {
        let micros = row.call.as_secs_f64() * 1e6;
        if subject.kind == Kind::Transform {
            let each = row.call.as_nanos() / row.events.max(1) as u128;
            writeln!(out, "batch {:<5} {micros:.1} us a call, {each} ns an event ({} calls)", row.events, row.calls)?;
        } else {
            writeln!(out, "call      {micros:.1} us ({} calls)", row.calls)?;
        }
    }
    Ok(Exit::Ok)
}
