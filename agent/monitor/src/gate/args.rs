//! The command lines of `whimbrel start` and `whimbrel check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::format::Format;
use super::judge::{Limits, Tolerance};
use crate::ask::Access;
use crate::incident::Severity;

/// An id is a label of metrics.
const LONGEST_ID: usize = 200;

/// Who is asked.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Ask the agent at this address, such as http://127.0.0.1:9464
    #[arg(long, value_name = "URL", conflicts_with = "prometheus_url")]
    pub agent_url: Option<String>,
    /// Ask the Prometheus at this address, such as http://127.0.0.1:9090, and no agent
    #[arg(long, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// Only series with this label, where one Prometheus scrapes several environments; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = matcher, requires = "prometheus_url")]
    pub matcher: Vec<(String, String)>,
    /// Configuration file of the agent, to find its address in
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agent_url", "prometheus_url"])]
    pub config: Option<PathBuf>,
    /// PEM file of trusted authorities for https, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Time for one question
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// File of the baseline; by default ID.json in whimbrel/gate of XDG_STATE_HOME
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
}

impl Source {
    pub(super) fn access(&self, token: Option<String>) -> Access {
        Access { token, ca_file: self.ca_file.clone(), timeout: Some(self.timeout) }
    }
}

/// Arguments of `start`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  whimbrel start --migration-id 42 --prometheus-url http://127.0.0.1:9090
  whimbrel start --migration-id 42 --agent-url http://127.0.0.1:9464

Notes where the counters of dead letters and errors stand, so that `whimbrel check` holds only what comes later against the
migration, and asks the same agent or Prometheus. It leaves no process behind: what monitors in the background is the agent, or
the Prometheus that scrapes it. An agent must know the id; a Prometheus may come to know it later.

WHIMBREL_AGENT_TOKEN and WHIMBREL_PROMETHEUS_TOKEN are sent as bearer tokens.

Exit status: 0 noted, 1 runtime error, 2 usage or configuration, 20 nobody answers, or the agent does not know the id.")]
pub struct StartArgs {
    /// The migration: the `migration_id` of pipelines, or the id of a migration
    #[arg(long, value_name = "ID", value_parser = id)]
    pub migration_id: String,
    #[command(flatten)]
    /// Who is asked
    pub source: Source,
}

/// Which anomalies fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoAnomaly {
    /// Anomalies are not looked at
    None,
    /// Warnings and what is critical
    Warning,
    /// Only what is critical
    Critical,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  whimbrel check --migration-id 42 --max-lag 300
  whimbrel check --migration-id 42 --max-lag 30s --wait --deadline 10m --prometheus-url http://127.0.0.1:9090
  whimbrel check --migration-id 42 --table orders --source-url postgresql://… --target-url mongodb://…

Without a URL or --config the one that `whimbrel start` was given is asked, or else the agent at http://127.0.0.1:9464.
A condition that is named here must be answered; one that is not is judged by its default where it applies. What is not known
never passes. GITHUB_STEP_SUMMARY, where set, names a file that the result is appended to as Markdown.

WHIMBREL_AGENT_TOKEN and WHIMBREL_PROMETHEUS_TOKEN are sent as bearer tokens; WHIMBREL_SOURCE_DATABASE and WHIMBREL_DATABASE may
hold --source-url and --target-url.

