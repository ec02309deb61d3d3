//! Connects, and says what kind a PostgreSQL error is.

use std::io;

use rustls::ClientConfig;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::runtime::tls::{Handshake, Trusted, client_config};
use crate::target::error::{ErrorKind, TargetError};

use super::config::{Settings, parse};

/// What every session is set to.
/// UTC, since timestamps without zone that meet a column with one are UTC at the source. A lock somebody else holds is
/// waited for no longer than 30 s, and an agent that was stopped in the middle of a transaction loses its locks after 15 s:
/// its partitions have a new owner by then.
const SESSION: &str = "SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = '15s'; SET standard_conforming_strings = on";

/// Opens a session.
pub(crate) async fn connect(settings: &Settings) -> Result<Client, TargetError> {
    let mut config = parse(&settings.uri).map_err(|e| TargetError::new(ErrorKind::Unsupported, e.message))?;
    config.connect_timeout(settings.timeout);
    let hosts = config.get_hosts().len().max(1);
    if hosts > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        // One of several servers is a standby, and a standby takes no rows.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    // The driver's time-out is one host's, and covers neither TLS nor the login.
    let patience = settings.timeout * u32::try_from(hosts).unwrap_or(u32::MAX);
    if config.get_application_name().is_none() {
        config.application_name("whimbrel");
    }
    let tls = MakeRustlsConnect::new(tls(settings, config.get_ssl_mode())?);
    let doing = format!("cannot connect to PostgreSQL at {}", settings.server());
    let connect = tokio::time::timeout(patience, config.connect(tls)).await;
    let (client, connection) = connect
        .map_err(|_| TargetError::new(ErrorKind::Network, format!("{doing}: no answer within {patience:?}")))?
        .map_err(|e| error(&doing, e))?;
    // Ends by itself when the client is dropped or the connection breaks; both sides of an error reach the client's calls.
    #[expect(
        clippy::disallowed_methods,
        reason = "lives as long as the client it serves, on the pipeline's own runtime"
    )]
    tokio::spawn(async move {
        if let Err(cause) = connection.await {
            tracing::debug!(error = %cause, "the connection to PostgreSQL ended");
        }
    });
    client.batch_execute(SESSION).await.map_err(|e| error(&doing, e))?;
    Ok(client)
}

fn tls(settings: &Settings, mode: SslMode) -> Result<ClientConfig, TargetError> {
    let trusted = match &settings.ca_file {
        Some(path) => Trusted::File(path),
        None if mode == SslMode::Disable => Trusted::Nobody,
        None => Trusted::System,
    };
    client_config(trusted).map_err(|what| TargetError::new(ErrorKind::Unsupported, what))
}

/// The error with its kind. `doing` must hold no row values.
pub(crate) fn error(doing: &str, cause: Error) -> TargetError {
    let Some(db) = cause.as_db_error() else {
        let kind = kind_without_code(&cause);
        let deepest = std::error::Error::source(&cause).map(|s| format!(": {s}")).unwrap_or_default();
        let told = format!("{cause}{deepest}");
        let remedy = Handshake::told_by(&told).map(|handshake| {
            let authority = "name it in `ca_file` of `target.postgresql`; `sslmode=disable` in `uri` goes without TLS";
            format!(" ({})", handshake.remedy(authority, "this target has none to show"))
        });
        return TargetError::new(kind, format!("{doing}: {told}{}", remedy.unwrap_or_default())).caused_by(cause);
    };
    let code = db.code().code();
    let kind = kind(code);
    match kind {
        // The server's words repeat the value, and so would the cause's.
        ErrorKind::BadValue => TargetError::new(kind, format!("{doing}: a value does not fit (SQLSTATE {code})")),
        // The message names the constraint; the detail, which the cause would print, names the values.
        ErrorKind::Constraint => TargetError::new(kind, format!("{doing}: {} (SQLSTATE {code})", db.message())),
        _ => TargetError::new(kind, format!("{doing}: {} (SQLSTATE {code})", db.message())).caused_by(cause),
    }
}

