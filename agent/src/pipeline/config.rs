//! Validated settings of delivery: guarantee, batches, back-off, poison budget, dead letters.

use std::time::Duration;

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::target::DeliveryMode;

/// Events per batch: past about 500 the cost of a transaction no longer shows; 1000 keeps latency and memory low.
const DEFAULT_MAX_EVENTS: usize = 1_000;
/// Bytes per batch: half of MongoDB's message limit is 24 MB; 8 MiB leaves room for key copies and encoding.
const DEFAULT_MAX_BYTES: u64 = 8 << 20;
/// How long the first event of a batch waits for company; below what people call live.
const DEFAULT_MAX_WAIT: Duration = Duration::from_millis(20);
/// A pause after a restart of the target is rarely shorter.
const DEFAULT_RETRY_INITIAL: Duration = Duration::from_millis(100);
/// Long enough to spare a struggling server, short enough that recovery is not noticed late.
const DEFAULT_RETRY_MAX: Duration = Duration::from_secs(10);
/// A bad deployment shows within a hundred records; a few odd rows do not come a hundred in a row.
const DEFAULT_POISON_CONSECUTIVE: u64 = 100;
/// Half of all records refused is no longer "a few odd rows".
const DEFAULT_POISON_RATIO: f64 = 0.5;
const DEFAULT_POISON_WINDOW: u64 = 1_000;
/// Kubernetes gives 30 s; a third of it leaves time for the rest.
const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Replays after an outage of a day still meet the version of what was deleted.
const DEFAULT_DELETE_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Validated settings.
#[derive(Clone, PartialEq)]
pub struct DeliveryConfig {
    /// Guarantee.
    pub mode: DeliveryMode,
    /// Most events of a batch.
    pub max_events: usize,
    /// Most payload bytes of a batch.
    pub max_bytes: usize,
    /// Longest wait for a batch to fill.
    pub max_wait: Duration,
    /// First and longest wait between retries.
    pub retry: (Duration, Duration),
    /// When bad records pause the pipeline.
    pub poison: PoisonConfig,
    /// Topic for full dead letters, when not in the target.
    pub dead_letter_topic: Option<String>,
    /// How long in-flight batches may take at shutdown.
    pub shutdown_grace: Duration,
    /// at_least_once: how long a deleted row's version is kept.
    pub delete_grace: Duration,
}

/// Limits of the poison budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PoisonConfig {
    /// So many dead letters in a row; `None`: no limit.
    pub max_consecutive: Option<u64>,
    /// So large a share of the window; `None`: no limit.
    pub max_ratio: Option<f64>,
    /// Records the ratio is taken over.
    pub window: u64,
}

impl DeliveryConfig {
    /// Checks the section; `transactional` says whether the target keeps offsets in its transactions.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(raw: &raw::Delivery, transactional: bool) -> Result<Self, Invalid> {
        let mode = match (raw.mode, transactional) {
            (Some(raw::Mode::ExactlyOnce), false) => {
                return Err(Invalid::new(
                    "mode",
                    "this target keeps no state, so it cannot deliver exactly once",
                    "write `at_least_once`, or choose another target",
                ));
            }
            (Some(raw::Mode::AtLeastOnce), _) | (None, false) => DeliveryMode::AtLeastOnce,
            (Some(raw::Mode::ExactlyOnce) | None, true) => DeliveryMode::ExactlyOnce,
        };
        let max_events = raw.batch.max_events.unwrap_or(DEFAULT_MAX_EVENTS);
        if !(1..=100_000).contains(&max_events) {
            return Err(Invalid::new("batch.max_events", "out of range", "write 1 to 100000"));
        }
        let max_bytes = raw.batch.max_bytes.map_or(DEFAULT_MAX_BYTES, |b| b.0);
        if !(1 << 10..=256 << 20).contains(&max_bytes) {
            return Err(Invalid::new("batch.max_bytes", "out of range", "write 1KiB to 256MiB"));
        }
        let initial = raw.retry.initial.map_or(DEFAULT_RETRY_INITIAL, |m| m.0);
        let max = raw.retry.max.map_or(DEFAULT_RETRY_MAX, |m| m.0);
        if initial.is_zero() || max < initial {
            return Err(Invalid::new("retry.max", "shorter than `retry.initial`, or zero", "write a longer one"));
        }
        let ratio = raw.poison.max_ratio.unwrap_or(DEFAULT_POISON_RATIO);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(Invalid::new("poison.max_ratio", "not a share", "write a number from 0 (off) to 1"));
        }
        let window = raw.poison.window.unwrap_or(DEFAULT_POISON_WINDOW);
        if window == 0 {
            return Err(Invalid::new("poison.window", "zero", "write a number of records, such as 1000"));
        }
        Ok(Self {
            mode,
            max_events,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            max_wait: raw.batch.max_wait.map_or(DEFAULT_MAX_WAIT, |m| m.0),
            retry: (initial, max),
            poison: PoisonConfig {
                max_consecutive: Some(raw.poison.max_consecutive.unwrap_or(DEFAULT_POISON_CONSECUTIVE))
                    .filter(|n| *n > 0),
                max_ratio: Some(ratio).filter(|r| *r > 0.0),
                window,
            },
            dead_letter_topic: raw.dead_letters.topic.clone(),
            shutdown_grace: raw.shutdown_grace.map_or(DEFAULT_SHUTDOWN_GRACE, |m| m.0),
            delete_grace: raw.delete_grace.map_or(DEFAULT_DELETE_GRACE, |m| m.0),
        })
    }
}

crate::config::opaque::opaque_debug!(DeliveryConfig);
