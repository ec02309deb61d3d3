//! `whimbrel run`: telemetry, HTTP endpoint, pipelines, connectors; until a signal says stop.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{Exit, orders};
use crate::config::migrations::OnStart;
use crate::config::plugins::PluginsConfig;
use crate::config::validated::TargetConfig;
use crate::config::{self, AgentConfig, PipelineConfig};
use crate::connect::client::Client;
use crate::connect::facts::facts;
use crate::connect::supervisor::Supervisor;
use crate::export::control::{Control, Order, control};
use crate::export::http::{Surface, serve};
use crate::migrations::programs::Sandboxed;
use crate::migrations::{self, ledgers};
use crate::monitor::{Monitor, StartError, headroom};
use crate::pipeline::{self, Handle, Parts};
use crate::plugin::repro::ReproDir;
use crate::plugin::{Cache, Engine, Sandbox, Services, StateFile};
use crate::runtime::shutdown::{Shutdown, on_signals};
use crate::runtime::tasks::{Kind, OnError, OnShutdown, Tasks};
use crate::runtime::telemetry::Telemetry;
use crate::runtime::tls;
use crate::stats::{ConnectorBoard, Instruments, MigrationBoard, Observer};
use crate::target::{Target, mongodb, postgres, sqlite, stdout};
use crate::transform::{self, Reloads};

/// How long the exporters may take to push what is left.
const FLUSH_GRACE: Duration = Duration::from_secs(5);
/// Looks at the connectors within the time that they may go without proof of progress, and the bounds of what lies between.
const CONNECTOR_LOOKS: u32 = 9;
const CONNECTORS_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Async workers: HTTP and exporters; pipelines have threads of their own.
const WORKERS: usize = 2;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "SIGTERM or SIGINT: finish and commit what is in flight, then exit 0. SIGHUP: paused pipelines go on, and plugins are loaded
again whose files have changed.

Exit status: 0 stopped as asked, 1 runtime error, 2 configuration."
)]
pub struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the agent.
///
/// # Errors
/// When something cannot be started.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint!("{report}");
            return Ok(Exit::Usage);
        }
    };
    if !loaded.report.findings().is_empty() {
        eprintln!("{}", loaded.report);
    }
    tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    runtime.block_on(agent(loaded.config))
}

async fn agent(config: AgentConfig) -> anyhow::Result<Exit> {
    let telemetry = Telemetry::start(&config.name, &config.log, &config.export)?;
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let background = Kind { on_error: OnError::Log, on_shutdown: OnShutdown::Abort };
    tasks.spawn(background, "signals", {
        let shutdown = shutdown.clone();
        async move { on_signals(shutdown).await.map_err(Into::into) }
    });
    let (control, orders) = control();
    let monitor_view = Arc::new(OnceLock::new());
    let surface = Surface {
        control: Some(control.clone()),
        monitor: Arc::clone(&monitor_view),
        ..Surface::new(&config.name, &telemetry.instruments, &telemetry.scrape)
    };
    let server = serve(config.export.listen, surface).await?;
    let until = shutdown.clone();
    tasks.spawn(Kind { on_error: OnError::Stop, on_shutdown: OnShutdown::Drain }, "http", async move {
        server.run(async move { until.wait().await }).await.map_err(Into::into)
    });
    let board = (!config.migrations.is_empty()).then(|| MigrationBoard::new(&telemetry.instruments));
    if let Some(board) = &board {
        migrate(&config, &telemetry, board, &shutdown).await?;
        for set in &config.migrations {
            let (set, board) = (set.clone(), Arc::clone(board));
            tasks.spawn(background, "migrations", async move {
                ledgers::watch(set, board, ledgers::EVERY).await;
                Ok(())
            });
        }
    }
    let sandbox = {
        let plugins = config.plugins.clone();
        tokio::task::spawn_blocking(move || owner(&plugins)).await??
    };
    let mut monitor = match config.monitor.clone() {
        Some(settings) => {
            let (sandbox, instruments) = (sandbox.clone(), telemetry.instruments.clone());
            let slots = headroom::slots(&config);
            let start = move || {
                let mut monitor = Monitor::start(&settings, &sandbox, &instruments)?;
                monitor.watch(slots)?;
                Ok::<_, StartError>(monitor)
            };
            Some(tokio::task::spawn_blocking(start).await??)
        }
        None => None,
    };
    if let Some(monitor) = &monitor {
        // Nothing was put there before.
        let _ = monitor_view.set(monitor.view());
    }
    let (pipelines, reloads) = {
        let config = config.clone();
        let instruments = telemetry.instruments.clone();
        let traces = telemetry.traces.clone();
        tokio::task::spawn_blocking(move || start_all(&config, &sandbox, &instruments, &traces)).await??
    };
    let pipelines: Arc<[Handle]> = pipelines.into();
    if config.plugins.watch {
        orders::watch(reloads.files(), control.clone())?;
    }
    orders::obey(orders, reloads)?;
    tasks.spawn(background, "sighup", {
        let pipelines = Arc::clone(&pipelines);
        async move { on_hangup(&pipelines, &control).await }
    });
    if let Some(settings) = config.connectors {
        let client = Client::new(&settings.endpoint, settings.redactor())?;
        let mut supervisor = Supervisor::new(client, &settings)?;
        let names = settings.desired.iter().map(|one| one.name.as_str());
        let board = ConnectorBoard::new(names, &telemetry.instruments);
        let every = (settings.progress.window / CONNECTOR_LOOKS).clamp(CONNECTORS_EVERY.0, CONNECTORS_EVERY.1);
        tasks.spawn(background, "connectors", async move {
            loop {
                let report = supervisor.tick().await;
                tracing::debug!(
                    connectors = report.connectors.len(),
                    reachable = report.reachable,
                    "connectors looked at"
                );
                board.looked(facts(&report));
                tokio::time::sleep(every).await;
            }
        });
    }
    tracing::info!(pipelines = pipelines.len(), "agent is running");
    shutdown.wait().await;
    tracing::info!("agent is stopping");
    let graceful = tokio::task::spawn_blocking(move || {
        monitor.iter_mut().for_each(Monitor::stop);
        pipelines.iter().for_each(Handle::stop);
        // Every one is waited for, also after one that was not graceful.
        pipelines.iter().filter(|pipeline| !pipeline.join()).count() == 0
    })
    .await?;
    let ended = tasks.run_to_end(FLUSH_GRACE).await;
    if let Some(task) = &ended.failed {
        tracing::error!(task = task.as_str(), "agent ended because a task failed");
    }
    tracing::info!(graceful, "agent stopped");
    tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_GRACE)).await?;
    Ok(if ended.failed.is_some() { Exit::Runtime } else { Exit::Ok })
}

