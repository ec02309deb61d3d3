//! Rows of the targets compared with those of the source, one by one and column by column.
//!
//! Each server writes its own values as text, in a notation that all three share; equal values then have equal text. What a
//! target cannot hold by its nature (MongoDB's dates count milliseconds) is taken off the source's value first.

use std::collections::BTreeMap;

use bson::spec::BinarySubtype;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A row's columns as text.
type Row = Vec<Option<String>>;

/// Rows by their key.
type Rows = BTreeMap<Row, Row>;

/// A table of the source.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
    key: bool,
}

/// Types that are written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Long,
    UnsignedLong,
    Float,
    Double,
    Decimal,
    Bit,
    Bits(u32),
    Text,
    Bytes,
    Date,
    Time,
    /// Beyond a day: an interval at PostgreSQL.
    Span,
    Datetime,
    Timestamp,
    Geometry,
}

/// All tables of a database of the source.
pub(crate) async fn tables(source: &mut Conn, database: &str) -> Vec<Table> {
    let columns =
        "SELECT table_name, column_name, data_type, column_type, column_key = 'PRI' FROM information_schema.columns
        WHERE table_schema = ? ORDER BY table_name, ordinal_position";
    let mut tables: Vec<Table> = Vec::new();
    let rows: Vec<(String, String, String, String, bool)> = source.exec(columns, (database,)).await.unwrap();
    for (table, name, ty, full, key) in rows {
        let kind = match ty.as_str() {
            "tinyint" | "smallint" | "mediumint" | "year" => Kind::Int,
            "int" if full.contains("unsigned") => Kind::Long,
            "int" => Kind::Int,
            "bigint" if full.contains("unsigned") => Kind::UnsignedLong,
            "bigint" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "decimal" => Kind::Decimal,
            "bit" => match full.trim_start_matches("bit(").trim_end_matches(')').parse().unwrap() {
                1 => Kind::Bit,
                length => Kind::Bits(length),
            },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => Kind::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
            "date" => Kind::Date,
            "time" if table == "spans" => Kind::Span,
            "time" => Kind::Time,
            "datetime" => Kind::Datetime,
            "timestamp" => Kind::Timestamp,
            "geometry" | "point" | "linestring" => Kind::Geometry,
            other => panic!("no such type in the fixture: {other}"),
        };
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table { name: table, columns: Vec::new() });
        }
        tables.last_mut().unwrap().columns.push(Column { name, kind, key });
    }
    assert!(!tables.is_empty(), "the source has no tables: nothing would be compared");
    tables
}

impl Kind {
    /// As the source writes it. A date that is no day is null by the time it is in Kafka.
    fn at_source(self, c: &str) -> String {
        match self {
            Self::Float | Self::Double => format!("CAST({c} + 0e0 AS CHAR)"),
            Self::Bit => format!("CAST({c} + 0 AS CHAR)"),
            Self::Bits(length) => format!("LPAD(BIN({c} + 0), {length}, '0')"),
            Self::Bytes => format!("HEX({c})"),
            Self::Date | Self::Datetime | Self::Timestamp => {
                format!("IF(DAYOFMONTH({c}) = 0 OR MONTH({c}) = 0, NULL, CAST({c} AS CHAR))")
            }
            Self::Geometry => format!("HEX(ST_AsWKB({c}))"),
            _ => format!("CAST({c} AS CHAR)"),
        }
    }

    /// As PostgreSQL writes it.
    fn at_postgres(self, c: &str) -> String {
        match self {
            Self::Bit => format!("{c}::int::text"),
            Self::Bytes => format!("upper(encode({c}, 'hex'))"),
            Self::Span => format!("(extract(epoch FROM {c}) * 1000000)::bigint::text"),
            Self::Timestamp => format!("({c} AT TIME ZONE 'UTC')::text"),
            Self::Geometry => format!("upper(encode(decode({c}->>'wkb', 'base64'), 'hex'))"),
            _ => format!("{c}::text"),
        }
    }

