//! The search against tables in memory, whose differences are known.

use proptest::prelude::*;

use super::*;

/// A table: key and what its row holds, in any order, keys more than once if need be.
#[derive(Clone, Debug, Default)]
struct Table {
    rows: Vec<(i64, u64)>,
    /// What the table is from the first refresh on.
    later: Option<Vec<(i64, u64)>>,
    asked: u64,
}

fn key(number: i64) -> Key {
    vec![Value::integer(number)]
}

fn number(key: &Key) -> i64 {
    key[0].to_string().parse().unwrap()
}

fn hash(row: &(i64, u64)) -> RowHash {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("{row:?}"));
    digest[..16].try_into().unwrap()
}

impl Table {
    fn of(rows: impl IntoIterator<Item = (i64, u64)>) -> Self {
        Self { rows: rows.into_iter().collect(), ..Self::default() }
    }

    fn inside(&self, range: &Range) -> Vec<(i64, u64)> {
        let from = range.from.as_ref().map_or(i64::MIN, number);
        let to = range.to.as_ref().map_or(i64::MAX, number);
        let mut rows: Vec<_> = self.rows.iter().copied().filter(|(key, _)| *key >= from && *key < to).collect();
        rows.sort_unstable();
        rows
    }
}

#[async_trait]
impl Side for Table {
    async fn count(&mut self) -> Result<u64> {
        self.asked += 1;
        Ok(self.rows.len() as u64)
    }

    async fn digest(&mut self, range: &Range) -> Result<Digest> {
        self.asked += 1;
        let mut digest = Digest::default();
        self.inside(range).iter().for_each(|row| digest.add(&hash(row)));
        Ok(digest)
    }

    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>> {
        self.asked += 1;
        let step = rows.div_ceil(parts).max(1) as usize;
        Ok(self.inside(range).iter().step_by(step).skip(1).map(|row| key(row.0)).collect())
    }

    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>> {
        self.asked += 1;
        Ok(self.inside(range).iter().take(limit).map(|row| (key(row.0), hash(row))).collect())
    }

    async fn refresh(&mut self) -> Result<()> {
        if let Some(later) = self.later.take() {
            self.rows = later;
        }
        Ok(())
    }
}

fn small() -> Limits {
    Limits { rows: 10_000, range_rows: 20, leaf_rows: 4, fan: 3, queries: 100_000, settle: Duration::ZERO }
}

fn search(source: &mut Table, target: &mut Table, limits: Limits) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(Search::new(source, target, limits).run()).unwrap()
}

fn rows_of(found: &Found) -> BTreeMap<Key, Fault> {
    found.places.iter().flat_map(|place| place.rows.clone()).collect()
}

/// What differs, by looking at every row.
fn truth(source: &Table, target: &Table) -> BTreeMap<Key, Fault> {
    let list = |table: &Table| table.rows.iter().map(|row| (key(row.0), hash(row))).collect();
    faults(list(source), list(target))
}

#[test]
fn equal_tables_are_equal_and_cost_two_questions_a_range() {
    let table = Table::of((0..1000).map(|n| (n, 7)));
    let found = search(&mut table.clone(), &mut table.clone(), small());
    assert_eq!((found.places.len(), found.source_rows, found.target_rows, found.ranges), (0, 1000, 1000, 50));
    assert_eq!(found.queries, 2 + 1 + 2 * 50);
}

#[test]
fn empty_tables_are_equal_and_an_empty_copy_misses_every_row() {
    assert_eq!(search(&mut Table::default(), &mut Table::default(), small()).places, []);
    let full = Table::of((0..100).map(|n| (n, 1)));
    let found = search(&mut full.clone(), &mut Table::default(), small());
    assert_eq!(rows_of(&found), (0..100).map(|n| (key(n), Fault::MissingInCopy)).collect());
    let found = search(&mut Table::default(), &mut full.clone(), small());
    assert_eq!(rows_of(&found), (0..100).map(|n| (key(n), Fault::OnlyInCopy)).collect());
}

#[test]
fn bounds_leave_ranges_unnamed_but_never_forgotten() {
    let source = Table::of((0..1000).map(|n| (n, 1)));
    let target = Table::of((0..1000).map(|n| (n, 2)));
    let named = search(&mut source.clone(), &mut target.clone(), Limits { rows: 5, ..small() });
    assert_eq!(named.named(), 5);
    let unnamed: u64 = named.places.iter().filter(|place| !place.whole).map(|place| place.source.rows).sum();
    assert!(unnamed >= 990, "{unnamed}");
    let asked = search(&mut source.clone(), &mut target.clone(), Limits { queries: 0, ..small() });
    assert_eq!((asked.named(), asked.places.len()), (0, 50));
}

