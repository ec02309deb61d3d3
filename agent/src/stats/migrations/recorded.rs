//! One migration as a ledger tells it, whoever runs it. Pure: the time is handed in.

use whimbrel_migrate::database::System;
use whimbrel_migrate::engine::{Line, State};
use whimbrel_migrate::ledger::{Count, Direction, Outcome};

use super::live::Reached;
use super::pace::Pace;
use super::status::{ErrorStatus, MigrationStatus, PlaceStatus};

/// A line of a status, with what is needed beside it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The version as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Kind of database.
    pub system: System,
    line: Line,
    steps: usize,
    pace: Pace,
}

impl Recorded {
    /// Of a line; `steps` as the file has them, 0 where it is gone.
    #[must_use]
    pub fn new(system: System, line: Line, steps: usize) -> Self {
        Self { id: line.id.to_text(), name: line.name.clone(), system, line, steps, pace: Pace::default() }
    }

    /// Goes on with the pace of what was read before.
    pub(super) fn follow(&mut self, before: Option<Self>, now_ms: i64) {
        if let Some(before) = before {
            self.pace = before.pace;
        }
        if self.is_running() {
            self.pace.at(self.total().done, now_ms);
        } else {
            self.pace = Pace::default();
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.line.entry.as_ref().is_some_and(|entry| entry.outcome == Outcome::Running)
    }

    pub(super) fn direction(&self) -> &'static str {
        self.line.entry.as_ref().map_or("", |entry| entry.direction.as_str())
    }

    fn total(&self) -> Count {
        let entry = self.line.entry.as_ref();
        entry.map(|entry| entry.progress.total()).unwrap_or_default()
    }

    pub(super) fn reached(&self, now_ms: i64) -> Reached {
        let total = self.total();
        let entry = self.line.entry.as_ref();
        #[expect(clippy::cast_precision_loss, reason = "a share, not an identity")]
        let share = |done: u64, of: u64| (of > 0).then(|| (done as f64 / of as f64).min(1.0));
        let ratio = entry.and_then(|entry| match entry.outcome {
            Outcome::Success => Some(1.0),
            _ if self.steps > 1 => share(u64::from(entry.progress.step), self.steps as u64),
            _ => total.expected.and_then(|expected| share(total.done, expected)),
        });
        let running = self.is_running();
        Reached {
            done: total.done,
            expected: total.expected,
            ratio,
            per_second: self.pace.per_second(now_ms).filter(|_| running),
            eta_seconds: total.expected.filter(|_| running).and_then(|all| self.pace.eta_seconds(all, now_ms)),
        }
    }

    pub(super) fn status(&self, set: &str, now_ms: i64) -> MigrationStatus {
        let reached = self.reached(now_ms);
        let entry = self.line.entry.as_ref();
        let places = entry.into_iter().flat_map(|entry| &entry.progress.counts).map(|(name, count)| PlaceStatus {
            name: name.clone(),
            done: count.done,
            expected: count.expected,
            attempted: 0,
        });
        MigrationStatus {
            id: self.id.clone(),
            set: set.to_owned(),
            name: self.name.clone(),
            system: Some(self.system.as_str()),
            state: word(self.line.state),
            direction: entry.map(|entry| Direction::as_str(entry.direction)),
            here: false,
            by: entry.map(|entry| entry.by.clone()),
            started_at_ms: entry.map(|entry| entry.started_at_ms),
            finished_at_ms: entry.and_then(|entry| entry.finished_at_ms),
            duration_ms: entry.map(|entry| entry.duration_ms),
            attempts: entry.map(|entry| entry.attempts),
            steps: (self.steps > 0).then_some(self.steps),
            step: entry.map(|entry| entry.progress.step),
            what: None,
            phase: None,
            places: places.collect(),
            progress_ratio: reached.ratio,
            per_second: reached.per_second,
            eta_seconds: reached.eta_seconds,
            blocked: Vec::new(),
            replication_lag_ms: None,
            retries: 0,
            last_error: entry.and_then(|entry| entry.error.clone()).map(|message| {
                // A ledger keeps the sentence alone.
                ErrorStatus { code: String::new(), message }
            }),
        }
    }
}

/// The state in a word, the same as in `whimbrel migrate status --format json`.
const fn word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Applied => "applied",
        State::Changed => "changed",
        State::Missing => "missing",
        State::OutOfOrder => "out_of_order",
        State::Running => "running",
        State::Failed => "failed",
    }
}
