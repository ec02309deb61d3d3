//! JSON and BSON: Extended JSON v2 (github.com/mongodb/specifications, extended-json) in both directions, as far as files and
//! the ledger need it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bson::{Bson, Document};
use serde_json::Value;

/// The wrappers of Extended JSON. `$regex` and `$options` are left alone: in a filter they are operators.
const WRAPPERS: [&str; 14] = [
    "$oid",
    "$date",
    "$numberInt",
    "$numberLong",
    "$numberDouble",
    "$numberDecimal",
    "$binary",
    "$uuid",
    "$timestamp",
    "$regularExpression",
    "$minKey",
    "$maxKey",
    "$symbol",
    "$code",
];

/// BSON of Extended JSON. Whole numbers become the smallest integer type that holds them.
///
/// # Errors
/// A sentence, when a wrapper such as `{"$oid": …}` holds something else than it says.
pub fn to_bson(value: &Value) -> Result<Bson, String> {
    match value {
        Value::Null => Ok(Bson::Null),
        Value::Bool(flag) => Ok(Bson::Boolean(*flag)),
        Value::String(text) => Ok(Bson::String(text.clone())),
        Value::Number(number) => Ok(match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Bson::Int64(whole), Bson::Int32),
            None => Bson::Double(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::Array(items) => items.iter().map(to_bson).collect::<Result<_, _>>().map(Bson::Array),
        Value::Object(fields) => {
            if let Some(wrapper) = fields.keys().find(|key| WRAPPERS.contains(&key.as_str())) {
                let read = serde_json::from_value::<Bson>(value.clone());
                // What is no wrapper after all comes back as the document it was.
                return match read {
                    Ok(bson) if !matches!(bson, Bson::Document(_)) => Ok(bson),
                    _ => Err(format!("`{wrapper}` does not hold what Extended JSON has there")),
                };
            }
            fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), to_bson(value)?)))
                .collect::<Result<_, _>>()
                .map(Bson::Document)
        }
    }
}

/// The same for a document.
///
/// # Errors
/// As [`to_bson`], or it is something else.
pub(super) fn to_document(value: &Value) -> Result<Document, String> {
    match to_bson(value)? {
        Bson::Document(document) => Ok(document),
        _ => Err("it must be a document (`{field: value}`)".to_owned()),
    }
}

/// Extended JSON of BSON, such that [`to_bson`] gives the same value of the same type.
pub(super) fn to_json(value: &Bson) -> Value {
    match value {
        Bson::Document(document) => document.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
        Bson::Array(items) => items.iter().map(to_json).collect(),
        Bson::Int32(number) => (*number).into(),
        // A small one would be read as the smaller type.
        Bson::Int64(number) if i32::try_from(*number).is_ok() => serde_json::json!({"$numberLong": number.to_string()}),
        Bson::Int64(number) => (*number).into(),
        Bson::Double(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => serde_json::json!({"$numberDouble": double_name(*number)}),
        },
        // Serde would make it a list of numbers.
        Bson::Binary(binary) => {
            let (base64, kind) = (BASE64.encode(&binary.bytes), u8::from(binary.subtype));
            serde_json::json!({"$binary": {"base64": base64, "subType": format!("{kind:02x}")}})
        }
        other => serde_json::to_value(other).unwrap_or(Value::Null),
    }
}

fn double_name(number: f64) -> &'static str {
    match number {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// Whether two values are one key: numbers by value, as an index compares them, whatever their types.
pub(super) fn same_key(one: &Bson, other: &Bson) -> bool {
    match (number(Some(one)), number(Some(other))) {
        (Some(one), Some(other)) => one == other || (one.is_nan() && other.is_nan()),
        _ => to_json(one) == to_json(other),
    }
}

/// A number the server gave in whichever type it liked.
pub(super) fn number(value: Option<&Bson>) -> Option<f64> {
    match value? {
        Bson::Int32(number) => Some(f64::from(*number)),
        #[expect(clippy::cast_precision_loss, reason = "counts and sizes, far below 2^53")]
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        Bson::Decimal128(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// The same for a count.
pub(super) fn count(value: Option<&Bson>) -> u64 {
    match value {
        Some(Bson::Int32(number)) => u64::try_from(*number).unwrap_or(0),
        Some(Bson::Int64(number)) => u64::try_from(*number).unwrap_or(0),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and counts are not negative"
        )]
        Some(Bson::Double(number)) => *number as u64,
        _ => 0,
    }
}

/// A count as it is kept here.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extended_json_becomes_what_it_says_and_back() {
        let cases = [
            (json!(1), Bson::Int32(1)),
            (json!(-1), Bson::Int32(-1)),
            (json!(4_294_967_296_i64), Bson::Int64(4_294_967_296)),
            (json!({"$numberLong": "5"}), Bson::Int64(5)),
            (json!(5.0), Bson::Double(5.0)),
            (json!(0.5), Bson::Double(0.5)),
            (json!({"$oid": "64b0c0ffee0123456789abcd"}), Bson::ObjectId("64b0c0ffee0123456789abcd".parse().unwrap())),
            (json!({"$date": {"$numberLong": "1000"}}), Bson::DateTime(bson::DateTime::from_millis(1000))),
            (json!({"$numberDecimal": "1.50"}), Bson::Decimal128("1.50".parse().unwrap())),
            (json!({"$numberDouble": "NaN"}), Bson::Double(f64::NAN)),
            (
                json!({"$binary": {"base64": "AQI=", "subType": "04"}}),
                Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![1, 2] }),
            ),
            (json!({"$timestamp": {"t": 1, "i": 2}}), Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 })),
            (json!({"$minKey": 1}), Bson::MinKey),
        ];
        for (json, bson) in cases {
            let read = to_bson(&json).unwrap();
            assert_eq!(format!("{read:?}"), format!("{bson:?}"));
            assert_eq!(to_json(&bson), json, "{bson:?}");
        }
        assert_eq!(to_bson(&json!({"$numberLong": "5"})).unwrap(), Bson::Int64(5));
        assert_eq!(
            to_bson(&json!({"$date": "2026-01-31T00:00:00Z"})).unwrap(),
            Bson::DateTime(bson::DateTime::from_millis(1_769_817_600_000))
        );
    }

    #[test]
    fn operators_stay_operators() {
        let filter = json!({"name": {"$regex": "^a", "$options": "i"}, "n": {"$gt": 3}});
        let bson = to_document(&filter).unwrap();
        assert_eq!(bson.get_document("name").unwrap().get_str("$regex").unwrap(), "^a");
    }

    #[test]
    fn a_wrapper_with_something_else_inside_is_refused() {
        for value in
            [json!({"$oid": "xyz"}), json!({"$date": []}), json!({"$numberLong": "a"}), json!({"a": [{"$oid": 1}]})]
        {
            assert!(to_bson(&value).is_err(), "{value}");
        }
    }
}
