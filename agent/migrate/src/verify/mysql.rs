//! A side in MySQL or MariaDB: one consistent snapshot, in which rows are hashed by the server or read with their types.

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, Value as Raw};

use super::Way;
use super::bisect::{Digest, Key, Range, RowHash, Side};
use super::endpoint::{self, Reader};
use super::hash::Hasher;
use super::plan::{Column, Field, Shape, Task};
use super::postgresql::{null_key, row_hash};
use super::value::{Class, Value};
use crate::database::System;
use crate::error::{Error, Kind, Result};

/// Settings on which values and their text depend.
const SESSION: [&str; 3] =
    ["SET time_zone = '+00:00'", "SET NAMES utf8mb4", "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"];
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
const COLUMNS: &str = "SELECT column_name, data_type, column_type, coalesce(collation_name, ''), coalesce(numeric_scale, 0)
    FROM information_schema.columns WHERE table_schema = coalesce(?, database()) AND table_name = ? ORDER BY ordinal_position";
/// In MariaDB, JSON is text with a check.
const MARIADB_JSON: &str = "SELECT constraint_name FROM information_schema.check_constraints
    WHERE constraint_schema = coalesce(?, database()) AND table_name = ? AND check_clause LIKE 'json_valid(%'";

/// A table that was found.
pub(super) struct Table {
    conn: Conn,
    name: String,
    shape: Shape,
}

/// The side.
struct Mysql {
    conn: Conn,
    layout: Arc<Layout>,
}

/// The table, and what is asked of it.
struct Layout {
    name: String,
    task: Task,
    hasher: Hasher,
}

fn failed(doing: &str, cause: &mysql_async::Error) -> Error {
    match cause {
        mysql_async::Error::Server(server) => {
            // Data errors repeat the value.
            let said = if server.state.starts_with("22") { "a value does not fit" } else { server.message.as_str() };
            super::failed(Kind::Database, format!("{}", server.code), doing, format!("{said} (error {})", server.code))
        }
        other => super::failed(Kind::Connection, "connection".into(), doing, other),
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Table {
    pub(super) async fn open(options: &Opts, table: &str, place: String) -> Result<Self> {
        let doing = format!("cannot connect to read the {place}");
        let options: Opts = OptsBuilder::from_opts(options.clone()).setup(SESSION.to_vec()).into();
        let mut conn = Conn::new(options).await.map_err(|error| failed(&doing, &error))?;
        let doing = format!("cannot look at the {place}");
        let version: Option<String> =
            conn.query_first("SELECT version()").await.map_err(|error| failed(&doing, &error))?;
        let mariadb = version.is_some_and(|version| version.to_ascii_lowercase().contains("mariadb"));
        let (schema, name) = match table.split_once('.') {
            Some((schema, name)) => (Some(schema.trim_matches('`')), name.trim_matches('`')),
            None => (None, table.trim_matches('`')),
        };
        let rows: Vec<(String, String, String, String, u64)> =
            conn.exec(COLUMNS, (schema, name)).await.map_err(|error| failed(&doing, &error))?;
        if rows.is_empty() {
            return Err(Error::refused(
                format!("there is no {place}"),
                "check the name, written as `database.table` if it is in another database, and that the user may see it",
            ));
        }
        let mut json = Vec::<String>::new();
        if mariadb {
            json = conn.exec(MARIADB_JSON, (schema, name)).await.map_err(|error| failed(&doing, &error))?;
        }
        let rows = rows.into_iter().map(|mut row| {
            if json.contains(&row.0) {
                row.1 = "json".into();
            }
            row
        });
        let columns = rows.map(|(name, data_type, column_type, collation, scale)| {
            column(name, &data_type, &column_type, collation, scale)
        });
        let system = if mariadb { System::Mariadb } else { System::Mysql };
        let shape = Shape { system, place, columns: Some(columns.collect()) };
        let name = schema.into_iter().chain([name]).map(quoted).collect::<Vec<_>>().join(".");
        Ok(Self { conn, name, shape })
    }
}

fn column(name: String, data_type: &str, column_type: &str, collation: String, scale: u64) -> Column {
    let data_type = data_type.to_ascii_lowercase();
    let class = match data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "year" | "bit" => {
            Class::Number
        }
        "float" => Class::Single,
        "date" | "datetime" | "timestamp" => Class::Time,
        "json" => Class::Json,
        "uuid" => Class::Uuid,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "time" | "inet4"
        | "inet6" => Class::Text,
        _ => Class::Bytes,
    };
    // The length of text and the precision of times do not show in their values, the scale of numbers does; enums sort by
    // their list.
    let type_name = match data_type.as_str() {
        "decimal" => format!("decimal({scale})"),
        "enum" | "set" | "bit" => column_type.to_owned(),
        _ => data_type,
    };
    Column { name, class, type_name, order: collation }
}

#[async_trait]
impl endpoint::Table for Table {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    async fn side(self: Box<Self>, mut task: Task) -> Result<Box<dyn Reader>> {
        // Enums sort by their number and compare by their text.
        for field in &mut task.key {
            field.by_bytes |= field.column.type_name.starts_with("enum") || field.column.type_name.starts_with("set");
        }
        let hasher = task.nonce.hasher();
        let layout = Arc::new(Layout { name: self.name, task, hasher });
        let mut side = Mysql { conn: self.conn, layout };
        side.begin().await?;
        let lost = side.layout.task.key.iter().map(|field| format!("{} IS NULL", quoted(&field.column.name)));
        let lost = lost.collect::<Vec<_>>().join(" OR ");
        let query = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {lost})", side.layout.name);
        let found: Option<bool> =
            side.conn.query_first(query).await.map_err(|error| failed("cannot look at the key", &error))?;
        if found.unwrap_or(false) {
            return Err(null_key(&self.shape.place));
        }
        Ok(Box::new(side))
    }
}

