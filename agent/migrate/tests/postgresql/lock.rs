//! The lock: one at a time, outlived by nobody who could still write.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::database::{Attempt, Database, Session};
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Direction, Entry, Id, Outcome, Progress};
use whimbrel_migrate::sql::postgresql::{Settings, open};

use super::{Scene, connect, sql, until, url, url_of};
use crate::support::runner;

const LEASE: Duration = Duration::from_secs(1);

async fn locked(database: &dyn Database, who: &str) -> Box<dyn Session> {
    match database.lock(who, LEASE).await.unwrap() {
        Attempt::Locked(session) => session,
        Attempt::Held { by, .. } => panic!("held by {by}"),
    }
}

async fn held(database: &dyn Database, who: &str) -> (String, Duration) {
    match database.lock(who, LEASE).await.unwrap() {
        Attempt::Locked(_) => panic!("locked"),
        Attempt::Held { by, outlived_in } => (by, outlived_in),
    }
}

fn entry(id: &str) -> Entry {
    Entry {
        id: Id::from_text(id).unwrap(),
        name: "a".into(),
        checksum: String::new(),
        direction: Direction::Up,
        outcome: Outcome::Running,
        by: "a".into(),
        started_at_ms: 1_700_000_000_123,
        finished_at_ms: None,
        duration_ms: 0,
        attempts: 1,
        progress: Progress::default(),
        error: None,
    }
}

#[tokio::test]
async fn of_two_one_has_the_lock_and_the_other_sees_who() {
    let scene = Scene::new("two").await;
    let (one, other) = (scene.open(), scene.open());
    let (first, second) = tokio::join!(one.lock("one", LEASE), other.lock("other", LEASE));
    let all = [first.unwrap(), second.unwrap()];
    let holders: Vec<_> = all.iter().filter(|attempt| matches!(attempt, Attempt::Locked(_))).collect();
    assert_eq!(holders.len(), 1, "exactly one has it");
    let by = all.iter().find_map(|attempt| match attempt {
        Attempt::Held { by, outlived_in } => Some((by.clone(), *outlived_in)),
        Attempt::Locked(_) => None,
    });
    let (by, outlived_in) = by.unwrap();
    assert!(["one", "other"].contains(&&*by) && outlived_in <= LEASE, "{by} {outlived_in:?}");
    assert_eq!(one.holder().await.unwrap(), Some(by));
    for attempt in all {
        if let Attempt::Locked(session) = attempt {
            session.release().await.unwrap();
        }
    }
    let session = locked(&*other, "third").await;
    session.release().await.unwrap();
    assert_eq!(one.holder().await.unwrap(), None);
    scene.close().await;
}

#[tokio::test]
async fn entries_come_back_as_they_were_written() {
    let scene = Scene::new("entries").await;
    let database = scene.open();
    let mut session = locked(&*database, "one").await;
    let mut progress =
        Progress { step: 2, begun: true, after: Some(serde_json::json!(["a", "1"])), ..Progress::default() };
    progress.add("orders", 7);
    let whole = Entry {
        finished_at_ms: Some(1_700_000_001_456),
        outcome: Outcome::Failed,
        error: Some("it's".into()),
        progress,
        ..entry("R:views")
    };
    session.write(&whole).await.unwrap();
    session.write(&entry("10")).await.unwrap();
    session.write(&entry("9")).await.unwrap();
    let ledger = session.ledger().await.unwrap();
    assert_eq!(ledger, [entry("9"), entry("10"), whole]);
    session.erase(&Id::from_text("9").unwrap()).await.unwrap();
    session.erase(&Id::from_text("9").unwrap()).await.unwrap();
    assert_eq!(database.ledger().await.unwrap().len(), 2);
    session.release().await.unwrap();
    scene.close().await;
}

