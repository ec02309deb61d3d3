//! What is expected of a scope's throughput where nobody said it: a running level of the middle of its good steps, kept by
//! the agent. Slow steps teach nothing, so a pipeline that breaks does not become the usual case while somebody sleeps;
//! after a day of nothing else the new level is taken, so that a lasting change does not fire for ever.

use whimbrel_plugin::Context;

const KEY: &str = "learned";
const VERSION: u8 = 1;
/// Bytes of one scope.
const ENTRY: usize = 36;
/// The most scopes; the one told least lately makes room.
const MOST: usize = 500;
/// How long a level takes to follow.
const FOLLOW_MS: f64 = 86_400_000.0;
/// The longest time between two stores of it.
const STORE_MS: i64 = 600_000;

/// What is known of one scope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    scope: u64,
    /// Events or rows per second.
    pub(crate) rate: f64,
    /// How many steps it was learned from.
    pub(crate) steps: u32,
    /// Since when it is too slow.
    pub(crate) slow_since_ms: Option<i64>,
    last_ms: i64,
}

/// The levels of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    read: bool,
    levels: Vec<Level>,
    stored_ms: i64,
    over_quota: bool,
}

/// FNV-1a, which is the same in every run.
fn hash(scope: &str) -> u64 {
    scope.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Learned {
    pub(crate) fn of(&mut self, scope: &str, cx: &Context) -> Option<Level> {
        if !std::mem::replace(&mut self.read, true)
            && let Some(bytes) = cx.state().get(KEY)
        {
            self.levels = read(&bytes);
        }
        let scope = hash(scope);
        self.levels.iter().find(|level| level.scope == scope).copied()
    }

    /// Learns the good rates of a window, once a step.
    pub(crate) fn learn(&mut self, scope: &str, mut good: Vec<f64>, step_ms: i64, now_ms: i64, cx: &Context) {
        let known = self.of(scope, cx);
        if known.is_some_and(|level| level.last_ms >= now_ms) {
            return;
        }
        good.sort_unstable_by(f64::total_cmp);
        let Some(middle) = good.get(good.len() / 2).copied() else { return };
        let level = match known {
            None => Level {
                scope: hash(scope),
                rate: middle,
                steps: u32::try_from(good.len()).unwrap_or(u32::MAX),
                slow_since_ms: None,
                last_ms: now_ms,
            },
            Some(level) => {
                let weight = (step_ms as f64 / FOLLOW_MS).max(1.0 / (f64::from(level.steps) + 1.0)).min(1.0);
                let rate = level.rate + weight * (middle - level.rate);
                Level { rate, steps: level.steps.saturating_add(1), last_ms: now_ms, ..level }
            }
        };
        self.put(level, now_ms, known.is_none(), cx);
    }

    /// Notes whether a scope is too slow, and since when it has been.
    pub(crate) fn mark(&mut self, scope: &str, slow_since_ms: Option<i64>, now_ms: i64, cx: &Context) -> Option<i64> {
        let level = self.of(scope, cx)?;
        let since = slow_since_ms.map(|since| level.slow_since_ms.map_or(since, |known| known.min(since)));
        if since != level.slow_since_ms {
            self.put(Level { slow_since_ms: since, ..level }, now_ms, true, cx);
        }
        since
    }

    /// Forgets a scope, so that it is learned anew.
    pub(crate) fn forget(&mut self, scope: &str, now_ms: i64, cx: &Context) {
        let scope = hash(scope);
        self.levels.retain(|level| level.scope != scope);
        self.store(now_ms, cx);
    }

    fn put(&mut self, level: Level, now_ms: i64, at_once: bool, cx: &Context) {
        self.levels.retain(|known| known.scope != level.scope);
        if self.levels.len() >= MOST
            && let Some((oldest, _)) = self.levels.iter().enumerate().min_by_key(|(_, known)| known.last_ms)
        {
            self.levels.swap_remove(oldest);
        }
        self.levels.push(level);
        if at_once || now_ms.saturating_sub(self.stored_ms) >= STORE_MS {
            self.store(now_ms, cx);
        }
    }

    fn store(&mut self, now_ms: i64, cx: &Context) {
        self.stored_ms = now_ms;
        if let Err(failure) = cx.state().set(KEY, &written(&self.levels))
            && !std::mem::replace(&mut self.over_quota, true)
        {
            let reason = failure.to_string();
            cx.log(
                whimbrel_plugin::Level::Warn,
                "what was learned of throughput is not kept over a restart; grant more state",
                &[("reason", &reason)],
            );
        }
    }
}

fn written(levels: &[Level]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + levels.len() * ENTRY);
    bytes.push(VERSION);
    for level in levels {
        bytes.extend(level.scope.to_le_bytes());
        bytes.extend(level.rate.to_le_bytes());
        bytes.extend(level.steps.to_le_bytes());
        bytes.extend(level.slow_since_ms.unwrap_or(i64::MIN).to_le_bytes());
        bytes.extend(level.last_ms.to_le_bytes());
    }
    bytes
}

/// What was written; nothing of it when it is of another version.
fn read(bytes: &[u8]) -> Vec<Level> {
    let Some((&VERSION, mut rest)) = bytes.split_first() else { return Vec::new() };
    let mut levels = Vec::new();
    while let Some((entry, after)) = rest.split_at_checked(ENTRY) {
        rest = after;
        levels.extend(entry_of(entry).filter(|level| level.rate.is_finite() && levels.len() < MOST));
    }
    levels
}

fn entry_of(bytes: &[u8]) -> Option<Level> {
    let (scope, bytes) = bytes.split_first_chunk()?;
    let (rate, bytes) = bytes.split_first_chunk()?;
    let (steps, bytes) = bytes.split_first_chunk()?;
    let (since, bytes) = bytes.split_first_chunk()?;
    let (last, _) = bytes.split_first_chunk()?;
    let since = i64::from_le_bytes(*since);
    Some(Level {
        scope: u64::from_le_bytes(*scope),
        rate: f64::from_le_bytes(*rate),
        steps: u32::from_le_bytes(*steps),
        slow_since_ms: (since != i64::MIN).then_some(since),
        last_ms: i64::from_le_bytes(*last),
    })
}
