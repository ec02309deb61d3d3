//! What a comparison came to, for people and as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::bisect::{Fault, Found, Key, Place};
use super::{Copy, Endpoint, Way};

/// The outcome of [`super::compare`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Which table, and where.
    pub source: String,
    /// The copy, and where.
    pub copy: String,
    /// Columns of the key.
    pub key: Vec<String>,
    /// Whether no row differs.
    pub equal: bool,
    /// Rows of the source, as first counted.
    pub source_rows: u64,
    /// Rows of the copy, as first counted.
    pub copy_rows: u64,
    /// Rows that differ, by key.
    pub differences: Vec<Difference>,
    /// Ranges that differ and whose rows are not all among `differences`.
    pub unnamed: Vec<Unnamed>,
    /// Rows and ranges that differed at first and not when they were looked at again.
    pub settled: u64,
    /// Who hashed.
    pub way: Way,
    /// Ranges that were compared whole.
    pub ranges: u64,
    /// Questions asked to both databases together.
    pub queries: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its key.
    pub key: Vec<String>,
    /// How it differs.
    pub fault: Fault,
}

/// A range in which more rows differ than are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unnamed {
    /// Its first key; none: the very first.
    pub from: Option<Vec<String>>,
    /// The first key after it; none: up to the last.
    pub to: Option<Vec<String>>,
    /// Rows of the source in it.
    pub source_rows: u64,
    /// Rows of the copy in it.
    pub copy_rows: u64,
}

/// Sentences name at most this many rows.
const SHOWN: usize = 20;

impl Comparison {
    pub(super) fn new(
        source: &Endpoint,
        target: &Endpoint,
        copy: &Copy,
        way: Way,
        found: Found,
        notes: Vec<String>,
        took: Duration,
    ) -> Self {
        let unnamed = found.places.iter().filter(|place| !place.whole).map(unnamed).collect();
        let rows = found.places.iter().flat_map(|place| &place.rows);
        Self {
            source: format!("{} of {}", copy.from, source.address()),
            copy: format!("{} of {}", copy.to, target.address()),
            key: copy.key.clone(),
            equal: found.places.is_empty(),
            source_rows: found.source_rows,
            copy_rows: found.target_rows,
            differences: rows.map(|(key, fault)| Difference { key: texts(key), fault: *fault }).collect(),
            unnamed,
            settled: found.settled,
            way,
            ranges: found.ranges,
            queries: found.queries,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            notes,
        }
    }

    /// What is wrong, in one sentence without keys; none when nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if self.equal {
            return None;
        }
        let count = |fault| self.differences.iter().filter(|difference| difference.fault == fault).count();
        let counts = [
            (count(Fault::MissingInCopy), "missing in the copy"),
            (count(Fault::OnlyInCopy), "only in the copy"),
            (count(Fault::Differs), "different"),
        ];
        let mut parts: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !self.unnamed.is_empty() {
            parts.push(format!("{} further ranges of the key that differ", self.unnamed.len()));
        }
        Some(format!("{} is not as {}: {}", self.copy, self.source, parts.join(", ")))
    }
}

fn unnamed(place: &Place) -> Unnamed {
    Unnamed {
        from: place.range.from.as_ref().map(texts),
        to: place.range.to.as_ref().map(texts),
        source_rows: place.source.rows,
        copy_rows: place.target.rows,
    }
}

fn texts(key: &Key) -> Vec<String> {
    key.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault() {
            None => write!(f, "{} is as {}: {} rows", self.copy, self.source, self.copy_rows)?,
            Some(fault) => {
                write!(f, "{fault} ({} rows in the source, {} in the copy)", self.source_rows, self.copy_rows)?;
            }
        }
        for difference in self.differences.iter().take(SHOWN) {
            let what = match difference.fault {
                Fault::MissingInCopy => "is missing in the copy",
                Fault::OnlyInCopy => "is only in the copy",
                Fault::Differs => "differs",
            };
            write!(f, "\n  {} {what}", named(&self.key, &difference.key))?;
        }
        if let Some(more) = self.differences.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            write!(f, "\n  … and {more} more rows")?;
        }
        for range in self.unnamed.iter().take(SHOWN) {
            let from = range.from.as_ref().map_or_else(|| "the first key".into(), |key| named(&self.key, key));
            let to = range
                .to
                .as_ref()
                .map_or_else(|| "the last key".into(), |key| format!("before {}", named(&self.key, key)));
            write!(
                f,
                "\n  from {from} to {to}: {} rows in the source and {} in the copy are not the same, and not all of them are named here",
                range.source_rows, range.copy_rows
            )?;
        }
        if self.settled > 0 {
            write!(f, "\n  {} rows or ranges differed for a moment: the tables are being written to", self.settled)?;
        }
        if !self.equal {
            write!(
                f,
                "\n  looked at twice; a table that is written to may still differ until its changes have arrived"
            )?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

fn named(columns: &[String], key: &[String]) -> String {
    let one = |(column, value): (&String, &String)| format!("{} {value}", column.split('=').next().unwrap_or(column));
    columns.iter().zip(key).map(one).collect::<Vec<_>>().join(", ")
}
