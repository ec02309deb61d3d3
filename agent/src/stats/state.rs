//! What a pipeline is doing, and whether it is ready.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a pipeline is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PipelineState {
    /// Opening target and source.
    Starting,
    /// Moving data, or ready to. An agent whose group gave it no partition runs too.
    Running,
    /// An attempt failed; another follows.
    Retrying {
        /// What failed, in a few words; no row values, no secrets.
        what: String,
        /// Since when, milliseconds since 1970.
        since_ms: i64,
    },
    /// Stopped until somebody acts.
    Paused {
        /// Why.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// Nothing failed, but something is missing: brokers, a topic, the group's assignment.
    Waiting {
        /// For what.
        #[serde(rename = "for")]
        for_what: String,
    },
    /// Ended.
    Stopped,
}

impl PipelineState {
    /// Words of all states, for the state-set metric.
    pub const WORDS: [&'static str; 6] = ["starting", "running", "retrying", "paused", "waiting", "stopped"];

    /// The metric label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying { .. } => "retrying",
            Self::Paused { .. } => "paused",
            Self::Waiting { .. } => "waiting",
            Self::Stopped => "stopped",
        }
    }

    /// Why the pipeline is not ready; `None` when it is.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        match self {
            Self::Running => None,
            Self::Starting => Some("starting".into()),
            Self::Retrying { what, .. } => Some(format!("retrying: {what}")),
            Self::Paused { why, remedy } => Some(format!("paused: {why}; {remedy}")),
            Self::Waiting { for_what } => Some(format!("waiting for {for_what}")),
            Self::Stopped => Some("stopped".into()),
        }
    }
}

/// A part of a pipeline that can be up or down by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Where records come from.
    Source,
    /// The plugins.
    Transform,
    /// Where rows go.
    Target,
    /// Where dead letters go.
    DeadLetters,
}

/// Health of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum Health {
    /// Works.
    Up,
    /// Does not.
    Down {
        /// Why; no row values, no secrets.
        why: String,
    },
}

/// Whether a pipeline is ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// True when the pipeline runs and no component is down.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reasons: Vec<String>,
    /// Its components, as far as they have been heard of.
    pub components: BTreeMap<Component, Health>,
}

impl Readiness {
    /// Derives it.
    #[must_use]
    pub fn of(state: &PipelineState, components: &BTreeMap<Component, Health>) -> Self {
        let down = components.iter().filter_map(|(component, health)| match health {
            Health::Up => None,
            Health::Down { why } => Some(format!("{}: {why}", component.as_str())),
        });
        let reasons: Vec<String> = state.unready().into_iter().chain(down).collect();
        Self { ready: reasons.is_empty(), reasons, components: components.clone() }
    }
}

impl Component {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Target => "target",
            Self::DeadLetters => "dead_letters",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_pipeline_whose_components_are_up_is_ready() {
        let up = BTreeMap::from([(Component::Target, Health::Up)]);
        assert!(Readiness::of(&PipelineState::Running, &up).ready);
        let down = BTreeMap::from([(Component::Target, Health::Down { why: "connection refused".into() })]);
        let paused = PipelineState::Paused { why: "table orders is missing".into(), remedy: "create it".into() };
        let answer = Readiness::of(&paused, &down);
        assert!(!answer.ready);
        assert_eq!(answer.reasons, ["paused: table orders is missing; create it", "target: connection refused"]);
        for state in [
            PipelineState::Starting,
            PipelineState::Stopped,
            PipelineState::Retrying { what: "x".into(), since_ms: 0 },
            PipelineState::Waiting { for_what: "brokers".into() },
        ] {
            assert!(!Readiness::of(&state, &up).ready, "{state:?}");
            assert!(PipelineState::WORDS.contains(&state.as_str()));
        }
    }
}
