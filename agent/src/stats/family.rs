//! Metric families with a bounded number of series.
//!
//! Label values come from data (tables, partitions, plugins), so every family has a budget: what comes after goes to one
//! overflow series, all of whose labels read [`OVERFLOW`], and is counted. Nothing is lost from a sum; only the split is.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Label value of the overflow series.
pub const OVERFLOW: &str = "_overflow";

/// Refused label sets are remembered as hashes so that each is counted once; at most so many per series of the budget.
const REFUSED_PER_SERIES: usize = 16;

/// A label value: a word of the code, or a name from data.
#[derive(Debug, Clone)]
pub enum Label {
    /// A word of the code.
    Word(&'static str),
    /// A name from data.
    Name(Arc<str>),
}

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Name(name) => name,
        }
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Label {}
impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}
impl From<&'static str> for Label {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}
impl From<&Arc<str>> for Label {
    fn from(name: &Arc<str>) -> Self {
        Self::Name(Arc::clone(name))
    }
}

/// The label values of a series.
pub type Labels = Vec<Label>;

/// Name, help and labels of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Name, exactly as scraped.
    pub name: &'static str,
    /// Help text.
    pub help: &'static str,
    /// Label names, in order.
    pub labels: &'static [&'static str],
}

impl Spec {
    fn overflow(&self) -> Labels {
        self.labels.iter().map(|_| Label::Word(OVERFLOW)).collect()
    }
}

fn digest(labels: &Labels) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug, Default)]
struct Counts {
    series: HashMap<Labels, u64>,
    overflow: Option<u64>,
    refused: HashSet<u64>,
}

/// Counters that only grow and never retire: a counter that vanished would lose what was counted.
#[derive(Debug)]
pub struct Counters {
    /// What they are.
    pub spec: Spec,
    budget: usize,
    counts: Mutex<Counts>,
}

impl Counters {
    /// No series yet.
    #[must_use]
    pub fn new(spec: Spec, budget: usize) -> Self {
        Self { spec, budget, counts: Mutex::default() }
    }

    /// Adds to a series. Adding 0 declares it, so that it is there before the first event.
    pub fn add(&self, labels: Labels, count: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(total) = counts.series.get_mut(&labels) {
            *total = total.saturating_add(count);
        } else if counts.series.len() < self.budget {
            counts.series.insert(labels, count);
        } else {
            if counts.refused.len() < self.budget.saturating_mul(REFUSED_PER_SERIES) {
                counts.refused.insert(digest(&labels));
            }
            counts.overflow = Some(counts.overflow.unwrap_or(0).saturating_add(count));
        }
    }

    /// Every series and its total.
    pub fn each(&self, mut tell: impl FnMut(&Labels, u64)) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, total) in &counts.series {
            tell(labels, *total);
        }
        if let Some(total) = counts.overflow {
            tell(&self.spec.overflow(), total);
        }
    }

    /// Label sets that had to go to the overflow series.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).refused.len() as u64
    }
}

/// How values that must share a series are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The largest: delays.
    Largest,
    /// The sum: amounts.
    Sum,
    /// The smallest: what is reached.
    Smallest,
}

#[derive(Debug, Default)]
struct Admitted {
    series: HashSet<Labels>,
    refused: HashSet<u64>,
    refused_ever: u64,
}

/// Gauges that are computed when read. A series is there exactly as long as something gives it a value.
#[derive(Debug)]
pub struct Gauges {
    /// What they are.
    pub spec: Spec,
    join: Join,
    budget: usize,
    admitted: Mutex<Admitted>,
}

impl Gauges {
    /// No series yet.
    #[must_use]
    pub fn new(spec: Spec, join: Join, budget: usize) -> Self {
        Self { spec, join, budget, admitted: Mutex::default() }
    }

    fn join(&self, one: f64, other: f64) -> f64 {
        match self.join {
            Join::Largest => one.max(other),
            Join::Sum => one + other,
            Join::Smallest => one.min(other),
        }
    }

