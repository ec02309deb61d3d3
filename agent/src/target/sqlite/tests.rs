use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::*;
use crate::config::raw;
use crate::event::{Reason, SourceType};
use crate::target::cases;
use crate::target::fixture::{Planned, V, layout};
use crate::target::plan::DeliveryMode::{AtLeastOnce, ExactlyOnce};
use crate::target::plan::Layout;
use V::{Absent, Bool, Escaped, Json, Null, Num, Text, Unavailable};

struct Db {
    dir: TempDir,
    target: SqliteTarget,
}

impl Db {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let target = Self::target(&dir).await;
        Self { dir, target }
    }

    async fn target(dir: &TempDir) -> SqliteTarget {
        let path = dir.path().join("shop.db");
        let raw = raw::SqliteTarget { path, ledger: true, synchronous: raw::Synchronous::Normal };
        let mut target = SqliteTarget::new(Settings::from_raw(&raw, Duration::from_secs(86_400)).unwrap());
        target.open().await.unwrap();
        target
    }

    fn other(&self) -> Connection {
        Connection::open(self.dir.path().join("shop.db")).unwrap()
    }

    async fn apply(&mut self, planned: &Planned) -> Result<Applied, TargetError> {
        self.target.apply(&planned.write()).await
    }

    async fn kind(&mut self, planned: &Planned) -> ErrorKind {
        self.apply(planned).await.unwrap_err().kind
    }

    /// Rows of a query, each as its values joined by `|` in SQL's own notation.
    fn rows(&self, sql: &str) -> Vec<String> {
        let db = self.other();
        let mut statement = db.prepare(sql).unwrap();
        let width = statement.column_count();
        let show = |value: Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Integer(i) => i.to_string(),
            Value::Real(r) => format!("{r:?}"),
            Value::Text(t) => format!("'{t}'"),
            Value::Blob(b) => format!("x'{}'", b.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        };
        statement
            .query_map([], |row| Ok((0..width).map(|i| show(row.get_unwrap(i))).collect::<Vec<_>>().join("|")))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }
}

fn orders() -> Arc<Layout> {
    layout("orders", 1, &[("id", SourceType::Int64), ("name", SourceType::Text), ("paid", SourceType::Boolean)], true)
}

fn batch() -> Planned {
    Planned::new(ExactlyOnce)
}

#[tokio::test]
async fn a_batch_is_written_with_its_offset_and_effects() {
    let mut db = Db::new().await;
    let orders = orders();
    let planned = batch()
        .upsert(&orders, 1, &[Num("1"), Text("it's"), Bool(true)])
        .upsert(&orders, 2, &[Num("2"), Escaped(r"\u00fc\n"), Null])
        .advance(None, 2);
    let applied = db.apply(&planned).await.unwrap();
    assert_eq!((applied.rows, applied.skipped_older), (2, 0));
    assert_eq!(db.rows("SELECT * FROM orders ORDER BY id"), ["1|'it's'|1", "2|'ü\n'|NULL"]);
    let next = db.target.offsets("shop", &[("topic".into(), 0), ("topic".into(), 1)]).await.unwrap();
    assert_eq!(next.iter().map(|o| o.next).collect::<Vec<_>>(), [Some(2), None]);
    assert_eq!(
        db.rows(r#"SELECT topic, "partition", "offset" FROM whimbrel_ledger ORDER BY 3"#),
        ["'topic'|0|0", "'topic'|0|1"]
    );
    // Upserts replace, deletes remove, also what is not there.
    let planned = batch()
        .upsert(&orders, 3, &[Num("1"), Null, Bool(false)])
        .delete(&orders, 3, &[Num("2")])
        .delete(&orders, 3, &[Num("77")])
        .advance(Some(2), 5);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 2);
    assert_eq!(db.rows("SELECT * FROM orders"), ["1|NULL|0"]);
}

#[tokio::test]
async fn a_missed_compare_and_set_leaves_nothing_behind() {
    let mut db = Db::new().await;
    let orders = orders();
    db.apply(&batch().advance(None, 10)).await.unwrap();
    let row = [Num("1"), Text("zombie"), Null];
    for (expected, next) in [(None, 5), (Some(9), 12), (Some(11), 12)] {
        let zombie =
            batch().upsert(&orders, 1, &row).dead_letter(Some("k"), "v", Reason::Malformed).advance(expected, next);
        assert_eq!(db.kind(&zombie).await, ErrorKind::Fenced);
    }
    assert_eq!(db.rows("SELECT name FROM sqlite_schema WHERE name = 'orders'"), [""; 0]);
    assert_eq!(db.rows("SELECT next, epoch FROM whimbrel_offsets"), ["10|1"]);
    assert_eq!(db.target.dead_letter_count("shop").await.unwrap(), 0);
    assert_eq!(db.rows("SELECT * FROM whimbrel_ledger"), [""; 0]);
    // The failed batches must not have left a belief that the table exists.
    db.apply(&batch().upsert(&orders, 1, &row).advance(Some(10), 11)).await.unwrap();
    assert_eq!(db.rows("SELECT next, epoch FROM whimbrel_offsets"), ["11|2"]);
}

