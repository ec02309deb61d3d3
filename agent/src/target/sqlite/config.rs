//! Settings of the SQLite target, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::invalid::Invalid;
use crate::config::raw;

/// What the target needs to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database file.
    pub path: PathBuf,
    /// Write the effects ledger.
    pub ledger: bool,
    /// The `synchronous` pragma's word.
    pub synchronous: &'static str,
    /// How long a deleted row's version is remembered in at_least_once mode.
    pub delete_grace: Duration,
}

impl Settings {
    /// Checks what was written under `target.sqlite`; `delete_grace` is the pipeline's `delivery.delete_grace`.
    ///
    /// # Errors
    /// When the path cannot be one of a database file.
    pub fn from_raw(raw: &raw::SqliteTarget, delete_grace: Duration) -> Result<Self, Invalid> {
        let path = &raw.path;
        if path.as_os_str().is_empty() {
            return Err(Invalid::new("path", "is empty", "write the path of the database file, such as ./shop.db"));
        }
        if path.as_os_str() == ":memory:" {
            return Err(Invalid::new(
                "path",
                "a database in memory loses rows and offsets with the process",
                "write the path of a file; the stdout target is there for looking",
            ));
        }
        if path.is_dir() {
            return Err(Invalid::new(
                "path",
                format!("`{}` is a directory", path.display()),
                "write the path of the database file inside it",
            ));
        }
        Ok(Self {
            path: path.clone(),
            ledger: raw.ledger,
            synchronous: match raw.synchronous {
                raw::Synchronous::Full => "FULL",
                raw::Synchronous::Normal => "NORMAL",
            },
            delete_grace,
        })
    }
}

crate::config::opaque::opaque_debug!(Settings);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &str) -> Result<Settings, Invalid> {
        let raw = raw::SqliteTarget { path: path.into(), ledger: true, synchronous: raw::Synchronous::Normal };
        Settings::from_raw(&raw, Duration::from_secs(86_400))
    }

    #[test]
    fn a_path_that_is_no_file_is_refused_with_a_hint() {
        let good = settings("./shop.db").unwrap();
        assert_eq!((good.synchronous, good.delete_grace, good.ledger), ("NORMAL", Duration::from_secs(86_400), true));
        for bad in ["", ":memory:", "/"] {
            let error = settings(bad).unwrap_err();
            assert_eq!(error.path, "path");
            assert!(!error.hint.is_empty());
        }
    }
}
