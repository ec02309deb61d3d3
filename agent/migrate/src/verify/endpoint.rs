//! Where a table is: made from a connection URL, which is never shown again.

use std::fmt;
use std::path::PathBuf;

use super::bisect::Side;
use super::plan::{Shape, Task};
use super::{mongodb, mysql, postgresql, sqlite};
use crate::database::System;
use crate::error::{Error, Result};

/// A database that holds a table or its copy. Connects when a comparison begins.
#[derive(Clone)]
pub struct Endpoint(Kind);

#[derive(Clone)]
enum Kind {
    Postgresql(Box<tokio_postgres::Config>),
    Mysql(Box<mysql_async::Opts>),
    Mongodb { url: String, database: String, hosts: String },
    Sqlite(PathBuf),
}

impl Endpoint {
    /// Reads a connection URL: `postgresql://…`, `mysql://…`, `mariadb://…`, `mongodb://…` and `mongodb+srv://…` with a
    /// database, `sqlite:FILE`.
    ///
    /// # Errors
    /// When it is none of these, or cannot be understood; the URL is not repeated, since it may hold a password.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::refused(
                format!("the connection URL is wrong: {what}"),
                "see `whimbrel migrate --help` for its forms",
            )
        };
        let (scheme, rest) = url.split_once(':').ok_or_else(|| wrong("it has no scheme"))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" => {
                // Certificates are always verified here, so these modes of libpq mean what `require` does.
                let url = url
                    .replace("sslmode=verify-full", "sslmode=require")
                    .replace("sslmode=verify-ca", "sslmode=require");
                let mut config: tokio_postgres::Config =
                    url.parse().map_err(|_| wrong("PostgreSQL's driver does not understand it"))?;
                if config.get_application_name().is_none() {
                    config.application_name("whimbrel");
                }
                Kind::Postgresql(Box::new(config))
            }
            "mysql" | "mariadb" => {
                let options = mysql_async::Opts::from_url(&format!("mysql:{rest}"))
                    .map_err(|_| wrong("MySQL's driver does not understand it"))?;
                if options.db_name().is_none() {
                    return Err(wrong("it names no database"));
                }
                Kind::Mysql(Box::new(options))
            }
            "mongodb" | "mongodb+srv" => {
                let parsed = ::mongodb::options::ConnectionString::parse(url)
                    .map_err(|_| wrong("MongoDB's driver does not understand it"))?;
                let database = parsed.default_database.clone().ok_or_else(|| wrong("it names no database"))?;
                Kind::Mongodb { url: url.to_owned(), database, hosts: crate::mongodb::hosts(&parsed.host_info) }
            }
            "sqlite" | "file" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let path = path.split('?').next().unwrap_or(path);
                if path.is_empty() {
                    return Err(wrong("it names no file"));
                }
                Kind::Sqlite(path.into())
            }
            _ => return Err(wrong("its scheme is none of postgresql, mysql, mariadb, mongodb, mongodb+srv, sqlite")),
        };
        Ok(Self(kind))
    }

    /// Which kind of database; MySQL's for MariaDB too, until it is connected.
    #[must_use]
    pub const fn system(&self) -> System {
        match &self.0 {
            Kind::Postgresql(_) => System::Postgresql,
            Kind::Mysql(_) => System::Mysql,
            Kind::Mongodb { .. } => System::Mongodb,
            Kind::Sqlite(_) => System::Sqlite,
        }
    }

    /// Where, for people and without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Postgresql(config) => {
                use tokio_postgres::config::Host;
                let host = config.get_hosts().first().map(|host| match host {
                    Host::Tcp(host) => host.clone(),
                    #[cfg(unix)]
                    Host::Unix(path) => path.display().to_string(),
                });
                let port = config.get_ports().first().copied().unwrap_or(5432);
                let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or("postgres");
                format!("postgresql at {}:{port}, database {database}", host.unwrap_or_else(|| "localhost".into()))
            }
            Kind::Mysql(options) => format!(
                "mysql at {}:{}, database {}",
                options.ip_or_hostname(),
                options.tcp_port(),
                options.db_name().unwrap_or_default()
            ),
            Kind::Mongodb { database, hosts, .. } => format!("mongodb at {hosts}, database {database}"),
            Kind::Sqlite(path) => format!("sqlite file {}", path.display()),
        }
    }

    pub(super) async fn open(&self, table: &str) -> Result<Box<dyn Table>> {
        let place = |what: &str| format!("{what} `{table}` of {}", self.address());
        Ok(match &self.0 {
            Kind::Postgresql(config) => Box::new(postgresql::Table::open(config, table, place("table")).await?),
            Kind::Mysql(options) => Box::new(mysql::Table::open(options, table, place("table")).await?),
            Kind::Mongodb { url, database, .. } => {
                Box::new(mongodb::Table::open(url, database, table, place("collection")).await?)
            }
            Kind::Sqlite(path) => Box::new(sqlite::Table::open(path, table, place("table")).await?),
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.address())
    }
}

/// A table that is found, and whose shape is known.
#[async_trait::async_trait]
pub(super) trait Table: Send {
    fn shape(&self) -> &Shape;

    /// Begins a snapshot, and refuses a key by which the table cannot be cut without losing rows.
    async fn side(self: Box<Self>, task: Task) -> Result<Box<dyn Reader>>;
}

/// A side that can say what was special about it.
pub(super) trait Reader: Side {
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_the_place_and_no_password() {
        for (url, address) in [
            (
                "postgres://me:secret@db.example:5433/shop?sslmode=verify-full",
                "postgresql at db.example:5433, database shop",
            ),
            ("mysql://me:secret@db.example:3307/shop", "mysql at db.example:3307, database shop"),
            ("mariadb://me:secret@db.example/shop", "mysql at db.example:3306, database shop"),
            (
                "mongodb://me:secret@one.example:27017,two.example:27018/shop?replicaSet=rs0",
                "mongodb at one.example:27017,two.example:27018, database shop",
            ),
            ("sqlite:shop.db", "sqlite file shop.db"),
            ("sqlite:///var/lib/shop.db?mode=ro", "sqlite file /var/lib/shop.db"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.address(), address);
            assert!(!format!("{endpoint:?}").contains("secret"));
        }
    }

    #[test]
    fn a_url_that_is_wrong_is_not_repeated() {
        for url in [
            "",
            "shop",
            "redis://me:secret@x",
            "mysql://me:secret@x",
            "mongodb://me:secret@x",
            "postgres://me:secret@x:port/y",
            "sqlite:",
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.kind == crate::error::Kind::Refused && !error.to_string().contains("secret"), "{error}");
        }
    }
}
