//! Telemetry bootstrap: logs to console, file and collector; metrics to scrape and collector; traces to the collector.
//!
//! Call [`Telemetry::start`] once, inside the async runtime, before anything worth logging; call
//! [`Telemetry::shutdown`] last, so that what is queued still leaves.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, FilterFn, LevelFilter, ParseError};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::logging::{Human, Json};
use super::lossy::Lossy;
use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::export::otlp::{Exporters, OtlpError};
use crate::export::prometheus::{self, Scrape, ScrapeError};
use crate::export::{ExportConfig, Traces, process};
use crate::stats::{Clock, Instruments};

/// The variable that overrides `log.level`.
pub const FILTER_VARIABLE: &str = "WHIMBREL_LOG";
const DEFAULT_FILTER: &str = "info";

/// Who takes part in carrying a log record to the collector. Their own records are not sent there: each would cause the
/// next. They stay on console and in the file.
const CARRIERS: [&str; 9] =
    ["opentelemetry", "hyper", "hyper_util", "reqwest", "h2", "tonic", "tower", "rustls", "whimbrel::export::otlp"];

/// The `log:` section, checked.
#[derive(Clone)]
pub struct LogConfig {
    /// Filter directives.
    pub filter: String,
    /// Form of console lines.
    pub format: raw::LogFormat,
    /// Also append JSON lines here.
    pub file: Option<PathBuf>,
}

