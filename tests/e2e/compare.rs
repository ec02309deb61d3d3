//! Rows of the targets compared with those of the source, one by one and column by column.
//!
//! PostgreSQL itself is the judge: every value is brought to text, read by the source's server as the column's type and
//! written again, so that equal values have equal text. What a target cannot hold by its nature (MongoDB's dates count
//! milliseconds) is taken off the source's value first, and nothing else.

use std::collections::BTreeMap;

use bson::spec::BinarySubtype;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A row in canonical text.
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
    ty: String,
    key: bool,
    /// Made by ALTER TABLE: rows from before need not have it at the target.
    added: bool,
}

/// What the rules of a target make of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Everything is kept.
    Exact,
    /// Timestamps to the millisecond, JSON numbers as numbers, `email` as the plugin mask-fields documents it.
    Mongodb,
}

impl Column {
    /// The canonical text of the expression `text`, which gives text that this column's type reads.
    fn canonical(&self, text: &str, rules: Rules) -> String {
        let instant = |ty: &str| {
            let read = format!(
                "CASE WHEN {text} LIKE '% milliseconds' THEN timestamp 'epoch' + ({text})::interval ELSE ({text})::{ty} END"
            );
            if rules == Rules::Mongodb { format!("date_trunc('milliseconds', {read})") } else { read }
        };
        match self.ty.as_str() {
            "timestamp without time zone" => format!("({})::text", instant("timestamp")),
            "timestamp with time zone" => format!("({})::text", instant("timestamptz AT TIME ZONE 'UTC'")),
            "date" => format!("({})::date::text", instant("timestamp")),
            "time with time zone" => format!("(({text})::timetz AT TIME ZONE 'UTC')::text"),
            "json" | "jsonb" => format!("({text})::jsonb::text"),
            "character" | "bpchar" => format!("rtrim({text})"),
            // A cast to these would cut what is too long, or needs a type that only the source has.
            "text" | "character varying" | "bit" | "bit varying" | "xml" | "mood" => text.to_owned(),
            ty => format!("({text})::{ty}::text"),
        }
    }
}

/// Compares a PostgreSQL database with the source; `Err` says what differs.
pub(crate) async fn with_postgres(source: &Client, target: &Client) -> Result<(), String> {
    for table in tables(source).await? {
        let expected = table.source_rows(source, Rules::Exact).await?;
        let there =
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1";
        let there = target.query(there, &[&table.name]).await.map_err(text)?;
        if there.is_empty() {
            return Err(format!("table {} is not at the target", table.name));
        }
        let there: Vec<String> = there.iter().map(|row| row.get(0)).collect();
        let mut columns = Vec::new();
        for column in &table.columns {
            if there.contains(&column.name) {
                columns.push(format!("\"{}\"::text", column.name));
            } else if column.added {
                columns.push("NULL::text".to_owned());
            } else {
                return Err(format!("column {}.{} is not at the target", table.name, column.name));
            }
        }
        let select = format!("SELECT {} FROM \"{}\"", columns.join(", "), table.name);
        let mut found = Vec::new();
        for message in target.simple_query(&select).await.map_err(text)? {
            if let SimpleQueryMessage::Row(row) = message {
                let value = |(at, column): (usize, &Column)| row.get(at).map(|value| column.point_notation(value));
                found.push(table.columns.iter().enumerate().map(value).collect());
            }
        }
        let found = table.canonical(source, found, Rules::Exact).await?;
        table.differences(&expected, &found).map_err(|why| format!("PostgreSQL, {why}"))?;
    }
    Ok(())
}

