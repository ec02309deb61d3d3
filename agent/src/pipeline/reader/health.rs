//! What keeps the reader from running, and how it is told.

use std::time::{Duration, Instant};

use super::Reader;
use crate::pipeline::shared::Part;
use crate::source::kafka::refusal::Refusal;
use crate::stats::PipelineState;

/// How often topics that do not exist are looked for while nothing is assigned.
const LOOK_FOR_TOPICS: Duration = Duration::from_secs(5);
/// How long the same trouble is not logged again.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How many different troubles are logged in that time.
const MAX_TOLD: usize = 8;
/// A refusal is repeated at least this often while it lasts: librdkafka suppresses an error that it told for 30 s.
const REFUSAL_LASTS: Duration = Duration::from_secs(60);

/// What keeps a reader from running, the graver the later: a graver one is not talked over by a lesser one, nor ended by
/// what only ends a lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Something is missing: partitions, topics, brokers.
    Waiting,
    /// Partitions could not be taken over.
    NotTakenOver,
    /// Paused by a plugin or a lost offset. Taking over works all the same; only a batch that passes proves that it is over.
    Halted,
}

impl Reader {
    /// Not running, but nothing failed.
    pub(super) fn waiting(&mut self, what: &str) {
        self.keeps(Trouble::Waiting, PipelineState::Waiting { for_what: what.to_owned() });
    }

    /// Not running until somebody acts.
    pub(super) fn paused(&mut self, trouble: Trouble, why: String, remedy: &str) {
        self.keeps(trouble, PipelineState::Paused { why, remedy: remedy.to_owned() });
    }

    fn keeps(&mut self, trouble: Trouble, state: PipelineState) {
        if self.state.trouble <= Some(trouble) {
            self.state.trouble = Some(trouble);
            self.shared.health(Part::Reader, Some(state));
        }
    }

    /// Something happened that ends `trouble` and everything lesser.
    pub(super) fn over(&mut self, trouble: Trouble) {
        self.state.refused = None;
        self.state.cut_off = false;
        if self.state.trouble <= Some(trouble) {
            self.state.trouble = None;
            self.shared.health(Part::Reader, None);
        }
    }

    /// A plugin trapped and its policy is to halt.
    pub(super) fn halted(&mut self, why: &str) {
        tracing::error!(pipeline = %self.pipeline, error = why, "pipeline paused by a plugin");
        self.start_over_later(
            format!("transform: {why}"),
            "mend or replace the plugin; it is tried again by itself, or at once on SIGHUP",
        );
    }

    pub(super) fn offset_gone(&mut self, what: &str) {
        tracing::error!(pipeline = %self.pipeline, error = what, "stored offset is not in the log");
        self.start_over_later(
            format!("a stored offset is not in the log any more: {what}"),
            "records were deleted before they were applied: take a new snapshot, or remove the stored offset to begin anew",
        );
    }

    pub(super) fn trouble(&mut self, what: &str) {
        if self.refused_lately() {
            return; // what follows from a refusal says less
        }
        self.state.told.retain(|(_, at)| at.elapsed() < SAY_AGAIN);
        if self.state.told.len() < MAX_TOLD && !self.state.told.iter().any(|(told, _)| told == what) {
            tracing::warn!(pipeline = %self.pipeline, error = what, "kafka client has trouble and goes on trying");
            self.state.told.push((what.to_owned(), Instant::now()));
        }
        self.away(what);
    }

    /// Says that the brokers are away, unless more is known than that.
    fn away(&mut self, what: &str) {
        if self.refused_lately() {
            return;
        }
        if self.state.assigned.is_empty() || what.contains("AllBrokersDown") || what.contains("brokers are down") {
            self.waiting(&format!("kafka: {what}"));
            self.state.cut_off = true;
        }
    }

    fn refused_lately(&self) -> bool {
        self.state.refused.is_some_and(|at| at.elapsed() < REFUSAL_LASTS)
    }

    /// The client tries again by itself, and succeeds once somebody has mended it.
    pub(super) fn refused(&mut self, Refusal { why, remedy, certain }: Refusal) {
        if self.state.refused.is_none() {
            tracing::error!(pipeline = %self.pipeline, error = why, remedy, "the brokers cannot be used");
        }
        self.state.refused = Some(Instant::now());
        self.state.cut_off = true;
        let state = match certain {
            true => PipelineState::Paused { why, remedy },
            false => PipelineState::Waiting { for_what: format!("{why}; {remedy}") },
        };
        self.keeps(Trouble::Waiting, state);
    }

    /// The brokers answer again.
    fn reconnected(&mut self) {
        self.state.refused = None;
        if std::mem::take(&mut self.state.cut_off) {
            if self.state.assigned.is_empty() {
                self.waiting("partitions of the consumer group");
            } else {
                self.over(Trouble::Waiting);
            }
        }
    }

    pub(super) fn look_for_topics(&mut self) {
        let due = self.state.last_topic_look.is_none_or(|at| at.elapsed() >= LOOK_FOR_TOPICS);
        let reading = !self.state.assigned.is_empty() || !self.state.takeovers.is_empty();
        if (reading && !self.state.cut_off) || !due {
            return;
        }
        self.state.last_topic_look = Some(Instant::now());
        match self.source.missing_topics(Duration::from_secs(2)) {
            Ok(missing) if missing.is_empty() => self.reconnected(),
            Ok(missing) => {
                self.reconnected();
                self.waiting(&format!("topics that do not exist: {}", missing.join(", ")));
            }
            Err(error) => self.away(&error.to_string()),
        }
    }
}
