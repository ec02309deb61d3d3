//! Rows of a batch: written with their offset, patched, appended, refused.

use super::*;

#[tokio::test]
async fn a_batch_is_written_with_its_offset_and_effects() {
    let mut db = Db::new("batch").await;
    let orders = orders();
    let planned = batch()
        .upsert(&orders, 1, &[Num("1"), Text("it's"), Bool(true)])
        .upsert(&orders, 2, &[Num("2"), Escaped(r"\u00fc\n"), Null])
        .advance(None, 2);
    let applied = db.apply(&planned).await.unwrap();
    assert_eq!((applied.rows, applied.skipped_older), (2, 0));
    assert_eq!(db.rows("SELECT * FROM orders ORDER BY id").await, ["1|it's|t", "2|ü\n|NULL"]);
    let asked = [("none".to_owned(), 3), ("topic".to_owned(), 0)];
    let stored = db.target.offsets("shop", &asked).await.unwrap();
    let offset = |topic: &str, partition, next| StoredOffset { topic: topic.into(), partition, next };
    assert_eq!(stored, [offset("none", 3, None), offset("topic", 0, Some(2))]);
    assert_eq!(
        db.rows(r#"SELECT pipeline, topic, partition, "offset" FROM {state}.ledger ORDER BY 4"#).await,
        ["shop|topic|0|0", "shop|topic|0|1"]
    );
    let planned = batch()
        .upsert(&orders, 3, &[Num("1"), Null, Bool(false)])
        .delete(&orders, 3, &[Num("2")])
        .delete(&orders, 3, &[Num("77")])
        .advance(Some(2), 5);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 2);
    assert_eq!(db.rows("SELECT * FROM orders").await, ["1|NULL|f"]);
    db.target.ping().await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_patch_leaves_the_other_columns_alone_and_creates_a_missing_row() {
    let mut db = Db::new("patch").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text, c text DEFAULT 'c')").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Text), ("b", SourceType::Text)], false);
    db.apply(&batch().upsert(&t, 1, &[Num("1"), Text("toast"), Text("b")])).await.unwrap();
    let planned = batch()
        .patch(&t, 2, &[Num("1"), Unavailable, Text("new")])
        .patch(&t, 2, &[Num("2"), Text("made"), Absent])
        .patch(&t, 2, &[Num("3"), Text("made too"), Null]);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 3);
    // An upsert with a value that was not sent is a patch; one with an absent column empties it.
    let planned = batch()
        .upsert(&t, 3, &[Num("2"), Unavailable, Text("x")])
        .upsert(&t, 3, &[Num("1"), Text("toast"), Absent])
        .patch(&t, 3, &[Num("3"), Absent, Absent]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM t ORDER BY id").await, ["1|toast|NULL|c", "2|made|x|c", "3|made too|NULL|c"]);
    db.close().await;
}

#[tokio::test]
async fn names_with_quotes_and_composite_keys_work() {
    let mut db = Db::new("names").await;
    let t = layout(
        r#"we"ird T"#,
        2,
        &[(r#"K"1"#, SourceType::Text), ("select", SourceType::Int32), (r#"v'"--;"#, SourceType::Json)],
        true,
    );
    let planned = batch()
        .upsert(&t, 1, &[Text("a"), Num("1"), Text(r#"{"x":1}"#)])
        .upsert(&t, 1, &[Text("a"), Num("2"), Json(r#"{"x":2}"#)])
        .upsert(&t, 1, &[Text("b"), Num("1"), Null])
        .patch(&t, 1, &[Text("c"), Num("1"), Json("1")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.apply(&batch().delete(&t, 2, &[Text("a"), Num("1")])).await.unwrap().rows, 1);
    assert_eq!(db.rows(r#"SELECT * FROM "we""ird T" ORDER BY 1, 2"#).await, [r#"a|2|{"x": 2}"#, "b|1|NULL", "c|1|1"]);
    // A mapped name may bring its own schema, which is made when tables may be.
    let other = format!("{}_Other", db.name);
    let there = layout(&format!("{other}.T"), 1, &[("id", SourceType::Int32)], true);
    let planned = batch().upsert(&there, 1, &[Num("1")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.apply(&planned).await.unwrap().rows, 0);
    assert_eq!(db.rows(&format!(r#"SELECT * FROM "{other}"."T""#)).await, ["1"]);
    db.run(&format!(r#"DROP SCHEMA "{other}" CASCADE"#)).await;
    db.close().await;
}

#[tokio::test]
async fn a_refused_row_undoes_the_batch() {
    let mut db = Db::new("refused").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL CHECK (a > 0), b int UNIQUE)").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Int32), ("b", SourceType::Int32)], false);
    for (a, b) in [(Num("-1"), Num("2")), (Null, Num("2")), (Num("1"), Num("1"))] {
        let planned =
            batch().upsert(&t, 1, &[Num("1"), Num("1"), Num("1")]).upsert(&t, 1, &[Num("2"), a, b]).advance(None, 2);
        assert_eq!(db.kind(&planned).await, ErrorKind::Constraint);
    }
    assert_eq!(db.rows("SELECT * FROM t").await, [""; 0]);
    assert_eq!(db.rows("SELECT * FROM {state}.offsets").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn rows_without_key_are_appended_and_truncates_happen_in_order() {
    let mut db = Db::new("append").await;
    let log = layout("log", 0, &[("line", SourceType::Text)], true);
    let planned = batch()
        .append(&log, 1, &[Text("a")])
        .append(&log, 1, &[Text("a")])
        .truncate(&log)
        .append(&log, 2, &[Text("b")])
        .append(&log, 2, &[Text("b")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT line FROM log").await, ["b", "b"]);
    db.apply(&batch().truncate(&orders())).await.unwrap();
    db.close().await;
}
