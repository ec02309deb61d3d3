//! Whether a RUNNING connector moves.
//!
//! Pure: samples and the clock are handed in. Two things can prove movement, and they prove different things:
//!
//! - **committed source offsets changed** (`GET /connectors/{name}/offsets`): records were read from the database,
//!   acknowledged by Kafka, and their position stored. An idle database changes nothing, so unchanged offsets alone
//!   are no proof of a standstill.
//! - **the heartbeat topic grew**: Debezium's streaming loop is alive and its producer reaches Kafka. It grows on an
//!   idle database too, so a heartbeat topic that does not grow *is* proof of a standstill. That it grows does not prove
//!   that the database still sends; only a statement run in the source with every heartbeat closes the circle, because
//!   then offsets must change too.
//!
//! During a snapshot neither has to move, so a snapshot is never called a standstill.

use std::time::{Duration, Instant};

use serde::Serialize;

/// One look at a RUNNING connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The committed source offsets in a canonical form; `None` if they could not be read.
    pub offsets: Option<String>,
    /// Whether those offsets belong to streaming: they exist, and no snapshot is under way.
    pub streaming: bool,
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
    Unproven {
        /// Why we cannot tell.
        why: Doubt,
    },
    /// Something had to move within the window and did not: RUNNING but not progressing.
    Stalled,
}

/// Why standing still cannot be told from having nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No offset of streaming was committed yet: it is in its snapshot, or about to be.
    Snapshot,
    /// Neither heartbeats nor offsets that must change can be seen.
    NoSignal,
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
    offsets: Option<String>,
    heartbeats: Option<i64>,
    moved_offsets: Option<Instant>,
    moved_heartbeats: Option<Instant>,
}

impl Tracker {
    /// Nothing seen yet.
    pub fn new(window: Duration, expectation: Expectation) -> Self {
        Self {
            window,
            expectation,
            since: None,
            offsets: None,
            heartbeats: None,
            moved_offsets: None,
            moved_heartbeats: None,
        }
    }

