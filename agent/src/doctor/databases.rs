//! Databases that rows go to, and that are migrated.

use std::path::Path;

use bson::doc;

use super::{Finding, clock, in_time};
use crate::config::validated::TargetConfig;
use crate::migrations::assemble;
use crate::migrations::config::MigrationsConfig;
use crate::runtime::logging::chain;
use crate::source::kafka::watch::now_ms;
use crate::target::{TargetError, mongodb, postgres};

/// Looks at where a pipeline writes.
pub(super) async fn target(what: String, config: &TargetConfig) -> Vec<Finding> {
    match config {
        TargetConfig::Postgresql(settings) => postgresql(what, settings).await,
        TargetConfig::Mongodb(settings) => mongodb(what, settings).await,
        TargetConfig::Sqlite(settings) => vec![file(what, &settings.path)],
        TargetConfig::Stdout(_) => vec![Finding::good(what, "standard output, or a file")],
    }
}

fn refused(what: String, error: &TargetError) -> Vec<Finding> {
    vec![Finding::bad(
        what,
        chain(error),
        "check the `uri`, the login, `tls`, and that the server can be reached from here",
    )]
}

async fn postgresql(what: String, settings: &postgres::Settings) -> Vec<Finding> {
    let client = match in_time(postgres::connect(settings)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return refused(what, &error),
        Err(late) => return vec![Finding::bad(what, late, "check the `uri` and the network to it")],
    };
    let before_ms = now_ms();
    let facts = client
        .query_one(
            "SELECT current_setting('server_version'), (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                    pg_is_in_recovery(), coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'USAGE'), false),
                    coalesce(has_schema_privilege(to_regnamespace($2)::oid, 'CREATE'), false),
                    has_database_privilege(current_database(), 'CREATE')",
            &[&settings.schema, &settings.state_schema],
        )
        .await;
    let after_ms = now_ms();
    let row = match facts {
        Ok(row) => row,
        Err(error) => return vec![Finding::bad(what, chain(&error), "see what the server's log says of it")],
    };
    let version: String = row.get(0);
    let mut all = vec![Finding::good(what.clone(), format!("PostgreSQL {version} answers"))];
    all.push(clock(&what, row.get(1), before_ms, after_ms));
    if row.get(2) {
        all.push(Finding::bad(what.clone(), "this server is a standby", "name the primary in `uri`"));
    }
    if !row.get::<_, bool>(3) {
        let said = format!("schema {} is not there, or this user may not use it", settings.schema);
        let remedy = format!("CREATE SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO …", settings.schema);
        all.push(Finding::bad(format!("{what} schema"), said, remedy));
    }
    // Either the schema of the agent's own tables is there and may be written, or it can be made.
    if !row.get::<_, bool>(4) && !row.get::<_, bool>(5) {
        let said = format!("this user may neither create tables in schema {} nor make it", settings.state_schema);
        let remedy = format!("CREATE SCHEMA {0}; GRANT USAGE, CREATE ON SCHEMA {0} TO …", settings.state_schema);
        all.push(Finding::bad(format!("{what} state"), said, remedy));
    }
    all
}

async fn mongodb(what: String, settings: &mongodb::Settings) -> Vec<Finding> {
    let client = match in_time(mongodb::connect(settings)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return refused(what, &error),
        Err(late) => return vec![Finding::bad(what, late, "check the `uri` and the network to it")],
    };
    let database = client.database(&settings.database);
    let before_ms = now_ms();
    let hello = in_time(async { database.run_command(doc! {"hello": 1}).await }).await;
    let after_ms = now_ms();
    let hello = match hello {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => {
            return vec![Finding::bad(what, error.kind.to_string(), "see what the server's log says of it")];
        }
        Err(late) => return vec![Finding::bad(what, late, "check the `uri` and the network to it")],
    };
    let set = hello.get_str("setName").map(|name| format!("replica set {name}"));
    let said = format!("MongoDB answers, {}", set.as_deref().unwrap_or("no replica set"));
    let mut all = vec![Finding::good(what.clone(), said)];
    if let Ok(time) = hello.get_datetime("localTime") {
        all.push(clock(&what, time.timestamp_millis(), before_ms, after_ms));
    }
    // Listing is the least of what a writer may do; it shows a login that has no roles.
    let listed = in_time(async { database.list_collection_names().await }).await;
    if let Ok(Err(error)) = listed {
        let remedy = format!("grant the user `readWrite` on {} and {}", settings.database, settings.state_database);
        all.push(Finding::bad(format!("{what} roles"), error.kind.to_string(), remedy));
    }
    all
}

/// A file that is to be written, or made.
pub(super) fn file(what: String, path: &Path) -> Finding {
    let shown = path.display();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let (looked, which) = if path.exists() { (path, "the file") } else { (parent, "its folder") };
    let Ok(facts) = std::fs::metadata(looked) else {
        return Finding::bad(what, format!("{shown}: {which} is not there"), format!("mkdir -p {}", parent.display()));
    };
    // What the permission bits say is not all: the file system may be read-only.
    if facts.permissions().readonly() || !is_writable(looked) {
        let said = format!("{shown}: {which} may not be written by this user");
        return Finding::bad(what, said, format!("chown or chmod {}", looked.display()));
    }
    Finding::good(what, format!("{shown} can be written"))
}

fn is_writable(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the string ends with a zero byte and lives over the call, which writes nothing.
    unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
}

/// Looks at the database of a set of migrations, and at its files.
pub(super) async fn migrations(config: &MigrationsConfig) -> Vec<Finding> {
    let what = format!("migrations {}", config.name);
    let database = match assemble::open(config) {
        Ok(database) => database,
        Err(error) => return vec![Finding::bad(what, error.to_string(), "correct `database` of this entry")],
    };
    let mut all = Vec::new();
    match assemble::read(config, database.system()) {
        Ok(catalog) => {
            let said = format!("{} migrations can be read", catalog.migrations.len());
            all.push(Finding::good(format!("{what}: files"), said));
        }
        Err(found) => {
            let said = found.first().map_or_else(String::new, ToString::to_string);
            let remedy = "`whimbrel migrate plan` tells all that is wrong with them";
            all.push(Finding::bad(format!("{what}: files"), said, remedy));
        }
    }
    let what = format!("{what}: database");
    all.push(match in_time(database.ledger()).await {
        Ok(Ok(ledger)) => {
            let failed = ledger.iter().find(|entry| entry.outcome == whimbrel_migrate::ledger::Outcome::Failed);
            let said = format!("{} answers, {} in the ledger", database.address(), ledger.len());
            match failed {
                Some(entry) => Finding::warning(
                    what,
                    format!("{said}; {} failed", entry.id),
                    "`whimbrel migrate status` says why; mend it, then `whimbrel migrate up`",
                ),
                None => Finding::good(what, said),
            }
        }
        Ok(Err(error)) => Finding::bad(what, error.to_string(), "check the `url`, the login and the network to it"),
        Err(late) => Finding::bad(what, late, "check the `url` and the network to it"),
    });
    all
}
