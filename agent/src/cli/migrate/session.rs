//! A command at work: telemetry, endpoint and signals around a runner, and everything flushed at the end.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use whimbrel_migrate::engine::Runner;
use whimbrel_migrate::error::Finding;
use whimbrel_migrate::ledger::Id;
use whimbrel_migrate::watch::Watch;

use super::asked::{Asked, Format};
use super::outcome::Stop;
use crate::cli::{Exit, run};
use crate::export::http::{Surface, serve};
use crate::migrations::display::bars::Bars;
use crate::migrations::display::json::{self, Json};
use crate::migrations::display::lines::{Lines, PROGRESS_EVERY};
use crate::migrations::programs::Sandboxed;
use crate::migrations::{assemble, lint, log, watchers};
use crate::runtime::logging::escaped;
use crate::runtime::lossy::Lossy;
use crate::runtime::shutdown::{Shutdown, on_signals};
use crate::runtime::tasks::{Kind, Tasks};
use crate::runtime::telemetry::Telemetry;
use crate::runtime::tls;
use crate::stats::MigrationBoard;

/// How long the exporters may take to push what is left.
const FLUSH_GRACE: Duration = Duration::from_secs(5);
/// Async workers: the migration, its lock's keeper, HTTP and exporters wait for most of the time.
const WORKERS: usize = 2;

/// What a verb works with.
pub(super) struct Session {
    pub(super) runner: Runner,
    pub(super) shutdown: Shutdown,
    pub(super) format: Format,
    /// What deserves a look in the files.
    pub(super) warnings: Vec<Finding>,
    directory: PathBuf,
    lint_off: Vec<String>,
}

impl Session {
    /// Tells what deserves a look in the files, and what the linter says of those that are about to run.
    ///
    /// # Errors
    /// When the linter's parser does not understand one of them.
    pub(super) fn look(&self, pending: &[Id]) -> Result<(), Stop> {
        let system = self.runner.database.system();
        let found = lint::look(&self.directory, system, &self.runner.migrations, pending, &self.lint_off);
        let (warnings, errors): (Vec<_>, Vec<_>) = found.into_iter().partition(|finding| finding.warning);
        warn(&self.warnings);
        warn(&warnings);
        if errors.is_empty() { Ok(()) } else { Err(Stop::files(&errors)) }
    }
}

/// Sets everything up, has `work` done, and gives the status: what stopped it is told on the way.
pub(super) fn with<F>(
    settled: Result<Asked, Stop>,
    format: Format,
    listen: Option<std::net::SocketAddr>,
    out: &mut dyn Write,
    work: F,
) -> anyhow::Result<Exit>
where
    F: AsyncFnOnce(Session, &mut dyn Write) -> anyhow::Result<Result<Exit, Stop>>,
{
    let asked = match settled {
        Ok(asked) => asked,
        Err(stop) => return stop.tell(format, out),
    };
    tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let display = Display::new(asked.format);
        let console = console(display.bar());
        let telemetry = Telemetry::start_beside_display(&asked.name, &asked.log, &asked.export, console, log::TARGET)?;
        let board = MigrationBoard::new(&telemetry.instruments);
        let tasks = Tasks::new(shutdown.clone());
        attend(&tasks, &shutdown, display.bar());
        if let Some(address) = listen {
            let surface = Surface::new(&asked.name, &telemetry.instruments, &telemetry.scrape);
            let server = serve(address, surface).await?;
            let url = format!("http://{}", server.address());
            match asked.format {
                Format::Text => {
                    let _ = writeln!(
                        io::stderr(),
                        "whimbrel: metrics and status at {url}/metrics and {url}/api/v1/migrations"
                    );
                }
                Format::Json => json::line(out, &serde_json::json!({ "event": "listening", "url": url }))?,
            }
            tasks.spawn(
                Kind::SERVICE,
                "http",
                async move { server.run(std::future::pending()).await.map_err(Into::into) },
            );
        }
        let ended = match session(&asked, &telemetry, &board, display, &shutdown) {
            Ok(session) => work(session, out).await,
            Err(stop) => Ok(Err(stop)),
        };
        let exit = match ended {
            Ok(Ok(exit)) => Ok(exit),
            Ok(Err(stop)) => {
                tracing::error!(target: log::TARGET, code = stop.code, error = stop.message, "command ended early");
                stop.tell(asked.format, out)
            }
            Err(error) => Err(error),
        };
        tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_GRACE)).await?;
        // The board's gauges are pushed as gone above; it must live until then.
        drop(board);
        exit
    })
}

