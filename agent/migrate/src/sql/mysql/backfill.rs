//! Backfills: batches by a unique key. Keys are bound as the values they are; columns whose values are compared in another
//! way than they are sorted cannot be gone by.

use std::collections::{BTreeMap, HashMap};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Params, Row, Value};
use serde_json::json;

use super::client::error;
use super::ledger::odd;
use crate::error::{Error, Result};
use crate::sql::backfill::{KeyColumn, Writer, path, quote};
use crate::sql::{Backfill, Dialect};

/// The key of a row.
pub(super) type Key = Vec<Value>;

/// A backfill against the table as it is.
pub(super) struct Batches<'a> {
    backfill: &'a Backfill,
    writer: Writer<'a>,
}

/// Of enumerations the order is another than that of their words, floating numbers and times with zones are not exact.
const UNFIT: [&str; 8] = ["enum", "set", "float", "double", "bit", "json", "timestamp", "geometry"];

impl<'a> Batches<'a> {
    /// Looks at the table: the key must be one by which rows cannot be passed over.
    pub(super) async fn new(conn: &mut Conn, database: &str, backfill: &'a Backfill) -> Result<Self> {
        let names = path(&backfill.table, Dialect::Mysql);
        let (schema, table) = match names.as_slice() {
            [table] => (database, table.as_str()),
            [schema, table] => (schema.as_str(), table.as_str()),
            _ => {
                let message = format!("{} is no name of a table", backfill.table);
                return Err(Error::refused(message, "write `table` or `database.table`"));
            }
        };
        let wrong = |cause: mysql_async::Error| failed(backfill, &cause);
        let text = "SELECT lower(column_name), lower(data_type), is_nullable = 'YES', coalesce(numeric_precision, 0),
                coalesce(numeric_scale, 0)
            FROM information_schema.columns WHERE table_schema = ? AND table_name = ?";
        let columns: Vec<(String, String, bool, u64, u64)> = conn.exec(text, (schema, table)).await.map_err(wrong)?;
        if columns.is_empty() {
            let message = format!("there is no table {}", backfill.table);
            return Err(Error::refused(message, "name one that is there at this step"));
        }
        let text = "SELECT index_name, lower(column_name), sub_part IS NULL AND column_name IS NOT NULL
            FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0";
        let indexed: Vec<(String, Option<String>, bool)> = conn.exec(text, (schema, table)).await.map_err(wrong)?;
        let mut unique: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
        for (index, column, whole) in indexed {
            let columns = unique.entry(index).or_insert_with(|| Some(Vec::new()));
            // A part of a column, or an expression, says nothing of the columns.
            *columns = columns.take().zip(column.filter(|_| whole)).map(|(mut columns, column)| {
                columns.push(column);
                columns
            });
        }
        let lower: Vec<String> = backfill.key.iter().map(|column| column.to_lowercase()).collect();
        let is_unique = unique.values().flatten().any(|columns| columns.iter().all(|column| lower.contains(column)));
        if !is_unique {
            return Err(Error::refused(
                format!("the columns {} are no unique key of {}", backfill.key.join(", "), backfill.table),
                "name the columns of the primary key or of a unique index in `key`",
            ));
        }
        let (mut key, mut nullable) = (Vec::new(), Vec::new());
        for (name, lower) in backfill.key.iter().zip(&lower) {
            let Some((_, kind, null, precision, scale)) = columns.iter().find(|(column, ..)| column == lower) else {
                let message = format!("{} has no column {name}", backfill.table);
                return Err(Error::refused(message, "name the columns of the primary key in `key`"));
            };
            if UNFIT.contains(&kind.as_str()) {
                return Err(Error::refused(
                    format!("{}.{name} is of type {kind}, which cannot be gone by in batches", backfill.table),
                    "name a unique key of numbers, text or dates in `key`",
                ));
            }
            let column = quote(name, Dialect::Mysql);
            if *null {
                nullable.push(column.clone());
            }
            let bind = match kind.as_str() {
                // As text it would be compared as a floating number.
                "decimal" => ("CAST(".to_owned(), format!(" AS DECIMAL({precision}, {scale}))")),
                _ => (String::new(), String::new()),
            };
            key.push(KeyColumn { read: column.clone(), column, bind });
        }
        let writer = Writer::new(backfill, Dialect::Mysql, key);
        if let Some(sql) = writer.without_key(&nullable) {
            let found: Option<Row> = conn.query_first(sql).await.map_err(wrong)?;
            if found.is_some() {
                return Err(Error::refused(
                    format!("{} has rows whose key is NULL, which no batch would reach", backfill.table),
                    "give them a key first, or name another in `key`",
                ));
            }
        }
        Ok(Self { backfill, writer })
    }

