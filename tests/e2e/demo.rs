//! The demo as a user runs it: the binary, its lines, its proof, its exit status, what it leaves behind.

use std::process::{Command, Output};
use std::time::Duration;

use crate::support::agent::binary;

fn demo(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("demo").args(arguments).output().unwrap()
}

#[test]
fn the_demo_proves_itself_and_keeps_what_it_was_asked_to_keep() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let ended =
        demo(&["--duration", "9s", "--no-tui", "--rate", "300", "--seed", "5", "--keep", kept.to_str().unwrap()]);
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{out}\n{err}");
    assert_eq!(out.matches("\n  ok   ").count(), 7, "{out}");
    assert!(out.contains("nothing was lost, nothing doubled, nothing left unmasked"), "{out}");
    let count = |sql: &str| -> i64 {
        let connection = rusqlite::Connection::open(kept.join("shop.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    // The proof looked at something: rows, effects, dead letters of every kind.
    assert!(count("SELECT count(*) FROM customers WHERE email LIKE '_***@customers.example'") > 150);
    assert!(count("SELECT count(*) FROM whimbrel_ledger") > 2_000);
    assert_eq!(count("SELECT count(DISTINCT reason) FROM whimbrel_dead_letters"), 3);
}

#[test]
fn the_demo_refuses_a_directory_that_holds_another_one() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.db"), "").unwrap();
    let ended = demo(&["--duration", "1s", "--no-tui", "--keep", directory.path().to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("holds a database already"));
}
