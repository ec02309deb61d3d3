//! The MongoDB target when the server fails: with the server's own `failCommand` failpoint, killed, or refusing.

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::Client;
use serde_json::json;
use whimbrel::config::raw::{CompositeId, MongoTarget as Raw, OddFieldNames};
use whimbrel::config::secret::Secret;
use whimbrel::event::SourceType;
use whimbrel::target::mongodb::{MongoTarget, Settings};
use whimbrel::target::{DeliveryMode, ErrorKind, Target, TargetError};

use super::mongod::Mongod;
use super::planned::{PIPELINE, Planned, TOPIC, layout};

fn settings(uri: &str, mode: DeliveryMode) -> Settings {
    let raw = Raw {
        uri: Secret::new(uri),
        database: "shop".into(),
        state_database: None,
        composite_id: CompositeId::Document,
        key_fields: true,
        odd_field_names: OddFieldNames::Keep,
        ledger: true,
        timeout: Some("2s".parse().unwrap()),
    };
    Settings::from_raw(&raw, mode, Duration::from_secs(3600)).unwrap()
}

/// The batch that moves the frontier from `at` by one.
fn step(at: i64) -> Planned {
    let table = layout("rows", &[("id", SourceType::Int64), ("v", SourceType::Int64)], &["id"]);
    let mut planned = Planned::new(DeliveryMode::ExactlyOnce);
    planned.upsert(&table, at, &json!({"id": at, "v": at})).advance((at > 0).then_some(at), at + 1);
    planned
}

async fn next(target: &mut MongoTarget) -> Option<i64> {
    loop {
        match target.offsets(PIPELINE, &[(TOPIC.into(), 0)]).await {
            Ok(stored) => return stored[0].next,
            // After some errors the driver first looks for the primary again.
            Err(error) => assert!(matches!(error.kind, ErrorKind::Network | ErrorKind::NotPrimary), "{error}"),
        }
    }
}

async fn effects(mongod: &Mongod) -> Vec<i64> {
    let client = Client::with_uri_str(mongod.uri()).await.unwrap();
    let ledger = client.database("shop").collection::<Document>("whimbrel_ledger");
    let mut cursor = ledger.find(doc! {}).sort(doc! {"offset": 1}).await.unwrap();
    let mut all = Vec::new();
    while cursor.advance().await.unwrap() {
        all.push(cursor.deserialize_current().unwrap().get_i64("offset").unwrap());
    }
    all
}

/// Retries what the pipeline would retry.
async fn insist(target: &mut MongoTarget, planned: &Planned) -> Result<(), TargetError> {
    for _ in 0..200 {
        match target.apply(&planned.write()).await {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Network | ErrorKind::NotPrimary) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    panic!("retried without end");
}

#[tokio::test]
async fn every_failure_of_the_server_has_its_kind_and_leaves_nothing_behind() {
    let mongod = Mongod::replica_set().await;
    let mut target = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::ExactlyOnce));
    target.open().await.unwrap();
    target.apply(&step(0).write()).await.unwrap();
    let transient = doc! {"failCommands": ["update"], "errorCode": 112, "errorLabels": ["TransientTransactionError"]};
    let code = |code: i32| doc! {"failCommands": ["update"], "errorCode": code};
    let cases = [
        (transient, ErrorKind::Conflict),
        (code(251), ErrorKind::Conflict),
        (code(24), ErrorKind::Conflict),
        (code(10107), ErrorKind::NotPrimary),
        (code(11600), ErrorKind::NotPrimary),
        (code(189), ErrorKind::NotPrimary),
        (code(13), ErrorKind::Authorization),
        (code(26), ErrorKind::SchemaMismatch),
        (code(14031), ErrorKind::Storage),
        (code(263), ErrorKind::Unsupported),
        (code(146), ErrorKind::Overloaded),
        // The command's fault, not a row's: nobody may be blamed for it.
        (code(2), ErrorKind::Unknown),
        (code(8_888), ErrorKind::Unknown),
        (
            doc! {"failCommands": ["update"], "errorCode": 8_888, "errorLabels": ["TransientTransactionError"]},
            ErrorKind::Conflict,
        ),
        (doc! {"failCommands": ["update"], "closeConnection": true}, ErrorKind::Network),
    ];
    let planned = step(1);
    for (data, kind) in cases {
        // The second command of the transaction: the frontier is claimed already.
        mongod.fail(Bson::Document(doc! {"skip": 1}), data.clone()).await;
        let error = target.apply(&planned.write()).await.unwrap_err();
        mongod.heal().await;
        assert_eq!((error.kind, error.event), (kind, None), "{data}: {error}");
        assert!(!error.message.contains("updates"), "{error}");
        assert_eq!((next(&mut target).await, effects(&mongod).await), (Some(1), vec![0]), "{data}");
    }
    target.open().await.unwrap();
    insist(&mut target, &planned).await.unwrap();
    assert_eq!((next(&mut target).await, effects(&mongod).await), (Some(2), vec![0, 1]));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_asked_for_again_and_never_run_again() {
    let mongod = Mongod::replica_set().await;
    let mut target = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::ExactlyOnce));
    target.open().await.unwrap();
    target.apply(&step(0).write()).await.unwrap();

    // Lost a few times, then heard: applied once, and the target knows it.
    let lost = doc! {"failCommands": ["commitTransaction"], "closeConnection": true};
    for (at, times) in [(1, 1), (2, 2), (3, 4)] {
        mongod.fail(Bson::Document(doc! {"times": times}), lost.clone()).await;
        target.apply(&step(at).write()).await.unwrap();
        mongod.heal().await;
    }
    // Done, but each time the server says that the majority did not confirm it.
    let unconfirmed = |code: i32, name: &str| {
        doc! {"failCommands": ["commitTransaction"], "writeConcernError": {"code": code, "codeName": name, "errmsg": "x"}}
    };
    mongod.fail("alwaysOn".into(), unconfirmed(64, "WriteConcernFailed")).await;
    let error = target.apply(&step(4).write()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CommitUnknown, "{error}");
    mongod.heal().await;
    // It was there all the time: the state says so, and whoever tries again is fenced.
    assert_eq!(next(&mut target).await, Some(5));
    assert_eq!(target.apply(&step(4).write()).await.unwrap_err().kind, ErrorKind::Fenced);

    // Never arrived: unknown as well, but the state says no, and the batch may be applied.
    mongod.fail("alwaysOn".into(), lost).await;
    let error = target.apply(&step(5).write()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CommitUnknown, "{error}");
    mongod.heal().await;
    assert_eq!(next(&mut target).await, Some(5));
    insist(&mut target, &step(5)).await.unwrap();

    // Aborted by the server on commit.
    let aborted =
        doc! {"failCommands": ["commitTransaction"], "errorCode": 251, "errorLabels": ["TransientTransactionError"]};
    mongod.fail(Bson::Document(doc! {"times": 1}), aborted).await;
    assert_eq!(target.apply(&step(6).write()).await.unwrap_err().kind, ErrorKind::Conflict);
    insist(&mut target, &step(6)).await.unwrap();
    assert_eq!(effects(&mongod).await, [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_transaction_left_open_by_a_dead_agent_does_not_hold_up_the_next() {
    let mongod = Mongod::replica_set().await;
    let mut target = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::ExactlyOnce));
    target.open().await.unwrap();
    target.apply(&step(0).write()).await.unwrap();
    // What a killed agent leaves: the state document written in a transaction that nobody ends.
    let mut options = mongodb::options::ClientOptions::parse(mongod.uri()).await.unwrap();
    options.app_name = Some("whimbrel".into());
    let dead = Client::with_options(options).unwrap();
    let mut session = dead.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let state = dead.database("shop").collection::<Document>("whimbrel_offsets");
    state.update_one(doc! {}, doc! {"$set": {"next": 99_i64}}).session(&mut session).await.unwrap();

    let begun = std::time::Instant::now();
    insist(&mut target, &step(1)).await.unwrap();
    // The server itself would take 60 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((next(&mut target).await, effects(&mongod).await), (Some(2), vec![0, 1]));
    // Should the agent live after all, its commit fails.
    assert!(session.commit_transaction().await.is_err());
}

