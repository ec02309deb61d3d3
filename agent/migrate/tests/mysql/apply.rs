//! What migrations do: directories as they are, transactions, checks, waiting for locks, dry runs.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Direction, Id, Outcome};

use super::Scene;
use crate::runner::{Commands, convention, directory};

#[tokio::test]
async fn a_directory_of_flyway_runs_as_it_is_up_and_down() {
    let scene = Scene::new("flyway").await;
    let stage = scene.stage(&convention("flyway/mariadb"));
    assert_eq!(stage.must_up().await, ["1", "2", "3", "R:totals"]);
    assert_eq!(scene.number("SELECT CAST(sum(total) * 10 AS INT) FROM totals").await, 210);
    assert_eq!(stage.must_up().await, [""; 0], "a second time there is nothing to do");
    assert_eq!(stage.must_down().await, ["3", "2", "1"]);
    let left =
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'";
    assert_eq!(scene.number(left).await, 2, "the ledger and its lock");
    scene.close().await;
}

#[tokio::test]
async fn rows_are_changed_in_one_transaction_with_the_ledger() {
    let scene = Scene::with_rows("rows", 3).await;
    let migrations = directory(&[("1_a.sql", "SET @n = 5; UPDATE t SET n = @n; INSERT INTO t VALUES (1, 1);")]);
    let stage = scene.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::Database, "ER_DUP_ENTRY"));
    assert!(error.to_string().contains("step 3 (insert into t), line 1"), "{error}");
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0);
    let entries = scene.database().ledger().await.unwrap();
    assert_eq!((entries[0].outcome, entries[0].progress.is_untouched()), (Outcome::Failed, true));
    scene.close().await;
}

#[tokio::test]
async fn a_failed_definition_leaves_what_was_before_it_and_goes_on_from_there() {
    let scene = Scene::with_rows("later", 3).await;
    let migrations = directory(&[(
        "1_a.sql",
        "SET @n = 5; CREATE TABLE a (n int); UPDATE t SET n = n + @n; CREATE TABLE b (n int); INSERT INTO b VALUES (@n);",
    )]);
    scene.run("CREATE TABLE b (x int)").await;
    let stage = scene.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::Database, "ER_TABLE_EXISTS_ERROR"));
    let entries = scene.database().ledger().await.unwrap();
    let entry = &entries[0];
    assert_eq!((entry.outcome, entry.progress.step, entry.progress.begun), (Outcome::Failed, 3, false));
    scene.run("DROP TABLE b").await;
    assert_eq!(stage.must_up().await, ["1"]);
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 15, "once");
    assert_eq!(scene.number("SELECT n FROM b").await, 5, "what the session was set to is set again");
    scene.close().await;
}

#[tokio::test]
async fn a_failed_check_rolls_back_what_it_can_and_has_the_rest_undone() {
    let scene = Scene::with_rows("checks", 3).await;
    let migrations = directory(&[
        ("1_a.up.sql", "UPDATE t SET n = 1 WHERE id < 3;"),
        ("1_a.down.sql", "UPDATE t SET n = 0;"),
        (
            "1_a.checks.yaml",
            "checks:\n  - count: {table: t, where: n = 1, equals: 2}\n  - count: {table: t, where: n = 0, equals: 0}\n",
        ),
    ]);
    let error = scene.stage(migrations.path()).up().await.unwrap_err();
    assert_eq!(error.kind, Kind::CheckFailed);
    assert!(error.to_string().contains("1 such rows") && error.to_string().contains("rolled back"), "{error}");
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0);

    let migrations = directory(&[
        ("1_a.up.sql", "CREATE TABLE a (n int); UPDATE t SET n = 1;"),
        ("1_a.down.sql", "UPDATE t SET n = 0; DROP TABLE a;"),
        (
            "1_a.checks.yaml",
            "checks:\n  - query: {sql: SELECT sum(n) FROM t, equals: 3}\n  - query: {sql: 'SELECT 1.50', equals: 1.5}\n  \
             - equal: {left: SELECT count(*) FROM a, right: SELECT count(*) FROM t}\n",
        ),
    ]);
    scene.run("DELETE FROM whimbrel_migrations").await;
    let stage = scene.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    assert_eq!(error.kind, Kind::CheckFailed);
    assert!(error.to_string().contains("undone by its down"), "{error}");
    let checked =
        |word| stage.heard.lines().iter().filter(|line| line.starts_with("checked") && line.contains(word)).count();
    assert_eq!((checked(": well"), checked("different values")), (2, 1), "{:#?}", stage.heard.lines());
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0);
    scene.close().await;
}

