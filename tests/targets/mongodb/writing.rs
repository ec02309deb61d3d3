//! Rows of a batch: written, patched, deleted, appended, refused; the ledger of their effects.

use super::*;

#[tokio::test]
async fn rows_are_written_patched_deleted_and_appended_in_both_modes() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("rows").await;
        let mut target = bench.target(mode).await;
        let people = people();
        let log = layout("log", &[("line", SourceType::Text)], &[]);

        let mut first = Planned::new(mode);
        first.upsert(&people, 0, &json!({"id": 1, "name": "Ada", "bio": "long"}));
        first.upsert(&people, 1, &json!({"id": 2, "name": "Bob", "bio": null}));
        first.append(&log, 2, &json!({"line": "a \"quoted\" line\n"}));
        first.advance(None, 3);
        let applied = target.apply(&first.write()).await.unwrap();
        assert_eq!((applied.rows, applied.skipped_older, applied.lossy.len()), (3, 0, 0));

        let mut second = Planned::new(mode);
        second.patch(&people, 3, &json!({"id": 1, "name": "Ada L.", "bio": UNAVAILABLE}));
        second.patch(&people, 4, &json!({"id": 3, "name": "new by patch", "bio": UNAVAILABLE}));
        second.delete(&people, 5, &json!({"id": 2}));
        second.delete(&people, 6, &json!({"id": 99}));
        second.advance(Some(3), 7);
        assert_eq!(target.apply(&second.write()).await.unwrap().rows, 3);

        assert_eq!(
            bench.all("people").await,
            [
                doc! {"_id": 1_i64, "id": 1_i64, "name": "Ada L.", "bio": "long"},
                doc! {"_id": 3_i64, "id": 3_i64, "name": "new by patch"},
            ]
        );
        assert_eq!(bench.all("log").await, [doc! {"_id": format!("{TOPIC}:0:2"), "line": "a \"quoted\" line\n"}]);
        let stored = target.offsets(PIPELINE, &[(TOPIC.into(), 0), (TOPIC.into(), 1)]).await.unwrap();
        let expected = |partition, next| StoredOffset { topic: TOPIC.into(), partition, next };
        assert_eq!(stored, [expected(0, Some(7)), expected(1, None)]);
        // Nothing of another pipeline.
        assert_eq!(target.offsets("p2", &[(TOPIC.into(), 0)]).await.unwrap()[0].next, None);

        let mut third = Planned::new(mode);
        third.steps.push(Step::Truncate(people.clone()));
        third.upsert(&people, 8, &json!({"id": 7, "name": "after", "bio": "x"}));
        target.apply(&third.write()).await.unwrap();
        assert_eq!(bench.all("people").await, [doc! {"_id": 7_i64, "id": 7_i64, "name": "after", "bio": "x"}]);
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_server_refuses_names_the_event_and_leaves_the_batch_unwritten() {
    let bench = Bench::new("refused").await;
    let mut target = bench.target(ONCE).await;
    let users = layout("users", &[("id", SourceType::Int32), ("email", SourceType::Text)], &["id"]);
    bench.db.run_command(doc! {"create": "users", "validator": {"email": {"$ne": "forbidden"}}}).await.unwrap();
    let unique = doc! {"key": {"email": 1}, "name": "e", "unique": true};
    bench.db.run_command(doc! {"createIndexes": "users", "indexes": [unique]}).await.unwrap();
    let mut planned = Planned::new(ONCE);
    planned.upsert(&users, 0, &json!({"id": 1, "email": "a@b.c"})).advance(None, 1);
    target.apply(&planned.write()).await.unwrap();

    for (email, kind) in [("a@b.c", ErrorKind::Constraint), ("forbidden", ErrorKind::Constraint)] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&users, 10, &json!({"id": 2, "email": "fine"}));
        planned.upsert(&users, 11, &json!({"id": 3, "email": email}));
        planned.upsert(&users, 12, &json!({"id": 4, "email": "fine too"})).advance(Some(1), 13);
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (kind, Some(1)), "{error}");
        assert!(!format!("{error:?}").contains(email), "{error:?}");
    }
    assert_eq!(bench.count("users").await, 1);

    // Without a transaction, the neighbours stay; the event is named all the same.
    let mut target = bench.target(ATLEAST).await;
    let mut planned = Planned::new(ATLEAST);
    planned.upsert(&users, 10, &json!({"id": 2, "email": "fine"}));
    planned.upsert(&users, 11, &json!({"id": 3, "email": "a@b.c"}));
    planned.upsert(&users, 12, &json!({"id": 4, "email": "fine too"})).advance(None, 13);
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::Constraint, Some(1)), "{error}");
    assert_eq!(bench.count("users").await, 3);
    assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(1));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn large_rows_are_written_up_to_the_servers_limit_and_named_beyond_it() {
    let mut bench = Bench::new("large").await;
    bench.raw.key_fields = false;
    let blobs = layout("blobs", &[("id", SourceType::Int32), ("t", SourceType::Text)], &["id"]);
    // _id and t around the text: 4 + 1+4+4 + 1+2+4 + text + 1 + 1.
    let fits = 16 * 1024 * 1024 - 22;
    for mode in [ONCE, ATLEAST] {
        let mut target = bench.target(mode).await;
        // The version takes its place too.
        let room = if mode == ONCE { fits } else { fits - 100 };
        let text = "x".repeat(room);
        let mut planned = Planned::new(mode);
        planned.upsert(&blobs, 0, &json!({"id": 0, "t": text})).upsert(&blobs, 1, &json!({"id": 1, "t": "small"}));
        assert_eq!(retried(&mut target, &planned).await.unwrap().rows, 2);
        // More than one command holds.
        let mut planned = Planned::new(mode);
        let third = "x".repeat(6 * 1024 * 1024);
        for id in 2..6 {
            planned.upsert(&blobs, id, &json!({"id": id, "t": third}));
        }
        assert_eq!(retried(&mut target, &planned).await.unwrap().rows, 4);
        assert_eq!(bench.count("blobs").await, 6);

        let mut planned = Planned::new(mode);
        planned.upsert(&blobs, 8, &json!({"id": 8, "t": "small"}));
        planned.upsert(&blobs, 9, &json!({"id": 9, "t": "x".repeat(fits + 1)}));
        let error = retried(&mut target, &planned).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::RowTooLarge, Some(1)), "{error}");
        bench.db.collection::<Document>("blobs").drop().await.unwrap();
    }
    // A patch may make a document too large that the agent cannot see whole: the server says so.
    let wide = layout("blobs", &[("id", SourceType::Int32), ("t", SourceType::Text), ("u", SourceType::Text)], &["id"]);
    let half = "x".repeat(9 * 1024 * 1024);
    let mut target = bench.target(ONCE).await;
    let mut planned = Planned::new(ONCE);
    planned.upsert(&wide, 0, &json!({"id": 0, "t": half}));
    retried(&mut target, &planned).await.unwrap();
    let mut planned = Planned::new(ONCE);
    planned.patch(&wide, 1, &json!({"id": 1, "u": "small"})).patch(&wide, 2, &json!({"id": 0, "u": half}));
    let error = retried(&mut target, &planned).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::RowTooLarge, Some(1)), "{error}");
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn the_ledger_shows_doubled_effects() {
    let mut bench = Bench::new("ledger").await;
    let people = people();
    for ledger in [true, false] {
        bench.raw.ledger = ledger;
        let mut target = bench.target(ONCE).await;
        // A re-drive has no advance to fence it: applied twice, it must show twice.
        let mut planned = Planned::new(ONCE);
        planned.upsert(&people, 8, &json!({"id": 1, "name": "n", "bio": "b"}));
        target.apply(&planned.write()).await.unwrap();
        target.apply(&planned.write()).await.unwrap();
        let effects = bench.all("whimbrel_ledger").await;
        assert_eq!(effects.len(), 2);
        for effect in effects {
            assert_eq!((effect.get_str("topic").unwrap(), effect.get_i64("offset").unwrap()), (TOPIC, 8));
        }
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn rows_encoded_ahead_are_the_same_rows() {
    let bench = Bench::new("ahead").await;
    assert!(bench.target(ATLEAST).await.encoder().is_none());
    let mut target = bench.target(ONCE).await;
    let mut encoder = target.encoder().unwrap();
    let log = layout("log", &[("line", SourceType::Text)], &[]);
    for (at, table) in ["ahead", "in_turn"].into_iter().enumerate() {
        let people = layout(
            table,
            &[("id", SourceType::Int64), ("name", SourceType::Text), ("at", SourceType::TimestampNanos)],
            &["id"],
        );
        let mut planned = Planned::new(ONCE);
        planned.upsert(&people, 0, &json!({"id": 1, "name": "Ada", "at": 1_764_000_000_000_000_001_i64}));
        planned.upsert(&people, 1, &json!({"id": 2, "name": null, "at": 0}));
        planned.patch(&people, 2, &json!({"id": 3, "name": "new by patch", "at": UNAVAILABLE}));
        planned.delete(&people, 3, &json!({"id": 4}));
        planned.append(&log, 4 + i64::try_from(at).unwrap(), &json!({"line": "one"}));
        planned.advance((at > 0).then_some(5), 5 + i64::try_from(at).unwrap());
        let write = planned.write();
        let applied = match table {
            "ahead" => target.apply_encoded(&write, encoder.encode(&write).unwrap()).await,
            _ => target.apply(&write).await,
        };
        let applied = applied.unwrap();
        assert_eq!((applied.rows, applied.lossy.len(), applied.lossy[0].event), (4, 1, 0));
    }
    assert_eq!(bench.all("ahead").await, bench.all("in_turn").await);
    assert_eq!((bench.count("ahead").await, bench.count("log").await), (3, 2));
    // A row that cannot be encoded is not the encoder's to blame: the target names the event.
    let people = people();
    let mut bad = Planned::new(ONCE);
    bad.upsert(&people, 6, &json!({"id": "x", "name": "a", "bio": "b"})).advance(Some(6), 7);
    assert!(encoder.encode(&bad.write()).is_none());
    assert_eq!(target.apply(&bad.write()).await.unwrap_err().event, Some(0));
    bench.db.drop().await.unwrap();
}
