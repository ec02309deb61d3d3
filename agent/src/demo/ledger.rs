//! What the generator knows the broker took: for every offset, what the agent must do with the record there.
//!
//! Filled from delivery reports, so it knows the offsets without asking anybody who is to be proven.

use std::collections::BTreeMap;

use super::poison::Poison;

/// What the agent must do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Acknowledge it, nothing more: tombstones and heartbeats.
    Nothing,
    /// Apply it, once.
    Apply,
    /// Put it to the dead letters.
    DeadLetter(Poison),
}

/// No record is known at an offset.
const GAP: u8 = 0;

impl Effect {
    /// One byte, since a ledger holds one for every record.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Nothing => 1,
            Self::Apply => 2,
            Self::DeadLetter(poison) => {
                let at = Poison::ALL.iter().position(|kind| *kind == poison).unwrap_or(0);
                3 + u8::try_from(at).unwrap_or(0)
            }
        }
    }

    /// What a byte stands for.
    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            GAP => None,
            1 => Some(Self::Nothing),
            2 => Some(Self::Apply),
            poison => Poison::ALL.get(usize::from(poison) - 3).map(|kind| Self::DeadLetter(*kind)),
        }
    }
}

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<(String, i32), Vec<u8>>,
    /// Records the broker did not take, or took twice at one offset: then nothing can be proven.
    pub(crate) faults: u64,
}

impl Ledger {
    /// A record was stored at this offset.
    pub(crate) fn stored(&mut self, topic: &str, partition: i32, offset: i64, code: u8) {
        let Ok(at) = usize::try_from(offset) else {
            self.faults += 1;
            return;
        };
        let offsets = match self.partitions.get_mut(&(topic.to_owned(), partition)) {
            Some(offsets) => offsets,
            None => self.partitions.entry((topic.to_owned(), partition)).or_default(),
        };
        if offsets.len() <= at {
            offsets.resize(at + 1, GAP);
        }
        match offsets.get_mut(at) {
            Some(slot) if *slot == GAP => *slot = code,
            _ => self.faults += 1,
        }
    }

    /// Every record with what must become of it, by topic, partition and offset.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, i32, i64, Effect)> {
        self.partitions.iter().flat_map(|((topic, partition), offsets)| {
            (0_i64..)
                .zip(offsets)
                .filter_map(move |(offset, code)| Some((topic.as_str(), *partition, offset, Effect::of(*code)?)))
        })
    }

    /// Offsets at which no record is known though later ones are: lost delivery reports.
    pub(crate) fn gaps(&self) -> usize {
        self.partitions.values().flatten().filter(|code| **code == GAP).count()
    }

    /// How many records there are of each fate: nothing, apply, dead letter.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        self.records().fold((0, 0, 0), |(nothing, apply, dead), (_, _, _, effect)| match effect {
            Effect::Nothing => (nothing + 1, apply, dead),
            Effect::Apply => (nothing, apply + 1, dead),
            Effect::DeadLetter(_) => (nothing, apply, dead + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_survives_its_byte_and_gaps_are_seen() {
        let effects = [Effect::Nothing, Effect::Apply]
            .into_iter()
            .chain(Poison::ALL.into_iter().map(Effect::DeadLetter))
            .collect::<Vec<_>>();
        for effect in &effects {
            assert_eq!(Effect::of(effect.code()), Some(*effect));
        }
        let mut ledger = Ledger::default();
        ledger.stored("t", 0, 0, Effect::Apply.code());
        ledger.stored("t", 0, 2, Effect::Nothing.code());
        assert_eq!((ledger.gaps(), ledger.faults, ledger.counts()), (1, 0, (1, 1, 0)));
        ledger.stored("t", 0, 2, Effect::Nothing.code());
        assert_eq!(ledger.faults, 1);
    }
}
