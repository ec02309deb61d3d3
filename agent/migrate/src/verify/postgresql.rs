//! A side in PostgreSQL: one read-only transaction, in which rows are hashed by the server or read as text.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};

use super::Way;
use super::bisect::{Digest, Key, Range, RowHash, Side};
use super::endpoint::{self, Reader};
use super::hash::Hasher;
use super::plan::{Column, Field, Shape, Task};
use super::value::{Class, Value};
use crate::database::System;
use crate::error::{Error, Kind, Result};
use crate::tls::{Trusted, client_config};

/// Settings on which the text of values depends, so that both servers write them alike.
const SESSION: &str =
    "SET TIME ZONE 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex';
    SET extra_float_digits = 1; SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET xmloption = 'content';
    SET search_path FROM CURRENT; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0";
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The columns of a table. Of a domain, the type below it counts. A collation is named with its provider and version: the
/// same words mean the same order.
const COLUMNS: &str = "SELECT a.attname::text, b.typname::text, b.typcategory::text,
        quote_ident(n.nspname) || '.' || quote_ident(b.typname),
        coalesce(CASE WHEN c.collname = 'default'
            THEN (SELECT d.datcollate || '/' || to_jsonb(d)::text FROM (SELECT datcollate, to_jsonb(x) ->> 'datlocprovider' AS provider,
                coalesce(to_jsonb(x) ->> 'datlocale', to_jsonb(x) ->> 'daticulocale') AS locale, to_jsonb(x) ->> 'datcollversion' AS version
                FROM pg_database x WHERE datname = current_database()) d)
            ELSE c.collprovider::text || '/' || coalesce(c.collcollate, c.collname) || '/' || coalesce(c.collversion, '') END, '')
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    JOIN pg_namespace n ON n.oid = b.typnamespace
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// A table that was found.
pub(super) struct Table {
    client: Client,
    /// Quoted, with its schema.
    name: String,
    shape: Shape,
}

/// The side.
struct Postgresql {
    client: Client,
    name: String,
    task: Task,
    hasher: Hasher,
}

fn failed(doing: &str, cause: &tokio_postgres::Error) -> Error {
    let Some(db) = cause.as_db_error() else {
        let deepest = std::error::Error::source(cause).map(|source| format!(": {source}")).unwrap_or_default();
        return super::failed(Kind::Connection, "connection".into(), doing, format!("{cause}{deepest}"));
    };
    let code = db.code().code();
    // Data exceptions repeat the value.
    let said = if code.starts_with("22") { "a value does not fit" } else { db.message() };
    super::failed(Kind::Database, code.into(), doing, format!("{said} (SQLSTATE {code})"))
}

async fn connect(config: &Config, place: &str) -> Result<Client> {
    let doing = format!("cannot connect to read the {place}");
    let trusted = match config.get_ssl_mode() {
        tokio_postgres::config::SslMode::Disable => Trusted::Nobody,
        _ => Trusted::System,
    };
    let tls = client_config(trusted).map_err(|what| super::failed(Kind::Connection, "tls".into(), &doing, what))?;
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(tls).await.map_err(|error| failed(&doing, &error))?;
    // Ends by itself when the client is dropped or the connection breaks; calls of the client get its errors.
    #[expect(clippy::disallowed_methods, reason = "lives as long as the client it serves")]
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection of a comparison to PostgreSQL ended");
        }
    });
    client.batch_execute(SESSION).await.map_err(|error| failed(&doing, &error))?;
    Ok(client)
}

impl Table {
    pub(super) async fn open(config: &Config, table: &str, place: String) -> Result<Self> {
        let client = connect(config, &place).await?;
        let doing = format!("cannot look at the {place}");
        // As SQL reads the name; and if there is no such table, exactly as it is written.
        let exact = table.split('.').map(quoted).collect::<Vec<_>>().join(".");
        let find = "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1::text)";
        let mut found = None;
        for name in [table, exact.as_str()] {
            found = match found {
                None => match client.query_opt(find, &[&name]).await {
                    Ok(row) => row,
                    // A name that SQL cannot read.
                    Err(error) if error.code().is_some_and(|code| code.code().starts_with("42")) => None,
                    Err(error) => return Err(failed(&doing, &error)),
                },
                found => found,
            };
        }
        let Some(found) = found else {
            return Err(Error::refused(
                format!("there is no {place}"),
                "check the name, with its schema if that is not in the search path, and that the user may see it",
            ));
        };
        let (oid, name): (u32, String) = (get(&found, 0)?, get(&found, 1)?);
        let rows = client.query(COLUMNS, &[&oid]).await.map_err(|error| failed(&doing, &error))?;
        let columns = rows.iter().map(column).collect::<Result<_>>()?;
        let shape = Shape { system: System::Postgresql, place, columns: Some(columns) };
        Ok(Self { client, name, shape })
    }
}

