//! Whether a RUNNING connector moves.
//!
//! Pure: samples and the clock are handed in. Two things can prove movement, and they prove different things:
//!
//! - **committed source offsets changed** (`GET /connectors/{name}/offsets`): records were read from the database,
//!   acknowledged by Kafka, and their position stored. An idle database changes nothing, so unchanged offsets alone
//!   are no proof of a standstill.
//! - **the heartbeat topic grew**: Debezium's streaming loop is alive and its producer reaches Kafka. It grows on an
//!   idle database too, so a heartbeat topic that does not grow *is* proof of a standstill.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One look at a RUNNING connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The committed source offsets in a canonical form; `None` if they could not be read.
    pub offsets: Option<String>,
    /// Records ever written to the heartbeat topic; `None` if it could not be read, 0 if it does not exist yet.
    pub heartbeats: Option<i64>,
}

/// What moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The committed source offsets changed.
    Offsets,
    /// A heartbeat record was written.
    Heartbeat,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Progress {
    /// Not RUNNING, or nobody looked.
    NotChecked,
    /// Watched for less than the window, nothing moved so far.
    Watching,
    /// Something moved within the window.
    Moving {
        /// What.
        proof: Proof,
    },
    /// Nothing moved, and nothing had to: an idle database or a stuck connector, we cannot tell.
    Unproven,
    /// Something had to move within the window and did not: RUNNING but not progressing.
    Stalled,
}

/// What must move even when the database is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Heartbeat records are sent, so a readable heartbeat topic must grow.
    pub heartbeats: bool,
    /// A statement writes to the source with every heartbeat, so offsets must change.
    pub offsets: bool,
}

/// Follows one connector from sample to sample.
#[derive(Clone, Debug)]
pub struct Tracker {
    window: Duration,
    expectation: Expectation,
    since: Option<Instant>,
    last: Sample,
    proof: Option<(Instant, Proof)>,
}

impl Tracker {
    /// Nothing seen yet.
    pub fn new(window: Duration, expectation: Expectation) -> Self {
        Self { window, expectation, since: None, last: Sample::default(), proof: None }
    }

    /// Forgets what was seen: the connector is not RUNNING, and when it is again, its clock starts anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.window, self.expectation);
    }

    /// Takes a sample of a RUNNING connector and judges.
    pub fn observe(&mut self, now: Instant, sample: Sample) -> Progress {
        let since = *self.since.get_or_insert(now);
        if sample.offsets.is_some() {
            if self.last.offsets.is_some() && self.last.offsets != sample.offsets {
                self.proof = Some((now, Proof::Offsets));
            }
            self.last.offsets = sample.offsets.clone();
        }
        if let Some(count) = sample.heartbeats {
            // Offsets say more than heartbeats: of two proofs in one look they are the one to name.
            if self.last.heartbeats.is_some_and(|before| count > before)
                && !matches!(self.proof, Some((at, _)) if at == now)
            {
                self.proof = Some((now, Proof::Heartbeat));
            }
            self.last.heartbeats = Some(count);
        }
        match self.proof {
            Some((at, proof)) if now.saturating_duration_since(at) < self.window => Progress::Moving { proof },
            _ if now.saturating_duration_since(since) < self.window => Progress::Watching,
            _ if (self.expectation.heartbeats && sample.heartbeats.is_some())
                || (self.expectation.offsets && sample.offsets.is_some()) =>
            {
                Progress::Stalled
            }
            _ => Progress::Unproven,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEATS: Expectation = Expectation { heartbeats: true, offsets: false };

    /// Samples one second apart, `(offsets, heartbeats)`, window five seconds; the last verdict.
    fn last(expectation: Expectation, samples: &[(Option<&str>, Option<i64>)]) -> Progress {
        let start = Instant::now();
        let mut tracker = Tracker::new(Duration::from_secs(5), expectation);
        let mut verdict = Progress::NotChecked;
        for (second, (offsets, heartbeats)) in (0..).zip(samples) {
            let sample = Sample { offsets: offsets.map(str::to_owned), heartbeats: *heartbeats };
            verdict = tracker.observe(start + Duration::from_secs(second), sample);
        }
        verdict
    }

    #[test]
    fn movement_is_proof_and_offsets_say_more_than_heartbeats() {
        assert_eq!(last(HEARTBEATS, &[(Some("a"), Some(1)), (Some("a"), Some(1))]), Progress::Watching);
        assert_eq!(
            last(HEARTBEATS, &[(Some("a"), Some(1)), (Some("a"), Some(2))]),
            Progress::Moving { proof: Proof::Heartbeat }
        );
        assert_eq!(
            last(HEARTBEATS, &[(Some("a"), Some(1)), (Some("b"), Some(2))]),
            Progress::Moving { proof: Proof::Offsets }
        );
        assert_eq!(
            last(HEARTBEATS, &[(None, None), (Some("a"), None)]),
            Progress::Watching,
            "the first sight of offsets is not a change"
        );
    }

    #[test]
    fn a_heartbeat_topic_that_does_not_grow_is_a_standstill() {
        assert_eq!(last(HEARTBEATS, &[(Some("a"), Some(7)); 6]), Progress::Stalled);
        assert_eq!(
            last(HEARTBEATS, &[(Some("a"), Some(0)); 6]),
            Progress::Stalled,
            "a topic that never came counts too"
        );
    }

    #[test]
    fn unchanged_offsets_alone_prove_nothing() {
        assert_eq!(last(HEARTBEATS, &[(Some("a"), None); 9]), Progress::Unproven);
        assert_eq!(
            last(Expectation::default(), &[(Some("a"), Some(3)); 9]),
            Progress::Unproven,
            "no heartbeats are sent"
        );
        assert_eq!(last(Expectation { heartbeats: false, offsets: true }, &[(Some("a"), None); 6]), Progress::Stalled);
    }

    #[test]
    fn old_proof_expires_and_a_restart_begins_a_new_watch() {
        let mut samples = vec![(Some("a"), Some(1)), (Some("b"), Some(1))];
        samples.extend([(Some("b"), Some(1)); 4]);
        assert_eq!(last(HEARTBEATS, &samples), Progress::Moving { proof: Proof::Offsets });
        samples.push((Some("b"), Some(1)));
        assert_eq!(last(HEARTBEATS, &samples), Progress::Stalled);

        let now = Instant::now();
        let mut tracker = Tracker::new(Duration::from_secs(5), HEARTBEATS);
        tracker.observe(now, Sample { offsets: None, heartbeats: Some(1) });
        tracker.reset();
        let later = now + Duration::from_secs(60);
        assert_eq!(tracker.observe(later, Sample { offsets: None, heartbeats: Some(1) }), Progress::Watching);
    }
}