/// Compares a MongoDB database with the source; `Err` says what differs. `guarded`: documents carry the version that
/// at_least_once needs.
pub(crate) async fn with_mongodb(source: &Client, target: &mongodb::Database, guarded: bool) -> Result<(), String> {
    for table in tables(source).await? {
        let expected = table.source_rows(source, Rules::Mongodb).await?;
        let documents: Vec<Document> =
            async { target.collection(&table.name).find(doc! {}).await?.try_collect().await }
                .await
                .map_err(|e: mongodb::error::Error| e.to_string())?;
        let mut found = Vec::new();
        let mut ids = Vec::new();
        for document in documents {
            found.push(table.document(&document, guarded)?);
            ids.push(table.id(&document)?);
        }
        let found = table.canonical(source, found, Rules::Mongodb).await?;
        table.differences(&expected, &found).map_err(|why| format!("MongoDB, {why}"))?;
        // The key stands in `_id` as well.
        let keys = table.canonical(source, ids, Rules::Mongodb).await?;
        if keys.keys().ne(expected.keys()) {
            return Err(format!("MongoDB, {}: an _id is not the key: {:?}", table.name, keys.keys()));
        }
    }
    Ok(())
}

/// All tables of the source, from its catalog.
async fn tables(source: &Client) -> Result<Vec<Table>, String> {
    const COLUMNS: &str = "SELECT c.relname, a.attname, format_type(a.atttypid, NULL),
            EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
            a.attname = 'added'
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum";
    let mut tables: Vec<Table> = Vec::new();
    for row in source.query(COLUMNS, &[]).await.map_err(text)? {
        let name: String = row.get(0);
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table { name, columns: Vec::new() });
        }
        let column = Column { name: row.get(1), ty: row.get(2), key: row.get(3), added: row.get(4) };
        tables.last_mut().unwrap().columns.push(column);
    }
    assert!(!tables.is_empty(), "the source has no tables: nothing would be compared");
    Ok(tables)
}

