//! Connects, and says what kind a PostgreSQL error is and what it is called. Messages are without row values: what repeats
//! them in the server's words is left out.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Kind, Result};
use crate::tls::{Handshake, Trusted, client_config};

use super::conditions;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens connections to one database.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
}

/// What the connection string may be.
const FORM: &str = "write postgresql://user:password@host:5432/database, with special characters percent-encoded";

impl Connector {
    /// From a connection string. The driver knows no `verify-ca` and `verify-full`, but a connection with TLS always
    /// verifies here, so they mean the same as `require`.
    pub(super) fn new(url: &str, ca_file: Option<&PathBuf>) -> Result<Self> {
        let url = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
        // The driver's own message may repeat parts of the string, and the password is one.
        let mut config: Config = url
            .parse()
            .map_err(|_| Error::refused("the database's URL is not a PostgreSQL connection string", FORM))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::refused("the database's URL names no host", FORM));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(Error::refused("the database's URL names no database", FORM));
        }
        config.connect_timeout(PATIENCE);
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // One of several servers is a standby, and a standby takes no rows.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("whimbrel migrate");
        }
        let tls = MakeRustlsConnect::new(tls(ca_file, config.get_ssl_mode())?);
        Ok(Self { config, tls })
    }

    /// `host:port` of the first server.
    pub(super) fn server(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self.config.get_hostaddrs().first().map_or(String::new(), |address| format!("{address}:{port}")),
        }
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Client> {
        let doing = format!("cannot connect to PostgreSQL at {}", self.server());
        let hosts = u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        // The driver's time-out is one host's, and covers neither TLS nor the login.
        let connect = tokio::time::timeout(PATIENCE * hosts, self.config.connect(self.tls.clone())).await;
        let (client, connection) = connect
            .map_err(|_| Error::new(Kind::Connection, "timeout", format!("{doing}: no answer within {PATIENCE:?}")))?
            .map_err(|cause| error(&doing, &cause))?;
        // Ends by itself when the client is dropped or the connection breaks; errors reach the client's calls.
        #[expect(clippy::disallowed_methods, reason = "lives as long as the client it serves, on its runtime")]
        tokio::spawn(async move {
            if let Err(cause) = connection.await {
                tracing::debug!(error = %cause, "the connection to PostgreSQL ended");
            }
        });
        Ok(client)
    }

    /// Has `work` done on a connection; when it is given up before its end, so is what the server is at.
    pub(super) async fn guarded<T>(&self, client: &Client, work: impl Future<Output = T>) -> T {
        let mut guard = Guard { armed: Some((client.cancel_token(), self.tls.clone())) };
        let done = work.await;
        guard.armed = None;
        done
    }
}

/// Sends a cancel request unless it is told that there is nothing to cancel.
struct Guard {
    armed: Option<(CancelToken, MakeRustlsConnect)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((token, tls)) = self.armed.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(cause) = token.cancel_query(tls).await {
                tracing::warn!(error = %cause, "a statement could not be cancelled");
            }
        });
    }
}

fn tls(ca_file: Option<&PathBuf>, mode: SslMode) -> Result<ClientConfig> {
    let trusted = match ca_file {
        Some(path) => Trusted::File(path),
        None if mode == SslMode::Disable => Trusted::Nobody,
        None => Trusted::System,
    };
    client_config(trusted).map_err(|what| Error::refused(what, "name a file of PEM certificates"))
}

/// The error with its kind and name. `doing` must hold no row values; it may be empty.
pub(super) fn error(doing: &str, cause: &tokio_postgres::Error) -> Error {
    let found = server_error(cause);
    if doing.is_empty() { found } else { found.at(doing) }
}

fn server_error(cause: &tokio_postgres::Error) -> Error {
    let Some(db) = cause.as_db_error() else {
        let deepest = std::error::Error::source(cause).map(|source| format!(": {source}")).unwrap_or_default();
        let (kind, code) = without_code(cause);
        let told = format!("{cause}{deepest}");
        let remedy = handshake_remedy(&told);
        let error = Error::new(kind, code, told);
        return match remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        };
    };
    let code = db.code().code();
    let name = conditions::name(code).map_or_else(|| code.to_owned().into(), std::borrow::Cow::Borrowed);
    let message = match code.get(..2) {
        // The server's words repeat the value.
        Some("22") => format!("a value does not fit: {} (SQLSTATE {code})", name.replace('_', " ")),
        // The detail, which is left out, would name the values.
        _ => format!("{} (SQLSTATE {code})", db.message()),
    };
    let error = Error::new(kind(code), name, message);
    match remedy(code) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The error of a COMMIT: whatever ended the session may have come before or after the commit was durable.
