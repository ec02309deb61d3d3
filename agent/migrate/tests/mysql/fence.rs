//! Who may migrate, and what a runner leaves that is gone: nothing is done twice.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use serde_json::json;
use whimbrel_migrate::database::Attempt;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Direction, Entry, Id, Outcome, Progress};

use super::Scene;
use crate::runner::{Stage, directory};

fn entry(id: &str, progress: Progress) -> Entry {
    Entry {
        id: Id::from_text(id).unwrap(),
        name: "x".to_owned(),
        checksum: String::new(),
        direction: Direction::Up,
        outcome: Outcome::Running,
        by: "me".to_owned(),
        started_at_ms: 1,
        finished_at_ms: None,
        duration_ms: 1,
        attempts: 1,
        progress,
        error: None,
    }
}

#[tokio::test]
async fn many_runners_at_once_apply_each_migration_once() {
    let scene = Scene::with_rows("many", 1).await;
    let names: Vec<_> = (1..=4).map(|n| format!("{n}_add.sql")).collect();
    let files: Vec<_> =
        names.iter().map(|name| (name.as_str(), "UPDATE t SET n = n + 1; ALTER TABLE t COMMENT 'x';")).collect();
    let migrations = directory(&files);
    let stages: Vec<_> = (0..6).map(|_| scene.stage(migrations.path())).collect();
    let done = futures_util::future::join_all(stages.iter().map(|stage| stage.must_up())).await;
    assert_eq!(done.iter().map(Vec::len).sum::<usize>(), 4, "{done:?}");
    assert_eq!(scene.number("SELECT n FROM t").await, 4);
    scene.close().await;
}

#[tokio::test]
async fn an_outlived_lock_is_taken_over_and_its_old_connection_is_ended_first() {
    let scene = Scene::with_rows("over", 1).await;
    let lease = Duration::from_millis(500);
    let mut old = scene.session(lease).await;
    old.write(&entry("1", Progress::default())).await.unwrap();
    let Attempt::Held { by, outlived_in } = scene.database().lock("me", lease).await.unwrap() else {
        panic!("it is held")
    };
    assert!(by.contains("somebody@there") && outlived_in <= lease, "{by} {outlived_in:?}");
    assert_eq!(scene.database().holder().await.unwrap().as_deref(), Some("somebody@there (2)"));
    let keeper = old.keeper();
    for _ in 0..4 {
        tokio::time::sleep(lease / 2).await;
        keeper.renew().await.unwrap();
    }
    assert!(matches!(scene.database().lock("me", lease).await.unwrap(), Attempt::Held { .. }), "it was renewed");

    tokio::time::sleep(lease * 3 / 2).await;
    let mut new = scene.session(lease).await;
    let lost = old.write(&entry("2", Progress::default())).await.unwrap_err();
    assert!(matches!(lost.kind, Kind::Connection | Kind::LockLost), "{lost:?}");
    assert_eq!(keeper.renew().await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(new.ledger().await.unwrap(), [entry("1", Progress::default())]);
    new.release().await.unwrap();
    assert_eq!(scene.database().holder().await.unwrap(), None);
    scene.close().await;
}

#[tokio::test]
async fn a_holder_whose_connection_is_gone_is_not_waited_for() {
    let scene = Scene::with_rows("gone", 1).await;
    let old = scene.session(Duration::from_secs(600)).await;
    drop(old);
    let mut tries = 0;
    while let Attempt::Held { .. } = scene.database().lock("me", Duration::from_secs(1)).await.unwrap() {
        tries += 1;
        assert!(tries < 50, "the lease of ten minutes is waited for");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.close().await;
}

#[tokio::test]
async fn a_holder_that_may_not_be_ended_is_waited_for_and_that_is_told() {
    let scene = Scene::with_rows("may_not", 1).await;
    let other = crate::support::unique("other");
    scene.run(&format!("CREATE USER '{other}'@'127.0.0.1' IDENTIFIED BY 'x'")).await;
    scene.run(&format!("GRANT ALL ON {}.* TO '{other}'@'127.0.0.1'", scene.name)).await;
    let lease = Duration::from_millis(300);
    let old = scene.session(lease).await;
    tokio::time::sleep(lease * 2).await;
    let database = scene.database_as(&other, "x");
    let Attempt::Held { by, .. } = database.lock("me", lease).await.unwrap() else { panic!("it was taken") };
    assert!(by.contains("may not end"), "{by}");
    old.release().await.unwrap();
    assert!(matches!(database.lock("me", lease).await.unwrap(), Attempt::Locked(_)));
    scene.run(&format!("DROP USER '{other}'@'127.0.0.1'")).await;
    scene.close().await;
}

/// Leaves the ledger as a runner does that died when it had begun a step.
async fn begun(scene: &Scene, migrations: &std::path::Path, step: u32, change: &str) -> Stage {
    let stage = scene.stage(migrations);
    let schema = schema_of(scene).await;
    let mut session = scene.session(Duration::from_secs(5)).await;
    let progress = Progress { step, begun: true, note: Some(json!({"schema": schema})), ..Progress::default() };
    let mut left = entry("1", progress);
    left.checksum.clone_from(&stage.runner.migrations[0].checksum);
    session.write(&left).await.unwrap();
    session.release().await.unwrap();
    if !change.is_empty() {
        scene.run(change).await;
    }
    stage
}

/// The schema as the engine itself notes it: taken from the ledger while a statement is at work.
async fn schema_of(scene: &Scene) -> String {
    let migrations = directory(&[(
        "900_probe.sql",
        "CREATE TABLE IF NOT EXISTS whimbrel_migrations (x int);\nCREATE TABLE t (x int);",
    )]);
    let probe = scene.stage(migrations.path());
    let noted = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let (url, into) = (
        scene.url(&crate::support::setting("MARIADB_USER"), &crate::support::setting("MARIADB_PASSWORD")),
        std::sync::Arc::clone(&noted),
    );
    probe.heard.on(move |line| {
        if line.starts_with("step started: create table t") {
            let (url, into) = (url.replace("mariadb://", "mysql://"), std::sync::Arc::clone(&into));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut conn = mysql_async::Conn::new(mysql_async::Opts::from_url(&url).unwrap()).await.unwrap();
                    let text = "SELECT json_value(progress, '$.note.schema') FROM whimbrel_migrations WHERE id = '900'";
                    *into.lock().unwrap() = conn.query_first(text).await.unwrap().unwrap();
                    conn.disconnect().await.unwrap();
                });
            })
            .join()
            .unwrap();
        }
    });
    assert_eq!(&*probe.up().await.unwrap_err().code, "ER_TABLE_EXISTS_ERROR");
    scene.run("DELETE FROM whimbrel_migrations").await;
    let schema = noted.lock().unwrap().clone();
    assert_eq!(schema.len(), 64, "{schema}");
    schema
}