    /// How many rows are still to be changed.
    pub(super) async fn count(&self, conn: &mut Conn, after: Option<&Key>) -> Result<u64> {
        let count: Option<u64> = conn
            .exec_first(self.writer.count(after.is_some()), values(after, None))
            .await
            .map_err(|c| failed(self.backfill, &c))?;
        count.ok_or_else(|| odd("cannot count the rows"))
    }

    /// The last key of the next batch.
    pub(super) async fn end(&self, conn: &mut Conn, after: Option<&Key>, rows: u64) -> Result<Option<Key>> {
        let text = self.writer.end_of_batch(after.is_some(), rows);
        let row: Option<Row> =
            conn.exec_first(text, values(after, None)).await.map_err(|c| failed(self.backfill, &c))?;
        Ok(row.map(Row::unwrap))
    }

    /// Changes a batch.
    pub(super) async fn update(&self, conn: &mut Conn, after: Option<&Key>, upto: &Key) -> Result<u64> {
        let text = self.writer.update(after.is_some());
        conn.exec_drop(text, values(after, Some(upto))).await.map_err(|cause| failed(self.backfill, &cause))?;
        Ok(conn.affected_rows())
    }
}

fn values(after: Option<&Key>, upto: Option<&Key>) -> Params {
    let all = after.into_iter().chain(upto).flatten();
    let named: HashMap<Vec<u8>, Value> =
        all.enumerate().map(|(index, value)| (format!("k{index}").into_bytes(), value.clone())).collect();
    if named.is_empty() { Params::Empty } else { Params::Named(named) }
}

pub(super) fn failed(backfill: &Backfill, cause: &mysql_async::Error) -> Error {
    error(format_args!("the backfill of {} failed", backfill.table), cause)
}

/// A key as the ledger keeps it; none: of a type that no key has.
pub(super) fn to_json(key: &Key) -> Option<serde_json::Value> {
    let one = |value: &Value| {
        Some(match value {
            Value::NULL => serde_json::Value::Null,
            Value::Int(number) => json!(number),
            Value::UInt(number) => json!(number),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => json!(text),
                Err(_) => json!({"blob": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()}),
            },
            Value::Date(year, month, day, hour, minute, second, micros) => {
                json!({"date": [year, month, day, hour, minute, second, micros]})
            }
            Value::Time(negative, days, hours, minutes, seconds, micros) => {
                json!({"time": [u32::from(*negative), days, hours, minutes, seconds, micros]})
            }
            Value::Float(_) | Value::Double(_) => return None,
        })
    };
    key.iter().map(one).collect::<Option<Vec<_>>>().map(serde_json::Value::Array)
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(value: &serde_json::Value) -> Option<Key> {
    fn numbers<const N: usize>(value: &serde_json::Value) -> Option<[u32; N]> {
        let numbers = value.as_array()?.iter().map(|one| one.as_u64().and_then(|one| u32::try_from(one).ok()));
        numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
    }
    let small = |number: u32| u8::try_from(number).ok();
    let one = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Some(Value::NULL),
        serde_json::Value::Number(number) => {
            number.as_i64().map(Value::Int).or_else(|| number.as_u64().map(Value::UInt))
        }
        serde_json::Value::String(text) => Some(Value::Bytes(text.clone().into_bytes())),
        serde_json::Value::Object(fields) => {
            if let Some(date) = fields.get("date") {
                let [year, month, day, hour, minute, second, micros] = numbers(date)?;
                let year = u16::try_from(year).ok()?;
                return Some(Value::Date(
                    year,
                    small(month)?,
                    small(day)?,
                    small(hour)?,
                    small(minute)?,
                    small(second)?,
                    micros,
                ));
            }
            if let Some(time) = fields.get("time") {
                let [negative, days, hours, minutes, seconds, micros] = numbers(time)?;
                return Some(Value::Time(negative != 0, days, small(hours)?, small(minutes)?, small(seconds)?, micros));
            }
            let hex = fields.get("blob")?.as_str()?;
            let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
            (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>().map(Value::Bytes)
        }
        _ => None,
    };
    value.as_array()?.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_were_written() {
        let key = vec![
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Bytes("a'b".into()),
            Value::Bytes(vec![0, 255]),
            Value::Date(2026, 1, 31, 23, 59, 59, 123_456),
            Value::Time(true, 34, 22, 59, 59, 1),
            Value::NULL,
        ];
        let text = to_json(&key).unwrap().to_string();
        assert_eq!(from_json(&serde_json::from_str(&text).unwrap()), Some(key));
        for wrong in [
            json!([{"date": [1, 2]}]),
            json!([{"blob": "0"}]),
            json!([1.5]),
            json!({}),
            json!([{"time": [0, 0, 300, 0, 0, 0]}]),
        ] {
            assert_eq!(from_json(&wrong), None, "{wrong}");
        }
    }
}
