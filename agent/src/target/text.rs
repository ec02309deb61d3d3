//! Values as text and as JSON, the same for every target that keeps what it has no type of its own for.
//!
//! The text of each value is one PostgreSQL reads back as the same value, and SQLite's date functions understand.

use std::fmt::Write as _;

use crate::batch::write_json_string;
use crate::decode::value::{Value, civil_from_days};

const DAY_MICROS: i64 = 86_400_000_000;

/// Appends a value as text; nothing for null.
pub fn write_text(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unset | Value::Null => {}
        Value::Text(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        Value::Decimal(digits) | Value::Bits(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"\\x");
            write_hex(bytes, out);
        }
        Value::Geometry { wkb: Some(wkb), srid, .. } => {
            // Extended well-known binary with its reference system in front, as PostGIS reads it.
            if let Some(srid) = srid {
                out.extend_from_slice(format!("SRID={srid};").as_bytes());
            }
            write_hex(wkb, out);
        }
        Value::Array(_) | Value::Struct(_) | Value::Geometry { wkb: None, .. } => write_json(value, out),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Date { .. }
        | Value::Time { .. }
        | Value::Timestamp { .. }
        | Value::Infinity { .. }
        | Value::Interval { .. }
        | Value::Uuid(_) => out.extend_from_slice(short(value).as_bytes()),
    }
}

/// Appends a value as JSON. Bytes become base64, and numbers a JSON reader would round become strings.
pub fn write_json(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unset | Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(_) | Value::Int(_) => write_text(value, out),
        Value::Float(float) if float.is_finite() => write_text(value, out),
        Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        Value::Text(text) => write_json_string(text.as_bytes(), out),
        Value::Bytes(bytes) => write_base64(bytes, out),
        Value::Array(values) => {
            out.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_json(value, out);
            }
            out.push(b']');
        }
        Value::Struct(fields) => write_object(fields.iter().map(|(name, value)| (*name, value)), out),
        Value::Geometry { wkb, srid, point } => {
            let wkb = wkb.clone().map(Value::Bytes);
            let srid = srid.map(Value::Int);
            let (x, y) = point.map_or((None, None), |(x, y)| (Some(Value::Float(x)), Some(Value::Float(y))));
            let fields = [("x", x), ("y", y), ("wkb", wkb), ("srid", srid)];
            write_object(fields.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?))), out);
        }
        Value::Float(_)
        | Value::Decimal(_)
        | Value::Bits(_)
        | Value::Date { .. }
        | Value::Time { .. }
        | Value::Timestamp { .. }
        | Value::Infinity { .. }
        | Value::Interval { .. }
        | Value::Uuid(_) => {
            out.push(b'"');
            write_text(value, out);
            out.push(b'"');
        }
    }
}

fn write_object<'a, 'b: 'a>(fields: impl Iterator<Item = (&'a str, &'a Value<'b>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_json_string(name.as_bytes(), out);
        out.push(b':');
        write_json(value, out);
    }
    out.push(b'}');
}

fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    use base64::Engine as _;
    out.push(b'"');
    out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
}

/// The text of values without payload.
fn short(value: &Value<'_>) -> String {
    match value {
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(float) if float.is_nan() => "NaN".to_owned(),
        Value::Float(float) if float.is_infinite() => if *float < 0.0 { "-Infinity" } else { "Infinity" }.to_owned(),
        // The shortest text that reads back as the same float.
        Value::Float(float) => format!("{float:?}"),
        Value::Date { days } => {
            let (text, era) = date(*days);
            text + era
        }
        Value::Time { micros, offset } => {
            let sign = if *micros < 0 { "-" } else { "" };
            format!("{sign}{}{}", time(micros.unsigned_abs()), offset.map(zone).unwrap_or_default())
        }
        Value::Timestamp { micros, zoned } => {
            let (day, era) = date(micros.div_euclid(DAY_MICROS));
            let clock = time(micros.rem_euclid(DAY_MICROS).unsigned_abs());
            format!("{day} {clock}{}{era}", if *zoned { "Z" } else { "" })
        }
        Value::Infinity { negative } => if *negative { "-infinity" } else { "infinity" }.to_owned(),
        Value::Interval { months, days, micros } => {
            let sign = if *micros < 0 { "-" } else { "" };
            let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
            format!("P{months}M{days}DT{sign}{seconds}{fraction}S")
        }
        Value::Uuid(bytes) => uuid::Uuid::from_bytes(*bytes).hyphenated().to_string(),
        _ => String::new(),
    }
}