#[tokio::test]
async fn a_definition_that_was_begun_and_not_carried_out_is_run() {
    let scene = Scene::with_rows("undone", 1).await;
    let migrations = directory(&[("1_a.sql", "ALTER TABLE t ADD COLUMN m int; UPDATE t SET m = 1;")]);
    let stage = begun(&scene, migrations.path(), 0, "").await;
    assert_eq!(stage.must_up().await, ["1"]);
    assert!(stage.heard.has("step started: alter table t"), "{:#?}", stage.heard.lines());
    assert_eq!(scene.number("SELECT m FROM t").await, 1);
    scene.close().await;
}

#[tokio::test]
async fn a_definition_that_was_begun_and_carried_out_is_not_run_again() {
    let scene = Scene::with_rows("done", 1).await;
    let migrations = directory(&[("1_a.sql", "ALTER TABLE t ADD COLUMN m int; UPDATE t SET m = 1;")]);
    let stage = begun(&scene, migrations.path(), 0, "ALTER TABLE t ADD COLUMN m int").await;
    assert_eq!(stage.must_up().await, ["1"]);
    assert!(!stage.heard.has("step started: alter table t"), "{:#?}", stage.heard.lines());
    assert_eq!(scene.number("SELECT m FROM t").await, 1);
    scene.close().await;
}

#[tokio::test]
async fn what_may_have_been_carried_out_in_part_is_left_to_people() {
    let scene = Scene::with_rows("partly", 1).await;
    scene.run("CREATE TABLE a (n int)").await;
    scene.run("CREATE TABLE b (n int)").await;
    let migrations = directory(&[("1_a.sql", "DROP TABLE a, b;")]);
    let stage = begun(&scene, migrations.path(), 0, "DROP TABLE a").await;
    let error = stage.up().await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    assert!(error.to_string().contains("--mark-applied 1"), "{error}");
    assert_eq!(scene.number("SELECT count(*) FROM b").await, 0, "b is still there");
    scene.close().await;
}

