//! Backfills: every row once, whatever comes between.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::sql::postgresql::{Settings, open};

use super::{Scene, until, yaml};
use crate::support::runner;

const FILL: &str = "
steps:
  - backfill: {table: orders, key: [tenant, id], set: 'n = n + 1', where: id > 0, batch: 50}
checks:
  - count: {table: orders, where: n = 1, equals: 1000}
";

async fn orders(scene: &Scene) {
    scene
        .run(
            "CREATE TABLE orders (tenant text, id bigint, n int NOT NULL DEFAULT 0, PRIMARY KEY (tenant, id));
            INSERT INTO orders SELECT 't' || i % 7, i, 0 FROM generate_series(-9, 1000) i",
        )
        .await;
}

#[tokio::test]
async fn every_row_that_is_meant_is_changed_once() {
    let scene = Scene::new("fill").await;
    orders(&scene).await;
    let (runner, told) = runner(scene.open(), yaml(&[FILL]), "one");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.value("SELECT count(*) FROM orders WHERE n = 1 AND id > 0").await, "1000");
    assert_eq!(scene.value("SELECT count(*) FROM orders WHERE n = 0 AND id <= 0").await, "10");
    let committed = told.lines().iter().filter(|line| line.starts_with("Committed")).count();
    assert_eq!(committed, 20, "1000 rows in batches of 50");
    assert!(told.has("expected: Some(1000)"), "{:#?}", told.lines());
    scene.close().await;
}

#[tokio::test]
async fn a_backfill_that_was_cut_off_goes_on_after_its_last_batch() {
    let scene = Scene::new("resume").await;
    orders(&scene).await;
    // Each batch takes a while, so that the killing meets one.
    scene
        .run("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()")
        .await;
    let (runner, _) = runner(scene.open(), yaml(&[FILL]), "one");
    let cancel = CancellationToken::new();
    let killer = async {
        for batches in [3, 9, 15] {
            let query = format!("SELECT coalesce((SELECT count(*) FROM orders WHERE n > 0), 0) >= {}", batches * 50);
            until(&scene.client, &query).await;
            scene
                .run(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())",
                )
                .await;
        }
    };
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), killer);
    ran.unwrap();
    assert_eq!(scene.value("SELECT min(n) || ' ' || max(n) FROM orders WHERE id > 0").await, "1 1");
    assert_eq!(scene.ledger().await, "1 up success 4", "killed three times");
    scene.close().await;
}

#[tokio::test]
async fn a_backfill_stops_between_batches_and_its_count_goes_on() {
    let scene = Scene::new("stopped").await;
    orders(&scene).await;
    scene
        .run("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()")
        .await;
    let (runner, told) = runner(scene.open(), yaml(&[FILL]), "one");
    let cancel = CancellationToken::new();
    let stop = async {
        until(&scene.client, "SELECT count(*) > 100 FROM orders WHERE n > 0").await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), stop);
    assert_eq!(ran.unwrap_err().kind, Kind::Cancelled);
    let done = scene.value("SELECT count(*) FROM orders WHERE n > 0").await;
    assert_eq!(scene.value("SELECT progress->'counts'->'orders'->>'done' FROM whimbrel_migrations").await, done);
    assert_ne!(done, "1000");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.value("SELECT min(n) || ' ' || max(n) FROM orders WHERE id > 0").await, "1 1");
    assert!(told.has("done: 1000, expected: Some(1000)"), "{:#?}", told.lines().last());
    scene.close().await;
}

