//! One batch in one transaction. Runs on a blocking thread.
//!
//! The order inside: frontiers, rows, settled dead letters, new dead letters, effects; then the commit. `BEGIN IMMEDIATE`
//! takes the write lock first, so nothing that is read in between can change.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, Transaction, TransactionBehavior, params};

use crate::failpoints;
use crate::target::Applied;
use crate::target::error::{ErrorKind, TargetError};
use crate::target::plan::{DeliveryMode, Layout};
use crate::target::sql::{VERSION_COLUMN, WriteColumn, quote, quote_all};

use super::client::error;
use super::encode::{Action, Job, Op, Param, Table, Work};
use super::state;
use super::tables::{Tables, guard_column};

/// Versions of deleted rows are cleared away at most so often.
const SWEEP_MS: i64 = 60_000;

/// What lives as long as the connection.
#[derive(Debug, Default)]
pub(super) struct Memory {
    tables: Tables,
    swept_at_ms: i64,
}

/// Writes the batch.
pub(super) fn apply(
    connection: &mut Connection,
    memory: &mut Memory,
    job: &Job,
    delete_grace_ms: i64,
) -> Result<Applied, TargetError> {
    let applied = transaction(connection, memory, job, delete_grace_ms);
    if applied.is_err() {
        memory.tables.clear();
    }
    applied
}

fn transaction(
    connection: &mut Connection,
    memory: &mut Memory,
    job: &Job,
    delete_grace_ms: i64,
) -> Result<Applied, TargetError> {
    let tx = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| error("cannot begin a transaction", e))?;
    failpoints::hit("before_write");
    if job.mode == DeliveryMode::ExactlyOnce {
        state::advance(&tx, job)?;
    }
    let mut applied = Applied { lossy: job.lossy.clone(), ..Applied::default() };
    for work in &job.work {
        match work {
            Work::Rows(tables) => {
                for table in tables {
                    write_table(&tx, &mut memory.tables, job, table, &mut applied)?;
                }
            }
            Work::Truncate(layout) => {
                if memory.tables.columns(&tx, &layout.table)?.is_some() {
                    tx.execute(&format!("DELETE FROM {}", quote(&layout.table)), [])
                        .map_err(|e| error(&format!("cannot empty the table `{}`", layout.table), e))?;
                }
            }
        }
    }
    state::settle(&tx, job)?;
    state::store_letters(&tx, job)?;
    state::record_effects(&tx, job)?;
    if job.mode == DeliveryMode::AtLeastOnce {
        state::advance(&tx, job)?;
        if job.now_ms - memory.swept_at_ms > SWEEP_MS {
            tx.execute("DELETE FROM whimbrel_tombstones WHERE stored_at_ms < ?1", [job.now_ms - delete_grace_ms])
                .map_err(|e| error("cannot clear away old versions of deleted rows", e))?;
            memory.swept_at_ms = job.now_ms;
        }
    }
    failpoints::hit("after_write");
    failpoints::hit("commit_sent");
    tx.commit().map_err(|e| error("cannot commit", e))?;
    failpoints::hit("after_commit");
    Ok(applied)
}

/// The write of one table: its columns as they are now, and the statements met so far.
struct Writer<'a> {
    tx: &'a Transaction<'a>,
    job: &'a Job,
    table: &'a Table,
    guarded: bool,
    /// Rows of this table were deleted lately: upserts must look for a newer tombstone.
    tombstones: bool,
    /// Per column of the layout: the target has it.
    present: Vec<bool>,
    /// By what they write: one bit per column, and what they do.
    statements: HashMap<(Shape, Vec<bool>), CachedStatement<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    Upsert,
    Update,
    Insert,
}

