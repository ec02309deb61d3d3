//! `whimbrel plugin test`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{built_subject, size};
use crate::author::replay::case::{self, Case};
use crate::author::replay::{faults, replay};
use crate::author::subject::Subject;
use crate::cli::Exit;
use crate::plugin::Engine;

/// Arguments of `whimbrel plugin test`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel plugin test                                   build the crate here, replay its tests/*.json
  whimbrel plugin test hide-names --bless                take what comes out as what is expected
  whimbrel plugin test hide-names.wasm --case crash.json replay one case, such as one a crash left behind

A case is one call: config, grants, limits, now_ms, state, and the input: events (transform), window (rule), alerts (channel) or
step (migration); answers of the world outside under http, mail and database; what is expected under expect; budgets for
fuel and memory, which hold on every machine, and for time, which only warns. A case that a crash left in the agent's
plugins.repro_dir, or `whimbrel plugin record` wrote, has the input and no expectation yet.

Exit status: 0 all as expected, 1 not all, 2 usage or a case that cannot be read.")]
pub(super) struct TestArgs {
    /// A component, or a crate, which is built first
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    plugin: PathBuf,
    /// A case or a folder of cases; default: tests in the crate, or here
    #[arg(long, value_name = "PATH")]
    case: Option<PathBuf>,
    /// Write what comes out into the cases as what is expected from now on
    #[arg(long)]
    bless: bool,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

pub(super) fn run(args: &TestArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let subject = match built_subject(&args.plugin, args.target_dir.as_ref(), err)? {
        Ok(subject) => subject,
        Err(exit) => return Ok(exit),
    };
    let beside = if args.plugin.is_dir() { args.plugin.join("tests") } else { PathBuf::from("tests") };
    cases(&subject, args.case.as_deref().unwrap_or(&beside), args.bless, out, err)
}

/// Replays the cases at a path and tells how each went.
pub(super) fn cases(
    subject: &Subject,
    path: &Path,
    bless: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let files = match case::files(path) {
        Ok(files) => files,
        Err(error) => {
            writeln!(err, "whimbrel: {error}")?;
            return Ok(Exit::Usage);
        }
    };
    let engine = Engine::counting()?;
    let (mut failed, mut unread) = (0, false);
    for file in &files {
        let name = file.display();
        let case = match Case::read(file) {
            Ok(case) => case,
            Err(error) => {
                writeln!(err, "whimbrel: {error}")?;
                unread = true;
                continue;
            }
        };
        let run = match replay(&engine, subject, &case) {
            Ok(run) => run,
            Err(error) => {
                writeln!(out, "{name}  FAILED\n    {error}")?;
                failed += 1;
                continue;
            }
        };
        if bless && case.expect.as_ref() != Some(&run.got) {
            case::bless(file, &run.got)?;
        }
        let case = if bless { Case::read(file)? } else { case };
        let faults = faults(&case, &run);
        let millis = run.took.as_secs_f64() * 1e3;
        let cost = format!("fuel {}, memory {}, {millis:.1} ms", run.fuel, size(run.memory));
        match faults.as_slice() {
            [] => writeln!(out, "{name}  {}  {cost}", if bless { "blessed" } else { "ok" })?,
            faults => {
                failed += 1;
                writeln!(out, "{name}  FAILED  {cost}")?;
                faults.iter().try_for_each(|fault| writeln!(out, "    {fault}"))?;
            }
        }
        if let Some(most) = case.budget.time_ms.filter(|most| millis > *most) {
            writeln!(
                out,
                "    note: it took {millis:.1} ms, more than budget.time_ms {most}; times depend on the machine"
            )?;
        }
    }
    writeln!(out, "{} cases, {failed} failed", files.len())?;
    Ok(match (unread, failed) {
        (true, _) => Exit::Usage,
        (false, 0) => Exit::Ok,
        (false, _) => Exit::Runtime,
    })
}
