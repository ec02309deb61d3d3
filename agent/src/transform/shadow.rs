//! A version of a plugin that runs beside the one at work: on copies of its batches, on a thread of its own, under a budget
//! of its own. What it makes of them is compared and counted, and never goes anywhere. When it lags, batches pass it by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::chain::{Link, TrapPolicy};
use super::compare::differing;
use super::view::View;
use crate::batch::Batch;
use crate::event::{Reason, Verdict};
use crate::plugin::{Instance, Plugin, Transform};
use crate::stats::{Compared, Difference, Instruments, PluginPlace};

/// Batches that may wait: one, while one is compared. More would only be older.
const QUEUE: usize = 2;

/// A running shadow. Its thread ends when it is dropped.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) plugin: Arc<Plugin<Transform<View>>>,
    number: u64,
    sample: f64,
    /// Batches it could have seen.
    offered: AtomicU64,
    waiting: Arc<AtomicUsize>,
    work: SyncSender<Work>,
    place: Arc<PluginPlace>,
}

struct Work {
    before: Arc<Batch>,
    /// What the version at work made of it.
    after: Batch,
    rows: Vec<u32>,
}

impl Shadow {
    /// Starts a shadow that is told apart from others by its number; `sample` is the share of batches it sees.
    pub(super) fn start(
        instance: Instance<Transform<View>>,
        sample: f64,
        number: u64,
        place: &Arc<PluginPlace>,
        instruments: &Instruments,
    ) -> std::io::Result<Self> {
        let plugin = Arc::clone(instance.plugin());
        // Its own traps must not stop it: an event it cannot cope with counts as an error.
        let link = Link::new(instance, TrapPolicy::DeadLetter, instruments);
        let (work, incoming) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        thread::Builder::new().name("plugin-shadow".to_owned()).spawn({
            let (waiting, place) = (Arc::clone(&waiting), Arc::clone(place));
            move || run(link, &incoming, &waiting, number, &place)
        })?;
        Ok(Shadow { plugin, number, sample, offered: AtomicU64::new(0), waiting, work, place: Arc::clone(place) })
    }

    /// Whether it is to see the next batch, of so many rows; only the link asks. A batch that is due and finds no room is
    /// counted.
    pub(super) fn wants(&self, rows: usize, small: bool) -> bool {
        let nth = self.offered.fetch_add(1, Ordering::Relaxed);
        if !is_due(nth, self.sample) {
            return false;
        }
        let room = small && self.waiting.load(Ordering::Acquire) < QUEUE;
        if !room {
            self.skip(rows);
        }
        room
    }

    /// Gives it a batch as it was and as it became.
    pub(super) fn offer(&self, before: Arc<Batch>, after: Batch, rows: Vec<u32>) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let events = rows.len();
        if self.work.try_send(Work { before, after, rows }).is_err() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.skip(events);
        }
    }

    fn skip(&self, events: usize) {
        self.place.compared(self.number, &Compared { skipped: events as u64, ..Compared::default() }, Vec::new());
    }
}

/// Whether the batch of this number is among the share.
#[expect(clippy::cast_precision_loss, reason = "a count of batches stays below 2^53")]
fn is_due(nth: u64, sample: f64) -> bool {
    let upto = |n: u64| (n as f64 * sample).floor();
    upto(nth + 1) > upto(nth)
}

fn run(mut link: Link, incoming: &Receiver<Work>, waiting: &AtomicUsize, number: u64, place: &PluginPlace) {
    while let Ok(Work { before, after, rows }) = incoming.recv() {
        let mut view = View::new(Arc::unwrap_or_clone(before));
        let outcome;
        (view, outcome) = link.apply(view);
        let (events, differences) = match outcome {
            Ok(()) => compare(&after, &view.into_batch(), &rows),
            Err(_) => (Compared { error: rows.len() as u64, ..Compared::default() }, Vec::new()),
        };
        place.compared(number, &events, differences);
        waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn compare(old: &Batch, new: &Batch, rows: &[u32]) -> (Compared, Vec<Difference>) {
    let mut events = Compared::default();
    let mut differences = Vec::new();
    for at in rows.iter().map(|row| *row as usize) {
        let Some(event) = new.events.get(at) else { continue };
        let trapped = matches!(event.verdict, Verdict::Fail(_))
            && new.failure(event).is_some_and(|failure| failure.reason == Reason::TransformTrapped);
        if trapped {
            events.error += 1;
            continue;
        }
        let parts = differing(old, new, at);
        if parts.is_empty() {
            events.same += 1;
            continue;
        }
        events.differs += 1;
        differences.push(Difference {
            topic: new.topic(event).to_owned(),
            partition: event.origin.partition,
            offset: event.origin.offset,
            parts,
        });
    }
    (events, differences)
}

#[cfg(test)]
mod tests {
    use super::is_due;

    #[test]
    fn a_sample_is_a_share_spread_evenly() {
        for (sample, expect) in [(1.0, 100), (0.5, 50), (0.25, 25), (0.01, 1), (0.0, 0)] {
            assert_eq!((0..100).filter(|nth| is_due(*nth, sample)).count(), expect, "{sample}");
        }
    }
}
