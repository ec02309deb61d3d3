//! One migration as its events tell it. Pure: the time is handed in.

use std::collections::BTreeMap;

use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::{Count, Direction, Progress};
use whimbrel_migrate::watch::{BlockedSession, Event};

use super::pace::Pace;
use super::status::{ErrorStatus, MigrationStatus, PlaceStatus};

/// How a migration stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    name: String,
    system: Option<System>,
    direction: Option<Direction>,
    state: &'static str,
    started_at_ms: i64,
    finished_at_ms: Option<i64>,
    steps: usize,
    done: u32,
    what: String,
    /// Of the step that runs: how much it is expected to touch, and has.
    expected: Option<u64>,
    committed: u64,
    phase: String,
    measured: Option<(u64, Option<u64>)>,
    counts: BTreeMap<String, Count>,
    attempted: BTreeMap<String, u64>,
    pace: Pace,
    measured_pace: Pace,
    blocked: Vec<BlockedSession>,
    replication_lag_ms: Option<u64>,
    retries: u64,
    error: Option<ErrorStatus>,
}

/// How far a migration is and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reached {
    /// Documents or rows committed, over all places.
    pub done: u64,
    /// How many there will be, where known.
    pub expected: Option<u64>,
    /// From 0 to 1.
    pub ratio: Option<f64>,
    /// Committed a second.
    pub per_second: Option<f64>,
    /// Until the step that runs is done.
    pub eta_seconds: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "a share, not an identity")]
fn share(done: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| (done as f64 / of as f64).min(1.0))
}

