//! From a URL to the database it names.

use std::path::PathBuf;

use crate::database::Database;
use crate::error::{Error, Result};
use crate::mongodb;

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
        _ => Err(Error::refused(
            "this is no database URL that is known",
            "begin it with mongodb://, mongodb+srv://, postgres://, mysql://, mariadb:// or sqlite:",
        )),
    }
}
