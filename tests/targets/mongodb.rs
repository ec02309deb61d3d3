//! The MongoDB target against a real mongod (replica set) at MONGO_PORT.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Client, Database};
use serde_json::json;
use whimbrel::config::raw::{CompositeId, MongoTarget as Raw, OddFieldNames};
use whimbrel::config::secret::Secret;
use whimbrel::event::{Reason, SourceType};
use whimbrel::target::mongodb::{MongoTarget, Settings};
use whimbrel::target::{
    Applied, DeadLetterFilter, DeliveryMode, ErrorKind, KafkaCoordinates, ParkedKey, RowAction, Step, StoredOffset,
    Target, TargetError,
};

use super::planned::{PIPELINE, Planned, TOPIC, UNAVAILABLE, layout};

/// A database of the test's own, and targets on it.
struct Bench {
    db: Database,
    raw: Raw,
}

impl Bench {
    async fn new(test: &str) -> Self {
        let port = std::env::var("MONGO_PORT").expect("MONGO_PORT: port of a mongod replica set (./x services up)");
        let uri = format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0");
        let client = Client::with_uri_str(&uri).await.unwrap();
        let database = format!("wb_{test}_{}", std::process::id());
        let db = client.database(&database);
        db.drop().await.unwrap();
        let raw = Raw {
            uri: Secret::new(uri),
            database,
            state_database: None,
            composite_id: CompositeId::Document,
            key_fields: true,
            odd_field_names: OddFieldNames::Keep,
            ledger: true,
            timeout: None,
        };
        Self { db, raw }
    }

    async fn target(&self, mode: DeliveryMode) -> MongoTarget {
        let settings = Settings::from_raw(&self.raw, mode, Duration::from_secs(3600)).unwrap();
        let mut target = MongoTarget::new(settings);
        target.open().await.unwrap();
        target
    }

    /// All documents, by `_id`, without the version.
    async fn all(&self, collection: &str) -> Vec<Document> {
        let found = self.db.collection::<Document>(collection).find(doc! {}).sort(doc! {"_id": 1}).await.unwrap();
        let mut all: Vec<Document> = found.try_collect().await.unwrap();
        for document in &mut all {
            document.remove("_whimbrel");
        }
        all
    }

    async fn count(&self, collection: &str) -> u64 {
        self.db.collection::<Document>(collection).count_documents(doc! {}).await.unwrap()
    }
}

