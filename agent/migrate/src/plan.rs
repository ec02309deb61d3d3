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
    // Where versions have parts, nobody counts them one by one.
    let versions = files.iter().filter(|file| matches!(file.id, Id::Version(_)));
    let counted: Option<Vec<(u64, &Id)>> = versions.map(|file| Some((counted(&file.id)?, &file.id))).collect();
    if let (Some(counted), false) = (counted, policy.gaps) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Progress;
    use crate::migration::Body;
    use crate::mongodb::Script;

    fn id(text: &str) -> Id {
        Id::from_text(text).unwrap()
    }

    fn file(text: &str) -> Migration {
        let body = Body::Mongodb(Script { steps: Vec::new() });
        Migration {
            id: id(text),
            name: text.to_owned(),
            file: text.into(),
            checksum: format!("sum {text}"),
            up: body.clone(),
            down: Some(body),
            checks: Vec::new(),
        }
    }

    fn files(ids: &[&str]) -> Vec<Migration> {
        ids.iter().map(|id| file(id)).collect()
    }

    /// `7`: applied; `7!`: its file was another; `7~`: half applied; `7?`: failed, nothing left; `7<`: half undone.
    fn entry(text: &str) -> Entry {
        let (name, mark) = match text.char_indices().last() {
            Some((at, mark)) if !mark.is_ascii_alphanumeric() => (&text[..at], Some(mark)),
            _ => (text, None),
        };
        let half = Progress { step: 1, ..Progress::default() };
        Entry {
            id: id(name),
            name: name.to_owned(),
            checksum: if mark == Some('!') { "other".to_owned() } else { format!("sum {name}") },
            direction: if mark == Some('<') { Direction::Down } else { Direction::Up },
            outcome: if matches!(mark, Some('~' | '?' | '<')) { Outcome::Failed } else { Outcome::Success },
            by: "me".to_owned(),
            started_at_ms: 0,
            finished_at_ms: None,
            duration_ms: 0,
            attempts: 1,
            progress: if matches!(mark, Some('~' | '<')) { half } else { Progress::default() },
            error: None,
        }
    }

    fn entries(texts: &[&str]) -> Vec<Entry> {
        texts.iter().map(|text| entry(text)).collect()
    }

    fn told(outcome: Result<Vec<Planned<'_>>, Vec<Refusal>>) -> Result<String, String> {
        match outcome {
            Ok(planned) => {
                let one = |one: &Planned<'_>| match one.entry {
                    Some(_) => format!("{}+", one.migration.id),
                    None => one.migration.id.to_string(),
                };
                Ok(planned.iter().map(one).collect::<Vec<_>>().join(" "))
            }
            Err(refusals) => {
                assert!(refusals.iter().all(|one| !one.remedy().is_empty()));
                Err(refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }

    type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<u64>, Policy, &'a str);

    #[test]
    fn up_runs_what_is_pending_in_the_order_of_numbers() {
        let strict = Policy::default();
        let lax = Policy { out_of_order: true, gaps: true };
        let cases: &[Case<'_>] = &[
            (&["1", "2", "3"], &[], None, strict, "1 2 3"),
            (&["1", "2", "3"], &["1"], None, strict, "2 3"),
            (&["1", "2", "3"], &["1"], Some(2), strict, "2"),
            (&["1", "2", "3"], &["1", "2", "3"], None, strict, ""),
            (&["9", "10", "11"], &["9"], None, strict, "10 11"),
            (&["1", "2"], &["1", "2~"], None, strict, "2+"),
            (&["1", "2"], &["1", "2?"], None, strict, "2+"),
            (&["1", "3"], &["1"], None, lax, "3"),
            (&["1", "1.1", "5"], &[], None, strict, "1 1.1 5"),
            (&["1", "2", "3"], &["1", "3"], None, lax, "2"),
            (&["1", "R:v"], &[], None, strict, "1 R:v"),
            (&["1", "R:v"], &["1", "R:v"], None, strict, ""),
            (&["1", "R:v"], &["1", "R:v!"], None, strict, "R:v"),
            (&["1", "R:v"], &[], Some(1), strict, "1"),
            (&["20260101", "20260301"], &["20260101"], None, strict, "20260301"),
        ];
        for (names, ledger, to, policy, expected) in cases {
            let (files, ledger) = (files(names), entries(ledger));
            let to = to.map(Version::from);
            assert_eq!(told(up(&files, &ledger, to.as_ref(), *policy)), Ok((*expected).to_owned()), "{names:?} {to:?}");
        }
    }

    #[test]
    fn up_is_refused_with_every_reason() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&["1", "2"], &["1!"], "1 was applied, and its file is another one now"),
            (&["1", "2"], &["1", "2"], ""),
            (&["1"], &["1", "2"], "2 is in the ledger, and its file is gone"),
            (&["1", "3"], &[], "between 1 and 3 a version is missing"),
            (&["20260101", "20260201"], &["20260201"], "20260101 is not applied, and 20260201 above it is"),
            (&["1", "2"], &["1", "2<"], "the undoing of 2 stopped midway"),
            (
                &["1", "2", "4"],
                &["1!"],
                "1 was applied, and its file is another one now; between 2 and 4 a version is missing",
            ),
        ];
        for (names, ledger, expected) in cases {
            let (files, ledger) = (files(names), entries(ledger));
            let said = told(up(&files, &ledger, None, Policy::default()));
            assert_eq!(said.err().unwrap_or_default(), *expected, "{names:?}");
        }
        let mut changed = files(&["1"]);
        changed[0].checksum = "other".to_owned();
        let half = told(up(&changed, &entries(&["1~"]), None, Policy::default()));
        assert_eq!(half, Err("1 is half applied, and its file is another one now".to_owned()));
        let nothing_left = told(up(&changed, &entries(&["1?"]), None, Policy::default()));
        assert_eq!(nothing_left, Ok("1+".to_owned()), "what left nothing behind may be mended");
        let nowhere = told(up(&files(&["1"]), &[], Some(&Version::from(9)), Policy::default()));
        assert_eq!(nowhere, Err("there is no version 9".to_owned()));
    }

    #[test]
    fn a_baseline_knows_no_checksum() {
        let mut ledger = entries(&["1"]);
        ledger[0].checksum = String::new();
        assert_eq!(told(up(&files(&["1", "2"]), &ledger, None, Policy::default())), Ok("2".to_owned()));
    }

    #[test]
    fn down_undoes_the_last_first_and_only_what_has_a_down() {
        let mut all = files(&["1", "2", "10"]);
        let ledger = entries(&["1", "2", "10"]);
        for (back, expected) in [
            (Back::Steps(1), "10"),
            (Back::Steps(2), "10 2"),
            (Back::Steps(9), "10 2 1"),
            (Back::To(Version::from(2)), "10"),
            (Back::To(Version::from(10)), ""),
            (Back::To(Version::from(0)), "10 2 1"),
        ] {
            assert_eq!(told(down(&all, &ledger, &back)), Ok(expected.to_owned()), "{back:?}");
        }
        assert_eq!(told(down(&all, &ledger, &Back::To(Version::from(7)))), Err("there is no version 7".to_owned()));
        assert_eq!(told(down(&all, &entries(&["1", "2<"]), &Back::Steps(1))), Ok("2+".to_owned()), "goes on");
        all[1].down = None;
        let refused = told(down(&all, &ledger, &Back::Steps(2)));
        assert_eq!(refused, Err("2 cannot be undone: it has no down".to_owned()), "before 10 is undone");
        assert_eq!(
            told(down(&all, &entries(&["1", "2", "10!"]), &Back::Steps(1))).unwrap_err(),
            "10 was applied, and its file is another one now"
        );
    }
}