impl LogConfig {
    /// Checks the section; the environment's filter wins.
    pub fn new(raw: &raw::Log) -> Result<Self, Invalid> {
        let from_environment = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
        let path = if from_environment.is_some() { FILTER_VARIABLE } else { "log.level" };
        let filter = from_environment.or_else(|| raw.level.clone()).unwrap_or_else(|| DEFAULT_FILTER.into());
        EnvFilter::try_new(&filter).map_err(|error| {
            Invalid::new(
                path,
                format!("is not a filter: {error}"),
                "write for example `info` or `info,whimbrel::pipeline=debug`",
            )
        })?;
        let on_terminal = if io::stderr().is_terminal() { raw::LogFormat::Human } else { raw::LogFormat::Json };
        Ok(Self { filter, format: raw.format.unwrap_or(on_terminal), file: raw.file.clone() })
    }
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file.
    #[error("the log file {path} cannot be opened for appending")]
    LogFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The filter.
    #[error("the log filter is wrong")]
    Filter(#[source] ParseError),
    /// Called twice.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
    /// The scrape.
    #[error("the scrape cannot be set up")]
    Scrape(#[source] ScrapeError),
    /// The push.
    #[error("the otlp export cannot be set up")]
    Otlp(#[source] OtlpError),
}

/// Running telemetry.
#[derive(Debug)]
pub struct Telemetry {
    /// For observers and plugin meters.
    pub instruments: Instruments,
    /// For the pipelines.
    pub traces: Traces,
    /// For the HTTP endpoint.
    pub scrape: Scrape,
    meters: Vec<SdkMeterProvider>,
    tracers: Option<SdkTracerProvider>,
    loggers: Option<SdkLoggerProvider>,
}

/// Log layers, to be installed on a registry.
pub type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Milliseconds since 1970, from the system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

impl Telemetry {
    /// Starts everything. `name` is the agent's name (`service.instance.id`).
    pub fn start(name: &str, log: &LogConfig, export: &ExportConfig) -> Result<Self, TelemetryError> {
        let (telemetry, layers) = Self::prepare(name, Some(log), export)?;
        tracing_subscriber::registry().with(layers).try_init().map_err(TelemetryError::Twice)?;
        Ok(telemetry)
    }

    /// The same, with logs only in the file: for commands that draw on the terminal.
    pub fn start_in_file(name: &str, log: &LogConfig, export: &ExportConfig) -> Result<Self, TelemetryError> {
        let (telemetry, mut layers) = Self::prepare(name, Some(log), export)?;
        // The console's is always the first.
        layers.remove(0);
        tracing_subscriber::registry().with(layers).try_init().map_err(TelemetryError::Twice)?;
        Ok(telemetry)
    }

    /// The same, with only warnings on the console, through `console`: for commands that show what they do themselves. What
    /// they show is not said twice: `shown` is the target of log lines that the display has already. The variable for the
    /// filter wins.
    pub fn start_beside_display(
        name: &str,
        log: &LogConfig,
        export: &ExportConfig,
        console: BoxMakeWriter,
        shown: &str,
    ) -> Result<Self, TelemetryError> {
        let (telemetry, mut layers) = Self::prepare(name, Some(log), export)?;
        layers.remove(0);
        let own = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
        let filter =
            EnvFilter::try_new(own.unwrap_or_else(|| format!("warn,{shown}=off"))).map_err(TelemetryError::Filter)?;
        let layer = tracing_subscriber::fmt::layer().with_writer(console).with_ansi(false);
        layers.insert(0, layer.event_format(Human).with_filter(filter).boxed());
        tracing_subscriber::registry().with(layers).try_init().map_err(TelemetryError::Twice)?;
        Ok(telemetry)
    }

    /// Metrics and traces as [`Telemetry::start`] sets them up, and the log layers for the caller to install; without
    /// `log`, only the bridge to the collector. For tests and for embedding.
    pub fn prepare(
        name: &str,
        log: Option<&LogConfig>,
        export: &ExportConfig,
    ) -> Result<(Self, Layers), TelemetryError> {
        let resource = resource(name);
        let otlp = export.otlp.as_ref();
        let exporters = otlp.map(Exporters::new).transpose().map_err(TelemetryError::Otlp)?;
        let wanted = |wanted: bool| exporters.as_ref().filter(|_| wanted);

        let max_series = export.max_series_per_metric;
        let (scrape, reader) = Scrape::new().map_err(TelemetryError::Scrape)?;
        let mut builder = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_view(prometheus::view(max_series))
            .with_reader(reader);
        let mut conventions = None;
        if let Some((exporters, otlp)) = wanted(otlp.is_some_and(|otlp| otlp.metrics)).zip(otlp) {
            let push = || -> Result<_, TelemetryError> {
                let exporter = exporters.metrics().map_err(TelemetryError::Otlp)?;
                Ok(PeriodicReader::builder(exporter).with_interval(otlp.interval).build())
            };
            builder = builder.with_reader(push()?);
            if otlp.semantic_conventions {
                // A provider of its own: these names go to the collector and not into the scrape.
                let view = prometheus::view(max_series);
                let provider =
                    SdkMeterProvider::builder().with_resource(resource.clone()).with_view(view).with_reader(push()?);
                conventions = Some(provider.build());
            }
        }
        let meters = builder.build();
        let scope = || InstrumentationScope::builder("whimbrel").with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = meters.meter_with_scope(scope());
        let conventions_meter = conventions.as_ref().map(|provider| provider.meter_with_scope(scope()));
        let instruments = Instruments::new(&meter, conventions_meter.as_ref(), max_series, system_clock());
        process::register(&meter);

        let tracers = match wanted(otlp.is_some_and(|otlp| otlp.traces)) {
            Some(exporters) => {
                let exporter = exporters.traces().map_err(TelemetryError::Otlp)?;
                let provider =
                    SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter);
                Some(provider.build())
            }
            None => None,
        };
        let loggers = match wanted(otlp.is_some_and(|otlp| otlp.logs)) {
            Some(exporters) => {
                let exporter = exporters.logs().map_err(TelemetryError::Otlp)?;
                Some(SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
            }
            None => None,
        };
        let layers = layers(log, loggers.as_ref())?;
        let telemetry = Self {
            instruments,
            traces: tracers.as_ref().map_or_else(Traces::off, Traces::new),
            scrape,
            meters: std::iter::once(meters).chain(conventions).collect(),
            tracers,
            loggers,
        };
        Ok((telemetry, layers))
    }

    /// Sends what is queued and ends, or gives up after `grace`. Blocks: call it off the async workers (`spawn_blocking`)
    /// while the runtime still runs, as that carries the requests.
    ///
    /// The SDK's own time-outs do not hold while an export hangs in a collector that does not answer, so each provider ends
    /// on a thread of its own, and threads that are late are left behind: the process is about to end.
    pub fn shutdown(self, grace: Duration) {
        let (done, outcomes) = mpsc::channel();
        let mut pending = 0;
        let mut end = |signal: &'static str, shutdown: Box<dyn FnOnce() -> OTelSdkResult + Send>| {
            let done = done.clone();
            let thread = std::thread::Builder::new().name(format!("end-{signal}"));
            // The receiver is gone when the grace is over; then nobody wants to know.
            let spawned = thread.spawn(move || drop(done.send((signal, shutdown()))));
            pending += usize::from(spawned.is_ok());
        };
        for meters in self.meters {
            end("metrics", Box::new(move || meters.shutdown_with_timeout(grace)));
        }
        if let Some(tracers) = self.tracers {
            end("traces", Box::new(move || tracers.shutdown_with_timeout(grace)));
        }
        if let Some(loggers) = self.loggers {
            end("logs", Box::new(move || loggers.shutdown_with_timeout(grace)));
        }
        let deadline = Instant::now() + grace;
        for _ in 0..pending {
            match outcomes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((_, Ok(()))) => {}
                Ok((signal, Err(error))) => {
                    tracing::warn!(signal, error = super::logging::chain(&error), "last telemetry could not be sent");
                }
                Err(_) => {
                    tracing::warn!(grace_seconds = grace.as_secs_f64(), "last telemetry could not be sent in time");
                    break;
                }
            }
        }
    }
}

fn resource(name: &str) -> Resource {
    Resource::builder()
        .with_service_name("whimbrel")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", name.to_owned()),
        ])
        .build()
}

