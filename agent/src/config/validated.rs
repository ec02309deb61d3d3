//! What the code sees: the sections, each checked by the stage it belongs to, and the checks between them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::Severity;
use super::invalid::Invalid;
use super::plugins::{NAME_HINT, PluginsConfig, check_name, check_transform};
use super::raw;
use crate::connect;
use crate::decode::DecodeConfig;
use crate::export::ExportConfig;
use crate::migrations::config::MigrationsConfig;
use crate::monitor::config::MonitorConfig;
use crate::pipeline::Settings;
use crate::pipeline::config::DeliveryConfig;
use crate::pipeline::mapping::Mapping;
use crate::runtime::telemetry::LogConfig;
use crate::source::kafka::KafkaConfig;
use crate::source::kafka::config::DEFAULT_TOPIC;
use crate::stats::LagConfig;
use crate::target::{DeliveryMode, mongodb, postgres, sqlite, stdout};

/// The agent's configuration.
#[derive(Clone)]
pub struct AgentConfig {
    /// Name of this agent.
    pub name: String,
    /// HTTP endpoint, OTLP, budgets of the metrics.
    pub export: ExportConfig,
    /// Logs.
    pub log: LogConfig,
    /// Plugin host.
    pub plugins: PluginsConfig,
    /// Pipelines; names are unique.
    pub pipelines: Vec<PipelineConfig>,
    /// Debezium connectors.
    pub connectors: Option<connect::settings::Settings>,
    /// Migrations; names are unique.
    pub migrations: Vec<MigrationsConfig>,
    /// What is watched, and who is told.
    pub monitor: Option<MonitorConfig>,
}

/// A pipeline's configuration.
#[derive(Clone)]
pub struct PipelineConfig {
    /// Source, decode, mapping, delivery.
    pub settings: Settings,
    /// Plugins, in order; checked as far as it goes without loading them.
    pub transform: Vec<raw::Transform>,
    /// Where rows go.
    pub target: TargetConfig,
    /// Lag states.
    pub lag: LagConfig,
    /// The migration it is part of; none: it is one by itself.
    pub migration_id: Option<String>,
}

/// A target's configuration.
#[derive(Clone)]
pub enum TargetConfig {
    /// MongoDB.
    Mongodb(mongodb::Settings),
    /// PostgreSQL.
    Postgresql(postgres::Settings),
    /// SQLite.
    Sqlite(sqlite::Settings),
    /// Standard output or a file.
    Stdout(stdout::Settings),
}

impl TargetConfig {
    /// The word that names its kind in configuration and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Mongodb(_) => "mongodb",
            Self::Postgresql(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
            Self::Stdout(_) => "stdout",
        }
    }
}

// Any text in these may be what a reference was resolved to, so a debug print shows how much there is, and not what.
impl fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig").field("pipelines", &self.pipelines.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PipelineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineConfig").field("plugins", &self.transform.len()).finish_non_exhaustive()
    }
}

/// The findings of one check.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// What is wrong, with paths from the root.
    pub(crate) findings: Vec<(Severity, Invalid)>,
}

impl Checked {
    fn error(&mut self, invalid: Invalid) {
        self.findings.push((Severity::Error, invalid));
    }

    fn warn(&mut self, invalid: Invalid) {
        self.findings.push((Severity::Warning, invalid));
    }

    /// The section, or its finding under `parent`.
    fn keep<T>(&mut self, parent: &str, result: Result<T, Invalid>) -> Option<T> {
        let placed = |invalid: Invalid| if parent.is_empty() { invalid } else { invalid.within(parent) };
        result.map_err(|invalid| self.error(placed(invalid))).ok()
    }
}

/// Where the entries of lists that could be read stand in the file: some may have been unreadable.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    /// Index of each pipeline.
    pub(crate) pipelines: Vec<usize>,
    /// Index of each entry of `migrations`.
    pub(crate) migrations: Vec<usize>,
    /// Whether the file names pipelines or migrations, readable or not.
    pub(crate) written: bool,
}

