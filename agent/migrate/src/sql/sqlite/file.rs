//! The file: opened to write, or so that nothing at all is written.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, ffi};

use super::error::error;
use crate::error::{Error, Result};

/// How long a reader waits for a writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the file to write, and makes it where it is missing.
pub(super) fn to_write(path: &Path, patience: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|cause| unopened(path, &cause))?;
    prepare(&connection, patience).map_err(|cause| unopened(path, &cause))?;
    Ok(connection)
}

/// Opens the file to read; none: it is not there. Neither it nor anything beside it is written, but for one thing that
/// every reader of SQLite's does: a transaction that a killed process left half-written is rolled back first.
pub(super) fn to_read(path: &Path) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    match read_only(path) {
        Err(cause) if is_left_half_written(&cause) => {
            recover(path).map_err(|cause| unopened(path, &cause))?;
            read_only(path).map(Some).map_err(|cause| unopened(path, &cause))
        }
        opened => opened.map(Some).map_err(|cause| unopened(path, &cause)),
    }
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut name = path.to_owned();
    if is_quiet_wal(path) {
        // Even who only reads would make the files beside it: said to be immutable, it is read by itself. Nobody has it
        // open, since whoever has would have made them.
        flags |= OpenFlags::SQLITE_OPEN_URI;
        name = immutable(path);
    }
    let connection = Connection::open_with_flags(name, flags)?;
    prepare(&connection, PATIENCE)?;
    look(&connection)?;
    Ok(connection)
}

/// There is a journal to be rolled back, and who opens the file only to read may not.
fn is_left_half_written(cause: &rusqlite::Error) -> bool {
    cause.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Reads as somebody who may write, which is all that it takes.
fn recover(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    look(&connection)
}

/// The first look at the file's content.
fn look(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Every connection is as SQLite's own defaults have it: migrations say by PRAGMA what they want otherwise. (The library is
/// built with foreign keys switched on.)
pub(super) fn defaults(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF; PRAGMA ignore_check_constraints = OFF;
        PRAGMA legacy_alter_table = OFF; PRAGMA writable_schema = OFF; PRAGMA synchronous = FULL; PRAGMA temp_store = DEFAULT",
    )
}

fn prepare(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(patience)?;
    defaults(connection)
}

/// It has a write-ahead log by its header (format, section 1.3), and nobody has it open.
fn is_quiet_wal(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        Path::new(&name).exists()
    };
    read.is_ok() && matches!(header.get(18..20), Some([2, 2])) && !beside("-wal") && !beside("-shm")
}

/// As a URI, with what means something there encoded.
fn immutable(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    PathBuf::from(format!("file://{text}?immutable=1"))
}

fn unopened(path: &Path, cause: &rusqlite::Error) -> Error {
    error(format_args!("cannot open {}", path.display()), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process leaves that is killed while it writes a transaction that does not fit its cache.
    fn killed_midway(directory: &Path) -> PathBuf {
        let live = directory.join("live.db");
        let connection = Connection::open(&live).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (n INTEGER, filler TEXT);
                WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
                INSERT INTO t SELECT n, hex(randomblob(200)) FROM n;
                PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; UPDATE t SET n = -n, filler = '';",
            )
            .unwrap();
        let dead = directory.join("dead.db");
        for end in ["", "-journal"] {
            let name = |of: &Path| PathBuf::from(format!("{}{end}", of.display()));
            std::fs::copy(name(&live), name(&dead)).unwrap();
        }
        dead
    }

    #[test]
    fn a_transaction_that_a_killed_process_left_half_written_is_rolled_back_by_who_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = killed_midway(directory.path());
        assert!(read_only(&path).is_err_and(|cause| is_left_half_written(&cause)), "nothing was left half-written");
        let connection = to_read(&path).unwrap().unwrap();
        let sum: i64 = connection.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(sum, 2_000 * 2_001 / 2);
        assert!(connection.execute("DELETE FROM t", []).is_err(), "and then it is open to read only");
    }
}
