//! Copies compared with their sources in real databases: what is equal, what differs where, and by which key.

mod across;
mod mongodb;
mod mysql;
mod postgresql;
mod sqlite;

use std::time::Duration;

use whimbrel_migrate::verify::{self, Comparison, Copy, Endpoint, Fault, Limits};

/// Rows of the large tables: several ranges of [`limits`].
const ROWS: u64 = 100_000;

fn limits() -> Limits {
    Limits { range_rows: 5_000, settle: Duration::from_millis(10), ..Limits::default() }
}

fn copy(from: &str, to: &str, key: &[&str], columns: &[&str]) -> Copy {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Copy { from: from.into(), to: to.into(), key: list(key), columns: list(columns) }
}

async fn compare(source: &str, target: &str, copy: &Copy) -> Comparison {
    let (source, target) = (Endpoint::parse(source).unwrap(), Endpoint::parse(target).unwrap());
    verify::compare(&source, &target, copy, limits()).await.unwrap_or_else(|error| panic!("{copy:?}: {error}"))
}

/// The rows that differ, as `key fault`, in the order of their text.
fn found(comparison: &Comparison) -> Vec<String> {
    assert_eq!(comparison.unnamed, [], "{comparison}");
    let word = |fault| match fault {
        Fault::MissingInCopy => "missing",
        Fault::OnlyInCopy => "extra",
        Fault::Differs => "differs",
    };
    let mut rows: Vec<_> =
        comparison.differences.iter().map(|row| format!("{} {}", row.key.join("/"), word(row.fault))).collect();
    rows.sort();
    rows
}

/// What every pair of large tables is put through: `copied` has the rows of `table`, ids 1 to [`ROWS`]; `change` runs
/// statements on the copy.
async fn large(source: &str, target: &str, copy: &Copy, change: impl AsyncFn(Change)) {
    let equal = compare(source, target, copy).await;
    assert!(equal.equal && equal.source_rows == ROWS && equal.copy_rows == ROWS, "{equal}");
    assert_eq!(equal.to_string().lines().count(), 1 + equal.notes.len(), "{equal}");
    for id in [1, 50_000, ROWS] {
        change(Change::Alter(id)).await;
    }
    for id in [2, 40_001, ROWS - 1] {
        change(Change::Remove(id)).await;
    }
    for id in [0, ROWS + 1] {
        change(Change::Add(id)).await;
    }
    let differs = compare(source, target, copy).await;
    let expect = [
        "0 extra",
        "1 differs",
        "100000 differs",
        "100001 extra",
        "2 missing",
        "40001 missing",
        "50000 differs",
        "99999 missing",
    ];
    assert_eq!(found(&differs), expect, "{differs}");
    assert_eq!((differs.equal, differs.source_rows, differs.copy_rows), (false, ROWS, ROWS - 1));
    // Two questions for each of the twenty ranges, and for each row that differs its way down.
    assert!(differs.queries < 500, "{} questions", differs.queries);
}

enum Change {
    Alter(u64),
    Remove(u64),
    Add(u64),
}

impl Change {
    /// For tables with the columns id, name and total.
    fn sql(&self, table: &str) -> String {
        match self {
            Self::Alter(id) => format!("UPDATE {table} SET name = 'another' WHERE id = {id}"),
            Self::Remove(id) => format!("DELETE FROM {table} WHERE id = {id}"),
            Self::Add(id) => format!("INSERT INTO {table} (id, name, total) VALUES ({id}, 'one more', 0)"),
        }
    }
}
