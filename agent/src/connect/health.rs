//! What Connect says about a connector's state, and what that amounts to.
//!
//! Pure. Text that Connect wrote arrives here already scrubbed by the client.

use serde::{Deserialize, Serialize};

/// State of a connector or a task, in Connect's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// At work.
    Running,
    /// Paused by an operator; resources are kept.
    Paused,
    /// Stopped by an operator; resources are freed.
    Stopped,
    /// Ended by an error.
    Failed,
    /// Not given to a worker yet.
    Unassigned,
    /// Being restarted.
    Restarting,
    /// Being deleted.
    Destroyed,
    /// A word we do not know.
    #[serde(other)]
    Unknown,
}

impl RunState {
    /// The word as Connect spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
            Self::Unassigned => "UNASSIGNED",
            Self::Restarting => "RESTARTING",
            Self::Destroyed => "DESTROYED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// `GET /connectors/{name}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The connector's own instance.
    pub connector: Instance,
    /// Its tasks.
    #[serde(default)]
    pub tasks: Vec<Task>,
}

/// The connector instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// State.
    pub state: RunState,
    /// Worker that runs it.
    #[serde(default)]
    pub worker_id: String,
    /// Stack trace, when it failed.
    #[serde(default)]
    pub trace: Option<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: u32,
    /// State.
    pub state: RunState,
    /// Worker that runs it.
    #[serde(default)]
    pub worker_id: String,
    /// Stack trace, when it failed.
    #[serde(default)]
    pub trace: Option<String>,
}

/// What a connector and its tasks together amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Not in Connect.
    Missing,
    /// The connector or one of its tasks ended by an error.
    Failed,
    /// Paused by an operator.
    Paused,
    /// Stopped by an operator.
    Stopped,
    /// Not yet, or not any more, at work: no tasks, unassigned, restarting.
    Starting,
    /// The connector and all tasks say RUNNING.
    Running,
}

impl Condition {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Failed => "FAILED",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
        }
    }
}

impl Status {
    /// The worst state decides.
    pub fn condition(&self) -> Condition {
        let states = || std::iter::once(self.connector.state).chain(self.tasks.iter().map(|task| task.state));
        if states().any(|state| state == RunState::Failed) {
            return Condition::Failed;
        }
        match self.connector.state {
            RunState::Stopped => Condition::Stopped,
            RunState::Paused => Condition::Paused,
            _ if states().all(|state| state == RunState::Running) && !self.tasks.is_empty() => Condition::Running,
            _ => Condition::Starting,
        }
    }

    /// Why it failed: the innermost cause a stack trace names, for the first instance or task that failed.
    pub fn failure(&self) -> Option<String> {
        let connector = (self.connector.state == RunState::Failed).then_some(&self.connector.trace);
        let task = self.tasks.iter().find(|task| task.state == RunState::Failed).map(|task| &task.trace);
        connector.or(task).map(|trace| trace.as_deref().map_or_else(|| "no reason given".to_owned(), reason))
    }
}

/// The first line of a stack trace, and its last `Caused by:` when that says something else. Kafka Connect wraps every
/// task failure in the same sentence; what happened stands at the bottom.
pub fn reason(trace: &str) -> String {
    let first = trace.lines().next().unwrap_or_default().trim();
    let cause = trace.lines().rev().find_map(|line| line.trim().strip_prefix("Caused by: "));
    match cause {
        Some(cause) if !first.contains(cause) => format!("{first} (caused by {cause})"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_state_decides() {
        for (connector, tasks, expect) in [
            ("RUNNING", vec!["RUNNING"], Condition::Running),
            ("RUNNING", vec!["RUNNING", "FAILED"], Condition::Failed),
            ("FAILED", vec![], Condition::Failed),
            ("PAUSED", vec!["FAILED"], Condition::Failed),
            ("RUNNING", vec![], Condition::Starting),
            ("RUNNING", vec!["UNASSIGNED"], Condition::Starting),
            ("UNASSIGNED", vec!["RUNNING"], Condition::Starting),
            ("RESTARTING", vec!["RESTARTING"], Condition::Starting),
            ("RUNNING", vec!["A_WORD_OF_THE_FUTURE"], Condition::Starting),
            ("PAUSED", vec!["PAUSED"], Condition::Paused),
            ("STOPPED", vec![], Condition::Stopped),
        ] {
            let tasks: Vec<_> = tasks.iter().map(|state| json!({"id": 0, "state": state, "worker_id": "w"})).collect();
            let status: Status =
                serde_json::from_value(json!({"name": "n", "connector": {"state": connector, "worker_id": "w"}, "tasks": tasks, "type": "source"}))
                    .unwrap();
            assert_eq!(status.condition(), expect, "{connector} {status:?}");
        }
    }

    #[test]
    fn a_reason_is_the_first_line_and_the_innermost_cause() {
        let trace = "org.x.ConnectException: An exception occurred in the change event producer.\n\tat a.b(C.java:1)\n\
            Caused by: io.debezium.DebeziumException: outer\n\t... 5 more\nCaused by: java.net.ConnectException: Connection refused\n\t... 7 more\n";
        assert_eq!(
            reason(trace),
            "org.x.ConnectException: An exception occurred in the change event producer. (caused by java.net.ConnectException: Connection refused)"
        );
        assert_eq!(reason("x.Y: boom\n\tat a"), "x.Y: boom");
        assert_eq!(reason(""), "");
    }
}
