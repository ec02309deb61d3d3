//! What is known of the target's tables: read from the catalog, made or grown from a layout when it allows that.
//!
//! Never drops or changes a column. Forgotten whenever a batch fails, so that a table mended by hand is seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_postgres::Client;

use crate::target::error::{ErrorKind, TargetError};
use crate::target::plan::{DeliveryMode, Layout};
use crate::target::sql::{ORIGIN_COLUMN, VERSION_COLUMN, WriteColumn, quote, quote_all};

use super::client::error;
use super::state::DDL_LOCK;
use super::types::declared;

/// A column as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetColumn {
    /// Object id of its type.
    pub oid: u32,
    /// The type's name for a cast, quoted where needed, without length or precision.
    pub cast: String,
    /// Computed by the server: cannot be written.
    pub generated: bool,
}

/// A table as the catalog has it.
#[derive(Debug)]
pub(super) struct TargetTable {
    /// Schema and name, quoted.
    pub name: String,
    /// Columns by name.
    pub columns: HashMap<String, TargetColumn>,
}

/// What was found by name; `None`: there is no such table.
type Found = HashMap<Arc<str>, Option<Arc<TargetTable>>>;

/// The tables seen so far, shared with those who plan without a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<Found>>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table, when it is known and has all columns `needed`, and in at_least_once mode the guard's.
    pub(super) fn complete(
        &self,
        schema: &str,
        layout: &Layout,
        needed: &[&WriteColumn],
        mode: DeliveryMode,
    ) -> Option<Arc<TargetTable>> {
        let found = self.lock().get(&layout.table)?.clone()?;
        missing(layout, schema, Some(&found), needed, mode).is_none().then_some(found)
    }
}

/// The tables seen so far, and a way to see more.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: Known,
}

impl Tables {
    /// Forgets what others have seen, who share it.
    pub(super) fn new(known: Known) -> Self {
        known.lock().clear();
        Self { known }
    }

    /// Forgets everything; answers whether there was anything.
    pub(super) fn clear(&mut self) -> bool {
        let mut known = self.known.lock();
        let any = !known.is_empty();
        known.clear();
        any
    }

    /// The table, from memory or the catalog; `None` when it does not exist.
    pub(super) async fn look_up(
        &mut self,
        client: &Client,
        schema: &str,
        table: &Arc<str>,
    ) -> Result<Option<Arc<TargetTable>>, TargetError> {
        if let Some(known) = self.known.lock().get(table) {
            return Ok(known.clone());
        }
        let found = read(client, schema, table).await?;
        self.known.lock().insert(Arc::clone(table), found.clone());
        Ok(found)
    }

    /// The table with all columns `needed`, and in at_least_once mode the guard's.
    pub(super) async fn ensure(
        &mut self,
        client: &Client,
        schema: &str,
        layout: &Layout,
        needed: &[&WriteColumn],
        mode: DeliveryMode,
    ) -> Result<Arc<TargetTable>, TargetError> {
        let found = self.look_up(client, schema, &layout.table).await?;
        let missing = missing(layout, schema, found.as_deref(), needed, mode);
        let Some((what, statements)) = missing else {
            return found.ok_or_else(|| vanished(layout));
        };
        if !layout.create {
            return Err(TargetError::new(
                ErrorKind::SchemaMismatch,
                format!("{what}; run `{};` or set `create: true` for it in `tables`", statements.join("; ")),
            ));
        }
        self.known.lock().remove(&layout.table);
        let doing = format!("cannot make or grow the table `{}`", layout.table);
        let made = make(client, schema, layout, needed, mode).await;
        if let Err(cause) = made {
            // The session is given up by the caller when this fails too.
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(TargetError { message: format!("{doing}: {}", cause.message), ..cause });
        }
        self.look_up(client, schema, &layout.table).await?.ok_or_else(|| vanished(layout))
    }
}

fn vanished(layout: &Layout) -> TargetError {
    TargetError::new(ErrorKind::SchemaMismatch, format!("the table `{}` has just disappeared", layout.table))
}