fn session(
    asked: &Asked,
    telemetry: &Telemetry,
    board: &Arc<MigrationBoard>,
    display: Display,
    shutdown: &Shutdown,
) -> Result<Session, Stop> {
    let config = &asked.migrations;
    let database = assemble::open(config).map_err(|error| Stop::before_the_ledger(&error))?;
    let catalog = assemble::read(config, database.system()).map_err(|findings| Stop::files(&findings))?;
    let warnings = catalog.warnings.clone();
    let plugins = asked.plugins.clone();
    let rights = (config.grants.clone(), config.limits);
    let programs = Sandboxed::new(move || run::sandbox(&plugins), &config.name, rights, &telemetry.instruments);
    let watch = watchers(
        &config.name,
        &telemetry.instruments,
        board,
        &telemetry.traces,
        Some(display.watch(board, &config.name)),
    );
    let runner = assemble::runner(config, database, catalog, Arc::new(programs), watch);
    Ok(Session {
        runner,
        shutdown: shutdown.clone(),
        format: asked.format,
        warnings,
        directory: config.directory.clone(),
        lint_off: config.lint_off.clone(),
    })
}

/// Which display fits where this runs.
enum Display {
    Json,
    Lines,
    Bars(ProgressBar),
}

impl Display {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text if io::stderr().is_terminal() => Self::Bars(Bars::target()),
            Format::Text => Self::Lines,
        }
    }

    fn bar(&self) -> Option<ProgressBar> {
        match self {
            Self::Bars(bar) => Some(bar.clone()),
            Self::Json | Self::Lines => None,
        }
    }

    fn watch(self, board: &Arc<MigrationBoard>, set: &str) -> Arc<dyn Watch> {
        match self {
            Self::Json => Arc::new(Json::new(board, set, Box::new(io::stdout()))),
            Self::Lines => Arc::new(Lines::new(board, set, Box::new(io::stderr()), PROGRESS_EVERY)),
            Self::Bars(bar) => Arc::new(Bars::new(board, set, bar)),
        }
    }
}

/// Where warnings of other parts go: above the bar, where there is one.
fn console(bar: Option<ProgressBar>) -> BoxMakeWriter {
    match bar {
        Some(bar) => BoxMakeWriter::new(move || Lossy::silent(Above(bar.clone()))),
        None => BoxMakeWriter::new(|| Lossy::silent(io::stderr())),
    }
}

struct Above(ProgressBar);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Signals: the first asks to stop, and says so; a second one ends the process.
fn attend(tasks: &Tasks, shutdown: &Shutdown, bar: Option<ProgressBar>) {
    tasks.spawn(Kind::SERVICE, "signals", {
        let shutdown = shutdown.clone();
        async move { on_signals(shutdown).await.map_err(Into::into) }
    });
    let shutdown = shutdown.clone();
    tasks.spawn(Kind::SERVICE, "stop", async move {
        shutdown.wait().await;
        let say = || {
            let what = "stopping after the chunk or statement that runs; a second signal ends at once";
            let _ = writeln!(io::stderr(), "whimbrel: {what}");
        };
        match &bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
        Ok(())
    });
}

/// Prints what deserves a look in the files.
pub(super) fn warn(findings: &[Finding]) {
    for finding in findings {
        for line in finding.to_string().lines() {
            let _ = writeln!(io::stderr(), "{}", escaped(line));
        }
    }
}
