//! What is known of migrations: those that this process runs, by their events, and those of the ledgers that it reads, whoever
//! runs them. For the metrics, the displays and the status.
//!
//! Pure like its siblings: `migrations/` tells and reads ledgers, `export/` reads.

mod live;
mod pace;
mod recorded;
mod status;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::Id;
use whimbrel_migrate::watch::Event;

use self::live::Live;
pub use self::live::Reached;
pub use self::recorded::Recorded;
pub use self::status::{ErrorStatus, MigrationStatus, MigrationsStatus, PlaceStatus, SetStatus, WaitingForLock};
use super::family::{Label, Labels};
use super::instruments::Instruments;

/// Gauges of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MigrationLevel {
    Progress,
    Eta,
    Info,
}

/// Where a migration stands in lists: versions as numbers, other names after them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Version(Id),
    Name(String),
}

impl Place {
    fn of(id: &str) -> Self {
        Id::from_text(id).map_or_else(|| Self::Name(id.to_owned()), Self::Version)
    }
}

type Key = (String, Place);

#[derive(Debug, Default)]
struct Known {
    waiting: Option<WaitingForLock>,
    live: BTreeMap<Key, (String, Live)>,
    sets: BTreeMap<String, SetStatus>,
    recorded: BTreeMap<Key, Recorded>,
}

/// The board; its series end when it is dropped.
pub struct MigrationBoard {
    instruments: Instruments,
    known: Mutex<Known>,
}

impl fmt::Debug for MigrationBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationBoard").finish_non_exhaustive()
    }
}

impl MigrationBoard {
    /// An empty board, read by `instruments` as long as it lives.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Arc<Self> {
        let board = Arc::new(Self { instruments: instruments.clone(), known: Mutex::default() });
        instruments.watch_migrations(&board);
        board
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened to a migration of this set, in this process.
    pub fn tell(&self, set: &str, event: &Event<'_>) {
        let now_ms = self.instruments.now_ms();
        let mut known = self.known();
        let Some(id) = id_of(event) else {
            if let Event::WaitingForLock { holder, since } = event {
                let waited_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                known.waiting = Some(WaitingForLock { holder: (*holder).to_owned(), waited_ms });
            }
            return;
        };
        known.waiting = None;
        let (_, live) =
            known.live.entry((set.to_owned(), Place::of(id))).or_insert_with(|| (id.to_owned(), Live::default()));
        live.tell(event, now_ms);
    }

    /// The kind of database of a migration that this process runs or ran.
    #[must_use]
    pub fn system(&self, set: &str, id: &str) -> Option<System> {
        self.known().live.get(&(set.to_owned(), Place::of(id))).and_then(|(_, live)| live.system())
    }

    /// How far a migration of this process is.
    #[must_use]
    pub fn reached(&self, set: &str, id: &str) -> Reached {
        let now_ms = self.instruments.now_ms();
        let known = self.known();
        let live = known.live.get(&(set.to_owned(), Place::of(id)));
        live.map_or_else(Reached::default, |(_, live)| live.reached(now_ms))
    }

    /// A set is there, and its ledger will be read.
    pub fn set(&self, name: &str, database: &str) {
        let set = SetStatus { name: name.to_owned(), database: database.to_owned(), read_at_ms: None, error: None };
        self.known().sets.insert(name.to_owned(), set);
    }

    /// The ledger of a set was read: these are all its migrations.
    pub fn read(&self, set: &str, all: Vec<Recorded>) {
        let now_ms = self.instruments.now_ms();
        let mut guard = self.known();
        let known = &mut *guard;
        if let Some(set) = known.sets.get_mut(set) {
            (set.read_at_ms, set.error) = (Some(now_ms), None);
        }
        let (mut before, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut known.recorded).into_iter().partition(|(key, _)| key.0 == set);
        known.recorded = others;
        // What the ledger says of a migration that is over here is newer than what its events said.
        known.live.retain(|key, (_, live)| key.0 != set || live.is_running());
        for mut one in all {
            let key = (set.to_owned(), Place::of(&one.id));
            one.follow(before.remove(&key), now_ms);
            known.recorded.insert(key, one);
        }
    }

    /// The ledger of a set could not be read: what was known of it is old, and is shown no more.
    pub fn unreadable(&self, set: &str, why: &str) {
        let mut known = self.known();
        if let Some(set) = known.sets.get_mut(set) {
            set.error = Some(why.to_owned());
        }
        known.recorded.retain(|key, _| key.0 != set);
    }

    /// Everything, for the status page.
    #[must_use]
    pub fn status(&self) -> MigrationsStatus {
        let now_ms = self.instruments.now_ms();
        let known = self.known();
        let mut all: BTreeMap<&Key, MigrationStatus> =
            known.recorded.iter().map(|(key, one)| (key, one.status(&key.0, now_ms))).collect();
        for (key, (id, live)) in &known.live {
            all.insert(key, live.status(&key.0, id, now_ms));
        }
        MigrationsStatus {
            now_ms,
            waiting_for_lock: known.waiting.clone(),
            sets: known.sets.values().cloned().collect(),
            migrations: all.into_values().collect(),
        }
    }

    pub(crate) fn level(&self, level: MigrationLevel) -> Vec<(Labels, f64)> {
        let now_ms = self.instruments.now_ms();
        let known = self.known();
        let name = |text: &str| Label::Name(text.into());
        let value = |set: &str, id: &str, facts: &Facts<'_>, reached: Reached| match level {
            MigrationLevel::Progress => reached.ratio.map(|ratio| (vec![name(id)], ratio)),
            MigrationLevel::Eta => reached.eta_seconds.map(|eta| (vec![name(id)], eta)),
            MigrationLevel::Info => {
                let labels = vec![
                    name(id),
                    name(facts.name),
                    name(set),
                    Label::Word(facts.system),
                    Label::Word(facts.direction),
                ];
                Some((labels, 1.0))
            }
        };
        let here = known.live.iter().filter(|(_, (_, live))| live.is_running());
        let mut values: Vec<_> = here
            .filter_map(|((set, _), (id, live))| {
                let facts = Facts {
                    name: live.name(),
                    system: live.system().map_or("", System::as_str),
                    direction: live.direction().map_or("", whimbrel_migrate::ledger::Direction::as_str),
                };
                value(set, id, &facts, live.reached(now_ms))
            })
            .collect();
        let elsewhere = known.recorded.iter().filter(|(key, one)| one.is_running() && !known.live.contains_key(*key));
        values.extend(elsewhere.filter_map(|((set, _), one)| {
            let facts = Facts { name: &one.name, system: one.system.as_str(), direction: one.direction() };
            value(set, &one.id, &facts, one.reached(now_ms))
        }));
        values
    }
}

struct Facts<'a> {
    name: &'a str,
    system: &'static str,
    direction: &'static str,
}

/// Which migration an event is of.
#[must_use]
pub const fn id_of<'a>(event: &Event<'a>) -> Option<&'a str> {
    match event {
        Event::WaitingForLock { .. } => None,
        Event::Started { id, .. }
        | Event::StepStarted { id, .. }
        | Event::Attempted { id, .. }
        | Event::Committed { id, .. }
        | Event::Measured { id, .. }
        | Event::Blocked { id, .. }
        | Event::Throttled { id, .. }
        | Event::Retried { id, .. }
        | Event::StepEnded { id, .. }
        | Event::Checked { id, .. }
        | Event::Ended { id, .. } => Some(id),
    }
}

#[cfg(test)]
mod tests;