#[tokio::test]
async fn a_killed_server_is_found_again_and_keeps_what_was_committed() {
    let mut mongod = Mongod::replica_set().await;
    let mut target = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::ExactlyOnce));
    target.open().await.unwrap();
    for at in 0..3 {
        target.apply(&step(at).write()).await.unwrap();
    }
    mongod.kill();
    assert_eq!(target.apply(&step(3).write()).await.unwrap_err().kind, ErrorKind::Network);
    assert_eq!(target.ping().await.unwrap_err().kind, ErrorKind::Network);
    assert_eq!(target.open().await.unwrap_err().kind, ErrorKind::Network);
    mongod.restart().await;
    target.open().await.unwrap();
    assert_eq!(next(&mut target).await, Some(3));
    insist(&mut target, &step(3)).await.unwrap();
    assert_eq!(effects(&mongod).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_mongod_that_stands_alone_serves_at_least_once_only() {
    let mongod = Mongod::alone(&[]).await;
    let mut once = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::ExactlyOnce));
    let error = once.open().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("at_least_once"), "{error}");

    let mut target = MongoTarget::new(settings(&mongod.uri(), DeliveryMode::AtLeastOnce));
    target.open().await.unwrap();
    let mut planned = step(0);
    planned.mode = DeliveryMode::AtLeastOnce;
    assert_eq!(target.apply(&planned.write()).await.unwrap().rows, 1);
    assert_eq!(target.apply(&planned.write()).await.unwrap().skipped_older, 1);
    assert_eq!(next(&mut target).await, Some(1));
}

#[tokio::test]
async fn refused_logins_and_missing_rights_need_a_human() {
    let mongod = Mongod::alone(&["--auth"]).await;
    // The first user may be made without a login, from this machine.
    let admin = Client::with_uri_str(mongod.uri()).await.unwrap().database("admin");
    admin.run_command(doc! {"createUser": "root", "pwd": "r00t", "roles": ["root"]}).await.unwrap();
    let uri = |user: &str, password: &str| {
        format!("mongodb://{user}:{password}@127.0.0.1:{}/?directConnection=true&authSource=admin", mongod.port)
    };
    let root = Client::with_uri_str(uri("root", "r00t")).await.unwrap().database("admin");
    root.run_command(doc! {"createUser": "reader", "pwd": "p", "roles": [{"role": "read", "db": "shop"}]})
        .await
        .unwrap();
    for (user, password, kind) in
        [("root", "wr0ng", ErrorKind::Authentication), ("reader", "p", ErrorKind::Authorization)]
    {
        let mut target = MongoTarget::new(settings(&uri(user, password), DeliveryMode::AtLeastOnce));
        let error = target.open().await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
    }
}