impl Reader for Mysql {}

const READING: &str = "cannot read a range";

impl Layout {
    fn nonce(&self) -> Raw {
        Raw::Bytes(self.task.nonce.hex().into_bytes())
    }

    /// The key as it is sorted and compared.
    fn sorted(field: &Field) -> String {
        let name = quoted(&field.column.name);
        if field.by_bytes { format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)") } else { name }
    }

    /// A value as text that no other value of the column has, to be hashed by the server.
    fn written(field: &Field) -> String {
        let name = quoted(&field.column.name);
        let text = match (field.column.class, field.column.type_name.as_str()) {
            // The text of a single-precision number has six digits of it, that of a double all.
            (Class::Single, _) | (_, "double") => format!("CAST({name} + 0e0 AS CHAR)"),
            (Class::Time, "date") => format!("CAST({name} AS CHAR)"),
            (Class::Time, _) => format!("DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"),
            (_, "time") => format!("TIME_FORMAT({name}, '%H:%i:%s.%f')"),
            (_, bit) if bit.starts_with("bit") => format!("HEX({name})"),
            (Class::Number, _) => format!("CAST({name} AS CHAR)"),
            // Hashed by itself: a row is not to become longer than max_allowed_packet.
            (Class::Bytes, _) => format!("SHA2({name}, 256)"),
            _ => format!("SHA2(CONVERT({name} USING utf8mb4), 256)"),
        };
        format!("IFNULL(CONCAT(':', {text}), '-')")
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.task.key.iter().chain(self.task.columns.iter().flatten())
    }

    /// The hash of a row, 64 digits, made by the server. Its parameter is the nonce.
    fn server_hash(&self) -> String {
        let columns = self.fields().map(Self::written).collect::<Vec<_>>().join(", ");
        format!("SHA2(CONCAT_WS(',', ?, {columns}), 256)")
    }