#[tokio::test]
async fn a_patch_leaves_the_other_columns_alone_and_creates_a_missing_row() {
    let mut db = Db::new().await;
    db.other()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT, c TEXT DEFAULT 'c')")
        .unwrap();
    let t = layout("t", 1, &[("id", SourceType::Int64), ("a", SourceType::Text), ("b", SourceType::Text)], false);
    let planned = batch().upsert(&t, 1, &[Num("1"), Text("toast"), Text("b")]).advance(None, 1);
    db.apply(&planned).await.unwrap();
    // `a` is NOT NULL and was not sent: an insert first would fail.
    let planned = batch()
        .patch(&t, 2, &[Num("1"), Unavailable, Text("new")])
        .patch(&t, 2, &[Num("2"), Text("made"), Absent])
        .advance(Some(1), 3);
    db.apply(&planned).await.unwrap();
    // An upsert with a value that was not sent is a patch too.
    db.apply(&batch().upsert(&t, 3, &[Num("2"), Unavailable, Text("x")]).advance(Some(3), 4)).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM t ORDER BY id"), ["1|'toast'|'new'|'c'", "2|'made'|'x'|'c'"]);
}

#[tokio::test]
async fn names_with_quotes_and_composite_keys_work() {
    let mut db = Db::new().await;
    let t = layout(
        r#"we"ird.T able"#,
        2,
        &[(r#"K"1"#, SourceType::Text), ("select", SourceType::Int32), (r#"v'"--"#, SourceType::Json)],
        true,
    );
    let planned = batch()
        .upsert(&t, 1, &[Text("a"), Num("1"), Text(r#"{"x":1}"#)])
        .upsert(&t, 1, &[Text("a"), Num("2"), Json(r#"{"x":2}"#)])
        .upsert(&t, 1, &[Text("b"), Num("1"), Null])
        .advance(None, 3);
    db.apply(&planned).await.unwrap();
    let planned = batch().delete(&t, 2, &[Text("a"), Num("1")]).advance(Some(3), 4);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 1);
    assert_eq!(db.rows(r#"SELECT * FROM "we""ird.T able" ORDER BY 1, 2"#), [r#"'a'|2|'{"x":2}'"#, "'b'|1|NULL"]);
}

#[tokio::test]
async fn tables_grow_with_the_source_and_never_shrink() {
    let mut db = Db::new().await;
    let narrow = layout("t", 1, &[("id", SourceType::Int64), ("old", SourceType::Text)], true);
    db.apply(&batch().upsert(&narrow, 1, &[Num("1"), Text("x")]).advance(None, 1)).await.unwrap();
    let wide = layout(
        "t",
        1,
        &[("id", SourceType::Int64), ("amount", SourceType::Decimal { scale: 2 }), ("never", SourceType::Text)],
        true,
    );
    db.apply(&batch().upsert(&wide, 2, &[Num("1"), Null, Absent]).advance(Some(1), 2)).await.unwrap();
    assert_eq!(
        db.rows("SELECT name, type FROM pragma_table_info('t')"),
        ["'id'|'INTEGER'", "'old'|'TEXT'", "'amount'|'TEXT'"]
    );
    assert_eq!(db.rows("SELECT * FROM t"), ["1|'x'|NULL"]);
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy_when_nothing_may_be_made() {
    let mut db = Db::new().await;
    let t = layout("t", 1, &[("id", SourceType::Int64), ("a", SourceType::Text)], false);
    let planned = batch().upsert(&t, 1, &[Num("1"), Text("x")]).advance(None, 1);
    for (setup, remedy) in [
        ("SELECT 1", r#"CREATE TABLE "t" ("id" INTEGER NOT NULL, "a" TEXT, PRIMARY KEY ("id"))"#),
        ("CREATE TABLE t (ID INTEGER)", r#"ALTER TABLE "t" ADD COLUMN "a" TEXT"#),
        ("ALTER TABLE t ADD a TEXT", r#"CREATE UNIQUE INDEX "t_key" ON "t" ("id")"#),
    ] {
        db.other().execute_batch(setup).unwrap();
        let error = db.apply(&planned).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{error}");
        assert!(error.message.contains(remedy), "{error}");
    }
    db.other().execute_batch(r#"CREATE UNIQUE INDEX "t_key" ON "t" ("id")"#).unwrap();
    db.apply(&planned).await.unwrap();
}

#[tokio::test]
async fn a_refused_row_is_named_and_undoes_the_batch() {
    let mut db = Db::new().await;
    db.other().execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER CHECK (a > 0))").unwrap();
    let t = layout("t", 1, &[("id", SourceType::Int64), ("a", SourceType::Int64)], false);
    let planned = batch().upsert(&t, 1, &[Num("1"), Num("1")]).upsert(&t, 1, &[Num("2"), Num("-1")]).advance(None, 2);
    let error = db.apply(&planned).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::Constraint, Some(1)), "{error}");
    assert_eq!(db.rows("SELECT * FROM t"), [""; 0]);
    assert_eq!(db.rows("SELECT * FROM whimbrel_offsets"), [""; 0]);
}

#[tokio::test]
async fn rows_without_key_are_appended_and_truncates_happen_in_order() {
    let mut db = Db::new().await;
    let log = layout("log", 0, &[("line", SourceType::Text)], true);
    let planned = batch()
        .append(&log, 1, &[Text("a")])
        .append(&log, 1, &[Text("a")])
        .truncate(&log)
        .append(&log, 2, &[Text("b")])
        .append(&log, 2, &[Text("b")])
        .advance(None, 5);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM log"), ["'b'", "'b'"]);
    // Emptying what is not there is no fault.
    db.apply(&batch().truncate(&orders()).advance(Some(5), 6)).await.unwrap();
}

#[tokio::test]
async fn replays_in_any_order_converge_at_least_once() {
    let orders = orders();
    let log = layout("log", 0, &[("line", SourceType::Text)], true);
    // (offset, what): a life of two rows with deletes and a rebirth, and two lines of a table without key.
    let event = |i: i64| {
        let planned = Planned::new(AtLeastOnce).at(i);
        let lsn = i.unsigned_abs() + 100;
        match i {
            0 => planned.upsert(&orders, lsn, &[Num("1"), Text("a"), Bool(true)]),
            1 => planned.upsert(&orders, lsn, &[Num("2"), Text("b"), Bool(true)]),
            2 => planned.delete(&orders, lsn, &[Num("1")]),
            3 => planned.upsert(&orders, lsn, &[Num("1"), Text("reborn"), Null]),
            4 => planned.delete(&orders, lsn, &[Num("2")]),
            5 => planned.append(&log, lsn, &[Text("x")]),
            _ => planned.append(&log, lsn, &[Text("x")]),
        }
        .advance(None, i + 1)
    };
    for seed in 0..40_u64 {
        let mut db = Db::new().await;
        // Every event once in a random order, then random repeats: a linear congruential generator is random enough.
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut order: Vec<i64> = (0..7).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, usize::try_from(random(i as u64 + 1)).unwrap());
        }
        order.extend((0..10).map(|_| i64::try_from(random(7)).unwrap()));
        for i in &order {
            db.apply(&event(*i)).await.unwrap();
        }
        assert_eq!(db.rows("SELECT id, name, paid FROM orders"), ["1|'reborn'|NULL"], "seed {seed} {order:?}");
        assert_eq!(db.rows("SELECT line FROM log"), ["'x'", "'x'"], "seed {seed} {order:?}");
        assert_eq!(db.rows("SELECT next FROM whimbrel_offsets"), ["7"], "seed {seed} {order:?}");
    }
}

#[tokio::test]
async fn versions_of_deleted_rows_are_kept_for_the_grace_and_no_longer() {
    let mut db = Db::new().await;
    let orders = orders();
    let old = |i| Planned::new(AtLeastOnce).upsert(&orders, i, &[Num("1"), Text("old"), Null]);
    let delete = Planned::new(AtLeastOnce).delete(&orders, 5, &[Num("1")]);
    db.apply(&delete).await.unwrap();
    assert_eq!(db.apply(&old(4)).await.unwrap().skipped_older, 1);
    assert_eq!(db.rows("SELECT name FROM sqlite_schema WHERE name = 'orders'"), ["'orders'"]);
    assert_eq!(db.rows("SELECT count(*) FROM orders"), ["0"]);
    let mut later = Planned::new(AtLeastOnce);
    later.now_ms += 25 * 3_600_000;
    db.apply(&later).await.unwrap();
    assert_eq!(db.rows("SELECT count(*) FROM whimbrel_tombstones"), ["0"]);
}

#[tokio::test]
async fn an_existing_table_without_version_column_is_refused_with_the_line_to_run() {
    let mut db = Db::new().await;
    db.other()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'kept')")
        .unwrap();
    let t = layout("t", 1, &[("id", SourceType::Int64), ("a", SourceType::Text)], false);
    let planned = Planned::new(AtLeastOnce).upsert(&t, 1, &[Num("1"), Text("new")]).advance(None, 1);
    let error = db.apply(&planned).await.unwrap_err();
    let remedy = r#"ALTER TABLE "t" ADD COLUMN "_whimbrel_version" BLOB"#;
    assert!(error.kind == ErrorKind::SchemaMismatch && error.message.contains(remedy), "{error}");
    db.other().execute_batch(remedy).unwrap();
    // Rows from before the column are older than anything.
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT a FROM t"), ["'new'"]);
}

#[tokio::test]
async fn dead_letters_come_back_as_they_went_in() {
    cases::dead_letters_come_back_as_they_went_in(&mut Db::new().await.target).await;
}

#[tokio::test]
async fn an_event_parks_only_behind_a_dead_letter_that_is_still_there() {
    let mut db = Db::new().await;
    for (mode, table) in [(ExactlyOnce, "once"), (AtLeastOnce, "least")] {
        cases::an_event_parks_only_behind_a_dead_letter_that_is_still_there(&mut db.target, mode, table).await;
    }
}

#[tokio::test]
async fn a_missed_compare_and_set_moves_and_stores_nothing() {
    cases::a_missed_compare_and_set_moves_and_stores_nothing(&mut Db::new().await.target).await;
}

#[tokio::test]
async fn a_writer_in_another_process_makes_a_conflict_and_an_unopened_target_says_so() {
    let mut db = Db::new().await;
    let other = db.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    db.target.open.as_ref().unwrap().connection.busy_timeout(Duration::from_millis(10)).unwrap();
    assert_eq!(db.kind(&batch().advance(None, 1)).await, ErrorKind::Conflict);
    other.execute_batch("ROLLBACK").unwrap();
    db.apply(&batch().advance(None, 1)).await.unwrap();
    db.target.ping().await.unwrap();

    let path = db.dir.path().join("none/shop.db");
    let raw = raw::SqliteTarget { path, ledger: false, synchronous: raw::Synchronous::Full };
    let mut target = SqliteTarget::new(Settings::from_raw(&raw, Duration::from_secs(86_400)).unwrap());
    assert_eq!(target.open().await.unwrap_err().kind, ErrorKind::Storage);
    assert_eq!(target.ping().await.unwrap_err().kind, ErrorKind::Network);
}

#[tokio::test]
async fn every_source_type_is_kept_in_a_form_that_can_be_read_back() {
    let mut db = Db::new().await;
    let types = layout(
        "types",
        1,
        &[
            ("id", SourceType::Int64),
            ("price", SourceType::Decimal { scale: 2 }),
            ("any", SourceType::VariableDecimal),
            ("day", SourceType::DateDays),
            ("at", SourceType::TimestampMicros),
            ("nano", SourceType::TimestampNanos),
            ("zoned", SourceType::ZonedTimestamp),
            ("clock", SourceType::TimeMicros),
            ("blob", SourceType::Bytes),
            ("uuid", SourceType::Uuid),
            ("bits", SourceType::Bits { length: 3 }),
            ("tags", SourceType::Array(Box::new(SourceType::Text))),
            ("nan", SourceType::Float64),
            ("free", SourceType::Unknown),
        ],
        true,
    );
    let planned = batch()
        .upsert(
            &types,
            1,
            &[
                Num("1"),
                Text("BNI="),
                Json(r#"{"scale":1,"value":"/w=="}"#),
                Num("19782"),
                Num("1709243999999999"),
                Num("1709243999999999001"),
                Text("2024-02-29T21:59:59.5Z"),
                Num("3600000000"),
                Text("AP8="),
                Text("ABABABAB-abab-abab-abab-abababababab"),
                Text("BQ=="),
                Json(r#"["a",null]"#),
                Text("NaN"),
                Num("18446744073709551615"),
            ],
        )
        .advance(None, 1);
    let applied = db.apply(&planned).await.unwrap();
    assert_eq!(applied.lossy.len(), 1);
    assert_eq!((applied.lossy[0].column.as_str(), applied.lossy[0].count, applied.lossy[0].event), ("nano", 1, 0));
    assert_eq!(
        db.rows("SELECT * FROM types")[0].split('|').collect::<Vec<_>>(),
        [
            "1",
            "'12.34'",
            "'-0.1'",
            "'2024-02-29'",
            "'2024-02-29 21:59:59.999999'",
            "'2024-02-29 21:59:59.999999'",
            "'2024-02-29 21:59:59.500000Z'",
            "'01:00:00'",
            "x'00ff'",
            "'abababab-abab-abab-abab-abababababab'",
            "'101'",
            r#"'["a",null]'"#,
            "'NaN'",
            "'18446744073709551615'",
        ]
    );
    // What does not hold what its type says names column and event, never the value.
    let broken = batch()
        .upsert(&orders(), 1, &[Num("1"), Null, Null])
        .upsert(&orders(), 1, &[Num("2"), Null, Text("s3cret")])
        .advance(Some(1), 3);
    let error = db.apply(&broken).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)));
    assert!(error.message.contains("`paid`") && !error.message.contains("s3cret"), "{error}");
}
