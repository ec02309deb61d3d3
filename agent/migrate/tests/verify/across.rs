//! Copies in another kind of database: both sides are hashed here, in one form.

use std::fmt::Write as _;

use bson::{Bson, Document, doc};
use mysql_async::prelude::Queryable as _;
use rusqlite::Connection;
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::verify::{self, Endpoint, Way};

use super::{Change, ROWS, compare, copy, found, large, limits, mongodb, mysql, postgresql, sqlite};
use crate::support::unique;

#[tokio::test]
async fn a_large_table_of_postgresql_is_compared_with_its_copy_in_mongodb() {
    let (client, table) = (postgresql::client().await, unique("verify_a"));
    let (database, name) = mongodb::database().await;
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, name text, total numeric(12, 2));
             INSERT INTO {table} SELECT n, 'row ' || n, n FROM generate_series(1, 100000) n"
        ))
        .await
        .unwrap();
    let b = database.collection::<Document>("b");
    b.insert_many((1..=ROWS as i64).map(|n| doc! {"_id": n, "name": format!("row {n}"), "total": n as f64}))
        .await
        .unwrap();
    let copy = copy(&table, "b", &["id=_id"], &[]);
    assert_eq!(compare(&postgresql::url(), &mongodb::url(&name), &copy).await.way, Way::Canonical);
    large(&postgresql::url(), &mongodb::url(&name), &copy, async |change| match change {
        Change::Alter(id) => {
            drop(b.update_one(doc! {"_id": id as i64}, doc! {"$set": {"name": "another"}}).await.unwrap())
        }
        Change::Remove(id) => drop(b.delete_one(doc! {"_id": id as i64}).await.unwrap()),
        Change::Add(id) => drop(b.insert_one(doc! {"_id": id as i64}).await.unwrap()),
    })
    .await;
    client.batch_execute(&format!("DROP TABLE {table}")).await.unwrap();
    database.drop().await.unwrap();
}

