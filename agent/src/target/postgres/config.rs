//! Settings of the PostgreSQL target, checked. Connects nowhere.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::config::secret::Secret;

/// A server that does not answer in this time is treated as away; the pipeline tries again anyway.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the target needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Connection string, found readable.
    pub uri: Secret,
    /// Schema of tables whose mapped name has none.
    pub schema: String,
    /// Schema of the agent's own tables.
    pub state_schema: String,
    /// Trusted authorities for TLS; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// Write the effects ledger.
    pub ledger: bool,
    /// Connect time-out.
    pub timeout: Duration,
    /// How long a deleted row's version is remembered in at_least_once mode.
    pub delete_grace: Duration,
}

impl Settings {
    /// Checks what was written under `target.postgresql`.
    ///
    /// # Errors
    /// The first setting that cannot work, with a remedy. The connection string itself is never repeated.
    pub fn from_raw(raw: &raw::PostgresTarget, delete_grace: Duration) -> Result<Self, Invalid> {
        let config = parse(&raw.uri)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Invalid::new("uri", "names no host", "write postgresql://user:password@host:5432/database"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(Invalid::new("uri", "names no user", "write postgresql://user:password@host:5432/database"));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(Invalid::new("uri", "names no database", "end it with `/database`"));
        }
        let name = |field: &str, value: &Option<String>, default: &str| {
            let value = value.as_deref().unwrap_or(default);
            if value.is_empty() || value.len() > 63 || value.contains('\0') {
                let hint = "write the schema's name, at most 63 bytes";
                return Err(Invalid::new(field, "is not the name of a schema", hint));
            }
            Ok(value.to_owned())
        };
        Ok(Self {
            uri: raw.uri.clone(),
            schema: name("schema", &raw.schema, "public")?,
            state_schema: name("state_schema", &raw.state_schema, "whimbrel")?,
            ca_file: raw.ca_file.clone(),
            ledger: raw.ledger,
            timeout: raw.timeout.map_or(TIMEOUT, |t| t.0),
            delete_grace,
        })
    }

    /// `host:port` of the first server, for messages.
    #[must_use]
    pub fn server(&self) -> String {
        let Ok(config) = parse(&self.uri) else { return String::new() };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match config.get_hosts().first() {
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => config.get_hostaddrs().first().map_or(String::new(), |a| format!("{a}:{port}")),
        }
    }
}

/// Reads the connection string. The driver knows no `verify-ca` and `verify-full`, but a connection with TLS always
/// verifies here, so they mean the same as `require`.
pub(super) fn parse(uri: &Secret) -> Result<Config, Invalid> {
    let text = uri.expose().replace("sslmode=verify-full", "sslmode=require");
    let text = text.replace("sslmode=verify-ca", "sslmode=require");
    // The driver's own message may repeat parts of the string, and the password is one.
    text.parse().map_err(|_| {
        Invalid::new(
            "uri",
            "is not a PostgreSQL connection string",
            "write postgresql://user:password@host:5432/database, with special characters percent-encoded",
        )
    })
}

crate::config::opaque::opaque_debug!(Settings);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(uri: &str, schema: Option<&str>) -> Result<Settings, Invalid> {
        let raw = raw::PostgresTarget {
            uri: Secret::new(uri),
            schema: schema.map(str::to_owned),
            state_schema: None,
            ca_file: None,
            ledger: false,
            timeout: None,
        };
        Settings::from_raw(&raw, Duration::from_secs(1))
    }

    #[test]
    fn connection_strings_of_both_forms_are_read() {
        for good in [
            "postgresql://me:s3cret@db.example:6543/shop?sslmode=verify-full",
            "host=db.example port=6543 user=me password=s3cret dbname=shop sslmode=verify-ca",
        ] {
            let settings = settings(good, None).unwrap();
            assert_eq!(settings.server(), "db.example:6543");
            assert_eq!((settings.schema.as_str(), settings.state_schema.as_str()), ("public", "whimbrel"));
            assert!(!format!("{settings:?}").contains("s3cret"));
        }
    }

    #[test]
    fn a_finding_never_repeats_the_password() {
        let bad = [
            "postgresql://me:s3cret@db/shop?nonsense=s3cret",
            "postgresql://:s3cret@db/shop",
            "postgresql://me:s3cret@db",
            "user=me password=s3cret dbname=shop",
        ];
        for uri in bad {
            let found = settings(uri, None).unwrap_err();
            assert_eq!(found.path, "uri");
            assert!(!found.to_string().contains("s3cret"), "{found}");
        }
        assert_eq!(settings("postgresql://me@db/shop", Some("")).unwrap_err().path, "schema");
    }
}