/// Applies the migrations that are to be applied before anything else starts, one set after the other.
async fn migrate(
    config: &AgentConfig,
    telemetry: &Telemetry,
    board: &Arc<MigrationBoard>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    for set in config.migrations.iter().filter(|set| set.on_start == OnStart::Apply) {
        let plugins = config.plugins.clone();
        let rights = (set.grants.clone(), set.limits);
        let instruments = &telemetry.instruments;
        let programs = Sandboxed::new(move || sandbox(&plugins), &set.name, rights, instruments);
        let watch = migrations::watchers(&set.name, instruments, board, &telemetry.traces, None);
        migrations::start::apply(set, Arc::new(programs), watch, shutdown.token()).await?;
    }
    Ok(())
}

/// What the plugins of this agent share, with the state file as its owner.
fn owner(config: &PluginsConfig) -> anyhow::Result<Sandbox> {
    let mut sandbox = sandbox(&PluginsConfig { state_file: None, ..config.clone() })?;
    if let Some(path) = &config.state_file {
        sandbox.services.store = Arc::new(StateFile::open(path)?);
    }
    Ok(sandbox)
}

/// Starts every pipeline. Compiles plugins, so it belongs off the async workers.
fn start_all(
    config: &AgentConfig,
    sandbox: &Sandbox,
    instruments: &Instruments,
    traces: &crate::export::trace::Traces,
) -> anyhow::Result<(Vec<Handle>, Reloads)> {
    let mut reloads = Reloads::new(sandbox.clone(), instruments.clone()).recording(config.plugins.record);
    let start = |pipeline| start(pipeline, sandbox, instruments, traces, Some(&mut reloads));
    let pipelines = config.pipelines.iter().map(start).collect::<anyhow::Result<_>>()?;
    Ok((pipelines, reloads))
}

/// Starts one pipeline. Its plugins are left to `reloads`, or stay as they are.
pub(crate) fn start(
    config: &PipelineConfig,
    sandbox: &Sandbox,
    instruments: &Instruments,
    traces: &crate::export::trace::Traces,
    reloads: Option<&mut Reloads>,
) -> anyhow::Result<Handle> {
    let mut chain = transform::build(sandbox, &config.settings.name, &config.transform, instruments)
        .with_context(|| format!("pipeline `{}`", config.settings.name))?;
    if let Some(reloads) = reloads {
        reloads.add(&mut chain);
    }
    let observer = Observer::new(&config.settings.name, "kafka", config.target.kind(), config.lag, instruments.clone());
    observer.group(&config.settings.kafka.group);
    if let Some(id) = &config.migration_id {
        observer.migration_id(id);
    }
    let parts = Parts {
        target: target(&config.target),
        target_kind: config.target.kind(),
        chain,
        observer,
        traces: traces.clone(),
    };
    Ok(pipeline::start(config.settings.clone(), parts)?)
}

/// The target a configuration names, not open yet.
pub(crate) fn target(config: &TargetConfig) -> Box<dyn Target> {
    match config.clone() {
        TargetConfig::Mongodb(settings) => Box::new(mongodb::MongoTarget::new(settings)),
        TargetConfig::Postgresql(settings) => Box::new(postgres::PostgresTarget::new(settings)),
        TargetConfig::Sqlite(settings) => Box::new(sqlite::SqliteTarget::new(settings)),
        TargetConfig::Stdout(settings) => Box::new(stdout::StdoutTarget::new(settings)),
    }
}

/// What the plugins of this process share, with a copy of the state that the agent keeps for them: the file has one owner.
pub(crate) fn sandbox(config: &PluginsConfig) -> anyhow::Result<Sandbox> {
    let engine = Engine::new().context("the plugin engine could not be started")?;
    let mut services = Services::default();
    if let Some(path) = &config.state_file {
        services.store = Arc::new(StateFile::copy(path)?);
    }
    let repro = config.repro_dir.clone().map(|directory| ReproDir::new(directory, config.repro_keep));
    Ok(Sandbox { engine, cache: cache(config), services, trust: config.trust.clone(), repro })
}

/// Where compiled plugins are kept: as configured, else the user's cache directory, else nowhere.
fn cache(config: &PluginsConfig) -> Cache {
    let user = || {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
            .map(|base| base.join("whimbrel").join("plugins"))
    };
    config.cache_dir.clone().or_else(user).map_or_else(Cache::none, Cache::at)
}

/// SIGHUP: what paused the pipelines is mended, says the operator.
async fn on_hangup(pipelines: &[Handle], control: &Control) -> crate::runtime::tasks::TaskResult {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        tracing::info!("hangup received, resuming paused pipelines and looking at plugins");
        control.tell(Order::Reload).await;
        pipelines.iter().for_each(Handle::resume);
    }
    Ok(())
}