const BACKFILL: &str = "steps:\n  - backfill: {table: t, key: id, set: n = n + 1, batch: 50}\n";

#[tokio::test]
async fn a_backfill_that_was_stopped_goes_on_and_changes_each_row_once() {
    let scene = Scene::with_rows("fill", 1_000).await;
    let migrations = directory(&[("1_fill.yaml", BACKFILL)]);
    let stage = scene.stage(migrations.path());
    let cancel = stage.cancel.clone();
    let mut batches = 0;
    stage.heard.on(move |line| {
        batches += u32::from(line.starts_with("committed"));
        if batches == 3 {
            cancel.cancel();
        }
    });
    assert_eq!(stage.up().await.unwrap_err().kind, Kind::Cancelled);
    assert_eq!(scene.number("SELECT sum(n) FROM t").await, 150);
    assert_eq!(stage.heard.committed(), 150);
    let again = scene.stage(migrations.path());
    assert_eq!(again.must_up().await, ["1"]);
    assert_eq!(scene.number("SELECT count(*) FROM t WHERE n = 1").await, 1_000);
    assert_eq!(again.heard.committed(), 850);
    let entries = scene.database().ledger().await.unwrap();
    assert_eq!((entries[0].progress.total().done, entries[0].attempts), (1_000, 2));
    scene.close().await;
}

#[tokio::test]
async fn a_backfill_goes_by_keys_of_every_fit_type_and_refuses_others() {
    let scene = Scene::new("keys").await;
    scene
        .run(
            "CREATE TABLE k (
                a int unsigned NOT NULL UNIQUE, b decimal(20, 4) NOT NULL UNIQUE, c varchar(20) NOT NULL UNIQUE,
                d varbinary(20) NOT NULL UNIQUE, e datetime(6) NOT NULL UNIQUE, f uuid NOT NULL UNIQUE, g enum('z', 'y') NOT NULL,
                h double NOT NULL UNIQUE, i int UNIQUE, j int NOT NULL, n int NOT NULL DEFAULT 0, UNIQUE (g, j))",
        )
        .await;
    scene
        .run(
            "INSERT INTO k (a, b, c, d, e, f, g, h, i, j)
            SELECT 4294967295 - seq, seq * 10000000000.0001, concat('ä', seq, char(39)), unhex(lpad(hex(seq * 257), 8, 'ff')),
                '2026-01-31' + INTERVAL seq * 1000001 MICROSECOND, uuid(), 1 + seq % 2, seq / 3, nullif(seq, 7), seq
            FROM seq_1_to_500",
        )
        .await;
    let mut expected = 0;
    for key in ["a", "b", "c", "d", "e", "f", "[j, a]"] {
        let fill = format!("steps:\n  - backfill: {{table: k, key: {key}, set: n = n + 1, batch: 7}}\n");
        let migrations = directory(&[("1_fill.yaml", &fill)]);
        scene.stage(migrations.path()).must_up().await;
        expected += 1;
        let wrong = scene.number(&format!("SELECT count(*) FROM k WHERE n <> {expected}")).await;
        assert_eq!(wrong, 0, "by {key}");
        scene.run("DELETE FROM whimbrel_migrations").await;
    }
    for key in ["h", "i", "j", "g", "x"] {
        let fill = format!("steps:\n  - backfill: {{table: k, key: {key}, set: n = n + 1}}\n");
        let migrations = directory(&[("1_fill.yaml", &fill)]);
        let error = scene.stage(migrations.path()).up().await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused, "by {key}: {error}");
    }
    scene.close().await;
}

/// The process that the next test kills.
#[tokio::test]
#[ignore = "run by `a_runner_that_is_killed_leaves_what_the_next_goes_on_from`, as a process of its own"]
async fn runs_until_it_is_killed() {
    let setting = |name| std::env::var(name).expect("it is run by another test");
    let settings = whimbrel_migrate::sql::mysql::Settings { url: setting("MARIADB_URL"), ca_file: None, ledger: None };
    let database = whimbrel_migrate::sql::mysql::open(settings).unwrap();
    Stage::new(database, &PathBuf::from(setting("MARIADB_MIGRATIONS"))).must_up().await;
}

