//! SQLite: files on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use whimbrel_migrate::database::{Attempt, Database as _, Session};
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Direction, Entry, Id, Outcome, Progress};
use whimbrel_migrate::sql::sqlite::{Database, Settings};

use crate::runner::{Commands, Stage, convention, directory};

struct File {
    directory: TempDir,
}

impl File {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With rows 1 to `rows` in `t (id, n)`, `n` being 0.
    fn with_rows(rows: u32) -> Self {
        let file = Self::new();
        let text = format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT NOT NULL DEFAULT 0);
            WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) INSERT INTO t (id) SELECT i FROM s"
        );
        file.open().execute_batch(&text).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("shop.db")
    }

    fn open(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    fn number(&self, sql: &str) -> i64 {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn database(&self) -> Database {
        database(&self.path())
    }

    fn stage(&self, directory: &Path) -> Stage {
        Stage::new(Box::new(self.database()), directory)
    }

    async fn session(&self, lease: Duration) -> Box<dyn Session> {
        match self.database().lock("somebody@there (2)", lease).await.unwrap() {
            Attempt::Locked(session) => session,
            Attempt::Held { by, .. } => panic!("{by} has it"),
        }
    }

    /// What is in the directory, with contents.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    }
}

fn database(path: &Path) -> Database {
    Database::new(Settings { path: path.to_owned(), ledger: None }).unwrap()
}

fn entry(id: &str) -> Entry {
    Entry {
        id: Id::from_text(id).unwrap(),
        name: "x".to_owned(),
        checksum: String::new(),
        direction: Direction::Up,
        outcome: Outcome::Success,
        by: "me".to_owned(),
        started_at_ms: 1,
        finished_at_ms: Some(2),
        duration_ms: 1,
        attempts: 1,
        progress: Progress::default(),
        error: None,
    }
}

#[tokio::test]
async fn a_directory_of_golang_migrate_runs_as_it_is_up_and_down() {
    let file = File::new();
    let stage = file.stage(&convention("golang-migrate/sqlite"));
    assert_eq!(stage.must_up().await, ["1", "2", "10"]);
    assert_eq!(file.number("SELECT CAST(sum(total) AS INT) FROM orders WHERE unit_price > 0"), 10);
    assert_eq!(stage.must_up().await, [""; 0], "a second time there is nothing to do");
    assert_eq!(stage.must_down().await, ["10", "2", "1"]);
    assert_eq!(file.number("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'orders%'"), 0);
    assert_eq!(file.number("SELECT count(*) FROM whimbrel_migrations"), 0);
}

#[tokio::test]
async fn many_runners_at_once_apply_each_migration_once() {
    let file = File::with_rows(1);
    let names: Vec<_> = (1..=5).map(|n| format!("{n}_add.sql")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "UPDATE t SET n = n + 1;")).collect();
    let migrations = directory(&files);
    let stages: Vec<_> = (0..8).map(|_| file.stage(migrations.path())).collect();
    let done = futures_util::future::join_all(stages.iter().map(|stage| stage.must_up())).await;
    assert_eq!(done.iter().map(Vec::len).sum::<usize>(), 5, "{done:?}");
    assert_eq!(file.number("SELECT n FROM t"), 5);
}

#[tokio::test]
async fn a_lock_is_taken_over_when_it_is_outlived_and_its_old_holder_writes_nothing() {
    let file = File::new();
    let lease = Duration::from_millis(400);
    let mut old = file.session(lease).await;
    old.write(&entry("1")).await.unwrap();
    let Attempt::Held { by, outlived_in } = file.database().lock("me", lease).await.unwrap() else {
        panic!("it is held")
    };
    assert!(by.contains("somebody@there") && outlived_in <= lease);
    assert_eq!(file.database().holder().await.unwrap().as_deref(), Some("somebody@there (2)"));

    let keeper = old.keeper();
    for _ in 0..4 {
        tokio::time::sleep(lease / 2).await;
        keeper.renew().await.unwrap();
    }
    assert!(matches!(file.database().lock("me", lease).await.unwrap(), Attempt::Held { .. }), "it was renewed");

    tokio::time::sleep(lease * 3 / 2).await;
    let mut new = file.session(lease).await;
    for lost in [
        old.write(&entry("2")).await,
        old.erase(&Id::from_text("1").unwrap()).await,
        old.ledger().await.map(|_| ()),
        keeper.renew().await,
    ] {
        assert_eq!(lost.unwrap_err().kind, Kind::LockLost);
    }
    assert_eq!(new.ledger().await.unwrap(), [entry("1")]);
    old.release().await.unwrap();
    assert!(file.database().holder().await.unwrap().is_some(), "the old holder gives back nothing");
    new.release().await.unwrap();
    assert_eq!(file.database().holder().await.unwrap(), None);
}

