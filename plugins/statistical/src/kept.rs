//! The series that are watched: a bounded number, loaded from the agent's state when they come up and stored there, so that
//! they outlive instances and the agent. When there is no room, a series that was not told for an hour makes some; where
//! none is, the new one is not watched, and the log says so.

use whimbrel_plugin::prelude::*;

use crate::bytes::{Reader, Writer};
use crate::series::Watched;

const INDEX: &str = "index";
const VERSION: u8 = 1;
/// A series that was not told for so long may make room.
const IDLE_MS: i64 = 3_600_000;
/// Longest time between two stores of what can be learned again from the look-back.
const STORE_MS: i64 = 600_000;

/// The series of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    read: bool,
    /// In order of the hashes of their names.
    all: Vec<Entry>,
    index_ms: i64,
    refused: usize,
    over_quota: bool,
}

/// One series.
#[derive(Debug)]
struct Entry {
    hash: u64,
    /// When it was told last.
    told_ms: i64,
    /// Its past, if it came up since this instance started.
    live: Option<Box<Watched>>,
}

/// FNV-1a, which is the same in every run.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn key(hash: u64) -> String {
    format!("s/{hash:016x}")
}

impl Kept {
    /// The series of this name; `None` when there is no room.
    pub(crate) fn watch(
        &mut self,
        name: &str,
        step_ms: i64,
        now_ms: i64,
        most: usize,
        cx: &Context,
    ) -> Option<&mut Watched> {
        self.read_index(cx);
        let hash = hash(name);
        if self.place(hash).is_err() {
            while self.all.len() >= most {
                if !self.make_room(now_ms, cx) {
                    self.refused += 1;
                    return None;
                }
            }
            self.admit(hash, now_ms);
            self.write_index(now_ms, cx);
        }
        let entry = self.place(hash).ok().and_then(|place| self.all.get_mut(place))?;
        entry.told_ms = now_ms;
        let load = || {
            let known = cx.state().get(&key(hash)).and_then(|bytes| Watched::read(name, &bytes));
            Box::new(known.unwrap_or_else(|| Watched::new(step_ms)))
        };
        Some(entry.live.get_or_insert_with(load))
    }

    fn place(&self, hash: u64) -> Result<usize, usize> {
        self.all.binary_search_by_key(&hash, |entry| entry.hash)
    }

    fn admit(&mut self, hash: u64, told_ms: i64) {
        if let Err(place) = self.place(hash) {
            self.all.insert(place, Entry { hash, told_ms, live: None });
        }
    }

    /// Stores a series, unless all that is not stored can be learned again from points the agent still hands over.
    pub(crate) fn store(&mut self, name: &str, oldest_ms: i64, told: bool, cx: &Context) {
        let hash = hash(name);
        let entry = self.place(hash).ok().and_then(|place| self.all.get_mut(place));
        let Some(watched) = entry.and_then(|entry| entry.live.as_deref_mut()) else { return };
        let behind = watched.last_ms.saturating_sub(watched.saved_ms);
        let look_back = watched.last_ms.saturating_sub(oldest_ms);
        if behind == 0 || (!told && behind < (look_back / 2).min(STORE_MS)) {
            return;
        }
        // Also when it is refused: it is tried again when there is more to lose.
        watched.saved_ms = watched.last_ms;
        let (bytes, now_ms) = (watched.write(name), watched.last_ms);
        self.put(&key(hash), &bytes, cx);
        if now_ms.saturating_sub(self.index_ms) >= IDLE_MS {
            self.write_index(now_ms, cx);
        }
    }

    /// Forgets a series, so that it begins anew.
    pub(crate) fn forget(&mut self, name: &str, cx: &Context) {
        let hash = hash(name);
        self.all.retain(|entry| entry.hash != hash);
        cx.state().delete(&key(hash));
    }

    /// Says once how many series found no room, each time their number changes.
    pub(crate) fn tell(&mut self, told_before: &mut usize, most: usize, cx: &Context) {
        let refused = std::mem::take(&mut self.refused);
        if refused > *told_before {
            let (refused, most) = (refused.to_string(), most.to_string());
            cx.log(
                Level::Warn,
                "series are not watched: there is no room; raise `most_series` and the grant of state, or watch fewer",
                &[("series", &refused), ("most_series", &most)],
            );
        }
        *told_before = refused;
    }

