//! What migrations do, and what the ledger says of it.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::ledger::{Direction, Outcome};
use whimbrel_migrate::plan::Back;
use whimbrel_migrate::version::Version;

use super::{Scene, yaml};
use crate::support::runner;

const TOTALS: &str = "
steps:
  - update: {collection: orders, filter: {}, update: [{$set: {total: {$multiply: [$price, 2]}, n: {$add: [$n, 1]}}}], chunk: 100}
down:
  - update: {collection: orders, filter: {}, update: {$unset: {total: ''}}}
checks:
  - no_document_without: {collection: orders, field: total}
";

#[tokio::test]
async fn a_large_change_goes_in_chunks_each_document_once_and_can_be_undone() {
    let scene = Scene::new("chunks").await;
    scene.fill("orders", 5_050).await;
    let (runner, told) = runner(scene.open(), yaml(&[TOTALS]), "one");
    let report = runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(report.done, ["1"]);
    assert_eq!(scene.count("orders", doc! {"n": 1, "total": {"$exists": true}}).await, 5_050);
    let entries = runner.database.ledger().await.unwrap();
    assert_eq!((entries[0].outcome, entries[0].progress.total().done), (Outcome::Success, 5_050));
    let chunks = told.lines().iter().filter(|line| line.starts_with("Committed")).count();
    assert_eq!(chunks, 51, "of 100 documents each");
    assert!(told.has("Checked"));

    runner.down(&Back::Steps(1), &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"total": {"$exists": true}}).await, 0);
    assert!(runner.database.ledger().await.unwrap().is_empty());
    scene.close().await;
}

#[tokio::test]
async fn a_small_change_is_one_transaction_and_a_failed_check_leaves_nothing() {
    let scene = Scene::new("small").await;
    scene.fill("orders", 10).await;
    let good = "steps:\n  - update: {collection: orders, filter: {}, update: {$set: {a: 1}}}\n  - insert: {collection: units, documents: [{_id: kg}]}\n";
    let bad = "steps:\n  - update: {collection: orders, filter: {}, update: {$set: {b: 1}}}\nchecks:\n  - count: {collection: orders, equals: 11}\n";
    scene.database.create_collection("units").await.unwrap();
    let (runner, _) = runner(scene.open(), yaml(&[good, bad]), "one");
    let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind, Kind::CheckFailed);
    assert!(error.to_string().contains("there are 10") && error.to_string().contains("rolled back"), "{error}");
    assert_eq!(scene.count("orders", doc! {"a": 1}).await, 10);
    assert_eq!(scene.count("units", doc! {}).await, 1);
    assert_eq!(scene.count("orders", doc! {"b": 1}).await, 0, "rolled back");
    let entries = runner.database.ledger().await.unwrap();
    assert_eq!((entries[1].outcome, entries[1].progress.is_untouched()), (Outcome::Failed, true));
    scene.close().await;
}

#[tokio::test]
async fn a_failed_check_of_a_change_in_chunks_is_undone_by_its_down() {
    let scene = Scene::new("undone").await;
    scene.fill("orders", 3_000).await;
    let text = TOTALS.replace("field: total", "field: nothing");
    let (runner, _) = runner(scene.open(), yaml(&[&text]), "one");
    let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("undone by its down"), "{error}");
    assert_eq!(scene.count("orders", doc! {"total": {"$exists": true}}).await, 0);
    assert!(runner.database.ledger().await.unwrap().is_empty());
    scene.close().await;
}