    /// Joins values of equal labels, keeps the budget, and retires what is no longer given. A series that has a place
    /// keeps it; a freed place goes to whoever is there.
    pub fn settle(&self, values: impl IntoIterator<Item = (Labels, f64)>) -> Vec<(Labels, f64)> {
        let mut joined: HashMap<Labels, f64> = HashMap::new();
        for (labels, value) in values {
            joined.entry(labels).and_modify(|known| *known = self.join(*known, value)).or_insert(value);
        }
        let mut guard = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = &mut *guard;
        admitted.series.retain(|labels| joined.contains_key(labels));
        let mut refused = HashSet::new();
        let mut overflow: Option<f64> = None;
        let mut settled = Vec::with_capacity(joined.len().min(self.budget));
        let (known, new): (Vec<_>, Vec<_>) =
            joined.into_iter().partition(|(labels, _)| admitted.series.contains(labels));
        settled.extend(known);
        for (labels, value) in new {
            if admitted.series.len() < self.budget {
                admitted.series.insert(labels.clone());
                settled.push((labels, value));
            } else {
                refused.insert(digest(&labels));
                overflow = Some(overflow.map_or(value, |known| self.join(known, value)));
            }
        }
        admitted.refused_ever += refused.difference(&admitted.refused).count() as u64;
        admitted.refused = refused;
        settled.extend(overflow.map(|value| (self.spec.overflow(), value)));
        settled
    }

    /// Label sets that had to go to the overflow series.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).refused_ever
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec { name: "m", help: "h", labels: &["a", "b"] };

    fn labels(a: &str, b: &'static str) -> Labels {
        vec![Label::Name(a.into()), Label::Word(b)]
    }

    #[test]
    fn counters_beyond_the_budget_share_one_series_and_no_count_is_lost() {
        let counters = Counters::new(SPEC, 2);
        for (a, count) in [("x", 1), ("y", 2), ("z", 3), ("w", 4), ("z", 5), ("x", 6)] {
            counters.add(labels(a, "b"), count);
        }
        let mut all = Vec::new();
        counters.each(|labels, total| all.push((labels.first().unwrap().as_str().to_owned(), total)));
        all.sort();
        assert_eq!(all, [(OVERFLOW.to_owned(), 12), ("x".to_owned(), 7), ("y".to_owned(), 2)]);
        assert_eq!(counters.refused(), 2, "z and w, each once");
    }

    #[test]
    fn gauges_retire_when_nothing_gives_them_a_value_and_a_freed_place_is_taken() {
        let gauges = Gauges::new(SPEC, Join::Largest, 2);
        let names = |settled: Vec<(Labels, f64)>| {
            let mut names: Vec<_> =
                settled.iter().map(|(labels, value)| (labels[0].as_str().to_owned(), *value as i64)).collect();
            names.sort();
            names
        };
        let give = |names: &[(&str, f64)]| names.iter().map(|(a, v)| (labels(a, "b"), *v)).collect::<Vec<_>>();
        assert_eq!(names(gauges.settle(give(&[("x", 1.0), ("y", 2.0)]))), [("x".into(), 1), ("y".into(), 2)]);
        assert_eq!(
            names(gauges.settle(give(&[("x", 1.0), ("y", 2.0), ("z", 9.0), ("w", 3.0)]))),
            [(OVERFLOW.into(), 9), ("x".into(), 1), ("y".into(), 2)]
        );
        assert_eq!(gauges.refused(), 2);
        assert_eq!(names(gauges.settle(give(&[("y", 2.0), ("z", 9.0)]))), [("y".into(), 2), ("z".into(), 9)]);
        assert_eq!(gauges.refused(), 2);
        assert_eq!(names(gauges.settle(give(&[("y", 2.0), ("y", 5.0)]))), [("y".into(), 5)]);
    }
}
