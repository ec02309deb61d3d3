//! Connects, and says what kind an error of MySQL's or MariaDB's is and what it is called. Messages are without row values:
//! what repeats them in the server's words is left out.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::{Conn, IoError, Opts, OptsBuilder, SslOpts};
use url::Url;

use super::symbols;
use crate::error::{Error, Kind, Result};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that is gone is noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What the connection string may be.
const FORM: &str =
    "write mysql://user:password@host:3306/database (or mariadb://), with special characters percent-encoded";

/// Opens connections to one database.
#[derive(Clone)]
pub(super) struct Connector {
    options: Opts,
    database: String,
}

impl Connector {
    /// From a connection string. TLS is used when it asks for it (`ssl-mode=REQUIRED`, `require_ssl=true`), and certificates
    /// are verified then, so that the modes that ask for more mean the same.
    pub(super) fn new(url: &str, ca_file: Option<&Path>) -> Result<Self> {
        // The parsers' own messages may repeat parts of the string, and the password is one.
        let wrong = || Error::refused("the database's URL is not a MySQL connection string", FORM);
        let (_, rest) = url.split_once(':').ok_or_else(wrong)?;
        let mut parsed = Url::parse(&format!("mysql:{rest}")).map_err(|_| wrong())?;
        let (tls, kept) = tls_wanted(&parsed)?;
        parsed.set_query((!kept.is_empty()).then_some(kept.as_str()));
        let options = Opts::from_url(parsed.as_str()).map_err(|_| wrong())?;
        let database = options.db_name().unwrap_or_default().to_owned();
        if database.is_empty() {
            return Err(Error::refused("the database's URL names no database", FORM));
        }
        let builder = OptsBuilder::from_opts(options)
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            // Rows that an UPDATE finds as it wants them count as done.
            .client_found_rows(true)
            .ssl_opts(if tls { Some(ssl(ca_file)?) } else { None });
        Ok(Self { options: builder.into(), database })
    }

    /// `host:port`.
    pub(super) fn server(&self) -> String {
        format!("{}:{}", self.options.ip_or_hostname(), self.options.tcp_port())
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Conn> {
        let doing = format!("cannot connect to the server at {}", self.server());
        match tokio::time::timeout(PATIENCE, Conn::new(self.options.clone())).await {
            Ok(connected) => connected.map_err(|cause| error(&doing, &cause)),
            Err(_) => Err(Error::new(Kind::Connection, "timeout", format!("{doing}: no answer within {PATIENCE:?}"))),
        }
    }
}

/// Whether TLS is asked for, and the query without the words that say so.
fn tls_wanted(url: &Url) -> Result<(bool, String)> {
    let mut tls = false;
    let mut kept = Vec::new();
    for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let unknown = || {
            Error::refused(
                format!("`{name}` of the database's URL has a value that is not known"),
                "ssl-mode is DISABLED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY; require_ssl is true or false",
            )
        };
        match name.to_ascii_lowercase().as_str() {
            "ssl-mode" | "ssl_mode" | "sslmode" => {
                tls = match value.to_ascii_uppercase().replace('-', "_").as_str() {
                    // As without the word: the driver cannot try one and then the other.
                    "DISABLED" | "DISABLE" | "PREFERRED" | "PREFER" => false,
                    "REQUIRED" | "REQUIRE" | "VERIFY_CA" | "VERIFY_IDENTITY" | "VERIFY_FULL" => true,
                    _ => return Err(unknown()),
                }
            }
            "require_ssl" | "ssl" | "tls" => {
                tls = match value.to_ascii_lowercase().as_str() {
                    "true" | "1" | "" => true,
                    "false" | "0" => false,
                    _ => return Err(unknown()),
                }
            }
            _ => kept.push(pair),
        }
    }
    Ok((tls, kept.join("&")))
}

fn ssl(ca_file: Option<&Path>) -> Result<SslOpts> {
    let roots = match ca_file {
        Some(path) => {
            // A file that cannot be read would be found out only when it connects, with less to say about it.
            std::fs::metadata(path).map_err(|cause| {
                Error::refused(format!("cannot read `{}`: {cause}", path.display()), "name a file of PEM certificates")
            })?;
            vec![PathBuf::from(path).into()]
        }
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            system.into_iter().map(|certificate| certificate.to_vec().into()).collect()
        }
    };
    Ok(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true))
}