    /// A column of PostgreSQL that holds it.
    fn postgres_type(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Long | Self::UnsignedLong => "bigint",
            Self::Float => "real",
            Self::Double => "double precision",
            Self::Decimal => "numeric",
            Self::Bit => "boolean",
            Self::Bits(_) => "bit varying",
            Self::Text => "text",
            Self::Bytes => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Span => "interval",
            Self::Datetime => "timestamp",
            Self::Timestamp => "timestamptz",
            Self::Geometry => "jsonb",
        }
    }

    /// One notation for what the servers write differently.
    fn canonical(self, text: String) -> String {
        match self {
            Self::Float => format!("{:?}", text.parse::<f64>().unwrap() as f32),
            Self::Double => format!("{:?}", text.parse::<f64>().unwrap()),
            Self::Span if text.contains(':') => span_micros(&text).to_string(),
            Self::Time | Self::Datetime | Self::Timestamp if text.contains('.') => {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => text,
        }
    }

    /// What MongoDB can hold of it.
    fn for_mongodb(self, text: String) -> String {
        match (self, text.split_once('.')) {
            (Self::Datetime | Self::Timestamp, Some((seconds, fraction))) => {
                let millis: String = fraction.chars().take(3).collect();
                self.canonical(format!("{seconds}.{millis}"))
            }
            _ => text,
        }
    }

    /// A BSON value in the same notation; `Err` when its type is not one for this column.
    fn of_bson(self, value: &Bson) -> Result<Option<String>, String> {
        let text = match (self, value) {
            (_, Bson::Null) => return Ok(None),
            (Self::Int, Bson::Int32(value)) => value.to_string(),
            (Self::Long | Self::UnsignedLong, Bson::Int64(value)) => value.to_string(),
            // `precise`
            (Self::UnsignedLong, Bson::Decimal128(value)) => value.to_string(),
            (Self::Float | Self::Double, Bson::Double(value)) => format!("{value:?}"),
            (Self::Decimal, Bson::Decimal128(value)) => value.to_string(),
            // More digits than Decimal128 has, or sent as text by the connector.
            (Self::Decimal | Self::Text, Bson::String(value)) => value.clone(),
            (Self::Bit, Bson::Boolean(value)) => i32::from(*value).to_string(),
            (Self::Bits(_) | Self::Time, Bson::String(value)) => value.clone(),
            (Self::Span, Bson::String(value)) => value.clone(),
            (Self::Bytes, Bson::Binary(binary)) if binary.subtype == BinarySubtype::Generic => hex(&binary.bytes),
            (Self::Date, Bson::DateTime(value)) => {
                value.try_to_rfc3339_string().unwrap().trim_end_matches("T00:00:00Z").to_owned()
            }
            (Self::Datetime | Self::Timestamp, Bson::DateTime(value)) => {
                value.try_to_rfc3339_string().unwrap().replace('T', " ").trim_end_matches('Z').to_owned()
            }
            (Self::Geometry, Bson::Document(shape)) => {
                hex(shape.get_binary_generic("wkb").map_err(|e| e.to_string())?)
            }
            (_, other) => return Err(format!("{other:?} stands for a {self:?}")),
        };
        Ok(Some(self.canonical(text)))
    }
}

impl Table {
    /// The statement that makes it at PostgreSQL, if it is not made otherwise.
    pub(crate) fn create_at_postgres(&self) -> Option<String> {
        let column = |column: &Column| format!("\"{}\" {}", column.name, column.kind.postgres_type());
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let keys: Vec<&str> = self.columns.iter().filter(|c| c.key).map(|c| c.name.as_str()).collect();
        let (name, columns, keys) = (&self.name, columns.join(", "), keys.join(", "));
        (name != "spans").then(|| format!("CREATE TABLE {name} ({columns}, PRIMARY KEY ({keys}))"))
    }

    fn keyed(&self, rows: Vec<Row>) -> Result<Rows, String> {
        let count = rows.len();
        let key = |row: &Row| -> Row {
            row.iter().zip(&self.columns).filter(|(_, column)| column.key).map(|(value, _)| value.clone()).collect()
        };
        let keyed: Rows = rows.into_iter().map(|row| (key(&row), row)).collect();
        if keyed.len() == count { Ok(keyed) } else { Err(format!("{}: {count} rows, {} keys", self.name, keyed.len())) }
    }

    fn canonical(&self, row: Row) -> Row {
        row.into_iter()
            .zip(&self.columns)
            .map(|(value, column)| value.map(|text| column.kind.canonical(text)))
            .collect()
    }

