//! Who is asked: what the command line says, else the baseline, else the agent of this machine.

use std::path::PathBuf;
use std::time::Duration;

use super::args::Source;
use super::baseline::{self, Baseline, BaselineError, Counters, Kind};
use super::facts::Facts;
use super::prometheus::Selection;
use super::{Stop, agent, prometheus};
use crate::ask::{AskError, Asked};

/// Where an agent listens unless told otherwise.
pub const DEFAULT_AGENT: &str = "http://127.0.0.1:9464";

/// Somebody to ask, settled.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    asked: Asked,
    selection: Selection,
    pub(super) file: PathBuf,
    pub(super) baseline: Option<Baseline>,
}

/// What was seen.
pub(super) struct Seen {
    pub(super) facts: Facts,
    pub(super) counters: Counters,
}

impl From<BaselineError> for Stop {
    fn from(error: BaselineError) -> Self {
        match error {
            BaselineError::NoDirectory => Self::Usage(error.to_string()),
            BaselineError::File { .. } | BaselineError::Content { .. } => Self::Runtime(error.to_string()),
        }
    }
}

impl From<AskError> for Stop {
    fn from(error: AskError) -> Self {
        match error.is_usage() {
            true => Self::Usage(error.to_string()),
            false => Self::Runtime(error.to_string()),
        }
    }
}

impl Place {
    /// Settles it. `configured` is the agent's address of `--config`.
    pub(super) fn settle(
        source: &Source,
        migration_id: &str,
        window: Duration,
        configured: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Stop> {
        let file = match &source.baseline {
            Some(file) => file.clone(),
            None => baseline::default_path(migration_id, variable)?,
        };
        let baseline = Baseline::read(&file, migration_id)?;
        let written = match (&source.agent_url, &source.prometheus_url, configured) {
            (Some(url), ..) => Some((Kind::Agent, url.clone())),
            (None, Some(url), _) => Some((Kind::Prometheus, url.clone())),
            (None, None, Some(url)) => Some((Kind::Agent, url.to_owned())),
            (None, None, None) => baseline.as_ref().map(|baseline| (baseline.kind, baseline.url.clone())),
        };
        let (kind, url) = written.unwrap_or_else(|| (Kind::Agent, DEFAULT_AGENT.to_owned()));
        let token = variable(match kind {
            Kind::Agent => "WHIMBREL_AGENT_TOKEN",
            Kind::Prometheus => "WHIMBREL_PROMETHEUS_TOKEN",
        });
        let asked = Asked::new(&url, &source.access(token.filter(|token| !token.is_empty())))?;
        let selection = Selection { migration_id: migration_id.to_owned(), matchers: source.matcher.clone(), window };
        Ok(Self { kind, asked, selection, file, baseline })
    }

    /// Where, for people.
    pub(super) fn address(&self) -> String {
        match self.kind {
            Kind::Agent => format!("the agent at {}", self.asked.address()),
            Kind::Prometheus => format!("Prometheus at {}", self.asked.address()),
        }
    }

    /// The address alone.
    pub(super) fn url(&self) -> String {
        self.asked.address()
    }

    /// The baseline, where it counts what is asked for here.
    fn comparable(&self) -> Option<&Baseline> {
        self.baseline.as_ref().filter(|baseline| baseline.kind == self.kind)
    }

    /// What people are to know of the baseline.
    pub(super) fn note(&self) -> Option<String> {
        match (&self.baseline, self.comparable()) {
            (None, _) => None,
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some(
                "the baseline is not used: it was noted with another kind of source, whose counters are others"
                    .to_owned(),
            ),
        }
    }

    /// Looks.
    pub(super) async fn look(&self, now_ms: i64) -> Result<Seen, AskError> {
        match self.kind {
            Kind::Agent => {
                let wanted = agent::Wanted {
                    migration_id: self.selection.migration_id.clone(),
                    window: self.selection.window,
                    now_ms,
                };
                let agent::Seen { facts, counters, .. } = agent::look(&self.asked, &wanted, self.comparable()).await?;
                Ok(Seen { facts, counters })
            }
            Kind::Prometheus => {
                let seen = prometheus::look(&self.asked, &self.selection, self.comparable()).await?;
                Ok(Seen { facts: seen.facts, counters: seen.counters })
            }
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
