//! From a URL to the database it names.

use std::path::PathBuf;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::ledger::LEDGER;
use crate::mongodb;
use crate::sql::{mysql, postgresql, sqlite};

/// What may be said beside the URL.
#[derive(Clone, Default)]
pub struct Settings {
    /// MongoDB: the database. PostgreSQL: the schema; default: the first of the search path.
    pub namespace: Option<String>,
    /// SQL: PEM file of trusted authorities, and no others.
    pub ca_file: Option<PathBuf>,
    /// Name of the ledger; the lock's is the same with `_lock`.
    pub ledger: Option<String>,
}

/// The database of a URL, by its scheme: `mongodb`, `mongodb+srv`, `postgres`, `postgresql`, `mysql`, `mariadb`, `sqlite`.
/// Nothing is connected yet.
///
/// # Errors
/// When the scheme is another, or the rest cannot be read. The URL is never repeated.
pub fn open(url: &str, settings: Settings) -> Result<Box<dyn Database>> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "mongodb" | "mongodb+srv" => mongodb::open(mongodb::Settings {
            url: url.to_owned(),
            database: settings.namespace,
            ledger: settings.ledger,
        }),
        "postgres" | "postgresql" => {
            let ledger = settings.ledger.unwrap_or_else(|| LEDGER.to_owned());
            postgresql::open(postgresql::Settings {
                url: url.to_owned(),
                schema: settings.namespace,
                ca_file: settings.ca_file,
                ledger,
            })
        }
        "mysql" | "mariadb" => {
            mysql::open(mysql::Settings { url: url.to_owned(), ca_file: settings.ca_file, ledger: settings.ledger })
        }
        "sqlite" => {
            let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
            let settings = sqlite::Settings { path: path.into(), ledger: settings.ledger };
            Ok(Box::new(sqlite::Database::new(settings)?))
        }
        _ => Err(Error::refused(
            "this is no database URL that is known",
            "begin it with mongodb://, mongodb+srv://, postgres://, mysql://, mariadb:// or sqlite:",
        )),
    }
}
