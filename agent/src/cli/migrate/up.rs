//! `whimbrel migrate up`.

use std::io::Write;

use clap::Args;
use serde_json::json;
use whimbrel_migrate::engine::Report;
use whimbrel_migrate::error::{Error, Kind};
use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::version::Version;

use super::asked::{Format, How, Verify, Where};
use super::outcome::Stop;
use super::session::{self, Session};
use super::{Exit, plan};
use crate::migrations::display::json;

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    how: How,
    /// Up to this version, which is applied too; repeatable migrations are then left out
    #[arg(long, value_name = "V", value_parser = version)]
    to: Option<Version>,
    /// Say what would be done, and write nothing; a user who may only read can ask
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    verify: Verify,
}

/// A version on the command line.
pub(super) fn version(text: &str) -> Result<Version, String> {
    text.parse::<Version>().map_err(|error| error.to_string())
}

pub(super) fn run(args: UpArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let UpArgs { place, how, to, dry_run, verify } = args;
    let (format, listen) = (place.format, how.listen);
    let settled = place.settle(&how).and_then(|asked| verify.into(asked));
    session::with(settled, format, listen, out, async move |session, out| {
        if dry_run {
            return plan::show(&session, to.as_ref(), out).await;
        }
        let pending = match session.runner.pending(to.as_ref()).await {
            Ok(pending) => pending,
            Err(error) => return Ok(Err(Stop::error(&error))),
        };
        if let Err(stop) = session.look(&pending) {
            return Ok(Err(stop));
        }
        match session.runner.up(to.as_ref(), session.shutdown.token()).await {
            Ok(report) => told(&session, Direction::Up, &report, out).map(Ok),
            Err(error) => Ok(Err(stopped(&session, to.as_ref(), &error).await)),
        }
    })
}

/// The status of what stopped `up`. What a database or a plugin refuses is not the ledger's doing: whether it is, the plan
/// tells.
async fn stopped(session: &Session, to: Option<&Version>, error: &Error) -> Stop {
    let by_ledger = match error.kind {
        Kind::Refused => matches!(session.runner.pending(to).await, Err(again) if again.kind == Kind::Refused),
        _ => true,
    };
    if by_ledger { Stop::error(error) } else { Stop::before_the_ledger(error) }
}

/// Tells what was done.
pub(super) fn told(
    session: &Session,
    direction: Direction,
    report: &Report,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match session.format {
        Format::Json => {
            let object = json!({
                "event": "result", "direction": direction.as_str(), "done": report.done, "undone": report.undone, "exit": 0,
            });
            json::line(out, &object)?;
        }
        Format::Text => {
            let done = report.done.join(", ");
            match (direction, report.done.is_empty()) {
                (Direction::Up, true) => {
                    writeln!(out, "nothing to apply: {} is up to date", session.runner.database.address())?
                }
                (Direction::Up, false) => writeln!(out, "applied: {done}")?,
                (Direction::Down, true) => writeln!(out, "nothing to undo")?,
                (Direction::Down, false) => writeln!(out, "undone: {done}")?,
            }
        }
    }
    Ok(Exit::Ok)
}
