//! The file: opened to write, or so that nothing at all is written.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

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

/// Opens the file to read; none: it is not there. Neither it nor anything beside it is written.
pub(super) fn to_read(path: &Path) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut name = path.to_owned();
    if is_quiet_wal(path) {
        // Even who only reads would make the files beside it: said to be immutable, it is read by itself. Nobody has it
        // open, since whoever has would have made them.
        flags |= OpenFlags::SQLITE_OPEN_URI;
        name = immutable(path);
    }
    let connection = Connection::open_with_flags(name, flags).map_err(|cause| unopened(path, &cause))?;
    prepare(&connection, PATIENCE).map_err(|cause| unopened(path, &cause))?;
    Ok(Some(connection))
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
