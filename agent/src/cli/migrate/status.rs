//! `whimbrel migrate status`: files and ledger side by side.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use whimbrel_migrate::engine::{Line, State};

use super::Exit;
use super::asked::{Format, How, Where};
use super::outcome::Stop;
use super::session::{self, Session};
use crate::migrations::display::{json, words};
use crate::runtime::logging::escaped;

#[derive(Debug, Args)]
#[command(
    after_help = "States: pending; applied; changed (applied, and its file has changed since; a repeatable migration will be applied
again); missing (in the ledger, and its file is gone); out of order (not applied, and something above it is); running (somebody is at
it, or was); failed."
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: StatusArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let format = args.place.format;
    session::with(args.place.settle(&How::default()), format, None, out, async |session, out| {
        session::warn(&session.warnings);
        let lines = match session.runner.status().await {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(Stop::before_the_ledger(&error))),
        };
        // Whoever may read the ledger and not the lock still gets the rest.
        let holder = session.runner.database.holder().await.ok().flatten();
        match session.format {
            Format::Json => objects(&session, &lines, holder.as_deref(), out)?,
            Format::Text => table(&session, &lines, holder.as_deref(), out)?,
        }
        Ok(Ok(Exit::Ok))
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Applied => "applied",
        State::Changed => "changed",
        State::Missing => "missing",
        State::OutOfOrder => "out of order",
        State::Running => "running",
        State::Failed => "failed",
    }
}

fn objects(session: &Session, lines: &[Line], holder: Option<&str>, out: &mut dyn Write) -> anyhow::Result<()> {
    for line in lines {
        let entry = line.entry.as_ref();
        let object = json!({
            "event": "migration", "migration_id": line.id.to_text(), "name": line.name, "state": line.state,
            "has_down": line.has_down,
            "direction": entry.map(|entry| entry.direction), "by": entry.map(|entry| &entry.by),
            "started_at_ms": entry.map(|entry| entry.started_at_ms),
            "finished_at_ms": entry.and_then(|entry| entry.finished_at_ms),
            "duration_ms": entry.map(|entry| entry.duration_ms), "attempts": entry.map(|entry| entry.attempts),
            "progress": entry.map(|entry| &entry.progress), "error": entry.and_then(|entry| entry.error.as_ref()),
            "checksum": entry.map(|entry| &entry.checksum),
        });
        json::line(out, &object)?;
    }
    let address = session.runner.database.address();
    json::line(out, &json!({ "event": "result", "database": address, "lock_holder": holder, "exit": 0 }))?;
    Ok(())
}

fn table(session: &Session, lines: &[Line], holder: Option<&str>, out: &mut dyn Write) -> anyhow::Result<()> {
    let rows: Vec<[String; 4]> = lines.iter().map(row).collect();
    let mut widths = [7, 5, 4, 0];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [version, state, name, _] = widths;
    if rows.is_empty() {
        writeln!(out, "no migrations")?;
    } else {
        writeln!(out, "{:version$}  {:state$}  {:name$}  WHAT THE LEDGER SAYS", "VERSION", "STATE", "NAME")?;
    }
    for [one, two, three, four] in &rows {
        writeln!(out, "{}", format!("{one:version$}  {two:state$}  {three:name$}  {four}").trim_end())?;
    }
    let count = |state: State| lines.iter().filter(|line| line.state == state).count();
    writeln!(
        out,
        "{}: {} applied, {} pending",
        session.runner.database.address(),
        count(State::Applied),
        count(State::Pending)
    )?;
    if let Some(holder) = holder {
        writeln!(out, "the lock is held by {}", escaped(holder))?;
    }
    Ok(())
}

fn row(line: &Line) -> [String; 4] {
    let says = line.entry.as_ref().map(|entry| {
        let mut parts = vec![format!("by {}", entry.by)];
        if entry.duration_ms > 0 {
            parts.push(words::time(Duration::from_millis(entry.duration_ms)));
        }
        let total = entry.progress.total();
        match (total.done, total.expected) {
            (0, _) => {}
            (done, Some(expected)) if expected != done => {
                parts.push(format!("{} of {} rows", words::count(done), words::count(expected)));
            }
            (done, _) => parts.push(format!("{} rows", words::count(done))),
        }
        if entry.attempts > 1 {
            parts.push(format!("{} attempts", entry.attempts));
        }
        parts.extend(entry.error.clone());
        parts.join(", ")
    });
    [line.id.to_text(), word(line.state).to_owned(), line.name.clone(), says.unwrap_or_default()]
        .map(|cell| escaped(&cell))
}
