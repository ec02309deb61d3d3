//! What the reader does for the consumer group: takes partitions over, gives them up, begins anew where the target is.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;

use super::Reader;
use super::health::Trouble;
use super::takeover::TakeOver;
use crate::pipeline::writer::{OffsetsRequest, Work};
use crate::runtime::logging::chain;
use crate::source::kafka::watch::now_ms;
use crate::source::kafka::{Notice, Partition, ReadFrom, SourceError};

/// How long partitions that are taken away wait for what is in flight. Well below any session time-out.
const REVOKE_GRACE: Duration = Duration::from_secs(5);
/// How long to wait before a failed take-over or a plugin that halted is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Reader {
    /// Acts upon what happened to the group since the last look.
    pub(super) fn notices(&mut self) {
        for notice in self.source.notices() {
            match notice {
                Notice::Assigned(partitions) => {
                    tracing::info!(pipeline = %self.pipeline, partitions = ?names(&partitions), "partitions assigned");
                    self.ask_offsets(TakeOver { partitions, seek: false });
                }
                Notice::Revoked(partitions) => self.give_up(&partitions),
                Notice::Trouble(what) => self.trouble(&what),
                Notice::Refused(refusal) => self.refused(refusal),
                Notice::ReachedEnd { partition, end } => self.reached_end(&partition, end),
            }
        }
    }

    fn ask_offsets(&mut self, takeover: TakeOver) {
        if takeover.partitions.is_empty() && !takeover.seek {
            // An empty assignment must be answered too: the group waits for it.
            if let Err(error) = self.source.assign(&[], false) {
                tracing::warn!(pipeline = %self.pipeline, error = %chain(&error), "kafka client call failed");
            }
            self.over(Trouble::NotTakenOver);
            return;
        }
        let (reply, receiver) = blocking::channel();
        let request = OffsetsRequest { partitions: takeover.partitions.clone(), reply };
        if self.offsets.send(request).is_ok() {
            self.state.takeovers.asked(takeover, receiver);
        }
    }

    /// Takes over the partitions whose stored offsets have come, and tries again what failed.
    pub(super) fn answers(&mut self) {
        if self.state.takeovers.is_empty() {
            return;
        }
        for (takeover, stored) in self.state.takeovers.answered() {
            self.take_over(takeover, stored);
        }
        let resumes = self.shared.resumes();
        if self.state.resumes != resumes {
            self.state.resumes = resumes;
            self.chain.pardon();
        }
        for takeover in self.state.takeovers.due(Instant::now(), resumes) {
            self.ask_offsets(takeover);
        }
    }

    fn take_over(&mut self, takeover: TakeOver, stored: Vec<Option<i64>>) {
        let from: Vec<(Partition, ReadFrom)> = takeover
            .partitions
            .iter()
            .zip(&stored)
            .map(|(partition, next)| (partition.clone(), next.map_or(ReadFrom::Start, ReadFrom::Offset)))
            .collect();
        let result = if takeover.seek {
            self.source.seek(&from, self.use_group_offsets)
        } else {
            self.source.assign(&from, self.use_group_offsets)
        };
        match result {
            Ok(()) => {
                self.shared.observer.assigned(&takeover.partitions);
                for (partition, next) in takeover.partitions.into_iter().zip(stored) {
                    if let Some(next) = next {
                        self.shared.observer.frontier(&partition.0, partition.1, next, now_ms());
                    }
                    // One name in memory for all partitions of a topic: decode knows its topics by address.
                    let mut known = self.state.assigned.keys().map(|(topic, _)| topic);
                    let topic = known.find(|topic| **topic == partition.0).map_or(partition.0, Arc::clone);
                    self.state.assigned.insert((topic, partition.1), next);
                }
                let partitions = self.partitions();
                self.shared.set_assigned(partitions.clone());
                // A pause from before the new position may still hold.
                self.source.resume(&partitions);
                self.over(Trouble::NotTakenOver);
            }
            Err(error) => {
                let remedy = match &error {
                    SourceError::NoStart { .. } => "set `start` for this pipeline and restart",
                    SourceError::Client { .. } => "check the brokers; it is tried again by itself",
                };
                tracing::error!(pipeline = %self.pipeline, error = %chain(&error), "partitions not taken over");
                self.paused(Trouble::NotTakenOver, chain(&error), remedy);
                self.state.takeovers.later(takeover, Instant::now() + TRY_AGAIN, self.shared.resumes());
            }
        }
    }

    /// Partitions go to another agent: first everything of theirs becomes durable, or is dropped to be read again there.
    fn give_up(&mut self, partitions: &[Partition]) {
        tracing::info!(pipeline = %self.pipeline, partitions = ?names(partitions), "partitions revoked");
        let settled = self.drain(Instant::now() + REVOKE_GRACE);
        if settled {
            self.commit(true);
        }
        self.source.unassign(partitions);
        self.state.takeovers.forget(partitions);
        self.state.assigned.retain(|p, _| !partitions.contains(p));
        self.shared.forget(partitions);
        self.shared.set_assigned(self.partitions());
        self.shared.observer.revoked(partitions);
        if !settled {
            self.start_over();
        }
        if self.state.assigned.is_empty() && self.state.takeovers.is_empty() {
            // What paused us is another agent's matter now; one without partitions stands by.
            self.over(Trouble::Halted);
        }
    }

    /// Hands over what there is and waits until it is settled; false when the time is up.
    pub(super) fn drain(&mut self, deadline: Instant) -> bool {
        self.seal();
        while self.state.outgoing.is_some() {
            if Instant::now() >= deadline || self.shared.reset_wanted() || self.shared.abandoned() {
                return false;
            }
            self.hand_over();
        }
        let (reply, flushed) = blocking::channel();
        let mut flush = Work::Flush(reply);
        loop {
            match self.work.try_send(flush) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => {
                    if Instant::now() >= deadline {
                        return false;
                    }
                    flush = back;
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        flushed.recv_timeout(left).is_ok() && !self.shared.reset_wanted()
    }

    /// Drops what is in flight and reads on from what the target holds.
    pub(super) fn start_over(&mut self) {
        let partitions = self.let_go();
        if !partitions.is_empty() {
            self.ask_offsets(TakeOver { partitions, seek: true });
        }
    }

    /// Drops what is in flight. Until its stored offset is known again, no record of these partitions is taken: what
    /// librdkafka still hands out continues from where reading was, not from where the target is.
    fn let_go(&mut self) -> Vec<Partition> {
        self.state.generation = self.shared.next_generation();
        self.state.batch.clear();
        self.state.from.clear();
        self.state.bytes = 0;
        self.state.full_at = None;
        self.state.outgoing = None;
        self.state.stuck_since = None;
        self.state.paused = false;
        let mut partitions: Vec<Partition> = self.state.assigned.drain(..).map(|(partition, _)| partition).collect();
        partitions.extend(self.state.takeovers.out_of_date());
        partitions
    }

    /// Drops what is in flight and tries again in a while, or when an operator resumes.
    pub(super) fn start_over_later(&mut self, why: String, remedy: &str) {
        self.paused(Trouble::Halted, why, remedy);
        let partitions = self.let_go();
        self.source.pause(&partitions);
        let takeover = TakeOver { partitions, seek: true };
        self.state.takeovers.later(takeover, Instant::now() + TRY_AGAIN, self.shared.resumes());
    }

    /// The brokers say that nothing is left of this partition, and all of it that was delivered is durable: what lies
    /// between is transaction markers.
    fn reached_end(&mut self, partition: &Partition, end: i64) {
        let idle = self.state.batch.events.is_empty() && self.state.outgoing.is_none();
        let Some(delivered) = self.state.assigned.get(partition).copied() else { return };
        let durable = self.shared.durable_next(partition);
        if idle && delivered.is_none_or(|next| durable.unwrap_or(next) >= next && end >= next) {
            self.shared.observer.frontier(&partition.0, partition.1, end, now_ms());
        }
    }
}

fn names(partitions: &[Partition]) -> Vec<String> {
    partitions.iter().map(|(t, p)| format!("{t}/{p}")).collect()
}