fn column(row: &Row) -> Result<Column> {
    let (base, category): (String, String) = (get(row, 1)?, get(row, 2)?);
    let class = match (base.as_str(), category.as_str()) {
        ("int2" | "int4" | "int8" | "oid" | "numeric" | "float8" | "bool", _) => Class::Number,
        ("float4", _) => Class::Single,
        ("bytea", _) => Class::Bytes,
        ("timestamptz" | "timestamp" | "date", _) => Class::Time,
        ("uuid", _) => Class::Uuid,
        ("json" | "jsonb", _) | (_, "A") => Class::Json,
        _ => Class::Text,
    };
    let type_name: String = get(row, 3)?;
    // Words of SQL such as numeric come quoted, which below pg_catalog they need not be.
    let type_name = if type_name.starts_with("pg_catalog.") { type_name.replace('"', "") } else { type_name };
    Ok(Column { name: get(row, 0)?, class, type_name, order: get(row, 4)? })
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| failed("an answer of PostgreSQL cannot be read", &error))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[async_trait]
impl endpoint::Table for Table {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    async fn side(self: Box<Self>, task: Task) -> Result<Box<dyn Reader>> {
        let hasher = task.nonce.hasher();
        let mut side = Postgresql { client: self.client, name: self.name, task, hasher };
        side.begin().await?;
        let lost = side.task.key.iter().map(|field| format!("{} IS NULL", quoted(&field.column.name)));
        let lost = lost.collect::<Vec<_>>().join(" OR ");
        let query = format!("SELECT EXISTS (SELECT FROM {} WHERE {lost})", side.name);
        let row = side.client.query_one(&query, &[]).await.map_err(|error| failed("cannot look at the key", &error))?;
        if get(&row, 0)? {
            return Err(null_key(&self.shape.place));
        }
        Ok(Box::new(side))
    }
}

/// A row without key belongs to no range.
pub(super) fn null_key(place: &str) -> Error {
    Error::refused(
        format!("the {place} has rows whose key is NULL"),
        "name a key without NULL, such as the primary key: rows without key cannot be told apart",
    )
}

impl Reader for Postgresql {}

impl Postgresql {
    async fn begin(&mut self) -> Result<()> {
        self.client.batch_execute(SNAPSHOT).await.map_err(|error| failed("cannot begin a snapshot", &error))
    }

    /// The key as it is sorted and compared.
    fn sorted(field: &Field) -> String {
        let name = quoted(&field.column.name);
        match (field.by_bytes, field.column.type_name.as_str()) {
            (true, "pg_catalog.text" | "pg_catalog.varchar") => format!("{name} COLLATE \"C\""),
            (true, _) => format!("{name}::text COLLATE \"C\""),
            (false, _) => name,
        }
    }

    /// A column as text that [`Postgresql::value`] reads.
    fn read(field: &Field) -> String {
        let name = quoted(&field.column.name);
        match (field.column.class, field.column.type_name.as_str()) {
            (_, "pg_catalog.bool") => format!("{name}::int::text"),
            (Class::Bytes, _) => format!("encode({name}, 'hex')"),
            (Class::Time, _) => format!(
                "CASE WHEN isfinite({name}) THEN (extract(epoch FROM {name}) * 1000000)::bigint::text ELSE {name}::text END"
            ),
            (Class::Json, "pg_catalog.json" | "pg_catalog.jsonb") => format!("{name}::text"),
            (Class::Json, _) => format!("to_jsonb({name})::text"),
            _ => format!("{name}::text"),
        }
    }