fn write_table(
    tx: &Transaction<'_>,
    tables: &mut Tables,
    job: &Job,
    table: &Table,
    applied: &mut Applied,
) -> Result<(), TargetError> {
    let guarded = job.mode == DeliveryMode::AtLeastOnce;
    let only_deletes = table.ops.iter().all(|op| op.action == Action::Delete);
    if only_deletes && tables.columns(tx, &table.layout.table)?.is_none() {
        // Nothing to delete from; the versions still count against late upserts.
        if guarded {
            for op in &table.ops {
                store_tombstone(tx, job, table, op)?;
            }
        }
        return Ok(());
    }
    let needed = needed_columns(table);
    tables.ensure(tx, &table.layout, &needed, job.mode)?;
    let present = tables.columns(tx, &table.layout.table)?.unwrap_or_default();
    let present =
        table.columns.iter().map(|c| present.iter().any(|p| p.eq_ignore_ascii_case(&c.name))).collect::<Vec<_>>();
    let tombstones = guarded
        && tx
            .prepare_cached(r#"SELECT 1 FROM whimbrel_tombstones WHERE "table" = ?1 LIMIT 1"#)
            .and_then(|mut s| s.exists([&*table.layout.table]))
            .map_err(|e| error("cannot read versions of deleted rows", e))?;
    let mut writer = Writer { tx, job, table, guarded, tombstones, present, statements: HashMap::new() };
    for op in &table.ops {
        let changed = writer.write(op).map_err(|e| e.at_event(op.event))?;
        applied.rows += changed;
        if guarded && changed == 0 && op.action != Action::Delete {
            applied.skipped_older += 1;
        }
    }
    Ok(())
}

/// Key columns, and those that any row has a value for: a column that no row has need not exist.
fn needed_columns(table: &Table) -> Vec<&WriteColumn> {
    let width = table.columns.len();
    let mut seen = vec![false; width];
    for op in &table.ops {
        for (seen, param) in seen.iter_mut().zip(table.params.iter().skip(op.first).take(width)) {
            *seen |= *param != Param::Absent;
        }
    }
    table.columns.iter().zip(seen).filter(|(_, seen)| *seen).map(|(c, _)| c).collect()
}

impl<'a> Writer<'a> {
    fn write(&mut self, op: &Op) -> Result<u64, TargetError> {
        if op.action == Action::Delete {
            return self.delete(op);
        }
        if self.tombstones && op.action != Action::Append && self.deleted_later(op)? {
            return Ok(0);
        }
        let params = self.params(op);
        let given = |param: &Param| *param != Param::Absent;
        match op.action {
            Action::Patch => {
                let mask = params.iter().map(given).collect::<Vec<_>>();
                let changed = self.run(Shape::Update, mask.clone(), op)?;
                // Not there, or older than what is there: the guard of the insert tells the two apart.
                if changed > 0 { Ok(changed) } else { self.run(Shape::Insert, mask, op) }
            }
            _ => {
                let mask = params.iter().zip(&self.present).map(|(param, present)| *present || given(param)).collect();
                self.run(Shape::Upsert, mask, op)
            }
        }
    }

    fn params(&self, op: &Op) -> &'a [Param] {
        self.table.params.get(op.first..op.first + self.table.columns.len()).unwrap_or_default()
    }

    fn run(&mut self, shape: Shape, mask: Vec<bool>, op: &Op) -> Result<u64, TargetError> {
        let table = self.table;
        let params = self.params(op);
        let failed = |e| error(&format!("cannot write to the table `{}`", table.layout.table), e);
        let append = op.action == Action::Append;
        let key = (shape, mask);
        if !self.statements.contains_key(&key) {
            let sql = statement_text(shape, &key.1, table, append, guard_column(&table.layout, self.job.mode));
            let statement = self.tx.prepare_cached(&sql).map_err(|e| prepare_error(&table.layout, e))?;
            self.statements.insert(key.clone(), statement);
        }
        let Some(statement) = self.statements.get_mut(&key) else { return Ok(0) };
        let mut index = 0;
        for (param, _) in params.iter().zip(&key.1).filter(|(_, written)| **written) {
            index += 1;
            statement.raw_bind_parameter(index, Bound(param, &self.job.arena)).map_err(failed)?;
        }
        if self.guarded {
            let identity = self.job.arena.get(op.identity.clone()).unwrap_or_default();
            let guard = if append { identity } else { &op.version };
            statement.raw_bind_parameter(index + 1, guard).map_err(failed)?;
        }
        statement.raw_execute().map(|n| n as u64).map_err(failed)
    }

    fn deleted_later(&self, op: &Op) -> Result<bool, TargetError> {
        self.tx
            .prepare_cached(r#"SELECT 1 FROM whimbrel_tombstones WHERE "table" = ?1 AND "key" = ?2 AND version >= ?3"#)
            .and_then(|mut s| s.exists(params![&*self.table.layout.table, self.identity(op), &op.version[..]]))
            .map_err(|e| error("cannot read versions of deleted rows", e))
    }

    fn identity(&self, op: &Op) -> &'a str {
        identity(self.job, op)
    }

    fn delete(&mut self, op: &Op) -> Result<u64, TargetError> {
        let layout = &self.table.layout;
        if self.guarded {
            store_tombstone(self.tx, self.job, self.table, op)?;
        }
        let names = layout.key.iter().map(|k| format!("{} = ?", quote(&k.name))).collect::<Vec<_>>().join(" AND ");
        let guard =
            if self.guarded { format!(" AND {} < ?", guard_value(&quote(VERSION_COLUMN))) } else { String::new() };
        let sql = format!("DELETE FROM {} WHERE {names}{guard}", quote(&layout.table));
        let failed = |e| error(&format!("cannot delete from the table `{}`", layout.table), e);
        let mut statement = self.tx.prepare_cached(&sql).map_err(|e| prepare_error(layout, e))?;
        let key = self.params(op).get(..layout.key.len()).unwrap_or_default();
        for (i, param) in key.iter().enumerate() {
            statement.raw_bind_parameter(i + 1, Bound(param, &self.job.arena)).map_err(failed)?;
        }
        if self.guarded {
            statement.raw_bind_parameter(key.len() + 1, &op.version[..]).map_err(failed)?;
        }
        statement.raw_execute().map(|n| n as u64).map_err(failed)
    }
}

