//! Every kind of change of documents with values of every type; after each step the targets hold what the source holds.

use std::str::FromStr as _;

use bson::oid::ObjectId;
use bson::raw::CString;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, Uuid, bson, doc};

use super::compare;
use super::stage::{Flavour, Stage};
use crate::support::agent::Agent;

/// A value of every type that is not deprecated, at its limits where it has any.
fn every_type(id: i32) -> Document {
    let decimal = |text: &str| Decimal128::from_str(text).unwrap();
    let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
    let text = |text: &str| CString::try_from(text).unwrap();
    let mut document = doc! {
        "_id": id,
        "double": 0.1, "whole": 3.0, "large": 1.7e300, "small": 5e-324, "seventeen": 0.300_000_000_000_000_04,
        "nan": f64::NAN, "infinity": f64::INFINITY, "minus_infinity": f64::NEG_INFINITY, "minus_zero": -0.0,
        "string": "Übermaß 漢字 🦀 \"quoted\" \\ back\u{1}\n NaN, -Infinity", "no string": "",
        "document": {"deep": {"er": [1, {"": null}, [[]]], "$odd": 1, "do.tted": {"$x": "y"}}}, "no fields": {},
    };
    // In two parts: the macro reads only so many at a time.
    document.extend(doc! {
        "array": [1, "two", 3.0, null, [4_i64], {"NaN": f64::NAN}], "no items": [],
        "binary": binary(BinarySubtype::Generic, b"\x00\x01\xfe\xff"), "no bytes": binary(BinarySubtype::Generic, b""),
        "old": binary(BinarySubtype::BinaryOld, b"xyz"), "user": binary(BinarySubtype::UserDefined(0x80), b"abc"),
        "uuid": Uuid::parse_str("123e4567-e89b-12d3-a456-426614174000").unwrap(),
        "object_id": ObjectId::parse_str("65a1b2c3d4e5f60718293a4b").unwrap(),
        "true": true, "false": false, "null": null,
        "date": DateTime::from_millis(1_709_208_000_123), "before 1970": DateTime::from_millis(-1),
        "far": DateTime::from_millis(253_402_300_799_999), "farther": DateTime::from_millis(i64::MAX),
        "regex": Regex { pattern: text("^a.*\"b/\\d"), options: text("im") },
        "code": Bson::JavaScriptCode("function() { return \"x\"; }".to_owned()),
        "scope": JavaScriptCodeWithScope { code: "f(x)".to_owned(), scope: doc! {"x": 1, "y": {"z": 2_i64}} },
        "int32": i32::MIN, "int64": i64::MAX, "small long": 1_i64,
        "timestamp": Timestamp { time: 1_700_000_000, increment: u32::MAX },
        "decimal": decimal("1234567890.123456789012345678901234"), "cents": decimal("0.00"),
        "tiny": decimal("-1E-6176"), "decimal nan": decimal("NaN"), "decimal infinity": decimal("-Infinity"),
        "min": Bson::MinKey, "max": Bson::MaxKey,
        "reference": {"$ref": "others", "$id": 1},
        "do.tted": 1, "us$": 2,
    });
    document
}

/// An `_id` of every type that can be one.
fn ids() -> Vec<Bson> {
    vec![
        ObjectId::parse_str("65a1b2c3d4e5f60718293a4b").unwrap().into(),
        "text \"quoted\" ü".into(),
        "".into(),
        7.into(),
        8_i64.into(),
        i64::MAX.into(),
        2.5.into(),
        true.into(),
        Decimal128::from_str("1.50").unwrap().into(),
        DateTime::from_millis(1_704_067_200_000).into(),
        DateTime::from_millis(-1).into(),
        Uuid::parse_str("123e4567-e89b-12d3-a456-426614174000").unwrap().into(),
        Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2] }.into(),
        Timestamp { time: 1, increment: 2 }.into(),
        bson!({"tenant": "acme", "n": 1_i64}),
    ]
}

