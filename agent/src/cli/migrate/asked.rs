//! What is asked for: options of the command line, put over what the configuration has, as settings.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use whimbrel_migrate::migration::Copies;
use whimbrel_migrate::verify::Endpoint;

use super::outcome::Stop;
use crate::cli::around::{Around, database_url};
use crate::config::plugins::PluginsConfig;
use crate::config::secret::Secret;
use crate::config::units::Millis;
use crate::config::{self, AgentConfig, raw};
use crate::export::ExportConfig;
use crate::migrations::config::{DatabaseConfig, MigrationsConfig, check_placeholder};
use crate::runtime::telemetry::LogConfig;

/// Where log lines go when nobody says.
const LOG_FILE: &str = "migrations.log";

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Which migrations of which database.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Configuration file with a section `migrations`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "database"])]
    config: Option<PathBuf>,
    /// Which entry of that section; not needed when there is one
    #[arg(long, value_name = "NAME", requires = "config")]
    name: Option<String>,
    /// Where the files are; `migrations` unless said
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The database: mongodb://…, postgresql://…, mysql://…, sqlite:FILE; or the variable WHIMBREL_DATABASE
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Schema of the ledger and of names without one (PostgreSQL), or the database (MongoDB)
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// PEM file of trusted authorities for TLS
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// What the table or collection is called that says what was applied
    #[arg(long, value_name = "NAME")]
    ledger: Option<String>,
    /// What ${K} in SQL files stands for; may be repeated
    #[arg(long, value_name = "K=V", value_parser = placeholder)]
    placeholder: Vec<(String, String)>,
    /// Apply pending versions below an applied one, too
    #[arg(long)]
    out_of_order: bool,
    /// A number that is missing in the count of versions is nothing to stop at
    #[arg(long)]
    allow_gaps: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Also append JSON log lines to FILE, `migrations.log` unless said; without it to `log.file` of the configuration
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = LOG_FILE)]
    log_file: Option<PathBuf>,
}

/// How they are run.
#[derive(Debug, Default, Args)]
pub(super) struct How {
    /// Serve /metrics, /api/v1/migrations and /healthz there while it runs
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// How long to wait for somebody else's lock, such as 60s
    #[arg(long, value_name = "TIME")]
    wait: Option<Millis>,
    /// How long the lock outlives the last sign of life of who holds it, such as 15s
    #[arg(long, value_name = "TIME")]
    lease: Option<Millis>,
    /// SQL: how long a statement waits for a lock that somebody else holds, such as 5s
    #[arg(long, value_name = "TIME")]
    lock_timeout: Option<Millis>,
    /// SQL: how often a statement that did not get its lock is tried again
    #[arg(long, value_name = "N")]
    lock_retries: Option<u32>,
    /// Documents or rows of a chunk, where the step does not say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    chunk: Option<u64>,
}

