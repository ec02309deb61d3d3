//! A side in an SQLite file: one read transaction, rows hashed here.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Row};

use super::Way;
use super::bisect::{Digest, Key, Range, RowHash, Side};
use super::endpoint::{self, Reader};
use super::hash::Hasher;
use super::plan::{Column, Field, Shape, Task};
use super::value::{Class, Value};
use crate::database::System;
use crate::error::{Error, Kind, Result};

/// A table that was found.
pub(super) struct Table {
    connection: Connection,
    name: String,
    shape: Shape,
}

/// The side. Calls block, so they run on threads for that.
struct Sqlite {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    connection: Connection,
    name: String,
    task: Task,
    hasher: Hasher,
}

fn failed(doing: &str, cause: &rusqlite::Error) -> Error {
    let code = cause.sqlite_error_code().map_or_else(|| "sqlite".into(), |code| format!("{code:?}"));
    super::failed(Kind::Database, code, doing, cause)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Table {
    pub(super) async fn open(path: &Path, table: &str, place: String) -> Result<Self> {
        let (path, name) = (path.to_owned(), quoted(table));
        blocking(move || {
            let doing = format!("cannot look at the {place}");
            let connection =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                    .map_err(|error| failed(&doing, &error))?;
            let columns = {
                let mut query = connection
                    .prepare(&format!("PRAGMA table_xinfo({name})"))
                    .map_err(|error| failed(&doing, &error))?;
                let column = |row: &Row<'_>| {
                    let (type_name, order) = (String::new(), String::new());
                    Ok(Column { name: row.get("name")?, class: Class::Loose, type_name, order })
                };
                let rows = query.query_map([], column).map_err(|error| failed(&doing, &error))?;
                rows.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&doing, &error))?
            };
            if columns.is_empty() {
                return Err(Error::refused(format!("there is no {place}"), "check the name of the table and the file"));
            }
            let shape = Shape { system: System::Sqlite, place, columns: Some(columns) };
            Ok(Self { connection, name, shape })
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(super::failed(Kind::Database, "panic".into(), "reading SQLite", error)),
    }
}

#[async_trait]
impl endpoint::Table for Table {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    async fn side(self: Box<Self>, task: Task) -> Result<Box<dyn Reader>> {
        let Self { connection, name, shape } = *self;
        let hasher = task.nonce.hasher();
        let side = Sqlite { inner: Arc::new(Mutex::new(Inner { connection, name, task, hasher })) };
        let without = side
            .call(|inner| {
                inner.begin()?;
                let lost = inner.task.key.iter().map(|field| format!("{} IS NULL", quoted(&field.column.name)));
                let lost = lost.collect::<Vec<_>>().join(" OR ");
                let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {lost})", inner.name);
                let found = inner.connection.query_row(&sql, [], |row| row.get::<_, bool>(0));
                found.map_err(|error| failed("cannot look at the key", &error))
            })
            .await?;
        if without {
            return Err(super::postgresql::null_key(&shape.place));
        }
        Ok(Box::new(side))
    }
}

impl Reader for Sqlite {}

impl Sqlite {
    async fn call<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner.lock().unwrap_or_else(PoisonError::into_inner))).await
    }
}

/// A value of the key, as SQLite compares it.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Number(number) => match number.parse::<i64>() {
                Ok(integer) => ToSqlOutput::from(integer),
                Err(_) => ToSqlOutput::from(number.parse::<f64>().unwrap_or(f64::NAN)),
            },
            Value::Text(text) => ToSqlOutput::from(text.as_str()),
            Value::Bytes(bytes) => ToSqlOutput::from(bytes.as_slice()),
            other => ToSqlOutput::from(other.to_string()),
        })
    }
}

