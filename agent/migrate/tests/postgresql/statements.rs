//! Statements as they run: waited for, looked at, and found half done.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::error::Kind;

use super::{Scene, sql, until};
use crate::support::runner;

#[tokio::test]
async fn a_table_that_somebody_holds_is_tried_again_and_given_up_in_the_end() {
    let scene = Scene::new("timeout").await;
    scene.run("CREATE TABLE a (b int)").await;
    let (mut runner, told) = runner(scene.open(), sql(&["CREATE TABLE c (d int); ALTER TABLE a ADD e int"]), "one");
    runner.options.lock_timeout = Duration::from_millis(200);
    runner.options.lock_retries = 1;
    let other = scene.other().await;
    other.batch_execute("BEGIN; LOCK TABLE a IN ACCESS SHARE MODE").await.unwrap();
    let cancel = CancellationToken::new();
    let failed = runner.up(None, &cancel).await.unwrap_err();
    assert_eq!((failed.kind, &*failed.code), (Kind::Transient, "lock_not_available"));
    assert_eq!(told.lines().iter().filter(|line| line.starts_with("Retried")).count(), 1);
    assert_eq!(scene.value("SELECT to_regclass('c')").await, "");

    runner.options.lock_retries = 10;
    let before = told.lines().len();
    let free = async {
        while !told.lines()[before..].iter().any(|line| line.starts_with("Retried")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), free);
    ran.unwrap();
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}

#[tokio::test]
async fn whom_a_statement_waits_for_and_who_waits_for_it_is_told() {
    let scene = Scene::new("blocked").await;
    scene.run("CREATE TABLE a (b int)").await;
    let (runner, told) = runner(scene.open(), sql(&["ALTER TABLE a ADD c int"]), "one");
    let other = scene.other().await;
    other.batch_execute("SET application_name = 'holder'; BEGIN; LOCK TABLE a IN ACCESS SHARE MODE").await.unwrap();
    let reader = scene.other().await;
    reader.batch_execute("SET application_name = 'reader'").await.unwrap();
    let looks = async {
        let waits = "SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE NOT granted AND application_name LIKE 'whimbrel%' AND datname = current_database())";
        until(&scene.client, waits).await;
        let read = reader.batch_execute("SELECT * FROM a");
        let free = async {
            while !told.has("application: \"holder\"") || !told.has("application: \"reader\"") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other.batch_execute("COMMIT").await.unwrap();
        };
        let (read, ()) = tokio::join!(read, free);
        read.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), looks);
    ran.unwrap();
    let lines = told.lines();
    let blocked: Vec<_> = lines.iter().filter(|line| line.starts_with("Blocked")).collect();
    assert!(blocked.iter().any(|line| line.contains("by_us: true") && line.contains("reader")), "{blocked:#?}");
    assert!(blocked.iter().any(|line| line.contains("by_us: false") && line.contains("AccessExclusiveLock on a")));
    assert!(blocked.last().unwrap().contains("sessions: []"), "{blocked:#?}");
    scene.close().await;
}

#[tokio::test]
async fn an_index_that_is_being_built_tells_how_far_it_is() {
    let scene = Scene::new("progress").await;
    scene.run("CREATE TABLE big (a bigint, b text); INSERT INTO big SELECT i, md5(i::text) FROM generate_series(1, 600000) i").await;
    let text =
        "SET maintenance_work_mem = '1MB'; SET max_parallel_maintenance_workers = 0; CREATE INDEX big_i ON big (b, a);";
    let (runner, told) = runner(scene.open(), sql(&[text]), "one");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    let lines = told.lines();
    let measured: Vec<_> = lines.iter().filter(|line| line.starts_with("Measured")).collect();
    assert!(
        measured.iter().any(|line| line.contains("create index: building index") && line.contains("total: Some(")),
        "{lines:#?}"
    );
    scene.close().await;
}

