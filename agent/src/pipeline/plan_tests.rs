//! The planner against a model that applies one event after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::mapping::{Mapper, Mapping};
use super::plan::{Plan, Planner};
use crate::batch::Batch;
use crate::config::raw;
use crate::decode::{DecodeConfig, Decoder, Record};
use crate::event::{CellKind, Reason};
use crate::target::{RowAction, Step};

/// What happens to a key.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Put(u8),
    /// An update that leaves the big column out.
    PatchTo(u8),
    Remove,
    Poison,
    Tombstone,
}

fn happening() -> impl Strategy<Value = (u8, Happening)> {
    let what = prop_oneof![
        5 => any::<u8>().prop_map(Happening::Put),
        3 => any::<u8>().prop_map(Happening::PatchTo),
        2 => Just(Happening::Remove),
        1 => Just(Happening::Tombstone),
    ];
    (0..6_u8, what)
}

fn with_poison() -> impl Strategy<Value = (u8, Happening)> {
    prop_oneof![8 => happening(), 1 => (0..6_u8).prop_map(|key| (key, Happening::Poison))]
}

fn value(key: u8, what: Happening) -> Option<Vec<u8>> {
    let row = |small: u8, big: &str| json!({"id": key, "small": small, "big": big});
    let (op, before, after) = match what {
        Happening::Put(n) => ("c", json!(null), row(n, &format!("big {n}"))),
        Happening::PatchTo(n) => ("u", json!(null), row(n, "__debezium_unavailable_value")),
        Happening::Remove => ("d", json!({"id": key, "small": null, "big": null}), json!(null)),
        Happening::Poison => return Some(b"{ poison".to_vec()),
        Happening::Tombstone => return None,
    };
    let source = json!({"connector": "postgresql", "name": "s", "db": "d", "schema": "public", "table": "t", "lsn": 1});
    Some(json!({"op": op, "before": before, "after": after, "source": source, "ts_ms": 1}).to_string().into_bytes())
}

fn batch(happenings: &[(u8, Happening)]) -> Batch {
    let mut decoder = Decoder::new(DecodeConfig::try_from(&raw::Decode::default()).unwrap());
    let mut batch = Batch::default();
    let topic: Arc<str> = "s.public.t".into();
    for (offset, (key, what)) in happenings.iter().enumerate() {
        let (key, value) = (format!("{{\"id\":{key}}}"), value(*key, *what));
        decoder.decode(
            &Record {
                topic: &topic,
                partition: i32::from(key.len() > 100),
                offset: i64::try_from(offset).unwrap(),
                timestamp_ms: 0,
                key: Some(key.as_bytes()),
                value: value.as_deref(),
                headers: &[],
            },
            &mut batch,
        );
    }
    batch
}

fn planner() -> Planner {
    Planner::new(Mapper::new(Mapping::try_from([].as_slice() as &[raw::TableMapping]).unwrap()))
}

type Rows = BTreeMap<String, BTreeMap<String, String>>;

/// Writes a plan to rows as a target would.
fn write(rows: &mut Rows, batch: &Batch, plan: &Plan) {
    for step in &plan.steps {
        let Step::Rows(writes) = step else { panic!("no truncates here") };
        let mut keys = BTreeSet::new();
        for table in writes {
            for op in &table.ops {
                let key = batch.text(batch.cells[op.key as usize]).unwrap().into_owned();
                assert!(keys.insert(key.clone()), "key {key} twice in one step");
                let cells = |row| {
                    let named = batch.row(row).iter().zip(&table.layout.columns);
                    named
                        .filter(|(cell, _)| cell.kind != CellKind::Unavailable)
                        .map(|(cell, column)| (column.name.to_string(), batch.text(*cell).unwrap().into_owned()))
                        .collect::<BTreeMap<_, _>>()
                };
                match op.action {
                    RowAction::Upsert(row) => {
                        assert!(batch.row(row).iter().all(|c| c.kind != CellKind::Unavailable));
                        rows.insert(key, cells(row));
                    }
                    RowAction::Patch(row) => rows.entry(key).or_default().extend(cells(row)),
                    RowAction::Delete => {
                        rows.remove(&key);
                    }
                    RowAction::Append(_) => panic!("the table has a key"),
                }
            }
        }
    }
}