Exit status: 0 safe, 1 runtime error, 2 usage or configuration, 10 lag, 11 rows differ, 12 dead letters, 13 errors over limit,
14 anomaly firing, 20 unknown or no data. Of several the first of 11, 12, 13, 14, 10, 20.")]
pub struct CheckArgs {
    /// The migration: the `migration_id` of pipelines, or the id of a migration
    #[arg(long, value_name = "ID", value_parser = id)]
    pub migration_id: String,
    /// The largest lag, in seconds or with a unit; 300 unless written
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub max_lag: Option<Duration>,
    /// The largest number of dead letters since the start that are not settled; 0 unless written
    #[arg(long, value_name = "N")]
    pub max_dead_letters: Option<u64>,
    /// The largest number of errors; 0 unless written
    #[arg(long, value_name = "N")]
    pub max_errors: Option<u64>,
    /// For how long errors count, but none from before the start
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = seconds)]
    pub errors_within: Duration,
    /// The oldest that figures may be
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub max_stale: Option<Duration>,
    /// Which anomalies must not fire; warnings and worse unless written, where somebody looks for them
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub no_anomaly: Option<NoAnomaly>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Ask again until it is safe
    #[arg(long)]
    pub wait: bool,
    /// With --wait: for how long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = seconds, requires = "wait")]
    pub deadline: Duration,
    /// With --wait: how often
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, requires = "wait")]
    pub every: Duration,
    /// Compare this table with its copy once everything else is right: NAME, or SOURCE=TARGET; may be repeated
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// Key that tables are compared by: columns with commas between them, `id=_id` where the copy calls it differently
    #[arg(long, value_name = "COLUMNS", default_value = "id", requires = "table")]
    pub key: String,
    /// Database of the tables
    #[arg(long, value_name = "URL", requires = "table")]
    pub source_url: Option<String>,
    /// Database of the copies
    #[arg(long, value_name = "URL", requires = "table")]
    pub target_url: Option<String>,
    #[command(flatten)]
    /// Who is asked
    pub source: Source,
}

impl CheckArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_lag_seconds: self.max_lag.map(|lag| lag.as_secs_f64()),
            max_stale_seconds: self.max_stale.map(|stale| stale.as_secs_f64()),
            max_dead_letters: self.max_dead_letters,
            max_errors: self.max_errors,
            anomalies: match self.no_anomaly {
                None => Tolerance::Unsaid,
                Some(NoAnomaly::None) => Tolerance::Any,
                Some(NoAnomaly::Warning) => Tolerance::From(Severity::Warning),
                Some(NoAnomaly::Critical) => Tolerance::From(Severity::Critical),
            },
        }
    }
}

fn id(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("write a name".into()),
        length if length > LONGEST_ID => Err(format!("at most {LONGEST_ID} bytes")),
        _ if text.chars().any(char::is_control) => Err("without control characters".into()),
        _ => Ok(text.to_owned()),
    }
}

fn matcher(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    match first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        true => Ok((name.to_owned(), value.to_owned())),
        false => Err(format!("`{name}` is no name of a label")),
    }
}

/// A time with a unit: `500ms`, `10s`, `5m`, `1h`, `2d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write a whole number with a unit, such as 300s or 5m".to_owned())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("the unit is one of ms, s, m, h, d".to_owned()),
    };
    match number.checked_mul(factor) {
        Some(0) => Err("more than nothing".to_owned()),
        Some(time) if time <= 30 * 86_400_000 => Ok(Duration::from_millis(time)),
        _ => Err("30 days at most".to_owned()),
    }
}

/// The same, or a number of seconds without a unit, which may be 0.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0_u64) => Ok(Duration::ZERO),
        Ok(_) => duration(&format!("{text}s")),
        Err(_) => duration(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_a_unit_and_seconds_without() {
        for (text, expect) in [
            ("300", Some(300_000)),
            ("0", Some(0)),
            ("5m", Some(300_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("-1", None),
            ("1.5s", None),
            ("5 m", None),
            ("31d", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(seconds(text).ok(), expect.map(Duration::from_millis), "{text}");
        }
        assert!(duration("5").is_err() && duration("0s").is_err());
    }

    #[test]
    fn ids_and_labels_are_checked() {
        assert!(id("").is_err() && id("a\nb").is_err() && id(&"x".repeat(201)).is_err());
        assert_eq!(id("set/42 é").unwrap(), "set/42 é");
        assert_eq!(matcher("env=a=b").unwrap(), ("env".into(), "a=b".into()));
        for wrong in ["env", "=x", "1env=x", "e v=x"] {
            assert!(matcher(wrong).is_err(), "{wrong}");
        }
    }
}
