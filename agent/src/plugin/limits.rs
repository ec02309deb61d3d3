//! What a guest may use: time, memory, output, log lines. The numbers are configured; here they are enforced, or
//! handed to the engine that enforces them. No I/O, no clock but the one handed in.

use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use super::breaker::BreakerLimits;

/// How long one tick of the engine's clock is. Deadlines are this coarse; a finer tick would wake the machine for
/// nothing.
pub const TICK: Duration = Duration::from_millis(10);

/// The bounds of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one call may take, waits in host functions included.
    pub call: Duration,
    /// How much linear memory the instance may have, in bytes.
    pub memory: usize,
    /// How much it may hand to the host in one host call, in bytes.
    pub output: usize,
    /// How many lines it may log in a second; as many may come at once.
    pub log_lines: u32,
    /// How long an instance serves before it is replaced between two calls.
    pub recycle_after: Duration,
    /// How many traps quarantine the plugin.
    pub breaker: BreakerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // A batch of 1,000 events takes well under a millisecond; a second means that something is wrong,
            // yet leaves room for a machine under pressure.
            call: Duration::from_secs(1),
            // Two columns of a batch of 1,000 events need some 200 kB.
            memory: 64 << 20,
            // A whole batch at its usual bound, written back as text.
            output: 16 << 20,
            log_lines: 20,
            // What a guest leaks is gone after this; a new instance costs some microseconds.
            recycle_after: Duration::from_secs(3600),
            breaker: BreakerLimits::default(),
        }
    }
}

impl Limits {
    /// With more linear memory than this, in bytes, an instance is replaced between two calls: it is close to its limit,
    /// and WebAssembly has no way to give memory back.
    #[must_use]
    pub fn recycle_above(&self) -> usize {
        self.memory / 4 * 3
    }

    /// The call's budget in engine ticks: never less than the wanted time, since the first tick may be about to end.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        let ticks = self.call.as_nanos().div_ceil(TICK.as_nanos());
        u64::try_from(ticks).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

/// Says no when a guest wants more memory than it may have, and remembers that it did.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    limit: usize,
    /// What the instance has now, in bytes.
    pub(super) used: usize,
    /// Whether a request was refused: the guest's own abort is then a matter of memory.
    pub(super) refused: bool,
}

/// Handles of resources at a time: a call holds one, the batch. Each costs the agent memory that no limit of the guest's
/// own memory sees.
pub(super) const MAX_HANDLES: usize = 1_000;

/// Function tables hold what a program compiled in, some thousand entries; a guest that grows one is up to no good.
const MAX_TABLE_ELEMENTS: usize = 100_000;

impl MemoryLimiter {
    pub(super) fn new(limit: usize) -> Self {
        MemoryLimiter { limit, used: 0, refused: false }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used.saturating_sub(current).saturating_add(desired);
        if total > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= MAX_TABLE_ELEMENTS;
        self.refused |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        // A component is several core instances: its own and the adapters between it and the host. Python's is 17, for
        // its libraries stay apart.
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        4
    }
}

/// A bucket that refills with time: lets bursts through and floods not.
#[derive(Debug)]
pub(super) struct LogRate {
    per_second: f64,
    tokens: f64,
    refilled: Instant,
    /// How many lines were swallowed since the last one that got through.
    pub(super) suppressed: u64,
}

impl LogRate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        LogRate { per_second: f64::from(per_second), tokens: f64::from(per_second), refilled: now, suppressed: 0 }
    }

    /// Whether a line may pass now.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        self.refilled = now;
        if self.tokens < 1.0 {
            self.suppressed += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_in_ticks_is_never_short() {
        for (millis, ticks) in [(0, 1), (1, 2), (10, 2), (11, 3), (1000, 101)] {
            let limits = Limits { call: Duration::from_millis(millis), ..Limits::default() };
            assert_eq!(limits.ticks(), ticks, "{millis} ms");
        }
    }

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let start = Instant::now();
        let mut rate = LogRate::new(5, start);
        let passed = (0..100).filter(|_| rate.admit(start)).count();
        assert_eq!((passed, rate.suppressed), (5, 95));
        assert!(!rate.admit(start + Duration::from_millis(100)));
        assert!(rate.admit(start + Duration::from_millis(300)));
    }

    #[test]
    fn several_memories_share_one_limit() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert!(limiter.refused);
        assert_eq!(limiter.used, 100);
    }
}
