//! Plugin state in an SQLite file, so that it outlives the agent. One row for each key; a call's changes are one
//! transaction. The file belongs to one agent at a time and to its user alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::store::{Changes, Entries, Memory, StateError, StateStore};

/// Marks our files for `file` and for us ("WhSt"), so that another program's database is not taken for one.
const APPLICATION: i32 = 0x5768_5374;
/// The layout below; a change of it changes this.
const LAYOUT: i32 = 1;
/// How long a reader's copy may hold up a checkpoint, or an agent's write the copy.
const BUSY: Duration = Duration::from_secs(5);

const TABLE: &str = "
    CREATE TABLE plugin_state (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (owner, key)
    ) STRICT, WITHOUT ROWID;";

/// A state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be made or looked at.
    #[error("cannot open the plugins' state file {path}; its folder must exist and belong to the agent's user")]
    Open {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Others have access.
    #[error("others than the agent's user may read or write the plugins' state file {path}; run `chmod 600 {path}`")]
    Shared {
        /// Its path.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("another process uses the plugins' state file {path}; each agent needs a file of its own")]
    Busy {
        /// Its path.
        path: PathBuf,
    },
    /// It is a database, but not ours.
    #[error(
        "{path} is not a state file of this version of the agent ({found}); name another file in `plugins: state_file:`"
    )]
    Foreign {
        /// Its path.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// It is damaged.
    #[error(
        "the plugins' state file {path} is damaged ({found}); put back a copy, or move it away and the plugins start without state"
    )]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// Where.
        found: String,
    },
}

/// The state of all plugins of an agent.
#[derive(Debug)]
pub struct StateFile {
    connection: Mutex<Connection>,
    /// Says to others that the file has an owner. Closed last: closing any handle of a file drops the locks SQLite has on it.
    _owned: File,
}

impl StateFile {
    /// Opens the file and makes it when it is missing.
    ///
    /// # Errors
    /// When it cannot be used; nothing in it has changed then.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        let owned = || path.to_owned();
        // SQLite would make it readable to everybody; its journal gets the mode of the file.
        let failed = |source| StateFileError::Open { path: owned(), source };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if facts.mode() & 0o077 != 0 {
            return Err(StateFileError::Shared { path: owned() });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateFileError::Busy { path: owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let connection = Self::connect(path).map_err(|error| cannot(path, error))?;
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap_or(-1);
        match (number("application_id"), number("user_version")) {
            (APPLICATION, LAYOUT) => {}
            (application, layout) => {
                return Err(StateFileError::Foreign {
                    path: owned(),
                    found: format!("application {application:#x}, layout {layout}"),
                });
            }
        }
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .unwrap_or_else(|error| error.to_string());
        if found != "ok" {
            return Err(StateFileError::Damaged { path: owned(), found });
        }
        Ok(StateFile { connection: Mutex::new(connection), _owned: file })
    }

    /// What is in the file now, for a command that runs beside the agent: what it changes is not kept.
    ///
    /// # Errors
    /// When the file cannot be read; one that does not exist yet holds nothing.
    pub fn copy(path: &Path) -> Result<Memory, StateFileError> {
        let copy = Memory::default();
        if !path.exists() {
            return Ok(copy);
        }
        let rows = || -> rusqlite::Result<Vec<(String, String, Vec<u8>)>> {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(BUSY)?;
            let mut query = connection.prepare("SELECT owner, key, value FROM plugin_state")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        for (owner, key, value) in rows().map_err(|error| cannot(path, error))? {
            copy.put(owner, key, value);
        }
        Ok(copy)
    }

    fn connect(path: &Path) -> rusqlite::Result<Connection> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A crash of the agent loses nothing; a power cut may lose the last calls, and leaves the file whole.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            transaction.execute_batch(TABLE)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        transaction.commit()?;
        Ok(connection)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // Nothing panics while it is held, and a transaction that was not committed is undone.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, owner: &str) -> rusqlite::Result<Entries> {
        let connection = self.connection();
        let mut query = connection.prepare_cached("SELECT key, value FROM plugin_state WHERE owner = ?1")?;
        query.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn write(&self, owner: &str, changes: &Changes) -> rusqlite::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO plugin_state (owner, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value",
            )?;
            let mut end = transaction.prepare_cached("DELETE FROM plugin_state WHERE owner = ?1 AND key = ?2")?;
            for (key, value) in changes {
                match value {
                    Some(value) => put.execute(params![owner, key, value])?,
                    None => end.execute(params![owner, key])?,
                };
            }
        }
        transaction.commit()
    }
}