fn value(raw: ValueRef<'_>) -> Value {
    match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::integer(number),
        ValueRef::Real(number) => Value::double(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            // SQLite does not look at what it is given as text.
            Err(_) => Value::Bytes(text.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// The value with its storage class: 1 is not 1.0.
fn exact(raw: ValueRef<'_>, out: &mut Vec<u8>) {
    let (tag, bytes): (u8, &[u8]) = match raw {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => (1, &number.to_le_bytes()),
        ValueRef::Real(number) => (2, &number.to_le_bytes()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Inner {
    fn begin(&self) -> Result<()> {
        let wait = self.connection.busy_timeout(std::time::Duration::from_secs(10));
        let begun = wait.and_then(|()| self.connection.execute_batch("BEGIN"));
        begun.map_err(|error| failed("cannot begin a snapshot", &error))
    }

    fn sorted(field: &Field) -> String {
        format!("{} COLLATE BINARY", quoted(&field.column.name))
    }

    fn keys(&self) -> String {
        self.task.key.iter().map(Self::sorted).collect::<Vec<_>>().join(", ")
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.task.key.iter().chain(self.task.columns.iter().flatten())
    }

    fn condition<'a>(&self, range: &'a Range) -> (String, Vec<Bound<'a>>) {
        let bounds = [(&range.from, ">="), (&range.to, "<")];
        let bounds = bounds.into_iter().filter_map(|(key, operator)| key.as_ref().map(|key| (key, operator)));
        let mut parameters = Vec::new();
        let mut conditions = vec!["1".to_owned()];
        for (key, operator) in bounds {
            let marks = vec!["?"; key.len()].join(", ");
            conditions.push(format!("({}) {operator} ({marks})", self.keys()));
            parameters.extend(key.iter().map(Bound));
        }
        (conditions.join(" AND "), parameters)
    }

    fn key(&self, row: &Row<'_>) -> rusqlite::Result<Key> {
        self.task
            .key
            .iter()
            .enumerate()
            .map(|(index, field)| Ok(field.form.apply(value(row.get_ref(index)?))))
            .collect()
    }

    fn read(
        &self,
        sql: &str,
        parameters: Vec<Bound<'_>>,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
            while let Some(row) = rows.next()? {
                each(row)?;
            }
            Ok(())
        };
        read().map_err(|error| failed("cannot read a range", &error))
    }

    fn hashes(
        &self,
        range: &Range,
        limit: Option<usize>,
        mut each: impl FnMut(&Row<'_>, RowHash) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let (condition, parameters) = self.condition(range);
        let columns = self.fields().map(|field| quoted(&field.column.name)).collect::<Vec<_>>().join(", ");
        let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
        let sql = format!("SELECT {columns} FROM {} WHERE {condition}{limit}", self.name);
        let mut hasher = self.hasher.clone();
        self.read(&sql, parameters, |row| {
            for (index, field) in self.fields().enumerate() {
                let raw = row.get_ref(index)?;
                match self.task.way {
                    Way::Exact => exact(raw, hasher.row()),
                    _ => field.form.apply(value(raw)).encode(hasher.row()),
                }
            }
            each(row, hasher.finish())
        })
    }
}

#[async_trait]
impl Side for Sqlite {
    async fn count(&mut self) -> Result<u64> {
        self.call(|inner| {
            let sql = format!("SELECT count(*) FROM {}", inner.name);
            let count = inner.connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
            count.map(|rows| u64::try_from(rows).unwrap_or(0)).map_err(|error| failed("cannot count the rows", &error))
        })
        .await
    }

    async fn digest(&mut self, range: &Range) -> Result<Digest> {
        let range = range.clone();
        self.call(move |inner| {
            let mut digest = Digest::default();
            inner.hashes(&range, None, |_, hash| {
                digest.add(&hash);
                Ok(())
            })?;
            Ok(digest)
        })
        .await
    }

    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>> {
        let range = range.clone();
        self.call(move |inner| {
            let (condition, parameters) = inner.condition(&range);
            let step = rows.div_ceil(parts.max(1)).max(1);
            let names = inner.task.key.iter().map(|field| quoted(&field.column.name)).collect::<Vec<_>>().join(", ");
            let sql = format!(
                "SELECT {names} FROM (SELECT {names}, row_number() OVER (ORDER BY {}) - 1 AS whimbrel_row FROM {} WHERE {condition})
                 WHERE whimbrel_row > 0 AND whimbrel_row % {step} = 0 ORDER BY whimbrel_row",
                inner.keys(),
                inner.name
            );
            let mut keys = Vec::new();
            inner.read(&sql, parameters, |row| {
                keys.push(inner.key(row)?);
                Ok(())
            })?;
            Ok(keys)
        })
        .await
    }

    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>> {
        let range = range.clone();
        self.call(move |inner| {
            let mut found = Vec::new();
            inner.hashes(&range, Some(limit), |row, hash| {
                found.push((inner.key(row)?, hash));
                Ok(())
            })?;
            Ok(found)
        })
        .await
    }

    async fn refresh(&mut self) -> Result<()> {
        self.call(|inner| {
            inner.connection.execute_batch("ROLLBACK").map_err(|error| failed("cannot end a snapshot", &error))?;
            inner.begin()
        })
        .await
    }
}
