//! MariaDB with MariaDB: the servers hash.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use whimbrel_migrate::verify::Way;

use super::{compare, copy, found, large};
use crate::support::{setting, unique};

pub(super) fn url(database: &str) -> String {
    let (user, password, port) = (setting("MARIADB_USER"), setting("MARIADB_PASSWORD"), setting("MARIADB_PORT"));
    format!("mariadb://{user}:{password}@127.0.0.1:{port}/{database}")
}

/// A database of the test's own, and a session in it.
pub(super) async fn database() -> (Conn, String) {
    let name = unique("verify");
    let connect = async |name: &str| {
        Conn::new(mysql_async::Opts::from_url(&url(name).replace("mariadb:", "mysql:")).unwrap()).await.unwrap()
    };
    connect("mysql").await.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
    let mut conn = connect(&name).await;
    conn.query_drop("SET NAMES utf8mb4").await.unwrap();
    (conn, name)
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for statement in statements {
        conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

#[tokio::test]
async fn a_large_copy_is_equal_and_then_differs_where_it_was_changed() {
    let (mut conn, name) = database().await;
    run(
        &mut conn,
        &[
            "CREATE TABLE a (id bigint PRIMARY KEY, name varchar(100), total decimal(12, 2), at datetime(3) DEFAULT now(3))",
            "INSERT INTO a (id, name, total) SELECT seq, concat('row ', seq), seq / 7 FROM seq_1_to_100000",
            "CREATE TABLE b LIKE a",
            "INSERT INTO b SELECT * FROM a",
        ],
    )
    .await;
    let copy = copy("a", &format!("{name}.b"), &["id"], &[]);
    assert_eq!(compare(&url(&name), &url(&name), &copy).await.way, Way::Server);
    let conn = tokio::sync::Mutex::new(conn);
    large(&url(&name), &url(&name), &copy, async |change| run(&mut *conn.lock().await, &[&change.sql("b")]).await)
        .await;
    run(&mut *conn.lock().await, &[&format!("DROP DATABASE {name}")]).await;
}

#[tokio::test]
async fn odd_values_are_told_apart_by_server_and_by_value() {
    let (mut conn, name) = database().await;
    let create =
        "(region varchar(50), id int, f float, d double, n decimal(30, 10), s text, b blob, t datetime(6), da date,
        ti time(6), y year, e enum('x', 'a'), bi bit(10), j json, u bigint unsigned, PRIMARY KEY (region, id))
        CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    let rows = "('', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        ('é', 1, 0.1, 0.1, 1.10, '', '', '1000-01-01', '1000-01-01', '-838:59:59', 1901, 'x', b'1', '{}', 0),
        ('Z', 2, 16777217, 5e-324, 12345678901234567890.0123456789, 'NULL', x'00ff', '2026-01-01 00:00:00.000001', '9999-12-31', '00:00:00.5', 2155, 'a', b'1111111111', '{\"b\": 1, \"a\": [1, 2]}', 18446744073709551615),
        ('a1', -3, 3.4e38, -1.7e308, 0, ':-', ':-', NULL, NULL, NULL, NULL, NULL, NULL, '\"\"', NULL),
        ('😀', 2147483647, 1e-40, 0, -1, '😀', x'f09f9880', NULL, NULL, NULL, NULL, NULL, NULL, '1.0', NULL)";
    for table in ["a", "b", "saved"] {
        run(&mut conn, &[&format!("CREATE TABLE {table} {create}"), &format!("INSERT INTO {table} VALUES {rows}")])
            .await;
    }
    let table = copy("a", "b", &["region", "id"], &[]);
    let equal = compare(&url(&name), &url(&name), &table).await;
    assert!(equal.equal && equal.source_rows == 5 && equal.way == Way::Server, "{equal}");
    let changes: [(&str, &[&str]); 9] = [
        ("UPDATE b SET s = '' WHERE region = ''", &["/1 differs"]),
        ("UPDATE b SET s = NULL WHERE region = 'é'", &["é/1 differs"]),
        ("UPDATE b SET f = 0.10000001 WHERE region = 'é'", &["é/1 differs"]),
        ("UPDATE b SET d = 0 WHERE region = 'Z'", &["Z/2 differs"]),
        ("UPDATE b SET n = n + 0.0000000001 WHERE region = 'Z'", &["Z/2 differs"]),
        ("UPDATE b SET t = '2026-01-01' WHERE region = 'Z'", &["Z/2 differs"]),
        ("UPDATE b SET ti = '00:00:00.6' WHERE region = 'Z'", &["Z/2 differs"]),
        // The collation takes them for the same, the eye does not.
        ("UPDATE b SET region = 'A1' WHERE region = 'a1'", &["A1/-3 extra", "a1/-3 missing"]),
        ("UPDATE b SET s = x'f09f9881' WHERE id = 2147483647", &["😀/2147483647 differs"]),
    ];
    let by_value =
        "ALTER TABLE b MODIFY region varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, MODIFY id bigint,
        MODIFY n decimal(40, 12), MODIFY s varchar(100) CHARACTER SET utf8mb4, MODIFY b varbinary(100)";
    for way in [Way::Server, Way::Canonical] {
        if way == Way::Canonical {
            run(&mut conn, &[by_value]).await;
        }
        for (change, expect) in changes {
            run(&mut conn, &[change]).await;
            let comparison = compare(&url(&name), &url(&name), &table).await;
            assert_eq!(
                (comparison.way, found(&comparison)),
                (way, expect.iter().map(ToString::to_string).collect()),
                "{change}: {comparison}"
            );
            run(&mut conn, &["DELETE FROM b", "INSERT INTO b SELECT * FROM saved"]).await;
        }
        let equal = compare(&url(&name), &url(&name), &table).await;
        assert!(equal.equal && equal.way == way, "{equal}");
    }
    run(&mut conn, &[&format!("DROP DATABASE {name}")]).await;
}

#[tokio::test]
async fn keys_of_every_type_are_cut_and_found() {
    let (mut conn, name) = database().await;
    let types = [
        ("mediumint unsigned", "seq"),
        ("bigint unsigned", "18446744073709551615 - seq"),
        ("decimal(20, 4)", "seq / 100"),
        ("double", "seq / 3"),
        ("float", "seq / 8"),
        ("varchar(40) CHARACTER SET latin1", "md5(seq)"),
        ("varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "concat(md5(seq), ' ')"),
        ("char(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "md5(seq)"),
        ("binary(16)", "unhex(md5(seq))"),
        ("varbinary(16)", "unhex(md5(seq))"),
        ("uuid", "concat(left(md5(seq), 12), 4, substr(md5(seq), 14, 3), 8, substr(md5(seq), 18))"),
        ("datetime(6)", "'2026-01-01' + INTERVAL seq * 1000001 MICROSECOND"),
        ("timestamp(6)", "timestamp('2026-01-01') + INTERVAL seq * 1000001 MICROSECOND"),
        ("date", "date('2000-01-01') + INTERVAL seq DAY"),
        ("time", "sec_to_time(seq)"),
    ];
    for (key, value) in types {
        run(
            &mut conn,
            &[
                &format!("CREATE TABLE a (id {key} PRIMARY KEY, n int)"),
                &format!("INSERT INTO a SELECT {value}, seq FROM seq_1_to_6000"),
                "CREATE TABLE b LIKE a",
                "INSERT INTO b SELECT * FROM a",
                "UPDATE b SET n = 0 WHERE n = 777",
                "DELETE FROM b WHERE n = 5000",
            ],
        )
        .await;
        let comparison = compare(&url(&name), &url(&name), &copy("a", "b", &["id"], &[])).await;
        let mut faults: Vec<_> =
            found(&comparison).iter().map(|row| row.rsplit(' ').next().unwrap().to_owned()).collect();
        faults.sort();
        assert_eq!(faults, ["differs", "missing"], "{key}: {comparison}");
        run(&mut conn, &["DROP TABLE a, b"]).await;
    }
    run(&mut conn, &[&format!("DROP DATABASE {name}")]).await;
}