#[tokio::test]
async fn a_row_that_is_locked_is_waited_for_with_retries() {
    let scene = Scene::with_rows("rowlock", 3).await;
    let migrations = directory(&[("1_a.sql", "UPDATE t SET n = n + 1 WHERE id = 1; UPDATE t SET n = n + 1;")]);
    let stage = scene.stage(migrations.path());
    let mut other = scene.connection().await;
    other.query_drop("START TRANSACTION; UPDATE t SET n = 0 WHERE id = 3").await.unwrap();
    let free = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        other.query_drop("ROLLBACK").await.unwrap();
    };
    tokio::join!(stage.must_up(), free);
    assert!(stage.heard.has("retried ER_LOCK_WAIT_TIMEOUT 2"), "{:#?}", stage.heard.lines());
    assert!(stage.heard.has("blocked 1"), "{:#?}", stage.heard.lines());
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 4, "the first statement was not done twice");
    scene.close().await;
}

#[tokio::test]
async fn a_table_in_use_is_waited_for_with_retries_and_who_waits_is_told() {
    let scene = Scene::with_rows("tablelock", 3).await;
    let migrations = directory(&[("1_a.sql", "ALTER TABLE t ADD COLUMN m int;")]);
    let mut stage = scene.stage(migrations.path());
    stage.runner.options.lock_timeout = Duration::from_secs(2);
    let (mut reader, mut behind) = (scene.connection().await, scene.connection().await);
    reader.query_drop("START TRANSACTION; SELECT * FROM t").await.unwrap();
    let free = async {
        tokio::time::sleep(Duration::from_millis(2_600)).await;
        reader.query_drop("COMMIT").await.unwrap();
    };
    let behind = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        behind.query_drop("SELECT * FROM t").await.unwrap();
    };
    tokio::join!(stage.must_up(), free, behind);
    assert!(stage.heard.has("retried ER_LOCK_WAIT_TIMEOUT 2"), "{:#?}", stage.heard.lines());
    assert!(stage.heard.has("by us"), "{:#?}", stage.heard.lines());
    assert_eq!(scene.number("SELECT count(m) + count(*) FROM t").await, 3);
    scene.close().await;
}

#[tokio::test]
async fn routines_run_in_a_transaction_of_their_own() {
    let scene = Scene::with_rows("routine", 3).await;
    let migrations = directory(&[
        (
            "1_a.sql",
            "DELIMITER //\nCREATE PROCEDURE add_one()\nBEGIN\n  UPDATE t SET n = n + 1;\n  INSERT INTO t VALUES (1, 1);\nEND//\nDELIMITER ;\n",
        ),
        ("2_b.sql", "CALL add_one();"),
    ]);
    let stage = scene.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    assert_eq!((&*error.code, error.to_string().contains("step 1 (call add_one)")), ("ER_DUP_ENTRY", true), "{error}");
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0, "it was rolled back");
    scene.run("DELETE FROM t WHERE id = 1").await;
    assert_eq!(stage.must_up().await, ["2"]);
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 3);
    scene.close().await;
}

#[tokio::test]
async fn a_long_statement_is_ended_when_somebody_asks_to_stop() {
    let scene = Scene::with_rows("stop", 1).await;
    let migrations = directory(&[("1_a.sql", "UPDATE t SET n = sleep(20) + 1;")]);
    let stage = scene.stage(migrations.path());
    let cancel = stage.cancel.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    };
    let (done, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(8), stage.up()), stop);
    assert_eq!(done.expect("it ends at once").unwrap_err().kind, Kind::Cancelled);
    assert_eq!(scene.number("SELECT n FROM t").await, 0);
    assert_eq!(scene.database().holder().await.unwrap(), None, "the lock was given back");
    scene.close().await;
}

