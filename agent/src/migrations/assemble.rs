//! From settings to what can be run: the database, the files, the runner.

use std::collections::BTreeMap;
use std::sync::Arc;

use whimbrel_migrate::catalog::{self, Catalog, CatalogOptions};
use whimbrel_migrate::connect;
use whimbrel_migrate::database::{Database, System};
use whimbrel_migrate::engine::Runner;
use whimbrel_migrate::error::{Finding, Result};
use whimbrel_migrate::plan::Policy;
use whimbrel_migrate::program::Programs;
use whimbrel_migrate::watch::Watchers;

use super::config::MigrationsConfig;

/// The database of these settings; nothing is connected yet.
///
/// # Errors
/// When the connection string cannot be used. It is never repeated.
pub fn open(config: &MigrationsConfig) -> Result<Box<dyn Database>> {
    let settings = connect::Settings {
        namespace: config.database.namespace.clone(),
        ca_file: config.database.ca_file.clone(),
        ledger: Some(config.ledger.clone()),
    };
    connect::open(config.database.url.expose(), settings)
}

/// The files of these settings.
///
/// # Errors
/// Everything that keeps them from being run, and what deserves a look.
pub fn read(config: &MigrationsConfig, system: System) -> Result<Catalog, Vec<Finding>> {
    let placeholders: BTreeMap<String, String> = config.placeholders.clone().into_iter().collect();
    catalog::read(&config.directory, system, &CatalogOptions { placeholders })
}

/// What runs them.
#[must_use]
pub fn runner(
    config: &MigrationsConfig,
    database: Box<dyn Database>,
    catalog: Catalog,
    programs: Arc<dyn Programs>,
    watch: Watchers,
) -> Runner {
    // Flyway's users leave numbers out, and Flyway says nothing to it.
    let gaps = config.policy.gaps || catalog.form == Some(catalog::Form::Flyway);
    Runner {
        database,
        migrations: catalog.migrations,
        policy: Policy { gaps, ..config.policy },
        options: config.options.clone(),
        programs,
        watch,
        who: who(),
    }
}

/// Who this is, for lock and ledger.
#[must_use]
pub fn who() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(user_id);
    format!("{user}@{}, process {}", crate::config::host_name(), std::process::id())
}

/// Where no variable says a name.
fn user_id() -> String {
    // SAFETY: it takes nothing, touches no memory and cannot fail.
    format!("uid {}", unsafe { libc::getuid() })
}
