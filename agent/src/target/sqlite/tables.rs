//! What is known of the target's tables: read from the database, made or grown from a layout when it allows that.
//!
//! Never drops or changes a column. What it learns is forgotten whenever a batch fails, since its transaction is undone.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Transaction;

use crate::event::SourceType;
use crate::target::error::{ErrorKind, TargetError};
use crate::target::plan::{DeliveryMode, Layout};
use crate::target::sql::{ORIGIN_COLUMN, VERSION_COLUMN, WriteColumn, quote, quote_all};

use super::client::error;

/// Columns of the tables seen so far; `None`: there is no such table.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: HashMap<Arc<str>, Option<Vec<String>>>,
}

impl Tables {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// The columns of a table; `None` when it does not exist.
    pub(super) fn columns(&mut self, tx: &Transaction<'_>, table: &Arc<str>) -> Result<Option<&[String]>, TargetError> {
        if !self.known.contains_key(table) {
            let read = || -> rusqlite::Result<Vec<String>> {
                let mut statement = tx.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
                statement.query_map([&**table], |row| row.get(0))?.collect()
            };
            let columns = read().map_err(|e| error(&format!("cannot look up the table `{table}`"), e))?;
            self.known.insert(Arc::clone(table), (!columns.is_empty()).then_some(columns));
        }
        Ok(self.known.get(table).and_then(|columns| columns.as_deref()))
    }

    /// Makes sure that the table exists and has the columns `needed`, and in at_least_once mode the guard's.
    pub(super) fn ensure(
        &mut self,
        tx: &Transaction<'_>,
        layout: &Layout,
        needed: &[&WriteColumn],
        mode: DeliveryMode,
    ) -> Result<(), TargetError> {
        let guard = guard_column(layout, mode);
        let Some(present) = self.columns(tx, &layout.table)? else {
            let statements = create(layout, needed, guard);
            if !layout.create {
                return Err(missing(&format!("the table `{}` does not exist", layout.table), &statements));
            }
            return self.run(tx, layout, &statements);
        };
        // SQLite compares column names without regard to ASCII case.
        let has = |name: &str| present.iter().any(|p| p.eq_ignore_ascii_case(name));
        let table = quote(&layout.table);
        let mut statements: Vec<String> = needed
            .iter()
            .filter(|c| !has(&c.name))
            .map(|c| format!("ALTER TABLE {table} ADD COLUMN {} {}", quote(&c.name), declared(&c.ty)))
            .collect();
        let guard = guard.filter(|name| !has(name));
        if let Some(name) = guard {
            statements.push(format!("ALTER TABLE {table} ADD COLUMN {} BLOB", quote(name)));
            statements.extend(origin_index(layout, name));
        }
        if statements.is_empty() {
            return Ok(());
        }
        if !layout.create {
            let names = needed.iter().map(|c| &*c.name).filter(|name| !has(name)).chain(guard);
            let what = format!("the table `{}` lacks {}", layout.table, quote_all(names));
            return Err(missing(&what, &statements));
        }
        self.run(tx, layout, &statements)
    }

    fn run(&mut self, tx: &Transaction<'_>, layout: &Layout, statements: &[String]) -> Result<(), TargetError> {
        for statement in statements {
            tx.execute_batch(statement)
                .map_err(|e| error(&format!("cannot make or grow the table `{}`", layout.table), e))?;
        }
        self.known.remove(&layout.table);
        Ok(())
    }
}

/// The column the version guard needs.
pub(super) fn guard_column(layout: &Layout, mode: DeliveryMode) -> Option<&'static str> {
    match mode {
        DeliveryMode::ExactlyOnce => None,
        DeliveryMode::AtLeastOnce if layout.key.is_empty() => Some(ORIGIN_COLUMN),
        DeliveryMode::AtLeastOnce => Some(VERSION_COLUMN),
    }
}

fn missing(what: &str, statements: &[String]) -> TargetError {
    TargetError::new(
        ErrorKind::SchemaMismatch,
        format!("{what}; run `{};` or set `create: true` for it in `tables`", statements.join("; ")),
    )
}

fn create(layout: &Layout, columns: &[&WriteColumn], guard: Option<&str>) -> Vec<String> {
    let mut parts: Vec<String> = columns
        .iter()
        .map(|c| {
            let is_key = layout.key.iter().any(|k| k.name == c.name);
            format!("{} {}{}", quote(&c.name), declared(&c.ty), if is_key { " NOT NULL" } else { "" })
        })
        .collect();
    parts.extend(guard.map(|name| format!("{} BLOB", quote(name))));
    if !layout.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quote_all(layout.key.iter().map(|k| &*k.name))));
    }
    let mut statements = vec![format!("CREATE TABLE {} ({})", quote(&layout.table), parts.join(", "))];
    statements.extend(guard.and_then(|name| origin_index(layout, name)));
    statements
}

fn origin_index(layout: &Layout, guard: &str) -> Option<String> {
    (guard == ORIGIN_COLUMN).then(|| {
        let name = quote(&format!("{}_{ORIGIN_COLUMN}", layout.table));
        format!("CREATE UNIQUE INDEX {name} ON {} ({})", quote(&layout.table), quote(ORIGIN_COLUMN))
    })
}

/// The declared type: one of SQLite's own names, so that the affinity is plain to see. Decimals are text, since SQLite's
/// numbers would lose digits; an unknown type gets none, so that values stay as they are.
const fn declared(ty: &SourceType) -> &'static str {
    match ty {
        SourceType::Unknown => "",
        SourceType::Boolean | SourceType::Int32 | SourceType::Int64 | SourceType::Year => "INTEGER",
        SourceType::Float32 | SourceType::Float64 => "REAL",
        SourceType::Bytes | SourceType::Geometry => "BLOB",
        _ => "TEXT",
    }
}