/// Year, month, day; and what comes at the very end when the year is before 1.
fn date(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// Hours may pass 24: MySQL's times are spans.
fn time(micros: u64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{fraction:06}");
    }
    text
}

fn zone(offset: i32) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let seconds = offset.unsigned_abs();
    let mut text = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if !seconds.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_text_and_a_json() {
        let timestamp = |micros, zoned| Value::Timestamp { micros, zoned };
        let cases: Vec<(Value<'_>, &str, &str)> = vec![
            (Value::Null, "", "null"),
            (Value::Bool(true), "true", "true"),
            (Value::Int(-7), "-7", "-7"),
            (Value::Float(0.1), "0.1", "0.1"),
            (Value::Float(1e300), "1e300", "1e300"),
            (Value::Float(f64::NAN), "NaN", r#""NaN""#),
            (Value::Float(f64::NEG_INFINITY), "-Infinity", r#""-Infinity""#),
            (Value::Text("a\"b\n".into()), "a\"b\n", r#""a\"b\n""#),
            (Value::Bytes(vec![0, 255]), r"\x00ff", r#""AP8=""#),
            (Value::Decimal("-12.30".into()), "-12.30", r#""-12.30""#),
            (Value::Date { days: 19_782 }, "2024-02-29", r#""2024-02-29""#),
            (Value::Date { days: -735_160 }, "0044-03-15 BC", r#""0044-03-15 BC""#),
            (Value::Date { days: 2_932_897 }, "10000-01-01", r#""10000-01-01""#),
            (Value::Time { micros: 1, offset: None }, "00:00:00.000001", r#""00:00:00.000001""#),
            (Value::Time { micros: -3_020_399_000_000, offset: None }, "-838:59:59", r#""-838:59:59""#),
            (Value::Time { micros: 0, offset: Some(-5400) }, "00:00:00-01:30", r#""00:00:00-01:30""#),
            (timestamp(-1, false), "1969-12-31 23:59:59.999999", r#""1969-12-31 23:59:59.999999""#),
            (timestamp(0, true), "1970-01-01 00:00:00Z", r#""1970-01-01 00:00:00Z""#),
            (Value::Infinity { negative: true }, "-infinity", r#""-infinity""#),
            (
                Value::Interval { months: 14, days: -3, micros: -1_500_000 },
                "P14M-3DT-1.500000S",
                r#""P14M-3DT-1.500000S""#,
            ),
            (
                Value::Uuid([0xab; 16]),
                "abababab-abab-abab-abab-abababababab",
                r#""abababab-abab-abab-abab-abababababab""#,
            ),
            (Value::Json("{\"a\":1}".into()), "{\"a\":1}", "{\"a\":1}"),
            (Value::Bits("101".into()), "101", r#""101""#),
            (
                Value::Geometry { wkb: Some(vec![1, 2]), srid: Some(4326), point: Some((1.0, 2.5)) },
                "SRID=4326;0102",
                r#"{"x":1.0,"y":2.5,"wkb":"AQI=","srid":4326}"#,
            ),
            (Value::Array(vec![Value::Int(1), Value::Null]), "[1,null]", "[1,null]"),
            (Value::Struct(vec![("a", Value::Text("x".into()))]), r#"{"a":"x"}"#, r#"{"a":"x"}"#),
        ];
        for (value, text, json) in cases {
            let (mut as_text, mut as_json) = (Vec::new(), Vec::new());
            write_text(&value, &mut as_text);
            write_json(&value, &mut as_json);
            assert_eq!(String::from_utf8(as_text).unwrap(), text, "{value:?}");
            assert_eq!(String::from_utf8(as_json.clone()).unwrap(), json, "{value:?}");
            serde_json::from_slice::<serde_json::Value>(&as_json).unwrap();
        }
    }
}