/// As the pipeline does with conflicts: again. Very large transactions can meet a full cache.
async fn retried(target: &mut MongoTarget, planned: &Planned) -> Result<Applied, TargetError> {
    for _ in 0..100 {
        match target.apply(&planned.write()).await {
            Err(error) if error.kind == ErrorKind::Conflict => tokio::time::sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
    }
    panic!("conflicts without end");
}

const ONCE: DeliveryMode = DeliveryMode::ExactlyOnce;
const ATLEAST: DeliveryMode = DeliveryMode::AtLeastOnce;

fn people() -> std::sync::Arc<whimbrel::target::Layout> {
    layout("people", &[("id", SourceType::Int64), ("name", SourceType::Text), ("bio", SourceType::Text)], &["id"])
}

#[tokio::test]
async fn rows_are_written_patched_deleted_and_appended_in_both_modes() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("rows").await;
        let mut target = bench.target(mode).await;
        let people = people();
        let log = layout("log", &[("line", SourceType::Text)], &[]);

        let mut first = Planned::new(mode);
        first.upsert(&people, 0, &json!({"id": 1, "name": "Ada", "bio": "long"}));
        first.upsert(&people, 1, &json!({"id": 2, "name": "Bob", "bio": null}));
        first.append(&log, 2, &json!({"line": "a \"quoted\" line\n"}));
        first.advance(None, 3);
        let applied = target.apply(&first.write()).await.unwrap();
        assert_eq!((applied.rows, applied.skipped_older, applied.lossy.len()), (3, 0, 0));

        let mut second = Planned::new(mode);
        second.patch(&people, 3, &json!({"id": 1, "name": "Ada L.", "bio": UNAVAILABLE}));
        second.patch(&people, 4, &json!({"id": 3, "name": "new by patch", "bio": UNAVAILABLE}));
        second.delete(&people, 5, &json!({"id": 2}));
        second.delete(&people, 6, &json!({"id": 99}));
        second.advance(Some(3), 7);
        assert_eq!(target.apply(&second.write()).await.unwrap().rows, 3);

        assert_eq!(
            bench.all("people").await,
            [
                doc! {"_id": 1_i64, "id": 1_i64, "name": "Ada L.", "bio": "long"},
                doc! {"_id": 3_i64, "id": 3_i64, "name": "new by patch"},
            ]
        );
        assert_eq!(bench.all("log").await, [doc! {"_id": format!("{TOPIC}:0:2"), "line": "a \"quoted\" line\n"}]);
        let stored = target.offsets(PIPELINE, &[(TOPIC.into(), 0), (TOPIC.into(), 1)]).await.unwrap();
        let expected = |partition, next| StoredOffset { topic: TOPIC.into(), partition, next };
        assert_eq!(stored, [expected(0, Some(7)), expected(1, None)]);
        // Nothing of another pipeline.
        assert_eq!(target.offsets("p2", &[(TOPIC.into(), 0)]).await.unwrap()[0].next, None);

        let mut third = Planned::new(mode);
        third.steps.push(Step::Truncate(people.clone()));
        third.upsert(&people, 8, &json!({"id": 7, "name": "after", "bio": "x"}));
        target.apply(&third.write()).await.unwrap();
        assert_eq!(bench.all("people").await, [doc! {"_id": 7_i64, "id": 7_i64, "name": "after", "bio": "x"}]);
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn a_missed_compare_and_set_leaves_nothing_behind() {
    let bench = Bench::new("fence").await;
    let mut target = bench.target(ONCE).await;
    let people = people();
    let mut planned = Planned::new(ONCE);
    planned.upsert(&people, 0, &json!({"id": 1, "name": "a", "bio": "b"})).advance(None, 1);
    target.apply(&planned.write()).await.unwrap();

    // Nothing expected though there is something; the wrong thing expected; something expected though there is nothing.
    for (partition, expected) in [(0, None), (0, Some(0)), (0, Some(2)), (5, Some(1))] {
        let mut late = Planned::new(ONCE);
        late.upsert(&people, 1, &json!({"id": 1, "name": "zombie", "bio": "b"}));
        late.upsert(&people, 2, &json!({"id": 2, "name": "zombie", "bio": "b"}));
        late.dead_letter(3, b"k", Reason::Malformed);
        late.advance(expected, 9);
        late.advances[0].partition = partition;
        let error = target.apply(&late.write()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
        // The target goes on after it.
        target.ping().await.unwrap();
    }
    assert_eq!(bench.all("people").await, [doc! {"_id": 1_i64, "id": 1_i64, "name": "a", "bio": "b"}]);
    assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 0);
    assert_eq!(bench.count("whimbrel_ledger").await, 1);
    let stored = target.offsets(PIPELINE, &[(TOPIC.into(), 0), (TOPIC.into(), 5)]).await.unwrap();
    assert_eq!((stored[0].next, stored[1].next), (Some(1), None));

    // The one who expects the right thing goes on, and the same batch again does not.
    let mut next = Planned::new(ONCE);
    next.upsert(&people, 1, &json!({"id": 1, "name": "b", "bio": "b"})).advance(Some(1), 2);
    target.apply(&next.write()).await.unwrap();
    assert_eq!(target.apply(&next.write()).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(bench.count("whimbrel_ledger").await, 2);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn two_agents_that_race_for_one_batch_apply_it_once() {
    let bench = Bench::new("race").await;
    let people = people();
    let mut agents = Vec::new();
    for _ in 0..3 {
        agents.push(bench.target(ONCE).await);
    }
    let mut next = None;
    for round in 0..10_i64 {
        let plan = |_| {
            let mut planned = Planned::new(ONCE);
            planned.upsert(&people, round, &json!({"id": round, "name": "x", "bio": "y"})).advance(next, round + 1);
            planned
        };
        let plans: Vec<Planned> = (0..3).map(plan).collect();
        let tries = agents.iter_mut().zip(&plans).map(|(agent, plan)| async move {
            loop {
                match agent.apply(&plan.write()).await {
                    Ok(_) => break true,
                    Err(error) if error.kind == ErrorKind::Conflict => {
                        tokio::time::sleep(Duration::from_millis(5)).await
                    }
                    Err(error) => {
                        assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
                        break false;
                    }
                }
            }
        });
        let won = futures_util::future::join_all(tries).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        next = Some(round + 1);
    }
    assert_eq!(bench.count("whimbrel_ledger").await, 10);
    assert_eq!(bench.count("people").await, 10);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn keys_become_ids_as_configured() {
    let two = layout("two", &[("b", SourceType::Text), ("a", SourceType::Int32), ("v", SourceType::Text)], &["b", "a"]);
    let row = json!({"b": "x:%", "a": 5, "v": "v"});
    let cases = [
        (CompositeId::Document, true, doc! {"_id": {"b": "x:%", "a": 5}, "b": "x:%", "a": 5, "v": "v"}),
        (CompositeId::Document, false, doc! {"_id": {"b": "x:%", "a": 5}, "v": "v"}),
        (CompositeId::Joined, false, doc! {"_id": "x%3A%25:5", "v": "v"}),
    ];
    for (composite_id, key_fields, expected) in cases {
        let mut bench = Bench::new("keys").await;
        (bench.raw.composite_id, bench.raw.key_fields) = (composite_id, key_fields);
        let mut target = bench.target(ONCE).await;
        let mut planned = Planned::new(ONCE);
        planned.upsert(&two, 0, &row);
        target.apply(&planned.write()).await.unwrap();
        // Once more, by patch: the same document.
        let mut again = Planned::new(ONCE);
        again.patch(&two, 1, &row);
        target.apply(&again.write()).await.unwrap();
        assert_eq!(bench.all("two").await, [expected]);
        let mut gone = Planned::new(ONCE);
        gone.delete(&two, 2, &row);
        assert_eq!(target.apply(&gone.write()).await.unwrap().rows, 1);
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn keys_that_mongodb_refuses_or_would_read_as_operators_are_named() {
    let bench = Bench::new("badkeys").await;
    let mut target = bench.target(ONCE).await;
    let any = layout("any", &[("k", SourceType::Unknown), ("v", SourceType::Text)], &["k"]);
    for key in [json!([1, 2]), json!({"$gt": ""}), json!({"a": {"$ne": 1}})] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&any, 0, &json!({"k": 1, "v": "good"}));
        planned.upsert(&any, 1, &json!({"k": key, "v": "bad"}));
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)), "{error}");
    }
    assert_eq!(bench.count("any").await, 0);
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn odd_field_names_follow_the_policy() {
    let odd = layout(
        "odd",
        &[("id", SourceType::Int32), ("a.b", SourceType::Text), ("$c", SourceType::Text), ("j", SourceType::Unknown)],
        &["id"],
    );
    let row = json!({"id": 1, "a.b": "dot", "$c": "dollar", "j": {"$set": {"x.y": 1}, "e\"q": [{"$k": null}]}});
    let kept =
        doc! {"_id": 1, "id": 1, "a.b": "dot", "$c": "dollar", "j": {"$set": {"x.y": 1}, "e\"q": [{"$k": null}]}};
    let replaced = doc! {
        "_id": 1, "id": 1, "a．b": "dot", "＄c": "dollar", "j": {"＄set": {"x．y": 1}, "e\"q": [{"＄k": null}]},
    };
    for mode in [ONCE, ATLEAST] {
        for (policy, expected) in [(OddFieldNames::Keep, &kept), (OddFieldNames::Replace, &replaced)] {
            let mut bench = Bench::new("odd").await;
            bench.raw.odd_field_names = policy;
            let mut target = bench.target(mode).await;
            let mut planned = Planned::new(mode);
            planned.upsert(&odd, 0, &row);
            target.apply(&planned.write()).await.unwrap();
            assert_eq!(bench.all("odd").await, std::slice::from_ref(expected), "{policy:?} {mode:?}");
            let mut patch = Planned::new(mode);
            patch.patch(&odd, 1, &json!({"id": 1, "a.b": "new", "$c": UNAVAILABLE, "j": UNAVAILABLE}));
            patch.patch(&odd, 2, &json!({"id": 2, "a.b": "born", "$c": "of", "j": null}));
            target.apply(&patch.write()).await.unwrap();
            let dotted = expected.keys().nth(2).unwrap();
            let mut changed = expected.clone();
            changed.insert(dotted, "new");
            let all = bench.all("odd").await;
            // A patch may move a field to the end; what it holds is the matter.
            assert_eq!(all[0].len(), changed.len());
            for (name, value) in &changed {
                assert_eq!(all[0].get(name), Some(value), "{policy:?} {mode:?} {name}");
            }
            assert_eq!(all[1].get_str(dotted).unwrap(), "born");
            bench.db.drop().await.unwrap();
        }
    }
    let mut bench = Bench::new("odd_reject").await;
    bench.raw.odd_field_names = OddFieldNames::Reject;
    let mut target = bench.target(ONCE).await;
    let plain = layout("odd", &[("id", SourceType::Int32), ("j", SourceType::Unknown)], &["id"]);
    let mut planned = Planned::new(ONCE);
    planned.upsert(&plain, 0, &json!({"id": 1, "j": {"ok": 1}})).upsert(&plain, 1, &json!({"id": 2, "j": {"a.b": 1}}));
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_nul_in_a_field_name_never_reaches_the_database() {
    for policy in [OddFieldNames::Keep, OddFieldNames::Replace, OddFieldNames::Reject] {
        let mut bench = Bench::new("nul").await;
        bench.raw.odd_field_names = policy;
        let mut target = bench.target(ONCE).await;
        let plain = layout("n", &[("id", SourceType::Int32), ("j", SourceType::Unknown)], &["id"]);
        let mut planned = Planned::new(ONCE);
        planned.upsert(&plain, 0, &json!({"id": 1, "j": {"a": {"b\u{0}c": 1}}}));
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(0)), "{policy:?}");
        // In a value it is a character like any other.
        let mut planned = Planned::new(ONCE);
        planned.upsert(&plain, 0, &json!({"id": 1, "j": {"a": "b\u{0}c"}}));
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(bench.all("n").await, [doc! {"_id": 1, "id": 1, "j": {"a": "b\0c"}}]);
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_server_refuses_names_the_event_and_leaves_the_batch_unwritten() {
    let bench = Bench::new("refused").await;
    let mut target = bench.target(ONCE).await;
    let users = layout("users", &[("id", SourceType::Int32), ("email", SourceType::Text)], &["id"]);
    bench.db.run_command(doc! {"create": "users", "validator": {"email": {"$ne": "forbidden"}}}).await.unwrap();
    let unique = doc! {"key": {"email": 1}, "name": "e", "unique": true};
    bench.db.run_command(doc! {"createIndexes": "users", "indexes": [unique]}).await.unwrap();
    let mut planned = Planned::new(ONCE);
    planned.upsert(&users, 0, &json!({"id": 1, "email": "a@b.c"})).advance(None, 1);
    target.apply(&planned.write()).await.unwrap();

    for (email, kind) in [("a@b.c", ErrorKind::Constraint), ("forbidden", ErrorKind::Constraint)] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&users, 10, &json!({"id": 2, "email": "fine"}));
        planned.upsert(&users, 11, &json!({"id": 3, "email": email}));
        planned.upsert(&users, 12, &json!({"id": 4, "email": "fine too"})).advance(Some(1), 13);
        let error = target.apply(&planned.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (kind, Some(1)), "{error}");
        assert!(!format!("{error:?}").contains(email), "{error:?}");
    }
    assert_eq!(bench.count("users").await, 1);

    // Without a transaction, the neighbours stay; the event is named all the same.
    let mut target = bench.target(ATLEAST).await;
    let mut planned = Planned::new(ATLEAST);
    planned.upsert(&users, 10, &json!({"id": 2, "email": "fine"}));
    planned.upsert(&users, 11, &json!({"id": 3, "email": "a@b.c"}));
    planned.upsert(&users, 12, &json!({"id": 4, "email": "fine too"})).advance(None, 13);
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::Constraint, Some(1)), "{error}");
    assert_eq!(bench.count("users").await, 3);
    assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(1));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn large_rows_are_written_up_to_the_servers_limit_and_named_beyond_it() {
    let mut bench = Bench::new("large").await;
    bench.raw.key_fields = false;
    let blobs = layout("blobs", &[("id", SourceType::Int32), ("t", SourceType::Text)], &["id"]);
    // _id and t around the text: 4 + 1+4+4 + 1+2+4 + text + 1 + 1.
    let fits = 16 * 1024 * 1024 - 22;
    for mode in [ONCE, ATLEAST] {
        let mut target = bench.target(mode).await;
        // The version takes its place too.
        let room = if mode == ONCE { fits } else { fits - 100 };
        let text = "x".repeat(room);
        let mut planned = Planned::new(mode);
        planned.upsert(&blobs, 0, &json!({"id": 0, "t": text})).upsert(&blobs, 1, &json!({"id": 1, "t": "small"}));
        assert_eq!(retried(&mut target, &planned).await.unwrap().rows, 2);
        // More than one command holds.
        let mut planned = Planned::new(mode);
        let third = "x".repeat(6 * 1024 * 1024);
        for id in 2..6 {
            planned.upsert(&blobs, id, &json!({"id": id, "t": third}));
        }
        assert_eq!(retried(&mut target, &planned).await.unwrap().rows, 4);
        assert_eq!(bench.count("blobs").await, 6);

        let mut planned = Planned::new(mode);
        planned.upsert(&blobs, 8, &json!({"id": 8, "t": "small"}));
        planned.upsert(&blobs, 9, &json!({"id": 9, "t": "x".repeat(fits + 1)}));
        let error = retried(&mut target, &planned).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::RowTooLarge, Some(1)), "{error}");
        bench.db.collection::<Document>("blobs").drop().await.unwrap();
    }
    // A patch may make a document too large that the agent cannot see whole: the server says so.
    let wide = layout("blobs", &[("id", SourceType::Int32), ("t", SourceType::Text), ("u", SourceType::Text)], &["id"]);
    let half = "x".repeat(9 * 1024 * 1024);
    let mut target = bench.target(ONCE).await;
    let mut planned = Planned::new(ONCE);
    planned.upsert(&wide, 0, &json!({"id": 0, "t": half}));
    retried(&mut target, &planned).await.unwrap();
    let mut planned = Planned::new(ONCE);
    planned.patch(&wide, 1, &json!({"id": 1, "u": "small"})).patch(&wide, 2, &json!({"id": 0, "u": half}));
    let error = retried(&mut target, &planned).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::RowTooLarge, Some(1)), "{error}");
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn plain_json_keeps_its_values_and_deep_nesting_is_refused() {
    let bench = Bench::new("json").await;
    let mut target = bench.target(ONCE).await;
    let any = layout("j", &[("id", SourceType::Unknown), ("v", SourceType::Unknown)], &["id"]);
    let cases: Vec<(&str, Bson)> = vec![
        ("1", Bson::Int32(1)),
        ("-2147483649", Bson::Int64(-2_147_483_649)),
        ("9223372036854775807", Bson::Int64(i64::MAX)),
        ("9223372036854775808", Bson::Decimal128("9223372036854775808".parse().unwrap())),
        ("1.5", Bson::Double(1.5)),
        ("-0.0", Bson::Double(-0.0)),
        ("1e3", Bson::Double(1000.0)),
        ("1e400", Bson::Decimal128("1E+400".parse().unwrap())),
        ("true", Bson::Boolean(true)),
        ("[]", Bson::Array(vec![])),
        ("{}", Bson::Document(doc! {})),
        (r#" [ 1 , { "a" : [ null , "x\u00e9\n" ] } ] "#, bson::bson!([1, {"a": [null, "xé\n"]}])),
        (r#"{"a":1,"b":2,"a":{"c":1,"c":2}}"#, bson::bson!({"a": {"c": 2}, "b": 2})),
    ];
    let mut planned = Planned::new(ONCE);
    for (id, (text, _)) in cases.iter().enumerate() {
        let id = i64::try_from(id).unwrap();
        planned.upsert(&any, id, &json!({"id": id, "v": null}));
        // As it came, not as serde_json would print it.
        let span = planned.batch.push_bytes(text.as_bytes());
        let kind = match text.trim().as_bytes()[0] {
            b'{' | b'[' => whimbrel::event::CellKind::Json,
            b't' => whimbrel::event::CellKind::True,
            _ => whimbrel::event::CellKind::Number,
        };
        planned.batch.cells.last_mut().map(|cell| *cell = whimbrel::event::Cell { span, kind }).unwrap();
    }
    target.apply(&planned.write()).await.unwrap();
    for (document, (text, expected)) in bench.all("j").await.iter().zip(&cases) {
        assert_eq!(document.get("v"), Some(expected), "{text}");
    }
    assert_eq!(bench.count("j").await, u64::try_from(cases.len()).unwrap());

    for (depth, fits) in [(98, true), (99, true), (100, false), (5_000, false)] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&any, 50, &json!({"id": 50, "v": null}));
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let span = planned.batch.push_bytes(text.as_bytes());
        planned.batch.cells.last_mut().map(|cell| cell.span = span).unwrap();
        planned.batch.cells.last_mut().map(|cell| cell.kind = whimbrel::event::CellKind::Json).unwrap();
        let outcome = target.apply(&planned.write()).await;
        assert_eq!(outcome.is_ok(), fits, "{depth}");
        if let Err(error) = outcome {
            assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(0)));
        }
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn dead_letters_are_stored_found_counted_and_settled() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("letters").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        planned.dead_letter(12, b"k2", Reason::Malformed).dead_letter(4, b"k1", Reason::BadValue);
        planned.dead_letters[1].kafka = Some(KafkaCoordinates { topic: "dlq".into(), partition: 3, offset: 77 });
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 2);
        assert_eq!(target.dead_letter_count("p2").await.unwrap(), 0);
        let all = target.dead_letters(PIPELINE, &DeadLetterFilter::default()).await.unwrap();
        assert_eq!(all.iter().map(|l| l.offset).collect::<Vec<_>>(), [4, 12]);
        assert_eq!((all[0].key.as_deref(), &all[0].value), (Some(&b"k1"[..]), &None));
        assert_eq!(all[0].kafka.as_ref().unwrap().offset, 77);
        assert_eq!(all[1].value.as_deref(), Some(&b"\xffbroken"[..]));
        assert_eq!((all[1].reason.as_str(), all[1].table.as_str()), ("malformed", "public.t"));
        assert_eq!((all[1].stored_at_ms, all[1].record_ts_ms), (1_764_000_000_000, 1_763_000_000_000));
        assert!(!all[1].headers.is_empty());

        let filters = [
            (DeadLetterFilter { topic: Some(TOPIC.into()), ..Default::default() }, 2),
            (DeadLetterFilter { topic: Some("other".into()), ..Default::default() }, 0),
            (DeadLetterFilter { partition: Some(1), ..Default::default() }, 0),
            (DeadLetterFilter { offset: Some(12), ..Default::default() }, 1),
            (DeadLetterFilter { reason: Some("bad_value".into()), ..Default::default() }, 1),
            (DeadLetterFilter { key: Some(b"k2".to_vec()), ..Default::default() }, 1),
            (DeadLetterFilter { limit: 1, ..Default::default() }, 1),
        ];
        for (filter, expected) in filters {
            assert_eq!(target.dead_letters(PIPELINE, &filter).await.unwrap().len(), expected, "{filter:?}");
        }
        let mut keys = target.parked_keys(PIPELINE, &[TOPIC.into()]).await.unwrap();
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let parked = |key: &[u8]| ParkedKey { topic: TOPIC.into(), key: key.to_vec() };
        assert_eq!(keys, [parked(b"k1"), parked(b"k2")]);
        assert!(target.parked_keys(PIPELINE, &["other".into()]).await.unwrap().is_empty());

        let coordinates = |offset| KafkaCoordinates { topic: TOPIC.into(), partition: 0, offset };
        let mut redrive = Planned::new(mode);
        redrive.settled = vec![coordinates(12)];
        target.apply(&redrive.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 1);
        // What somebody else has settled cannot be settled again, nor anything together with it.
        redrive.settled = vec![coordinates(12), coordinates(4)];
        assert_eq!(target.apply(&redrive.write()).await.unwrap_err().kind, ErrorKind::Fenced);
        if mode == ONCE {
            assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 1);
        }
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn an_event_is_parked_only_behind_a_dead_letter_that_is_still_there() {
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("parking").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        // Poison and what follows it in one batch.
        planned.dead_letter(1, b"k", Reason::BadValue).dead_letter(2, b"k", Reason::ParkedBehind).advance(None, 3);
        target.apply(&planned.write()).await.unwrap();
        let mut later = Planned::new(mode);
        later.dead_letter(3, b"k", Reason::ParkedBehind).advance(Some(3), 4);
        target.apply(&later.write()).await.unwrap();
        assert_eq!(target.dead_letter_count(PIPELINE).await.unwrap(), 3);

        let mut unparked = Planned::new(mode);
        let people = people();
        unparked.upsert(&people, 4, &json!({"id": 1, "name": "n", "bio": "b"}));
        unparked.dead_letter(5, b"other", Reason::ParkedBehind).advance(Some(4), 6);
        let error = target.apply(&unparked.write()).await.unwrap_err();
        assert_eq!((error.kind, error.event), (ErrorKind::Unparked, Some(1)));
        assert_eq!((bench.count("people").await, target.dead_letter_count(PIPELINE).await.unwrap()), (0, 3));
        assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(4));
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn the_ledger_shows_doubled_effects() {
    let mut bench = Bench::new("ledger").await;
    let people = people();
    for ledger in [true, false] {
        bench.raw.ledger = ledger;
        let mut target = bench.target(ONCE).await;
        // A re-drive has no advance to fence it: applied twice, it must show twice.
        let mut planned = Planned::new(ONCE);
        planned.upsert(&people, 8, &json!({"id": 1, "name": "n", "bio": "b"}));
        target.apply(&planned.write()).await.unwrap();
        target.apply(&planned.write()).await.unwrap();
        let effects = bench.all("whimbrel_ledger").await;
        assert_eq!(effects.len(), 2);
        for effect in effects {
            assert_eq!((effect.get_str("topic").unwrap(), effect.get_i64("offset").unwrap()), (TOPIC, 8));
        }
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn replays_in_any_order_converge() {
    use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
    let seed = std::env::var("WHIMBREL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("WHIMBREL_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let people = people();
    let bench = Bench::new("replay").await;
    let mut target = bench.target(ATLEAST).await;
    for round in 0..12_i64 {
        let keys = 4;
        let events: Vec<(i64, i64, bool)> = (0..24)
            .map(|offset| (offset, round * 100 + random.random_range(0..keys), random.random_bool(0.35)))
            .collect();
        let mut expected = std::collections::BTreeMap::new();
        for (offset, id, delete) in &events {
            if *delete {
                expected.remove(id);
            } else {
                expected.insert(*id, doc! {"_id": id, "id": id, "name": format!("v{offset}"), "bio": "b"});
            }
        }
        let mut replayed = events.clone();
        for _ in 0..12 {
            replayed.push(events[random.random_range(0..events.len())]);
        }
        replayed.shuffle(&mut random);
        for (offset, id, delete) in replayed {
            let mut planned = Planned::new(ATLEAST);
            if delete {
                planned.delete(&people, offset, &json!({"id": id}));
            } else {
                planned.upsert(&people, offset, &json!({"id": id, "name": format!("v{offset}"), "bio": "b"}));
            }
            target.apply(&planned.write()).await.unwrap();
        }
        let mut all = bench.all("people").await;
        all.retain(|d| d.get_i64("_id").unwrap() / 100 == round);
        assert_eq!(all, expected.into_values().collect::<Vec<_>>(), "round {round} of WHIMBREL_SEED={seed}");
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn replaying_a_partition_from_any_point_keeps_what_patches_did_not_write() {
    let people = people();
    let bench = Bench::new("patches").await;
    let mut target = bench.target(ATLEAST).await;
    let planned = |offset: i64| {
        let mut planned = Planned::new(ATLEAST);
        match offset {
            0 => planned.upsert(&people, 0, &json!({"id": 1, "name": "a", "bio": "first"})),
            1 => planned.patch(&people, 1, &json!({"id": 1, "name": "b", "bio": UNAVAILABLE})),
            2 => planned.upsert(&people, 2, &json!({"id": 1, "name": "c", "bio": "second"})),
            _ => planned.patch(&people, 3, &json!({"id": 1, "name": "d", "bio": UNAVAILABLE})),
        };
        planned
    };
    for offset in 0..4 {
        assert_eq!(target.apply(&planned(offset).write()).await.unwrap().skipped_older, 0);
    }
    for from in 0..4 {
        for offset in from..4 {
            assert_eq!(target.apply(&planned(offset).write()).await.unwrap().skipped_older, 1);
        }
        assert_eq!(bench.all("people").await, [doc! {"_id": 1_i64, "id": 1_i64, "name": "d", "bio": "second"}]);
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_stale_write_that_lands_after_a_delete_is_removed() {
    let people = people();
    let bench = Bench::new("tombstone").await;
    let mut owner = bench.target(ATLEAST).await;
    let mut zombie = bench.target(ATLEAST).await;
    for action in [RowAction::Upsert, RowAction::Patch] {
        for round in 0..20_i64 {
            let row = json!({"id": round, "name": "old", "bio": "b"});
            let mut stale = Planned::new(ATLEAST);
            stale.op(&people, 10, &row, action);
            let mut delete = Planned::new(ATLEAST);
            delete.delete(&people, 11, &row);
            // Both at once, in whatever order the server sees them.
            let (stale, delete) = (stale.write(), delete.write());
            let (first, second) = tokio::join!(zombie.apply(&stale), owner.apply(&delete));
            first.unwrap();
            second.unwrap();
            // And late beyond doubt.
            assert_eq!(zombie.apply(&stale).await.unwrap().skipped_older, 1);
            assert_eq!(bench.count("people").await, 0, "round {round}");
        }
        // A newer row is not held back by the tombstone, and a replayed delete does not hurt it.
        let mut newer = Planned::new(ATLEAST);
        newer.upsert(&people, 12, &json!({"id": 0, "name": "new", "bio": "b"}));
        owner.apply(&newer.write()).await.unwrap();
        let mut replay = Planned::new(ATLEAST);
        replay.delete(&people, 11, &json!({"id": 0}));
        owner.apply(&replay.write()).await.unwrap();
        assert_eq!(bench.count("people").await, 1);
        let mut end = Planned::new(ATLEAST);
        end.delete(&people, 13, &json!({"id": 0}));
        owner.apply(&end.write()).await.unwrap();
        bench.db.collection::<Document>("whimbrel_tombstones").delete_many(doc! {}).await.unwrap();
    }
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn stale_writes_of_many_keys_are_removed_at_once() {
    let people = people();
    let bench = Bench::new("manystale").await;
    let mut target = bench.target(ATLEAST).await;
    let mut stale = Planned::new(ATLEAST);
    let mut delete = Planned::new(ATLEAST);
    for id in 0..120_i64 {
        let row = json!({"id": id, "name": "old", "bio": "b"});
        stale.upsert(&people, id, &row);
        // Every second one is deleted later.
        if id % 2 == 0 {
            delete.delete(&people, 1000 + id, &row);
        }
    }
    // No tombstones yet.
    assert_eq!(target.apply(&stale.write()).await.unwrap().rows, 120);
    assert_eq!(target.apply(&delete.write()).await.unwrap().rows, 60);
    let applied = target.apply(&stale.write()).await.unwrap();
    assert_eq!((applied.rows, applied.skipped_older), (0, 120));
    let left = bench.all("people").await;
    assert_eq!(left.len(), 60);
    assert!(left.iter().all(|row| row.get_i64("_id").unwrap() % 2 == 1));
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn a_frontier_never_moves_back_without_a_transaction() {
    let bench = Bench::new("frontier").await;
    let mut target = bench.target(ATLEAST).await;
    for (next, stands) in [(5, 5), (9, 9), (7, 9)] {
        let mut planned = Planned::new(ATLEAST);
        planned.advance(None, next);
        target.apply(&planned.write()).await.unwrap();
        assert_eq!(target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await.unwrap()[0].next, Some(stands));
    }
    bench.db.drop().await.unwrap();
}

fn binary(subtype: bson::spec::BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary { subtype, bytes: bytes.to_vec() })
}

fn date(millis: i64) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(millis))
}

fn number(digits: &str) -> Bson {
    Bson::Decimal128(digits.parse().unwrap())
}

#[tokio::test]
async fn every_source_type_becomes_its_bson_type() {
    use SourceType as T;
    use bson::spec::BinarySubtype::{Generic, Uuid};
    let text = |s: &str| Bson::String(s.into());
    let uuid = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00];
    let wide = "1".repeat(35);
    let point = doc! {"wkb": binary(Generic, &[1, 2]), "srid": 4326_i64, "x": 1.5, "y": 2.0};
    // Type, JSON, BSON, whether something was lost.
    let cases: Vec<(T, serde_json::Value, Bson, bool)> = vec![
        (T::Boolean, json!(true), Bson::Boolean(true), false),
        (T::Int32, json!(7), Bson::Int32(7), false),
        (T::Int64, json!(7), Bson::Int64(7), false),
        (T::Year, json!(2024), Bson::Int32(2024), false),
        (T::Float32, json!(0.5), Bson::Double(0.5), false),
        (T::Float64, json!("Infinity"), Bson::Double(f64::INFINITY), false),
        (T::Text, json!("ü\n\"\u{0}"), text("ü\n\"\u{0}"), false),
        (T::Enum, json!("new"), text("new"), false),
        (T::EnumSet, json!("a,b"), text("a,b"), false),
        (T::Xml, json!("<a/>"), text("<a/>"), false),
        (T::Bytes, json!("AQID"), binary(Generic, &[1, 2, 3]), false),
        (T::Decimal { scale: 2 }, json!("ANI="), number("2.10"), false),
        (T::Decimal { scale: 0 }, json!("/w=="), number("-1"), false),
        (T::VariableDecimal, json!({"scale": 3, "value": "Bw=="}), number("0.007"), false),
        (T::DateDays, json!(-1), date(-86_400_000), false),
        (T::TimeMillis, json!(1500), text("00:00:01.500000"), false),
        (T::TimeMicros, json!(3_600_000_000_i64), text("01:00:00"), false),
        (T::TimeNanos, json!(1_000), text("00:00:00.000001"), false),
        (T::ZonedTime, json!("10:15:30Z"), text("10:15:30Z"), false),
        (T::TimestampMillis, json!(1_700_000_000_123_i64), date(1_700_000_000_123), false),
        (T::TimestampMicros, json!(1_700_000_000_123_000_i64), date(1_700_000_000_123), false),
        (T::TimestampMicros, json!(-1), date(-1), true),
        (T::TimestampNanos, json!(1_000_000_i64), date(1), false),
        (T::TimestampNanos, json!(1_000_001_i64), date(1), true),
        (T::ZonedTimestamp, json!("1970-01-01T01:00:00.001+01:00"), date(1), false),
        (T::ZonedTimestamp, json!("1970-01-01T00:00:00.000001Z"), date(0), true),
        (T::IsoDate, json!("1970-01-02Z"), date(86_400_000), false),
        (T::IsoTimestamp, json!("1970-01-01T00:00:01Z"), date(1000), false),
        (T::IntervalIso, json!("P1Y2M3DT4H5M6.5S"), text("P14M3DT14706.500000S"), false),
        (T::Json, json!("{\"a\":[1,{\"b\":null}]}"), bson::bson!({"a": [1, {"b": null}]}), false),
        (T::Json, json!("\"s\""), text("s"), false),
        (T::Json, json!("not json"), text("not json"), true),
        (T::Uuid, json!("123e4567-e89b-12d3-a456-426614174000"), binary(Uuid, &uuid), false),
        (T::Bits { length: 3 }, json!("BQ=="), text("101"), false),
        (T::Geometry, json!({"x": 1.5, "y": 2.0, "wkb": "AQI=", "srid": 4326}), Bson::Document(point), false),
        (T::Array(Box::new(T::Int64)), json!([1, null]), bson::bson!([1_i64, null]), false),
        (T::Array(Box::new(T::Decimal { scale: 1 })), json!(["Bw=="]), Bson::Array(vec![number("0.7")]), false),
        (
            T::Struct(vec![("d".into(), T::DateDays), ("t".into(), T::Text)]),
            json!({"d": 1, "t": "x"}),
            Bson::Document(doc! {"d": date(86_400_000), "t": "x"}),
            false,
        ),
        (T::Map, json!({"k": {"$v": 1}}), bson::bson!({"k": {"$v": 1}}), false),
        (T::Unknown, json!("plain"), text("plain"), false),
        (T::Int64, json!(null), Bson::Null, false),
    ];
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("types").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        for (id, (ty, value, ..)) in cases.iter().enumerate() {
            let table = layout("types", &[("id", SourceType::Int32), ("v", ty.clone())], &["id"]);
            planned.upsert(&table, i64::try_from(id).unwrap(), &json!({"id": id, "v": value}));
        }
        let wide_table = layout("wide", &[("id", SourceType::Int32), ("v", SourceType::Unknown)], &["id"]);
        planned.upsert(&wide_table, 900, &json!({"id": 1, "v": null}));
        let span = planned.batch.push_bytes(wide.as_bytes());
        *planned.batch.cells.last_mut().unwrap() =
            whimbrel::event::Cell { span, kind: whimbrel::event::CellKind::Number };
        let applied = target.apply(&planned.write()).await.unwrap();
        for (document, (ty, value, expected, _)) in bench.all("types").await.iter().zip(&cases) {
            assert_eq!(document.get("v"), Some(expected), "{ty:?} {value}");
        }
        assert_eq!(bench.count("types").await, u64::try_from(cases.len()).unwrap());
        assert_eq!(bench.all("wide").await[0].get_str("v").unwrap(), wide);
        let lost: Vec<u32> = cases.iter().zip(0_u32..).filter(|(case, _)| case.3).map(|(_, event)| event).collect();
        let wide_event = u32::try_from(cases.len()).unwrap();
        let mut reported: Vec<u32> = applied.lossy.iter().filter(|l| l.table == "types").map(|l| l.event).collect();
        reported.sort_unstable();
        let counted: u64 = applied.lossy.iter().filter(|l| l.table == "types").map(|l| l.count).sum();
        assert_eq!(counted, u64::try_from(lost.len()).unwrap(), "{:?}", applied.lossy);
        assert!(reported.iter().all(|event| lost.contains(event)), "{:?}", applied.lossy);
        assert!(
            applied.lossy.iter().any(|l| (l.table.as_str(), l.column.as_str(), l.event) == ("wide", "v", wide_event))
        );
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn a_value_that_is_not_of_its_type_names_event_and_column_and_not_itself() {
    let bench = Bench::new("badvalue").await;
    let mut target = bench.target(ONCE).await;
    let table = layout("t", &[("id", SourceType::Int32), ("when", SourceType::DateDays)], &["id"]);
    let mut planned = Planned::new(ONCE);
    planned.upsert(&table, 0, &json!({"id": 1, "when": 1})).upsert(&table, 1, &json!({"id": 2, "when": "s3cr3t"}));
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)));
    assert!(error.to_string().contains("`when`") && !error.to_string().contains("s3cr3t"), "{error}");
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn mongodb_documents_keep_their_types_and_become_the_document() {
    let oid = bson::oid::ObjectId::parse_str("596e275826f08b2730779e1f").unwrap();
    let key = json!("{\"$oid\": \"596e275826f08b2730779e1f\"}").as_str().unwrap().to_owned();
    let extended = r#"{"_id": {"$oid": "596e275826f08b2730779e1f"}, "_whimbrel": {"v": 1},
        "long": {"$numberLong": "5"}, "int": {"$numberInt": "6"}, "double": {"$numberDouble": "-Infinity"}, "plain": 7.25,
        "decimal": {"$numberDecimal": "1.10"}, "iso": {"$date": "1970-01-01T00:00:00.005Z"}, "millis": {"$date": 6},
        "canonical": {"$date": {"$numberLong": "-7"}}, "bin": {"$binary": {"base64": "AQI=", "subType": "80"}},
        "oldbin": {"$binary": "AQI=", "$type": "00"}, "uuid": {"$uuid": "123e4567-e89b-12d3-a456-426614174000"},
        "regex": {"$regularExpression": {"pattern": "^a", "options": "mi"}}, "ts": {"$timestamp": {"t": 8, "i": 9}},
        "min": {"$minKey": 1}, "max": {"$maxKey": 1}, "undef": {"$undefined": true}, "sym": {"$symbol": "s"},
        "code": {"$code": "f()"}, "nested": [{"$numberLong": "1"}, {"deep": {"$oid": "596e275826f08b2730779e1f"}}],
        "ref": {"$ref": "c", "$id": {"$numberLong": "3"}}, "bad": {"$strange": "short"}, "empty": {}}"#;
    use bson::spec::BinarySubtype::{Generic, UserDefined, Uuid};
    let uuid = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00];
    let regex = bson::Regex {
        pattern: bson::raw::CString::try_from("^a").unwrap(),
        options: bson::raw::CString::try_from("im").unwrap(),
    };
    let expected = doc! {
        "_id": oid, "long": 5_i64, "int": 6, "double": f64::NEG_INFINITY, "plain": 7.25, "decimal": number("1.10"),
        "iso": date(5), "millis": date(6), "canonical": date(-7), "bin": binary(UserDefined(0x80), &[1, 2]),
        "oldbin": binary(Generic, &[1, 2]), "uuid": binary(Uuid, &uuid), "regex": regex,
        "ts": bson::Timestamp { time: 8, increment: 9 }, "min": Bson::MinKey, "max": Bson::MaxKey, "undef": Bson::Null,
        "sym": "s", "code": Bson::JavaScriptCode("f()".into()), "nested": [1_i64, {"deep": oid}],
        "ref": {"$ref": "c", "$id": 3_i64}, "bad": {"$strange": "short"}, "empty": {},
    };
    let table = layout("docs", &[("id", SourceType::MongoDocument), ("document", SourceType::MongoDocument)], &["id"]);
    let mut table = std::sync::Arc::unwrap_or_clone(table);
    // As decode has it: the row is the document alone, the key stands apart.
    table.columns.remove(0);
    let table = std::sync::Arc::new(table);
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("mongo").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        planned.upsert(&table, 0, &json!({"id": key, "document": extended}));
        planned.upsert(
            &table,
            1,
            &json!({"id": "7", "document": "{\"_id\": 7, \"$odd\": {\"$numberLong\": \"1\"}, \"a.b\": 2}"}),
        );
        planned.upsert(&table, 2, &json!({"id": "\"text\"", "document": "{\"_id\": \"text\", \"a\": 1, \"a\": 2}"}));
        target.apply(&planned.write()).await.unwrap();
        let all = bench.all("docs").await;
        assert_eq!(all[0], doc! {"_id": 7, "$odd": 1_i64, "a.b": 2});
        assert_eq!(all[1], doc! {"_id": "text", "a": 2});
        assert_eq!(all[2], expected);
        let mut more = Planned::new(mode);
        more.delete(&table, 3, &json!({"id": key}));
        more.patch(&table, 4, &json!({"id": "7", "document": "{\"_id\": 7, \"new\": 1, \"a.b\": 3}"}));
        assert_eq!(target.apply(&more.write()).await.unwrap().rows, 2);
        let all = bench.all("docs").await;
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], doc! {"_id": 7, "$odd": 1_i64, "a.b": 3, "new": 1});
        bench.db.drop().await.unwrap();
    }
}