#[tokio::test]
async fn the_lease_is_kept_through_a_transaction_longer_than_it() {
    let file = File::new();
    let migrations = directory(&[(
        "1_slow.sql",
        "CREATE TABLE a (n); INSERT INTO a WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 3000000) \
         SELECT max(i) FROM s;",
    )]);
    let mut stage = file.stage(migrations.path());
    stage.runner.options.lease = Duration::from_millis(150);
    let other = file.stage(migrations.path());
    let began = Instant::now();
    let (one, two) = tokio::join!(stage.must_up(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.must_up().await
    });
    assert!(began.elapsed() > Duration::from_millis(450), "slow enough to prove something: {:?}", began.elapsed());
    assert_eq!((one.len(), two.len()), (1, 0));
    assert_eq!(file.number("SELECT count(*) FROM a"), 1);
}

const BACKFILL: &str = "steps:\n  - backfill: {table: t, key: id, set: n = n + 1, batch: 50}\n";

#[tokio::test]
async fn a_backfill_that_was_stopped_goes_on_and_changes_each_row_once() {
    let file = File::with_rows(1_000);
    let migrations = directory(&[("1_fill.yaml", BACKFILL)]);
    let stage = file.stage(migrations.path());
    let cancel = stage.cancel.clone();
    let mut batches = 0;
    stage.heard.on(move |line| {
        batches += u32::from(line.starts_with("committed"));
        if batches == 3 {
            cancel.cancel();
        }
    });
    assert_eq!(stage.up().await.unwrap_err().kind, Kind::Cancelled);
    let part = file.number("SELECT sum(n) FROM t");
    assert!((150..1_000).contains(&part), "{part}");
    assert_eq!(i64::try_from(stage.heard.committed()).unwrap(), part, "what was told as committed is");

    let again = file.stage(migrations.path());
    assert_eq!(again.must_up().await, ["1"]);
    assert_eq!(file.number("SELECT count(*) FROM t WHERE n = 1"), 1_000);
    assert_eq!(i64::try_from(again.heard.committed()).unwrap(), 1_000 - part);
    let entries = file.database().ledger().await.unwrap();
    assert_eq!((entries[0].progress.total().done, entries[0].attempts), (1_000, 2));
}

/// The process that the next test kills.
#[tokio::test]
#[ignore = "run by `a_runner_that_is_killed_leaves_what_the_next_goes_on_from`, as a process of its own"]
async fn runs_until_it_is_killed() {
    let setting = |name| PathBuf::from(std::env::var_os(name).expect("it is run by another test"));
    let stage = Stage::new(Box::new(database(&setting("SQLITE_FILE"))), &setting("SQLITE_MIGRATIONS"));
    stage.must_up().await;
}

#[tokio::test]
async fn a_runner_that_is_killed_leaves_what_the_next_goes_on_from() {
    const ROWS: i64 = 30_000;
    let file = File::with_rows(30_000);
    let migrations = directory(&[
        ("1_a.sql", "CREATE TABLE a (n); INSERT INTO a VALUES (1);"),
        (
            "2_fill.yaml",
            "steps:\n  - sql: INSERT INTO a VALUES (2)\n  - backfill: {table: t, key: id, set: n = n + 1, batch: 20}\n",
        ),
        ("3_b.sql", "INSERT INTO a VALUES (3); VACUUM; INSERT INTO a VALUES (4);"),
    ]);
    let mut partly = 0;
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::runs_until_it_is_killed", "--ignored"])
            .env("SQLITE_FILE", file.path())
            .env("SQLITE_MIGRATIONS", migrations.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(40 + 35 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let done = file.number("SELECT sum(n) FROM t");
        partly += u32::from(0 < done && done < ROWS);
        assert_eq!(file.number("SELECT count(*) FROM t WHERE n > 1"), 0);
        // The next would wait for the lease of the killed one.
        file.open().execute("UPDATE whimbrel_migrations_lock SET expires_at_ms = 0", []).ok();
    }
    assert!(partly > 0, "at least one was killed in the middle");
    file.stage(migrations.path()).must_up().await;
    assert_eq!(file.number("SELECT count(*) FROM t WHERE n = 1"), ROWS);
    assert_eq!(file.number("SELECT count(*) * 100 + sum(n) FROM a"), 410);
}

#[tokio::test]
async fn a_writer_in_the_way_is_waited_for_with_retries() {
    let file = File::with_rows(1);
    let migrations = directory(&[("1_a.sql", "UPDATE t SET n = 7;")]);
    let stage = file.stage(migrations.path());
    let mut session = None;
    let path = file.path();
    // Another writer comes between the lock and the migration.
    stage.heard.on(move |line| {
        if line.starts_with("started") && session.is_none() {
            let connection = Connection::open(&path).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            session = Some(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(900));
                connection.execute_batch("COMMIT").unwrap();
            }));
        }
    });
    stage.must_up().await;
    assert!(stage.heard.has("retried SQLITE_BUSY 2"), "{:#?}", stage.heard.lines());
    assert_eq!(file.number("SELECT n FROM t"), 7);
}

