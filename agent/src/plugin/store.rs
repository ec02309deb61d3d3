//! State that the host keeps for plugins, so that it outlives instances. A call's writes are collected beside the store
//! and reach it together when the call ends well: `Pending`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys and values of one plugin.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// What changes: a value, or its end.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// The state of a plugin could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("plugin state could not be {action}")]
pub struct StateError {
    /// "read" or "written".
    pub action: &'static str,
    /// The store's words.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Keeps the state of plugins by owner. One owner's calls come one after the other.
pub trait StateStore: Send + Sync {
    /// All that is kept for this owner.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&self, owner: &str) -> Result<Entries, StateError>;

    /// Applies the changes of one call, all or none.
    ///
    /// # Errors
    /// When the store cannot be written; nothing changed then.
    fn save(&self, owner: &str, changes: &Changes) -> Result<(), StateError>;
}

/// A store that lives as long as the agent.
#[derive(Debug, Default)]
pub struct Memory {
    owners: Mutex<HashMap<String, Entries>>,
}

impl Memory {
    /// A store that holds this from the beginning.
    #[must_use]
    pub fn holding(owner: &str, entries: Entries) -> Self {
        Memory { owners: Mutex::new(HashMap::from([(owner.to_owned(), entries)])) }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<String, Entries>> {
        // Nothing panics while it is held, and a map is whole in any case.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Keeps one value, outside any call.
    pub(super) fn put(&self, owner: String, key: String, value: Vec<u8>) {
        self.owners().entry(owner).or_default().insert(key, value);
    }
}

impl StateStore for Memory {
    fn load(&self, owner: &str) -> Result<Entries, StateError> {
        Ok(self.owners().get(owner).cloned().unwrap_or_default())
    }

    fn save(&self, owner: &str, changes: &Changes) -> Result<(), StateError> {
        let mut owners = self.owners();
        apply(owners.entry(owner.to_owned()).or_default(), changes);
        Ok(())
    }
}

fn apply(entries: &mut Entries, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

/// The longest key, in bytes.
const MAX_KEY: usize = 256;
/// What an entry costs beside its bytes, so that many empty ones are not free.
const ENTRY_OVERHEAD: usize = 64;

/// A plugin's state as the running call sees it: what is stored, and what the call has changed of it.
#[derive(Debug)]
pub(super) struct Pending {
    stored: Entries,
    changes: Changes,
    used: usize,
    quota: usize,
}

/// Why a value was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotKept {
    Quota,
    Key,
}

impl Pending {
    pub(super) fn new(stored: Entries, quota: usize) -> Self {
        let used = stored.iter().map(|(key, value)| cost(key, value)).sum();
        Pending { stored, changes: Changes::new(), used, quota }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        match self.changes.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.stored.get(key),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: Vec<u8>) -> Result<(), NotKept> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(NotKept::Key);
        }
        let freed = self.get(key).map_or(0, |old| cost(key, old));
        let used = self.used - freed + cost(key, &value);
        if used > self.quota {
            return Err(NotKept::Quota);
        }
        self.used = used;
        self.changes.insert(key.to_owned(), Some(value));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &str) {
        if let Some(old) = self.get(key) {
            self.used -= cost(key, old);
            self.changes.insert(key.to_owned(), None);
        }
    }

    /// What the call changed; empty when it changed nothing.
    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The changes are stored now.
    pub(super) fn commit(&mut self) {
        apply(&mut self.stored, &std::mem::take(&mut self.changes));
    }

    /// The changes never were.
    pub(super) fn rollback(&mut self) {
        if !self.changes.is_empty() {
            self.changes.clear();
            self.used = self.stored.iter().map(|(key, value)| cost(key, value)).sum();
        }
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_sees_its_own_writes_and_others_only_what_was_committed() {
        let store = Memory::default();
        let mut pending = Pending::new(store.load("p").unwrap(), 1000);
        pending.set("a", b"1".to_vec()).unwrap();
        assert_eq!(pending.get("a").unwrap(), b"1");
        assert_eq!(store.load("p").unwrap(), Entries::new());
        store.save("p", pending.changes()).unwrap();
        pending.commit();
        assert_eq!(store.load("p").unwrap(), Entries::from([("a".to_owned(), b"1".to_vec())]));
        assert_eq!(store.load("q").unwrap(), Entries::new());

        pending.set("a", b"2".to_vec()).unwrap();
        pending.delete("b");
        pending.rollback();
        assert_eq!(pending.get("a").unwrap(), b"1");
        assert!(pending.changes().is_empty());
    }

    #[test]
    fn the_quota_counts_keys_values_and_entries_and_gives_back_what_is_deleted() {
        let mut pending = Pending::new(Entries::new(), 200);
        assert_eq!(pending.set("a", vec![0; 136]), Err(NotKept::Quota));
        pending.set("a", vec![0; 60]).unwrap();
        assert_eq!(pending.set("b", vec![0; 60]), Err(NotKept::Quota));
        pending.set("a", vec![0; 10]).unwrap();
        pending.set("b", vec![0; 60]).unwrap();
        pending.delete("b");
        pending.set("b", vec![0; 60]).unwrap();
        assert_eq!(pending.set("", Vec::new()), Err(NotKept::Key));
        assert_eq!(pending.set(&"k".repeat(257), Vec::new()), Err(NotKept::Key));
        pending.rollback();
        pending.set("a", vec![0; 130]).unwrap();
    }
}
