//! PostgreSQL with PostgreSQL: the servers hash.

use tokio_postgres::{Client, NoTls};
use whimbrel_migrate::error::Kind;
use whimbrel_migrate::verify::{self, Endpoint, Way};

use super::{compare, copy, found, large, limits};
use crate::support::{setting, unique};

pub(super) fn url() -> String {
    let (user, password, port) = (setting("PG_USER"), setting("PG_PASSWORD"), setting("PG_PORT"));
    format!("postgresql://{user}:{password}@127.0.0.1:{port}/postgres")
}

pub(super) async fn client() -> Client {
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_large_copy_is_equal_and_then_differs_where_it_was_changed() {
    let (client, a, b) = (client().await, unique("verify_a"), unique("verify_b"));
    client
        .batch_execute(&format!(
            "CREATE TABLE {a} (id bigint PRIMARY KEY, name text, total numeric(12, 2), at timestamptz DEFAULT now());
             INSERT INTO {a} SELECT n, 'row ' || n, n / 7.0 FROM generate_series(1, 100000) n;
             CREATE TABLE {b} (total numeric(14, 4), id bigint, at timestamptz, name varchar);
             INSERT INTO {b} SELECT total, id, at, name FROM {a} ORDER BY random();
             CREATE UNIQUE INDEX ON {b} (id)"
        ))
        .await
        .unwrap();
    // A type that differs would have the rows read; the server hashes what it can compare as it stands.
    client.batch_execute(&format!("ALTER TABLE {b} ALTER name TYPE text")).await.unwrap();
    let copy = copy(&a, &b, &["id"], &[]);
    assert_eq!(compare(&url(), &url(), &copy).await.way, Way::Server);
    large(&url(), &url(), &copy, async |change| client.batch_execute(&change.sql(&b)).await.unwrap()).await;
    client.batch_execute(&format!("DROP TABLE {a}, {b}")).await.unwrap();
}

/// A value of every kind, and the ways in which it may be nearly the same.
#[tokio::test]
async fn odd_values_are_told_apart_by_server_and_by_value() {
    let (client, a, b) = (client().await, unique("verify_a"), unique("verify_b"));
    let types = "(region text, id int, f float8, r real, n numeric, s text, b bytea, t timestamptz, d date, u uuid, j jsonb, l int[],
        o bool, i inet, PRIMARY KEY (region, id))";
    let rows = "('', 1, 'NaN', 'NaN', 'NaN', NULL, NULL, 'infinity', '-infinity', NULL, NULL, NULL, NULL, NULL),
        ('é', 1, '-Infinity', 0.1, 1.10, '', '', '0044-03-15 12:00:00 BC', '1970-01-01', '6F1ED002-AB59-4B8E-9D4E-2E0F4A9FB9F1', 'null', '{}', true, '10.0.0.1'),
        ('Z', 2, 0.1, 3.4e38, 123456789012345678901234567890.5, 'NULL', '\\x00ff', '2026-01-01 00:00:00.000001+00', '9999-12-31', NULL, '{\"b\": 1, \"a\": [1, 2]}', '{1,NULL,3}', false, '::1'),
        ('a', 2, -0.5, 1e-40, 0, '(,\"\")', '\\x2c28', 'epoch', '2000-02-29', NULL, '[]', '{}', NULL, NULL),
        ('a,1', -3, 5e-324, 16777217, 1e-20, E'a\\tb\\n', '\\x', NULL, NULL, NULL, '\"\"', NULL, NULL, '10.0.0.0/8'),
        (E'\\U0001F600', 2147483647, 1.7e308, 0, -1, E'e\\u0301', NULL, NULL, NULL, NULL, '1.0', '{2}', true, NULL)";
    for table in [&a, &b] {
        client
            .batch_execute(&format!("CREATE TABLE {table} {types}; INSERT INTO {table} VALUES {rows}"))
            .await
            .unwrap();
    }
    let copy = copy(&a, &b, &["region", "id"], &[]);
    let equal = compare(&url(), &url(), &copy).await;
    assert!(equal.equal && equal.source_rows == 6, "{equal}");
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET s = '' WHERE s IS NULL").await, ["/1 differs"]);
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET s = NULL WHERE s = ''").await, ["é/1 differs"]);
    assert_eq!(
        found_after(&client, &a, &b, "UPDATE {b} SET s = E'\\u00e9' WHERE id = 2147483647").await,
        ["😀/2147483647 differs"]
    );
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET b = '\\x' WHERE region = ''").await, ["/1 differs"]);
    assert_eq!(
        found_after(&client, &a, &b, "UPDATE {b} SET t = t + interval '1 us' WHERE region = 'Z'").await,
        ["Z/2 differs"]
    );
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET n = n + 0.1 WHERE region = 'Z'").await, ["Z/2 differs"]);
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET f = 0 WHERE f = 5e-324").await, ["a,1/-3 differs"]);
    assert_eq!(
        found_after(&client, &a, &b, "UPDATE {b} SET region = 'A' WHERE region = 'a'").await,
        ["A/2 extra", "a/2 missing"]
    );
    let both = "UPDATE {b} SET s = b::text, b = s::bytea WHERE region = 'a'";
    assert_eq!(found_after(&client, &a, &b, both).await, ["a/2 differs"]);

    // Types that differ: by value.
    client
        .batch_execute(&format!(
            "ALTER TABLE {b} ALTER id TYPE bigint, ALTER n TYPE text, ALTER u TYPE text, ALTER j TYPE json"
        ))
        .await
        .unwrap();
    client.batch_execute(&format!("ALTER TABLE {b} ALTER n TYPE numeric(60, 30) USING n::numeric")).await.unwrap();
    let by_value = compare(&url(), &url(), &copy).await;
    assert!(by_value.equal && by_value.way == Way::Canonical, "{by_value}");
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET n = n + 0.1 WHERE region = 'Z'").await, ["Z/2 differs"]);
    assert_eq!(found_after(&client, &a, &b, "UPDATE {b} SET j = '[1,2]' WHERE region = 'Z'").await, ["Z/2 differs"]);
    client.batch_execute(&format!("DROP TABLE {a}, {b}")).await.unwrap();
}

