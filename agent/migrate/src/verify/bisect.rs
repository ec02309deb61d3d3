//! The search for rows that differ: ranges of the key are counted and hashed on both sides, those that are not the same are
//! cut into smaller ones, and the smallest are compared row by row. Knows no database: it asks two [`Side`]s.
//!
//! What it promises: two sides are called equal only when every row of both lies in a range whose count and hash were the
//! same on both. The number of questions and of rows that are named is bounded; what was left unnamed is listed as ranges.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use async_trait::async_trait;

use super::value::Value;
use crate::error::Result;

/// A row's key: the values of its columns.
pub type Key = Vec<Value>;

/// Keyed hash of one row.
pub type RowHash = [u8; 16];

/// Keys from `from` on and before `to`; without one of them, from the first or to the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// The first key that belongs to it.
    pub from: Option<Key>,
    /// The first key that does not.
    pub to: Option<Key>,
}

/// What a range holds: as many rows, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// Rows.
    pub rows: u64,
    /// Sums of the two halves of the rows' hashes.
    pub hash: [i128; 2],
}

impl Digest {
    /// With one row more.
    pub const fn add(&mut self, row: &RowHash) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *row;
        self.rows = self.rows.wrapping_add(1);
        let [first, second] = self.hash;
        self.hash = [
            first.wrapping_add(u64::from_be_bytes([a, b, c, d, e, f, g, h]) as i128),
            second.wrapping_add(u64::from_be_bytes([i, j, k, l, m, n, o, p]) as i128),
        ];
    }
}

/// A table, seen through its key. All calls see one state of it until [`Side::refresh`], where the database can do that.
#[async_trait]
pub trait Side: Send {
    /// How many rows there are.
    async fn count(&mut self) -> Result<u64>;

    /// Counts and hashes a range.
    async fn digest(&mut self, range: &Range) -> Result<Digest>;

    /// Keys that cut a range of `rows` rows into about `parts` of equal size, ascending in the side's order.
    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>>;

    /// Keys and hashes of the rows of a range, `limit` of them at most.
    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>>;

    /// From now on, look at the table as it is now.
    async fn refresh(&mut self) -> Result<()>;
}

/// Bounds of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows that are named at most.
    pub rows: usize,
    /// Rows of a range of the first pass.
    pub range_rows: u64,
    /// Rows of a range that is read row by row.
    pub leaf_rows: u64,
    /// Into how many parts a range that differs is cut.
    pub fan: u64,
    /// Questions that the search for rows may ask after the first pass.
    pub queries: u64,
    /// How long to wait before rows that differ are looked at again.
    pub settle: Duration,
}

/// The first pass asks for at most so many ranges, however large the table is.
const MOST_RANGES: u64 = 4096;
/// A range that no key cuts is still read row by row if it has at most so many times [`Limits::leaf_rows`].
const UNCUT: u64 = 8;

impl Default for Limits {
    /// Ranges of 50,000 rows take a server some tenths of a second; a hundred rows tell what is wrong as well as all of them
    /// do; replication that is alive has brought a change after a second.
    fn default() -> Self {
        Self {
            rows: 100,
            range_rows: 50_000,
            leaf_rows: 1_000,
            fan: 16,
            queries: 20_000,
            settle: Duration::from_secs(1),
        }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The source has it, the copy does not.
    MissingInCopy,
    /// The copy has it, the source does not.
    OnlyInCopy,
    /// Both have it, with other values.
    Differs,
}

/// A range that differs, or did, with what is known of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub range: Range,
    /// Of the source.
    pub source: Digest,
    /// Of the copy.
    pub target: Digest,
    /// The rows, by key.
    pub rows: BTreeMap<Key, Fault>,
    /// Whether these are all: otherwise a bound was reached before.
    pub whole: bool,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows of the copy.
    pub target_rows: u64,
    /// Ranges of the first pass.
    pub ranges: u64,
    /// Questions asked to both sides together.
    pub queries: u64,
    /// Where the sides differ.
    pub places: Vec<Place>,
    /// Rows and ranges that differed first and did not when they were looked at again.
    pub settled: u64,
}

