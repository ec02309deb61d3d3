//! The demo from beginning to end: start broker, agent and shop; show; stop the shop, drain, prove.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::generator::{Generator, GeneratorError, Order};
use super::proof::{ProofError, prove};
use super::seen::{Eye, settled};
use super::view::{Screen, plain};
use super::world::{PARTITIONS, PIPELINE, World, WorldError};
use crate::config::{self, Report};
use crate::export::http::{HttpError, Surface, serve};
use crate::export::prometheus::Scrape;
use crate::pipeline::Handle;
use crate::runtime::shutdown::{Shutdown, on_signals};
use crate::runtime::tasks::{Kind, Tasks};
use crate::runtime::telemetry::{Telemetry, TelemetryError};
use crate::source::kafka::watch::now_ms;
use crate::stats::Observer;

/// How often the full-screen view is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// How often the plain view prints a line.
const LINE: Duration = Duration::from_secs(2);
/// How long what was sent may take to become durable once the shop has stopped.
const DRAIN: Duration = Duration::from_secs(60);
/// How long the services may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What a person may choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// End after so long; `None`: at Ctrl-C.
    pub duration: Option<Duration>,
    /// Steady rate, records a second.
    pub rate: f64,
    /// Makes the shop.
    pub seed: u64,
    /// Keep database, configuration and log here.
    pub keep: Option<PathBuf>,
    /// Full screen rather than lines.
    pub full_screen: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Every claim with what speaks against it, for people.
    pub text: String,
    /// True when all of them hold.
    pub proven: bool,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Broker or directory.
    #[error(transparent)]
    World(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// The demo's own configuration is wrong: a bug.
    #[error("the demo's configuration is refused:\n{0}")]
    Config(Report),
    /// Logs and metrics.
    #[error("telemetry could not be started")]
    Telemetry(#[from] TelemetryError),
    /// The HTTP endpoint.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The terminal.
    #[error("the terminal cannot be used; try --no-tui")]
    Terminal(#[from] std::io::Error),
}

impl From<WorldError> for DemoError {
    fn from(error: WorldError) -> Self {
        Self::World(Box::new(error))
    }
}

impl From<GeneratorError> for DemoError {
    fn from(error: GeneratorError) -> Self {
        Self::World(Box::new(error))
    }
}

impl From<ProofError> for DemoError {
    fn from(error: ProofError) -> Self {
        Self::World(Box::new(error))
    }
}

/// Starts one pipeline from its configuration and the telemetry; the command line knows how.
pub type StartPipeline =
    dyn Fn(&config::AgentConfig, &Telemetry) -> Result<Handle, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// Runs the demo. Must be called inside an async runtime with several workers.
///
/// # Errors
/// When a part of it could not be started, or nothing could be proven.
pub async fn run(
    options: Options,
    start: Arc<StartPipeline>,
    out: &mut (dyn Write + Send),
) -> Result<Summary, DemoError> {
    let mut world = World::new(options.keep.as_deref())?;
    let loaded = config::load(&world.config()).map_err(DemoError::Config)?;
    let mut config = loaded.config;
    // The terminal belongs to the view: what the agent logs goes to its file.
    config.log.file = Some(world.log());
    let telemetry = Telemetry::start_in_file(&config.name, &config.log, &config.export)?;
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let signals = shutdown.clone();
    tasks.spawn(Kind::SERVICE, "signals", async move { on_signals(signals).await.map_err(Into::into) });
    let surface = Surface::new(&config.name, &telemetry.instruments, &telemetry.scrape);
    let server = serve(config.export.listen, surface).await?;
    let address = server.address();
    // Not the token: the pages answer until the proof is made.
    tasks.spawn(Kind::SERVICE, "http", async move { server.run(std::future::pending()).await.map_err(Into::into) });

    let (telemetry, handle) = tokio::task::spawn_blocking(move || {
        let handle = start(&config, &telemetry);
        (telemetry, handle)
    })
    .await
    .map_err(|error| DemoError::World(Box::new(error)))?;
    let handle = handle?;
    let observer = telemetry.instruments.observers().into_iter().find(|observer| &**observer.pipeline() == PIPELINE);
    let observer = observer.ok_or_else(|| DemoError::World("the pipeline has no observer".into()))?;
    let watched = Arc::clone(&observer);
    let generator = Generator::start(Order {
        brokers: world.brokers(),
        partitions: PARTITIONS,
        seed: options.seed,
        rate: options.rate,
        settled: Box::new(move || settled(&watched, now_ms())),
    })?;
    let part = Part { generator: &generator, observer: &observer, scrape: &telemetry.scrape, shutdown: &shutdown };
    if options.full_screen {
        let mut screen = Screen::open(address)?;
        tokio::task::block_in_place(|| part.full_screen(&options, &mut screen))?;
    } else {
        writeln!(out, "whimbrel demo: http://{address}/metrics /healthz /readyz /api/v1/status; Ctrl-C ends it")?;
        part.lines(&options, out).await?;
    }
    generator.stop();
    writeln!(out, "the shop has stopped; draining")?;
    let generated = tokio::task::spawn_blocking(move || generator.join())
        .await
        .map_err(|error| DemoError::World(Box::new(error)))??;
    let (nothing, apply, dead) = generated.ledger.counts();
    let heartbeats = generated.ledger.records().filter(|(topic, ..)| topic.starts_with("__")).count() as u64;
    let sent = nothing + apply + dead - heartbeats;
    let drained = drain(&observer, sent).await;
    let graceful =
        tokio::task::spawn_blocking(move || handle.join()).await.map_err(|error| DemoError::World(Box::new(error)))?;
    let database = world.database();
    let checks = tokio::task::spawn_blocking(move || prove(&generated, &database, PIPELINE))
        .await
        .map_err(|error| DemoError::World(Box::new(error)))??;
    let mut text = String::new();
    let mut proven = true;
    for check in &checks {
        proven &= check.holds();
        text.push_str(&format!("{check}\n"));
    }
    if !drained || !graceful {
        text.push_str(" note  the pipeline did not settle everything in time; see the log\n");
    }
    text.push_str(match proven {
        true => "nothing was lost, nothing doubled, nothing left unmasked",
        false => "NOT PROVEN: see the differences above",
    });
    if !proven {
        // Whoever looks for the reason needs what is there.
        world.keep();
    }
    if let Some(directory) = world.kept() {
        text.push_str(&format!("\nkept in {}: shop.db, whimbrel.yaml, whimbrel.log", directory.display()));
    }
    shutdown.request();
    tasks.run_to_end(GRACE).await;
    let _ = tokio::task::spawn_blocking(move || telemetry.shutdown(GRACE)).await;
    Ok(Summary { text, proven })
}

/// What the views look at.
struct Part<'a> {
    generator: &'a Generator,
    observer: &'a Observer,
    scrape: &'a Scrape,
    shutdown: &'a Shutdown,
}

impl Part<'_> {
    fn is_over(&self, options: &Options) -> bool {
        let time_is_up = options.duration.is_some_and(|duration| self.generator.begun.elapsed() >= duration);
        time_is_up || self.shutdown.is_requested() || self.generator.is_finished()
    }

    fn full_screen(&self, options: &Options, screen: &mut Screen) -> std::io::Result<()> {
        let mut eye = Eye::new();
        while !self.is_over(options) {
            screen.show(&eye.look(self.generator, self.observer, self.scrape, settled(self.observer, now_ms())))?;
            if Screen::wants_to_end(FRAME)? {
                break;
            }
        }
        Ok(())
    }

    async fn lines(&self, options: &Options, out: &mut (dyn Write + Send)) -> std::io::Result<()> {
        let mut eye = Eye::new();
        let mut next = Instant::now() + LINE;
        while !self.is_over(options) {
            tokio::select! {
                () = self.shutdown.wait() => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            if Instant::now() >= next {
                next += LINE;
                let seen = eye.look(self.generator, self.observer, self.scrape, settled(self.observer, now_ms()));
                writeln!(out, "{}", plain(&seen))?;
            }
        }
        Ok(())
    }
}

/// Waits until everything sent is durable; false when it takes too long.
async fn drain(observer: &Observer, sent: u64) -> bool {
    let deadline = Instant::now() + DRAIN;
    while settled(observer, now_ms()) < sent {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
