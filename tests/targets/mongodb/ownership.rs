//! Whose partition it is, and replays: compare-and-set, versions, stale writes.

use super::*;

#[tokio::test]
async fn a_missed_compare_and_set_leaves_nothing_behind() {
    let bench = Bench::new("fence").await;
    let mut target = bench.target(ONCE).await;
    let people = people();
    let mut planned = Planned::new(ONCE);
    planned.upsert(&people, 0, &json!({"id": 1, "name": "a", "bio": "b"})).advance(None, 1);
    target.apply(&planned.write()).await.unwrap();

    // Nothing expected though there is something; the wrong thing expected; something expected though there is nothing.
    for (partition, expected) in [(0, None), (0, Some(0)), (0, Some(2)), (5, Some(1))] {
        let mut late = Planned::new(ONCE);
        late.upsert(&people, 1, &json!({"id": 1, "name": "zombie", "bio": "b"}));
        late.upsert(&people, 2, &json!({"id": 2, "name": "zombie", "bio": "b"}));
        late.dead_letter(3, b"k", Reason::Malformed);
        late.advance(expected, 9);
        late.advances[0].partition = partition;
        let error = target.apply(&late.write()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
        // The target goes on after it.
        target.ping().await.unwrap();
    }
    assert_eq!(bench.all("people").await, [doc! {"_id": 1_i64, "id": 1_i64, "name": "a", "bio": "b"}]);
    assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 0);
    assert_eq!(bench.count("whimbrel_ledger").await, 1);
    let stored = target.offsets(PIPELINE, &[(TOPIC.into(), 0), (TOPIC.into(), 5)]).await.unwrap();
    assert_eq!((stored[0].next, stored[1].next), (Some(1), None));

    // The one who expects the right thing goes on, and the same batch again does not.
    let mut next = Planned::new(ONCE);
    next.upsert(&people, 1, &json!({"id": 1, "name": "b", "bio": "b"})).advance(Some(1), 2);
    target.apply(&next.write()).await.unwrap();
    assert_eq!(target.apply(&next.write()).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(bench.count("whimbrel_ledger").await, 2);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn two_agents_that_race_for_one_batch_apply_it_once() {
    let bench = Bench::new("race").await;
    let people = people();
    let mut agents = Vec::new();
    for _ in 0..3 {
        agents.push(bench.target(ONCE).await);
    }
    let mut next = None;
    for round in 0..10_i64 {
        let plan = |_| {
            let mut planned = Planned::new(ONCE);
            planned.upsert(&people, round, &json!({"id": round, "name": "x", "bio": "y"})).advance(next, round + 1);
            planned
        };
        let plans: Vec<Planned> = (0..3).map(plan).collect();
        let tries = agents.iter_mut().zip(&plans).map(|(agent, plan)| async move {
            loop {
                match agent.apply(&plan.write()).await {
                    Ok(_) => break true,
                    Err(error) if error.kind == ErrorKind::Conflict => {
                        tokio::time::sleep(Duration::from_millis(5)).await
                    }
                    Err(error) => {
                        assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
                        break false;
                    }
                }
            }
        });
        let won = futures_util::future::join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        next = Some(round + 1);
    }
    assert_eq!(bench.count("whimbrel_ledger").await, 10);
    assert_eq!(bench.count("people").await, 10);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn replays_in_any_order_converge() {
    use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
    let seed = std::env::var("WHIMBREL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("WHIMBREL_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let people = people();
    let bench = Bench::new("replay").await;
    let mut target = bench.target(ATLEAST).await;
    for round in 0..12_i64 {
        let keys = 4;
        let events: Vec<(i64, i64, bool)> = (0..24)
            .map(|offset| (offset, round * 100 + random.random_range(0..keys), random.random_bool(0.35)))
            .collect();
        let mut expected = std::collections::BTreeMap::new();
        for (offset, id, delete) in &events {
            if *delete {
                expected.remove(id);
            } else {
                expected.insert(*id, doc! {"_id": id, "id": id, "name": format!("v{offset}"), "bio": "b"});
            }
        }
        let mut replayed = events.clone();
        for _ in 0..12 {
            replayed.push(events[random.random_range(0..events.len())]);
        }
        replayed.shuffle(&mut random);
        for (offset, id, delete) in replayed {
            let mut planned = Planned::new(ATLEAST);
            if delete {
                planned.delete(&people, offset, &json!({"id": id}));
            } else {
                planned.upsert(&people, offset, &json!({"id": id, "name": format!("v{offset}"), "bio": "b"}));
            }
            target.apply(&planned.write()).await.unwrap();
        }
        let mut all = bench.all("people").await;
        all.retain(|d| d.get_i64("_id").unwrap() / 100 == round);
        assert_eq!(all, expected.into_values().collect::<Vec<_>>(), "round {round} of WHIMBREL_SEED={seed}");
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn replaying_a_partition_from_any_point_keeps_what_patches_did_not_write() {
    let people = people();
    let bench = Bench::new("patches").await;
    let mut target = bench.target(ATLEAST).await;
    let planned = |offset: i64| {
        let mut planned = Planned::new(ATLEAST);
        match offset {
            0 => planned.upsert(&people, 0, &json!({"id": 1, "name": "a", "bio": "first"})),
            1 => planned.patch(&people, 1, &json!({"id": 1, "name": "b", "bio": UNAVAILABLE})),
            2 => planned.upsert(&people, 2, &json!({"id": 1, "name": "c", "bio": "second"})),
            _ => planned.patch(&people, 3, &json!({"id": 1, "name": "d", "bio": UNAVAILABLE})),
        };
        planned
    };
    for offset in 0..4 {
        assert_eq!(target.apply(&planned(offset).write()).await.unwrap().skipped_older, 0);
    }
    for from in 0..4 {
        for offset in from..4 {
            assert_eq!(target.apply(&planned(offset).write()).await.unwrap().skipped_older, 1);
        }
        assert_eq!(bench.all("people").await, [doc! {"_id": 1_i64, "id": 1_i64, "name": "d", "bio": "second"}]);
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_stale_write_that_lands_after_a_delete_is_removed() {
    let people = people();
    let bench = Bench::new("tombstone").await;
    let mut owner = bench.target(ATLEAST).await;
    let mut zombie = bench.target(ATLEAST).await;
    for action in [RowAction::Upsert, RowAction::Patch] {
        for round in 0..20_i64 {
            let row = json!({"id": round, "name": "old", "bio": "b"});
            let mut stale = Planned::new(ATLEAST);
            stale.op(&people, 10, &row, action);
            let mut delete = Planned::new(ATLEAST);
            delete.delete(&people, 11, &row);
            // Both at once, in whatever order the server sees them.
            let (stale, delete) = (stale.write(), delete.write());
            let (first, second) = tokio::join!(zombie.apply(&stale), owner.apply(&delete));
            first.unwrap();
            second.unwrap();
            // And late beyond doubt.
            assert_eq!(zombie.apply(&stale).await.unwrap().skipped_older, 1);
            assert_eq!(bench.count("people").await, 0, "round {round}");
        }
        // A newer row is not held back by the tombstone, and a replayed delete does not hurt it.
        let mut newer = Planned::new(ATLEAST);
        newer.upsert(&people, 12, &json!({"id": 0, "name": "new", "bio": "b"}));
        owner.apply(&newer.write()).await.unwrap();
        let mut replay = Planned::new(ATLEAST);
        replay.delete(&people, 11, &json!({"id": 0}));
        owner.apply(&replay.write()).await.unwrap();
        assert_eq!(bench.count("people").await, 1);
        let mut end = Planned::new(ATLEAST);
        end.delete(&people, 13, &json!({"id": 0}));
        owner.apply(&end.write()).await.unwrap();
        bench.db.collection::<Document>("whimbrel_tombstones").delete_many(doc! {}).await.unwrap();
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn stale_writes_of_many_keys_are_removed_at_once() {
    let people = people();
    let bench = Bench::new("manystale").await;
    let mut target = bench.target(ATLEAST).await;
    let mut stale = Planned::new(ATLEAST);
    let mut delete = Planned::new(ATLEAST);
    for id in 0..120_i64 {
        let row = json!({"id": id, "name": "old", "bio": "b"});
        stale.upsert(&people, id, &row);
        // Every second one is deleted later.
        if id % 2 == 0 {
            delete.delete(&people, 1000 + id, &row);
        }
    }
    // No tombstones yet.
    assert_eq!(target.apply(&stale.write()).await.unwrap().rows, 120);
    assert_eq!(target.apply(&delete.write()).await.unwrap().rows, 60);
    let applied = target.apply(&stale.write()).await.unwrap();
    assert_eq!((applied.rows, applied.skipped_older), (0, 120));
    let left = bench.all("people").await;
    assert_eq!(left.len(), 60);
    assert!(left.iter().all(|row| row.get_i64("_id").unwrap() % 2 == 1));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_frontier_never_moves_back_without_a_transaction() {
    let bench = Bench::new("frontier").await;
    let mut target = bench.target(ATLEAST).await;
    for (next, stands) in [(5, 5), (9, 9), (7, 9)] {
        let mut planned = Planned::new(ATLEAST);
        planned.advance(None, next);
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(stands));
    }
    bench.db.drop().await.unwrap();
}