#[tokio::test]
async fn the_lock_of_a_killed_runner_is_free_as_soon_as_its_session_is_gone() {
    let scene = Scene::new("killed").await;
    let session = locked(&*scene.open(), "dead").await;
    // What a killed process leaves: a closed connection, and a lease that is not over.
    drop(session);
    let since = Instant::now();
    let database = scene.open();
    loop {
        match database.lock("next", LEASE).await.unwrap() {
            Attempt::Locked(session) => break session.release().await.unwrap(),
            Attempt::Held { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    assert!(since.elapsed() < LEASE, "{:?}", since.elapsed());
    scene.close().await;
}

#[tokio::test]
async fn a_holder_whose_lease_is_over_is_ended_and_can_write_nothing_more() {
    let scene = Scene::new("zombie").await;
    let database = scene.open();
    // Somebody who was stopped: the session is there, and nobody renews the lease.
    let mut zombie = locked(&*database, "zombie").await;
    let keeper = zombie.keeper();
    keeper.renew().await.unwrap();
    let other = scene.open();
    assert_eq!(held(&*other, "next").await.0, "zombie");
    tokio::time::sleep(LEASE + Duration::from_millis(100)).await;
    let mut next = locked(&*other, "next").await;
    next.write(&entry("1")).await.unwrap();

    let refused = zombie.write(&entry("2")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Connection, "its session is ended: {refused}");
    assert_eq!(keeper.renew().await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(next.ledger().await.unwrap().len(), 1);
    next.keeper().renew().await.unwrap();
    assert_eq!(scene.value("SELECT token FROM whimbrel_migrations_lock").await, "2");
    scene.close().await;
}

#[tokio::test]
async fn a_token_that_is_not_the_locks_writes_nothing() {
    let scene = Scene::new("token").await;
    let database = scene.open();
    let mut session = locked(&*database, "one").await;
    session.write(&entry("1")).await.unwrap();
    scene.run("UPDATE whimbrel_migrations_lock SET token = token + 1").await;
    assert_eq!(session.write(&entry("2")).await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(session.erase(&entry("1").id).await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(session.keeper().renew().await.unwrap_err().kind, Kind::LockLost);
    assert_eq!(scene.value("SELECT string_agg(id, ',') FROM whimbrel_migrations").await, "1");
    scene.close().await;
}

#[tokio::test]
async fn a_session_that_may_not_be_ended_is_waited_for_and_told() {
    let scene = Scene::new("privilege").await;
    let database = scene.open();
    let session = locked(&*database, "superuser").await;
    let role = format!("{}_role", scene.name);
    scene
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
            GRANT CREATE ON SCHEMA public TO {role}"
        ))
        .await;
    tokio::time::sleep(LEASE + Duration::from_millis(100)).await;
    let other = open(Settings::new(url_of(&role, "p", &scene.name))).unwrap();
    let (by, _) = held(&*other, "next").await;
    assert!(by.contains("superuser") && by.contains("pg_signal_backend"), "{by}");
    session.release().await.unwrap();
    locked(&*other, "next").await.release().await.unwrap();
    scene.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    scene.close().await;
}

#[tokio::test]
async fn a_statement_is_cancelled_when_the_lock_is_lost() {
    let scene = Scene::new("lost").await;
    let (runner, _) = runner(scene.open(), sql(&["CREATE TABLE a (b int); SELECT pg_sleep(60)"]), "one");
    let cancel = CancellationToken::new();
    let thief = async {
        let running =
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'
            AND datname = current_database()";
        until(&scene.client, running).await;
        scene.run("UPDATE whimbrel_migrations_lock SET token = token + 1, holder = 'thief'").await;
        until(&scene.client, &running.replace("= 1", "= 0")).await;
        // The engine begins again and has to wait; nobody is there to give the lock back.
        cancel.cancel();
    };
    let since = Instant::now();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), thief);
    assert!(ran.is_err());
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert_eq!(scene.value("SELECT to_regclass('a')").await, "");
    scene.close().await;
}

#[tokio::test]
async fn two_runners_at_once_apply_each_migration_once() {
    let scene = Scene::new("race").await;
    scene.run("CREATE TABLE log (n int)").await;
    let files = || sql(&["INSERT INTO log VALUES (1)", "INSERT INTO log VALUES (2)", "INSERT INTO log VALUES (3)"]);
    let runners: Vec<_> = (0..3).map(|i| runner(scene.open(), files(), &format!("r{i}")).0).collect();
    let cancel = CancellationToken::new();
    let reports = futures_util::future::join_all(runners.iter().map(|runner| runner.up(None, &cancel))).await;
    let done: usize = reports.into_iter().map(|report| report.unwrap().done.len()).sum();
    assert_eq!(done, 3);
    assert_eq!(scene.value("SELECT string_agg(n::text, ',' ORDER BY n) FROM log").await, "1,2,3");
    scene.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_the_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let database = open(Settings::new(format!("postgresql://me:s3cret@127.0.0.1:{free}/x"))).unwrap();
    let failed = database.ledger().await.unwrap_err();
    assert_eq!(failed.kind, Kind::Connection);
    assert!(!failed.to_string().contains("s3cret") && failed.to_string().contains("127.0.0.1"), "{failed}");
    let wrong = open(Settings::new(url_of("nobody", "s3cret", "postgres"))).unwrap();
    let failed = wrong.ledger().await.unwrap_err();
    assert_eq!(failed.kind, Kind::Database);
    assert!(!failed.to_string().contains("s3cret"), "{failed}");
    drop(connect(&url("postgres")).await);
}
