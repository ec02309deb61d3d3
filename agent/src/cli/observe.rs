//! `whimbrel observe`: runs somebody else's migration command as if we were not there, and exports what can be seen of it.
//! How it is run and watched is [`whimbrel_migrate::observe`]'s business; here are arguments, telemetry and the summary.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use whimbrel_migrate::connect;
use whimbrel_migrate::database::Database;
use whimbrel_migrate::observe::{self, Observed, Patterns, Settings, Streams};

use super::Exit;
use super::around::{Around, DATABASE, database_url};
use crate::config::units::Millis;
use crate::config::{self, AgentConfig};
use crate::export::http::{Surface, serve};
use crate::migrations::{log, watchers};
use crate::runtime::logging::{chain, escaped};
use crate::runtime::lossy::Lossy;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::tasks::{Kind, Tasks};
use crate::runtime::telemetry::Telemetry;
use crate::runtime::tls;
use crate::stats::MigrationBoard;

/// How long the exporters may take to push what is left.
const FLUSH_GRACE: Duration = Duration::from_secs(5);
/// Async workers: one would do, but a collector that is slow must not hold up a signal.
const WORKERS: usize = 2;
/// An id is a label of metrics.
const LONGEST_ID: usize = 100;

/// Arguments of `observe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  whimbrel observe --migration-id shop-42 -- flyway migrate
  WHIMBREL_DATABASE=postgresql://me:…@127.0.0.1/shop whimbrel observe --migration-id 42 -- alembic upgrade head
  whimbrel observe --migration-id 42 --progress-pattern 'rows=(?<done>\\d+)/(?<total>\\d+)' -- ./migrate.sh

The command gets standard input, its output goes through as it is, and its signals and exit status are its own: 128 and the
signal's number if it was killed, 127 if there is no such command, 126 if it cannot be run; 2 if it was not begun because the
arguments here are wrong. Where standard output or standard error is a terminal the command gets the terminal itself, and
only what goes elsewhere is searched for progress, unless there is a --progress-pattern: then all of it is.

Without --progress-pattern, lines such as `table orders: 1200/5000 rows`, `3 of 10` and `42.5 %` are understood. A pattern
is a regular expression with groups named done or percent, and total and table where there are such.

The database is looked at from outside and may be one that only reads are allowed in: rows by which tables grow, who waits
for whom, what the server says of its progress. That it cannot be reached is said once; the command goes on.

The command has the environment of this one, without WHIMBREL_DATABASE: that is for us. If it needs it, write
`env WHIMBREL_DATABASE=… COMMAND`. What a configuration reads with ${env:NAME} it gets too; withhold it with `env -u NAME`.")]
pub struct ObserveArgs {
    /// What the migration is called in metrics, spans, logs and the status
    #[arg(long, value_name = "ID", value_parser = id)]
    migration_id: String,
    /// The database the command works in: mongodb://…, postgresql://…, mysql://…, sqlite:FILE; or WHIMBREL_DATABASE
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// PEM file of trusted authorities for TLS
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How a line of the output tells the progress; may be repeated
    #[arg(long, value_name = "RE")]
    progress_pattern: Vec<String>,
    /// How often to look at the database
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Millis,
    /// Configuration file, for its sections `log`, `http`, `metrics` and `otlp`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve /metrics, /api/v1/migrations and /healthz there while the command runs
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Write what was seen to FILE as JSON, when the command has ended
    #[arg(long, value_name = "FILE")]
    summary_file: Option<PathBuf>,
    /// Also append JSON log lines to FILE, `migrations.log` unless said; without it to `log.file` of the configuration
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "migrations.log")]
    log_file: Option<PathBuf>,
    /// No line at the end that says how it went
    #[arg(long)]
    quiet: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn id(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("write a name".into()),
        length if length > LONGEST_ID => Err(format!("at most {LONGEST_ID} bytes")),
        _ if text.chars().any(char::is_control) => Err("without control characters".into()),
        _ => Ok(text.to_owned()),
    }
}

/// Runs the command and gives its exit status.
///
/// # Errors
/// When telemetry, endpoint or runtime cannot be started; then the command was not begun.
pub fn run(args: ObserveArgs) -> anyhow::Result<Exit> {
    let (around, settings) = match settle(&args) {
        Ok(settled) => settled,
        Err(wrong) => {
            for (index, line) in wrong.lines().enumerate() {
                eprintln!("{}{}", if index == 0 { "whimbrel: " } else { "" }, escaped(line));
            }
            return Ok(Exit::Usage);
        }
    };
    tls::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    runtime.block_on(observed(&args, &around, settings))
}