#[tokio::test]
async fn a_failed_check_rolls_everything_back() {
    let file = File::with_rows(3);
    let migrations = directory(&[
        ("1_a.up.sql", "CREATE TABLE a (n); UPDATE t SET n = 1 WHERE id < 3;"),
        (
            "1_a.checks.yaml",
            "checks:\n  - count: {table: t, where: n = 1, equals: 2}\n  - count: {table: t, where: n = 0, equals: 0}\n",
        ),
    ]);
    let stage = file.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    assert_eq!(error.kind, Kind::CheckFailed);
    assert!(error.to_string().contains("1 such rows") && error.to_string().contains("rolled back"), "{error}");
    assert_eq!(file.number("SELECT sum(n) FROM t"), 0);
    assert_eq!(file.number("SELECT count(*) FROM sqlite_schema WHERE name = 'a'"), 0);
    let entries = file.database().ledger().await.unwrap();
    assert_eq!((entries[0].outcome, entries[0].progress.is_untouched()), (Outcome::Failed, true));
}

#[tokio::test]
async fn a_failed_statement_is_told_with_its_line_and_leaves_nothing() {
    let file = File::with_rows(1);
    let migrations = directory(&[("1_a.sql", "CREATE TABLE a (n);\n\nUPDATE nowhere SET n = 1;")]);
    let error = file.stage(migrations.path()).up().await.unwrap_err();
    assert_eq!((error.kind, &*error.code), (Kind::Database, "SQLITE_ERROR"));
    assert!(error.to_string().contains("step 2 (update nowhere), line 3"), "{error}");
    assert_eq!(file.number("SELECT count(*) FROM sqlite_schema WHERE name = 'a'"), 0);
}

#[tokio::test]
async fn a_table_is_rebuilt_as_sqlites_manual_says() {
    let file = File::new();
    let migrations = directory(&[
        (
            "1_a.sql",
            "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INT REFERENCES p (id)); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);",
        ),
        (
            "2_b.sql",
            "PRAGMA foreign_keys = ON;\nPRAGMA foreign_keys = OFF;\nCREATE TABLE q (id INTEGER PRIMARY KEY, x TEXT);\nINSERT INTO q (id) SELECT id FROM p;\n\
             DROP TABLE p;\nALTER TABLE q RENAME TO p;\nPRAGMA foreign_key_check;\nPRAGMA foreign_keys = ON;\n",
        ),
        ("3_c.sql", "DELETE FROM p;"),
        ("4_d.sql", "PRAGMA foreign_keys = ON;\nINSERT INTO p (id) VALUES (1);\nDELETE FROM p;"),
    ]);
    let stage = file.stage(migrations.path());
    let error = stage.up().await.unwrap_err();
    // The third did not see the settings of the second; the fourth's own hold.
    assert_eq!(
        (&*error.code, error.to_string().contains("step 3 (delete from p)")),
        ("SQLITE_CONSTRAINT", true),
        "{error}"
    );
    assert_eq!(file.number("SELECT count(*) FROM c"), 1);
}

#[tokio::test]
async fn what_runs_outside_of_transactions_does() {
    let file = File::with_rows(100);
    let migrations =
        directory(&[("1_a.sql", "PRAGMA journal_mode = WAL; UPDATE t SET n = 1; VACUUM; CREATE TABLE a (n);")]);
    file.stage(migrations.path()).must_up().await;
    let mode: String = file.open().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), file.number("SELECT sum(n) FROM t")), ("wal", 100));
}