/// The error of a COMMIT: whatever ended the session may have come before or after the commit was durable.
pub(super) fn commit_error(cause: Error) -> TargetError {
    let lost = match cause.code() {
        None => true,
        Some(code) => {
            let code = code.code();
            code.starts_with("57P") || code.starts_with("08") || code == "40003"
        }
    };
    let found = error("cannot commit", cause);
    if lost { TargetError { kind: ErrorKind::CommitUnknown, ..found } } else { found }
}

fn kind_without_code(cause: &Error) -> ErrorKind {
    let mut chain: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(link) = chain {
        // Rustls reports a certificate it does not trust as invalid data; that does not pass by itself.
        if link.downcast_ref::<io::Error>().is_some_and(|e| e.kind() != io::ErrorKind::InvalidData) {
            return ErrorKind::Network;
        }
        chain = link.source();
    }
    // The driver tells its other errors apart by words alone.
    let text = cause.to_string();
    if cause.is_closed() || text.contains("connecting") || text.contains("timeout") {
        ErrorKind::Network
    } else if text.contains("authentication") {
        ErrorKind::Authentication
    } else if text.contains("TLS") {
        ErrorKind::Unsupported
    } else {
        ErrorKind::Unknown
    }
}

/// The one table of SQLSTATE codes (PostgreSQL manual, appendix A): whole codes first, then classes.
fn kind(code: &str) -> ErrorKind {
    match code {
        "57P01" | "57P02" | "57P03" | "57P05" | "25006" => return ErrorKind::NotPrimary,
        "40003" => return ErrorKind::CommitUnknown,
        "55P03" | "57014" | "25P03" | "25P04" | "55006" => return ErrorKind::Conflict,
        "53100" | "58030" | "58P01" => return ErrorKind::Storage,
        "21000" => return ErrorKind::Constraint,
        "54000" | "54001" | "54011" => return ErrorKind::RowTooLarge,
        "42501" => return ErrorKind::Authorization,
        "42P01" | "42703" | "3F000" | "3D000" | "42704" | "42804" | "42P10" | "42883" | "42846" | "428C9" | "42809" => {
            return ErrorKind::SchemaMismatch;
        }
        _ => {}
    }
    match code.get(..2) {
        Some("08") => ErrorKind::Network,
        Some("40") => ErrorKind::Conflict,
        Some("53") => ErrorKind::Overloaded,
        Some("22") => ErrorKind::BadValue,
        Some("23" | "44") => ErrorKind::Constraint,
        Some("28") => ErrorKind::Authentication,
        Some("0A") => ErrorKind::Unsupported,
        _ => ErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_their_kinds() {
        let table = [
            (ErrorKind::Network, "08000 08001 08003 08006 08P01"),
            (ErrorKind::NotPrimary, "57P01 57P02 57P03 25006"),
            (ErrorKind::Conflict, "40001 40P01 55P03 57014"),
            (ErrorKind::Overloaded, "53000 53200 53300"),
            (ErrorKind::CommitUnknown, "40003"),
            (ErrorKind::BadValue, "22001 22003 22007 22021 22P02 22P05"),
            (ErrorKind::Constraint, "23502 23503 23505 23514 23P01 21000 44000"),
            (ErrorKind::RowTooLarge, "54000"),
            (ErrorKind::Authentication, "28000 28P01"),
            (ErrorKind::Authorization, "42501"),
            (ErrorKind::SchemaMismatch, "42P01 42703 3F000 3D000 42804 42P10"),
            (ErrorKind::Storage, "53100 58030"),
            (ErrorKind::Unsupported, "0A000"),
            (ErrorKind::Unknown, "XX000 42601 25P02 00000 P0001"),
        ];
        for (expected, codes) in table {
            for code in codes.split(' ') {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
    }
}
