//! The `migrations:` section, checked. Connects nowhere and reads no migration.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::LEDGER;
use whimbrel_migrate::migration::{Options, Throttle};
use whimbrel_migrate::plan::Policy;
use whimbrel_migrate::sql::lint::{SYNTAX, is_rule};

use crate::config::invalid::Invalid;
use crate::config::migrations as raw;
use crate::config::migrations::{Leniency, OnStart};
use crate::config::plugins::{self, NAME_HINT, check_limits, check_name};
use crate::config::secret::Secret;
use crate::config::units::Millis;
use crate::plugin::{Grants, Limits};

/// A call of a plugin that is a migration may take as long as a transaction of MongoDB's.
pub const PLUGIN_CALL: Duration = Duration::from_secs(60);
/// A lease must be renewed several times while it lasts, over a network.
pub(crate) const MIN_LEASE: Duration = Duration::from_secs(1);
/// PostgreSQL cuts names at 63 bytes, and the lock's name is longer than the ledger's.
const MAX_LEDGER: usize = 55;
/// MongoDB's limit for a bulk of writes.
const MAX_CHUNK: u64 = 100_000;

/// A directory of migrations and its database.
#[derive(Clone)]
pub struct MigrationsConfig {
    /// What the command line and the status call it.
    pub name: String,
    /// Where the files are.
    pub directory: PathBuf,
    /// The database.
    pub database: DatabaseConfig,
    /// Name of the ledger's table or collection.
    pub ledger: String,
    /// How migrations are run.
    pub options: Options,
    /// What `${name}` in SQL files stands for.
    pub placeholders: IndexMap<String, String>,
    /// Lint rules that are not asked.
    pub lint_off: Vec<String>,
    /// What a plan lets pass.
    pub policy: Policy,
    /// What `whimbrel run` does.
    pub on_start: OnStart,
    /// What plugins may do.
    pub grants: Grants,
    /// What plugins may use.
    pub limits: Limits,
}

/// A database that is migrated.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// Connection string; of SQLite `sqlite:` and the path.
    pub url: Secret,
    /// Schema of the ledger and of names without one (PostgreSQL), or the database (MongoDB).
    pub namespace: Option<String>,
    /// Trusted authorities for TLS; the system's without it.
    pub ca_file: Option<PathBuf>,
}

impl MigrationsConfig {
    /// Checks an entry of the section.
    ///
    /// # Errors
    /// The first setting that cannot be used. A connection string is never repeated.
    pub fn new(raw: &raw::Migrations) -> Result<Self, Invalid> {
        check_name(&raw.name).map_err(|why| Invalid::new("name", why, NAME_HINT))?;
        if raw.directory.as_os_str().is_empty() || raw.directory.is_file() {
            return Err(Invalid::new("directory", "not the path of a folder", "write the folder that holds the files"));
        }
        let database = DatabaseConfig::new(&raw.database).map_err(|invalid| invalid.within("database"))?;
        let options = options(raw)?;
        for name in raw.placeholders.keys() {
            check_placeholder(name).map_err(|why| {
                Invalid::new(format!("placeholders.{name}"), why, "use letters, digits, `_`, `-`, `.` and `:`")
            })?;
        }
        let known = |rule: &&String| is_rule(rule) || *rule == SYNTAX;
        if let Some(index) = raw.lint.off.iter().position(|rule| !known(&rule)) {
            let hint = "write the name in brackets behind a warning, such as `prefer-text-field`";
            return Err(Invalid::new(format!("lint.off[{index}]"), "the linter has no rule of this name", hint));
        }
        check_limits(&raw.limits)?;
        let limits = plugins::limits(&raw.limits);
        Ok(Self {
            name: raw.name.clone(),
            directory: raw.directory.clone(),
            database,
            ledger: {
                let ledger = raw.ledger.as_deref().unwrap_or(LEDGER);
                check_ledger(ledger)?;
                ledger.to_owned()
            },
            options,
            placeholders: raw.placeholders.clone(),
            lint_off: raw.lint.off.clone(),
            policy: Policy { out_of_order: raw.out_of_order == Leniency::Allow, gaps: raw.gaps == Leniency::Allow },
            on_start: raw.on_start,
            grants: plugins::grants(&raw.grants)?,
            limits: Limits { call: raw.limits.call.map_or(PLUGIN_CALL, |call| call.0), ..limits },
        })
    }

    /// What holds where only a directory and a database are named.
    #[must_use]
    pub fn bare(name: &str, directory: PathBuf, database: DatabaseConfig) -> Self {
        Self {
            name: name.to_owned(),
            directory,
            database,
            ledger: LEDGER.to_owned(),
            options: Options::default(),
            placeholders: IndexMap::new(),
            lint_off: Vec::new(),
            policy: Policy::default(),
            on_start: OnStart::default(),
            grants: Grants::default(),
            limits: Limits { call: PLUGIN_CALL, ..Limits::default() },
        }
    }
}

