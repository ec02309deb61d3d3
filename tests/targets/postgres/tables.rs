//! Tables: made, grown, found wanting.

use super::*;

#[tokio::test]
async fn tables_grow_with_the_source_and_what_is_missing_is_named_with_its_remedy() {
    let mut db = Db::new("grow").await;
    let narrow = layout("t", 1, &[("id", SourceType::Int64), ("old", SourceType::Text)], true);
    db.apply(&batch().upsert(&narrow, 1, &[Num("1"), Text("x")])).await.unwrap();
    let columns = [("id", SourceType::Int64), ("price", SourceType::Decimal { scale: 2 }), ("none", SourceType::Text)];
    db.apply(&batch().upsert(&layout("t", 1, &columns, true), 2, &[Num("1"), Text("AQ=="), Absent])).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM t").await, ["1|x|0.01"]);

    let t = layout("u", 1, &[("id", SourceType::Int64), ("a", SourceType::Uuid)], false);
    let planned = batch().upsert(&t, 1, &[Num("1"), Null]);
    let name = db.name.clone();
    for (setup, remedy) in [
        ("SELECT 1", format!(r#"CREATE TABLE "{name}"."u" ("id" bigint, "a" uuid, PRIMARY KEY ("id"))"#)),
        ("CREATE TABLE u (id bigint PRIMARY KEY)", format!(r#"ALTER TABLE "{name}"."u" ADD COLUMN "a" uuid"#)),
    ] {
        db.run(setup).await;
        let error = db.apply(&planned).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaMismatch);
        assert!(error.message.contains(&remedy), "{error}");
    }
    db.run("ALTER TABLE u ADD a uuid").await;
    db.apply(&planned).await.unwrap();
    // A column whose type changed under us is noticed within the same batch, also where the statement reads the same.
    db.run("ALTER TABLE u DROP a; ALTER TABLE u ADD a int").await;
    let columns = [("id", SourceType::Int64), ("a", SourceType::Text)];
    let planned = |id| batch().upsert(&layout("u", 1, &columns, false), 1, &[Num(id), Text("7")]);
    db.apply(&planned("2")).await.unwrap();
    db.run("ALTER TABLE u ALTER a TYPE bigint").await;
    db.apply(&planned("3")).await.unwrap();
    db.run("ALTER TABLE u ALTER a TYPE boolean USING true").await;
    assert_eq!(db.kind(&planned("4")).await, ErrorKind::BadValue);
    db.run("ALTER TABLE u ALTER a TYPE uuid USING NULL").await;
    assert_eq!(db.kind(&planned("4")).await, ErrorKind::BadValue);
    db.run("ALTER TABLE u ALTER a TYPE text").await;
    db.apply(&planned("5")).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM u ORDER BY id").await, ["1|NULL", "2|NULL", "3|NULL", "5|7"]);
    let planned = planned("6");
    // No unique index over the key.
    db.run("ALTER TABLE u DROP CONSTRAINT u_pkey").await;
    let error = db.apply(&planned).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{error}");
    db.close().await;
}

#[tokio::test]
async fn two_agents_that_meet_a_new_table_make_it_once() {
    let mut db = Db::new("ddl").await;
    let mut other = db.second().await;
    for i in 0..10 {
        let table = layout(&format!("t{i}"), 1, &[("id", SourceType::Int64)], true);
        let (mine, theirs) = (batch().upsert(&table, 1, &[Num("1")]), batch().upsert(&table, 1, &[Num("2")]));
        let (mine, theirs) = (mine.write(), theirs.write());
        let (a, b) = tokio::join!(db.target.apply(&mine), other.apply(&theirs));
        a.unwrap();
        b.unwrap();
        assert_eq!(db.rows(&format!("SELECT id FROM t{i} ORDER BY 1")).await, ["1", "2"]);
    }
    db.close().await;
}

#[tokio::test]
async fn an_existing_table_without_version_column_is_refused_with_the_line_to_run() {
    let mut db = Db::new("version").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'kept')").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Text)], false);
    let planned = Planned::new(AtLeastOnce).upsert(&t, 1, &[Num("1"), Text("new")]);
    let error = db.apply(&planned).await.unwrap_err();
    let remedy = format!(r#"ALTER TABLE "{}"."t" ADD COLUMN "_whimbrel_version" bytea"#, db.name);
    assert!(error.kind == ErrorKind::SchemaMismatch && error.message.contains(&remedy), "{error}");
    db.run(&remedy).await;
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT a FROM t").await, ["new"]);
    db.close().await;
}

#[tokio::test]
async fn rows_encoded_ahead_of_a_change_of_their_table_are_written_by_a_fresh_look() {
    for mode in [ExactlyOnce, AtLeastOnce] {
        let mut db = Db::new(if mode == ExactlyOnce { "ahead" } else { "ahead_least" }).await;
        let orders = orders();
        let first = Planned::new(mode).upsert(&orders, 1, &[Num("1"), Text("7"), Null]).advance(None, 1);
        assert!(db.encoder.encode(&first.write()).is_none(), "a table was known that nobody has met");
        db.apply(&first).await.unwrap();
        let second = Planned::new(mode).at(1).upsert(&orders, 2, &[Num("2"), Text("8"), Null]).advance(Some(1), 2);
        let rows = db.encoder.encode(&second.write()).expect("a table that was written to is known");
        db.run("ALTER TABLE orders ALTER name TYPE int USING name::int").await;
        assert_eq!(db.target.apply_encoded(&second.write(), rows).await.unwrap().rows, 1);
        let lost = Planned::new(mode).at(2).upsert(&orders, 3, &[Num("9"), Null, Null]).advance(Some(2), 3);
        let rows = db.encoder.encode(&lost.write()).unwrap();
        db.run("ALTER TABLE orders RENAME TO elsewhere").await;
        assert_eq!(db.target.apply_encoded(&lost.write(), rows).await.unwrap().rows, 1, "the table is made anew");
        // A value that does not fit is left to the target, which names the event.
        let unfit = Planned::new(mode).at(3).upsert(&orders, 4, &[Num("x"), Null, Null]).advance(Some(3), 4);
        assert!(db.encoder.encode(&unfit.write()).is_none());
        assert_eq!(db.apply(&unfit).await.unwrap_err().event, Some(0));
        assert_eq!(db.rows("SELECT id, name FROM elsewhere ORDER BY id").await, ["1|7", "2|8"]);
        assert_eq!(db.rows("SELECT id, name FROM orders").await, ["9|NULL"]);
        db.close().await;
    }
}
