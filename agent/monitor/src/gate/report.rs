//! What the gate says: conditions, and the exit status they come to.

use serde::Serialize;

/// What a condition is about, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Somebody measures what carries the id, and did so lately.
    Data,
    /// The lag is proven.
    Proof,
    /// The lag is small enough.
    Lag,
    /// All rows are there.
    Rows,
    /// Dead letters.
    DeadLetters,
    /// Errors.
    Errors,
    /// Anomalies.
    Anomalies,
}

impl Subject {
    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Data => "data present and fresh",
            Self::Proof => "lag proven",
            Self::Lag => "lag",
            Self::Rows => "rows equal",
            Self::DeadLetters => "dead letters",
            Self::Errors => "errors",
            Self::Anomalies => "anomalies",
        }
    }

    /// The exit status when it fails.
    const fn status(self) -> u8 {
        match self {
            Self::Data => UNKNOWN,
            Self::Proof | Self::Lag => 10,
            Self::Rows => 11,
            Self::DeadLetters => 12,
            Self::Errors => 13,
            Self::Anomalies => 14,
        }
    }
}

/// Unknown, or no data.
pub const UNKNOWN: u8 = 20;

/// When several fail: what waiting does not mend comes first, the lag last. What is proven wrong outranks what is unknown.
const ORDER: [u8; 5] = [11, 12, 13, 14, 10];

/// How a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Nobody can tell: as bad as if it did not.
    Unknown,
    /// There is no such thing here, and nobody asked for it.
    Skipped,
}

impl State {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// About what.
    #[serde(rename = "condition")]
    pub subject: Subject,
    /// How it stands.
    pub state: State,
    /// What was measured.
    pub measured: String,
    /// What is asked for.
    pub limit: String,
    /// Why it stands as it does; empty where there is nothing to say.
    pub why: String,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The migration.
    pub migration_id: String,
    /// Who was asked.
    pub source: String,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Report {
    /// 0 when it is safe; never when anything fails or is unknown.
    #[must_use]
    pub fn status(&self) -> u8 {
        let failed =
            |status: &u8| self.conditions.iter().any(|one| one.state == State::Fail && one.subject.status() == *status);
        if let Some(status) = ORDER.iter().find(|status| failed(status)) {
            return *status;
        }
        let passes = |one: &Condition| matches!(one.state, State::Pass | State::Skipped);
        match !self.conditions.is_empty() && self.conditions.iter().all(passes) {
            true => 0,
            false => UNKNOWN,
        }
    }

    /// The answer in a word.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self.status() {
            0 => "safe",
            10 => "lag",
            11 => "rows differ",
            12 => "dead letters",
            13 => "errors over limit",
            14 => "anomaly firing",
            _ => "unknown",
        }
    }

    /// Something about the data itself must have been proven: figures that are merely absent do not add up to a pass.
    pub(super) fn require_a_proof(&mut self) {
        let known = |one: &Condition| {
            matches!(one.subject, Subject::Lag | Subject::Rows) && matches!(one.state, State::Pass | State::Fail)
        };
        let proven = self.conditions.iter().any(known);
        for condition in &mut self.conditions {
            if !proven && condition.subject == Subject::Rows && condition.state == State::Skipped {
                condition.state = State::Unknown;
                condition.why = format!("neither lag nor rows are known ({})", condition.why);
            }
        }
    }
}
