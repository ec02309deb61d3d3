//! MongoDB Extended JSON v2 (specifications repository, `source/extended-json`), relaxed and canonical, as Debezium's MongoDB
//! connector writes it: an object whose first name begins with `$` may stand for one BSON value. The older spellings of the
//! Java driver's strict mode, in which the connector writes documents (`$date` as a number, `$binary` with `$type`), are read
//! too. What is not recognised stays an object.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::Decimal128;
use bson::oid::ObjectId;
use serde_json::{Map, Value};

use super::Bad;
use super::json::Json;
use super::writer::{Tag, Writer};

/// Writes the object that begins here as the value it stands for, or as an object.
pub(super) fn value(json: &mut Json<'_>, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
    let text = json.slice()?;
    // Parsed as a tree only after a `$` was seen: these objects are small, but for a stray one that then stays an object.
    if let Ok(Value::Object(object)) = serde_json::from_str(text) {
        if let Some(tag) = special(&object, out) {
            return Ok(tag);
        }
        if let Some(tag) = code_with_scope(json, &object, depth, out)? {
            return Ok(tag);
        }
    }
    let mut object = json.inner(text);
    let tag = object.plain_object(depth, out)?;
    json.lost_with(&object);
    Ok(tag)
}

fn special(object: &Map<String, Value>, out: &mut Writer) -> Option<Tag> {
    let (name, value) = object.iter().next()?;
    match (object.len(), name.as_str()) {
        (1, "$oid") => {
            let id = ObjectId::parse_str(value.as_str()?).ok()?;
            out.raw(&id.bytes());
            Some(Tag::ObjectId)
        }
        (1, "$numberInt") => Some(out.int32(value.as_str()?.parse().ok()?)),
        (1, "$numberLong") => Some(out.int64(value.as_str()?.parse().ok()?)),
        (1, "$numberDouble") => {
            let number = match value.as_str()? {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                text => text.parse().ok()?,
            };
            Some(out.double(number))
        }
        (1, "$numberDecimal") => {
            out.raw(&Decimal128::from_str(value.as_str()?).ok()?.bytes());
            Some(Tag::Decimal128)
        }
        (1, "$date") => Some(out.datetime(date(value)?)),
        (1, "$uuid") => {
            let hex: String = value.as_str()?.chars().filter(|c| *c != '-').collect();
            let bytes = u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?;
            Some(out.binary(4, &bytes.to_be_bytes()))
        }
        (1, "$timestamp") => {
            let part = |name| value.get(name)?.as_u64().and_then(|n| u32::try_from(n).ok());
            Some(out.timestamp(part("t")?, part("i")?))
        }
        (1, "$minKey") => Some(Tag::MinKey),
        (1, "$maxKey") => Some(Tag::MaxKey),
        // Deprecated types, as every driver reads them today.
        (1, "$undefined") => Some(Tag::Null),
        (1, "$symbol") => Some(out.string(value.as_str()?)),
        (1, "$code") => {
            out.string(value.as_str()?);
            Some(Tag::Code)
        }
        (1, "$binary") => binary(value.get("base64")?, value.get("subType")?, out),
        (2, "$binary") => binary(value, object.get("$type")?, out),
        (2, "$type") => binary(object.get("$binary")?, value, out),
        (1, "$regularExpression") => regex(value.get("pattern")?, value.get("options")?, out),
        (2, "$regex") => regex(value, object.get("$options")?, out),
        (2, "$options") => regex(object.get("$regex")?, value, out),
        _ => None,
    }
}

/// JavaScript with its variables: a length, the code, a document.
fn code_with_scope(
    json: &Json<'_>,
    object: &Map<String, Value>,
    depth: usize,
    out: &mut Writer,
) -> Result<Option<Tag>, Bad> {
    let (2, Some(Value::String(code)), Some(scope @ Value::Object(_))) =
        (object.len(), object.get("$code"), object.get("$scope"))
    else {
        return Ok(None);
    };
    let mut inside = Writer::default();
    inside.string(code);
    let scope = scope.to_string();
    json.inner(&scope).plain_object(depth, &mut inside)?;
    let inside = inside.into_bytes();
    // Lengths past `i32` cannot come up, as for documents.
    out.raw(&i32::try_from(inside.len() + 4).unwrap_or(i32::MAX).to_le_bytes());
    out.raw(&inside);
    Ok(Some(Tag::CodeWithScope))
}

fn date(value: &Value) -> Option<i64> {
    match value {
        Value::Number(millis) => millis.as_i64(),
        Value::Object(long) => long.get("$numberLong")?.as_str()?.parse().ok(),
        Value::String(text) => {
            let time = bson::DateTime::parse_rfc3339_str(text).ok()?;
            Some(time.timestamp_millis())
        }
        _ => None,
    }
}

fn binary(data: &Value, subtype: &Value, out: &mut Writer) -> Option<Tag> {
    let data = STANDARD.decode(data.as_str()?).ok()?;
    let subtype = match subtype {
        Value::String(hex) => u8::from_str_radix(hex, 16).ok()?,
        number => u8::try_from(number.as_u64()?).ok()?,
    };
    if subtype == 2 {
        // The old binary type holds its length once more inside.
        let mut old = i32::try_from(data.len()).ok()?.to_le_bytes().to_vec();
        old.extend_from_slice(&data);
        return Some(out.binary(2, &old));
    }
    Some(out.binary(subtype, &data))
}

fn regex(pattern: &Value, options: &Value, out: &mut Writer) -> Option<Tag> {
    let (pattern, options) = (pattern.as_str()?, options.as_str()?);
    if pattern.contains('\0') || options.contains('\0') {
        return None;
    }
    // The server wants the options in alphabetical order.
    let mut sorted: Vec<char> = options.chars().collect();
    sorted.sort_unstable();
    let options: String = sorted.into_iter().collect();
    for part in [pattern, &options] {
        out.raw(part.as_bytes());
        out.raw(&[0]);
    }
    Some(Tag::Regex)
}
