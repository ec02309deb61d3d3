//! MongoDB with MongoDB: documents are streamed and hashed here, with their types.

use ::mongodb::{Client, Database};
use bson::{Bson, Document, doc};
use whimbrel_migrate::verify::{self, Endpoint, Way};

use super::{Change, ROWS, compare, copy, found, large, limits};
use crate::support::{setting, unique};

pub(super) fn url(database: &str) -> String {
    format!("mongodb://127.0.0.1:{}/{database}?replicaSet=rs0", setting("MONGO_PORT"))
}

/// A database of the test's own.
pub(super) async fn database() -> (Database, String) {
    let name = unique("verify");
    let client = Client::with_uri_str(url(&name)).await.unwrap();
    (client.database(&name), name)
}

#[tokio::test]
async fn a_large_copy_is_equal_and_then_differs_where_it_was_changed() {
    let (database, name) = database().await;
    let (a, b) = (database.collection::<Document>("a"), database.collection::<Document>("b"));
    let rows: Vec<_> =
        (1..=ROWS as i64).map(|n| doc! {"_id": n, "name": format!("row {n}"), "total": n as f64 / 7.0}).collect();
    a.insert_many(&rows).await.unwrap();
    // Fields in another order are the same document.
    let turned = (1..=ROWS as i64).map(|n| doc! {"total": n as f64 / 7.0, "name": format!("row {n}"), "_id": n});
    b.insert_many(turned).await.unwrap();
    let copy = copy("a", "b", &["_id"], &[]);
    let first = compare(&url(&name), &url(&name), &copy).await;
    assert_eq!((first.way, first.notes), (Way::Exact, vec![]), "in snapshots, which this server has");
    large(&url(&name), &url(&name), &copy, async |change| match change {
        Change::Alter(id) => {
            drop(b.update_one(doc! {"_id": id as i64}, doc! {"$set": {"name": "another"}}).await.unwrap())
        }
        Change::Remove(id) => drop(b.delete_one(doc! {"_id": id as i64}).await.unwrap()),
        Change::Add(id) => drop(b.insert_one(doc! {"_id": id as i64}).await.unwrap()),
    })
    .await;
    database.drop().await.unwrap();
}

#[tokio::test]
async fn types_are_told_apart_and_composite_keys_too() {
    let (database, name) = database().await;
    let (a, b) = (database.collection::<Document>("a"), database.collection::<Document>("b"));
    let values: Vec<(&str, Bson)> = vec![
        ("", Bson::Null),
        ("a", Bson::Int32(1)),
        ("b", Bson::Int64(1)),
        ("c", Bson::Double(1.0)),
        ("d", Bson::Decimal128("1.0".parse().unwrap())),
        ("e", Bson::String("1".into())),
        ("f", Bson::Double(f64::NAN)),
        ("g", Bson::Document(doc! {"x": 1, "y": [1, {"z": Bson::Null}]})),
        ("h", Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0, 255] })),
        ("é", Bson::String(String::new())),
    ];
    let rows: Vec<_> =
        values.into_iter().enumerate().map(|(n, (region, v))| doc! {"region": region, "n": n as i32, "v": v}).collect();
    for collection in [&a, &b] {
        collection.insert_many(&rows).await.unwrap();
        collection.insert_one(doc! {"region": "missing", "n": -1}).await.unwrap();
    }
    let table = copy("a", "b", &["region", "n"], &["v"]);
    let equal = compare(&url(&name), &url(&name), &table).await;
    assert!(equal.equal && equal.source_rows == 11, "{equal}");
    for (n, value) in [
        (0, None),
        (1, Some(Bson::Int64(1))),
        (4, Some(Bson::Decimal128("1.00".parse().unwrap()))),
        (5, Some(Bson::Int32(1))),
        (6, Some(Bson::Null)),
        (7, Some(Bson::Document(doc! {"y": [1, {"z": Bson::Null}], "x": 1}))),
        (
            8,
            Some(Bson::Binary(bson::Binary {
                subtype: bson::spec::BinarySubtype::UserDefined(128),
                bytes: vec![0, 255],
            })),
        ),
        (-1, Some(Bson::Null)),
    ] {
        let before = b.find_one(doc! {"n": n}).await.unwrap().unwrap();
        let update = match value {
            Some(value) => doc! {"$set": {"v": value}},
            None => doc! {"$unset": {"v": 1}},
        };
        b.update_one(doc! {"n": n}, update).await.unwrap();
        let comparison = compare(&url(&name), &url(&name), &table).await;
        let expect = format!("{}/{n} differs", before.get_str("region").unwrap());
        assert_eq!(found(&comparison), [expect], "{comparison}");
        b.replace_one(doc! {"n": n}, before).await.unwrap();
    }
    database.drop().await.unwrap();
}