/// Checks everything and makes the configuration of it.
pub(crate) fn validate(raw: &raw::Config, positions: &Positions) -> (Option<AgentConfig>, Checked) {
    let mut checked = Checked::default();
    // Once for each section, so that one does not hide the other, and once for the whole.
    let default = raw::Config::default();
    let mut export = |http, otlp, metrics| checked.keep("", ExportConfig::new(http, otlp, metrics)).is_some();
    let whole = export(&raw.http, None, &default.metrics)
        & export(&default.http, raw.otlp.as_ref(), &default.metrics)
        & export(&default.http, None, &raw.metrics);
    let export = whole.then(|| ExportConfig::new(&raw.http, raw.otlp.as_ref(), &raw.metrics).ok()).flatten();
    if export.as_ref().is_some_and(|export| !export.listen.ip().is_loopback()) {
        checked.warn(Invalid::new(
            "http.listen",
            "other machines can reach this address, and it asks for no password",
            "listen on 127.0.0.1, or keep strangers off the port",
        ));
    }
    let log = checked.keep("", check_log(&raw.log));
    let plugins = checked.keep("plugins", PluginsConfig::try_from(&raw.plugins));
    if !positions.written && raw.connectors.is_none() {
        checked.error(Invalid::new(
            "pipelines",
            "there is no pipeline",
            "`whimbrel config example --minimal` prints one",
        ));
    }
    let mut pipelines = Vec::new();
    for (pipeline, position) in raw.pipelines.iter().zip(&positions.pipelines) {
        pipelines.extend(check_pipeline(pipeline, &format!("pipelines[{position}]"), &mut checked));
    }
    check_between(raw, &positions.pipelines, &mut checked);
    let migrations = check_migrations(&raw.migrations, &positions.migrations, &mut checked);
    let connectors = raw.connectors.as_ref().and_then(|section| match connect::settings::Settings::validate(section) {
        Ok(settings) => Some(settings),
        Err(all) => {
            all.into_iter().for_each(|invalid| checked.error(invalid.within("connectors")));
            None
        }
    });
    let monitor = raw.monitor.as_ref().and_then(|section| match MonitorConfig::new(section) {
        Ok(monitor) => Some(monitor),
        Err(all) => {
            all.into_iter().for_each(|invalid| checked.error(invalid.within("monitor")));
            None
        }
    });
    let whole = !checked.findings.iter().any(|(severity, _)| *severity == Severity::Error);
    let config = match (export, log, plugins) {
        (Some(export), Some(log), Some(plugins)) if whole => {
            let name = raw.name.clone().unwrap_or_else(host_name);
            Some(AgentConfig { name, export, log, plugins, pipelines, connectors, migrations, monitor })
        }
        _ => None,
    };
    (config, checked)
}

/// The filter's own parser takes any lone word for the name of a module: a misspelt level would silence all the rest.
fn check_log(raw: &raw::Log) -> Result<LogConfig, Invalid> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.trim().to_ascii_lowercase().as_str());
    let lone = |text: &String| text.split(',').filter(|part| !part.contains('=')).all(is_level);
    if !raw.level.as_ref().is_none_or(lone) {
        return Err(Invalid::new(
            "log.level",
            "not a log filter",
            "write error, warn, info, debug or trace; `info,whimbrel::pipeline=debug` for one part",
        ));
    }
    LogConfig::new(raw)
}

fn check_pipeline(raw: &raw::Pipeline, path: &str, checked: &mut Checked) -> Option<PipelineConfig> {
    let below = |section: &str| format!("{path}.{section}");
    let before = checked.findings.len();
    if let Err(why) = check_name(&raw.name) {
        checked.error(Invalid::new("name", why, NAME_HINT).within(path));
    }
    if raw.migration_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 128 || id.contains(char::is_control)) {
        let hint = "write the id that `whimbrel check --migration-id` is to know it by, or leave it out";
        checked.error(Invalid::new("migration_id", "not an id", hint).within(path));
    }
    let raw::Source::Kafka(kafka) = &raw.source;
    let kafka = checked.keep(&below("source.kafka"), KafkaConfig::try_from(kafka));
    let decode = checked.keep(&below("decode"), DecodeConfig::try_from(&raw.decode));
    for (index, plugin) in raw.transform.iter().enumerate() {
        checked.keep(&below(&format!("transform[{index}]")), check_transform(plugin));
    }
    let mapping = checked.keep(&below("tables"), Mapping::try_from(raw.tables.as_slice()));
    let is_stdout = matches!(raw.target, raw::Target::Stdout(_));
    let delivery = checked.keep(&below("delivery"), DeliveryConfig::new(&raw.delivery, !is_stdout));
    if is_stdout && raw.delivery.dead_letters.topic.is_none() {
        checked.error(Invalid::new(
            below("delivery.dead_letters.topic"),
            "stdout cannot keep dead letters, and no topic is named for them",
            "add `dead_letters: {topic: …}` to `delivery`",
        ));
    }
    // A wrong `delivery` hides nothing of the target: its mode and grace then stand as they would by default.
    let (mode, grace) =
        delivery.as_ref().map_or((DeliveryMode::ExactlyOnce, Duration::from_secs(86_400)), |delivery| {
            (delivery.mode, delivery.delete_grace)
        });
    let target = match &raw.target {
        raw::Target::Mongodb(one) => checked
            .keep(&below("target.mongodb"), mongodb::Settings::from_raw(one, mode, grace))
            .map(TargetConfig::Mongodb),
        raw::Target::Postgresql(one) => checked
            .keep(&below("target.postgresql"), postgres::Settings::from_raw(one, grace))
            .map(TargetConfig::Postgresql),
        raw::Target::Sqlite(one) => {
            checked.keep(&below("target.sqlite"), sqlite::Settings::from_raw(one, grace)).map(TargetConfig::Sqlite)
        }
        raw::Target::Stdout(one) => {
            checked.keep(&below("target.stdout"), stdout::Settings::from_raw(one)).map(TargetConfig::Stdout)
        }
    };
    let lag = checked.keep(&below("lag"), check_lag(&raw.lag));
    let (Some(kafka), Some(mut decode), Some(mapping), Some(delivery), Some(target), Some(lag)) =
        (kafka, decode, mapping, delivery, target, lag)
    else {
        return None;
    };
    decode.heartbeat_topics.clone_from(&kafka.heartbeat_topics);
    let settings =
        Settings { name: raw.name.as_str().into(), kafka, decode, mapping, delivery, use_group_offsets: is_stdout };
    let config = PipelineConfig {
        settings,
        transform: raw.transform.clone(),
        target,
        lag,
        migration_id: raw.migration_id.clone(),
    };
    (checked.findings.len() == before).then_some(config)
}