#[tokio::test]
async fn a_concurrent_index_that_was_cut_off_is_dropped_and_built_again() {
    let scene = Scene::new("concurrently").await;
    scene.run("CREATE TABLE a (b int); INSERT INTO a SELECT generate_series(1, 1000)").await;
    let text = "CREATE TABLE before (n int); CREATE INDEX CONCURRENTLY a_b ON a (b); CREATE TABLE after (n int)";
    let (runner, _) = runner(scene.open(), sql(&[text]), "one");
    // The build waits for a transaction that is older than it; its session is ended meanwhile.
    let old = scene.other().await;
    old.batch_execute("BEGIN; INSERT INTO a VALUES (0)").await.unwrap();
    let killer = async {
        until(
            &scene.client,
            "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('a_b') AND NOT indisvalid)",
        )
        .await;
        assert_eq!(scene.value("SELECT progress->>'begun' FROM whimbrel_migrations").await, "true");
        scene.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%' AND pid <> pg_backend_pid() AND datname = current_database()").await;
        old.batch_execute("COMMIT").await.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), killer);
    ran.unwrap();
    assert_eq!(scene.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_b'::regclass").await, "true");
    assert_eq!(scene.value("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").await, "1");
    assert_eq!(scene.value("SELECT to_regclass('after')").await, "after");
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}

#[tokio::test]
async fn a_concurrent_index_that_was_built_but_not_noted_is_not_built_again() {
    let scene = Scene::new("noted").await;
    scene.run("CREATE TABLE a (b int)").await;
    for (text, prepare) in [
        ("CREATE INDEX CONCURRENTLY a_b ON a (b)", "CREATE INDEX a_b ON a (b)"),
        ("CREATE INDEX CONCURRENTLY ON a (b)", "CREATE INDEX ON a (b)"),
        ("DROP INDEX CONCURRENTLY a_b", "DROP INDEX IF EXISTS a_b"),
        ("VACUUM a", "SELECT 1"),
    ] {
        scene
            .run("DROP TABLE IF EXISTS a, whimbrel_migrations; CREATE TABLE a (b int); CREATE INDEX other ON a (b)")
            .await;
        let (first, _) = runner(scene.open(), sql(&["SELECT 1"]), "one");
        first.up(None, &CancellationToken::new()).await.unwrap();
        // What a run leaves that was cut off between the statement and the ledger.
        scene.run(prepare).await;
        scene
            .run("UPDATE whimbrel_migrations SET outcome = 'running', progress =
                jsonb_build_object('step', 0, 'begun', true, 'note', jsonb_build_object('indexes', ARRAY['other'::regclass::oid::bigint]))")
            .await;
        let indexes = scene.value("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").await;
        let (again, told) = runner(scene.open(), sql(&[text]), "two");
        again
            .up(None, &CancellationToken::new())
            .await
            .unwrap_or_else(|failed| panic!("{text}: {failed} {:#?}", told.lines()));
        assert_eq!(
            scene.value("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").await,
            indexes,
            "{text}"
        );
        assert_eq!(scene.ledger().await, "1 up success 2");
    }
    scene.close().await;
}

#[tokio::test]
async fn a_concurrent_index_that_the_server_refuses_leaves_nothing_behind() {
    let scene = Scene::new("refused").await;
    scene.run("CREATE TABLE a (b int); INSERT INTO a VALUES (1), (1)").await;
    let (runner, _) = runner(scene.open(), sql(&["CREATE UNIQUE INDEX CONCURRENTLY a_b ON a (b)"]), "one");
    let failed = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.code, "unique_violation");
    assert_eq!(scene.value("SELECT count(*) FROM pg_index WHERE indrelid = 'a'::regclass").await, "0");
    assert_eq!(scene.value("SELECT progress->>'begun' FROM whimbrel_migrations").await, "");
    scene.run("DELETE FROM a").await;
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}

#[tokio::test]
async fn a_step_that_nobody_can_tell_of_is_left_to_people() {
    let scene = Scene::new("unknown").await;
    scene.run("CREATE TABLE a (b int); CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO a VALUES (1); COMMIT; PERFORM pg_sleep(60); END $$").await;
    let (runner, _) = runner(scene.open(), sql(&["-- whimbrel: no-transaction\nCALL p()"]), "one");
    let killer = async {
        until(&scene.client, "SELECT count(*) = 1 FROM a").await;
        scene.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'CALL p()' AND datname = current_database()").await;
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), killer);
    let failed = ran.unwrap_err();
    assert_eq!(failed.kind, Kind::Refused);
    assert!(failed.to_string().contains("look yourself"), "{failed}");
    assert_eq!(scene.value("SELECT count(*) FROM a").await, "1");
    scene.close().await;
}