    /// What is to be at the targets.
    pub(crate) async fn source_rows(&self, source: &mut Conn) -> Result<Rows, String> {
        let columns: Vec<String> = self.columns.iter().map(|c| c.kind.at_source(&format!("`{}`", c.name))).collect();
        let select = format!("SELECT {} FROM `{}`", columns.join(", "), self.name);
        let rows: Vec<mysql_async::Row> = source.query(select).await.map_err(|e| e.to_string())?;
        let text = |row: mysql_async::Row| (0..row.len()).map(|at| row.get::<Option<String>, _>(at).unwrap()).collect();
        self.keyed(rows.into_iter().map(|row| self.canonical(text(row))).collect())
    }

    /// `Err` says what differs.
    pub(crate) async fn with_postgres(&self, expected: &Rows, target: &Client) -> Result<(), String> {
        let columns: Vec<String> =
            self.columns.iter().map(|c| c.kind.at_postgres(&format!("\"{}\"", c.name))).collect();
        let select = format!("SELECT {} FROM \"{}\"", columns.join(", "), self.name);
        let answer = target.simple_query(&select).await;
        let mut rows = Vec::new();
        for message in answer.map_err(|e| format!("PostgreSQL, {}: {:?}", self.name, e.as_db_error()))? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push(self.canonical((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()));
            }
        }
        self.differences(expected, &self.keyed(rows)?).map_err(|why| format!("PostgreSQL, {why}"))
    }

    /// `Err` says what differs.
    pub(crate) async fn with_mongodb(
        &self,
        expected: &Rows,
        target: &mongodb::Database,
        guarded: bool,
    ) -> Result<(), String> {
        let held = |row: &Row| -> Row {
            let held = |(value, column): (&Option<String>, &Column)| value.clone().map(|t| column.kind.for_mongodb(t));
            row.iter().zip(&self.columns).map(held).collect()
        };
        let expected: Rows = expected.iter().map(|(key, row)| (key.clone(), held(row))).collect();
        let found = target.collection::<Document>(&self.name).find(doc! {}).await.map_err(|e| e.to_string())?;
        let found: Vec<Document> = found.try_collect().await.map_err(|e| e.to_string())?;
        let rows: Result<Vec<Row>, String> = found.iter().map(|document| self.row_of(document, guarded)).collect();
        self.differences(&expected, &self.keyed(rows?)?).map_err(|why| format!("MongoDB, {why}"))
    }

    fn row_of(&self, document: &Document, guarded: bool) -> Result<Row, String> {
        for name in document.keys() {
            let known = self.columns.iter().any(|column| column.name == *name);
            if !known && name != "_id" && !(guarded && name == "_whimbrel") {
                return Err(format!("MongoDB, {}: a field {name} that the source does not have", self.name));
            }
        }
        let of = |column: &Column| {
            let value = match document.get(&column.name) {
                // Made by ALTER TABLE: rows from before need not have it.
                None if column.name == "added" => &Bson::Null,
                None => return Err(format!("MongoDB, {}: no {} in {document}", self.name, column.name)),
                Some(value) => value,
            };
            column.kind.of_bson(value).map_err(|why| format!("MongoDB, {}.{}: {why}", self.name, column.name))
        };
        self.columns.iter().map(of).collect()
    }

    fn differences(&self, expected: &Rows, found: &Rows) -> Result<(), String> {
        for (key, row) in expected {
            let Some(other) = found.get(key) else {
                return Err(format!("{}: {key:?} is missing of {}", self.name, expected.len()));
            };
            for ((column, expected), found) in self.columns.iter().zip(row).zip(other) {
                if expected != found {
                    let short = |value: &Option<String>| {
                        value.as_ref().map_or("NULL".to_owned(), |text| text.chars().take(100).collect())
                    };
                    let (expected, found) = (short(expected), short(found));
                    return Err(format!("{}: {key:?}.{}: expected {expected}, found {found}", self.name, column.name));
                }
            }
        }
        let odd = found.keys().find(|key| !expected.contains_key(*key));
        odd.map_or(Ok(()), |key| Err(format!("{}: {key:?} is too many", self.name)))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap().to_ascii_uppercase();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// `[-]HHH:MM:SS[.ffffff]` in microseconds.
fn span_micros(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    sign * (seconds * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().unwrap())
}