    /// Forgets what was seen: the connector is not RUNNING, and when it is again, its clock starts anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.window, self.expectation);
    }

    /// Takes a sample of a RUNNING connector and judges.
    pub fn observe(&mut self, now: Instant, sample: Sample) -> Progress {
        let since = *self.since.get_or_insert(now);
        if let Some(offsets) = sample.offsets {
            if self.offsets.as_ref().is_some_and(|before| *before != offsets) {
                self.moved_offsets = Some(now);
            }
            self.offsets = Some(offsets);
        }
        if let Some(count) = sample.heartbeats {
            if self.heartbeats.is_some_and(|before| count > before) {
                self.moved_heartbeats = Some(now);
            }
            self.heartbeats = Some(count);
        }
        let recent = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < self.window);
        let watched_long_enough = now.saturating_duration_since(since) >= self.window;
        // Where offsets must change, heartbeats alone hide a database that has gone silent.
        let offsets_must_move = self.expectation.offsets && sample.streaming;
        if recent(self.moved_offsets) {
            Progress::Moving { proof: Proof::Offsets }
        } else if recent(self.moved_heartbeats) && !(offsets_must_move && watched_long_enough) {
            Progress::Moving { proof: Proof::Heartbeat }
        } else if !watched_long_enough {
            Progress::Watching
        } else if !sample.streaming {
            Progress::Unproven { why: Doubt::Snapshot }
        } else if offsets_must_move || (self.expectation.heartbeats && sample.heartbeats.is_some()) {
            Progress::Stalled
        } else {
            Progress::Unproven { why: Doubt::NoSignal }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEATS: Expectation = Expectation { heartbeats: true, offsets: false };

    const BOTH: Expectation = Expectation { heartbeats: true, offsets: true };

    /// Looks one second apart, window five seconds; the last verdict. A look is `(offsets, heartbeats)`; offsets that
    /// begin with `s` are those of a snapshot.
    fn last(expectation: Expectation, looks: &[(Option<&str>, Option<i64>)]) -> Progress {
        let start = Instant::now();
        let mut tracker = Tracker::new(Duration::from_secs(5), expectation);
        let mut verdict = Progress::NotChecked;
        for (second, (offsets, heartbeats)) in (0..).zip(looks) {
            let sample = Sample {
                offsets: offsets.map(str::to_owned),
                streaming: offsets.is_some_and(|offsets| !offsets.starts_with('s')),
                heartbeats: *heartbeats,
            };
            verdict = tracker.observe(start + Duration::from_secs(second), sample);
        }
        verdict
    }

    #[test]
    fn movement_is_proof_and_offsets_say_more_than_heartbeats() {
        let heartbeat = Progress::Moving { proof: Proof::Heartbeat };
        let offsets = Progress::Moving { proof: Proof::Offsets };
        for (looks, expect) in [
            (vec![(Some("a"), Some(1)), (Some("a"), Some(1))], Progress::Watching),
            (vec![(Some("a"), Some(1)), (Some("a"), Some(2))], heartbeat),
            (vec![(Some("a"), Some(1)), (Some("b"), Some(2))], offsets),
            (vec![(Some("a"), None), (Some("b"), None)], offsets),
            // The first sight of offsets is not a change, and neither is that of heartbeats.
            (vec![(None, None), (Some("a"), Some(9))], Progress::Watching),
        ] {
            assert_eq!(last(HEARTBEATS, &looks), expect, "{looks:?}");
        }
    }

    #[test]
    fn a_heartbeat_topic_that_does_not_grow_is_a_standstill() {
        assert_eq!(last(HEARTBEATS, &[(Some("a"), Some(7)); 5]), Progress::Watching);
        assert_eq!(last(HEARTBEATS, &[(Some("a"), Some(7)); 6]), Progress::Stalled);
        assert_eq!(
            last(HEARTBEATS, &[(Some("a"), Some(0)); 6]),
            Progress::Stalled,
            "a topic that never came counts too"
        );
    }

    #[test]
    fn unchanged_offsets_alone_prove_nothing() {
        let unproven = Progress::Unproven { why: Doubt::NoSignal };
        assert_eq!(last(HEARTBEATS, &[(Some("a"), None); 9]), unproven);
        assert_eq!(last(Expectation::default(), &[(Some("a"), Some(3)); 9]), unproven, "no heartbeats are sent");
    }

    #[test]
    fn where_offsets_must_change_heartbeats_cannot_hide_a_silent_database() {
        let beating: Vec<_> = (0..9).map(|beat| (Some("a"), Some(beat))).collect();
        assert_eq!(last(HEARTBEATS, &beating), Progress::Moving { proof: Proof::Heartbeat });
        assert_eq!(last(BOTH, &beating), Progress::Stalled);
        assert_eq!(last(BOTH, &[(Some("a"), None); 6]), Progress::Stalled);
    }

    #[test]
    fn a_snapshot_is_never_called_a_standstill() {
        let doubt = Progress::Unproven { why: Doubt::Snapshot };
        assert_eq!(last(BOTH, &[(Some("s"), Some(0)); 9]), doubt);
        assert_eq!(last(BOTH, &[(None, Some(0)); 9]), doubt);
    }

    #[test]
    fn old_proof_expires_and_a_restart_begins_a_new_watch() {
        let mut looks = vec![(Some("a"), Some(1)), (Some("b"), Some(1))];
        looks.extend([(Some("b"), Some(1)); 4]);
        assert_eq!(last(HEARTBEATS, &looks), Progress::Moving { proof: Proof::Offsets });
        looks.push((Some("b"), Some(1)));
        assert_eq!(last(HEARTBEATS, &looks), Progress::Stalled);

        let now = Instant::now();
        let mut tracker = Tracker::new(Duration::from_secs(5), HEARTBEATS);
        let look = || Sample { offsets: Some("a".to_owned()), streaming: true, heartbeats: Some(1) };
        tracker.observe(now, look());
        tracker.reset();
        assert_eq!(tracker.observe(now + Duration::from_secs(60), look()), Progress::Watching);
    }
}
