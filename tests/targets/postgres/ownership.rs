//! Whose partition it is, and replays: compare-and-set, versions, zombies.

use super::*;

#[tokio::test]
async fn a_missed_compare_and_set_leaves_nothing_behind() {
    let mut db = Db::new("fenced").await;
    let orders = orders();
    db.apply(&batch().upsert(&orders, 1, &[Num("0"), Null, Null]).advance(None, 10)).await.unwrap();
    for (expected, next) in [(None, 5), (Some(9), 12), (Some(11), 12)] {
        let zombie = batch()
            .upsert(&orders, 1, &[Num("1"), Text("zombie"), Null])
            .dead_letter(Some("k"), "v", Reason::Malformed)
            .advance(expected, next);
        assert_eq!(db.kind(&zombie).await, ErrorKind::Fenced);
    }
    assert_eq!(db.rows("SELECT id FROM orders").await, ["0"]);
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["10|1"]);
    assert_eq!(db.target.dead_letter_count("shop").await.unwrap(), 0);
    assert_eq!(db.rows("SELECT count(*) FROM {state}.ledger").await, ["1"]);
    db.apply(&batch().upsert(&orders, 1, &[Num("1"), Null, Null]).advance(Some(10), 11)).await.unwrap();
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["11|2"]);
    db.close().await;
}

#[tokio::test]
async fn two_agents_with_the_same_batch_write_it_once() {
    let mut db = Db::new("race").await;
    let orders = orders();
    db.apply(&batch().upsert(&orders, 1, &[Num("0"), Null, Null]).advance(None, 0)).await.unwrap();
    let mut other = db.second().await;
    for round in 0..20_i64 {
        let planned = batch().at(round).upsert(&orders, 2, &[Num("1"), Null, Null]).advance(Some(round), round + 1);
        let write = planned.write();
        let (a, b) = tokio::join!(db.target.apply(&write), other.apply(&write));
        let fenced: Vec<ErrorKind> = [a, b].into_iter().filter_map(Result::err).map(|e| e.kind).collect();
        assert_eq!(fenced, [ErrorKind::Fenced], "round {round}");
    }
    let doubled = db.rows(r#"SELECT "offset" FROM {state}.ledger WHERE "offset" > 0 GROUP BY 1 HAVING count(*) <> 1"#);
    assert_eq!(doubled.await, [""; 0]);
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["20|21"]);
    db.close().await;
}

#[tokio::test]
async fn replays_in_any_order_converge_at_least_once() {
    let mut db = Db::new("replay").await;
    let mut other = db.second().await;
    for seed in 0..30_u64 {
        let orders = layout(
            &format!("orders{seed}"),
            2,
            &[("id", SourceType::Int64), ("shop", SourceType::Text), ("name", SourceType::Text)],
            true,
        );
        let log = layout(&format!("log{seed}"), 0, &[("line", SourceType::Text)], true);
        let event = |i: i64| {
            let planned = Planned::new(AtLeastOnce).at(i);
            let lsn = i.unsigned_abs() + 100;
            match i {
                0 => planned.upsert(&orders, lsn, &[Num("1"), Text("x"), Text("a")]).upsert(
                    &orders,
                    lsn,
                    &[Num("3"), Text("x"), Text("a")],
                ),
                2 => planned.upsert(&orders, lsn, &[Num("2"), Text("x"), Text("b")]),
                3 => planned.delete(&orders, lsn, &[Num("1"), Text("x")]),
                4 => planned.upsert(&orders, lsn, &[Num("1"), Text("x"), Text("reborn")]),
                5 => planned.delete(&orders, lsn, &[Num("2"), Text("x")]).append(&log, lsn, &[Text("l")]),
                7 => planned.append(&log, lsn, &[Text("l")]),
                _ => planned.upsert(&orders, lsn, &[Num("3"), Text("x"), Text("last")]),
            }
            .advance(None, i + 1)
        };
        let mut random = StdRng::seed_from_u64(seed);
        let events = [0, 2, 3, 4, 5, 7, 8];
        let mut order = events.to_vec();
        order.shuffle(&mut random);
        order.extend((0..8).filter_map(|_| events.choose(&mut random)));
        // Two agents at once, as if one were a zombie; conflicts between them are retried like the pipeline would.
        for pair in order.chunks(2) {
            let (mine, theirs) = (event(pair[0]), event(*pair.last().unwrap()));
            tokio::join!(retried(&mut db.target, &mine), retried(&mut other, &theirs));
        }
        let rows = format!("SELECT id, shop, name FROM orders{seed} ORDER BY id");
        assert_eq!(db.rows(&rows).await, ["1|x|reborn", "3|x|last"], "seed {seed}: {order:?}");
        assert_eq!(db.rows(&format!("SELECT line FROM log{seed}")).await, ["l", "l"], "seed {seed}: {order:?}");
    }
    assert_eq!(db.rows("SELECT next FROM {state}.offsets").await, ["9"]);
    db.close().await;
}