impl DatabaseConfig {
    fn new(raw: &raw::MigrationDatabase) -> Result<Self, Invalid> {
        let scheme = |url: &Secret, known: &[&str], example: &str| {
            let good = known.iter().any(|scheme| url.expose().starts_with(scheme));
            let hint = format!("write {example}, with special characters percent-encoded");
            good.then(|| url.clone()).ok_or_else(|| Invalid::new("url", "not a connection string of this kind", hint))
        };
        let name = |field: &str, value: &Option<String>| match value.as_deref() {
            Some(name) if name.is_empty() || name.len() > 63 || name.contains(['\0', '/', '\\', '"', '$']) => {
                Err(Invalid::new(field, "not a name", "write the name, at most 63 bytes, or leave it out"))
            }
            other => Ok(other.map(str::to_owned)),
        };
        match raw {
            raw::MigrationDatabase::Mongodb(one) => {
                const SCHEMES: [&str; 2] = ["mongodb://", "mongodb+srv://"];
                let url = scheme(&one.url, &SCHEMES, "mongodb://user:password@host:port/database?replicaSet=name")
                    .map_err(|invalid| invalid.within("mongodb"))?;
                let namespace = name("database", &one.database).map_err(|invalid| invalid.within("mongodb"))?;
                Ok(Self { url, namespace, ca_file: one.ca_file.clone() })
            }
            raw::MigrationDatabase::Postgresql(one) => {
                const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];
                let url = scheme(&one.url, &SCHEMES, "postgresql://user:password@host:5432/database")
                    .map_err(|invalid| invalid.within("postgresql"))?;
                let namespace = name("schema", &one.schema).map_err(|invalid| invalid.within("postgresql"))?;
                Ok(Self { url, namespace, ca_file: one.ca_file.clone() })
            }
            raw::MigrationDatabase::Mysql(one) => {
                const SCHEMES: [&str; 2] = ["mysql://", "mariadb://"];
                let url = scheme(&one.url, &SCHEMES, "mysql://user:password@host:3306/database")
                    .map_err(|invalid| invalid.within("mysql"))?;
                Ok(Self { url, namespace: None, ca_file: one.ca_file.clone() })
            }
            raw::MigrationDatabase::Sqlite(one) => {
                if one.path.as_os_str().is_empty() || one.path.is_dir() {
                    return Err(Invalid::new("sqlite.path", "not the path of a file", "write the database's file"));
                }
                let url = Secret::new(format!("sqlite:{}", one.path.display()));
                Ok(Self { url, namespace: None, ca_file: None })
            }
        }
    }

    /// The kind of database, by the scheme; of MySQL and MariaDB only the server knows which it is.
    #[must_use]
    pub fn system(&self) -> Option<System> {
        match self.url.expose().split_once(':').map_or("", |(scheme, _)| scheme) {
            "mongodb" | "mongodb+srv" => Some(System::Mongodb),
            "postgres" | "postgresql" => Some(System::Postgresql),
            "mysql" => Some(System::Mysql),
            "mariadb" => Some(System::Mariadb),
            "sqlite" => Some(System::Sqlite),
            _ => None,
        }
    }

    /// A connection string as people pass it.
    #[must_use]
    pub const fn of_url(url: Secret) -> Self {
        Self { url, namespace: None, ca_file: None }
    }
}

fn options(raw: &raw::Migrations) -> Result<Options, Invalid> {
    let defaults = Options::default();
    let time = |field: &str, written: Option<Millis>, default: Duration, least: Duration| match written {
        Some(time) if time.0 < least => Err(Invalid::new(
            field,
            format!("less than {}", if least.as_secs() > 0 { format!("{}s", least.as_secs()) } else { "1ms".into() }),
            format!("leave it out for {}s", default.as_secs()),
        )),
        written => Ok(written.map_or(default, |time| time.0)),
    };
    let some = Duration::from_millis(1);
    let throttle = Throttle {
        above: time("throttle.above", raw.throttle.above, defaults.throttle.above, some)?,
        below: time("throttle.below", raw.throttle.below, defaults.throttle.below, Duration::ZERO)?,
        floor: time("throttle.floor", raw.throttle.floor, defaults.throttle.floor, some)?,
    };
    if throttle.below > throttle.above {
        return Err(Invalid::new(
            "throttle.below",
            "more than `above`: chunks would wait and never go on",
            "write a lag below which chunks go on, such as half of `above`",
        ));
    }
    if raw.chunk.is_some_and(|chunk| !(1..=MAX_CHUNK).contains(&chunk)) {
        return Err(Invalid::new(
            "chunk",
            format!("outside 1 to {MAX_CHUNK}"),
            format!("leave it out for {}", defaults.chunk),
        ));
    }
    Ok(Options {
        lease: time("lock.lease", raw.lock.lease, defaults.lease, MIN_LEASE)?,
        wait: time("lock.wait", raw.lock.wait, defaults.wait, Duration::ZERO)?,
        lock_timeout: time("lock_timeout", raw.lock_timeout, defaults.lock_timeout, some)?,
        lock_retries: raw.lock_retries.unwrap_or(defaults.lock_retries),
        chunk: raw.chunk.unwrap_or(defaults.chunk),
        throttle,
        ..defaults
    })
}