impl Live {
    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }

    pub(super) const fn system(&self) -> Option<System> {
        self.system
    }

    pub(super) const fn direction(&self) -> Option<Direction> {
        self.direction
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes note of an event of this migration.
    pub(super) fn tell(&mut self, event: &Event<'_>, now_ms: i64) {
        match event {
            Event::WaitingForLock { .. } | Event::Checked { .. } => {}
            Event::Started { name, system, direction, steps, progress, .. } => {
                let attempted = std::mem::take(&mut self.attempted);
                *self = Self {
                    name: (*name).to_owned(),
                    system: *system,
                    direction: Some(*direction),
                    state: "running",
                    started_at_ms: now_ms,
                    steps: *steps,
                    attempted,
                    ..Self::default()
                };
                self.at(progress, now_ms);
            }
            Event::StepStarted { what, expected, .. } => {
                (self.what, self.expected, self.committed) = ((*what).to_owned(), *expected, 0);
                (self.phase, self.measured) = (String::new(), None);
                (self.pace, self.measured_pace) = (Pace::default(), Pace::default());
                let paced = self.paced();
                self.pace.at(paced, now_ms);
            }
            Event::Attempted { place, count, .. } => {
                let attempted = self.attempted.entry((*place).to_owned()).or_default();
                *attempted = attempted.saturating_add(*count);
            }
            Event::Committed { count, progress, .. } => {
                self.committed = self.committed.saturating_add(*count);
                self.at(progress, now_ms);
            }
            Event::Measured { phase, done, total, .. } => {
                if self.phase != *phase {
                    (self.phase, self.measured_pace) = ((*phase).to_owned(), Pace::default());
                }
                self.measured = Some((*done, *total));
                self.measured_pace.at(*done, now_ms);
            }
            Event::Blocked { sessions, .. } => self.blocked = sessions.to_vec(),
            Event::Throttled { lag, .. } => {
                self.replication_lag_ms = Some(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
            }
            Event::Retried { .. } => self.retries += 1,
            Event::StepEnded { index, error, .. } => {
                if error.is_none() {
                    self.done = u32::try_from(index + 1).unwrap_or(u32::MAX);
                }
                self.blocked.clear();
                (self.phase, self.measured) = (String::new(), None);
            }
            Event::Ended { direction, error, progress, .. } => {
                self.at(progress, now_ms);
                self.blocked.clear();
                self.finished_at_ms = Some(now_ms);
                self.error =
                    error.map(|(code, message)| ErrorStatus { code: code.to_owned(), message: message.to_owned() });
                self.state = match (error, direction) {
                    (Some(_), _) => "failed",
                    (None, Direction::Up) => "applied",
                    (None, Direction::Down) => "undone",
                };
            }
        }
    }

    fn at(&mut self, progress: &Progress, now_ms: i64) {
        self.done = self.done.max(progress.step);
        self.counts.clone_from(&progress.counts);
        let paced = self.paced();
        self.pace.at(paced, now_ms);
    }

    fn total(&self) -> Count {
        let done = self.counts.values().map(|count| count.done).sum();
        let expected = self.counts.values().map(|count| count.expected).sum::<Option<u64>>();
        Count { done, expected: expected.filter(|_| !self.counts.is_empty()) }
    }

    /// With one step the counts of earlier runs belong to it; with several nobody knows to which.
    fn whole(&self) -> Option<(u64, u64)> {
        let total = self.total();
        total.expected.filter(|expected| self.steps == 1 && *expected > 0).map(|expected| (total.done, expected))
    }

    /// The count the pace is of.
    fn paced(&self) -> u64 {
        self.whole().map_or(self.committed, |(done, _)| done)
    }

    /// How far the step that runs is.
    fn step_share(&self) -> Option<f64> {
        let whole = self.whole().and_then(|(done, expected)| share(done, expected));
        let own = || self.expected.and_then(|expected| share(self.committed, expected));
        let measured = || self.measured.and_then(|(done, total)| share(done, total?));
        whole.or_else(own).or_else(measured)
    }

    pub(super) fn reached(&self, now_ms: i64) -> Reached {
        let total = self.total();
        let ratio = match self.state {
            "applied" | "undone" => Some(1.0),
            _ if self.steps > 1 => {
                #[expect(clippy::cast_precision_loss, reason = "a number of steps")]
                let steps = self.steps as f64;
                Some(((f64::from(self.done) + self.step_share().unwrap_or(0.0)) / steps).min(1.0))
            }
            _ if self.done >= 1 => Some(1.0),
            _ => self.step_share(),
        };
        let of_chunks = || {
            let expected = self.whole().map(|(_, expected)| expected).or(self.expected)?;
            self.pace.eta_seconds(expected, now_ms)
        };
        let of_statement = || self.measured.and_then(|(_, total)| self.measured_pace.eta_seconds(total?, now_ms));
        let running = self.is_running();
        Reached {
            done: total.done,
            expected: total.expected,
            ratio,
            per_second: self.pace.per_second(now_ms).filter(|_| running),
            eta_seconds: of_chunks().or_else(of_statement).filter(|_| running),
        }
    }

    pub(super) fn status(&self, set: &str, id: &str, now_ms: i64) -> MigrationStatus {
        let reached = self.reached(now_ms);
        let names = self.counts.keys().chain(self.attempted.keys()).collect::<std::collections::BTreeSet<_>>();
        let place = |name: &String| {
            let count = self.counts.get(name).copied().unwrap_or_default();
            let attempted = self.attempted.get(name).copied().unwrap_or_default();
            PlaceStatus { name: name.clone(), done: count.done, expected: count.expected, attempted }
        };
        let word = |text: &String| Some(text.clone()).filter(|text| !text.is_empty() && self.is_running());
        let until = self.finished_at_ms.unwrap_or(now_ms);
        MigrationStatus {
            id: id.to_owned(),
            set: set.to_owned(),
            name: self.name.clone(),
            system: self.system.map(System::as_str),
            state: self.state,
            direction: self.direction.map(Direction::as_str),
            here: true,
            by: None,
            started_at_ms: Some(self.started_at_ms),
            finished_at_ms: self.finished_at_ms,
            duration_ms: u64::try_from(until - self.started_at_ms).ok(),
            attempts: None,
            steps: Some(self.steps),
            step: Some(self.done),
            what: word(&self.what),
            phase: word(&self.phase),
            places: names.into_iter().map(place).collect(),
            progress_ratio: reached.ratio,
            per_second: reached.per_second,
            eta_seconds: reached.eta_seconds,
            blocked: self.blocked.clone(),
            replication_lag_ms: self.replication_lag_ms.filter(|_| self.is_running()),
            retries: self.retries,
            last_error: self.error.clone(),
        }
    }
}