#[tokio::test]
async fn a_runner_that_is_killed_leaves_what_the_next_goes_on_from() {
    let scene = Scene::with_rows("killed", 3_000).await;
    let migrations = directory(&[
        ("1_a.sql", "CREATE TABLE a (n int); INSERT INTO a VALUES (1); ALTER TABLE a ADD COLUMN m int;"),
        (
            "2_fill.yaml",
            "steps:\n  - sql: ALTER TABLE t ADD COLUMN x int\n  - backfill: {table: t, key: id, set: n = n + 1, batch: 10}\n  - sql: ALTER TABLE t ADD KEY (n)\n",
        ),
        (
            "3_b.sql",
            "INSERT INTO a (n) VALUES (3); CREATE TABLE b (n int); INSERT INTO b VALUES (4); ALTER TABLE a ADD KEY (n);",
        ),
    ]);
    let (mut partly, mut round) = (0, 0_u64);
    // A busy machine may need longer before anything is done.
    while round < 8 || (partly == 0 && round < 60) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mysql::fence::runs_until_it_is_killed", "--ignored"])
            .env(
                "MARIADB_URL",
                scene.url(&crate::support::setting("MARIADB_USER"), &crate::support::setting("MARIADB_PASSWORD")),
            )
            .env("MARIADB_MIGRATIONS", migrations.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(60 + 45 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        round += 1;
        let done = scene.number("SELECT coalesce(sum(n), 0) FROM t").await;
        partly += u32::from(0 < done && done < 3_000);
        assert_eq!(scene.number("SELECT count(*) FROM t WHERE n > 1").await, 0);
    }
    assert!(partly > 0, "at least one was killed in the middle");
    scene.stage(migrations.path()).must_up().await;
    assert_eq!(scene.number("SELECT count(*) FROM t WHERE n = 1").await, 3_000);
    assert_eq!(scene.number("SELECT count(*) * 100 + sum(n) FROM a").await, 204);
    assert_eq!(scene.number("SELECT count(*) * 100 + sum(n) FROM b").await, 104);
    scene.close().await;
}

#[tokio::test]
async fn a_definition_whose_runner_was_killed_is_ended_before_it_is_run_again() {
    let scene = Scene::with_rows("ddl", 400_000).await;
    scene
        .run("ALTER TABLE t ADD COLUMN text varchar(100) NOT NULL DEFAULT 'some words that make the rows longer'")
        .await;
    let migrations =
        directory(&[("1_a.sql", "ALTER TABLE t ADD COLUMN m int, ALGORITHM = COPY; UPDATE t SET m = 1 WHERE id = 1;")]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mysql::fence::runs_until_it_is_killed", "--ignored"])
        .env(
            "MARIADB_URL",
            scene.url(&crate::support::setting("MARIADB_USER"), &crate::support::setting("MARIADB_PASSWORD")),
        )
        .env("MARIADB_MIGRATIONS", migrations.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let at_it =
        "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'copy to tmp%'";
    let mut looks = 0;
    while scene.number(at_it).await == 0 {
        looks += 1;
        assert!(looks < 1_000, "the statement was never seen at work");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scene.number(at_it).await, 1, "the server goes on without its client");
    let stage = scene.stage(migrations.path());
    assert_eq!(stage.must_up().await, ["1"]);
    assert_eq!(scene.number("SELECT sum(m) FROM t").await, 1);
    assert_eq!(scene.database().ledger().await.unwrap()[0].attempts, 2);
    scene.close().await;
}

#[tokio::test]
async fn how_far_a_definition_is_is_told_while_it_runs() {
    let scene = Scene::with_rows("measured", 800_000).await;
    let migrations = directory(&[(
        "1_a.sql",
        "ALTER TABLE t ADD COLUMN m varchar(200) DEFAULT 'x', ADD KEY (n, m), ALGORITHM = COPY;",
    )]);
    let stage = scene.stage(migrations.path());
    stage.must_up().await;
    // Which of the two stages is seen is a matter of speed.
    let lines = stage.heard.lines();
    let measured = lines
        .iter()
        .position(|line| line.starts_with("measured alter table t: ") && line.ends_with("of 2"))
        .unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(lines.iter().skip(measured).any(|line| line == "step ended: alter table t well"), "{lines:#?}");
    scene.close().await;
}