    fn value(field: &Field, raw: &Raw) -> Value {
        let value = match raw {
            Raw::NULL => Value::Null,
            Raw::Int(number) => Value::integer(*number),
            Raw::UInt(number) => Value::integer(*number),
            Raw::Float(number) => Value::number(&format!("{number:e}")),
            Raw::Double(number) => Value::double(*number),
            Raw::Date(year, month, day, hour, minute, second, micro) => {
                Value::civil((i32::from(*year), *month, *day), (*hour, *minute, *second, *micro)).unwrap_or_else(|| {
                    Value::Text(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
                })
            }
            Raw::Time(negative, days, hours, minutes, seconds, micros) => {
                let sign = if *negative { "-" } else { "" };
                let fraction =
                    if *micros > 0 { format!(".{micros:06}").trim_end_matches('0').to_owned() } else { String::new() };
                Value::Text(format!("{sign}{:02}:{minutes:02}:{seconds:02}{fraction}", days * 24 + u32::from(*hours)))
            }
            Raw::Bytes(bytes) => match (field.column.class, std::str::from_utf8(bytes)) {
                (Class::Number, _) if field.column.type_name.starts_with("bit") => {
                    Value::integer(bytes.iter().fold(0i128, |number, byte| number << 8 | i128::from(*byte)))
                }
                (Class::Bytes, _) | (_, Err(_)) => Value::Bytes(bytes.clone()),
                (Class::Number | Class::Single, Ok(text)) => Value::number(text),
                (Class::Json, Ok(text)) => Value::json(text).unwrap_or_else(|| Value::Text(text.to_owned())),
                (_, Ok(text)) => Value::Text(text.to_owned()),
            },
        };
        field.form.apply(value)
    }

    /// A value of the key as parameter, and how the server compares it.
    fn bound(field: &Field, value: &Value) -> (&'static str, Raw) {
        let text = || Raw::Bytes(value.to_string().into_bytes());
        if field.by_bytes {
            let raw = match value {
                Value::Text(text) => Raw::Bytes(text.clone().into_bytes()),
                _ => text(),
            };
            return ("CAST(? AS BINARY)", raw);
        }
        match value {
            Value::Number(number) => {
                match (number.parse::<i64>(), number.parse::<u64>(), field.column.type_name.as_str()) {
                    (.., "double" | "float") => ("?", Raw::Double(number.parse().unwrap_or(f64::NAN))),
                    (Ok(number), ..) => ("?", Raw::Int(number)),
                    (_, Ok(number), _) => ("?", Raw::UInt(number)),
                    _ => ("CAST(? AS DECIMAL(65, 30))", text()),
                }
            }
            Value::Text(text) => ("?", Raw::Bytes(text.clone().into_bytes())),
            Value::Bytes(bytes) => {
                let digits = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                ("UNHEX(?)", Raw::Bytes(digits.into_bytes()))
            }
            Value::Time(micros) => match Value::sql_time(*micros) {
                Some(time) => ("CAST(? AS DATETIME(6))", Raw::Bytes(time.into_bytes())),
                None => ("?", text()),
            },
            _ => ("?", text()),
        }
    }

    fn condition(&self, range: &Range) -> (String, Vec<Raw>) {
        let list = |parts: Vec<String>| match parts.as_slice() {
            [one] => one.clone(),
            all => format!("({})", all.join(", ")),
        };
        let columns = list(self.task.key.iter().map(Self::sorted).collect());
        let (mut conditions, mut parameters) = (Vec::new(), Vec::new());
        for (key, operator) in [(&range.from, ">="), (&range.to, "<")] {
            let Some(key) = key else { continue };
            let bounds = self.task.key.iter().zip(key).map(|(field, value)| Self::bound(field, value));
            let (marks, raw): (Vec<_>, Vec<_>) = bounds.map(|(mark, raw)| (mark.to_owned(), raw)).unzip();
            conditions.push(format!("{columns} {operator} {}", list(marks)));
            parameters.extend(raw);
        }
        let condition = if conditions.is_empty() { "TRUE".into() } else { conditions.join(" AND ") };
        (condition, parameters)
    }

    fn key(&self, row: &Row) -> Key {
        let value = |(index, field)| Self::value(field, row.as_ref(index).unwrap_or(&Raw::NULL));
        self.task.key.iter().enumerate().map(value).collect()
    }
}

impl Mysql {
    async fn begin(&mut self) -> Result<()> {
        for statement in [ISOLATION, SNAPSHOT] {
            self.conn.query_drop(statement).await.map_err(|error| failed("cannot begin a snapshot", &error))?;
        }
        Ok(())
    }

    async fn read(&mut self, doing: &str, sql: String, parameters: Vec<Raw>, mut each: impl FnMut(&Row)) -> Result<()> {
        let parameters = if parameters.is_empty() { Params::Empty } else { Params::Positional(parameters) };
        let mut rows = self.conn.exec_iter(sql, parameters).await.map_err(|error| failed(doing, &error))?;
        while let Some(row) = rows.next().await.map_err(|error| failed(doing, &error))? {
            each(&row);
        }
        Ok(())
    }

    /// Reads and hashes rows here; `each` gets them one by one.
    async fn read_rows(
        &mut self,
        range: &Range,
        limit: Option<usize>,
        mut each: impl FnMut(Key, RowHash),
    ) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let (condition, parameters) = layout.condition(range);
        let columns = layout.fields().map(|field| quoted(&field.column.name)).collect::<Vec<_>>().join(", ");
        let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
        let sql = format!("SELECT {columns} FROM {} WHERE {condition}{limit}", layout.name);
        let mut hasher = layout.hasher.clone();
        self.read(READING, sql, parameters, |row| {
            for (index, field) in layout.fields().enumerate() {
                Layout::value(field, row.as_ref(index).unwrap_or(&Raw::NULL)).encode(hasher.row());
            }
            each(layout.key(row), hasher.finish());
        })
        .await
    }
}