fn settle(args: &ObserveArgs) -> Result<(Around, Settings), String> {
    let mut around = around(args.config.as_deref())?;
    if args.log_file.is_some() {
        around.log.file.clone_from(&args.log_file);
    }
    let patterns = match args.progress_pattern.is_empty() {
        true => Patterns::default(),
        false => Patterns::new(args.progress_pattern.iter().map(String::as_str)).map_err(|error| chain(&error))?,
    };
    let streams =
        Streams::own(!args.progress_pattern.is_empty()).map_err(|error| format!("standard output: {error}"))?;
    let settings = Settings {
        id: args.migration_id.clone(),
        database: database(args)?,
        interval: args.interval.0,
        patterns,
        streams,
        withheld: vec![DATABASE.into()],
    };
    Ok((around, settings))
}

fn around(file: Option<&Path>) -> Result<Around, String> {
    let Some(file) = file else { return Around::bare() };
    let AgentConfig { name, log, export, .. } = config::load(file).map_err(|report| report.to_string())?.config;
    Around { name, log, export }.with_environment()
}

fn database(args: &ObserveArgs) -> Result<Option<Arc<dyn Database>>, String> {
    let Some(url) = database_url(args.database.as_deref()) else { return Ok(None) };
    let settings = connect::Settings { ca_file: args.ca_file.clone(), ..connect::Settings::default() };
    connect::open(&url, settings).map(|database| Some(Arc::from(database))).map_err(|error| error.to_string())
}

async fn observed(args: &ObserveArgs, around: &Around, settings: Settings) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::new();
    let console = BoxMakeWriter::new(|| Lossy::silent(io::stderr()));
    let telemetry = Telemetry::start_beside_display(&around.name, &around.log, &around.export, console, log::TARGET)?;
    let board = MigrationBoard::new(&telemetry.instruments);
    let watch = watchers("", &telemetry.instruments, &board, &telemetry.traces, None);
    let tasks = Tasks::new(shutdown);
    if let Some(address) = args.listen {
        let surface = Surface::new(&around.name, &telemetry.instruments, &telemetry.scrape);
        let server = serve(address, surface).await?;
        tasks.spawn(Kind::SERVICE, "http", async move { server.run(std::future::pending()).await.map_err(Into::into) });
    }
    let database = settings.database.as_ref().map(|database| database.address());
    let (command, arguments) = args.command.split_first().context("no command")?;
    let observed = observe::run(command, arguments, settings, &watch, &CancellationToken::new()).await;
    let observed = observed.context("the command cannot be observed")?;
    if let Some(file) = &args.summary_file
        && let Err(error) = summarize(file, command.to_string_lossy().as_ref(), database.as_deref(), &observed)
    {
        tell(&format!("the summary cannot be written to {}: {error}", file.display()));
    }
    if !args.quiet || !observed.started {
        tell(&line(&observed));
    }
    tokio::task::spawn_blocking(move || telemetry.shutdown(FLUSH_GRACE)).await?;
    // The board's gauges are pushed as gone above; it must live until then.
    drop(board);
    Ok(Exit::Status(observed.status))
}

fn tell(line: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "whimbrel: {}", escaped(line));
}

/// How it went.
fn line(observed: &Observed) -> String {
    let duration = Duration::from_millis(observed.duration_ms).as_secs_f64();
    let went = observed.error.as_deref().unwrap_or("the command ended well");
    let counts = observed.progress.counts.iter();
    let rows: String = counts.map(|(table, count)| format!(", {table} +{} rows", count.done)).collect();
    format!("{}: {went} after {duration:.1} s{rows}", observed.id)
}

fn summarize(file: &Path, command: &str, database: Option<&str>, observed: &Observed) -> io::Result<()> {
    let mut summary = serde_json::json!({"command": command, "database": database});
    if let (Some(summary), serde_json::Value::Object(seen)) = (summary.as_object_mut(), serde_json::to_value(observed)?)
    {
        summary.extend(seen);
    }
    let mut file = File::create(file)?;
    serde_json::to_writer_pretty(&mut file, &summary)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_migrate::ledger::Progress;

    #[test]
    fn the_last_line_says_how_it_went() {
        let mut progress = Progress::default();
        progress.add("orders", 1_200);
        let mut observed = Observed {
            id: "7".into(),
            started: true,
            status: 0,
            signal: None,
            error: None,
            started_at_ms: 0,
            duration_ms: 2_340,
            progress,
            measured: None,
            samples: 0,
            samples_failed: 0,
        };
        assert_eq!(line(&observed), "7: the command ended well after 2.3 s, orders +1200 rows");
        observed.error = Some("the command ended with status 3".into());
        assert_eq!(line(&observed), "7: the command ended with status 3 after 2.3 s, orders +1200 rows");
    }

    #[test]
    fn an_id_is_a_label() {
        assert!(id("").is_err() && id("a\nb").is_err() && id(&"x".repeat(101)).is_err());
        assert_eq!(id("shop 42: é").unwrap(), "shop 42: é");
    }
}
