//! Backfills: batches by a unique key, each its own transaction. SQLite's values have types of their own, so keys are bound
//! as the values they are.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_json::json;

use super::error::error;
use crate::error::{Error, Result};
use crate::sql::backfill::{KeyColumn, Writer, path, quote};
use crate::sql::{Backfill, Dialect};

/// The names a table's row number goes by, if no column has them.
const ROW_NUMBER: [&str; 3] = ["rowid", "oid", "_rowid_"];

/// The key of a row.
pub(super) type Key = Vec<Value>;

/// A backfill against the table as it is.
pub(super) struct Batches<'a> {
    writer: Writer<'a>,
}

impl<'a> Batches<'a> {
    /// Looks at the table: the key must be one by which rows cannot be passed over.
    pub(super) fn new(connection: &Connection, backfill: &'a Backfill) -> Result<Self> {
        let (unique, nullable) = shape(connection, backfill)?;
        let mut key: Vec<_> = backfill.key.iter().map(|column| column.to_lowercase()).collect();
        key.sort();
        // What holds a unique key is unique.
        let is_unique = unique.iter().any(|columns| columns.iter().all(|column| key.binary_search(column).is_ok()));
        if !is_unique {
            return Err(Error::refused(
                format!("the columns {} are no unique key of {}", backfill.key.join(", "), backfill.table),
                "name the columns of the primary key or of a unique index in `key`, or `rowid`",
            ));
        }
        let column = |name: &String| {
            let column = quote(name, Dialect::Sqlite);
            KeyColumn { read: column.clone(), column, bind: (String::new(), String::new()) }
        };
        let writer = Writer::new(backfill, Dialect::Sqlite, backfill.key.iter().map(column).collect());
        if let Some(sql) = writer.without_key(&nullable) {
            let found = connection.prepare(&sql).and_then(|mut statement| statement.exists([]));
            if found.map_err(|cause| failed(backfill, &cause))? {
                return Err(Error::refused(
                    format!("{} has rows whose key is NULL, which no batch would reach", backfill.table),
                    "give them a key first, or name another in `key`",
                ));
            }
        }
        Ok(Self { writer })
    }

