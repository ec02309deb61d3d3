//! Servers that go away under a migration, a full disk under its log, and files that are not what they were.

use std::time::Duration;

use bson::{Document, doc};

use super::command::{finish, migrate, up};
use super::scene::{Scene, Store};
use crate::support::services::Services;

/// A replica set of a test's own, with documents.
async fn own_replica_set(services: &Services) -> (String, mongodb::Database) {
    let url = format!("mongodb://127.0.0.1:{}/shop?replicaSet=rs0", services.port("MONGO_PORT"));
    let database = mongodb::Client::with_uri_str(&url).await.unwrap().database("shop");
    let rows = (0..20_000).map(|id| doc! {"_id": id, "n": 0, "m": 0});
    database.collection::<Document>("orders").insert_many(rows).await.unwrap();
    (url, database)
}

fn chunked() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("migrations");
    std::fs::create_dir(&directory).unwrap();
    let steps = "steps:\n  - update: {collection: orders, filter: {}, update: {$inc: {n: 1}}}\n  - create_index: {collection: orders, keys: {n: 1}}\n  - update: {collection: orders, filter: {}, update: {$inc: {m: 1}}}\n";
    std::fs::write(directory.join("0001_counters.yaml"), steps).unwrap();
    root
}

async fn progressed(database: &mongodb::Database) {
    let orders = database.collection::<Document>("orders");
    for _ in 0..600 {
        if orders.count_documents(doc! {"n": 1}).await.unwrap_or(0) > 500 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the migration does not get on");
}

async fn assert_once(database: &mongodb::Database) {
    let once = database.collection::<Document>("orders").count_documents(doc! {"n": 1, "m": 1}).await.unwrap();
    assert_eq!(once, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_steps_down_midway_is_waited_for_and_nothing_is_done_twice() {
    let services = Services::start(&["mongo"]);
    let (url, database) = own_replica_set(&services).await;
    let root = chunked();
    let child = up(&root.path().join("migrations"), &url, &[]);
    for _ in 0..3 {
        progressed(&database).await;
        // Of one member: nobody takes over, and it is primary again when its time is up.
        let down = doc! {"replSetStepDown": 2, "force": true};
        let _ = database.client().database("admin").run_command(down).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ran = finish(child);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.out, ran.err);
    assert_once(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_midway_is_waited_for_and_nothing_is_done_twice() {
    let services = Services::start(&["mongo"]);
    let (url, database) = own_replica_set(&services).await;
    let root = chunked();
    let child = up(&root.path().join("migrations"), &url, &[]);
    progressed(&database).await;
    services.call("mongo", "kill");
    tokio::time::sleep(Duration::from_secs(1)).await;
    services.call("mongo", "start");
    let ran = finish(child);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.out, ran.err);
    assert_once(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_midway_is_waited_for_and_nothing_is_done_twice() {
    let services = Services::start(&["postgres"]);
    let scene = Scene::new(Store::Sqlite, "pgdown").await;
    let (user, password) = (crate::support::setting("PG_USER"), crate::support::setting("PG_PASSWORD"));
    let url = format!("postgresql://{user}:{password}@127.0.0.1:{}/postgres", services.port("PG_PORT"));
    let connect = async || {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    };
    let client = connect().await.unwrap();
    client
        .batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO orders SELECT g, 0 FROM generate_series(1, 20000) g")
        .await
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("migrations");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(
        directory.join("0001_n.yaml"),
        "steps:\n  - backfill: {table: orders, key: [id], set: 'n = n + 1', batch: 50}\n",
    )
    .unwrap();
    let child = up(&directory, &url, &[]);
    for _ in 0..600 {
        let done: i64 = client.query_one("SELECT count(*) FROM orders WHERE n = 1", &[]).await.unwrap().get(0);
        if done > 300 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    services.call("postgres", "kill");
    tokio::time::sleep(Duration::from_secs(1)).await;
    services.call("postgres", "start");
    let ran = finish(child);
    assert_eq!(ran.code(), Some(0), "{}{}", ran.out, ran.err);
    let client = connect().await.unwrap();
    let once: i64 = client.query_one("SELECT count(*) FROM orders WHERE n = 1", &[]).await.unwrap().get(0);
    assert_eq!(once, 20_000);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_log_stops_no_migration() {
    let scene = Scene::new(Store::Sqlite, "full").await;
    // `/dev/full` takes an open and refuses every write, as a full disk does.
    let arguments = ["up", "--log-file", "/dev/full"];
    let ran = finish(migrate(&scene.directory(), &scene.url(), &arguments, &[]).spawn().unwrap());
    assert_eq!(ran.code(), Some(0), "{}{}", ran.out, ran.err);
    scene.assert_applied_once().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_refused_with_its_remedy_and_the_remedy_works() {
    for store in [Store::Mongodb, Store::Postgres, Store::Mariadb, Store::Sqlite] {
        let scene = Scene::new(store, "changed").await;
        let (directory, url) = (scene.directory(), scene.url());
        let run = |arguments: &[&str]| finish(migrate(&directory, &url, arguments, &[]).spawn().unwrap());
        assert_eq!(run(&["up"]).code(), Some(0));
        let file = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
        let before = std::fs::read_to_string(&file).unwrap();
        let note = if store == Store::Mongodb { "# changed\n" } else { "-- changed\n" };
        std::fs::write(&file, format!("{note}{before}")).unwrap();
        let refused = run(&["up"]);
        assert_eq!(refused.code(), Some(3), "{store:?}: {}{}", refused.out, refused.err);
        assert!(refused.err.contains("--accept-checksum 1"), "{store:?}: {}", refused.err);
        let repaired = run(&["repair", "--accept-checksum", "1"]);
        assert_eq!(repaired.code(), Some(0), "{store:?}: {}{}", repaired.out, repaired.err);
        assert_eq!(run(&["up"]).code(), Some(0), "{store:?}");
        scene.assert_applied_once().await;
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_are_refused_before_anything_is_written() {
    for (store, file, text, word) in [
        (
            Store::Mongodb,
            "0006_bad.yaml",
            "steps:\n  - rename_field: {collection: c, fields: {a: b, b: a}}\n".to_owned(),
            "0006_bad.yaml",
        ),
        (Store::Mongodb, "0006_bad.yaml", "steps: [".to_owned(), "0006_bad.yaml"),
        (Store::Postgres, "0007_bad.up.sql", "CREATE TABEL x (id int);\n".to_owned(), "0007_bad.up.sql"),
        (Store::Postgres, "0007_bad.up.sql", "SELECT 'open;\n".to_owned(), "0007_bad.up.sql"),
        (Store::Mariadb, "0007_bad.up.sql", "SELECT 'open;\n".to_owned(), "0007_bad.up.sql"),
        (Store::Sqlite, "0006_bad.up.sql", "\0\u{1}\0binary".to_owned(), "0006_bad.up.sql"),
    ] {
        let scene = Scene::new(store, "bad").await;
        scene.file(file, &text);
        let ran = finish(migrate(&scene.directory(), &scene.url(), &["up"], &[]).spawn().unwrap());
        assert_eq!(ran.code(), Some(2), "{store:?} {file}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(word), "{store:?}: {}", ran.err);
        if store == Store::Mongodb {
            let names = scene.mongodb().await.list_collection_names().await.unwrap();
            assert_eq!(names, ["orders"], "nothing was written");
        }
        scene.close().await;
    }
}
