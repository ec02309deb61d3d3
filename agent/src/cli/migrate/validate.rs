//! `whimbrel migrate validate`: files, ledger and checks. Writes nothing.

use std::io::Write;

use clap::Args;
use serde_json::json;
use whimbrel_migrate::ledger::Id;

use super::asked::{Format, How, Verify, Where};
use super::outcome::{CHECK, LEDGER, Stop, number};
use super::{Exit, session};
use crate::migrations::display::json;
use crate::runtime::logging::escaped;

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    verify: Verify,
    /// Only the files; no database is asked
    #[arg(long, conflicts_with = "verify")]
    offline: bool,
}

pub(super) fn run(args: ValidateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let ValidateArgs { place, verify, offline } = args;
    let format = place.format;
    let settled = place.settle(&How::default()).and_then(|asked| verify.into(asked));
    session::with(settled, format, None, out, async move |session, out| {
        let files = session.runner.migrations.len();
        if offline {
            let all: Vec<Id> = session.runner.migrations.iter().map(|one| one.id.clone()).collect();
            if let Err(stop) = session.look(&all) {
                return Ok(Err(stop));
            }
            match session.format {
                Format::Json => json::line(out, &json!({ "event": "result", "migrations": files, "exit": 0 }))?,
                Format::Text => writeln!(out, "migrations that can be read: {files}")?,
            }
            return Ok(Ok(Exit::Ok));
        }
        // Where the ledger refuses, nothing is about to run.
        let pending = session.runner.pending(None).await.unwrap_or_default();
        if let Err(stop) = session.look(&pending) {
            return Ok(Err(stop));
        }
        let (refusals, checks) = match session.runner.validate().await {
            Ok(found) => found,
            Err(error) => return Ok(Err(Stop::before_the_ledger(&error))),
        };
        let failed = checks.iter().filter(|check| check.fault.is_some()).count();
        let exit = match (refusals.is_empty(), failed) {
            (false, _) => Exit::Status(LEDGER),
            (true, 0) => Exit::Ok,
            (true, _) => Exit::Status(CHECK),
        };
        match session.format {
            Format::Json => {
                for one in &refusals {
                    let object = json!({ "event": "refusal", "message": one.to_string(), "remedy": one.remedy() });
                    json::line(out, &object)?;
                }
                let object = json!({
                    "event": "result", "migrations": files, "refusals": refusals.len(), "checks": checks.len(),
                    "failed": failed, "exit": number(exit),
                });
                json::line(out, &object)?;
            }
            Format::Text => {
                for one in &refusals {
                    writeln!(out, "{}\n  {}", escaped(&one.to_string()), escaped(&one.remedy()))?;
                }
                writeln!(out, "migrations: {files}; checks: {}, failed: {failed}", checks.len())?;
            }
        }
        Ok(Ok(exit))
    })
}
