//! `whimbrel migrate down`.

use std::io::Write;

use clap::Args;
use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::plan::Back;
use whimbrel_migrate::version::Version;

use super::asked::{How, Where};
use super::outcome::Stop;
use super::{Exit, plan, session, up};

#[derive(Debug, Args)]
pub(super) struct DownArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    how: How,
    /// Down to this version, which stays; 0 undoes all
    #[arg(long, value_name = "V", value_parser = up::version, conflicts_with = "steps")]
    to: Option<Version>,
    /// How many migrations
    #[arg(long, value_name = "N", default_value_t = 1)]
    steps: usize,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: DownArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let DownArgs { place, how, to, steps, dry_run } = args;
    let (format, listen) = (place.format, how.listen);
    let back = to.map_or(Back::Steps(steps), Back::To);
    session::with(place.settle(&how), format, listen, out, async move |session, out| {
        if dry_run {
            return match session.runner.undoable(&back).await {
                Ok(ids) => plan::predicted(&session, &ids, Direction::Down, out).await,
                Err(error) => Ok(Err(Stop::error(&error))),
            };
        }
        match session.runner.down(&back, session.shutdown.token()).await {
            Ok(report) => up::told(&session, Direction::Down, &report, out).map(Ok),
            Err(error) => Ok(Err(Stop::error(&error))),
        }
    })
}