impl Found {
    /// Rows that are named.
    #[must_use]
    pub fn named(&self) -> usize {
        self.places.iter().map(|place| place.rows.len()).sum()
    }
}

/// Both sides, and what was asked so far.
pub struct Search<'a> {
    source: &'a mut dyn Side,
    target: &'a mut dyn Side,
    limits: Limits,
    found: Found,
}

impl<'a> Search<'a> {
    /// Of these two.
    #[must_use]
    pub fn new(source: &'a mut dyn Side, target: &'a mut dyn Side, limits: Limits) -> Self {
        Self { source, target, limits, found: Found::default() }
    }

    /// Searches; looks again, once and after [`Limits::settle`], at what differs.
    ///
    /// # Errors
    /// When a side cannot answer.
    pub async fn run(mut self) -> Result<Found> {
        let mut differing = self.first_pass().await?;
        let budget = self.found.queries.saturating_add(self.limits.queries);
        while let Some(place) = differing.pop_front() {
            if self.found.named() >= self.limits.rows || self.found.queries >= budget {
                self.found.places.push(place);
                continue;
            }
            for part in self.narrow(place).await?.into_iter().rev() {
                differing.push_front(part);
            }
        }
        if !self.found.places.is_empty() {
            tokio::time::sleep(self.limits.settle).await;
            self.look_again().await?;
        }
        Ok(self.found)
    }

    /// Every row lies in one of the ranges: the first has no beginning, the last no end, and between two there is no gap.
    async fn first_pass(&mut self) -> Result<VecDeque<Place>> {
        let (source, target) = futures_util::future::join(self.source.count(), self.target.count()).await;
        let (source, target) = (source?, target?);
        self.found.queries += 2;
        let rows = source.max(target);
        let parts = rows.div_ceil(self.limits.range_rows.max(1)).clamp(1, MOST_RANGES);
        let ranges = self.cut(&Range::default(), source, target, parts).await?;
        let mut differing = VecDeque::new();
        for range in ranges {
            self.found.ranges += 1;
            let place = self.digest(range).await?;
            self.found.source_rows += place.source.rows;
            self.found.target_rows += place.target.rows;
            if place.source != place.target {
                differing.push_back(place);
            }
        }
        Ok(differing)
    }

    async fn digest(&mut self, range: Range) -> Result<Place> {
        let both = futures_util::future::join(self.source.digest(&range), self.target.digest(&range)).await;
        self.found.queries += 2;
        Ok(Place { source: both.0?, target: both.1?, range, rows: BTreeMap::new(), whole: false })
    }

    /// Cuts a range at keys of the side that has more rows.
    async fn cut(&mut self, range: &Range, source: u64, target: u64, parts: u64) -> Result<Vec<Range>> {
        if parts < 2 {
            return Ok(vec![range.clone()]);
        }
        let keys = match source >= target {
            true => self.source.split(range, source, parts).await?,
            false => self.target.split(range, target, parts).await?,
        };
        self.found.queries += 1;
        let mut ranges = Vec::with_capacity(keys.len() + 1);
        let mut from = range.from.clone();
        for key in keys {
            // Keys that are not unique may cut twice at one place; that would be a range with nothing in it.
            if from.as_ref() != Some(&key) && range.to.as_ref() != Some(&key) {
                ranges.push(Range { from: from.replace(key.clone()), to: Some(key) });
            }
        }
        ranges.push(Range { from, to: range.to.clone() });
        Ok(ranges)
    }