async fn journey(stage: &mut Stage) {
    stage.populate(&["types", "ids", "orders"]).await;
    let (types, by_id, orders) = (stage.collection("types"), stage.collection("ids"), stage.collection("orders"));
    types.insert_one(every_type(1)).await.unwrap();
    by_id.insert_many(ids().into_iter().map(|id| doc! {"_id": id, "v": 0})).await.unwrap();
    orders.insert_many((0..50).map(|n| doc! {"_id": n, "n": n, "tags": ["a", "b"]})).await.unwrap();
    stage.capture().await;
    let mut agent = stage.start();
    let agent = &mut agent;
    stage.until_equal(agent, "the snapshot").await;

    types.insert_one(every_type(2)).await.unwrap();
    orders.insert_many((100..400).map(|n| doc! {"n": n, "lines": [{"sku": n, "count": 1_i64}]})).await.unwrap();
    stage.until_equal(agent, "inserts").await;

    by_id.update_many(doc! {}, doc! {"$inc": {"v": 1}, "$set": {"nested": {"changed": true}}}).await.unwrap();
    let path = doc! {"$set": {"document.deep.er.0": 5_i64, "string": "changed"}, "$unset": {"double": "", "array": ""}};
    types.update_one(doc! {"_id": 2}, path).await.unwrap();
    orders
        .update_many(doc! {"_id": {"$lt": 20}}, doc! {"$push": {"tags": {"$each": ["c"], "$slice": -2}}})
        .await
        .unwrap();
    orders.update_many(doc! {"lines.sku": {"$lt": 200}}, doc! {"$mul": {"lines.$[].count": 3}}).await.unwrap();
    stage.until_equal(agent, "updates").await;

    let literal = |name: &str| {
        let field = doc! {"field": {"$literal": name}, "input": "$$ROOT", "value": {"$literal": {"$x": 1, "c.d": 2}}};
        vec![doc! {"$replaceWith": {"$setField": field}}]
    };
    types.update_one(doc! {"_id": 1}, literal("new.dotted")).await.unwrap();
    types.update_one(doc! {"_id": 1}, literal("$dollar")).await.unwrap();
    stage.until_equal(agent, "fields with dots and dollars").await;

    types.replace_one(doc! {"_id": 2}, doc! {"replaced": DateTime::from_millis(0)}).await.unwrap();
    by_id.replace_one(doc! {"_id": 8_i64}, doc! {"replaced": true}).await.unwrap();
    by_id.replace_one(doc! {"_id": {"tenant": "acme", "n": 1}}, doc! {"replaced": true}).await.unwrap();
    stage.until_equal(agent, "replacements").await;

    orders.delete_many(doc! {"n": {"$mod": [3, 0]}}).await.unwrap();
    types.delete_one(doc! {"_id": 2}).await.unwrap();
    orders.insert_one(doc! {"_id": 3, "n": "again"}).await.unwrap();
    stage.until_equal(agent, "deletes, and a document that comes back").await;

    // When the connector looks the document up, it is gone: the update comes without it.
    orders.insert_one(doc! {"_id": "gone", "n": 1}).await.unwrap();
    stage.until_equal(agent, "a document that will go").await;
    let mut session = stage.source.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    orders.update_one(doc! {"_id": "gone"}, doc! {"$set": {"n": 2}}).session(&mut session).await.unwrap();
    orders.insert_one(doc! {"_id": "stays", "n": 1}).session(&mut session).await.unwrap();
    by_id.delete_one(doc! {"_id": true}).session(&mut session).await.unwrap();
    orders.delete_one(doc! {"_id": "gone"}).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    stage.until_equal(agent, "a transaction over two collections").await;

    by_id.delete_many(doc! {}).await.unwrap();
    by_id.insert_one(doc! {"_id": "last"}).await.unwrap();
    stage.until_equal(agent, "ids of every type are deleted").await;

    nothing_is_lost_silently(stage, agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    stage.compare().await.unwrap();
    comparison_sees_tampering(stage).await;
}

/// No dead letters; every operation was counted, with the update that came without its document among the dropped.
async fn nothing_is_lost_silently(stage: &Stage, agent: &mut Agent) {
    agent
        .until("every event is counted", async |agent| {
            let (_, metrics) = agent.get("/metrics").await?;
            let sum = |name: &str, part: &str| -> f64 {
                let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(part));
                lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
            };
            for operation in ["create", "update", "delete", "read"] {
                let count = sum("cdc_events_processed_total{", &format!("operation=\"{operation}\""));
                if count < 1.0 {
                    return Err(format!("no event of operation {operation}:\n{metrics}"));
                }
            }
            let letters = sum("cdc_dead_letters_total{", "");
            if letters > 0.0 {
                return Err(format!("{letters} dead letters in {}:\n{metrics}", stage.name));
            }
            Ok(())
        })
        .await;
}

/// That nothing differed says something only if a difference would have been seen.
async fn comparison_sees_tampering(stage: &Stage) {
    let guarded = stage.flavour == Flavour::PreImages;
    let types = stage.target.collection::<Document>("types");
    let tamper = async |update| {
        assert_eq!(types.update_one(doc! {"_id": 1}, update).await.unwrap().modified_count, 1);
        compare::with_mongodb(&stage.source, &stage.target, guarded).await
    };
    assert!(tamper(doc! {"$set": {"small long": 1_i32}}).await.unwrap_err().contains("types: expected"));
    tamper(doc! {"$set": {"small long": 1_i64}}).await.unwrap();
    assert!(tamper(doc! {"$set": {"minus_zero": 0.0}}).await.is_err());
    for (path, value) in [("{int64}", r#"{"$numberLong": "9223372036854775806"}"#), ("{whole}", "3"), ("{more}", "1")] {
        let update = format!("UPDATE types SET document = jsonb_set(document, '{path}', '{value}') WHERE id = '1'");
        stage.postgres.batch_execute("BEGIN").await.unwrap();
        stage.postgres.batch_execute(&update).await.unwrap();
        let why = compare::with_postgres(&stage.source, &stage.postgres).await.unwrap_err();
        assert!(why.starts_with("PostgreSQL, types, 1: "), "{why}");
        stage.postgres.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn documents_of_every_type_arrive_as_they_are_exactly_once() {
    Stage::with("documents", Flavour::UpdateFull, |stage| Box::pin(journey(stage))).await;
}

#[tokio::test]
async fn documents_with_pre_images_and_embedded_schema_arrive_as_they_are_at_least_once() {
    Stage::with("pre_images", Flavour::PreImages, |stage| Box::pin(journey(stage))).await;
}