async fn retried(target: &mut PostgresTarget, planned: &Planned) {
    for _ in 0..20 {
        match target.apply(&planned.write()).await {
            Ok(_) => return,
            Err(e) => assert_eq!(e.kind, ErrorKind::Conflict, "{e}"),
        }
    }
    panic!("never came through");
}

/// An outdated agent inserts a row while the new owner deletes it; neither sees the other's uncommitted work.
#[tokio::test]
async fn a_zombie_that_writes_while_a_delete_commits_cannot_raise_the_row() {
    let mut db = Db::new("zombie").await;
    let orders = orders();
    let seed = Planned::new(AtLeastOnce).upsert(&orders, 1, &[Num("9"), Null, Null]);
    db.apply(&seed).await.unwrap();
    let mut zombie = db.second().await;
    for i in 0..50_u64 {
        let id = i.to_string();
        let old = Planned::new(AtLeastOnce).upsert(&orders, 5, &[Num(&id), Text("risen"), Null]);
        let delete = Planned::new(AtLeastOnce).delete(&orders, 6, &[Num(&id)]);
        let (old, delete) = (old.write(), delete.write());
        let (a, b) = tokio::join!(zombie.apply(&old), db.target.apply(&delete));
        a.unwrap();
        b.unwrap();
    }
    assert_eq!(db.rows("SELECT id FROM orders WHERE name = 'risen'").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn versions_of_deleted_rows_are_kept_for_the_grace_and_no_longer() {
    let mut db = Db::new("grace").await;
    let orders = orders();
    let old = Planned::new(AtLeastOnce).upsert(&orders, 4, &[Num("1"), Text("old"), Null]);
    db.apply(&Planned::new(AtLeastOnce).delete(&orders, 5, &[Num("1")])).await.unwrap();
    db.apply(&old).await.unwrap();
    assert_eq!(db.rows("SELECT count(*) FROM orders").await, ["0"]);
    let mut later = Planned::new(AtLeastOnce).upsert(&orders, 6, &[Num("2"), Null, Null]);
    later.now_ms += 3_700_000;
    db.apply(&later).await.unwrap();
    assert_eq!(db.rows("SELECT count(*) FROM {state}.tombstones").await, ["0"]);
    let skipped = Planned::new(AtLeastOnce).upsert(&orders, 5, &[Num("2"), Text("old"), Null]);
    assert_eq!(db.apply(&skipped).await.unwrap().skipped_older, 1);
    let skipped = Planned::new(AtLeastOnce).patch(&orders, 5, &[Num("2"), Text("old"), Unavailable]);
    assert_eq!(db.apply(&skipped).await.unwrap().skipped_older, 1);
    assert_eq!(db.rows("SELECT name FROM orders").await, ["NULL"]);
    db.close().await;
}

#[tokio::test]
async fn a_missed_compare_and_set_moves_and_stores_nothing() {
    let mut db = Db::new("fencedstate").await;
    cases::a_missed_compare_and_set_moves_and_stores_nothing(&mut db.target).await;
    db.close().await;
}