/// Whether a name is the same unquoted in every database.
///
/// # Errors
/// When it is not.
pub fn check_ledger(name: &str) -> Result<(), Invalid> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.len() <= MAX_LEDGER && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
        return Ok(());
    }
    Err(Invalid::new(
        "ledger",
        "not a name that every database takes",
        format!("use a lower-case letter and at most {} more, digits and `_`; or leave it out", MAX_LEDGER - 1),
    ))
}

/// Whether `${name}` can be found in a file; the words say why not.
///
/// # Errors
/// When it cannot.
pub fn check_placeholder(name: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    match name {
        "" => Err("the name is empty"),
        name if !name.chars().all(good) => Err("not the name of a placeholder"),
        _ => Ok(()),
    }
}

crate::config::opaque::opaque_debug!(MigrationsConfig, DatabaseConfig);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> Result<MigrationsConfig, String> {
        let base = "name: shop\ndirectory: ./migrations\n";
        let database = if yaml.contains("database:") { "" } else { "database: {sqlite: {path: ./shop.db}}\n" };
        let raw: raw::Migrations = serde_saphyr::from_str(&format!("{base}{database}{yaml}")).unwrap();
        MigrationsConfig::new(&raw).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn what_is_left_out_is_as_the_engine_has_it() {
        let config = config("").unwrap();
        let (options, defaults) = (&config.options, Options::default());
        assert_eq!((options.lease, options.wait, options.chunk), (defaults.lease, defaults.wait, defaults.chunk));
        assert_eq!((options.lock_timeout, options.lock_retries), (defaults.lock_timeout, defaults.lock_retries));
        assert!(options.throttle == defaults.throttle && options.copies.is_none());
        assert_eq!((config.ledger.as_str(), config.database.url.expose()), (LEDGER, "sqlite:./shop.db"));
        assert_eq!((config.on_start, config.policy), (OnStart::Watch, Policy::default()));
        assert_eq!(config.limits.call, PLUGIN_CALL);
    }

    #[test]
    fn what_is_written_reaches_the_engine() {
        let config = config(
            "lock: {lease: 30s, wait: 0s}\nlock_timeout: 2s\nlock_retries: 3\nchunk: 500\n\
             throttle: {above: 4s, below: 1s, floor: 9s}\non_start: apply\nout_of_order: allow\ngaps: allow\nlimits: {call: 5m}",
        )
        .unwrap();
        let seconds = |time: Duration| time.as_secs();
        let options = &config.options;
        assert_eq!((seconds(options.lease), seconds(options.wait), seconds(options.lock_timeout)), (30, 0, 2));
        assert_eq!((options.lock_retries, options.chunk), (3, 500));
        let throttle = options.throttle;
        assert_eq!((seconds(throttle.above), seconds(throttle.below), seconds(throttle.floor)), (4, 1, 9));
        assert_eq!((config.on_start, config.policy), (OnStart::Apply, Policy { out_of_order: true, gaps: true }));
        assert_eq!(config.limits.call, Duration::from_secs(300));
    }

    #[test]
    fn each_wrong_setting_is_named_with_a_remedy_and_no_connection_string_is_shown() {
        for (yaml, expect) in [
            ("ledger: Public.x", "ledger: not a name that every database takes"),
            ("ledger: ''", "ledger: not a name that every database takes"),
            ("lock: {lease: 500ms}", "lock.lease: less than 1s"),
            ("lock_timeout: 0s", "lock_timeout: less than 1ms"),
            ("chunk: 0", "chunk: outside 1 to 100000"),
            ("throttle: {above: 1s, below: 2s}", "throttle.below: more than `above`"),
            ("throttle: {floor: 0s}", "throttle.floor: less than 1ms"),
            ("placeholders: {'a b': x}", "placeholders.a b: not the name of a placeholder"),
            ("lint: {off: [syntax-error, prefer-text]}", "lint.off[1]: the linter has no rule of this name"),
            ("limits: {call: 0s}", "limits.call: no time at all"),
            ("grants: {state: 0B}", "grants.state: outside"),
            ("database: {postgresql: {url: 'mysql://me:canary@h/d'}}", "database.postgresql.url: not a connection"),
            ("database: {mongodb: {url: 'mongodb://h', database: 'a/b'}}", "database.mongodb.database: not a name"),
            ("database: {mysql: {url: canary}}", "database.mysql.url: not a connection string"),
            ("database: {sqlite: {path: ''}}", "database.sqlite.path: not the path of a file"),
        ] {
            let message = config(yaml).expect_err(yaml);
            assert!(message.starts_with(expect), "{yaml}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }
}