fn cannot(path: &Path, error: rusqlite::Error) -> StateFileError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StateFileError::Busy { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StateFileError::Damaged { path, found: error.to_string() }
        }
        _ => StateFileError::Open { path, source: io::Error::other(error) },
    }
}

impl StateStore for StateFile {
    fn load(&self, owner: &str) -> Result<Entries, StateError> {
        self.read(owner).map_err(|source| StateError { action: "read", source: source.into() })
    }

    fn save(&self, owner: &str, changes: &Changes) -> Result<(), StateError> {
        self.write(owner, changes).map_err(|source| StateError { action: "written", source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn changes(list: &[(&str, Option<&[u8]>)]) -> Changes {
        list.iter().map(|(key, value)| ((*key).to_owned(), value.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn state_survives_the_agent_and_owners_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = StateFile::open(&path).unwrap();
        store.save("shop/a", &changes(&[("x", Some(b"1")), ("y", Some(b"\0\xff")), ("", None)])).unwrap();
        store.save("shop/b", &changes(&[("x", Some(b"b"))])).unwrap();
        store.save("shop/a", &changes(&[("x", Some(b"2")), ("y", None), ("z", Some(b""))])).unwrap();
        // As a crash leaves it: nothing is closed, the journal is still there.
        let copy = folder.path().join("copy.db");
        for end in ["", "-wal"] {
            fs::copy(format!("{}{end}", path.display()), format!("{}{end}", copy.display())).unwrap();
        }
        drop(store);
        for path in [path, copy] {
            let store = StateFile::open(&path).unwrap();
            let expect = Entries::from([("x".to_owned(), b"2".to_vec()), ("z".to_owned(), Vec::new())]);
            assert_eq!(store.load("shop/a").unwrap(), expect);
            assert_eq!(store.load("shop/b").unwrap().len(), 1);
            assert_eq!(store.load("shop").unwrap(), Entries::new());
        }
    }

    #[test]
    fn only_the_agents_user_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = StateFile::open(&path).unwrap();
        store.save("a", &changes(&[("x", Some(b"1"))])).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
        drop(store);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = StateFile::open(&path).unwrap_err();
        assert!(matches!(error, StateFileError::Shared { .. }) && error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_is_damaged_foreign_or_in_use_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let private = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let nonsense = private("nonsense.db", &b"this is no database, and long enough to be looked at. ".repeat(40));
        let before = fs::read(&nonsense).unwrap();
        let error = StateFile::open(&nonsense).unwrap_err();
        assert!(matches!(error, StateFileError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&nonsense).unwrap(), before);

        let whole = folder.path().join("whole.db");
        let store = StateFile::open(&whole).unwrap();
        for owner in 0..50 {
            store.save(&owner.to_string(), &changes(&[("x", Some(&[7; 2000]))])).unwrap();
        }
        drop(store);
        let mut bytes = fs::read(&whole).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4096].fill(0xa5);
        let error = StateFile::open(&private("torn.db", &bytes)).unwrap_err();
        assert!(matches!(error, StateFileError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("move it away"), "{error}");

        let other = private("other.db", b"");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let error = StateFile::open(&other).unwrap_err();
        assert!(matches!(error, StateFileError::Foreign { .. }), "{error}");

        let held = StateFile::open(&whole).unwrap();
        let error = StateFile::open(&whole).unwrap_err();
        assert!(matches!(error, StateFileError::Busy { .. }), "{error}");
        let copy = StateFile::copy(&whole).unwrap();
        copy.save("1", &changes(&[("x", None)])).unwrap();
        assert_eq!((held.load("1").unwrap().len(), copy.load("1").unwrap().len()), (1, 0), "a copy is a copy");
        assert_eq!(copy.load("49").unwrap(), held.load("49").unwrap());

        let error = StateFile::open(&folder.path().join("no/such/folder.db")).unwrap_err();
        assert!(matches!(error, StateFileError::Open { .. }), "{error}");
    }
}
