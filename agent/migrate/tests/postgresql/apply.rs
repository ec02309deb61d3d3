//! Scripts: applied whole, undone whole, and what stays when they fail.

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::migration::Copies;
use whimbrel_migrate::plan::Back;
use whimbrel_migrate::sql::postgresql::{Settings, open};
use whimbrel_migrate::verify::Endpoint;
use whimbrel_migrate::version::Version;

use super::{Scene, sql, yaml};
use crate::support::runner;

const ORDERS: &str = "
name: orders
steps:
  - sql: CREATE TABLE orders (id bigint PRIMARY KEY, price int, total int)
  - sql: INSERT INTO orders SELECT i, i, NULL FROM generate_series(1, 100) i
down:
  - sql: DROP TABLE orders
checks:
  - count: {table: orders, equals: 100}
  - query: {sql: SELECT sum(price) FROM orders, equals: 5050}
  - equal: {left: SELECT count(*) FROM orders, right: SELECT max(id) FROM orders}
";

#[tokio::test]
async fn migrations_are_applied_once_and_undone() {
    let scene = Scene::new("apply").await;
    let second = "ALTER TABLE orders ADD note text; UPDATE orders SET note = 'x' WHERE id <= 10;";
    let mut all = yaml(&[ORDERS]);
    all.extend(sql(&["", second]).into_iter().skip(1));
    let (runner, told) = runner(scene.open(), all, "one");
    let cancel = CancellationToken::new();
    assert_eq!(runner.database.ledger().await.unwrap(), [], "there is no ledger yet, and looking makes none");
    assert_eq!(scene.value("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'whimbrel%'").await, "0");

    assert_eq!(runner.up(None, &cancel).await.unwrap().done, ["1", "2"]);
    assert_eq!(scene.ledger().await, "1 up success 1, 2 up success 1");
    assert_eq!(scene.value("SELECT count(*) FROM orders WHERE note = 'x'").await, "10");
    assert_eq!(
        scene.value("SELECT progress->'counts'->'orders'->>'done' FROM whimbrel_migrations WHERE id = '2'").await,
        "10"
    );
    assert!(told.has("what: \"update orders\", place: Some(\"orders\"), expected: Some("), "{:#?}", told.lines());
    for word in ["Committed { id: \"1\", place: \"orders\", count: 100", "what: \"create table orders\"", "Checked {"] {
        assert!(told.has(word), "{word}: {:#?}", told.lines());
    }
    let ledger = runner.database.ledger().await.unwrap();
    assert!(ledger.iter().all(|entry| entry.is_applied() && entry.by == "one" && entry.finished_at_ms.is_some()));

    assert_eq!(runner.up(None, &cancel).await.unwrap().done, [""; 0], "nothing is left to do");
    let back = Back::To(Version::from(0));
    let refused = runner.down(&back, &cancel).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Refused, "2 has no down");
    assert_eq!(runner.database.holder().await.unwrap(), None);
    scene.close().await;

    let scene = Scene::new("undo").await;
    let (runner, _) = crate::support::runner(scene.open(), yaml(&[ORDERS]), "one");
    runner.up(None, &cancel).await.unwrap();
    assert_eq!(runner.down(&back, &cancel).await.unwrap().done, ["1"]);
    assert_eq!(scene.ledger().await, "");
    assert_eq!(scene.value("SELECT to_regclass('orders')").await, "");
    scene.close().await;
}

#[tokio::test]
async fn a_statement_that_fails_takes_everything_of_its_migration_back() {
    let scene = Scene::new("failing").await;
    let bad = "CREATE TABLE a (b int);\nINSERT INTO a VALUES (1);\nINSERT INTO a\nVALUES ('secret');";
    let (runner, told) = runner(scene.open(), sql(&[bad]), "one");
    let cancel = CancellationToken::new();
    let failed = runner.up(None, &cancel).await.unwrap_err();
    assert_eq!((failed.kind, &*failed.code), (Kind::Database, "invalid_text_representation"));
    let text = failed.to_string();
    assert!(text.contains("step 3 (insert into a, line 3)") && text.contains("in its line 2"), "{text}");
    assert!(
        !text.contains("secret")
            && !told.has("secret")
            && !scene.value("SELECT error FROM whimbrel_migrations").await.contains("secret")
    );
    assert_eq!(scene.value("SELECT to_regclass('a')").await, "");
    assert_eq!(scene.ledger().await, "1 up failed 1");
    assert!(!told.has("Committed"), "{:#?}", told.lines());

    let (runner, _) = crate::support::runner(scene.open(), sql(&["CREATE TABLE a (b int)"]), "two");
    runner.up(None, &cancel).await.unwrap();
    assert_eq!(scene.ledger().await, "1 up success 2", "a file that was mended is tried again");
    scene.close().await;
}

#[tokio::test]
async fn a_failed_check_rolls_back() {
    let scene = Scene::new("check").await;
    let text = ORDERS.replace("equals: 5050", "equals: 5051");
    let (runner, told) = runner(scene.open(), yaml(&[&text]), "one");
    let failed = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.kind, Kind::CheckFailed);
    let text = failed.to_string();
    assert!(text.contains("another value than it should") && text.contains("everything was rolled back"), "{text}");
    assert_eq!(scene.value("SELECT to_regclass('orders')").await, "");
    assert_eq!(scene.ledger().await, "1 up failed 1");
    assert!(told.has("fault: None") && told.has("fault: Some"), "{:#?}", told.lines());
    scene.close().await;
}