fn layers(log: Option<&LogConfig>, loggers: Option<&SdkLoggerProvider>) -> Result<Layers, TelemetryError> {
    let mut layers = Layers::new();
    let filter = |log: &LogConfig| EnvFilter::try_new(&log.filter).map_err(TelemetryError::Filter);
    if let Some(log) = log {
        let console = tracing_subscriber::fmt::layer().with_writer(|| Lossy::silent(io::stderr())).with_ansi(false);
        layers.push(match log.format {
            raw::LogFormat::Human => console.event_format(Human).with_filter(filter(log)?).boxed(),
            raw::LogFormat::Json => console.event_format(Json).with_filter(filter(log)?).boxed(),
        });
        if let Some(path) = &log.file {
            let file = open(path).map_err(|source| TelemetryError::LogFile { path: path.clone(), source })?;
            let file = Lossy::named(file, format!("the log file {}", path.display()));
            let writer = tracing_subscriber::fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
            layers.push(writer.event_format(Json).with_filter(filter(log)?).boxed());
        }
    }
    if let Some(loggers) = loggers {
        let own = FilterFn::new(|event| !is_carrier(event.target()));
        let bridge = OpenTelemetryTracingBridge::new(loggers).with_filter(own);
        layers.push(match log {
            Some(log) => bridge.with_filter(filter(log)?).boxed(),
            None => bridge.with_filter(LevelFilter::INFO).boxed(),
        });
    }
    Ok(layers)
}

/// Appending, so that a file that is rotated by copying and truncating goes on at its new end.
fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn is_carrier(target: &str) -> bool {
    CARRIERS.iter().any(|carrier| {
        target.strip_prefix(carrier).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-', '_']))
    })
}

crate::config::opaque::opaque_debug!(LogConfig);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_carries_logs_does_not_log_to_the_collector() {
        for carrier in ["hyper::client", "h2", "opentelemetry_sdk", "opentelemetry-otlp", "whimbrel::export::otlp"] {
            assert!(is_carrier(carrier), "{carrier}");
        }
        for other in ["whimbrel::pipeline", "hyperspace", "rdkafka::client", "whimbrel::export::http"] {
            assert!(!is_carrier(other), "{other}");
        }
    }

    #[test]
    fn a_wrong_filter_is_found_before_the_start() {
        let raw = raw::Log { level: Some("info,=,=".into()), ..raw::Log::default() };
        assert_eq!(LogConfig::new(&raw).unwrap_err().path, "log.level");
        assert_eq!(LogConfig::new(&raw::Log::default()).unwrap().filter, "info");
    }
}