#[tokio::test]
async fn what_is_forbidden_in_transactions_runs_outside_in_order() {
    let scene = Scene::new("outside").await;
    scene.fill("orders", 100).await;
    let text = "
steps:
  - create_collection: {collection: log, options: {capped: true, size: 4096}}
  - create_index: {collection: orders, keys: {price: 1}}
  - validator: {collection: orders, schema: {required: [price]}}
  - aggregate: {collection: orders, pipeline: [{$group: {_id: all, sum: {$sum: $price}}}, {$merge: sums}]}
  - aggregate: {collection: orders, pipeline: [{$project: {price: 1}}, {$merge: copies}], chunk: 30}
  - rename_collection: {from: sums, to: totals}
  - rename_field: {collection: orders, fields: {price: cost}}
  - command: {collMod: orders, validator: {}}
  - drop_index: {collection: orders, name: price_1}
";
    let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
    let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(&*error.code, "DocumentValidationFailure", "the rename breaks the validator: {error}");
    assert!(error.to_string().starts_with("step 7"), "{error}");
    let entry = &runner.database.ledger().await.unwrap()[0];
    assert_eq!((entry.outcome, entry.progress.step), (Outcome::Failed, 6));
    // Somebody mends the database; the run goes on where it stopped.
    scene.database.run_command(doc! {"collMod": "orders", "validator": {}}).await.unwrap();
    runner.up(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(scene.count("orders", doc! {"cost": {"$exists": true}}).await, 100);
    assert_eq!(scene.count("copies", doc! {}).await, 100);
    assert_eq!(scene.documents("totals").find_one(doc! {}).await.unwrap().unwrap().get_i32("sum").unwrap(), 4_950);
    assert_eq!(scene.documents("orders").list_index_names().await.unwrap(), ["_id_"]);
    assert_eq!(runner.database.ledger().await.unwrap()[0].attempts, 2);
    scene.close().await;
}

#[tokio::test]
async fn ids_of_every_type_are_reached() {
    let scene = Scene::new("types").await;
    let orders = scene.documents("orders");
    let ids = vec![
        bson::Bson::Null,
        bson::Bson::Double(0.5),
        bson::Bson::Int64(7),
        "a".into(),
        "b".into(),
        bson::Bson::Document(doc! {"x": 1}),
        bson::Bson::ObjectId(bson::oid::ObjectId::new()),
        true.into(),
        bson::Bson::DateTime(bson::DateTime::now()),
        bson::Bson::Decimal128("1.5".parse().unwrap()),
        bson::Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] }),
        bson::Bson::Double(f64::NAN),
        bson::Bson::Int64(1_500),
        bson::Bson::Double(9.0),
        bson::Bson::MinKey,
        bson::Bson::MaxKey,
    ];
    orders.insert_many(ids.into_iter().map(|id| doc! {"_id": id, "n": 0})).await.unwrap();
    for chunk in [1, 2, 3, 5] {
        let text = format!(
            "steps:\n  - update: {{collection: orders, filter: {{}}, update: {{$inc: {{n: 1}}}}, chunk: {chunk}}}\n"
        );
        let all = yaml(&[&text]);
        let mut scratch = runner(scene.open(), all, "one").0;
        scratch.options.chunk = chunk;
        scratch.up(None, &CancellationToken::new()).await.unwrap();
        let wrong = scene.documents("orders").find(doc! {"n": {"$ne": 1}}).await.unwrap();
        let wrong: Vec<Document> = wrong.try_collect().await.unwrap();
        assert!(wrong.is_empty(), "chunks of {chunk}: {wrong:?}");
        orders.update_many(doc! {}, doc! {"$set": {"n": 0}}).await.unwrap();
        scene.documents("whimbrel_migrations").delete_many(doc! {}).await.unwrap();
    }
    scene.close().await;
}

#[tokio::test]
async fn the_last_id_ends_the_chunks_whatever_its_type() {
    for last in
        [bson::Bson::Int64(9), bson::Bson::Double(9.0), bson::Bson::Double(f64::NAN), bson::Bson::Int32(9), "x".into()]
    {
        let scene = Scene::new("last").await;
        scene.documents("orders").insert_one(doc! {"_id": last.clone(), "n": 0}).await.unwrap();
        let text = "steps:\n  - create_collection: {collection: x}\n  - update: {collection: orders, filter: {}, update: {$inc: {n: 1}}}\n";
        let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
        let cancel = CancellationToken::new();
        let done = tokio::time::timeout(std::time::Duration::from_secs(20), runner.up(None, &cancel)).await;
        done.unwrap_or_else(|_| panic!("{last:?}: it never ends")).unwrap();
        assert_eq!(scene.count("orders", doc! {"n": 1}).await, 1, "{last:?}");
        scene.close().await;
    }
}

#[tokio::test]
async fn a_rename_over_an_existing_field_is_refused_before_anything_is_written() {
    let scene = Scene::new("both").await;
    scene.documents("c").insert_one(doc! {"a": 1, "b": 2}).await.unwrap();
    let text =
        "steps:\n  - insert: {collection: c, documents: [{x: 1}]}\n  - rename_field: {collection: c, fields: {a: b}}\n";
    let (runner, _) = runner(scene.open(), yaml(&[text]), "one");
    let error = runner.up(None, &CancellationToken::new()).await.unwrap_err();
    assert_eq!((&*error.code, scene.count("c", doc! {}).await), ("field_exists", 1), "{error}");
    scene.close().await;
}

#[tokio::test]
async fn a_dry_run_writes_nothing_at_all_and_says_what_would_be() {
    let scene = Scene::new("dry").await;
    scene.fill("orders", 5_000).await;
    let (runner, _) = runner(scene.open(), yaml(&[TOTALS]), "one");
    let ids = runner.pending(None).await.unwrap();
    let predicted = runner.predict(&ids, Direction::Up).await.unwrap();
    let step = &predicted[0].1[0];
    assert_eq!(
        (step.touched, step.exact, step.chunks, step.fits_transaction),
        (Some(5_000), true, Some(50), Some(false))
    );
    assert!(step.duration_ms.is_some());
    let names = scene.database.list_collection_names().await.unwrap();
    assert_eq!(names, ["orders"], "no ledger, no lock");
    scene.close().await;
}

#[tokio::test]
async fn versions_up_to_one_are_applied_and_a_version_that_is_not_there_is_refused() {
    let scene = Scene::new("to").await;
    let one = |n: i32| format!("steps:\n  - insert: {{collection: c, documents: [{{_id: {n}}}]}}\n");
    let texts: Vec<String> = (1..=11).map(one).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (runner, _) = runner(scene.open(), yaml(&texts), "one");
    let cancel = CancellationToken::new();
    let error = runner.up(Some(&Version::from(12)), &cancel).await.unwrap_err();
    assert_eq!((error.kind, scene.count("c", doc! {}).await), (Kind::Refused, 0));
    let report = runner.up(Some(&Version::from(10)), &cancel).await.unwrap();
    assert_eq!(report.done, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    assert_eq!(runner.up(None, &cancel).await.unwrap().done, ["11"]);
    scene.close().await;
}
