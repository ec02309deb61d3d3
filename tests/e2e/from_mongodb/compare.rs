//! Documents of the targets compared with those of the source, value by value.
//!
//! MongoDB: byte by byte, so type, order of fields and bits of every value count. PostgreSQL: the document is there as
//! Extended JSON in a `jsonb` column, which keeps neither the order of fields nor the sign of a zero; everything else must
//! say the value and its type.

use std::collections::BTreeMap;

use bson::{Binary, Bson, DateTime, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::Database;
use serde_json::Value;
use tokio_postgres::Client;

/// The collections of a database, without the agent's own.
async fn collections(database: &Database) -> Result<Vec<String>, String> {
    let names = database.list_collection_names().await.map_err(|e| e.to_string())?;
    Ok(names.into_iter().filter(|name| !name.starts_with("whimbrel_") && !name.starts_with("system.")).collect())
}

async fn documents(database: &Database, collection: &str) -> Result<Vec<RawDocumentBuf>, String> {
    let found = database.collection::<RawDocumentBuf>(collection).find(doc! {}).await.map_err(|e| e.to_string())?;
    found.try_collect().await.map_err(|e| e.to_string())
}

/// Documents by what their `_id` prints as.
fn by_id(documents: Vec<RawDocumentBuf>) -> BTreeMap<String, RawDocumentBuf> {
    documents.into_iter().map(|document| (format!("{:?}", document.get("_id")), document)).collect()
}

/// Compares another MongoDB database with the source; `Err` says what differs.
pub(crate) async fn with_mongodb(source: &Database, target: &Database, guarded: bool) -> Result<(), String> {
    let names = collections(source).await?;
    assert!(!names.is_empty(), "the source has no collections: nothing would be compared");
    for name in names {
        let expected = by_id(documents(source, &name).await?);
        let mut found = documents(target, &name).await?;
        if guarded {
            for document in &mut found {
                let version = document.get("_whimbrel").ok().flatten().is_some();
                assert!(version, "{name}: at_least_once keeps a version in each document: {document:?}");
                // Without it, in the same order.
                let rest = document.iter().map(Result::unwrap).filter(|(name, _)| *name != "_whimbrel");
                let mut plain = RawDocumentBuf::new();
                rest.for_each(|(name, value)| plain.append(name, value.to_owned()));
                *document = plain;
            }
        }
        let found = by_id(found);
        for (id, document) in &expected {
            match found.get(id) {
                None => return Err(format!("MongoDB, {name}: {id} is missing; there are {:?}", found.keys())),
                Some(other) if other.as_bytes() != document.as_bytes() => {
                    return Err(format!("MongoDB, {name}: expected {document:?}\nfound {other:?}"));
                }
                Some(_) => {}
            }
        }
        if let Some(id) = found.keys().find(|id| !expected.contains_key(*id)) {
            return Err(format!("MongoDB, {name}: {id} is too many"));
        }
    }
    Ok(())
}

/// Compares the tables of a PostgreSQL database with the source; `Err` says what differs.
pub(crate) async fn with_postgres(source: &Database, target: &Client) -> Result<(), String> {
    for name in collections(source).await? {
        let rows = format!("SELECT id::text, document::text FROM \"{name}\"");
        let rows = target.query(&rows, &[]).await.map_err(|e| format!("PostgreSQL, {name}: {e:?}"))?;
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let mut found: Vec<(Value, Value)> = rows.iter().map(|row| (json(row.get(0)), json(row.get(1)))).collect();
        for document in documents(source, &name).await? {
            let document = Document::try_from(document).unwrap();
            let id = document.get("_id").unwrap();
            let Some(at) = found.iter().position(|(key, _)| means(key, id)) else {
                return Err(format!("PostgreSQL, {name}: {id} is missing; there are {found:?}"));
            };
            let (_, row) = found.swap_remove(at);
            differs(&Bson::Document(document.clone()), &row)
                .map_or(Ok(()), |why| Err(format!("PostgreSQL, {name}, {id}: {why}")))?;
        }
        if let Some((key, _)) = found.first() {
            return Err(format!("PostgreSQL, {name}: {key} is too many"));
        }
    }
    Ok(())
}

/// Whether a key, as relaxed Extended JSON, is this value: it does not tell the width of whole numbers.
fn means(key: &Value, id: &Bson) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    match id {
        Bson::Document(fields) => key.as_object().is_some_and(|object| {
            // jsonb keeps no order of names.
            object.len() == fields.len()
                && fields.iter().all(|(name, id)| object.get(name).is_some_and(|key| means(key, id)))
        }),
        Bson::Int32(int) => key.as_i64() == Some(i64::from(*int)),
        Bson::Int64(long) => key.as_i64() == Some(*long),
        Bson::DateTime(date) => match text("$date") {
            Some(iso) => DateTime::parse_rfc3339_str(iso).is_ok_and(|key| key == *date),
            // Before 1970.
            None => key["$date"]["$numberLong"].as_str() == Some(&date.timestamp_millis().to_string()),
        },
        Bson::Binary(binary) => {
            let bytes = base64(key["$binary"]["base64"].as_str().unwrap_or_default());
            bytes.as_ref() == Some(&binary.bytes)
                && key["$binary"]["subType"] == format!("{:02x}", u8::from(binary.subtype))
        }
        other => differs(other, key).is_none(),
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    Binary::from_base64(text, None).ok().map(|binary| binary.bytes)
}

/// What is wrong with JSON that should say this value.
fn differs(value: &Bson, json: &Value) -> Option<String> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let fits = match value {
        Bson::Document(fields) => {
            let Some(object) = json.as_object() else { return Some(format!("{json} for a document")) };
            if let Some(name) = object.keys().find(|name| !fields.contains_key(name)) {
                return Some(format!("a field {name} that the source does not have"));
            }
            return fields.iter().find_map(|(name, value)| match object.get(name) {
                None => Some(format!("no field {name}")),
                Some(json) => differs(value, json).map(|why| format!("{name}: {why}")),
            });
        }
        Bson::Array(items) => {
            let Some(array) = json.as_array().filter(|array| array.len() == items.len()) else {
                return Some(format!("{json} for {value}"));
            };
            return items.iter().zip(array).find_map(|(item, json)| differs(item, json));
        }
        Bson::Double(double) if double.is_finite() => json.is_f64() && json.as_f64() == Some(*double),
        Bson::Double(double) => text("$numberDouble").is_some_and(|word| match word {
            "NaN" => double.is_nan(),
            "Infinity" => *double == f64::INFINITY,
            word => word == "-Infinity" && *double == f64::NEG_INFINITY,
        }),
        Bson::String(string) => json.as_str() == Some(string),
        Bson::Boolean(boolean) => json.as_bool() == Some(*boolean),
        Bson::Null => json.is_null(),
        Bson::Int32(int) => json.is_i64() && json.as_i64() == Some(i64::from(*int)),
        Bson::Int64(long) => text("$numberLong") == Some(&long.to_string()),
        Bson::Decimal128(decimal) => text("$numberDecimal") == Some(&decimal.to_string()),
        Bson::ObjectId(id) => text("$oid") == Some(&id.to_hex()),
        Bson::DateTime(date) => json["$date"].as_i64() == Some(date.timestamp_millis()),
        Bson::Timestamp(at) => {
            json["$timestamp"]["t"].as_u64() == Some(at.time.into())
                && json["$timestamp"]["i"].as_u64() == Some(at.increment.into())
        }
        Bson::Binary(binary) => {
            text("$binary").and_then(base64).as_ref() == Some(&binary.bytes)
                && text("$type") == Some(&format!("{:02x}", u8::from(binary.subtype)))
        }
        Bson::RegularExpression(regex) => {
            text("$regex") == Some(regex.pattern.as_str()) && text("$options") == Some(regex.options.as_str())
        }
        Bson::JavaScriptCode(code) => text("$code") == Some(code),
        Bson::JavaScriptCodeWithScope(code) => {
            text("$code") == Some(&code.code) && differs(&code.scope.clone().into(), &json["$scope"]).is_none()
        }
        Bson::MinKey => json["$minKey"] == 1,
        Bson::MaxKey => json["$maxKey"] == 1,
        other => panic!("no such type in the fixture: {other:?}"),
    };
    (!fits).then(|| format!("expected {value:?}, found {json}"))
}