    fn value(field: &Field, text: Option<&str>) -> Value {
        let Some(text) = text else { return Value::Null };
        let as_text = || Value::Text(text.to_owned());
        let value = match field.column.class {
            Class::Number | Class::Single => Value::number(text),
            Class::Bytes => hex(text).map_or_else(as_text, Value::Bytes),
            Class::Time => text.parse().map_or_else(|_| as_text(), Value::Time),
            Class::Json => Value::json(text).unwrap_or_else(as_text),
            _ => as_text(),
        };
        field.form.apply(value)
    }

    /// A value of the key as text, and how the server makes the column's type of it.
    fn bound(field: &Field, value: &Value, number: usize) -> (String, String) {
        let column_type = &field.column.type_name;
        let text = match value {
            Value::Bytes(bytes) => bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
            Value::Time(micros) => {
                Value::sql_time(*micros).map_or_else(|| value.to_string(), |time| format!("{time}+00"))
            }
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        };
        let made = match (field.by_bytes, field.column.class, column_type.as_str()) {
            (true, ..) => format!("${number}::text COLLATE \"C\""),
            (_, _, "pg_catalog.bool") => format!("${number}::text::int::bool"),
            (_, Class::Bytes, _) => format!("decode(${number}::text, 'hex')"),
            _ => format!("${number}::text::{column_type}"),
        };
        (text, made)
    }

    /// The condition of a range, and its parameters from `first` on.
    fn condition(&self, range: &Range, first: usize) -> (String, Vec<String>) {
        let mut parameters = Vec::new();
        let mut conditions = Vec::new();
        let list = |parts: Vec<String>| match parts.as_slice() {
            [one] => one.clone(),
            all => format!("({})", all.join(", ")),
        };
        let columns = list(self.task.key.iter().map(Self::sorted).collect());
        for (key, operator) in [(&range.from, ">="), (&range.to, "<")] {
            let Some(key) = key else { continue };
            let mut made = Vec::new();
            for (field, value) in self.task.key.iter().zip(key) {
                let (text, expression) = Self::bound(field, value, first + parameters.len());
                parameters.push(text);
                made.push(expression);
            }
            conditions.push(format!("{columns} {operator} {}", list(made)));
        }
        let condition = if conditions.is_empty() { "true".into() } else { conditions.join(" AND ") };
        (condition, parameters)
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.task.key.iter().chain(self.task.columns.iter().flatten())
    }

    /// The hash of a row, 64 digits, made by the server. The first parameter is the nonce.
    fn server_hash(&self) -> String {
        let written = |field: &Field| {
            let name = quoted(&field.column.name);
            // 1.0 and 1.00 are one number, and their columns may differ in scale.
            if field.column.type_name == "pg_catalog.numeric" { format!("trim_scale({name})") } else { name }
        };
        let columns = self.fields().map(written).collect::<Vec<_>>().join(", ");
        format!("encode(sha256(convert_to($1::text || ROW({columns})::text, 'UTF8')), 'hex')")
    }

    async fn query(&self, doing: &str, sql: &str, parameters: &[String]) -> Result<tokio_postgres::RowStream> {
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let statement = self.client.prepare(sql).await.map_err(|error| failed(doing, &error))?;
        self.client.query_raw(&statement, parameters).await.map_err(|error| failed(doing, &error))
    }

    /// Keys, from the first column on.
    fn key(&self, row: &Row) -> Result<Key> {
        self.task.key.iter().enumerate().map(|(index, field)| Ok(Self::value(field, get(row, index)?))).collect()
    }

    /// Reads and hashes rows here; `each` gets them one by one.
    async fn read_rows(&self, range: &Range, limit: Option<usize>, mut each: impl FnMut(Key, RowHash)) -> Result<()> {
        let (condition, parameters) = self.condition(range, 1);
        let columns = self.fields().map(Self::read).collect::<Vec<_>>().join(", ");
        let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
        let sql = format!("SELECT {columns} FROM {} WHERE {condition}{limit}", self.name);
        let mut rows = std::pin::pin!(self.query(READING, &sql, &parameters).await?);
        let mut hasher = self.hasher.clone();
        while let Some(row) = rows.try_next().await.map_err(|error| failed(READING, &error))? {
            for (index, field) in self.fields().enumerate() {
                Self::value(field, get(&row, index)?).encode(hasher.row());
            }
            each(self.key(&row)?, hasher.finish());
        }
        Ok(())
    }
}

