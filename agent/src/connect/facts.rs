//! A look's report in the words of the metrics, and why it makes the agent unready.
//!
//! Pure: everything it says was scrubbed by the client before.

use super::health::{Condition, RunState};
use super::progress::Progress;
use super::supervisor::{ConnectorReport, Report, RestartAction};
use crate::stats::{ConnectFacts, ConnectorFacts, Restart};

/// What is told to the board.
#[must_use]
pub fn facts(report: &Report) -> ConnectFacts {
    ConnectFacts {
        reachable: report.reachable,
        trouble: report.error.clone(),
        connectors: report.connectors.iter().map(connector).collect(),
        // Numbers, texts and lists: there is nothing in it that JSON cannot say.
        report: serde_json::to_value(report).unwrap_or_default(),
    }
}

fn connector(report: &ConnectorReport) -> ConnectorFacts {
    let count = |wanted: fn(RunState) -> bool| report.tasks.iter().filter(|task| wanted(task.state)).count() as u64;
    let mut failed: std::collections::BTreeSet<_> =
        report.tasks.iter().filter(|task| task.state == RunState::Failed).map(|task| Some(task.id)).collect();
    if report.condition == Some(Condition::Failed) && failed.is_empty() {
        failed.insert(None);
    }
    ConnectorFacts {
        name: report.name.as_str().into(),
        condition: condition(report.condition),
        progress: progress(report.progress),
        tasks: [
            count(|state| state == RunState::Running),
            count(|state| state == RunState::Failed),
            count(|state| !matches!(state, RunState::Running | RunState::Failed)),
        ],
        failed,
        drifted_properties: report.drifted_properties as u64,
        restart: match report.restarts.action {
            RestartAction::Restarted => Restart::Requested,
            RestartAction::Refused => Restart::Refused,
            RestartAction::None | RestartAction::Waiting { .. } | RestartAction::Exhausted => Restart::None,
        },
        restarts_left: u64::from(report.restarts.max.saturating_sub(report.restarts.used)),
        trouble: trouble(report),
    }
}

const fn condition(condition: Option<Condition>) -> &'static str {
    match condition {
        None => "unknown",
        Some(Condition::Missing) => "missing",
        Some(Condition::Failed) => "failed",
        Some(Condition::Paused) => "paused",
        Some(Condition::Stopped) => "stopped",
        Some(Condition::Starting) => "starting",
        Some(Condition::Running) => "running",
    }
}

const fn progress(progress: Progress) -> &'static str {
    match progress {
        Progress::NotChecked => "not_checked",
        Progress::Watching => "watching",
        Progress::Moving { .. } => "moving",
        Progress::Unproven { .. } => "unproven",
        Progress::Stalled => "stalled",
    }
}

/// Why it is not ready, and what to do; nothing while Connect is away, which is said once for all.
fn trouble(report: &ConnectorReport) -> Option<String> {
    match report.condition? {
        Condition::Missing => Some("MISSING; create it by `whimbrel connectors apply`".into()),
        Condition::Failed => {
            let why = report.failure.as_deref().unwrap_or("no reason given");
            Some(format!("FAILED: {why}; {}", restart(report)))
        }
        Condition::Paused => Some("PAUSED by an operator; resume it in Kafka Connect".into()),
        Condition::Stopped => Some("STOPPED by an operator; resume it in Kafka Connect".into()),
        Condition::Starting => Some("STARTING".into()),
        Condition::Running if report.progress == Progress::Stalled => {
            Some("RUNNING but not progressing; see the worker's log and the source's replication slot".into())
        }
        Condition::Running => None,
    }
}

fn restart(report: &ConnectorReport) -> String {
    match report.restarts.action {
        RestartAction::None => "it is not restarted".into(),
        RestartAction::Restarted => "it was asked to restart".into(),
        RestartAction::Refused => "Kafka Connect did not take the request to restart it".into(),
        RestartAction::Waiting { seconds } => format!("it is restarted in {seconds} s"),
        RestartAction::Exhausted => format!(
            "restart budget spent, {} of {}: mend the cause, then `whimbrel connectors restart`",
            report.restarts.used, report.restarts.max
        ),
    }
}