fn identity<'a>(job: &'a Job, op: &Op) -> &'a str {
    job.arena.get(op.identity.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn store_tombstone(tx: &Transaction<'_>, job: &Job, table: &Table, op: &Op) -> Result<(), TargetError> {
    tx.prepare_cached(
        "INSERT INTO whimbrel_tombstones VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
         version = max(version, excluded.version), stored_at_ms = excluded.stored_at_ms",
    )
    .and_then(|mut s| s.execute(params![&*table.layout.table, identity(job, op), &op.version[..], job.now_ms]))
    .map_err(|e| error("cannot store the version of a deleted row", e))?;
    Ok(())
}

/// A row written before the guard's column existed counts as older than everything.
fn guard_value(column: &str) -> String {
    format!("ifnull({column}, x'')")
}

fn prepare_error(layout: &Layout, cause: rusqlite::Error) -> TargetError {
    let key = quote_all(layout.key.iter().map(|k| &*k.name));
    let found = error(&format!("cannot write to the table `{}`", layout.table), cause);
    if found.kind != ErrorKind::SchemaMismatch || !found.message.contains("ON CONFLICT clause") {
        return found;
    }
    let table = quote(&layout.table);
    let remedy = format!(
        "{}; run `CREATE UNIQUE INDEX {} ON {table} ({key});`",
        found.message,
        quote(&format!("{}_key", layout.table))
    );
    TargetError { message: remedy, ..found }
}

/// The statement that writes the columns of `mask`, in order; the guard's value comes last.
fn statement_text(shape: Shape, mask: &[bool], table: &Table, append: bool, guard: Option<&str>) -> String {
    let layout = &table.layout;
    let into = quote(&layout.table);
    let written: Vec<(usize, String)> = table
        .columns
        .iter()
        .zip(mask)
        .filter(|(_, written)| **written)
        .map(|(c, _)| &c.name)
        .chain(guard.map(std::sync::Arc::from).as_ref())
        .enumerate()
        .map(|(i, name)| (i + 1, quote(name)))
        .collect();
    let width = layout.key.len();
    let names = written.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let places = written.iter().map(|(i, _)| format!("?{i}")).collect::<Vec<_>>().join(", ");
    let insert = if names.is_empty() {
        format!("INSERT INTO {into} DEFAULT VALUES")
    } else {
        format!("INSERT INTO {into} ({names}) VALUES ({places})")
    };
    if append {
        return if guard.is_some() { format!("{insert} ON CONFLICT DO NOTHING") } else { insert };
    }
    let (key, rest) = written.split_at_checked(width).unwrap_or((&written, &[]));
    let key_names = key.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let newer = |prefix: &str| {
        let column = guard_value(&format!("{into}.{}", quote(VERSION_COLUMN)));
        guard.map(|_| format!("{prefix} {column} < ?{}", written.len())).unwrap_or_default()
    };
    match shape {
        Shape::Upsert if rest.is_empty() => format!("{insert} ON CONFLICT ({key_names}) DO NOTHING"),
        Shape::Upsert => {
            let set = rest.iter().map(|(_, n)| format!("{n} = excluded.{n}")).collect::<Vec<_>>().join(", ");
            format!("{insert} ON CONFLICT ({key_names}) DO UPDATE SET {set}{}", newer(" WHERE"))
        }
        Shape::Update => {
            // A patch of nothing but the key still has to find its row, or the insert after it would.
            let set = if rest.is_empty() { key } else { rest };
            let set = set.iter().map(|(i, n)| format!("{n} = ?{i}")).collect::<Vec<_>>().join(", ");
            let at = key.iter().map(|(i, n)| format!("{n} = ?{i}")).collect::<Vec<_>>().join(" AND ");
            format!("UPDATE {into} SET {set} WHERE {at}{}", newer(" AND"))
        }
        Shape::Insert => format!("{insert} ON CONFLICT ({key_names}) DO NOTHING"),
    }
}

/// A parameter and the arena its bytes are in.
struct Bound<'a>(&'a Param, &'a [u8]);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bytes = |at: &std::ops::Range<usize>| self.1.get(at.clone()).unwrap_or_default();
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Param::Absent | Param::Null => ValueRef::Null,
            Param::Integer(value) => ValueRef::Integer(*value),
            Param::Real(value) => ValueRef::Real(*value),
            Param::Text(at) => ValueRef::Text(bytes(at)),
            Param::Blob(at) => ValueRef::Blob(bytes(at)),
        }))
    }
}