fn placeholder(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    check_placeholder(name)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Whether copied tables are compared with their sources.
#[derive(Debug, Default, Args)]
pub(super) struct Verify {
    /// Also compare copied tables with their sources (checks of the kind `copy`): a pass over both
    #[arg(long)]
    verify: bool,
    /// Where the sources are, when that is another database
    #[arg(long, value_name = "URL", requires = "verify")]
    source: Option<String>,
}

impl Verify {
    /// Puts it into what is asked for.
    pub(super) fn into(self, mut asked: Asked) -> Result<Asked, Stop> {
        if self.verify {
            let endpoint = |url: &str| Endpoint::parse(url).map_err(|error| Stop::before_the_ledger(&error));
            let target = endpoint(asked.migrations.database.url.expose())?;
            let source = self.source.as_deref().map_or_else(|| Ok(target.clone()), endpoint)?;
            asked.migrations.options.copies = Some(Copies { source, target });
        }
        Ok(asked)
    }
}

/// What is to be done, settled.
pub(super) struct Asked {
    pub(super) migrations: MigrationsConfig,
    pub(super) format: Format,
    /// Name of this process in what is exported.
    pub(super) name: String,
    pub(super) log: LogConfig,
    pub(super) export: ExportConfig,
    pub(super) plugins: PluginsConfig,
}

impl Where {
    /// Puts everything together.
    ///
    /// # Errors
    /// With the status to end with, when it was said what is wrong.
    pub(super) fn settle(self, how: &How) -> Result<Asked, Stop> {
        let mut asked = match &self.config {
            Some(file) => of_config(file, self.name.as_deref())?,
            None => self.of_command_line()?,
        };
        let migrations = &mut asked.migrations;
        if let Some(ledger) = &self.ledger {
            crate::migrations::config::check_ledger(ledger).map_err(|invalid| Stop::usage(format!("--{invalid}")))?;
            migrations.ledger.clone_from(ledger);
        }
        if self.schema.is_some() {
            migrations.database.namespace = self.schema;
        }
        if self.ca_file.is_some() {
            migrations.database.ca_file = self.ca_file;
        }
        migrations.placeholders.extend(self.placeholder);
        migrations.policy.out_of_order |= self.out_of_order;
        migrations.policy.gaps |= self.allow_gaps;
        let options = &mut migrations.options;
        let set = |field: &mut std::time::Duration, written: Option<Millis>| {
            if let Some(time) = written {
                *field = time.0;
            }
        };
        set(&mut options.wait, how.wait);
        set(&mut options.lease, how.lease);
        set(&mut options.lock_timeout, how.lock_timeout);
        if options.lease < crate::migrations::config::MIN_LEASE || options.lock_timeout.is_zero() {
            return Err(Stop::usage("--lease is 1s at least, and --lock-timeout more than 0".to_owned()));
        }
        options.lock_retries = how.lock_retries.unwrap_or(options.lock_retries);
        options.chunk = how.chunk.unwrap_or(options.chunk);
        asked.format = self.format;
        if self.log_file.is_some() {
            asked.log.file = self.log_file;
        }
        Ok(asked)
    }

    fn of_command_line(&self) -> Result<Asked, Stop> {
        let Some(url) = database_url(self.database.as_deref()) else {
            let what = "no database is named; write --database URL, set WHIMBREL_DATABASE, or name a --config FILE";
            return Err(Stop::usage(what.to_owned()));
        };
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from("migrations"));
        let Around { name, log, export } = Around::bare().map_err(Stop::usage)?;
        let plugins = PluginsConfig::try_from(&raw::Config::default().plugins);
        Ok(Asked {
            migrations: MigrationsConfig::bare("", directory, DatabaseConfig::of_url(Secret::new(url))),
            format: self.format,
            name,
            log,
            export,
            plugins: plugins.map_err(|invalid| Stop::usage(invalid.to_string()))?,
        })
    }
}

fn of_config(file: &std::path::Path, name: Option<&str>) -> Result<Asked, Stop> {
    let loaded = config::load(file).map_err(|report| Stop::usage(report.to_string()))?;
    if !loaded.report.findings().is_empty() {
        let _ = writeln!(std::io::stderr(), "{}", loaded.report);
    }
    let AgentConfig { name: agent, export, log, plugins, migrations, .. } = loaded.config;
    let names = migrations.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
    let mut fitting: Vec<_> = migrations.into_iter().filter(|one| name.is_none_or(|name| one.name == name)).collect();
    let migrations = match (fitting.pop(), fitting.is_empty(), name) {
        (Some(one), true, _) => one,
        (Some(_), false, _) => {
            return Err(Stop::usage(format!("there are several migrations ({names}); add --name NAME")));
        }
        (None, _, Some(name)) if !names.is_empty() => {
            return Err(Stop::usage(format!("there are no migrations of the name {name}; known are {names}")));
        }
        (None, ..) => return Err(Stop::usage(format!("{} has no section `migrations`", file.display()))),
    };
    let around = Around { name: agent, log, export }.with_environment().map_err(Stop::usage)?;
    let Around { name, log, export } = around;
    Ok(Asked { migrations, format: Format::Text, name, log, export, plugins })
}