/// One table in four databases, with the types that each has for it: every pair is equal, and each change is found.
#[tokio::test]
async fn one_table_in_four_databases_is_the_same_and_a_change_in_any_is_found() {
    let pg = postgresql::client().await;
    let table = unique("verify_a");
    pg.batch_execute(&format!(
        "CREATE TABLE {table} (shop text, id int, price numeric(20, 4), ratio float8, small real, ok bool, made timestamptz, day date,
            token uuid, data jsonb, raw bytea, note text, PRIMARY KEY (shop, id));
         INSERT INTO {table} VALUES
            ('Z', 1, 1.5, 0.1, 0.1, true, '2026-01-31 10:20:30.123+00', '2026-01-31', '6f1ed002-ab59-4b8e-9d4e-2e0f4a9fb9f1', '{{\"b\": [1, 2.50], \"a\": null}}', '\\x00ff', E'e\\u0301 😀'),
            ('a', -5, -0.0001, -1e-300, 3.4e38, false, '1969-12-31 23:59:59.999+00', '0001-01-01', NULL, '[]', '', ''),
            ('é', 2147483647, 1234567890123456, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    ))
    .await
    .unwrap();

    let (mut maria, maria_name) = mysql::database().await;
    maria
        .query_drop(
            "CREATE TABLE b (shop varchar(20), id int, price decimal(22, 6), ratio double, small float, ok tinyint(1), made datetime(3), day date,
                token char(36), data json, raw blob, note text, PRIMARY KEY (shop, id)) CHARACTER SET utf8mb4",
        )
        .await
        .unwrap();
    maria
        .query_drop(
            "INSERT INTO b VALUES ('Z', 1, 1.5, 0.1, 0.1, 1, '2026-01-31 10:20:30.123', '2026-01-31', '6F1ED002-AB59-4B8E-9D4E-2E0F4A9FB9F1', '{\"a\":null,\"b\":[1,2.5]}', x'00ff', 'e\u{301} 😀'),
                ('a', -5, -0.0001, -1e-300, 3.4e38, 0, '1969-12-31 23:59:59.999', '0001-01-01', NULL, '[]', '', ''),
                ('é', 2147483647, 1234567890123456, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await
        .unwrap();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    let lite = Connection::open(&file).unwrap();
    lite.execute_batch(
        "CREATE TABLE c (shop TEXT, id INTEGER, price, ratio REAL, small REAL, ok, made TEXT, day TEXT, token TEXT, data TEXT, raw BLOB, note TEXT, PRIMARY KEY (shop, id));
         INSERT INTO c VALUES ('Z', 1, 1.5, 0.1, 0.1, 1, '2026-01-31T10:20:30.123Z', '2026-01-31', '6f1ed002-ab59-4b8e-9d4e-2e0f4a9fb9f1', '{\"a\": null, \"b\": [1, 2.5]}', x'00ff', 'e\u{301} 😀'),
            ('a', -5, -0.0001, -1e-300, 3.4e38, 0, '1969-12-31 23:59:59.999', '0001-01-01', NULL, '[]', x'', ''),
            ('é', 2147483647, 1234567890123456, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .unwrap();

    // SQLite reads the text of a number this small as its neighbour.
    lite.execute("UPDATE c SET ratio = ?1 WHERE shop = 'a'", [-1e-300]).unwrap();

    let (mongo, mongo_name) = mongodb::database().await;
    let documents = mongo.collection::<Document>("d");
    let millis = |millis| Bson::DateTime(bson::DateTime::from_millis(millis));
    let bytes = |bytes: &[u8]| {
        Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: bytes.to_vec() })
    };
    documents
        .insert_many([
            doc! {"shop": "Z", "id": 1, "price": Bson::Decimal128("1.5000".parse().unwrap()), "ratio": 0.1, "small": f64::from(0.1f32), "ok": true,
                "made": millis(1_769_854_830_123), "day": millis(1_769_817_600_000), "token": bson::Uuid::parse_str("6f1ed002-ab59-4b8e-9d4e-2e0f4a9fb9f1").unwrap(),
                "data": {"a": Bson::Null, "b": [1i64, 2.5]}, "raw": bytes(&[0, 255]), "note": "e\u{301} 😀"},
            doc! {"shop": "a", "id": -5i64, "price": -0.0001, "ratio": -1e-300, "small": f64::from(3.4e38f32), "ok": false, "made": millis(-1),
                "day": millis(-62_135_596_800_000), "token": Bson::Null, "data": [], "raw": bytes(&[]), "note": ""},
            doc! {"shop": "é", "id": i32::MAX, "price": 1_234_567_890_123_456i64, "ratio": 0.0, "small": 0},
        ])
        .await
        .unwrap();

    let places = [
        (postgresql::url(), table.as_str()),
        (mysql::url(&maria_name), "b"),
        (sqlite::url(&file), "c"),
        (mongodb::url(&mongo_name), "d"),
    ];
    // Only PostgreSQL says here that something is a UUID, and neither SQLite nor MongoDB that a text is a time or JSON: among
    // each other they compare the other columns.
    for (i, (source, from)) in places.iter().enumerate() {
        for (j, (target, to)) in places.iter().enumerate().filter(|(j, _)| *j != i) {
            let columns: &[&str] = match i.min(j) {
                0 => &[],
                1 => &["price", "ratio", "small", "ok", "made", "day", "data", "raw", "note"],
                _ => &["price", "ratio", "ok", "raw", "note"],
            };
            let comparison = compare(source, target, &copy(from, to, &["shop", "id"], columns)).await;
            assert!(
                comparison.equal && comparison.way == Way::Canonical && comparison.source_rows == 3,
                "{comparison}"
            );
        }
    }

    // The last digit of everything.
    let mut report = String::new();
    for (change, at) in [
        ("price = price + 0.0001", "a"),
        ("ratio = -1.0000000000000002e-300", "a"),
        ("small = 3.3e38", "a"),
        ("ok = NULL", "a"),
        ("made = '1969-12-31 23:59:59.998+00'", "a"),
        ("day = '0001-01-02'", "a"),
        ("token = '6f1ed002-ab59-4b8e-9d4e-2e0f4a9fb9f1'", "a"),
        ("data = '[0]'", "a"),
        ("raw = '\\x00'", "a"),
        ("note = ' '", "a"),
    ] {
        pg.batch_execute(&format!(
            "CREATE TABLE {table}_saved AS TABLE {table}; UPDATE {table} SET {change} WHERE shop = '{at}'"
        ))
        .await
        .unwrap();
        for (target, to) in &places[1..] {
            let comparison = compare(&places[0].0, target, &copy(&table, to, &["shop", "id"], &[])).await;
            if found(&comparison) != ["a/-5 differs"] {
                writeln!(report, "{change}: {comparison}").unwrap();
            }
        }
        pg.batch_execute(&format!(
            "TRUNCATE {table}; INSERT INTO {table} TABLE {table}_saved; DROP TABLE {table}_saved"
        ))
        .await
        .unwrap();
    }
    assert_eq!(report, "");
    pg.batch_execute(&format!("DROP TABLE {table}")).await.unwrap();
    maria.query_drop(format!("DROP DATABASE {maria_name}")).await.unwrap();
    mongo.drop().await.unwrap();
}

#[tokio::test]
async fn keys_that_two_databases_sort_differently_are_refused_or_sorted_by_bytes() {
    let (pg, table) = (postgresql::client().await, unique("verify_a"));
    let (mongo, name) = mongodb::database().await;
    pg.batch_execute(&format!(
        "CREATE TABLE {table} (word text PRIMARY KEY, raw bytea);
         INSERT INTO {table} SELECT chr(32 + n % 90) || chr(200 + n % 700) || n, int4send(n) FROM generate_series(1, 6000) n"
    ))
    .await
    .unwrap();
    let rows = pg.query(&format!("SELECT word FROM {table} ORDER BY random()"), &[]).await.unwrap();
    let documents = mongo.collection::<Document>("d");
    documents.insert_many(rows.iter().map(|row| doc! {"word": row.get::<_, String>(0), "raw": "x"})).await.unwrap();
    let (source, target) = (postgresql::url(), mongodb::url(&name));
    let equal = compare(&source, &target, &copy(&table, "d", &["word"], &["word"])).await;
    assert!(equal.equal && equal.source_rows == 6_000 && equal.ranges == 2, "{equal}");
    documents.delete_one(doc! {"word": rows[5].get::<_, String>(0)}).await.unwrap();
    let missing = compare(&source, &target, &copy(&table, "d", &["word"], &["word"])).await;
    assert_eq!(missing.differences.len(), 1, "{missing}");

    let (source, target) = (Endpoint::parse(&source).unwrap(), Endpoint::parse(&target).unwrap());
    let refused =
        verify::compare(&source, &target, &copy(&table, "d", &["raw"], &["word"]), limits()).await.unwrap_err();
    assert!(refused.kind == Kind::Refused && refused.to_string().contains("cannot be the key"), "{refused}");
    pg.batch_execute(&format!("DROP TABLE {table}")).await.unwrap();
    mongo.drop().await.unwrap();
}