/// The error with its kind and name. `doing` holds no row values.
pub(super) fn error(doing: impl std::fmt::Display, cause: &mysql_async::Error) -> Error {
    let server = match cause {
        mysql_async::Error::Server(server) => server,
        mysql_async::Error::Io(IoError::Io(io)) => {
            return Error::new(Kind::Connection, "connection_failure", format!("{doing}: {io}"));
        }
        mysql_async::Error::Io(other) => {
            return Error::new(Kind::Database, "tls", format!("{doing}: {other}"))
                .with_remedy("name the file of the authority that signed the server's certificate");
        }
        // The driver notices that the server hung up as an error of its own.
        mysql_async::Error::Driver(mysql_async::DriverError::ConnectionClosed) => {
            return Error::new(Kind::Connection, "connection_failure", format!("{doing}: the server hung up"));
        }
        _ => return Error::new(Kind::Database, "driver", format!("{doing}: {cause}")),
    };
    let name = symbols::name(server.code).map_or_else(|| format!("ER_{}", server.code).into(), Cow::Borrowed);
    let error = Error::new(kind(server.code), name, format!("{doing}: {}", words(server.code, &server.message)));
    match remedy(server.code) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// The error of a COMMIT: whatever ended the session may have come before or after the commit was durable.
pub(super) fn commit_error(cause: &mysql_async::Error) -> Error {
    let found = error("cannot commit", cause);
    match found.kind {
        Kind::Connection => Error { kind: Kind::CommitUnknown, ..found }.with_remedy(
            "run the same command again: the ledger, which was in the transaction, says what became of it",
        ),
        _ => found,
    }
}

const fn kind(number: u16) -> Kind {
    match number {
        1020 | 1205 | 1213 | 3572 => Kind::Transient,
        1317 => Kind::Cancelled,
        1040 | 1041 | 1042 | 1043 | 1053 | 1152 | 1158 | 1159 | 1160 | 1161 | 1203 | 1927 | 4031 => Kind::Connection,
        _ => Kind::Database,
    }
}

/// The server's words without values of rows and texts of statements.
fn words(number: u16, message: &str) -> String {
    match number {
        // Duplicate entry '…' for key '…'
        1022 | 1062 => match message.rsplit_once(" for key ") {
            Some((_, key)) => format!("a duplicate for key {key}"),
            None => "a duplicate for a unique key".to_owned(),
        },
        // … near '…' at line 7
        1064 | 1149 => match message.rsplit_once(" at line ") {
            Some((_, line)) => format!("a syntax error in its line {line}"),
            None => "a syntax error".to_owned(),
        },
        1292 | 1366 | 1411 | 1525 | 1690 | 3140 => {
            let column = message.rsplit_once(" for column ").map(|(_, column)| format!(" for column {column}"));
            format!("a value does not fit{}", column.unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}

const fn remedy(number: u16) -> Option<&'static str> {
    Some(match number {
        1205 => "somebody held the lock for all that time: look who (`SHOW PROCESSLIST`), or allow more time and tries",
        1044 | 1142 | 1143 | 1227 | 1370 => "the user of the URL needs the privilege: grant it",
        1045 => "check user and password in the URL",
        1049 => "create the database first",
        1290 | 1792 | 1836 => "this server or user only reads: name the primary, and a user who may write",
        1021 | 1114 => "make room on the server's disk",
        1419 => "the server logs for replicas: set log_bin_trust_function_creators, or use a user with SUPER",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Error {
        let cause = mysql_async::ServerError { code, message: message.to_owned(), state: "HY000".to_owned() };
        error("it failed", &mysql_async::Error::Server(cause))
    }

    #[test]
    fn numbers_have_kinds_and_symbols() {
        for (number, expected, symbol) in [
            (1205, Kind::Transient, "ER_LOCK_WAIT_TIMEOUT"),
            (1213, Kind::Transient, "ER_LOCK_DEADLOCK"),
            (1317, Kind::Cancelled, "ER_QUERY_INTERRUPTED"),
            (1927, Kind::Connection, "ER_CONNECTION_KILLED"),
            (1146, Kind::Database, "ER_NO_SUCH_TABLE"),
            (9999, Kind::Database, "ER_9999"),
        ] {
            let error = server(number, "x");
            assert_eq!((error.kind, &*error.code), (expected, symbol));
        }
    }

    #[test]
    fn no_value_is_repeated() {
        for (number, message, told) in [
            (1062, "Duplicate entry 's3cret for key ' for key 'orders.email'", "a duplicate for key 'orders.email'"),
            (
                1366,
                "Incorrect integer value: 's3cret' for column `a`.`b`.`c` at row 1",
                "for column `a`.`b`.`c` at row 1",
            ),
            (1064, "You have an error in your SQL syntax; … near 'IDENTIFIED BY 's3cret'' at line 3", "in its line 3"),
            (1292, "Truncated incorrect DOUBLE value: 's3cret'", "a value does not fit"),
        ] {
            let error = server(number, message);
            assert!(!error.to_string().contains("s3cret") && error.message.contains(told), "{error}");
        }
    }

    #[test]
    fn a_url_says_whether_tls_is_wanted_and_is_never_repeated() {
        for (query, tls) in [
            ("", false),
            ("?ssl-mode=REQUIRED", true),
            ("?sslmode=verify-full&tcp_nodelay=true", true),
            ("?require_ssl=true", true),
            ("?ssl-mode=DISABLED", false),
        ] {
            let connector =
                Connector::new(&format!("mariadb://me:s3cret@db.example:3307/shop{query}"), None).ok().unwrap();
            assert_eq!(connector.options.ssl_opts().is_some(), tls, "{query}");
            assert_eq!((&*connector.server(), connector.database()), ("db.example:3307", "shop"));
        }
        for url in [
            "mysql://me:s3cret@db",
            "mysql://me:s3cret@db/shop?nonsense=s3cret",
            "mysql://me:s3cret@db/shop?ssl-mode=maybe",
            "s3cret",
        ] {
            let error = Connector::new(url, None).err().expect(url);
            assert_eq!(error.kind, Kind::Refused);
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