/// A row that the server could not hash, because it is longer than it lets a value be, must not count as equal.
fn unhashed() -> Error {
    Error::refused(
        "the server could not hash some rows: they are longer than its max_allowed_packet",
        "raise max_allowed_packet on both servers",
    )
}

#[async_trait]
impl Side for Mysql {
    async fn count(&mut self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.layout.name);
        let count = self.conn.query_first(sql).await.map_err(|error| failed("cannot count the rows", &error))?;
        Ok(count.unwrap_or(0))
    }

    async fn digest(&mut self, range: &Range) -> Result<Digest> {
        let mut digest = Digest::default();
        if self.layout.task.way != Way::Server {
            self.read_rows(range, None, |_, hash| digest.add(&hash)).await?;
            return Ok(digest);
        }
        let layout = Arc::clone(&self.layout);
        let (condition, parameters) = layout.condition(range);
        let half =
            |from| format!("CAST(coalesce(sum(CAST(conv(substr(h, {from}, 16), 16, 10) AS UNSIGNED)), 0) AS CHAR)");
        let sql = format!(
            "SELECT count(*), count(h), {}, {} FROM (SELECT {} AS h FROM {} WHERE {condition}) hashed",
            half(1),
            half(17),
            layout.server_hash(),
            layout.name
        );
        let parameters = std::iter::once(layout.nonce()).chain(parameters).collect();
        let mut found = None;
        self.read("cannot hash a range", sql, parameters, |row| {
            found = mysql_async::from_row_opt::<(u64, u64, String, String)>(row.clone()).ok();
        })
        .await?;
        let unreadable = || Error::new(Kind::Database, "unexpected_answer", "the server's sums cannot be read");
        let (rows, hashed, first, second) = found.ok_or_else(unreadable)?;
        if rows != hashed {
            return Err(unhashed());
        }
        let sum = |text: String| text.parse::<i128>().map_err(|_| unreadable());
        Ok(Digest { rows, hash: [sum(first)?, sum(second)?] })
    }

    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>> {
        let layout = Arc::clone(&self.layout);
        let (condition, parameters) = layout.condition(range);
        let step = rows.div_ceil(parts.max(1)).max(1);
        let names = layout.task.key.iter().map(|field| quoted(&field.column.name)).collect::<Vec<_>>().join(", ");
        let order = layout.task.key.iter().map(Layout::sorted).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT {names} FROM (SELECT {names}, row_number() OVER (ORDER BY {order}) - 1 AS whimbrel_row
             FROM {} WHERE {condition}) numbered WHERE whimbrel_row > 0 AND whimbrel_row % {step} = 0 ORDER BY whimbrel_row",
            layout.name
        );
        let mut keys = Vec::new();
        self.read("cannot cut a range", sql, parameters, |row| keys.push(layout.key(row))).await?;
        Ok(keys)
    }

    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>> {
        let mut found = Vec::new();
        if self.layout.task.way != Way::Server {
            self.read_rows(range, Some(limit), |key, hash| found.push((key, hash))).await?;
            return Ok(found);
        }
        let layout = Arc::clone(&self.layout);
        let (condition, parameters) = layout.condition(range);
        let names = layout.task.key.iter().map(|field| quoted(&field.column.name)).collect::<Vec<_>>().join(", ");
        let sql =
            format!("SELECT {names}, {} FROM {} WHERE {condition} LIMIT {limit}", layout.server_hash(), layout.name);
        let parameters = std::iter::once(layout.nonce()).chain(parameters).collect();
        let mut lost = false;
        self.read(READING, sql, parameters, |row| {
            let hash =
                row.get::<Option<String>, _>(layout.task.key.len()).flatten().and_then(|digits| row_hash(&digits));
            lost |= hash.is_none();
            found.push((layout.key(row), hash.unwrap_or_default()));
        })
        .await?;
        if lost { Err(unhashed()) } else { Ok(found) }
    }

    async fn refresh(&mut self) -> Result<()> {
        self.conn.query_drop("ROLLBACK").await.map_err(|error| failed("cannot end a snapshot", &error))?;
        self.begin().await
    }
}
