//! What is to be run, or why nothing may be: files against ledger. Pure.
//!
//! Whatever is not as it should be refuses the whole plan, with all reasons at once: a plan that skipped what it did not
//! like would leave a database that no list of files describes.

use std::collections::HashMap;
use std::fmt;

use crate::ledger::{Direction, Entry, Id, Outcome};
use crate::migration::Migration;
use crate::version::Version;

/// What a plan lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Pending versions below an applied one are applied all the same.
    pub out_of_order: bool,
    /// A number missing in a count is nothing to stop at.
    pub gaps: bool,
}

/// A migration to be run.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// Which.
    pub migration: &'a Migration,
    /// Which way.
    pub direction: Direction,
    /// What another run left of it.
    pub entry: Option<&'a Entry>,
}

/// How far down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// So many migrations.
    Steps(usize),
    /// To this version, which stays; `0`: all.
    To(Version),
}

/// Why nothing may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file is not what was applied.
    Changed {
        /// Which.
        id: Id,
        /// Whether part of it is in the database already.
        partly: bool,
    },
    /// The file is gone.
    Missing(Id),
    /// A number is missing in the count.
    Gap {
        /// Before it.
        after: Id,
        /// After it.
        before: Id,
    },
    /// It came late.
    OutOfOrder {
        /// Which.
        id: Id,
        /// What is applied above it.
        applied: Id,
    },
    /// Its undoing stopped midway.
    HalfUndone(Id),
    /// It cannot be undone.
    NoDown(Id),
    /// There is no such version among the files.
    NoSuchVersion(Version),
}

impl Refusal {
    /// What mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Changed { id, partly: false } => {
                format!(
                    "restore the file and put the change in a new version, or `migrate repair --accept-checksum {id}`"
                )
            }
            Self::Changed { id, partly: true } => format!(
                "restore the file and run `migrate up`, which goes on where it stopped; or undo by hand what is done of it and \
                 `migrate repair --forget {id}`"
            ),
            Self::Missing(id) => {
                format!("restore the file, or `migrate repair --forget {id}` takes it out of the ledger")
            }
            Self::Gap { .. } => "add the file that is missing, or allow gaps (`--allow-gaps`)".to_owned(),
            Self::OutOfOrder { .. } => "give it a version above, or allow it (`--out-of-order`)".to_owned(),
            Self::HalfUndone(_) => "`migrate down` goes on where it stopped".to_owned(),
            Self::NoDown(id) => format!("write a down for {id}, or stop above it (`--to {id}`)"),
            Self::NoSuchVersion(_) => "`migrate status` lists the versions".to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { id, partly: false } => write!(f, "{id} was applied, and its file is another one now"),
            Self::Changed { id, partly: true } => write!(f, "{id} is half applied, and its file is another one now"),
            Self::Missing(id) => write!(f, "{id} is in the ledger, and its file is gone"),
            Self::Gap { after, before } => write!(f, "between {after} and {before} a version is missing"),
            Self::OutOfOrder { id, applied } => write!(f, "{id} is not applied, and {applied} above it is"),
            Self::HalfUndone(id) => write!(f, "the undoing of {id} stopped midway"),
            Self::NoDown(id) => write!(f, "{id} cannot be undone: it has no down"),
            Self::NoSuchVersion(version) => write!(f, "there is no version {version}"),
        }
    }
}

/// What `up` would run, in order, up to and with `to`.
///
/// # Errors
/// Everything that is in the way.
pub fn up<'a>(
    files: &'a [Migration],
    ledger: &'a [Entry],
    to: Option<&Version>,
    policy: Policy,
) -> Result<Vec<Planned<'a>>, Vec<Refusal>> {
    let mut refusals = faults(files, ledger, policy);
    let entries = by_id(ledger);
    refusals.extend(ledger.iter().filter(|e| is_half_undone(e)).map(|e| Refusal::HalfUndone(e.id.clone())));
    if let Some(to) = to
        && !files.iter().any(|file| file.id == Id::Version(to.clone()))
    {
        refusals.push(Refusal::NoSuchVersion(to.clone()));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let wanted = |migration: &&Migration| match (&migration.id, to) {
        (_, None) => true,
        (Id::Version(version), Some(to)) => version <= to,
        (Id::Repeatable(_), Some(_)) => false,
    };
    let pending = |migration: &Migration| match (&migration.id, entries.get(&migration.id)) {
        (Id::Version(_), Some(entry)) => !entry.is_applied(),
        (Id::Repeatable(_), Some(entry)) => !entry.is_applied() || entry.checksum != migration.checksum,
        (_, None) => true,
    };
    Ok(files
        .iter()
        .filter(wanted)
        .filter(|migration| pending(migration))
        .map(|migration| {
            // A repeatable whose file changed begins anew; so does what left nothing behind.
            let entry = entries.get(&migration.id).copied().filter(|entry| !entry.is_applied());
            Planned { migration, direction: Direction::Up, entry }
        })
        .collect())
}