fn check_lag(raw: &raw::Lag) -> Result<LagConfig, Invalid> {
    let defaults = LagConfig::default();
    let positive = |field: &str, written: Option<super::units::Millis>, default: Duration| match written {
        Some(time) if time.0.is_zero() => {
            Err(Invalid::new(field, "no time at all", "write a duration such as `30s`, or leave it out"))
        }
        written => Ok(written.map_or(default, |time| time.0)),
    };
    Ok(LagConfig {
        proof_window: positive("proof_window", raw.proof_window, defaults.proof_window)?,
        stalled_after: positive("stalled_after", raw.stalled_after, defaults.stalled_after)?,
    })
}

fn check_migrations(
    all: &[super::migrations::Migrations],
    positions: &[usize],
    checked: &mut Checked,
) -> Vec<MigrationsConfig> {
    let mut good = Vec::new();
    for (at, (one, index)) in all.iter().zip(positions).enumerate() {
        good.extend(checked.keep(&format!("migrations[{index}]"), MigrationsConfig::new(one)));
        let earlier = all.iter().zip(positions).take(at).find(|(earlier, _)| earlier.name == one.name);
        if let Some((_, earlier)) = earlier {
            checked.error(Invalid::new(
                format!("migrations[{index}].name"),
                format!("migrations[{earlier}] has the same name"),
                "`whimbrel migrate --name` tells them apart by it: give each its own",
            ));
        }
    }
    good
}

/// Checks over several pipelines.
fn check_between(raw: &raw::Config, positions: &[usize], checked: &mut Checked) {
    let readable: Vec<_> = raw.pipelines.iter().zip(positions).collect();
    for (at, (pipeline, index)) in readable.iter().enumerate() {
        for (earlier, earlier_index) in readable.iter().take(at) {
            if pipeline.name == earlier.name {
                checked.error(Invalid::new(
                    format!("pipelines[{index}].name"),
                    format!("pipelines[{earlier_index}] has the same name"),
                    "names are the identity of stored offsets: give each pipeline its own",
                ));
            }
            let (raw::Source::Kafka(one), raw::Source::Kafka(other)) = (&pipeline.source, &earlier.source);
            if share_partitions(one, other) {
                checked.error(Invalid::new(
                    format!("pipelines[{index}].source.kafka.group"),
                    format!("pipelines[{earlier_index}] reads the same topics in the same consumer group"),
                    "Kafka would divide the partitions between them and each would miss records: name another group",
                ));
            }
            if let (raw::Target::Sqlite(one), raw::Target::Sqlite(other)) = (&pipeline.target, &earlier.target)
                && one.path == other.path
            {
                checked.warn(Invalid::new(
                    format!("pipelines[{index}].target.sqlite.path"),
                    format!("pipelines[{earlier_index}] writes the same file, and SQLite lets one write at a time"),
                    "use a file of its own for each pipeline",
                ));
            }
        }
    }
}

/// True when two pipelines would be given parts of the same topics.
fn share_partitions(one: &raw::Kafka, other: &raw::Kafka) -> bool {
    let topics = |kafka: &raw::Kafka| match (&kafka.topic_pattern, kafka.topics.as_slice()) {
        (None, []) => vec![DEFAULT_TOPIC.to_owned()],
        (_, names) => names.to_vec(),
    };
    let matches = |pattern: &Option<String>, names: &[String]| {
        let regex = pattern.as_ref().and_then(|p| regex::Regex::new(&format!("^(?:{p})$")).ok());
        regex.is_some_and(|regex| names.iter().any(|name| regex.is_match(name)))
    };
    let (mine, theirs) = (topics(one), topics(other));
    let overlap = mine.iter().any(|topic| theirs.contains(topic))
        || matches(&one.topic_pattern, &theirs)
        || matches(&other.topic_pattern, &mine)
        || (one.topic_pattern.is_some() && one.topic_pattern == other.topic_pattern);
    let same_cluster = one.brokers.iter().any(|broker| other.brokers.contains(broker));
    same_cluster && one.group == other.group && overlap
}

/// The host's name.
pub(crate) fn host_name() -> String {
    const SOURCES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    SOURCES
        .iter()
        .map(PathBuf::from)
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "whimbrel".into())
}