impl Table {
    async fn source_rows(&self, source: &Client, rules: Rules) -> Result<Rows, String> {
        let mut columns = Vec::new();
        for column in &self.columns {
            let name = format!("\"{}\"", column.name);
            columns.push(if rules == Rules::Mongodb && column.name == "email" {
                // As mask-fields says: "Keeps the first character and the domain. What is no address becomes ***."
                format!(
                    "CASE WHEN {name} LIKE '_%@_%' THEN left({name}, 1) || '***@' || split_part({name}, '@', -1)
                          WHEN {name} IS NOT NULL THEN '***' END"
                )
            } else {
                format!("{name}::text")
            });
        }
        let select = format!("SELECT {} FROM \"{}\"", columns.join(", "), self.name);
        let mut rows = Vec::new();
        for message in source.simple_query(&select).await.map_err(text)? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
        }
        self.canonical(source, rows, rules).await
    }

    /// Has the source's server read and write every value as its column's type. Key columns alone when a row has no more.
    async fn canonical(&self, source: &Client, rows: Vec<Row>, rules: Rules) -> Result<Rows, String> {
        let count = rows.len();
        let keys: Vec<&Column> = self.columns.iter().filter(|column| column.key).collect();
        let whole = rows.first().is_none_or(|row| row.len() == self.columns.len());
        let columns: Vec<&Column> = if whole { self.columns.iter().collect() } else { keys };
        let mut by_column: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(count); columns.len()];
        for row in rows {
            for (values, value) in by_column.iter_mut().zip(row) {
                values.push(value);
            }
        }
        let arrays: Vec<String> = (1..=columns.len()).map(|at| format!("${at}::text[]")).collect();
        let names: Vec<String> = (1..=columns.len()).map(|at| format!("c{at}")).collect();
        let canonical: Vec<String> =
            columns.iter().zip(&names).map(|(column, name)| column.canonical(name, rules)).collect();
        let sql = format!(
            "SELECT {} FROM unnest({}) AS given({})",
            canonical.join(", "),
            arrays.join(", "),
            names.join(", ")
        );
        let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            by_column.iter().map(|values| values as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let answer = source.query(&sql, &parameters).await;
        let answer = answer.map_err(|e| format!("{}: a value is not of its column's type: {}", self.name, text(e)))?;
        let mut found = Rows::new();
        for row in answer {
            let value = |(at, column): (usize, &&Column)| {
                let value: Option<String> = row.get(at);
                let numbers = rules == Rules::Mongodb && matches!(column.ty.as_str(), "json" | "jsonb");
                if numbers { value.map(|json| numbers_as_numbers(&json)) } else { value }
            };
            let row: Row = columns.iter().enumerate().map(value).collect();
            let key =
                row.iter().zip(&columns).filter(|(_, column)| column.key).map(|(value, _)| value.clone()).collect();
            found.insert(key, row);
        }
        if found.len() == count { Ok(found) } else { Err(format!("{}: {count} rows, {} keys", self.name, found.len())) }
    }

    fn differences(&self, expected: &Rows, found: &Rows) -> Result<(), String> {
        /// So many are enough to see what is wrong.
        const SHOWN: usize = 5;
        let mut differences = Vec::new();
        for (key, row) in expected {
            match found.get(key) {
                None => differences.push(format!("{key:?} is missing")),
                Some(other) => {
                    for ((column, expected), found) in self.columns.iter().zip(row).zip(other) {
                        if expected != found {
                            let (expected, found) = (short(expected), short(found));
                            differences.push(format!("{key:?}.{}: expected {expected}, found {found}", column.name));
                        }
                    }
                }
            }
        }
        differences
            .extend(found.keys().filter(|key| !expected.contains_key(*key)).map(|key| format!("{key:?} is too many")));
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(SHOWN);
        Err(format!("table {}, {count} differences:\n  {}", self.name, differences.join("\n  ")))
    }

    /// The columns of a document as text that their types read.
    fn document(&self, document: &Document, guarded: bool) -> Result<Row, String> {
        for name in document.keys() {
            let known = self.columns.iter().any(|column| column.name == *name);
            if !known && name != "_id" && !(guarded && name == "_whimbrel") {
                return Err(format!("MongoDB, {}: a field {name} that the source does not have", self.name));
            }
        }
        let value = |column: &Column| match document.get(&column.name) {
            Some(value) => column.literal(value).map_err(|why| format!("{}.{}: {why}", self.name, column.name)),
            None if column.added => Ok(None),
            None => Err(format!("MongoDB, {}: a document without {}: {document}", self.name, column.name)),
        };
        self.columns.iter().map(value).collect()
    }

    /// The key columns from `_id`.
    fn id(&self, document: &Document) -> Result<Row, String> {
        let id = document.get("_id").ok_or("a document without _id")?;
        let keys: Vec<&Column> = self.columns.iter().filter(|column| column.key).collect();
        match keys.as_slice() {
            [key] => Ok(vec![key.literal(id)?]),
            keys => {
                let id = id.as_document().ok_or_else(|| format!("{}: _id is {id}", self.name))?;
                if id.keys().ne(keys.iter().map(|key| &key.name)) {
                    return Err(format!("{}: _id is {id}", self.name));
                }
                keys.iter().zip(id.values()).map(|(key, value)| key.literal(value)).collect()
            }
        }
    }
}

impl Column {
    /// A point that was stored as JSON, in PostgreSQL's notation; any other value as it is.
    fn point_notation(&self, value: &str) -> String {
        let point = if self.ty == "point" { serde_json::from_str::<serde_json::Value>(value).ok() } else { None };
        point.map_or_else(|| value.to_owned(), |point| format!("({},{})", point["x"], point["y"]))
    }

