//! SQLite with SQLite: rows are hashed here, with their storage classes.

use std::path::Path;

use rusqlite::Connection;
use whimbrel_migrate::verify::Way;

use super::{compare, copy, found, large};

pub(super) fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

pub(super) const FILL: &str = "CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT, total NUMERIC);
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
    INSERT INTO a SELECT n, 'row ' || n, n * 5 FROM n;";

#[tokio::test]
async fn a_large_copy_is_equal_and_then_differs_where_it_was_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.db");
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(FILL).unwrap();
    connection
        .execute_batch("CREATE TABLE b (total, name, id INTEGER UNIQUE); INSERT INTO b SELECT total, name, id FROM a")
        .unwrap();
    let copy = copy("a", "b", &["id"], &[]);
    assert_eq!(compare(&url(&file), &url(&file), &copy).await.way, Way::Exact);
    large(&url(&file), &url(&file), &copy, async |change| connection.execute_batch(&change.sql("b")).unwrap()).await;
}

#[tokio::test]
async fn storage_classes_are_told_apart_and_composite_keys_too() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (directory.path().join("one.db"), directory.path().join("other.db"));
    let (first, second) = (Connection::open(&one).unwrap(), Connection::open(&other).unwrap());
    let fill = "CREATE TABLE t (region COLLATE NOCASE, id, v, PRIMARY KEY (region, id)) WITHOUT ROWID;
        INSERT INTO t VALUES ('', 1, NULL), ('a', 1, 1), ('a', 1.5, 1.0), ('b', 2, '1'), ('é', 2, x'31'), (7, -1, ''), (x'00', x'ff', x''),
            ('zero', 0, 'a' || char(0) || 'b'), ('max', 9223372036854775807, 9e999)";
    first.execute_batch(fill).unwrap();
    second.execute_batch(fill).unwrap();
    let table = copy("t", "t", &["region", "id"], &[]);
    let equal = compare(&url(&one), &url(&other), &table).await;
    assert!(equal.equal && equal.source_rows == 9, "{equal}");
    for (change, back, expect) in [
        ("v = '' WHERE region = ''", "v = NULL WHERE region = ''", "/1 differs"),
        ("v = 1.0 WHERE region = 'a' AND id = 1", "v = 1 WHERE region = 'a' AND id = 1", "a/1 differs"),
        ("v = '1' WHERE region = 'é'", "v = x'31' WHERE region = 'é'", "é/2 differs"),
        ("v = x'' WHERE region = 7", "v = '' WHERE region = 7", "7/-1 differs"),
        ("v = 'a' WHERE region = 'zero'", "v = 'a' || char(0) || 'b' WHERE region = 'zero'", "zero/0 differs"),
        ("v = 0 WHERE id = x'ff'", "v = x'' WHERE id = x'ff'", "0x00/0xff differs"),
    ] {
        second.execute_batch(&format!("UPDATE t SET {change}")).unwrap();
        let comparison = compare(&url(&one), &url(&other), &table).await;
        assert_eq!(found(&comparison), [expect], "{change}: {comparison}");
        second.execute_batch(&format!("UPDATE t SET {back}")).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("missing.db");
    let endpoint = whimbrel_migrate::verify::Endpoint::parse(&url(&file)).unwrap();
    let failed =
        whimbrel_migrate::verify::compare(&endpoint, &endpoint, &copy("t", "t", &["id"], &[]), super::limits()).await;
    assert!(failed.unwrap_err().to_string().contains("cannot look at the table `t`"));
    assert!(!file.exists());
}