#[test]
fn a_key_that_cuts_nothing_ends_as_a_range_and_not_as_an_endless_search() {
    let source = Table::of((0..500).map(|n| (7, n)));
    let target = Table::of((0..500).map(|n| (7, n + 1)));
    let found = search(&mut source.clone(), &mut target.clone(), small());
    assert_eq!((found.named(), found.places.len()), (0, 1));
    assert!(!found.places[0].whole);
}

#[test]
fn what_was_on_its_way_is_not_reported_and_what_stays_is() {
    let mut source = Table::of((0..200).map(|n| (n, 1)));
    let mut target = source.clone();
    target.rows.retain(|row| row.0 != 50 && row.0 != 150);
    target.later = Some(source.rows.iter().copied().filter(|row| row.0 != 150).collect());
    let found = search(&mut source, &mut target, small());
    assert_eq!(rows_of(&found), BTreeMap::from([(key(150), Fault::MissingInCopy)]));
    assert_eq!(found.settled, 1);

    let mut target = Table { later: Some(source.rows.clone()), ..Table::of((0..199).map(|n| (n, 1))) };
    let found = search(&mut source, &mut target, small());
    assert_eq!((found.places, found.settled), (vec![], 1));
}

#[test]
fn a_row_written_between_two_looks_is_not_reported() {
    let rows: Vec<_> = (0..100).map(|n| (n, 1)).collect();
    let mut source = Table { later: Some((0..101).map(|n| (n, 1)).collect()), ..Table::of(rows.clone()) };
    let mut target = Table::of(rows.into_iter().skip(1));
    let found = search(&mut source, &mut target, small());
    assert_eq!(rows_of(&found), BTreeMap::from([(key(0), Fault::MissingInCopy)]));
}

/// Tables with holes, duplicates in the key, and changes between them.
fn tables() -> impl Strategy<Value = (Table, Table)> {
    let rows = prop::collection::vec((0i64..400, 0u64..3), 0..300);
    (rows, prop::collection::vec((any::<prop::sample::Index>(), 0u8..3), 0..12)).prop_map(|(rows, changes)| {
        let mut copy = rows.clone();
        for (at, change) in changes {
            match (change, copy.is_empty()) {
                (0, false) => drop(copy.remove(at.index(copy.len()))),
                (1, false) => {
                    let at = at.index(copy.len());
                    copy[at].1 += 10;
                }
                _ => copy.push((at.index(500) as i64, 99)),
            }
        }
        (Table::of(rows), Table::of(copy))
    })
}

proptest! {
    #[test]
    fn exactly_the_keys_that_differ_are_found((source, target) in tables()) {
        // No key occurs as often as ranges are read uncut, so every row can be named.
        let found = search(&mut source.clone(), &mut target.clone(), Limits { leaf_rows: 40, ..small() });
        prop_assert_eq!(rows_of(&found), truth(&source, &target));
        prop_assert!(found.places.iter().all(|place| place.whole));
    }

    #[test]
    fn within_any_bounds_nothing_false_is_said(
        (source, target) in tables(), rows in 0usize..8, queries in 0u64..40, fan in 0u64..5, leaf_rows in 0u64..9, range_rows in 0u64..50
    ) {
        let limits = Limits { rows, range_rows, leaf_rows, fan, queries, settle: Duration::ZERO };
        let (mut one, mut other) = (source.clone(), target.clone());
        let found = search(&mut one, &mut other, limits);
        let truth = truth(&source, &target);
        prop_assert_eq!(found.places.is_empty(), truth.is_empty());
        prop_assert!(found.named() <= rows);
        for (key, fault) in rows_of(&found) {
            prop_assert_eq!(truth.get(&key), Some(&fault));
        }
        for key in truth.keys() {
            let covers = |range: &Range| {
                range.from.as_ref().is_none_or(|from| number(from) <= number(key))
                    && range.to.as_ref().is_none_or(|to| number(key) < number(to))
            };
            prop_assert!(found.places.iter().any(|place| place.rows.contains_key(key) || !place.whole && covers(&place.range)));
        }
        prop_assert_eq!(found.queries, one.asked + other.asked);
        // What narrowing a place costs at most beyond the budget, and two looks at each place that is left.
        let first = 2 + 1 + 2 * found.ranges;
        let again = 4 * found.places.len() as u64 + 4 * found.settled;
        prop_assert!(found.queries <= first + queries + 1 + 2 * (fan.max(2) + 2) + again, "{} questions", found.queries);
    }
}