    /// A BSON value as text that the column's type reads; `Err` when its BSON type is not one for this column.
    fn literal(&self, value: &Bson) -> Result<Option<String>, String> {
        let ty = self.ty.as_str();
        // The type at the target is part of what is promised: a number kept as text would read the same otherwise.
        let fits = match value {
            Bson::Null => true,
            _ if matches!(ty, "json" | "jsonb") => true,
            Bson::Boolean(_) => ty == "boolean",
            Bson::Int32(_) => matches!(ty, "smallint" | "integer"),
            Bson::Int64(_) => ty == "bigint",
            Bson::Double(_) => matches!(ty, "real" | "double precision"),
            Bson::Decimal128(_) => matches!(ty, "numeric" | "money"),
            Bson::DateTime(_) => matches!(ty, "date" | "timestamp without time zone" | "timestamp with time zone"),
            Bson::Binary(binary) => match binary.subtype {
                BinarySubtype::Uuid => ty == "uuid",
                _ => ty == "bytea",
            },
            Bson::Array(_) => ty.ends_with("[]"),
            Bson::Document(_) => ty == "point",
            Bson::String(text) => match ty {
                "boolean" | "smallint" | "integer" | "bigint" | "real" | "double precision" | "uuid" | "bytea"
                | "point" => false,
                // More digits than Decimal128 has, or sent as text by the connector.
                "numeric" | "money" => !text.is_empty(),
                "date" | "timestamp without time zone" | "timestamp with time zone" => text.ends_with("infinity"),
                ty => !ty.ends_with("[]"),
            },
            _ => false,
        };
        if !fits {
            return Err(format!("{value:?} stands for a {ty}"));
        }
        Ok(match value {
            Bson::Null => None,
            value if matches!(ty, "json" | "jsonb") => Some(json(value).to_string()),
            Bson::Array(items) => Some(array(items)?),
            value => Some(scalar(value)?),
        })
    }
}

fn scalar(value: &Bson) -> Result<String, String> {
    Ok(match value {
        Bson::Boolean(value) => value.to_string(),
        Bson::Int32(value) => value.to_string(),
        Bson::Int64(value) => value.to_string(),
        Bson::Double(value) if value.is_infinite() => if *value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned(),
        Bson::Double(value) => format!("{value:?}"),
        Bson::Decimal128(value) => value.to_string(),
        Bson::String(value) => value.clone(),
        Bson::DateTime(value) => format!("{} milliseconds", value.timestamp_millis()),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => hex("", &binary.bytes),
        Bson::Binary(binary) => hex("\\x", &binary.bytes),
        Bson::Document(point) => {
            let part = |name: &str| point.get_f64(name).map_err(|e| format!("{name} of {point}: {e}"));
            format!("({:?},{:?})", part("x")?, part("y")?)
        }
        other => return Err(format!("no text for {other:?}")),
    })
}

fn hex(begin: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(begin.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// PostgreSQL's array notation.
fn array(items: &[Bson]) -> Result<String, String> {
    let mut texts = Vec::new();
    for item in items {
        texts.push(match item {
            Bson::Null => "NULL".to_owned(),
            Bson::DateTime(value) => format!("\"{}\"", value.try_to_rfc3339_string().map_err(|e| e.to_string())?),
            item => format!("\"{}\"", scalar(item)?.replace('\\', "\\\\").replace('"', "\\\"")),
        });
    }
    Ok(format!("{{{}}}", texts.join(",")))
}

/// A value of a JSON column as JSON again.
fn json(value: &Bson) -> serde_json::Value {
    match value {
        Bson::Document(fields) => fields.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        Bson::Array(items) => items.iter().map(json).collect(),
        Bson::Null => serde_json::Value::Null,
        Bson::Boolean(value) => (*value).into(),
        Bson::Int32(value) => (*value).into(),
        Bson::Int64(value) => (*value).into(),
        Bson::Double(value) => (*value).into(),
        Bson::Decimal128(value) => value.to_string().parse::<f64>().ok().into(),
        Bson::String(value) => value.as_str().into(),
        other => format!("not from JSON: {other:?}").into(),
    }
}

/// `1e3`, `1000` and `1000.0` are one number, and MongoDB keeps no trailing zeros.
fn numbers_as_numbers(json: &str) -> String {
    fn normal(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Number(number) => *value = number.as_f64().into(),
            serde_json::Value::Array(items) => items.iter_mut().for_each(normal),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(normal),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(json).unwrap();
    normal(&mut value);
    value.to_string()
}

fn short(value: &Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(value) => {
            let begin: String = value.chars().take(80).collect();
            if begin.len() < value.len() {
                format!("{begin:?}… ({} bytes)", value.len())
            } else {
                format!("{begin:?}")
            }
        }
    }
}

fn text(error: tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}
