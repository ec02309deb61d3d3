//! A runner that is killed, again and again: this test binary, started anew as the runner.
//!
//! `WHIMBREL_KILLS=50` kills more often than the short form does.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::migration::Migration;
use whimbrel_migrate::sql::postgresql::{Settings, open};

use super::{Scene, sql, until, url, yaml};
use crate::support::runner;

/// Of the runner: the database it migrates.
const DATABASE: &str = "WHIMBREL_KILLED_DATABASE";
const ROWS: u32 = 10_000;

fn files() -> Vec<Migration> {
    let whole = format!(
        "CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, m int NOT NULL DEFAULT 0);
        INSERT INTO orders SELECT i FROM generate_series(1, {ROWS}) i; INSERT INTO log VALUES ('whole');
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;
        CREATE TRIGGER slow AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow();"
    );
    let steps = "-- whimbrel: no-transaction
        INSERT INTO log VALUES ('before'); SELECT pg_sleep(0.05);
        CREATE INDEX CONCURRENTLY orders_n ON orders (n, m); DROP INDEX CONCURRENTLY orders_n;
        CREATE INDEX CONCURRENTLY ON orders (m, n); VACUUM orders;
        INSERT INTO log VALUES ('after');";
    let again = "UPDATE orders SET m = m + 1; INSERT INTO log VALUES ('again'); SELECT pg_sleep(0.1);";
    let fill = "steps: [{backfill: {table: orders, key: id, set: n = n + 1, batch: 250}}]
checks: [{count: {table: orders, where: n = 1, equals: 10000}}]";
    let mut all = yaml(&["steps: [{sql: SELECT 1}]", fill]);
    let others = sql(&[&whole, "", steps, again]);
    for (index, one) in others.into_iter().enumerate() {
        match all.get_mut(index) {
            Some(slot) if index == 0 => *slot = one,
            Some(_) => {}
            None => all.push(one),
        }
    }
    all
}

/// The runner that is killed.
#[tokio::test]
#[ignore = "started by the test beside it, with the database to migrate"]
async fn migrates_until_it_is_killed() {
    let database = std::env::var(DATABASE).expect("started by the test beside it");
    let (runner, _) =
        runner(open(Settings::new(url(&database))).unwrap(), files(), &format!("p{}", std::process::id()));
    runner.up(None, &CancellationToken::new()).await.unwrap();
}

fn start(scene: &Scene) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgresql::kill::migrates_until_it_is_killed", "--ignored"])
        .env(DATABASE, &scene.name)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn everything_once(scene: &Scene) {
    let rows = "SELECT count(*) || ' ' || min(n) || max(n) || min(m) || max(m) FROM orders";
    assert_eq!(scene.value(rows).await, format!("{ROWS} 1111"));
    let log = "SELECT string_agg(what, ',' ORDER BY what) FROM log";
    assert_eq!(scene.value(log).await, "after,again,before,whole");
    let indexes =
        "SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ', ' ORDER BY indexrelid::regclass::text)
        FROM pg_index WHERE indrelid = 'orders'::regclass";
    assert_eq!(scene.value(indexes).await, "orders_m_n_idx true, orders_pkey true");
    let ledger = "SELECT string_agg(id || ' ' || outcome, ', ' ORDER BY id) FROM whimbrel_migrations";
    assert_eq!(scene.value(ledger).await, "1 success, 2 success, 3 success, 4 success");
}

/// Stops a process, or lets it go on.
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_runner_that_stands_still_is_taken_over_and_writes_nothing_when_it_wakes() {
    let scene = Scene::new("stopped").await;
    scene.run("CREATE TABLE log (what text)").await;
    let mut sleeper = start(&scene);
    until(&scene.client, "SELECT to_regclass('orders') IS NOT NULL").await;
    until(&scene.client, "SELECT count(*) >= 500 FROM orders WHERE n > 0").await;
    signal(&sleeper, "-STOP");
    let sleeping = scene.value("SELECT holder FROM whimbrel_migrations_lock").await;
    let (other, told) = runner(scene.open(), files(), "other");
    other.up(None, &CancellationToken::new()).await.unwrap();
    assert!(told.has("WaitingForLock") && told.has(&sleeping), "{:#?}", told.lines());
    everything_once(&scene).await;
    signal(&sleeper, "-CONT");
    // It may find its lock lost, or its connection ended and nothing left to do.
    sleeper.wait().unwrap();
    everything_once(&scene).await;
    assert_eq!(scene.value("SELECT run_by FROM whimbrel_migrations WHERE id = '4'").await, "other");
    scene.close().await;
}

#[tokio::test]
async fn a_runner_that_is_killed_at_any_time_applies_everything_once() {
    let kills: u32 = std::env::var("WHIMBREL_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let (mut killed, mut rounds) = (0, 0);
    while killed < kills {
        let scene = Scene::new("kill").await;
        scene.run("CREATE TABLE log (what text)").await;
        let since = Instant::now();
        loop {
            let mut child = start(&scene);
            let spare = killed >= kills;
            let patience = Duration::from_millis(if spare { 60_000 } else { rand::rng().random_range(20..400) });
            let begun = Instant::now();
            let status = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break Some(status),
                    None if begun.elapsed() > patience => break None,
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            };
            match status {
                Some(status) => {
                    assert!(
                        status.success(),
                        "the runner failed: {}",
                        scene.value("SELECT string_agg(error, '; ') FROM whimbrel_migrations").await
                    );
                    break;
                }
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed += 1;
                }
            }
            assert!(since.elapsed() < Duration::from_secs(120), "it does not get on: {}", scene.ledger().await);
        }
        rounds += 1;
        everything_once(&scene).await;
        scene.close().await;
    }
    println!("killed {killed} times in {rounds} rounds");
}
