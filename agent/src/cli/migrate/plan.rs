//! `whimbrel migrate plan`, and `--dry-run`: what would be done, in words and numbers. Writes nothing.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use whimbrel_migrate::database::Prediction;
use whimbrel_migrate::ledger::{Direction, Id};
use whimbrel_migrate::version::Version;

use super::asked::{Format, How, Where};
use super::outcome::Stop;
use super::session::{self, Session};
use super::{Exit, up};
use crate::migrations::display::{json, words};
use crate::runtime::logging::escaped;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    how: How,
    /// Up to this version
    #[arg(long, value_name = "V", value_parser = up::version)]
    to: Option<Version>,
}

pub(super) fn run(args: PlanArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let PlanArgs { place, how, to } = args;
    let (format, listen) = (place.format, how.listen);
    session::with(place.settle(&how), format, listen, out, async move |session, out| {
        show(&session, to.as_ref(), out).await
    })
}

/// What `up` would do.
pub(super) async fn show(
    session: &Session,
    to: Option<&Version>,
    out: &mut dyn Write,
) -> anyhow::Result<Result<Exit, Stop>> {
    match session.runner.pending(to).await {
        Ok(ids) => match session.look(&ids) {
            Ok(()) => predicted(session, &ids, Direction::Up, out).await,
            Err(stop) => Ok(Err(stop)),
        },
        Err(error) => Ok(Err(Stop::error(&error))),
    }
}

/// What running these would do.
pub(super) async fn predicted(
    session: &Session,
    ids: &[Id],
    direction: Direction,
    out: &mut dyn Write,
) -> anyhow::Result<Result<Exit, Stop>> {
    let all = match session.runner.predict(ids, direction).await {
        Ok(all) => all,
        Err(error) => return Ok(Err(Stop::before_the_ledger(&error))),
    };
    let name = |id: &Id| session.runner.migrations.iter().find(|one| one.id == *id).map_or("", |one| one.name.as_str());
    for (id, steps) in &all {
        match session.format {
            Format::Json => {
                let object = json!({
                    "event": "planned", "migration_id": id.to_text(), "name": name(id), "direction": direction.as_str(),
                    "steps": steps,
                });
                json::line(out, &object)?;
            }
            Format::Text => {
                writeln!(out, "{} {}", escaped(&id.to_text()), escaped(name(id)))?;
                for step in steps {
                    writeln!(out, "  {}", sentence(step))?;
                    for note in &step.notes {
                        writeln!(out, "    {}", escaped(note))?;
                    }
                }
            }
        }
    }
    match session.format {
        Format::Json => json::line(out, &json!({ "event": "result", "planned": all.len(), "exit": 0 }))?,
        Format::Text if all.is_empty() => writeln!(out, "nothing to do at {}", session.runner.database.address())?,
        Format::Text => writeln!(out, "{} to run; nothing was written", all.len())?,
    }
    Ok(Ok(Exit::Ok))
}

fn sentence(step: &Prediction) -> String {
    let mut parts = Vec::new();
    if let Some(touched) = step.touched {
        let about = if step.exact { "" } else { "some " };
        parts.push(format!("{about}{} rows", words::count(touched)));
    }
    parts.extend(step.chunks.map(|chunks| match chunks {
        1 => "1 transaction".to_owned(),
        chunks => format!("{} transactions", words::count(chunks)),
    }));
    if step.fits_transaction == Some(false) {
        parts.push("does not fit one transaction".to_owned());
    }
    parts.extend(step.duration_ms.map(|ms| format!("about {}", words::time(Duration::from_millis(ms)))));
    let what = escaped(&step.what);
    if parts.is_empty() { what } else { format!("{what}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_says_what_is_known_and_nothing_else() {
        let step = Prediction { what: "create index a".into(), ..Prediction::default() };
        assert_eq!(sentence(&step), "create index a");
        let step = Prediction {
            what: "update orders".into(),
            touched: Some(1_000_000),
            chunks: Some(500),
            fits_transaction: Some(false),
            duration_ms: Some(21_000),
            ..Prediction::default()
        };
        let expect = "update orders: some 1,000,000 rows, 500 transactions, does not fit one transaction, about 21.0 s";
        assert_eq!(sentence(&step), expect);
    }
}