/// Makes what is missing, in a transaction of its own: an empty table left behind by a batch that fails later is harmless.
/// The lock keeps two agents that meet the same new table from tripping over each other; so what is missing is looked up
/// again once it is held.
async fn make(
    client: &Client,
    schema: &str,
    layout: &Layout,
    needed: &[&WriteColumn],
    mode: DeliveryMode,
) -> Result<(), TargetError> {
    let failed = |e| error("the server refused", e);
    client.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({DDL_LOCK})")).await.map_err(failed)?;
    let found = read(client, schema, &layout.table).await?;
    if let Some((_, statements)) = missing(layout, schema, found.as_deref(), needed, mode) {
        let (owner, _) = split(schema, &layout.table);
        let exists: bool = client
            .query_one_scalar("SELECT to_regnamespace($1) IS NOT NULL", &[&quote(owner)])
            .await
            .map_err(failed)?;
        if !exists {
            client.batch_execute(&format!("CREATE SCHEMA {}", quote(owner))).await.map_err(failed)?;
        }
        for statement in statements {
            client.batch_execute(&statement).await.map_err(failed)?;
        }
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}

/// `schema.table`, or a table of the default schema.
fn split<'a>(schema: &'a str, table: &'a str) -> (&'a str, &'a str) {
    table.split_once('.').filter(|(owner, name)| !owner.is_empty() && !name.is_empty()).unwrap_or((schema, table))
}

/// The table's name, quoted.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    let (owner, name) = split(schema, table);
    format!("{}.{}", quote(owner), quote(name))
}

async fn read(client: &Client, schema: &str, table: &str) -> Result<Option<Arc<TargetTable>>, TargetError> {
    let name = qualified(schema, table);
    // A type modifier of -1 keeps names like `bit` from meaning `bit(1)`.
    let rows = client
        .query(
            "SELECT a.attname::text, a.atttypid, format_type(a.atttypid, -1), a.attgenerated <> ''
             FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
            &[&name],
        )
        .await
        .map_err(|e| error(&format!("cannot look up the table `{table}`"), e))?;
    let columns = rows
        .iter()
        .map(|row| {
            let column = TargetColumn { oid: row.try_get(1)?, cast: row.try_get(2)?, generated: row.try_get(3)? };
            Ok((row.try_get(0)?, column))
        })
        .collect::<Result<HashMap<_, _>, _>>()
        .map_err(|e| error(&format!("cannot look up the table `{table}`"), e))?;
    Ok((!columns.is_empty()).then(|| Arc::new(TargetTable { name, columns })))
}

/// The column the version guard needs.
pub(super) fn guard_column(layout: &Layout, mode: DeliveryMode) -> Option<&'static str> {
    match mode {
        DeliveryMode::ExactlyOnce => None,
        DeliveryMode::AtLeastOnce if layout.key.is_empty() => Some(ORIGIN_COLUMN),
        DeliveryMode::AtLeastOnce => Some(VERSION_COLUMN),
    }
}

/// What a table lacks, in words and as the statements that mend it.
fn missing(
    layout: &Layout,
    schema: &str,
    found: Option<&TargetTable>,
    needed: &[&WriteColumn],
    mode: DeliveryMode,
) -> Option<(String, Vec<String>)> {
    let table = qualified(schema, &layout.table);
    let guard = guard_column(layout, mode);
    let Some(found) = found else {
        let what = format!("the table `{}` does not exist", layout.table);
        return Some((what, create(layout, &table, needed, guard)));
    };
    let lacks = |name: &str| !found.columns.contains_key(name);
    let columns: Vec<&WriteColumn> = needed.iter().filter(|c| lacks(&c.name)).copied().collect();
    let guard = guard.filter(|name| lacks(name));
    let mut statements: Vec<String> = columns
        .iter()
        .map(|c| format!("ALTER TABLE {table} ADD COLUMN {} {}", quote(&c.name), declared(&c.ty)))
        .collect();
    if let Some(name) = guard {
        statements.push(format!("ALTER TABLE {table} ADD COLUMN {} bytea", quote(name)));
        statements.extend(origin_index(&table, name));
    }
    if statements.is_empty() {
        return None;
    }
    let names = quote_all(columns.iter().map(|c| &*c.name).chain(guard));
    Some((format!("the table `{}` lacks {names}", layout.table), statements))
}

fn create(layout: &Layout, table: &str, columns: &[&WriteColumn], guard: Option<&str>) -> Vec<String> {
    let mut parts: Vec<String> = columns.iter().map(|c| format!("{} {}", quote(&c.name), declared(&c.ty))).collect();
    parts.extend(guard.map(|name| format!("{} bytea", quote(name))));
    if !layout.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quote_all(layout.key.iter().map(|k| &*k.name))));
    }
    let mut statements = vec![format!("CREATE TABLE {table} ({})", parts.join(", "))];
    statements.extend(guard.and_then(|name| origin_index(table, name)));
    statements
}

fn origin_index(table: &str, guard: &str) -> Option<String> {
    (guard == ORIGIN_COLUMN).then(|| format!("CREATE UNIQUE INDEX ON {table} ({})", quote(ORIGIN_COLUMN)))
}
