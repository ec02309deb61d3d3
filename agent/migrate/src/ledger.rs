//! The ledger: what was done to a database, kept in that database. Only the words; where they are kept is each database's
//! business.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Name of the collection or table; that of the lock is the same with `_lock`.
pub const LEDGER: &str = "whimbrel_migrations";

/// Which migration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// One that is applied once.
    Version(Version),
    /// One that is applied again whenever its file changes (Flyway's `R__name.sql`), after all versions.
    Repeatable(String),
}

impl Id {
    /// As kept in the ledger: `7`, `1.2`, `R:name`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Version(version) => version.to_string(),
            Self::Repeatable(name) => format!("R:{name}"),
        }
    }

    /// Reads what [`Id::to_text`] wrote.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text.strip_prefix("R:") {
            Some(name) => Some(Self::Repeatable(name.to_owned())),
            None => text.parse().ok().map(Self::Version),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Make the change.
    Up,
    /// Undo it.
    Down,
}

impl Direction {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What became of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Begun, and not at its end: somebody is at it, or was and is no more.
    Running,
    /// Applied.
    Success,
    /// Given up; `progress` says what stays of it.
    Failed,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Running, Self::Success, Self::Failed].into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// Documents or rows of one collection or table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Committed so far.
    pub done: u64,
    /// How many there will be, where that is known or estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

/// How far a migration is. What it says is committed: it is written in the transaction whose work it counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps that are done.
    pub step: u32,
    /// The step after those was begun outside a transaction: whether it was carried out must be looked at.
    #[serde(default, skip_serializing_if = "is_false")]
    pub begun: bool,
    /// Of the step after those: the last key that is done (`_id` as Extended JSON, a row's key as a list).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
    /// What else the database must know to go on, such as what the schema looked like before `begun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<serde_json::Value>,
    /// Per collection or table.
    #[serde(default)]
    pub counts: BTreeMap<String, Count>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Progress {
    /// Whether anything stays in the database of what was begun.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.step == 0 && !self.begun && self.after.is_none()
    }

    /// Documents or rows done, and expected where every collection says so.
    #[must_use]
    pub fn total(&self) -> Count {
        let done = self.counts.values().map(|count| count.done).sum();
        let expected = self.counts.values().map(|count| count.expected).sum::<Option<u64>>();
        Count { done, expected: expected.filter(|_| !self.counts.is_empty()) }
    }

    /// The progress when the step it stands at is done.
    #[must_use]
    pub fn after_step(&self) -> Self {
        Self { step: self.step + 1, counts: self.counts.clone(), ..Self::default() }
    }

    /// Adds what was committed.
    pub fn add(&mut self, place: &str, done: u64) {
        self.counts.entry(place.to_owned()).or_default().done += done;
    }
}

/// Milliseconds since 1970 by this machine's clock.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A migration in the ledger. An undone migration leaves the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, lower-case hex; empty: taken over by a baseline.
    pub checksum: String,
    /// Which way it was going when `outcome` came about.
    pub direction: Direction,
    /// What became of it.
    pub outcome: Outcome,
    /// Who: `user@host`, and the process.
    pub by: String,
    /// When it was begun last, milliseconds since 1970, by the runner's clock.
    pub started_at_ms: i64,
    /// Milliseconds since 1970.
    pub finished_at_ms: Option<i64>,
    /// Milliseconds of work, over all attempts.
    pub duration_ms: u64,
    /// How often it was begun.
    pub attempts: u32,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed.
    pub error: Option<String>,
}

impl Entry {
    /// The entry with this outcome, over at `now_ms`.
    #[must_use]
    pub fn ended(&self, outcome: Outcome, now_ms: i64) -> Self {
        let took = u64::try_from(now_ms.saturating_sub(self.started_at_ms)).unwrap_or(0);
        Self {
            outcome,
            finished_at_ms: Some(now_ms),
            duration_ms: self.duration_ms.saturating_add(took),
            error: self.error.clone().filter(|_| outcome == Outcome::Failed),
            ..self.clone()
        }
    }

    /// Whether the change is in the database, whole.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.outcome == Outcome::Success && self.direction == Direction::Up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print_and_repeatables_come_last() {
        for text in ["7", "1.2", "20260131120000", "R:views"] {
            assert_eq!(Id::from_text(text).unwrap().to_text(), text);
        }
        assert_eq!(Id::from_text("x"), None);
        assert!(Id::from_text("R:a").unwrap() > Id::from_text("999999999").unwrap());
    }

    #[test]
    fn a_total_is_expected_only_where_every_part_is() {
        let mut progress = Progress::default();
        assert_eq!(progress.total(), Count { done: 0, expected: None });
        progress.counts.insert("a".into(), Count { done: 3, expected: Some(10) });
        assert_eq!(progress.total(), Count { done: 3, expected: Some(10) });
        progress.add("b", 4);
        assert_eq!(progress.total(), Count { done: 7, expected: None });
    }

    #[test]
    fn progress_of_an_older_agent_can_be_read() {
        let progress: Progress = serde_json::from_str(r#"{"step": 2}"#).unwrap();
        assert_eq!((progress.step, progress.is_untouched()), (2, false));
    }
}