    /// Removes the series that was silent for the longest time, if that is long enough.
    fn make_room(&mut self, now_ms: i64, cx: &Context) -> bool {
        let longest = self.all.iter().min_by_key(|entry| entry.told_ms);
        let silent = longest.filter(|entry| now_ms.saturating_sub(entry.told_ms) >= IDLE_MS);
        let Some(hash) = silent.map(|entry| entry.hash) else { return false };
        self.all.retain(|entry| entry.hash != hash);
        cx.state().delete(&key(hash));
        true
    }

    fn read_index(&mut self, cx: &Context) {
        if std::mem::replace(&mut self.read, true) {
            return;
        }
        let Some(bytes) = cx.state().get(INDEX) else { return };
        let mut from = Reader(&bytes);
        if from.u8() != Some(VERSION) {
            return;
        }
        while let (Some(hash), Some(last)) = (from.u64(), from.i64()) {
            self.admit(hash, last);
        }
    }

    fn write_index(&mut self, now_ms: i64, cx: &Context) {
        self.index_ms = now_ms;
        let mut out = Writer::default();
        out.u8(VERSION);
        for entry in &self.all {
            out.u64(entry.hash);
            out.i64(entry.told_ms);
        }
        self.put(INDEX, &out.0, cx);
    }

    fn put(&mut self, key: &str, bytes: &[u8], cx: &Context) {
        if let Err(failure) = cx.state().set(key, bytes)
            && !std::mem::replace(&mut self.over_quota, true)
        {
            let reason = failure.to_string();
            cx.log(
                Level::Warn,
                "the past of a series is not kept over a restart; grant more state, or watch fewer series",
                &[("reason", &reason)],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_plugin::testing::TestHost;

    use super::*;

    const HOUR: i64 = 3_600_000;

    /// Hands a series over for the first time or again, with one more point.
    fn touch(kept: &mut Kept, name: &str, now_ms: i64, cx: &Context) -> bool {
        let Some(watched) = kept.watch(name, 30_000, now_ms, 3, cx) else { return false };
        watched.push(Point { at_ms: now_ms, value: 1.0 }, 0.0, 24);
        kept.store(name, now_ms, false, cx);
        true
    }

    #[test]
    fn there_is_room_for_so_many_and_the_one_that_was_silent_longest_makes_some() {
        let host = TestHost::new();
        let (mut kept, mut told) = (Kept::default(), 0);
        let cx = host.context();
        for (minute, name) in [(0, "a"), (1, "b"), (2, "c")] {
            assert!(touch(&mut kept, name, minute * 60_000, &cx));
        }
        assert!(!touch(&mut kept, "d", 3 * 60_000, &cx), "all three were told a moment ago");
        kept.tell(&mut told, 3, &cx);
        kept.tell(&mut told, 3, &cx);
        let lines = host.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].1.contains("series=\"1\" most_series=\"3\""), "{lines:?}");

        for name in ["a", "c"] {
            assert!(touch(&mut kept, name, HOUR, &cx));
        }
        assert!(touch(&mut kept, "d", HOUR + 60_000, &cx), "b was silent for an hour");
        let stored = |name: &str| host.kept(&key(hash(name))).is_some();
        assert_eq!(["a", "b", "c", "d"].map(stored), [true, false, true, true]);
        // The next instance knows who is there.
        let mut next = Kept::default();
        assert!(!touch(&mut next, "e", HOUR + 120_000, &cx));
    }

    #[test]
    fn what_the_look_back_can_teach_again_is_not_stored_each_time() {
        let host = TestHost::new();
        let cx = host.context();
        let stores = |look_back: i64| {
            let mut kept = Kept::default();
            let steps = (1..=120).filter(|step| {
                let now = step * 30_000;
                let watched = kept.watch("a", 30_000, now, 3, &cx).unwrap();
                watched.push(Point { at_ms: now, value: 1.0 }, 0.0, 24);
                let before = watched.saved_ms;
                kept.store("a", now - look_back, *step == 77, &cx);
                kept.all[0].live.as_ref().unwrap().saved_ms != before
            });
            let steps = steps.collect::<Vec<_>>();
            cx.state().delete(&key(hash("a")));
            steps
        };
        assert_eq!(stores(0).len(), 120, "without look-back every point");
        assert_eq!(stores(HOUR), [1, 21, 41, 61, 77, 97, 117], "every ten minutes, and when something was told");
    }
}