pub(super) fn commit_error(cause: &tokio_postgres::Error) -> Error {
    let found = error("cannot commit", cause);
    match found.kind {
        Kind::Connection => Error { kind: Kind::CommitUnknown, ..found }.with_remedy(
            "run the same command again: the ledger, which was in the transaction, says what became of it",
        ),
        _ => found,
    }
}

fn without_code(cause: &tokio_postgres::Error) -> (Kind, &'static str) {
    let mut chain: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(link) = chain {
        // Rustls reports a certificate it does not trust as invalid data; that does not pass by itself.
        if link.downcast_ref::<io::Error>().is_some_and(|e| e.kind() != io::ErrorKind::InvalidData) {
            return (Kind::Connection, "connection_failure");
        }
        chain = link.source();
    }
    // The driver tells its other errors apart by words alone.
    let text = cause.to_string();
    if cause.is_closed() || text.contains("connecting") || text.contains("timeout") {
        (Kind::Connection, "connection_failure")
    } else if text.contains("authentication") {
        (Kind::Database, "invalid_authorization_specification")
    } else if text.contains("TLS") {
        (Kind::Database, "tls")
    } else {
        (Kind::Database, "driver")
    }
}

/// What mends a TLS handshake that failed, by the words of the library.
fn handshake_remedy(told: &str) -> Option<&'static str> {
    match Handshake::told_by(told)? {
        Handshake::UnknownAuthority => Some(
            "no authority that is trusted here signed the server's certificate: name the file of one that did as CA file",
        ),
        Handshake::OtherName => {
            Some("the server's certificate is for another name: write the host in the URL as the certificate has it")
        }
        Handshake::Expired => Some("the server's certificate is over: renew it at the server"),
        Handshake::NoTls => Some("the server speaks no TLS: `sslmode=disable` in the URL goes without"),
        Handshake::NotYetValid | Handshake::Unverified | Handshake::ClientCertificate => None,
    }
}

/// What is to be done about a SQLSTATE: whole codes first, then classes.
fn kind(code: &str) -> Kind {
    match code {
        "55P03" | "40001" | "40P01" => Kind::Transient,
        "40003" => Kind::CommitUnknown,
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" | "53300" => Kind::Connection,
        _ if code.starts_with("08") => Kind::Connection,
        _ => Kind::Database,
    }
}

fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "55P03" => {
            "somebody held the lock for all that time: look who (`pg_blocking_pids`), or allow more time and tries"
        }
        "42501" => "the user of the URL needs the privilege: grant it, or migrate as the owner",
        "25006" => "this server or user only reads: name the primary, and a user who may write",
        "25001" => "the statement cannot run in a transaction: begin the file with `-- whimbrel: no-transaction`",
        "2D000" => {
            "code that commits by itself runs only outside of a transaction: begin the file with `-- whimbrel: no-transaction`"
        }
        "55P04" => "a new enum value can be used only in a later transaction: put its use into a migration of its own",
        "28P01" | "28000" => "check user, password and `sslmode` in the URL",
        "3D000" => "create the database first",
        "53100" => "make room on the server's disk",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_kinds_and_names() {
        let table = [
            (Kind::Transient, "55P03", "lock_not_available"),
            (Kind::Transient, "40001", "serialization_failure"),
            (Kind::Transient, "40P01", "deadlock_detected"),
            (Kind::Connection, "57P01", "admin_shutdown"),
            (Kind::Connection, "08006", "connection_failure"),
            (Kind::CommitUnknown, "40003", "statement_completion_unknown"),
            (Kind::Database, "42P01", "undefined_table"),
            (Kind::Database, "23505", "unique_violation"),
            (Kind::Database, "57014", "query_canceled"),
            (Kind::Database, "P0001", "raise_exception"),
        ];
        for (expected, code, name) in table {
            assert_eq!((kind(code), conditions::name(code)), (expected, Some(name)), "{code}");
        }
        assert_eq!(conditions::name("ZZZZZ"), None);
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_without_repeating_it() {
        for url in ["postgresql://me:s3cret@db/shop?nonsense=s3cret", "postgresql://me:s3cret@db", "s3cret"] {
            let error = Connector::new(url, None).err().expect(url);
            assert_eq!(error.kind, Kind::Refused);
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let good = Connector::new("postgresql://me:s3cret@db.example:6543/shop?sslmode=disable", None).ok().unwrap();
        assert_eq!((&*good.server(), good.database()), ("db.example:6543", "shop"));
    }
}
