//! Take-overs on their way: partitions that were assigned to us, or are to continue elsewhere, and are not read yet.
//! Pure: who is asked, and what is done with an answer, is the reader's business.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use crate::source::kafka::Partition;
use crate::target::StoredOffset;

/// Partitions to be taken over together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TakeOver {
    pub(super) partitions: Vec<Partition>,
    /// True: they are assigned already and only continue elsewhere.
    pub(super) seek: bool,
}

/// How far one is.
enum Stage {
    /// The target is asked for the stored offsets of these partitions, which may be more than are still to be taken over.
    Asked { asked: Vec<Partition>, reply: Receiver<Vec<StoredOffset>> },
    /// It failed, and is tried again at this time, or when more than so many resumes were asked for.
    Later { at: Instant, resumes: u64 },
}

/// All that are on their way.
#[derive(Default)]
pub(super) struct TakeOvers(Vec<(TakeOver, Stage)>);

impl TakeOvers {
    /// None is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stored offsets were asked for; `reply` brings them.
    pub(super) fn asked(&mut self, takeover: TakeOver, reply: Receiver<Vec<StoredOffset>>) {
        let asked = takeover.partitions.clone();
        self.0.push((takeover, Stage::Asked { asked, reply }));
    }

    /// It is to be tried again at `at`, or when an operator resumes once more than `resumes` times.
    pub(super) fn later(&mut self, takeover: TakeOver, at: Instant, resumes: u64) {
        self.0.push((takeover, Stage::Later { at, resumes }));
    }

    /// Takes those whose answer has come, with the stored offset of each of its partitions. Where nobody will answer any
    /// more, the pipeline ends.
    pub(super) fn answered(&mut self) -> Vec<(TakeOver, Vec<Option<i64>>)> {
        let mut answered = Vec::new();
        self.0.retain_mut(|(takeover, stage)| match stage {
            Stage::Asked { asked, reply } => match reply.try_recv() {
                Ok(stored) => {
                    let still =
                        asked.iter().zip(stored).filter(|(partition, _)| takeover.partitions.contains(partition));
                    let (partitions, offsets) =
                        still.map(|(partition, stored)| (partition.clone(), stored.next)).unzip();
                    answered.push((TakeOver { partitions, seek: takeover.seek }, offsets));
                    false
                }
                Err(TryRecvError::Empty) => true,
                Err(TryRecvError::Disconnected) => false,
            },
            Stage::Later { .. } => true,
        });
        answered
    }

    /// Takes those whose time to be tried again has come.
    pub(super) fn due(&mut self, now: Instant, resumes: u64) -> Vec<TakeOver> {
        let is_due =
            |stage: &Stage| matches!(stage, Stage::Later { at, resumes: seen } if *at <= now || *seen != resumes);
        self.0.extract_if(.., |(_, stage)| is_due(stage)).map(|(takeover, _)| takeover).collect()
    }

    /// Tries again at this time what waits for a later one.
    pub(super) fn hurry(&mut self, now: Instant) {
        for (_, stage) in &mut self.0 {
            if let Stage::Later { at, .. } = stage {
                *at = now.min(*at);
            }
        }
    }

    /// Leaves these partitions out: they went to another agent.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        self.0.retain_mut(|(takeover, _)| {
            takeover.partitions.retain(|p| !partitions.contains(p));
            !takeover.partitions.is_empty()
        });
    }

    /// Takes the partitions that were to continue elsewhere: an answer about them is out of date by now.
    pub(super) fn out_of_date(&mut self) -> Vec<Partition> {
        self.0.extract_if(.., |(takeover, _)| takeover.seek).flat_map(|(takeover, _)| takeover.partitions).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn takeover(partitions: &[i32], seek: bool) -> TakeOver {
        TakeOver { partitions: partitions.iter().map(|p| ("t".into(), *p)).collect(), seek }
    }

    fn stored(partition: i32, next: Option<i64>) -> StoredOffset {
        StoredOffset { topic: "t".into(), partition, next }
    }

    fn numbers(partitions: &[Partition]) -> Vec<i32> {
        partitions.iter().map(|(_, p)| *p).collect()
    }

    #[test]
    fn an_answer_is_taken_once_and_only_when_it_has_come() {
        let (mut all, (reply, answer)) = (TakeOvers::default(), channel());
        all.asked(takeover(&[1], false), answer);
        assert!(all.answered().is_empty() && !all.is_empty());
        reply.send(vec![stored(1, Some(7))]).unwrap();
        assert_eq!(all.answered(), [(takeover(&[1], false), vec![Some(7)])]);
        assert!(all.is_empty());
    }

    #[test]
    fn a_partition_gets_its_own_offset_when_others_went_elsewhere_before_the_answer() {
        let (mut all, (reply, answer)) = (TakeOvers::default(), channel());
        all.asked(takeover(&[1, 2, 3], false), answer);
        all.forget(&[("t".into(), 1)]);
        reply.send(vec![stored(1, Some(100)), stored(2, Some(200)), stored(3, None)]).unwrap();
        assert_eq!(all.answered(), [(takeover(&[2, 3], false), vec![Some(200), None])]);
    }

    #[test]
    fn what_failed_is_tried_again_when_its_time_comes_or_an_operator_resumes() {
        let (mut all, now) = (TakeOvers::default(), Instant::now());
        all.later(takeover(&[1], false), now + Duration::from_secs(5), 0);
        all.later(takeover(&[2], true), now + Duration::from_secs(9), 0);
        assert!(all.due(now, 0).is_empty());
        assert_eq!(all.due(now + Duration::from_secs(5), 0), [takeover(&[1], false)]);
        assert_eq!(all.due(now, 1), [takeover(&[2], true)]);
        assert!(all.is_empty());
    }

    #[test]
    fn partitions_that_went_elsewhere_are_not_taken_over_whatever_stage_they_are_in() {
        let (mut all, (_reply, answer), now) = (TakeOvers::default(), channel(), Instant::now());
        all.asked(takeover(&[1, 2], false), answer);
        all.later(takeover(&[3], false), now, 0);
        all.forget(&[("t".into(), 2), ("t".into(), 3)]);
        assert!(all.due(now, 0).is_empty());
        assert_eq!(numbers(&all.0[0].0.partitions), [1]);
        all.forget(&[("t".into(), 1)]);
        assert!(all.is_empty());
    }

    #[test]
    fn only_what_continues_elsewhere_is_out_of_date_after_a_reset() {
        let (mut all, (_reply, answer), now) = (TakeOvers::default(), channel(), Instant::now());
        all.asked(takeover(&[1], false), answer);
        all.later(takeover(&[2], true), now, 0);
        all.later(takeover(&[3, 4], true), now, 0);
        assert_eq!(numbers(&all.out_of_date()), [2, 3, 4]);
        assert!(!all.is_empty() && all.out_of_date().is_empty());
    }
}
