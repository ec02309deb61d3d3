//! What the code sees: the sections, each checked by the stage it belongs to, and the checks between them.

use std::fmt;
use std::path::PathBuf;

use super::finding::Severity;
use super::http::HttpConfig;
use super::invalid::Invalid;
use super::log::LogConfig;
use super::metrics::MetricsConfig;
use super::otlp::OtlpConfig;
use super::plugins::{NAME_HINT, PluginsConfig, TransformConfig, check_name};
use super::raw;

/// The agent's configuration.
#[derive(Clone)]
pub struct AgentConfig {
    /// Name of this agent.
    pub name: String,
    /// HTTP endpoint.
    pub http: HttpConfig,
    /// Export over OTLP.
    pub otlp: Option<OtlpConfig>,
    /// Logs.
    pub log: LogConfig,
    /// Budgets of the metrics export.
    pub metrics: MetricsConfig,
    /// Plugin host.
    pub plugins: PluginsConfig,
    /// Pipelines; names are unique.
    pub pipelines: Vec<PipelineConfig>,
}

/// A pipeline's configuration.
#[derive(Clone)]
pub struct PipelineConfig {
    /// Name.
    pub name: String,
    /// Plugins, in order.
    pub transform: Vec<TransformConfig>,
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
        result.map_err(|invalid| self.error(invalid.within(parent))).ok()
    }
}

/// Checks everything and makes the configuration of it. `positions` holds, for each pipeline, its index in the file, as some
/// may have been unreadable. `written`: the file names pipelines, readable or not.
pub(crate) fn validate(raw: &raw::Config, positions: &[usize], written: bool) -> (Option<AgentConfig>, Checked) {
    let mut checked = Checked::default();
    let http = checked.keep("http", HttpConfig::try_from(&raw.http));
    if http.is_some_and(|http| http.is_public()) {
        checked.warn(Invalid::new(
            "http.listen",
            "other machines can reach this address, and it asks for no password",
            "listen on 127.0.0.1, or keep strangers off the port",
        ));
    }
    let otlp = raw.otlp.as_ref().map(|otlp| checked.keep("otlp", OtlpConfig::try_from(otlp)));
    let log = checked.keep("log", LogConfig::try_from(&raw.log));
    let metrics = checked.keep("metrics", MetricsConfig::try_from(&raw.metrics));
    let plugins = checked.keep("plugins", PluginsConfig::try_from(&raw.plugins));
    if !written && raw.connectors.is_none() {
        checked.error(Invalid::new(
            "pipelines",
            "there is no pipeline",
            "`whimbrel config example --minimal` prints one",
        ));
    }
    let mut pipelines = Vec::new();
    for (pipeline, position) in raw.pipelines.iter().zip(positions) {
        pipelines.extend(check_pipeline(pipeline, &format!("pipelines[{position}]"), &mut checked));
    }
    check_between(raw, positions, &mut checked);
    let whole = !checked.findings.iter().any(|(severity, _)| *severity == Severity::Error);
    let config = match (http, otlp.transpose_all(), log, metrics, plugins) {
        (Some(http), Some(otlp), Some(log), Some(metrics), Some(plugins)) if whole => {
            let name = raw.name.clone().unwrap_or_else(host_name);
            Some(AgentConfig { name, http, otlp, log, metrics, plugins, pipelines })
        }
        _ => None,
    };
    (config, checked)
}

/// `None`: there is a section, but it is wrong.
trait TransposeAll<T> {
    fn transpose_all(self) -> Option<Option<T>>;
}

impl<T> TransposeAll<T> for Option<Option<T>> {
    fn transpose_all(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(some) => Some(some),
        }
    }
}

fn check_pipeline(raw: &raw::Pipeline, path: &str, checked: &mut Checked) -> Option<PipelineConfig> {
    let before = checked.findings.len();
    if let Err(why) = check_name(&raw.name) {
        checked.error(Invalid::new("name", why, NAME_HINT).within(path));
    }
    let mut transform = Vec::new();
    for (index, plugin) in raw.transform.iter().enumerate() {
        transform.extend(checked.keep(&format!("{path}.transform[{index}]"), TransformConfig::try_from(plugin)));
    }
    if matches!(raw.target, raw::Target::Stdout(_)) {
        if raw.delivery.mode == Some(raw::Mode::ExactlyOnce) {
            checked.error(
                Invalid::new(
                    "delivery.mode",
                    "stdout has no transactions, so it cannot be `exactly_once`",
                    "write `at_least_once`, or use another target",
                )
                .within(path),
            );
        }
        if raw.delivery.dead_letters.topic.is_none() {
            checked.error(
                Invalid::new(
                    "delivery.dead_letters.topic",
                    "stdout cannot keep dead letters, and no topic is named for them",
                    "add `dead_letters: {topic: …}` to `delivery`",
                )
                .within(path),
            );
        }
    }
    (checked.findings.len() == before).then(|| PipelineConfig { name: raw.name.clone(), transform })
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

/// Topic when none is configured.
const DEFAULT_TOPIC: &str = "database.changes";

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
fn host_name() -> String {
    const SOURCES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    SOURCES
        .iter()
        .map(PathBuf::from)
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "whimbrel".into())
}
