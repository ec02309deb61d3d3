//! Opening the file: made when it is missing, refused when it is another's.

use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Store;

/// Marks our files for `file` and for us ("WhMo"), so that another program's database is not taken for one.
const APPLICATION: i32 = 0x5768_4d6f;
/// The layout below; a change of it changes this.
const LAYOUT: i32 = 1;
/// How long a reader may hold up a writer.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        labels TEXT NOT NULL,
        UNIQUE (scope, name, labels)
    ) STRICT;
    CREATE TABLE point (
        series INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (series, at_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE chunk (
        series INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        end_ms INTEGER NOT NULL,
        points BLOB NOT NULL,
        PRIMARY KEY (series, start_ms)
    ) STRICT;
    CREATE INDEX chunk_by_age ON chunk (end_ms);
    CREATE TABLE incident (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE silence (id TEXT PRIMARY KEY, ends_ms INTEGER NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE phase (name TEXT NOT NULL, scope TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (name, scope))
        STRICT, WITHOUT ROWID;
    CREATE TABLE kept (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        channel TEXT NOT NULL,
        alerts TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_ms INTEGER NOT NULL,
        passed_on INTEGER NOT NULL DEFAULT 0,
        error TEXT
    ) STRICT;
    CREATE INDEX delivery_by_channel ON delivery (channel, id);";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or looked at.
    #[error("cannot open the monitor's file {path}; its folder must exist and belong to the agent's user")]
    Open {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Others have access.
    #[error("others than the agent's user may read or write the monitor's file {path}; run `chmod 600 {path}`")]
    Shared {
        /// Its path.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("another process uses the monitor's file {path}; each agent needs a file of its own")]
    Busy {
        /// Its path.
        path: PathBuf,
    },
    /// It is a database, but not ours.
    #[error("{path} is no file of this version of the agent's monitor ({found}); name another in `monitor: file:`")]
    Foreign {
        /// Its path.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// SQLite cannot use it.
    #[error("the monitor's file {path} cannot be used; if it is damaged, move it away and the history begins anew")]
    Sqlite {
        /// Its path.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
}

impl Store {
    /// Opens the file and makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be used; nothing in it has changed then.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        // SQLite would make it readable to everybody; its journal gets the mode of the file.
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            return Err(OpenError::Shared { path: path.to_owned() });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(sqlite)?;
        prepare(&connection).map_err(sqlite)?;
        Self::of(path, connection, Some(file))
    }

    /// Opens the file of an agent that may be running, to look at it.
    ///
    /// # Errors
    /// When it is missing or no such file.
    pub fn read(path: &Path) -> Result<Self, OpenError> {
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        Self::of(path, connection, None)
    }

    /// One that lives as long as the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, OpenError> {
        let path = Path::new(":memory:");
        let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open_in_memory().map_err(sqlite)?;
        prepare(&connection).map_err(sqlite)?;
        Self::of(path, connection, None)
    }

    fn of(path: &Path, connection: Connection, owned: Option<std::fs::File>) -> Result<Self, OpenError> {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap_or(-1);
        match (number("application_id"), number("user_version")) {
            (APPLICATION, LAYOUT) => Ok(Self { connection: Mutex::new(connection), _owned: owned }),
            (application, layout) => Err(OpenError::Foreign {
                path: path.to_owned(),
                found: format!("application {application:#x}, layout {layout}"),
            }),
        }
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if tables == 0 && application == 0 {
        // Old chunks are dropped all the time: their pages go back to the file system.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {LAYOUT}; COMMIT;"
        ))?;
    }
    // What people are to be told must outlive a power cut; it is one write a step.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -1_024)?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)
}
