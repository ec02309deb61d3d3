//! How long each part of the way took.
//!
//! `capture`: source commit to the connector's read. `broker`: connector's read to received here (producer, Kafka,
//! prefetch). `transform`: decode and plugins. `apply`: the target's write. `end_to_end`: source commit to visible.
//!
//! Cost: transform and apply are one observation a batch; capture, broker and end_to_end one per [`Stamp`], and the
//! pipeline hands over at most [`MAX_STAMPS`] evenly spread over the batch. So a batch costs at most 26 observations
//! whatever its size; the histogram is a sample of events, not a census.

use std::time::Duration;

/// Stamps kept of a batch.
pub const MAX_STAMPS: usize = 8;

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Source commit to the connector's read.
    Capture,
    /// Connector's read to received here.
    Broker,
    /// Decode and plugins.
    Transform,
    /// The target's write.
    Apply,
    /// Source commit to visible at the target.
    EndToEnd,
}

impl Hop {
    /// Every hop, in order.
    pub const ALL: [Self; 5] = [Self::Capture, Self::Broker, Self::Transform, Self::Apply, Self::EndToEnd];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Broker => "broker",
            Self::Transform => "transform",
            Self::Apply => "apply",
            Self::EndToEnd => "end_to_end",
        }
    }
}

/// The times of one event of a batch, microseconds since 1970; 0 when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Commit at the source.
    pub source_us: i64,
    /// Read by the connector.
    pub captured_us: i64,
    /// Received by this agent.
    pub received_us: i64,
}

/// The times of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HopSamples {
    /// Events, evenly spread over the batch; more than [`MAX_STAMPS`] are ignored. Leave snapshot rows out: their commit
    /// time is that of the snapshot.
    pub stamps: Vec<Stamp>,
    /// Decode and plugins.
    pub transform: Option<Duration>,
    /// The target's write, retries excluded.
    pub apply: Option<Duration>,
}

impl HopSamples {
    /// Indexes of the events to take stamps of in a batch of so many: first and last included.
    ///
    /// ```
    /// use whimbrel::stats::HopSamples;
    /// assert_eq!(HopSamples::pick(3).collect::<Vec<_>>(), [0, 1, 2]);
    /// assert_eq!(HopSamples::pick(1000).collect::<Vec<_>>(), [0, 142, 285, 428, 570, 713, 856, 999]);
    /// ```
    pub fn pick(events: usize) -> impl Iterator<Item = usize> {
        let picks = events.min(MAX_STAMPS);
        (0..picks).map(move |index| if picks < 2 { 0 } else { index * (events - 1) / (picks - 1) })
    }

    /// The observations, in seconds. A pair of stamps that would give a negative time gives none: that is clock skew and
    /// reported as such.
    pub fn observations(&self, visible_at_ms: i64) -> impl Iterator<Item = (Hop, f64)> {
        let visible_us = visible_at_ms.saturating_mul(1_000);
        let of_stamp = move |stamp: &Stamp| {
            [
                (Hop::Capture, between(stamp.source_us, stamp.captured_us)),
                (Hop::Broker, between(stamp.captured_us, stamp.received_us)),
                (Hop::EndToEnd, between(stamp.source_us, visible_us)),
            ]
        };
        let here = [(Hop::Transform, self.transform), (Hop::Apply, self.apply)];
        self.stamps
            .iter()
            .take(MAX_STAMPS)
            .flat_map(of_stamp)
            .chain(here.map(|(hop, took)| (hop, took.map(|took| took.as_secs_f64()))))
            .filter_map(|(hop, seconds)| Some((hop, seconds?)))
    }
}

fn between(from_us: i64, to_us: i64) -> Option<f64> {
    if from_us <= 0 || to_us <= 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "durations: microseconds of centuries fit")]
    let seconds = to_us.saturating_sub(from_us) as f64 / 1e6;
    (seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_one_observation_per_hop_and_stamp_and_none_for_unknown_or_negative_times() {
        let stamp = Stamp { source_us: 1_000_000, captured_us: 1_500_000, received_us: 1_400_000 };
        let samples = HopSamples {
            stamps: vec![stamp, Stamp { source_us: 0, ..stamp }],
            transform: Some(Duration::from_millis(3)),
            apply: None,
        };
        let got: Vec<_> = samples.observations(3_000).collect();
        assert_eq!(got, [(Hop::Capture, 0.5), (Hop::EndToEnd, 2.0), (Hop::Transform, 0.003)]);
    }

    #[test]
    fn the_cost_of_a_batch_is_bounded() {
        let stamp = Stamp { source_us: 1, captured_us: 2, received_us: 3 };
        let samples =
            HopSamples { stamps: vec![stamp; 1_000], transform: Some(Duration::ZERO), apply: Some(Duration::ZERO) };
        assert_eq!(samples.observations(1).count(), 3 * MAX_STAMPS + 2);
        assert_eq!(HopSamples::pick(0).count(), 0);
        assert_eq!(HopSamples::pick(1).collect::<Vec<_>>(), [0]);
    }
}