#[tokio::test]
async fn keys_of_every_type_are_cut_and_found() {
    let (database, name) = database().await;
    let key = |kind: &str, n: u32| -> Bson {
        let mixed = n.wrapping_mul(2_654_435_761);
        match kind {
            "objectid" => Bson::ObjectId(bson::oid::ObjectId::from_bytes(
                u128::from(mixed).to_be_bytes()[4..].try_into().unwrap(),
            )),
            "string" => Bson::String(format!("{mixed:x}")),
            "uuid" => bson::Uuid::from_bytes(u128::from(mixed).to_be_bytes()).into(),
            "double" => Bson::Double(f64::from(n) / 3.0),
            "decimal" => Bson::Decimal128(format!("{n}.25").parse().unwrap()),
            "date" => Bson::DateTime(bson::DateTime::from_millis(i64::from(n) * 1001 - 5_000_000)),
            "binary" => Bson::Binary(bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: mixed.to_be_bytes()[(n % 3) as usize..].to_vec().into_iter().chain(n.to_be_bytes()).collect(),
            }),
            _ => Bson::Document(doc! {"shop": (n % 10) as i32, "n": n}),
        }
    };
    for kind in ["objectid", "string", "uuid", "double", "decimal", "date", "binary", "document"] {
        let (a, b) = (database.collection::<Document>("a"), database.collection::<Document>("b"));
        let rows: Vec<_> = (1..=6_000).map(|n| doc! {"_id": key(kind, n), "n": n}).collect();
        a.insert_many(&rows).await.unwrap();
        b.insert_many(&rows).await.unwrap();
        b.update_one(doc! {"n": 777}, doc! {"$set": {"more": 1}}).await.unwrap();
        b.delete_one(doc! {"n": 5_000}).await.unwrap();
        let comparison = compare(&url(&name), &url(&name), &copy("a", "b", &["_id"], &[])).await;
        let mut faults: Vec<_> =
            found(&comparison).iter().map(|row| row.rsplit(' ').next().unwrap().to_owned()).collect();
        faults.sort();
        assert_eq!(faults, ["differs", "missing"], "{kind}: {comparison}");
        a.drop().await.unwrap();
        b.drop().await.unwrap();
    }
    database.drop().await.unwrap();
}

#[tokio::test]
async fn keys_of_several_types_are_refused() {
    let (database, name) = database().await;
    let a = database.collection::<Document>("a");
    let endpoint = Endpoint::parse(&url(&name)).unwrap();
    for odd in [Bson::String("x".into()), Bson::Null, Bson::Double(f64::NAN)] {
        a.insert_many([doc! {"_id": 1}, doc! {"_id": 2}, doc! {"_id": odd.clone()}]).await.unwrap();
        let error = verify::compare(&endpoint, &endpoint, &copy("a", "a", &["_id"], &[]), limits()).await.unwrap_err();
        assert!(error.to_string().contains("several types"), "{odd}: {error}");
        a.drop().await.unwrap();
    }
    database.drop().await.unwrap();
}