/// What differs after a change of the copy, which is undone.
async fn found_after(client: &Client, a: &str, b: &str, change: &str) -> Vec<String> {
    let saved = unique("verify_saved");
    client.batch_execute(&format!("CREATE TABLE {saved} AS TABLE {b}; {}", change.replace("{b}", b))).await.unwrap();
    let found = found(&compare(&url(), &url(), &copy(a, b, &["region", "id"], &[])).await);
    client.batch_execute(&format!("TRUNCATE {b}; INSERT INTO {b} TABLE {saved}; DROP TABLE {saved}")).await.unwrap();
    found
}

#[tokio::test]
async fn keys_of_every_type_are_cut_and_found() {
    let client = client().await;
    let types = [
        ("smallint", "(n - 3000)::smallint"),
        ("numeric", "n / 100.0"),
        ("float8", "n / 3.0"),
        ("real", "n / 8.0"),
        ("text", "md5(n::text)"),
        ("text COLLATE \"C\"", "md5(n::text)"),
        ("varchar(40)", "md5(n::text)"),
        ("char(40)", "md5(n::text)"),
        ("uuid", "md5(n::text)::uuid"),
        ("bytea", "decode(md5(n::text), 'hex')"),
        ("timestamptz", "'epoch'::timestamptz + n * interval '1.000001 s'"),
        ("timestamp", "'epoch'::timestamp - n * interval '1.000001 s'"),
        ("date", "'epoch'::date + n::int"),
        ("inet", "'10.0.0.0'::inet + n"),
        ("interval", "n * interval '1 minute'"),
    ];
    for (key, value) in types {
        let (a, b) = (unique("verify_a"), unique("verify_b"));
        client
            .batch_execute(&format!(
                "CREATE TABLE {a} (id {key} PRIMARY KEY, n int); INSERT INTO {a} SELECT {value}, n FROM generate_series(1, 6000) n;
                 CREATE TABLE {b} (LIKE {a} INCLUDING ALL); INSERT INTO {b} TABLE {a};
                 UPDATE {b} SET n = 0 WHERE n = 777; DELETE FROM {b} WHERE n = 5000"
            ))
            .await
            .unwrap();
        let comparison = compare(&url(), &url(), &copy(&a, &b, &["id"], &[])).await;
        let mut faults: Vec<_> =
            found(&comparison).iter().map(|row| row.rsplit(' ').next().unwrap().to_owned()).collect();
        faults.sort();
        assert_eq!(faults, ["differs", "missing"], "{key}: {comparison}");
        client.batch_execute(&format!("DROP TABLE {a}, {b}")).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_what_mends_it() {
    let (client, a) = (client().await, unique("verify_a"));
    client
        .batch_execute(&format!("CREATE TABLE {a} (id int, \"Odd Name\" int); INSERT INTO {a} VALUES (NULL, 1)"))
        .await
        .unwrap();
    let endpoint = Endpoint::parse(&url()).unwrap();
    for (from, key, words) in [
        (a.as_str(), vec!["id"], "key is NULL"),
        (a.as_str(), vec!["missing"], "has no column `missing`"),
        (a.as_str(), vec![], "no key is named"),
        ("not_there", vec!["id"], "there is no table `not_there`"),
        ("odd; DROP TABLE x", vec!["id"], "there is no table"),
    ] {
        let error = verify::compare(&endpoint, &endpoint, &copy(from, &a, &key, &[]), limits()).await.unwrap_err();
        assert!(error.kind == Kind::Refused && error.to_string().contains(words), "{error}");
        assert!(error.remedy.is_some(), "{error}");
    }
    let odd = compare(&url(), &url(), &copy(&a, &a, &["Odd Name"], &[])).await;
    assert!(odd.equal && odd.source_rows == 1, "{odd}");
    let nowhere = Endpoint::parse("postgresql://postgres:secret@127.0.0.1:1/postgres").unwrap();
    let error = verify::compare(&endpoint, &nowhere, &copy(&a, &a, &["Odd Name"], &[]), limits()).await.unwrap_err();
    assert!(
        error.kind == Kind::Connection
            && error.to_string().starts_with("the copy: ")
            && !error.to_string().contains("secret"),
        "{error}"
    );
    client.batch_execute(&format!("DROP TABLE {a}")).await.unwrap();
}

#[tokio::test]
async fn changes_on_their_way_are_not_reported_and_named_rows_are_bounded() {
    let (client, a, b) = (client().await, unique("verify_a"), unique("verify_b"));
    client
        .batch_execute(&format!(
            "CREATE TABLE {a} (id int PRIMARY KEY, n int); INSERT INTO {a} SELECT n, n FROM generate_series(1, 5000) n;
             CREATE TABLE {b} (LIKE {a} INCLUDING ALL); INSERT INTO {b} TABLE {a}; DELETE FROM {b} WHERE id = 4000"
        ))
        .await
        .unwrap();
    let endpoint = Endpoint::parse(&url()).unwrap();
    let table = copy(&a, &b, &["id"], &[]);
    let slow = verify::Limits { settle: std::time::Duration::from_secs(2), ..limits() };
    let (comparison, _) = tokio::join!(verify::compare(&endpoint, &endpoint, &table, slow), async {
        // After the first look, and well before the second.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        client.batch_execute(&format!("INSERT INTO {b} VALUES (4000, 4000)")).await.unwrap();
    });
    let comparison = comparison.unwrap();
    assert!(
        comparison.equal && comparison.settled == 1 && comparison.to_string().contains("for a moment"),
        "{comparison}"
    );

    client.batch_execute(&format!("UPDATE {b} SET n = 0")).await.unwrap();
    let bounded = compare(&url(), &url(), &table).await;
    assert!(!bounded.equal && bounded.differences.len() == 100 && !bounded.unnamed.is_empty(), "{bounded}");
    let json = serde_json::to_value(&bounded).unwrap();
    assert_eq!((&json["equal"], &json["differences"][0]["fault"]), (&false.into(), &"differs".into()));
    client.batch_execute(&format!("DROP TABLE {a}, {b}")).await.unwrap();
}
