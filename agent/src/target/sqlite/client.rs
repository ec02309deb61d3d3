//! Opens the database and says what kind an SQLite error is. Runs on a blocking thread, never on an async worker.

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, Error};

use crate::target::error::{ErrorKind, TargetError};

use super::config::Settings;
use super::state;

/// How long a statement waits for another process's write lock before it gives up with a conflict.
const BUSY_MS: u32 = 5_000;
/// Prepared statements kept: a handful per table and presence pattern.
const STATEMENTS: usize = 256;

/// Opens (and creates) the database and its state tables.
pub(super) fn open(settings: &Settings) -> Result<Connection, TargetError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(&settings.path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS.into()))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", settings.synchronous)?;
        // The source has checked its references; its tables arrive on separate topics, so a child may come first.
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.execute_batch(state::TABLES)?;
        Ok(connection)
    };
    open().map_err(|e| error(&format!("cannot open the database `{}`", settings.path.display()), e))
}

/// The error with its kind. `doing` says what was attempted; it must hold no row values.
pub(super) fn error(doing: &str, cause: Error) -> TargetError {
    let kind = kind(&cause);
    TargetError::new(kind, format!("{doing}: {}", says(&cause, kind))).caused_by(cause)
}

/// SQLite's message where it names only schema objects; a message of its own where the values might show.
fn says(cause: &Error, kind: ErrorKind) -> String {
    match kind {
        ErrorKind::BadValue => "a value does not fit its column".to_owned(),
        _ => match cause {
            Error::SqliteFailure(_, Some(message)) => message.clone(),
            other => other.to_string(),
        },
    }
}

/// The one table of SQLite result codes (sqlite.org/rescode.html).
fn kind(cause: &Error) -> ErrorKind {
    let Error::SqliteFailure(code, message) = cause else {
        return match cause {
            Error::SqlInputError { msg, .. } => kind_of_message(msg),
            Error::ToSqlConversionFailure(_) | Error::IntegralValueOutOfRange(..) => ErrorKind::BadValue,
            _ => ErrorKind::Unknown,
        };
    };
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            ErrorKind::Conflict
        }
        ErrorCode::OutOfMemory => ErrorKind::Overloaded,
        ErrorCode::ConstraintViolation => ErrorKind::Constraint,
        ErrorCode::TypeMismatch => ErrorKind::BadValue,
        ErrorCode::TooBig => ErrorKind::RowTooLarge,
        ErrorCode::AuthorizationForStatementDenied | ErrorCode::PermissionDenied => ErrorKind::Authorization,
        ErrorCode::SchemaChanged => ErrorKind::SchemaMismatch,
        ErrorCode::DiskFull
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure
        | ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase
        | ErrorCode::NoLargeFileSupport => ErrorKind::Storage,
        ErrorCode::Unknown => message.as_deref().map_or(ErrorKind::Unknown, kind_of_message),
        _ => ErrorKind::Unknown,
    }
}

/// SQLITE_ERROR is one code for every mistake in a statement; ours are fixed, so only the schema can be at odds.
fn kind_of_message(message: &str) -> ErrorKind {
    const SCHEMA: [&str; 5] =
        ["no such table", "no such column", "has no column", "ON CONFLICT clause does not match", "already exists"];
    if SCHEMA.iter().any(|part| message.contains(part)) { ErrorKind::SchemaMismatch } else { ErrorKind::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_have_their_kinds() {
        let of = |code: i32, message: &str| {
            kind(&Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(message.to_owned())))
        };
        use rusqlite::ffi;
        for (code, message, expected) in [
            (ffi::SQLITE_BUSY, "", ErrorKind::Conflict),
            (ffi::SQLITE_BUSY | (2 << 8), "snapshot", ErrorKind::Conflict),
            (ffi::SQLITE_LOCKED, "", ErrorKind::Conflict),
            (ffi::SQLITE_CONSTRAINT | (5 << 8), "NOT NULL constraint failed", ErrorKind::Constraint),
            (ffi::SQLITE_MISMATCH, "", ErrorKind::BadValue),
            (ffi::SQLITE_TOOBIG, "", ErrorKind::RowTooLarge),
            (ffi::SQLITE_FULL, "", ErrorKind::Storage),
            (ffi::SQLITE_READONLY, "", ErrorKind::Storage),
            (ffi::SQLITE_IOERR, "", ErrorKind::Storage),
            (ffi::SQLITE_NOMEM, "", ErrorKind::Overloaded),
            (ffi::SQLITE_PERM, "", ErrorKind::Authorization),
            (ffi::SQLITE_ERROR, "no such table: t", ErrorKind::SchemaMismatch),
            (ffi::SQLITE_ERROR, "something else", ErrorKind::Unknown),
        ] {
            assert_eq!(of(code, message), expected, "{code} {message}");
        }
    }
}