const READING: &str = "cannot read a range";

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The first half of a hash that a server wrote as digits.
pub(super) fn row_hash(digits: &str) -> Option<RowHash> {
    u128::from_str_radix(digits.get(..32)?, 16).ok().map(u128::to_be_bytes)
}

#[async_trait]
impl Side for Postgresql {
    async fn count(&mut self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.name);
        let row = self.client.query_one(&sql, &[]).await.map_err(|error| failed("cannot count the rows", &error))?;
        Ok(u64::try_from(get::<i64>(&row, 0)?).unwrap_or(0))
    }

    async fn digest(&mut self, range: &Range) -> Result<Digest> {
        let mut digest = Digest::default();
        if self.task.way != Way::Server {
            self.read_rows(range, None, |_, hash| digest.add(&hash)).await?;
            return Ok(digest);
        }
        let (condition, parameters) = self.condition(range, 2);
        // OFFSET 0 keeps the planner from hashing each row once for each half.
        let sql = format!(
            "SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint), 0)::text,
                coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint), 0)::text
             FROM (SELECT {} AS h FROM {} WHERE {condition} OFFSET 0) hashed",
            self.server_hash(),
            self.name
        );
        let parameters: Vec<_> = std::iter::once(self.task.nonce.hex()).chain(parameters).collect();
        let doing = "cannot hash a range";
        let mut rows = std::pin::pin!(self.query(doing, &sql, &parameters).await?);
        if let Some(row) = rows.try_next().await.map_err(|error| failed(doing, &error))? {
            let sum = |index| {
                let text: &str = get(&row, index)?;
                text.parse::<i128>()
                    .map_err(|error| super::failed(Kind::Database, "unexpected_answer".into(), doing, error))
            };
            digest = Digest { rows: u64::try_from(get::<i64>(&row, 0)?).unwrap_or(0), hash: [sum(1)?, sum(2)?] };
        }
        Ok(digest)
    }

    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>> {
        let (condition, parameters) = self.condition(range, 1);
        let step = rows.div_ceil(parts.max(1)).max(1);
        let order = self.task.key.iter().map(Self::sorted).collect::<Vec<_>>().join(", ");
        let columns = self.task.key.iter().enumerate();
        let columns =
            columns.map(|(index, field)| format!("{} AS k{index}", Self::read(field))).collect::<Vec<_>>().join(", ");
        let names = (0..self.task.key.len()).map(|index| format!("k{index}")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {names} FROM (SELECT {columns}, row_number() OVER (ORDER BY {order}) - 1 AS n FROM {} WHERE {condition}) numbered
             WHERE n > 0 AND n % {step} = 0 ORDER BY n",
            self.name
        );
        let doing = "cannot cut a range";
        let rows = self.query(doing, &sql, &parameters).await?;
        let rows: Vec<Row> = rows.try_collect().await.map_err(|error| failed(doing, &error))?;
        rows.iter().map(|row| self.key(row)).collect()
    }

    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>> {
        let mut found = Vec::new();
        if self.task.way != Way::Server {
            self.read_rows(range, Some(limit), |key, hash| found.push((key, hash))).await?;
            return Ok(found);
        }
        let (condition, parameters) = self.condition(range, 2);
        let columns = self.task.key.iter().map(Self::read).collect::<Vec<_>>().join(", ");
        let hash = self.server_hash();
        let sql = format!("SELECT {columns}, {hash} FROM {} WHERE {condition} LIMIT {limit}", self.name);
        let parameters: Vec<_> = std::iter::once(self.task.nonce.hex()).chain(parameters).collect();
        let mut rows = std::pin::pin!(self.query(READING, &sql, &parameters).await?);
        while let Some(row) = rows.try_next().await.map_err(|error| failed(READING, &error))? {
            let hash = row_hash(get(&row, self.task.key.len())?);
            found.push((self.key(&row)?, hash.unwrap_or_default()));
        }
        Ok(found)
    }

    async fn refresh(&mut self) -> Result<()> {
        self.client.batch_execute("ROLLBACK").await.map_err(|error| failed("cannot end a snapshot", &error))?;
        self.begin().await
    }
}
