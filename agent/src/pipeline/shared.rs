//! What reader, writer and watcher of one pipeline share: generation, health, durable offsets, stop and resume signals.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use tokio::sync::Notify;

use crate::source::kafka::Partition;
use crate::stats::{Observer, PipelineState};

/// Who reports trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Reader,
    Writer,
}

#[derive(Default)]
struct Health {
    reader: Option<PipelineState>,
    writer: Option<PipelineState>,
}

/// Shared state of a pipeline.
pub(super) struct Shared {
    pub(super) observer: Arc<Observer>,
    /// Batches of an older generation are dropped by the writer: their partitions are read again from the stored offsets.
    generation: AtomicU64,
    /// The writer found that what it holds is out of date.
    reset: AtomicBool,
    stop: AtomicBool,
    abandon: AtomicBool,
    /// Keys are parked: what a batch comes to depends on those before it.
    parks: AtomicBool,
    /// Counts resume requests.
    resumes: AtomicU64,
    pub(super) wake_writer: Notify,
    reader_thread: Mutex<Option<Thread>>,
    health: Mutex<Health>,
    durable: Mutex<HashMap<Partition, i64>>,
    uncommitted: Mutex<HashMap<Partition, i64>>,
    assigned: Mutex<Vec<Partition>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(observer: Arc<Observer>) -> Self {
        Self {
            observer,
            generation: AtomicU64::new(0),
            reset: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            parks: AtomicBool::new(false),
            resumes: AtomicU64::new(0),
            wake_writer: Notify::new(),
            reader_thread: Mutex::new(None),
            health: Mutex::new(Health::default()),
            durable: Mutex::new(HashMap::new()),
            uncommitted: Mutex::new(HashMap::new()),
            assigned: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.reset.store(false, Ordering::Release);
        let next = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake_writer.notify_one();
        next
    }

    pub(super) fn want_reset(&self) {
        self.reset.store(true, Ordering::Release);
        self.wake_reader();
    }

    pub(super) fn reset_wanted(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// Asks for a graceful end: finish what is in flight.
    pub(super) fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_reader();
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The grace is over: drop what is in flight. Nothing is lost, it is read again after the next start.
    pub(super) fn request_abandon(&self) {
        self.abandon.store(true, Ordering::Release);
        self.wake_writer.notify_one();
        self.wake_reader();
    }

    pub(super) fn abandoned(&self) -> bool {
        self.abandon.load(Ordering::Acquire)
    }

    /// The writer says whether keys are parked.
    pub(super) fn set_parks(&self, any: bool) {
        self.parks.store(any, Ordering::Release);
    }

    pub(super) fn parks(&self) -> bool {
        self.parks.load(Ordering::Acquire)
    }

    /// An operator says that what paused the pipeline is mended.
    pub(super) fn resume(&self) {
        self.resumes.fetch_add(1, Ordering::AcqRel);
        self.wake_writer.notify_one();
        self.wake_reader();
    }

    pub(super) fn resumes(&self) -> u64 {
        self.resumes.load(Ordering::Acquire)
    }

    pub(super) fn set_reader_thread(&self) {
        *lock(&self.reader_thread) = Some(std::thread::current());
    }

    pub(super) fn wake_reader(&self) {
        if let Some(thread) = &*lock(&self.reader_thread) {
            thread.unpark();
        }
    }

    /// Notes what keeps a part from running, or that nothing does, and tells the observer.
    pub(super) fn health(&self, part: Part, trouble: Option<PipelineState>) {
        let mut health = lock(&self.health);
        let slot = match part {
            Part::Reader => &mut health.reader,
            Part::Writer => &mut health.writer,
        };
        if *slot == trouble {
            return;
        }
        *slot = trouble;
        // The writer's trouble is the graver: nothing becomes durable.
        let state = health.writer.clone().or_else(|| health.reader.clone()).unwrap_or(PipelineState::Running);
        self.observer.state(state);
    }

    /// Rows and offsets below `next` are durable at the target.
    pub(super) fn durable(&self, partition: &Partition, next: i64) {
        lock(&self.durable).insert(partition.clone(), next);
        lock(&self.uncommitted).insert(partition.clone(), next);
    }

    pub(super) fn durable_next(&self, partition: &Partition) -> Option<i64> {
        lock(&self.durable).get(partition).copied()
    }

    /// Offsets that became durable since the last call.
    pub(super) fn take_uncommitted(&self) -> Vec<(Partition, i64)> {
        lock(&self.uncommitted).drain().collect()
    }

    pub(super) fn set_assigned(&self, partitions: Vec<Partition>) {
        *lock(&self.assigned) = partitions;
    }

    pub(super) fn assigned(&self) -> Vec<Partition> {
        lock(&self.assigned).clone()
    }

    pub(super) fn forget(&self, partitions: &[Partition]) {
        let mut durable = lock(&self.durable);
        let mut uncommitted = lock(&self.uncommitted);
        for partition in partitions {
            durable.remove(partition);
            uncommitted.remove(partition);
        }
    }
}