#[tokio::test]
async fn a_dry_run_by_a_user_who_may_only_read_writes_nothing() {
    let scene = Scene::with_rows("dry", 1_000).await;
    let reader = crate::support::unique("reader");
    scene.run(&format!("CREATE USER '{reader}'@'127.0.0.1' IDENTIFIED BY 'x'")).await;
    scene.run(&format!("GRANT SELECT ON {}.* TO '{reader}'@'127.0.0.1'", scene.name)).await;
    let migrations = directory(&[
        ("1_a.sql", "UPDATE t SET n = 1 WHERE id < 100; ALTER TABLE t ADD COLUMN m int;"),
        ("2_fill.yaml", "steps:\n  - backfill: {table: t, key: id, set: n = n + 1, where: id > 500, batch: 50}\n"),
        ("3_c.sql", "DELETE FROM nowhere;"),
    ]);
    let stage = crate::runner::Stage::new(scene.database_as(&reader, "x"), migrations.path());
    let ids = [1, 2, 3].map(|id| Id::Version(id.into()));
    let predicted = stage.runner.predict(&ids, Direction::Up).await.unwrap();
    let fill = &predicted[1].1[0];
    assert_eq!((fill.touched, fill.exact, fill.chunks), (Some(500), true, Some(10)), "{fill:?}");
    assert!(predicted[0].1[0].touched.is_some() && predicted[0].1[1].touched.is_some(), "{predicted:?}");
    assert!(
        predicted[2].1[0].notes[0].contains("doesn't exist") || predicted[2].1[0].notes[0].contains("denied"),
        "{predicted:?}"
    );
    assert_eq!(stage.runner.status().await.unwrap().len(), 3);
    assert_eq!(stage.runner.database.holder().await.unwrap(), None);
    let rows = stage.runner.database.sample().await.unwrap().rows;
    assert_eq!((rows.len(), &*rows[0].0), (1, "t"));
    let tables = format!("SELECT count(*) FROM information_schema.tables WHERE table_schema = '{}'", scene.name);
    assert_eq!(scene.number(&tables).await, 1, "there is no ledger");
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0);
    let error = stage.up().await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::Database, "ER_TABLEACCESS_DENIED_ERROR"), "{error}");
    scene.run(&format!("DROP USER '{reader}'@'127.0.0.1'")).await;
    scene.close().await;
}

/// A plugin that runs these commands.
fn commands(up: &[&'static str]) -> std::sync::Arc<Commands> {
    let select = r#"{"sql": "SELECT n, 'x' AS text FROM t WHERE id = ?", "parameters": [2]}"#;
    std::sync::Arc::new(Commands { up: up.to_vec(), select })
}

#[tokio::test]
async fn a_plugin_works_in_one_transaction_with_the_ledger() {
    let scene = Scene::with_rows("plugin", 3).await;
    let migrations = directory(&[("1_a.wasm", "\0asm\u{d}\0\u{1}\0")]);
    let cases: [(&'static [&'static str], Kind, &str); 4] = [
        (&[r#"{"sql": "UPDATE t SET n = 9"}"#], Kind::CheckFailed, "not_five"),
        (&[r#"{"sql": "UPDATE t SET n = 9"}"#, r#"{"sql": "CREATE TABLE x (n int)"}"#], Kind::Database, "command"),
        (&[r#"{"sql": "UPDATE nowhere SET n = 9"}"#], Kind::Database, "ER_NO_SUCH_TABLE"),
        (&["nonsense"], Kind::Database, "command"),
    ];
    for (up, kind, code) in cases {
        let mut stage = scene.stage(migrations.path());
        stage.runner.programs = commands(up);
        let error = stage.up().await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (kind, code), "{error}");
        assert_eq!(scene.number("SELECT sum(n) FROM t").await, 0, "{up:?}");
    }
    let mut stage = scene.stage(migrations.path());
    stage.runner.programs = commands(&[r#"{"sql": "UPDATE t SET n = ? WHERE id > ?", "parameters": [5, 1]}"#]);
    stage.must_up().await;
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 10);
    assert!(stage.heard.has("committed 3 of t"), "{:#?}", stage.heard.lines());
    scene.close().await;
}

#[tokio::test]
async fn a_statement_that_cannot_be_parsed_keeps_all_before_it_from_being_run() {
    let scene = Scene::new("unparsed").await;
    let files = directory(&[
        ("1_a.up.sql", "CREATE TABLE a (id int);"),
        ("2_b.up.sql", "INSERT INTO a VALUES (1);\nINSERT INTO not_there_yet VALUES (1);"),
        ("3_c.up.sql", "CREATE TABLE c (id int);\nCREATE TABEL d (id int);"),
    ]);
    let stage = scene.stage(files.path());
    let error = stage.up().await.unwrap_err();
    assert!(error.to_string().starts_with("3, line 2: it cannot be parsed: "), "{error}");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()";
    assert_eq!(scene.number(tables).await, 0, "not even the ledger");
}