/// What `down` would run, in order.
///
/// # Errors
/// Everything that is in the way.
pub fn down<'a>(files: &'a [Migration], ledger: &'a [Entry], back: &Back) -> Result<Vec<Planned<'a>>, Vec<Refusal>> {
    let mut applied: Vec<&Entry> = ledger
        .iter()
        .filter(|entry| matches!(entry.id, Id::Version(_)))
        .filter(|entry| entry.is_applied() || is_half_undone(entry) || !entry.progress.is_untouched())
        .collect();
    applied.sort_by(|one, other| other.id.cmp(&one.id));
    let chosen: Vec<&Entry> = match back {
        Back::Steps(steps) => applied.into_iter().take(*steps).collect(),
        Back::To(to) => {
            let zero = Version::from(0);
            if *to != zero && !ledger.iter().any(|entry| entry.id == Id::Version(to.clone())) {
                return Err(vec![Refusal::NoSuchVersion(to.clone())]);
            }
            applied.into_iter().filter(|entry| entry.id > Id::Version(to.clone()) || *to == zero).collect()
        }
    };
    let mut refusals = Vec::new();
    let mut planned = Vec::new();
    for entry in chosen {
        match files.iter().find(|file| file.id == entry.id) {
            None => refusals.push(Refusal::Missing(entry.id.clone())),
            Some(file) if file.down.is_none() => refusals.push(Refusal::NoDown(entry.id.clone())),
            Some(file) if !entry.checksum.is_empty() && file.checksum != entry.checksum => {
                refusals.push(Refusal::Changed { id: entry.id.clone(), partly: !entry.is_applied() });
            }
            Some(migration) => {
                let entry = Some(entry).filter(|entry| entry.direction == Direction::Down);
                planned.push(Planned { migration, direction: Direction::Down, entry });
            }
        }
    }
    if refusals.is_empty() { Ok(planned) } else { Err(refusals) }
}

/// What is wrong between files and ledger, whatever is to be run.
#[must_use]
pub fn faults(files: &[Migration], ledger: &[Entry], policy: Policy) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let by_file: HashMap<&Id, &Migration> = files.iter().map(|file| (&file.id, file)).collect();
    for entry in ledger {
        let Some(file) = by_file.get(&entry.id) else {
            refusals.push(Refusal::Missing(entry.id.clone()));
            continue;
        };
        // A baseline knows no checksum; a repeatable may change; what left nothing behind begins anew.
        let same = entry.checksum.is_empty() || entry.checksum == file.checksum;
        let bound = entry.is_applied() || !entry.progress.is_untouched();
        if !same && bound && (matches!(entry.id, Id::Version(_)) || !entry.is_applied()) {
            refusals.push(Refusal::Changed { id: entry.id.clone(), partly: !entry.is_applied() });
        }
    }
    if !policy.gaps {
        let counted: Vec<(u64, &Id)> =
            files.iter().filter_map(|file| counted(&file.id).map(|n| (n, &file.id))).collect();
        for pair in counted.windows(2) {
            if let [(one, after), (other, before)] = pair
                && one.checked_add(1) != Some(*other)
            {
                refusals.push(Refusal::Gap { after: (*after).clone(), before: (*before).clone() });
            }
        }
    }
    let highest =
        ledger.iter().filter(|entry| entry.is_applied() && matches!(entry.id, Id::Version(_))).map(|e| &e.id).max();
    if let (Some(applied), false) = (highest, policy.out_of_order) {
        let entries = by_id(ledger);
        let late = files.iter().filter(|file| file.id < *applied && !entries.contains_key(&file.id));
        refusals.extend(late.map(|file| Refusal::OutOfOrder { id: file.id.clone(), applied: applied.clone() }));
    }
    refusals
}

fn counted(id: &Id) -> Option<u64> {
    match id {
        Id::Version(version) => version.counted(),
        Id::Repeatable(_) => None,
    }
}

fn is_half_undone(entry: &Entry) -> bool {
    entry.direction == Direction::Down && entry.outcome != Outcome::Success && !entry.progress.is_untouched()
}

fn by_id(ledger: &[Entry]) -> HashMap<&Id, &Entry> {
    ledger.iter().map(|entry| (&entry.id, entry)).collect()
}