    /// The parts of a range that differ; none when its rows are named, or it cannot be cut any further.
    async fn narrow(&mut self, place: Place) -> Result<Vec<Place>> {
        let most = place.source.rows.max(place.target.rows);
        if most <= self.limits.leaf_rows {
            self.name(place, self.limits.leaf_rows).await?;
            return Ok(Vec::new());
        }
        let parts = self.limits.fan.clamp(2, most.max(2));
        let ranges = self.cut(&place.range, place.source.rows, place.target.rows, parts).await?;
        if ranges.len() < 2 {
            self.name(place, self.limits.leaf_rows.saturating_mul(UNCUT)).await?;
            return Ok(Vec::new());
        }
        let mut differing = Vec::new();
        for range in ranges {
            let part = self.digest(range).await?;
            if part.source != part.target {
                differing.push(part);
            }
        }
        if differing.is_empty() {
            // The whole differs and no part does: something was written meanwhile. It is looked at again.
            self.found.places.push(place);
        }
        Ok(differing)
    }

    async fn name(&mut self, mut place: Place, limit: u64) -> Result<()> {
        let rows = self.faults(&place.range, limit).await?;
        let left = self.limits.rows.saturating_sub(self.found.named());
        // No row differs although the range does: it is looked at again as a range.
        place.whole = rows.as_ref().is_some_and(|rows| rows.len() <= left && !rows.is_empty());
        place.rows = rows.unwrap_or_default().into_iter().take(left).collect();
        self.found.places.push(place);
        Ok(())
    }

    /// Rows of a range that differ; nothing when there are more rows than `limit`.
    async fn faults(&mut self, range: &Range, limit: u64) -> Result<Option<BTreeMap<Key, Fault>>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
        let both =
            futures_util::future::join(self.source.rows(range, limit + 1), self.target.rows(range, limit + 1)).await;
        self.found.queries += 2;
        let (source, target) = (both.0?, both.1?);
        Ok((source.len() <= limit && target.len() <= limit).then(|| faults(source, target)))
    }

    async fn look_again(&mut self) -> Result<()> {
        let both = futures_util::future::join(self.source.refresh(), self.target.refresh()).await;
        both.0.and(both.1)?;
        for mut place in std::mem::take(&mut self.found.places) {
            let known = std::mem::take(&mut place.rows);
            let again = match known.is_empty() {
                true => None,
                false => self.faults(&place.range, self.limits.leaf_rows.saturating_mul(UNCUT)).await?,
            };
            if let (Some(mut again), true) = (again, !known.is_empty()) {
                // Rows that differ only now were written meanwhile: the next comparison may name them.
                let before: HashSet<&Key> = known.keys().collect();
                again.retain(|key, _| before.contains(key));
                self.found.settled += (known.len() - again.len()) as u64;
                place.rows = again;
            } else {
                place.rows = known;
            }
            if !place.whole {
                let now = self.digest(place.range.clone()).await?;
                let (source, target) = (now.source, now.target);
                if source == target {
                    self.found.settled += 1;
                    continue;
                }
                (place.source, place.target) = (source, target);
            }
            if !place.whole || !place.rows.is_empty() {
                self.found.places.push(place);
            }
        }
        Ok(())
    }
}

/// Compares two lists of rows. A key that occurs more than once stands for all of its rows.
fn faults(source: Vec<(Key, RowHash)>, target: Vec<(Key, RowHash)>) -> BTreeMap<Key, Fault> {
    let mut keys: BTreeMap<Key, [Vec<RowHash>; 2]> = BTreeMap::new();
    for (key, hash) in source {
        let [rows, _] = keys.entry(key).or_default();
        rows.push(hash);
    }
    for (key, hash) in target {
        let [_, rows] = keys.entry(key).or_default();
        rows.push(hash);
    }
    keys.into_iter()
        .filter_map(|(key, [mut source, mut target])| {
            source.sort_unstable();
            target.sort_unstable();
            let fault = match (source.is_empty(), target.is_empty()) {
                (_, true) => Fault::MissingInCopy,
                (true, _) => Fault::OnlyInCopy,
                _ if source != target => Fault::Differs,
                _ => return None,
            };
            Some((key, fault))
        })
        .collect()
}

#[cfg(test)]
mod tests;
