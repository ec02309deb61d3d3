//! `whimbrel check`: asks, judges, prints; and asks again where it is to wait.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Stop;
use super::args::CheckArgs;
use super::facts::{Facts, Reading, Rows};
use super::format::{self, markdown};
use super::judge::{Limits, judge};
use super::report::{Report, State, Subject};
use super::source::{Place, now_ms};
use crate::ask::AskError;

/// Tables and their copies.
#[derive(Clone, PartialEq, Eq)]
pub struct Copies {
    /// Database of the tables; may hold a password.
    pub source_url: String,
    /// Database of the copies; may hold a password.
    pub target_url: String,
    /// Tables, and what their copies are called.
    pub tables: Vec<(String, String)>,
    /// Columns of the key.
    pub key: Vec<String>,
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies").field("tables", &self.tables).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Compares tables with their copies: what it came to, or why it could not be done. The agent has the databases' drivers.
pub trait Compare {
    /// Compares.
    fn compare(&self, copies: &Copies) -> impl Future<Output = Result<Rows, String>>;
}

/// Checks. `configured` is the agent's address of `--config`, `variable` the environment. The answer is the exit status.
///
/// # Errors
/// When the command line, the baseline or the output cannot be used.
pub async fn check(
    args: &CheckArgs,
    configured: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
    compare: &impl Compare,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Stop> {
    let copies = copies(args, variable)?;
    let place = Place::settle(&args.source, &args.migration_id, args.errors_within, configured, variable)?;
    let limits = args.limits();
    let deadline = Instant::now() + if args.wait { args.deadline } else { Duration::ZERO };
    let mut told = String::new();
    let report = loop {
        let mut facts = match args.wait {
            true => tokio::time::timeout_at(deadline + args.source.timeout, look(&place))
                .await
                .unwrap_or_else(|_| Ok(Facts::nothing(place.address(), "there was no answer before the deadline"))),
            false => look(&place).await,
        }?;
        // Not bounded by the deadline: a comparison that has begun is worth its end.
        facts.rows = rows(facts.rows.clone(), &args.migration_id, &facts, &limits, copies.as_ref(), compare).await;
        let mut report = judge(&args.migration_id, &facts, &limits);
        report.notes.extend(place.note());
        if report.status() == 0 || Instant::now() + args.every > deadline {
            break report;
        }
        let why = waiting(&report);
        if why != told {
            write(err, &format!("whimbrel: waiting: {why}\n"))?;
            told = why;
        }
        tokio::time::sleep(args.every).await;
    };
    write(out, &format::print(&report, args.format))?;
    if let Some(file) = variable("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
        summarize(Path::new(&file), &report)?;
    }
    Ok(report.status())
}

/// Looks; that there is no answer is a fact, that there can be none is an error.
async fn look(place: &Place) -> Result<Facts, AskError> {
    match place.look(now_ms()).await {
        Ok(seen) => Ok(seen.facts),
        Err(error @ (AskError::Unreachable { .. } | AskError::Answer { .. })) => {
            Ok(Facts::nothing(place.address(), &error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// The rows: as the source knows them, and as they compare, once nothing else is in the way.
async fn rows(
    known: Reading<Rows>,
    migration_id: &str,
    facts: &Facts,
    limits: &Limits,
    copies: Option<&Copies>,
    compare: &impl Compare,
) -> Reading<Rows> {
    let Some(copies) = copies else { return known };
    let others = judge(migration_id, facts, limits);
    let fine = |state| matches!(state, State::Pass | State::Skipped);
    if !others.conditions.iter().filter(|one| one.subject != Subject::Rows).all(|one| fine(one.state)) {
        return Reading::Unknown("not compared while another condition does not hold".to_owned());
    }
    match (compare.compare(copies).await, known) {
        (Err(why), _) => Reading::Unknown(format!("the tables cannot be compared: {why}")),
        (Ok(_), Reading::Known(known)) if !known.equal => Reading::Known(known),
        (Ok(compared), _) => Reading::Known(compared),
    }
}

fn copies(args: &CheckArgs, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Copies>, Stop> {
    if args.table.is_empty() {
        return Ok(None);
    }
    let url = |written: &Option<String>, option: &str, name: &str| {
        let set = || variable(name).filter(|url| !url.is_empty());
        written.clone().or_else(set).ok_or_else(|| Stop::Usage(format!("--table needs --{option}, or {name}")))
    };
    let pair = |table: &String| match table.split_once('=') {
        Some((from, to)) => (from.to_owned(), to.to_owned()),
        None => (table.clone(), table.clone()),
    };
    Ok(Some(Copies {
        source_url: url(&args.source_url, "source-url", "WHIMBREL_SOURCE_DATABASE")?,
        target_url: url(&args.target_url, "target-url", "WHIMBREL_DATABASE")?,
        tables: args.table.iter().map(pair).collect(),
        key: args.key.split(',').map(|column| column.trim().to_owned()).collect(),
    }))
}

/// What it is waited for.
fn waiting(report: &Report) -> String {
    let open = report.conditions.iter().filter(|one| matches!(one.state, State::Fail | State::Unknown));
    let say = |one: &super::report::Condition| match one.state {
        State::Fail => format!("{} {} ({})", one.subject.title(), one.measured, one.limit),
        _ => format!("{} unknown", one.subject.title()),
    };
    let text = open.map(say).collect::<Vec<_>>().join(", ");
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn write(to: &mut dyn Write, text: &str) -> Result<(), Stop> {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    written.map_err(|error| Stop::Runtime(format!("the result cannot be written: {error}")))
}

fn summarize(file: &Path, report: &Report) -> Result<(), Stop> {
    let append = std::fs::OpenOptions::new().create(true).append(true).open(file);
    append.and_then(|mut file| writeln!(file, "{}", markdown(report))).map_err(|error| {
        Stop::Runtime(format!("the step summary {} (GITHUB_STEP_SUMMARY) cannot be written: {error}", file.display()))
    })
}