/// One event after the other.
fn model(happenings: &[(u8, Happening)]) -> Rows {
    let mut rows = Rows::new();
    let mut parked = BTreeSet::new();
    for (key, what) in happenings {
        if parked.contains(key) {
            continue;
        }
        let name = key.to_string();
        let mut set = |fields: &[(&str, String)]| {
            let row = rows.entry(name.clone()).or_default();
            row.extend(fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        };
        match what {
            Happening::Put(n) => {
                set(&[("id", name.clone()), ("small", n.to_string()), ("big", format!("big {n}"))]);
            }
            Happening::PatchTo(n) => set(&[("id", name.clone()), ("small", n.to_string())]),
            Happening::Remove => {
                rows.remove(&name);
            }
            Happening::Poison => {
                parked.insert(*key);
            }
            Happening::Tombstone => {}
        }
    }
    rows
}

/// A patch of a row that a delete took away in the same batch cannot come from a database.
fn possible(happenings: Vec<(u8, Happening)>) -> Vec<(u8, Happening)> {
    let mut known = BTreeSet::new();
    let keep = |(key, what): &(u8, Happening)| match what {
        Happening::Put(_) => {
            known.insert(*key);
            true
        }
        Happening::Remove => known.remove(key),
        Happening::PatchTo(_) => known.contains(key),
        Happening::Poison | Happening::Tombstone => true,
    };
    happenings.into_iter().filter(keep).collect()
}

proptest! {
    #[test]
    fn a_plan_comes_to_the_same_as_its_events_one_by_one(all in prop::collection::vec(with_poison(), 0..60)) {
        let all = possible(all);
        let mut batch = batch(&all);
        let plan = planner().plan(&mut batch, 0..all.len());
        let mut rows = Rows::new();
        write(&mut rows, &batch, &plan);
        prop_assert_eq!(rows, model(&all));
    }

    #[test]
    fn splitting_a_run_anywhere_changes_nothing_but_the_number_of_plans(
        all in prop::collection::vec(with_poison(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let all = possible(all);
        let mut batch = batch(&all);
        let mut edges: Vec<usize> = cuts.iter().map(|c| c.index(all.len() + 1)).collect();
        edges.extend([0, all.len()]);
        edges.sort_unstable();
        let mut planner = planner();
        let mut rows = Rows::new();
        let (mut effects, mut dead, mut next) = (0, 0, 0);
        for pair in edges.windows(2) {
            let plan = planner.plan(&mut batch, pair[0]..pair[1]);
            planner.park(&batch, &plan.dead_letters);
            write(&mut rows, &batch, &plan);
            effects += plan.effects.len();
            dead += plan.dead_letters.len();
            if let Some((_, _, offset)) = plan.next.first() {
                prop_assert!(*offset > next, "the frontier only moves on");
                next = *offset;
            }
        }
        prop_assert_eq!(rows, model(&all));
        let changes = all.iter().filter(|(_, what)| !matches!(what, Happening::Tombstone)).count();
        prop_assert_eq!(effects + dead, changes, "every change is an effect or a dead letter, and only one of them");
        prop_assert_eq!(next, i64::try_from(all.len()).unwrap());
    }
}

#[test]
fn what_follows_a_poison_record_on_its_key_parks_behind_it() {
    let all = [(1, Happening::Put(1)), (1, Happening::Poison), (1, Happening::Put(2)), (2, Happening::Put(3))];
    let mut batch = batch(&all);
    let plan = planner().plan(&mut batch, 0..4);
    let reasons: Vec<_> = plan.dead_letters.iter().map(|l| (l.event, l.reason)).collect();
    assert_eq!(reasons, [(1, Reason::Malformed), (2, Reason::ParkedBehind)]);
    assert_eq!(plan.effects, [0, 3]);
}

#[test]
fn a_new_row_without_its_large_value_is_a_dead_letter_and_not_a_row_with_a_hole() {
    let text =
        String::from_utf8(value(1, Happening::PatchTo(1)).unwrap()).unwrap().replace(r#""op":"u""#, r#""op":"c""#);
    let mut batch = batch(&[(1, Happening::Put(1)), (1, Happening::Remove)]);
    let mut decoder = Decoder::new(DecodeConfig::try_from(&raw::Decode::default()).unwrap());
    let record = Record {
        topic: &"s.public.t".into(),
        partition: 0,
        offset: 2,
        timestamp_ms: 0,
        key: Some(br#"{"id":2}"#),
        value: Some(text.as_bytes()),
        headers: &[],
    };
    decoder.decode(&record, &mut batch);
    let plan = planner().plan(&mut batch, 0..3);
    let letters: Vec<_> = plan.dead_letters.iter().map(|l| (l.event, l.reason)).collect();
    assert_eq!(letters, [(2, Reason::BadValue)]);
    assert_eq!(plan.effects, [0, 1]);
}

#[test]
fn a_batch_of_markers_only_moves_the_frontier() {
    let all = [(1, Happening::Tombstone), (2, Happening::Tombstone)];
    let mut batch = batch(&all);
    let plan = planner().plan(&mut batch, 0..2);
    assert!(plan.steps.is_empty() && plan.effects.is_empty() && plan.dead_letters.is_empty());
    assert_eq!(plan.next, [(0, 0, 2)]);
}

#[test]
fn an_update_without_its_big_column_takes_it_from_the_insert_before() {
    let all = [(1, Happening::Put(1)), (1, Happening::PatchTo(2))];
    let mut batch = batch(&all);
    let plan = planner().plan(&mut batch, 0..2);
    let Step::Rows(writes) = &plan.steps[0] else { panic!("rows") };
    let RowAction::Upsert(row) = writes[0].ops[0].action else { panic!("a whole row: {:?}", writes[0].ops) };
    let texts: Vec<Value> = batch.row(row).iter().map(|c| json!(batch.text(*c))).collect();
    assert_eq!(texts, [json!("1"), json!("2"), json!("big 1")]);
    assert_eq!(plan.unchanged_toast, 1);
}