#[tokio::test]
async fn a_key_of_any_type_leads_through_the_table() {
    let scene = Scene::new("keys").await;
    for (kind, value) in [
        ("uuid", "md5(i::text)::uuid"),
        ("timestamptz", "now() + i * interval '1 second'"),
        ("timestamp(3)", "now()::timestamp + i * interval '7 milliseconds'"),
        ("date", "current_date + i"),
        ("numeric(12,3)", "i / 8.0"),
        ("double precision", "i / 3.0"),
        ("varchar(20)", "'é' || i"),
        ("bytea", "decode(md5(i::text), 'hex')"),
        ("inet", "'10.0.0.0'::inet + i"),
    ] {
        scene
            .run(&format!(
                "DROP TABLE IF EXISTS whimbrel_migrations, \"Odd keys\";
                CREATE TABLE \"Odd keys\" (\"The key\" {kind} PRIMARY KEY, n int NOT NULL DEFAULT 0);
                INSERT INTO \"Odd keys\" SELECT {value}, 0 FROM generate_series(1, 100) i"
            ))
            .await;
        let text = "steps: [{backfill: {table: Odd keys, key: The key, set: n = n + 1, batch: 7}}]";
        let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
        runner.up(None, &CancellationToken::new()).await.unwrap_or_else(|failed| panic!("{kind}: {failed}"));
        assert_eq!(scene.value("SELECT min(n) || ' ' || max(n) FROM \"Odd keys\"").await, "1 1", "{kind}");
    }
    scene.close().await;
}

#[tokio::test]
async fn a_backfill_that_would_miss_rows_is_refused() {
    let scene = Scene::new("nulls").await;
    scene.run("CREATE TABLE a (k int, n int); INSERT INTO a VALUES (1, 0), (NULL, 0)").await;
    let text = "steps: [{backfill: {table: a, key: k, set: n = 1}}]";
    let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
    let refused = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().contains("NULL"), "{refused}");
    assert_eq!(scene.value("SELECT count(*) FROM a WHERE n = 1").await, "0");
    let text = "steps: [{backfill: {table: a, key: missing, set: n = 1}}]";
    let (runner, _) = crate::support::runner(scene.open(), yaml(&[text]), "one");
    let refused = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().contains("missing"), "{refused}");
    scene.close().await;
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_waited_for_again() {
    let scene = Scene::new("rowlock").await;
    orders(&scene).await;
    let (mut runner, told) = runner(scene.open(), yaml(&[FILL]), "one");
    runner.options.lock_timeout = Duration::from_millis(200);
    let other = scene.other().await;
    other.batch_execute("BEGIN; UPDATE orders SET n = n WHERE id = 500").await.unwrap();
    let free = async {
        while !told.has("Retried") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch_execute("COMMIT").await.unwrap();
    };
    let cancel = CancellationToken::new();
    let (ran, ()) = tokio::join!(runner.up(None, &cancel), free);
    ran.unwrap();
    assert!(told.has("lock_not_available"));
    assert_eq!(scene.value("SELECT min(n) || ' ' || max(n) FROM orders WHERE id > 0").await, "1 1");
    scene.close().await;
}

#[tokio::test]
async fn batches_wait_for_replicas_that_are_behind_but_not_for_ever() {
    let scene = Scene::new("lag").await;
    orders(&scene).await;
    // A replica that is always 20 s behind, as the server would tell of it.
    scene
        .run(&format!(
            "CREATE SCHEMA fake; CREATE TABLE fake.pg_stat_replication (replay_lag interval);
            INSERT INTO fake.pg_stat_replication VALUES ('20 s'), (NULL), ('1 s');
            ALTER DATABASE {} SET search_path = fake, public, pg_catalog",
            scene.name
        ))
        .await;
    let settings = Settings { schema: Some("public".to_owned()), ..scene.settings() };
    let (mut runner, told) = runner(open(settings).unwrap(), yaml(&[&FILL.replace("50", "500")]), "one");
    runner.options.throttle.floor = Duration::from_millis(700);
    let since = Instant::now();
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert!(since.elapsed() > Duration::from_millis(700), "{:?}", since.elapsed());
    let lines = told.lines();
    let throttled: Vec<_> = lines.iter().filter(|line| line.starts_with("Throttled")).collect();
    assert!(throttled.iter().any(|line| line.contains("lag: 20s")), "{throttled:?}");
    assert_eq!(scene.value("SELECT min(n) || ' ' || max(n) FROM orders WHERE id > 0").await, "1 1");
    scene.close().await;
}