#[tokio::test]
async fn a_dry_run_writes_nothing_at_all() {
    let missing = File::new();
    let migrations = directory(&[
        ("1_a.sql", "ALTER TABLE t ADD COLUMN m INT; UPDATE t SET m = 1;"),
        ("2_fill.yaml", "steps:\n  - backfill: {table: t, key: id, set: n = n + 1, where: id > 500, batch: 50}\n"),
        ("3_c.sql", "DELETE FROM nowhere;"),
    ]);
    let ids = [1, 2, 3].map(|id| Id::Version(id.into()));
    let predicted = missing.stage(migrations.path()).runner.predict(&ids, Direction::Up).await.unwrap();
    assert_eq!(predicted.len(), 3);
    assert_eq!(missing.contents(), BTreeMap::new(), "no file is made");

    for mode in ["DELETE", "WAL"] {
        let file = File::with_rows(1_000);
        file.open().execute_batch(&format!("PRAGMA journal_mode = {mode}; DELETE FROM t WHERE id > 900")).unwrap();
        let before = file.contents();
        assert_eq!(before.len(), 1, "nothing stands beside the file");
        let stage = file.stage(migrations.path());
        let predicted = stage.runner.predict(&ids, Direction::Up).await.unwrap();
        let fill = &predicted[1].1[0];
        assert_eq!((fill.touched, fill.exact, fill.chunks), (Some(400), true, Some(8)), "{fill:?}");
        assert_eq!(predicted[0].1[0].touched, Some(900));
        assert!(predicted[2].1[0].notes[0].contains("no such table"), "{predicted:?}");
        let lines = stage.runner.status().await.unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(file.database().sample().await.unwrap().rows, [("t".to_owned(), 900)]);
        assert_eq!(file.database().holder().await.unwrap(), None);
        assert_eq!(file.contents(), before, "{mode}");
    }
}

/// A plugin that runs these commands.
fn commands(up: &[&'static str]) -> Arc<Commands> {
    let select = r#"{"sql": "SELECT n, 'x' AS text FROM t WHERE id = ?1", "parameters": [2]}"#;
    Arc::new(Commands { up: up.to_vec(), select })
}

#[tokio::test]
async fn a_plugin_works_in_one_transaction_with_the_ledger() {
    let file = File::with_rows(3);
    let migrations = directory(&[("1_a.wasm", "\0asm\u{d}\0\u{1}\0")]);
    let good = r#"{"sql": "UPDATE t SET n = ?1 WHERE id > ?2", "parameters": [5, 1]}"#;
    let cases: [(&'static [&'static str], Kind, &str); 4] = [
        (&[r#"{"sql": "UPDATE t SET n = 9"}"#], Kind::CheckFailed, "not_five"),
        (&[r#"{"sql": "UPDATE t SET n = 9"}"#, r#"{"sql": "COMMIT"}"#], Kind::Database, "command"),
        (&[r#"{"sql": "UPDATE nowhere SET n = 9"}"#], Kind::Database, "SQLITE_ERROR"),
        (&["nonsense"], Kind::Database, "command"),
    ];
    for (up, kind, code) in cases {
        let mut stage = file.stage(migrations.path());
        stage.runner.programs = commands(up);
        let error = stage.up().await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (kind, code), "{error}");
        assert_eq!(file.number("SELECT sum(n) FROM t"), 0, "{up:?}");
    }
    let mut stage = file.stage(migrations.path());
    stage.runner.programs = commands(&[good]);
    stage.must_up().await;
    assert_eq!(file.number("SELECT sum(n) FROM t"), 10);
    assert!(stage.heard.has("committed 3 of t"), "{:#?}", stage.heard.lines());
}

#[tokio::test]
async fn a_long_statement_is_stopped_when_somebody_asks_to() {
    let file = File::with_rows(1);
    let migrations = directory(&[(
        "1_a.sql",
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s) UPDATE t SET n = (SELECT count(*) FROM s);",
    )]);
    let stage = file.stage(migrations.path());
    let cancel = stage.cancel.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let (done, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), stage.up()), stop);
    assert_eq!(done.expect("it ends at once").unwrap_err().kind, Kind::Cancelled);
    assert_eq!(file.database().holder().await.unwrap(), None, "the lock was given back");
}

#[tokio::test]
async fn a_statement_that_cannot_be_parsed_keeps_all_before_it_from_being_run() {
    let file = File::new();
    let files = directory(&[
        ("1_a.up.sql", "CREATE TABLE a (id INTEGER);"),
        ("2_b.up.sql", "INSERT INTO a VALUES (1);\nINSERT INTO not_there_yet VALUES (1);"),
        ("3_c.up.sql", "CREATE TABLE c (id INTEGER);\nCREATE TABEL d (id INTEGER);"),
    ]);
    let error = file.stage(files.path()).up().await.unwrap_err();
    assert!(error.to_string().starts_with("3, line 2: it cannot be parsed: "), "{error}");
    assert!(!file.path().exists(), "not even the file");
}
