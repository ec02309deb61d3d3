//! Dry runs: by a user who may only read, and nothing is written.

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::database::{Database, Prediction};
use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::sql::postgresql::{Settings, open};

use super::{Scene, sql, url_of, yaml};
use crate::support::runner;

/// A user who may read everything and write nothing.
async fn reader(scene: &Scene) -> (String, Box<dyn Database>) {
    let role = format!("{}_reader", scene.name);
    scene
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
            ALTER ROLE {role} SET default_transaction_read_only = on"
        ))
        .await;
    let database = open(Settings::new(url_of(&role, "p", &scene.name))).unwrap();
    (role, database)
}

/// All that is in the database: relations, their files and sizes, and the rows.
async fn fingerprint(scene: &Scene) -> String {
    scene
        .value("SELECT md5(string_agg(concat_ws(' ', c.oid, c.relname, c.relnatts, c.relfilenode, pg_relation_size(c.oid), c.xmin),
                ',' ORDER BY c.oid)) || (SELECT md5(string_agg(concat(o, o.xmin, o.xmax), ',' ORDER BY id)) FROM orders o)
            FROM pg_class c")
        .await
}

async fn predicted(database: Box<dyn Database>, text: &str) -> Vec<Prediction> {
    let migrations = if text.starts_with("steps") { yaml(&[text]) } else { sql(&[text]) };
    let (runner, _) = runner(database, migrations, "reader");
    let ids = runner.pending(None).await.unwrap();
    let mut all = runner.predict(&ids, Direction::Up).await.unwrap();
    all.remove(0).1
}

#[tokio::test]
async fn a_dry_run_by_somebody_who_may_only_read_counts_and_writes_nothing() {
    let scene = Scene::new("dry").await;
    scene
        .run(
            "CREATE TABLE orders (id bigint PRIMARY KEY, price int, total int);
            INSERT INTO orders SELECT i, i, NULL FROM generate_series(1, 5000) i; ANALYZE orders; CHECKPOINT",
        )
        .await;
    let (role, database) = reader(&scene).await;
    let text = "steps:
  - sql: UPDATE orders SET price = 0 WHERE id <= 70 RETURNING id
  - sql: DELETE FROM orders
  - sql: INSERT INTO orders SELECT * FROM orders WHERE id > 4990
  - sql: CREATE TABLE new (a int)
  - sql: INSERT INTO new VALUES (1)
  - sql: ALTER TABLE orders ALTER COLUMN price TYPE bigint
  - sql: CREATE INDEX CONCURRENTLY i ON orders (price)
  - sql: UPDATE orders SET total = p.price FROM orders p WHERE p.id = orders.id
  - backfill: {table: orders, key: id, set: total = price, where: total IS NULL, batch: 700}
  - backfill: {table: missing, key: id, set: total = price}";
    let before = fingerprint(&scene).await;
    let all = predicted(database, text).await;
    assert_eq!(fingerprint(&scene).await, before, "nothing is written");
    let told: Vec<_> = all.iter().map(|one| (one.touched, one.exact, one.chunks)).collect();
    let expected = [
        (Some(70), true, Some(1)),
        (Some(5000), true, Some(1)),
        (Some(10), true, Some(1)),
        (None, false, Some(1)),
        (Some(1), true, Some(1)),
        (Some(5000), false, Some(1)),
        (Some(5000), false, Some(1)),
        (None, false, Some(1)),
        (Some(5000), true, Some(8)),
        (None, false, None),
    ];
    assert_eq!(told, expected, "{all:#?}");
    let notes: Vec<String> = all.iter().map(|one| one.notes.join("; ")).collect();
    for (index, words) in [
        (5, "ACCESS EXCLUSIVE: others wait to read and to write; may write the whole table"),
        (6, "runs outside of a transaction"),
        (7, "permission denied"),
        (8, "batches of 700 rows"),
        (9, "needs what an earlier step makes"),
    ] {
        assert!(notes[index].contains(words), "{index}: {notes:#?}");
    }
    assert_eq!(all[6].fits_transaction, Some(false));
    assert!(all[8].duration_ms.is_some() && all[5].duration_ms.is_some());
    scene.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    scene.close().await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_estimated_by_the_planner() {
    let scene = Scene::new("estimate").await;
    scene.run("CREATE TABLE a (id int PRIMARY KEY, b int); INSERT INTO a SELECT i, i FROM generate_series(1, 3000) i; ANALYZE a").await;
    let all =
        predicted(scene.open(), "UPDATE a SET b = x.b FROM a x WHERE a.id = x.id; WITH y AS (SELECT 1) DELETE FROM a")
            .await;
    for one in &all {
        assert_eq!((one.touched, one.exact), (Some(3000), false), "{all:#?}");
    }
    assert_eq!(scene.value("SELECT count(*) FROM a").await, "3000");
    scene.close().await;
}

#[tokio::test]
async fn somebody_who_may_only_read_sees_ledger_holder_and_rows() {
    let scene = Scene::new("status").await;
    let (first, _) =
        runner(scene.open(), sql(&["CREATE TABLE a (b int); INSERT INTO a SELECT generate_series(1, 50)"]), "one");
    first.up(None, &CancellationToken::new()).await.unwrap();
    super::until(&scene.client, "SELECT n_live_tup = 50 FROM pg_stat_user_tables WHERE relname = 'a'").await;
    let (role, database) = reader(&scene).await;
    assert_eq!(database.ledger().await.unwrap().len(), 1);
    assert_eq!(database.holder().await.unwrap(), None);
    let sample = database.sample().await.unwrap();
    assert!(sample.rows.contains(&("a".to_owned(), 50)), "{sample:?}");
    let refused = database.lock("reader", std::time::Duration::from_secs(1)).await.err().unwrap();
    assert!(["insufficient_privilege", "read_only_sql_transaction"].contains(&&*refused.code), "{refused}");
    assert!(refused.remedy.is_some());
    scene.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    scene.close().await;
}
