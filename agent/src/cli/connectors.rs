//! `whimbrel connectors plan|apply|status|restart`.
//!
//! Turns arguments and the validated section into calls of [`crate::connect`], and what comes back into text or JSON on
//! `out` and an exit status. Results go to `out`; what is wrong goes to the caller as an error, or to `err`.
//!
//! Exit status: 0 as it should be · 1 an error on the way · 2 usage or configuration · 3 `plan` found changes ·
//! 4 a connector is not healthy.

mod text;

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::Exit;
use crate::{
    config::{load, units::Millis},
    connect::{
        apply::{self, Applied},
        client::Client,
        desired::NAME_PREFIX,
        diff::Plan,
        error::Error,
        health::Condition,
        heartbeat::HeartbeatError,
        progress::Progress,
        settings::Settings,
        supervisor::{ConnectorReport, Report, RestartAction, Supervisor},
    },
    runtime::logging::chain,
};

/// Everything is as it should be.
pub const OK: u8 = 0;
/// The arguments or the configuration cannot be used.
pub const USAGE: u8 = 2;
/// `plan` found something to change.
pub const CHANGES: u8 = 3;
/// A connector is missing, not RUNNING, or not progressing.
pub const UNHEALTHY: u8 = 4;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Debezium connectors as desired state in Kafka Connect.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 as it should be, 1 error, 2 usage or configuration, 3 plan found changes, 4 a connector is not healthy"
)]
pub struct ConnectorsArgs {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what apply would change; exits with 3 if it would change anything.
    Plan {
        #[command(flatten)]
        common: Common,
    },
    /// Create and update connectors, and wait until they run. Deletes nothing.
    Apply {
        #[command(flatten)]
        common: Common,
        /// How long to wait for the connectors to be RUNNING.
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        wait: Wait,
    },
    /// Show states, failures, progress and drift.
    Status {
        #[command(flatten)]
        common: Common,
        /// Only this long for proof of progress, in place of `connectors.progress.window`.
        #[arg(long, value_name = "DURATION")]
        window: Option<Wait>,
        /// Look once and do not wait for proof of progress.
        #[arg(long, conflicts_with = "window")]
        no_wait: bool,
    },
    /// Restart failed connectors and tasks, within the restart budget, and wait until they run.
    Restart {
        #[command(flatten)]
        common: Common,
        /// Connectors by their name in the configuration; all of them if none is given.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// How long to go on.
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        wait: Wait,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// A duration on the command line.
#[derive(Clone, Copy, Debug)]
struct Wait(Duration);

impl std::str::FromStr for Wait {
    type Err = <Millis as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|Millis(duration)| Self(duration))
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Kafka Connect.
    #[error(transparent)]
    Connect(#[from] Error),
    /// Kafka, where heartbeat topics are.
    #[error(transparent)]
    Heartbeat(#[from] HeartbeatError),
    /// A name on the command line that the configuration does not have.
    #[error("no connector `{name}` in the configuration; there are: {known}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// Status for the process to exit with.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::UnknownName { .. } => USAGE,
            _ => 1,
        }
    }

    /// The message with its causes and what to check.
    pub fn explain(&self) -> String {
        match self {
            Self::Connect(error) => match error.hint() {
                Some(hint) => format!("{}\n  hint: {hint}", error.chain()),
                None => error.chain(),
            },
            Self::Heartbeat(error) => chain(error),
            other => other.to_string(),
        }
    }
}

impl ConnectorsArgs {
    /// The configuration file to load.
    pub fn config(&self) -> &std::path::Path {
        let (Verb::Plan { common }
        | Verb::Apply { common, .. }
        | Verb::Status { common, .. }
        | Verb::Restart { common, .. }) = &self.verb;
        &common.config
    }
}

/// Loads the configuration, runs the command and says what is wrong on `err`.
///
/// # Errors
/// When `err` cannot be written, or the runtime does not start.
pub fn main(args: ConnectorsArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    let settings = match load(args.config()) {
        Ok(loaded) => loaded.config.connectors,
        Err(report) => {
            writeln!(err, "{report}")?;
            return Ok(Exit::Usage);
        }
    };
    let Some(settings) = settings else {
        writeln!(err, "error: {} has no `connectors` section", args.config().display())?;
        return Ok(Exit::Usage);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(run(args, settings, out, err)) {
        Ok(status) => Ok(Exit::Status(status)),
        // A closed pipe is for the caller to judge.
        Err(CommandError::Output(error)) => Err(error.into()),
        Err(error) => {
            writeln!(err, "error: {}", error.explain())?;
            Ok(Exit::Status(error.exit_status()))
        }
    }
}

/// Runs the command and gives the exit status. The caller has loaded and validated the section from
/// [`ConnectorsArgs::config`].
///
/// # Errors
/// Whatever kept the command from its result; [`CommandError::exit_status`] and [`CommandError::explain`] say how to end.
pub async fn run(
    args: ConnectorsArgs,
    mut settings: Settings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, CommandError> {
    let client = Client::new(&settings.endpoint, settings.redactor())?;
    match args.verb {
        Verb::Plan { common } => {
            let plan = apply::plan(&client, &settings.desired).await?;
            show(out, common.format, &plan, text::plan)?;
            Ok(if plan.has_changes() { CHANGES } else { OK })
        }
        Verb::Apply { common, wait } => {
            let plan = apply::plan(&client, &settings.desired).await?;
            if common.format == Format::Text {
                text::plan(out, &plan)?;
            }
            let applied = apply::apply(&client, &settings.desired, &plan, wait.0).await?;
            let result = ApplyResult { plan, connectors: applied };
            show(out, common.format, &result, |out, result| text::applied(out, &result.connectors))?;
            Ok(if result.connectors.iter().all(|one| one.condition == Condition::Running) { OK } else { UNHEALTHY })
        }
        Verb::Status { common, window, no_wait } => {
            if let Some(Wait(window)) = window {
                settings.progress.window = window;
            }
            let report = watch(client, &settings, no_wait, err).await?;
            show(out, common.format, &report, text::status)?;
            status_of(&report)
        }
        Verb::Restart { common, names, wait } => {
            keep_named(&mut settings, &names)?;
            let result = restart(client, &settings, wait.0, err).await?;
            show(out, common.format, &result, text::restarted)?;
            status_of(&result.report)
        }
    }
}

#[derive(Serialize)]
struct ApplyResult {
    plan: Plan,
    connectors: Vec<Applied>,
}

#[derive(Serialize)]
struct RestartResult {
    /// Connectors that a restart was asked for, as often as it was.
    restarted: Vec<String>,
    #[serde(flatten)]
    report: Report,
}

fn status_of(report: &Report) -> Result<u8, CommandError> {
    Ok(match (report.reachable, report.healthy()) {
        (false, _) => 1,
        (true, true) => OK,
        (true, false) => UNHEALTHY,
    })
}

/// Looks until every RUNNING connector's progress is known, at most for the window and one look more.
async fn watch(client: Client, settings: &Settings, once: bool, err: &mut dyn Write) -> Result<Report, CommandError> {
    // An unreachable Connect is this command's error, with its hint; only a long-running agent carries on.
    client.connectors().await?;
    let mut supervisor = Supervisor::watching(client, settings)?;
    let mut told = false;
    loop {
        let mut report = supervisor.tick().await;
        let watching = |one: &ConnectorReport| one.progress == Progress::Watching;
        if once {
            for one in report.connectors.iter_mut().filter(|one| watching(one)) {
                one.progress = Progress::NotChecked;
            }
            return Ok(report);
        }
        if !report.reachable || !report.connectors.iter().any(watching) {
            return Ok(report);
        }
        if !told {
            told = true;
            let seconds = settings.progress.window.as_secs_f64();
            writeln!(err, "waiting up to {seconds} s for proof of progress (--no-wait: do not)")?;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Restarts what failed until everything runs, the budget is spent, or time is up.
async fn restart(
    client: Client,
    settings: &Settings,
    wait: Duration,
    err: &mut dyn Write,
) -> Result<RestartResult, CommandError> {
    client.connectors().await?;
    let mut supervisor = Supervisor::new(client, settings)?;
    let deadline = Instant::now() + wait;
    let mut restarted = Vec::new();
    // A restarted task says RUNNING before it meets the fault again.
    let mut quiet_looks = 0;
    loop {
        let report = supervisor.tick().await;
        let mut busy = false;
        for one in &report.connectors {
            match one.restarts.action {
                RestartAction::Restarted => {
                    writeln!(err, "{}: restarting ({} of {})", one.name, one.restarts.used, one.restarts.max)?;
                    restarted.push(one.name.clone());
                    busy = true;
                }
                RestartAction::Waiting { .. } | RestartAction::Refused => busy = true,
                RestartAction::None => busy |= one.condition == Some(Condition::Starting),
                RestartAction::Exhausted => {}
            }
        }
        quiet_looks = if busy { 0 } else { quiet_looks + 1 };
        let settled = quiet_looks >= if restarted.is_empty() { 1 } else { 3 };
        if settled || !report.reachable || Instant::now() >= deadline {
            return Ok(RestartResult { restarted, report });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn keep_named(settings: &mut Settings, names: &[String]) -> Result<(), CommandError> {
    let full =
        |name: &str| if name.starts_with(NAME_PREFIX) { name.to_owned() } else { format!("{NAME_PREFIX}{name}") };
    for name in names {
        if !settings.desired.iter().any(|one| one.name == full(name)) {
            let known: Vec<_> = settings.desired.iter().map(|one| one.name.trim_start_matches(NAME_PREFIX)).collect();
            return Err(CommandError::UnknownName { name: name.clone(), known: known.join(", ") });
        }
    }
    if !names.is_empty() {
        settings.desired.retain(|one| names.iter().any(|name| one.name == full(name)));
    }
    Ok(())
}

fn show<T: Serialize>(
    out: &mut dyn Write,
    format: Format,
    value: &T,
    text: impl Fn(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    match format {
        Format::Text => text(out, value),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, value)?;
            writeln!(out)
        }
    }
}
