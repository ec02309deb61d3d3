//! `whimbrel migrate repair`.

use std::io::Write;

use clap::{ArgGroup, Args};
use serde_json::json;
use whimbrel_migrate::engine::Repair;
use whimbrel_migrate::ledger::Id;
use whimbrel_migrate::version::Version;

use super::asked::{Format, How, Where};
use super::outcome::Stop;
use super::{Exit, session, up};
use crate::migrations::display::json;
use crate::runtime::logging::escaped;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct RepairArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    how: How,
    /// Take everything up to this version as applied, without running it: for a database that was there before
    #[arg(long, value_name = "V", value_parser = up::version, group = "what")]
    baseline: Option<Version>,
    /// Take the file of V as it is now for what was applied; may be repeated
    #[arg(long, value_name = "V", value_parser = id, group = "what")]
    accept_checksum: Vec<Id>,
    /// Take V as applied: it was done by hand; may be repeated
    #[arg(long, value_name = "V", value_parser = id, group = "what")]
    mark_applied: Vec<Id>,
    /// Take V out of the ledger: it was undone by hand, or its file is gone for good; may be repeated
    #[arg(long, value_name = "V", value_parser = id, group = "what")]
    forget: Vec<Id>,
}

fn id(text: &str) -> Result<Id, String> {
    Id::from_text(text).ok_or_else(|| "neither a version such as 7 nor R:name".to_owned())
}

pub(super) fn run(args: RepairArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let RepairArgs { place, how, baseline, accept_checksum, mark_applied, forget } = args;
    let (format, listen) = (place.format, how.listen);
    let mut repairs: Vec<Repair> = baseline.into_iter().map(Repair::Baseline).collect();
    repairs.extend(accept_checksum.into_iter().map(Repair::AcceptChecksum));
    repairs.extend(mark_applied.into_iter().map(Repair::MarkApplied));
    repairs.extend(forget.into_iter().map(Repair::Forget));
    session::with(place.settle(&how), format, listen, out, async move |session, out| {
        match session.runner.repair(&repairs, session.shutdown.token()).await {
            Ok(done) => {
                match session.format {
                    Format::Json => json::line(out, &json!({ "event": "result", "done": done, "exit": 0 }))?,
                    Format::Text if done.is_empty() => writeln!(out, "nothing to mend")?,
                    Format::Text => {
                        for one in done {
                            writeln!(out, "{}", escaped(&one))?;
                        }
                    }
                }
                Ok(Ok(Exit::Ok))
            }
            Err(error) => Ok(Err(Stop::error(&error))),
        }
    })
}
