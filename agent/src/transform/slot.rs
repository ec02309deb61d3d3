//! Where a running link and whoever reloads its plugin meet: a mailbox for the next version, the last batch the plugin
//! saw, and its shadow. The link looks at one word before each batch and takes a lock only where that word says so. Swaps
//! nothing by itself: the link does, between two batches.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shadow::Shadow;
use super::view::View;
use crate::batch::Batch;
use crate::plugin::{Instance, LoadError, Plugin, Transform};
use crate::stats::{Edition, PluginMeter, PluginPlace};

/// How often a batch is kept to try new versions on: a copy costs some 100 µs.
const RECORD_EVERY: Duration = Duration::from_secs(1);
/// The largest batch that is kept, in bytes of data. Twice what a batch holds by default.
const MAX_RECORDED: usize = 16 << 20;

/// The mailbox is full.
const INCOMING: u8 = 1;
/// A shadow wants batches.
const SHADOW: u8 = 2;
/// A batch shall be kept now and then.
const RECORD: u8 = 4;

/// A version on its way into a link.
pub(super) struct Incoming {
    pub(super) plugin: Arc<Plugin<Transform<View>>>,
    /// None for a plugin that keeps state: it is started by the link, when the old version has stored its last.
    pub(super) started: Option<Instance<Transform<View>>>,
    pub(super) meter: Arc<PluginMeter>,
    pub(super) edition: Edition,
    pub(super) promoted: bool,
    /// Told when the link has taken it, or could not; with the old instance, so that it ends elsewhere.
    pub(super) done: SyncSender<Result<Instance<Transform<View>>, LoadError>>,
}

/// A batch as the plugin saw it before its call.
#[derive(Clone)]
pub(super) struct Recorded {
    pub(super) batch: Arc<Batch>,
    /// How many events the plugin failed; none when it stopped the pipeline over it.
    pub(super) failed: Option<u64>,
}

/// What one link and its reloads share.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) place: Arc<PluginPlace>,
    flags: AtomicU8,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    incoming: Option<Incoming>,
    recorded: Option<Recorded>,
    recorded_at: Option<Instant>,
    shadow: Option<Arc<Shadow>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("incoming", &self.incoming.is_some()).finish_non_exhaustive()
    }
}

/// What the link is to do for others around one batch.
#[derive(Default)]
pub(super) struct Errands {
    /// The batch before the call, when somebody wants it.
    before: Option<Arc<Batch>>,
    record: bool,
    shadow: Option<Arc<Shadow>>,
}

impl Slot {
    pub(super) fn new(place: Arc<PluginPlace>) -> Arc<Self> {
        Arc::new(Slot { place, flags: AtomicU8::new(0), inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u8, on: bool) {
        if on {
            self.flags.fetch_or(flag, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!flag, Ordering::AcqRel);
        }
    }

    /// Keeps a batch now and then from here on.
    pub(super) fn record(&self) {
        self.set(RECORD, true);
    }

    /// The last batch that was kept.
    pub(super) fn recorded(&self) -> Option<Recorded> {
        self.lock().recorded.clone()
    }

    /// Puts a version into the mailbox; one that is still there is dropped.
    pub(super) fn hand_over(&self, incoming: Incoming) {
        let mut inner = self.lock();
        inner.incoming = Some(incoming);
        self.set(INCOMING, true);
    }

    /// The version in the mailbox, for the link. Only between two batches.
    pub(super) fn take(&self) -> Option<Incoming> {
        if !self.has(INCOMING) {
            return None;
        }
        let mut inner = self.lock();
        self.set(INCOMING, false);
        inner.incoming.take()
    }

    pub(super) fn shadow(&self) -> Option<Arc<Shadow>> {
        self.lock().shadow.clone()
    }

    /// Sets or ends the shadow.
    pub(super) fn set_shadow(&self, shadow: Option<Shadow>) {
        let mut inner = self.lock();
        self.set(SHADOW, shadow.is_some());
        let old = std::mem::replace(&mut inner.shadow, shadow.map(Arc::new));
        drop(inner);
        drop(old);
    }

    /// Before a call: what others want of this batch is copied, and where nobody wants anything nothing is.
    pub(super) fn before(&self, batch: &Batch, rows: usize) -> Errands {
        let flags = self.flags.load(Ordering::Acquire);
        if flags & (SHADOW | RECORD) == 0 {
            return Errands::default();
        }
        let small = batch.data.len() <= MAX_RECORDED;
        let mut inner = self.lock();
        let record = flags & RECORD != 0 && small && inner.recorded_at.is_none_or(|at| at.elapsed() >= RECORD_EVERY);
        if record {
            inner.recorded_at = Some(Instant::now());
        }
        let shadow = inner.shadow.clone();
        drop(inner);
        let shadow = shadow.filter(|shadow| shadow.wants(rows, small));
        let before = (record || shadow.is_some()).then(|| Arc::new(batch.clone()));
        Errands { before, record, shadow }
    }

    /// After a call that went well, however events fared.
    pub(super) fn after(&self, errands: Errands, batch: &Batch, rows: &[u32], failed: u64) {
        let Some(before) = errands.before else { return };
        if errands.record {
            self.lock().recorded = Some(Recorded { batch: Arc::clone(&before), failed: Some(failed) });
        }
        if let Some(shadow) = errands.shadow {
            shadow.offer(before, batch.clone(), rows.to_vec());
        }
    }

    /// A call failed and left the batch as it was: the next version shall prove itself on this one.
    pub(super) fn failed(&self, batch: &Batch) {
        if self.has(RECORD) && batch.data.len() <= MAX_RECORDED {
            let recorded = Recorded { batch: Arc::new(batch.clone()), failed: None };
            let mut inner = self.lock();
            inner.recorded = Some(recorded);
            inner.recorded_at = Some(Instant::now());
        }
    }
}
