//! What kind a SQLite error is and what it is called: by the names of its result codes.

use std::borrow::Cow;

use rusqlite::ffi;

use crate::error::{Error, Kind};

/// The error with its kind and name; `doing` holds no row values.
pub(super) fn error(doing: impl std::fmt::Display, cause: &rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failure, message) = cause else {
        // These are about the call, and may hold a value.
        let told = match cause {
            rusqlite::Error::SqlInputError { msg, error, .. } => {
                return Error::new(Kind::Database, name(error.extended_code), format!("{doing}: {msg}"));
            }
            rusqlite::Error::QueryReturnedNoRows => "no row came back",
            _ => "the answer is not as expected",
        };
        return Error::new(Kind::Database, "driver", format!("{doing}: {told}"));
    };
    let code = failure.extended_code;
    let words = message.clone().unwrap_or_else(|| ffi::code_to_str(code).to_owned());
    let error = Error::new(kind(code), name(code), format!("{doing}: {words}"));
    match remedy(code) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Whether somebody else had the file.
pub(super) fn is_busy(error: &Error) -> bool {
    error.kind == Kind::Transient
}

const fn kind(code: i32) -> Kind {
    match code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Kind::Transient,
        ffi::SQLITE_INTERRUPT => Kind::Cancelled,
        _ => Kind::Database,
    }
}

fn name(code: i32) -> Cow<'static, str> {
    let primary = match code & 0xff {
        ffi::SQLITE_ERROR => "SQLITE_ERROR",
        ffi::SQLITE_INTERNAL => "SQLITE_INTERNAL",
        ffi::SQLITE_PERM => "SQLITE_PERM",
        ffi::SQLITE_ABORT => "SQLITE_ABORT",
        ffi::SQLITE_BUSY => "SQLITE_BUSY",
        ffi::SQLITE_LOCKED => "SQLITE_LOCKED",
        ffi::SQLITE_NOMEM => "SQLITE_NOMEM",
        ffi::SQLITE_READONLY => "SQLITE_READONLY",
        ffi::SQLITE_INTERRUPT => "SQLITE_INTERRUPT",
        ffi::SQLITE_IOERR => "SQLITE_IOERR",
        ffi::SQLITE_CORRUPT => "SQLITE_CORRUPT",
        ffi::SQLITE_FULL => "SQLITE_FULL",
        ffi::SQLITE_CANTOPEN => "SQLITE_CANTOPEN",
        ffi::SQLITE_SCHEMA => "SQLITE_SCHEMA",
        ffi::SQLITE_TOOBIG => "SQLITE_TOOBIG",
        ffi::SQLITE_CONSTRAINT => "SQLITE_CONSTRAINT",
        ffi::SQLITE_MISMATCH => "SQLITE_MISMATCH",
        ffi::SQLITE_MISUSE => "SQLITE_MISUSE",
        ffi::SQLITE_AUTH => "SQLITE_AUTH",
        ffi::SQLITE_RANGE => "SQLITE_RANGE",
        ffi::SQLITE_NOTADB => "SQLITE_NOTADB",
        other => return format!("SQLITE_{other}").into(),
    };
    primary.into()
}

const fn remedy(code: i32) -> Option<&'static str> {
    Some(match code & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => "another process writes to the file: wait for it, or allow more time",
        ffi::SQLITE_FULL => "make room on the disk",
        ffi::SQLITE_READONLY | ffi::SQLITE_PERM => "let the user of this process write the file and its directory",
        ffi::SQLITE_CANTOPEN => "check the path, and let the user of this process use its directory",
        ffi::SQLITE_NOTADB => "name a file of SQLite's",
        ffi::SQLITE_CORRUPT => "restore the file from a backup",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_kinds_and_names() {
        for (code, expected, called) in [
            (ffi::SQLITE_BUSY, Kind::Transient, "SQLITE_BUSY"),
            (ffi::SQLITE_BUSY_SNAPSHOT, Kind::Transient, "SQLITE_BUSY"),
            (ffi::SQLITE_INTERRUPT, Kind::Cancelled, "SQLITE_INTERRUPT"),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Kind::Database, "SQLITE_CONSTRAINT"),
            (ffi::SQLITE_FULL, Kind::Database, "SQLITE_FULL"),
            (77, Kind::Database, "SQLITE_77"),
        ] {
            assert_eq!((kind(code), name(code)), (expected, Cow::Borrowed(called)));
        }
    }
}