#[tokio::test]
async fn a_failed_check_after_several_transactions_runs_the_down() {
    let scene = Scene::new("undone").await;
    let text = ORDERS.replace("equals: 5050", "equals: 5051").replace("name:", "transaction: false\nname:");
    let (runner, _) = runner(scene.open(), yaml(&[&text]), "one");
    let failed = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.kind, Kind::CheckFailed);
    assert!(failed.to_string().contains("undone by its down"), "{failed}");
    assert_eq!(scene.value("SELECT to_regclass('orders')").await, "");
    scene.close().await;
}

#[tokio::test]
async fn step_by_step_what_is_done_stays_and_the_next_run_goes_on() {
    let scene = Scene::new("steps").await;
    let text = "-- whimbrel: no-transaction
        SET search_path TO other, public;
        CREATE TABLE log (n int);
        INSERT INTO log VALUES (1);
        INSERT INTO missing VALUES (1);
        INSERT INTO log VALUES (2);";
    scene.run("CREATE SCHEMA other").await;
    let (runner, _) = runner(scene.open(), sql(&[text]), "one");
    let cancel = CancellationToken::new();
    assert_eq!(runner.up(None, &cancel).await.unwrap_err().code, "undefined_table");
    assert_eq!(scene.value("SELECT progress->>'step' FROM whimbrel_migrations").await, "3");
    scene.run("CREATE TABLE missing (n int)").await;
    runner.up(None, &cancel).await.unwrap();
    // The table of the search path that an earlier run has set.
    assert_eq!(scene.value("SELECT string_agg(n::text, ',' ORDER BY n) FROM other.log").await, "1,2");
    assert_eq!(scene.value("SELECT count(*) FROM missing").await, "1");
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}

#[tokio::test]
async fn a_migration_finds_the_session_as_if_it_were_the_first() {
    let scene = Scene::new("reset").await;
    scene.run("CREATE SCHEMA other; CREATE ROLE reset_role; GRANT ALL ON SCHEMA other TO reset_role").await;
    let files =
        sql(&["SET ROLE reset_role; SET search_path TO other; CREATE TABLE a (b int)", "CREATE TABLE c (d int)"]);
    let (runner, _) = runner(scene.open(), files, "one");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(
        scene.value("SELECT tableowner FROM pg_tables WHERE tablename = 'a' AND schemaname = 'other'").await,
        "reset_role"
    );
    assert_eq!(scene.value("SELECT schemaname FROM pg_tables WHERE tablename = 'c'").await, "public");
    scene.run("DROP OWNED BY reset_role; DROP ROLE reset_role").await;
    scene.close().await;
}

#[tokio::test]
async fn names_of_the_ledger_may_be_odd() {
    let scene = Scene::new("names").await;
    let settings = Settings {
        schema: Some("My \"odd\" schema".to_owned()),
        ledger: "Ledger; DROP TABLE x--'é".to_owned(),
        ..scene.settings()
    };
    let (runner, _) = runner(open(settings).unwrap(), sql(&["CREATE TABLE a (b int)"]), "it's \"me\"");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(runner.database.ledger().await.unwrap()[0].by, "it's \"me\"");
    assert_eq!(scene.value("SELECT count(*) FROM \"My \"\"odd\"\" schema\".\"Ledger; DROP TABLE x--'é\"").await, "1");
    for ledger in ["", &"x".repeat(60)] {
        assert!(open(Settings { ledger: ledger.to_owned(), ..scene.settings() }).is_err());
    }
    scene.close().await;
}

#[tokio::test]
async fn somebody_who_asks_to_stop_finds_what_is_done_in_the_ledger() {
    let scene = Scene::new("stop").await;
    let text = "-- whimbrel: no-transaction\nCREATE TABLE a (b int); SELECT pg_sleep(0.5); CREATE TABLE c (d int);";
    let (runner, _) = runner(scene.open(), sql(&[text]), "one");
    let cancel = CancellationToken::new();
    let run = runner.up(None, &cancel);
    let stop = async {
        super::until(&scene.client, "SELECT to_regclass('a') IS NOT NULL").await;
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(run, stop);
    assert_eq!(ran.unwrap_err().kind, Kind::Cancelled);
    assert_eq!(scene.value("SELECT to_regclass('c')").await, "");
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}

#[tokio::test]
async fn a_copy_that_differs_fails_the_migration_and_the_next_run_goes_on() {
    let scene = Scene::new("copy").await;
    scene
        .run("CREATE TABLE a (id int PRIMARY KEY, b text); INSERT INTO a SELECT i, 'x' FROM generate_series(1, 100) i")
        .await;
    let text = "
steps:
  - sql: CREATE TABLE c AS SELECT * FROM a WHERE id <> 50
  - sql: ALTER TABLE c ADD PRIMARY KEY (id)
checks:
  - copy: {from: a, to: c, key: id}
  - count: {table: c, at_least: 1}
";
    let (mut runner, told) = runner(scene.open(), yaml(&[text]), "one");
    let endpoint = || Endpoint::parse(&super::url(&scene.name)).unwrap();
    runner.options.copies = Some(Copies { source: endpoint(), target: endpoint() });
    let failed = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(failed.kind, Kind::CheckFailed);
    assert!(failed.to_string().contains("c is as a"), "{failed}");
    assert!(told.has("Checked { id: \"1\", check: \"c is as a\", fault: Some"), "{:#?}", told.lines());
    scene.run("INSERT INTO c SELECT * FROM a WHERE id = 50").await;
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.ledger().await, "1 up success 2");
    scene.close().await;
}