#[tokio::test]
async fn two_that_met_in_a_deadlock_are_tried_again() {
    let scene = Scene::new("deadlock").await;
    scene
        .run("CREATE TABLE a (b int); CREATE TABLE c (d int); INSERT INTO a VALUES (0); INSERT INTO c VALUES (0)")
        .await;
    let text = "SET deadlock_timeout = '100ms'; UPDATE a SET b = b + 1; SELECT pg_sleep(0.5); UPDATE c SET d = d + 1";
    let (runner, told) = runner(scene.open(), sql(&[text]), "one");
    let other = scene.other().await;
    let meets = async {
        until(&scene.client, "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(0.5)%' AND datname = current_database())").await;
        other.batch_execute("SET deadlock_timeout = '10s'; BEGIN; UPDATE c SET d = d + 10").await.unwrap();
        other.batch_execute("UPDATE a SET b = b + 10; COMMIT").await.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), meets);
    ran.unwrap();
    assert!(told.has("deadlock_detected"), "{:#?}", told.lines());
    assert_eq!(scene.value("SELECT a.b || ' ' || c.d FROM a, c").await, "11 11");
    scene.close().await;
}

#[tokio::test]
async fn a_new_enum_value_can_be_used_by_the_next_step() {
    let scene = Scene::new("enum").await;
    let text =
        "CREATE TYPE e AS ENUM ('x'); CREATE TABLE a (b e); ALTER TYPE e ADD VALUE 'y'; INSERT INTO a VALUES ('y');";
    let (runner, _) = runner(scene.open(), sql(&[text]), "one");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.value("SELECT b FROM a").await, "y");
    scene.close().await;
}

#[tokio::test]
async fn a_concurrent_index_waits_for_older_transactions_as_long_as_it_takes() {
    let scene = Scene::new("patient").await;
    scene.run("CREATE TABLE a (b int)").await;
    let text = "CREATE INDEX CONCURRENTLY a_b ON a (b); CREATE TABLE c AS SELECT current_setting('lock_timeout') AS t";
    let (mut runner, told) = runner(scene.open(), sql(&[text]), "one");
    runner.options.lock_timeout = Duration::from_millis(200);
    let old = scene.other().await;
    old.batch_execute("BEGIN; INSERT INTO a VALUES (0)").await.unwrap();
    let free = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        old.batch_execute("COMMIT").await.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), free);
    ran.unwrap();
    assert!(!told.has("Retried") && told.has("Blocked"), "{:#?}", told.lines());
    assert_eq!(scene.value("SELECT t FROM c").await, "200ms");
    scene.close().await;
}

#[tokio::test]
async fn a_partition_that_was_half_detached_is_finished() {
    let scene = Scene::new("detach").await;
    scene
        .run(
            "CREATE TABLE a (b int) PARTITION BY LIST (b); CREATE TABLE a1 PARTITION OF a FOR VALUES IN (1);
            INSERT INTO a VALUES (1)",
        )
        .await;
    let (runner, _) = runner(scene.open(), sql(&["ALTER TABLE a DETACH PARTITION a1 CONCURRENTLY"]), "one");
    // The detaching waits for whoever reads the table; its session is ended meanwhile.
    let reader = scene.other().await;
    reader.batch_execute("BEGIN; SELECT * FROM a").await.unwrap();
    let killer = async {
        until(&scene.client, "SELECT EXISTS (SELECT 1 FROM pg_inherits WHERE inhdetachpending)").await;
        scene.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE a DET%' AND datname = current_database()").await;
        reader.batch_execute("COMMIT").await.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), killer);
    ran.unwrap();
    assert_eq!(scene.value("SELECT count(*) FROM pg_inherits").await, "0");
    assert_eq!(scene.value("SELECT b FROM a1").await, "1");
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}