    /// How many rows are still to be changed.
    pub(super) fn count(&self, connection: &Connection, after: Option<&Key>) -> rusqlite::Result<u64> {
        let values = params_from_iter(after.into_iter().flatten());
        let count = connection.query_row(&self.writer.count(after.is_some()), values, |row| row.get::<_, i64>(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The last key of the next batch.
    pub(super) fn end(&self, connection: &Connection, after: Option<&Key>, rows: u64) -> rusqlite::Result<Option<Key>> {
        let mut statement = connection.prepare_cached(&self.writer.end_of_batch(after.is_some(), rows))?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(after.into_iter().flatten()))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        (0..columns).map(|index| row.get::<_, Value>(index)).collect::<rusqlite::Result<_>>().map(Some)
    }

    /// Changes a batch.
    pub(super) fn update(&self, connection: &Connection, after: Option<&Key>, upto: &Key) -> rusqlite::Result<u64> {
        let mut statement = connection.prepare_cached(&self.writer.update(after.is_some()))?;
        let changed = statement.execute(params_from_iter(after.into_iter().flatten().chain(upto)))?;
        Ok(changed as u64)
    }
}

pub(super) fn failed(backfill: &Backfill, cause: &rusqlite::Error) -> Error {
    error(format_args!("the backfill of {} failed", backfill.table), cause)
}

/// Columns, in lower case, that are unique together.
type Unique = Vec<Vec<String>>;

/// The unique keys of the table, and which columns of the backfill's key may be NULL (quoted).
fn shape(connection: &Connection, backfill: &Backfill) -> Result<(Unique, Vec<String>)> {
    let names = path(&backfill.table, Dialect::Sqlite);
    let (schema, table) = match names.as_slice() {
        [table] => ("main", table.as_str()),
        [schema, table] => (schema.as_str(), table.as_str()),
        _ => {
            return Err(Error::refused(
                format!("{} is no name of a table", backfill.table),
                "write `table` or `schema.table`",
            ));
        }
    };
    let read = || {
        let mut statement =
            connection.prepare("SELECT lower(name), \"notnull\", pk, lower(type) FROM pragma_table_info(?1, ?2)")?;
        let columns = statement
            .query_map([table, schema], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut statement = connection.prepare(
            "SELECT l.name, lower(i.name) FROM pragma_index_list(?1, ?2) l, pragma_index_info(l.name, ?2) i
            WHERE l.\"unique\" AND NOT l.partial ORDER BY l.name, i.seqno",
        )?;
        let indexed = statement
            .query_map([table, schema], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok((columns, indexed))
    };
    let (columns, indexed) = read().map_err(|cause| failed(backfill, &cause))?;
    if columns.is_empty() {
        return Err(Error::refused(
            format!("there is no table {}", backfill.table),
            "name one that is there at this step",
        ));
    }
    let mut unique: Unique = Vec::new();
    let primary: Vec<_> = columns.iter().filter(|(_, _, pk, _)| *pk > 0).map(|(name, ..)| name.clone()).collect();
    let is_number = |name: &str| matches!(&columns.iter().filter(|c| c.2 > 0).collect::<Vec<_>>()[..], [(only, _, _, kind)] if only == name && kind == "integer");
    let mut of_index: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for (index, column) in indexed {
        match of_index.last_mut() {
            // An expression has no name, and what it is is not looked at.
            Some((name, columns)) if *name == index => {
                *columns = columns.take().zip(column).map(|(mut columns, column)| {
                    columns.push(column);
                    columns
                });
            }
            _ => of_index.push((index, column.map(|column| vec![column]))),
        }
    }
    unique.extend(of_index.into_iter().filter_map(|(_, columns)| columns));
    let row_number = |name: &str| ROW_NUMBER.contains(&name) && !columns.iter().any(|(column, ..)| column == name);
    let mut nullable = Vec::new();
    for column in &backfill.key {
        let lower = column.to_lowercase();
        match columns.iter().find(|(name, ..)| *name == lower) {
            Some((_, not_null, ..)) if *not_null || is_number(&lower) => {}
            Some(_) => nullable.push(quote(column, Dialect::Sqlite)),
            None if row_number(&lower) => unique.push(vec![lower]),
            None => {
                return Err(Error::refused(
                    format!("{} has no column {column}", backfill.table),
                    "name the columns of the primary key in `key`",
                ));
            }
        }
    }
    if !primary.is_empty() {
        unique.push(primary);
    }
    Ok((unique, nullable))
}

/// A key as the ledger keeps it.
pub(super) fn to_json(key: &Key) -> serde_json::Value {
    let one = |value: &Value| match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => json!(number),
        // Bit by bit, since decimals may be rounded.
        Value::Real(number) => json!({"real": format!("{:016x}", number.to_bits())}),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!({"blob": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()}),
    };
    key.iter().map(one).collect()
}

/// Reads what [`to_json`] wrote.
pub(super) fn from_json(value: &serde_json::Value) -> Option<Key> {
    let one = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Some(Value::Null),
        serde_json::Value::Number(number) => number.as_i64().map(Value::Integer),
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Object(fields) => match (fields.get("real"), fields.get("blob")) {
            (Some(bits), _) => {
                u64::from_str_radix(bits.as_str()?, 16).ok().map(|bits| Value::Real(f64::from_bits(bits)))
            }
            (_, Some(hex)) => {
                let hex = hex.as_str()?;
                let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>().map(Value::Blob)
            }
            _ => None,
        },
        _ => None,
    };
    value.as_array()?.iter().map(one).collect()
}

/// A value for JSON that is read by others: numbers and text as they are, bytes in hexadecimal.
pub(super) fn plain(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_were_written() {
        let key = vec![
            Value::Integer(i64::MIN),
            Value::Real(0.1 + 0.2),
            Value::Text("a'b".to_owned()),
            Value::Blob(vec![0, 255]),
            Value::Null,
        ];
        let text = to_json(&key).to_string();
        assert_eq!(from_json(&serde_json::from_str(&text).unwrap()), Some(key));
        assert_eq!(from_json(&json!([{"blob": "0"}])), None);
        assert_eq!(from_json(&json!({})), None);
    }

    #[test]
    fn a_key_must_be_unique_and_there() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE a (id INTEGER PRIMARY KEY, b TEXT UNIQUE, c INT NOT NULL, d INT NOT NULL, UNIQUE (c, d));
                CREATE TABLE w (x TEXT, y TEXT, PRIMARY KEY (x, y)) WITHOUT ROWID;
                CREATE UNIQUE INDEX partly ON a (c) WHERE d > 0; CREATE UNIQUE INDEX computed ON a (lower(b), c);
                INSERT INTO a VALUES (1, NULL, 1, 1)",
            )
            .unwrap();
        let refused = |table: &str, key: &[&str]| {
            let backfill = Backfill {
                table: table.to_owned(),
                key: key.iter().map(|column| (*column).to_owned()).collect(),
                set: "c = 1".to_owned(),
                filter: None,
                batch: None,
            };
            Batches::new(&connection, &backfill).err().map(|error| error.message)
        };
        for (table, key) in [
            ("a", &["id"][..]),
            ("a", &["ID"]),
            ("main.a", &["c", "d"]),
            ("a", &["d", "id"]),
            ("w", &["x", "y"]),
            ("a", &["rowid"]),
        ] {
            assert_eq!(refused(table, key), None, "{table} {key:?}");
        }
        for (table, key) in
            [("a", &["c"][..]), ("a", &["x"]), ("w", &["x"]), ("nowhere", &["id"]), ("a", &["b"]), ("w", &["rowid"])]
        {
            // A column `rowid` of a table that has none would be found out by SQLite when it runs.
            assert!(refused(table, key).is_some() || key == ["rowid"], "{table} {key:?}");
        }
    }
}
