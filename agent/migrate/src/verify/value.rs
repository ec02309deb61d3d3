//! One form for the values of all databases, in which a row of one can be compared with its copy in another.
//!
//! | What | Compares by |
//! |---|---|
//! | integers, decimals, floating point, booleans (0 and 1) | value: `1`, `1.0` and `1.00` are the same; a floating-point number is the shortest decimal that reads as it |
//! | text, names of enums, what has no form of its own here (intervals, addresses, …) | bytes of its UTF-8, unchanged |
//! | binary data | bytes |
//! | timestamps, dates | microseconds since 1970 in UTC, a date being its midnight; milliseconds (rounded down) where one side is MongoDB, which keeps no more |
//! | UUIDs | their text in lower case, however they are kept |
//! | JSON, arrays, documents | structure: order of names and space do not count, numbers by value |
//! | NULL, a missing field | the same |
//!
//! Where one side has no types of its own (SQLite) or keeps text, the type of the other side says how it is read.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::decimal;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// NULL, or a field that is not there.
    Null,
    /// A number as [`decimal::canonical`] writes it, or `NaN`, `Infinity`, `-Infinity`.
    Number(String),
    /// Text.
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// Microseconds since 1970, UTC.
    Time(i64),
    /// A list.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
    /// A MongoDB value that has no other form, as a document with the one field "".
    Bson(Vec<u8>),
}

/// Documents may nest as deep as MongoDB lets them; what nests deeper is compared as text.
const DEPTH: usize = 100;

impl Value {
    /// An integer.
    #[must_use]
    pub fn integer(number: impl Into<i128>) -> Self {
        Self::Number(number.into().to_string())
    }

    /// A floating-point number.
    #[must_use]
    pub fn double(number: f64) -> Self {
        match number {
            _ if number.is_nan() => Self::Number("NaN".into()),
            _ if number.is_infinite() => Self::Number(if number > 0.0 { "Infinity" } else { "-Infinity" }.into()),
            _ => Self::number(&format!("{number:e}")),
        }
    }

    /// A number as a database writes it; text if it is none.
    #[must_use]
    pub fn number(text: &str) -> Self {
        let special = match text.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
            "nan" => Some("NaN"),
            "inf" | "infinity" => Some(if text.starts_with('-') { "-Infinity" } else { "Infinity" }),
            _ => None,
        };
        match special.map(str::to_owned).or_else(|| decimal::canonical(text)) {
            Some(number) => Self::Number(number),
            None => Self::Text(text.to_owned()),
        }
    }

    /// Nanoseconds do not count: no database here keeps them.
    #[must_use]
    pub fn time(at: OffsetDateTime) -> Self {
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1000)).map_or(Self::Null, Self::Time)
    }

    /// A timestamp or date as SQL databases write it: with a `T` or a space, with or without fraction and zone. None: it is
    /// something else.
    #[must_use]
    pub fn time_from(text: &str) -> Option<Self> {
        let mut text = text.trim().replacen(' ', "T", 1);
        if !text.contains('T') {
            text.push_str("T00:00:00");
        }
        let zone = text.rfind(['+', '-']).filter(|at| Some(*at) > text.find('T'));
        match zone.map(|at| text.len() - at) {
            Some(3) => text.push_str(":00"),
            None if !text.ends_with(['Z', 'z']) => text.push('Z'),
            _ => {}
        }
        OffsetDateTime::parse(&text, &Rfc3339).ok().map(Self::time)
    }

    /// Parts of a date to a time; none for a date that does not exist, such as MySQL's `0000-00-00`.
    #[must_use]
    pub fn civil(date: (i32, u8, u8), time: (u8, u8, u8, u32)) -> Option<Self> {
        let month = time::Month::try_from(date.1).ok()?;
        let day = Date::from_calendar_date(date.0, month, date.2).ok()?;
        let clock = time::Time::from_hms_micro(time.0, time.1, time.2, time.3).ok()?;
        Some(Self::time(PrimitiveDateTime::new(day, clock).assume_utc()))
    }

    /// JSON; none if it is not, or nests too deep.
    #[must_use]
    pub fn json(text: &str) -> Option<Self> {
        Self::json_within(serde_json::from_str(text).ok()?, DEPTH)
    }

    fn json_within(raw: &RawValue, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        let text = raw.get();
        // Numbers stay as written: as a float, two that differ far behind the point would be the same.
        Some(match text.as_bytes().first()? {
            b'{' => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
                let field = |(name, raw)| Some((name, Self::json_within(raw, depth)?));
                Self::Map(fields.into_iter().map(field).collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(|raw| Self::json_within(raw, depth)).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            b'n' => Self::Null,
            b't' => Self::integer(1),
            b'f' => Self::integer(0),
            _ => Self::number(text),
        })
    }

    /// Appends bytes that no other value has, and after which another value may follow.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let piece = |tag: u8, bytes: &[u8], out: &mut Vec<u8>| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Null => out.push(0),
            Self::Number(number) => piece(1, number.as_bytes(), out),
            Self::Text(text) => piece(2, text.as_bytes(), out),
            Self::Bytes(bytes) => piece(3, bytes, out),
            Self::Time(micros) => piece(4, &micros.to_le_bytes(), out),
            Self::List(items) => {
                piece(5, &(items.len() as u64).to_le_bytes(), out);
                items.iter().for_each(|item| item.encode(out));
            }
            Self::Map(fields) => {
                piece(6, &(fields.len() as u64).to_le_bytes(), out);
                for (name, value) in fields {
                    piece(2, name.as_bytes(), out);
                    value.encode(out);
                }
            }
            Self::Bson(bytes) => piece(7, bytes, out),
        }
    }

    /// A time as SQL databases read it.
    #[must_use]
    pub fn sql_time(micros: i64) -> Option<String> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()?;
        let (date, time) = (at.date(), at.time());
        (1..=9999).contains(&date.year()).then(|| {
            format!(
                "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
                date.year(),
                u8::from(date.month()),
                date.day(),
                time.hour(),
                time.minute(),
                time.second(),
                time.microsecond()
            )
        })
    }
}

impl fmt::Display for Value {
    /// As in a report on keys: text as it is, except for control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => text.chars().try_for_each(|c| match c.is_control() {
                true => write!(f, "{}", c.escape_default()),
                false => write!(f, "{c}"),
            }),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Time(micros) => match Self::sql_time(*micros) {
                Some(time) => write!(f, "{time} UTC"),
                None => write!(f, "{micros} us"),
            },
            Self::List(items) => write!(f, "[{}]", list(&mut items.iter().map(ToString::to_string))),
            Self::Map(fields) => {
                write!(f, "{{{}}}", list(&mut fields.iter().map(|(name, value)| format!("{name}: {value}"))))
            }
            Self::Bson(bytes) => {
                let document =
                    bson::RawDocument::from_bytes(bytes).ok().and_then(|raw| bson::Document::try_from(raw).ok());
                match document.as_ref().and_then(|document| document.get("")) {
                    Some(value) => write!(f, "{value}"),
                    None => write!(f, "{}", Self::Bytes(bytes.clone())),
                }
            }
        }
    }
}

/// What a column holds, as far as its database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Exact numbers, double precision, booleans.
    Number,
    /// Single precision.
    Single,
    /// Text, and whatever is compared as text.
    Text,
    /// Binary data.
    Bytes,
    /// Timestamps and dates.
    Time,
    /// UUIDs.
    Uuid,
    /// JSON, arrays.
    Json,
    /// Each value says what it is: MongoDB.
    Document,
    /// The database does not tell a time or JSON from text: SQLite.
    Loose,
}

/// How the values of a column are brought into the one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// As which class they are compared.
    pub class: Class,
    own: Class,
    millis: bool,
}

impl Form {
    /// For a column of class `own` that is compared with one of class `other`.
    #[must_use]
    pub fn new(own: Class, other: Class) -> Self {
        let rank = |class: &Class| match class {
            Class::Single => 7,
            Class::Time => 6,
            Class::Uuid => 5,
            Class::Json => 4,
            Class::Number => 3,
            Class::Bytes => 2,
            Class::Text => 1,
            Class::Document | Class::Loose => 0,
        };
        let class = if rank(&own) >= rank(&other) { own } else { other };
        Self { class, own, millis: own == Class::Document || other == Class::Document }
    }

    /// The value in the one form.
    #[must_use]
    pub fn apply(&self, value: Value) -> Value {
        match (self.class, value) {
            (Class::Single, Value::Number(number)) => match number.parse::<f32>() {
                Ok(single) if single.is_finite() => Value::number(&format!("{single:e}")),
                _ => Value::Number(number),
            },
            (Class::Time, Value::Text(text)) => match Value::time_from(&text) {
                Some(time) => self.apply(time),
                None => Value::Text(text),
            },
            (_, Value::Time(micros)) if self.millis => Value::Time(micros.div_euclid(1000) * 1000),
            (Class::Uuid, Value::Text(text)) => match uuid::Uuid::parse_str(&text) {
                Ok(uuid) => Value::Text(uuid.to_string()),
                Err(_) => Value::Text(text),
            },
            (Class::Uuid, Value::Bytes(bytes)) => match uuid::Uuid::from_slice(&bytes) {
                Ok(uuid) => Value::Text(uuid.to_string()),
                Err(_) => Value::Bytes(bytes),
            },
            (Class::Json, Value::Text(text)) if self.own != Class::Document && self.own != Class::Json => {
                Value::json(&text).unwrap_or(Value::Text(text))
            }
            (_, value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn what_different_databases_write_for_one_value_is_one_value() {
        let number = |own, other, value| Form::new(own, other).apply(value);
        assert_eq!(Value::number("1.00"), Value::integer(1));
        assert_eq!(Value::number("0.1"), Value::double(0.1));
        assert_eq!(Value::double(-0.0), Value::number("0.000"));
        assert_eq!(Value::double(f64::NAN), Value::number("NaN"));
        assert_eq!(Value::double(f64::NEG_INFINITY), Value::number("-inf"));
        // A single-precision column holds 0.1; its copy as a double holds what that is as a double.
        let copy = Value::double(f64::from(0.1f32));
        assert_eq!(
            number(Class::Single, Class::Document, Value::number("0.1")),
            number(Class::Document, Class::Single, copy)
        );
        let times =
            ["2026-01-31 10:20:30.123456+00", "2026-01-31T10:20:30.123456Z", "2026-01-31 11:20:30.123456+01:00"];
        for time in times {
            assert_eq!(Value::time_from(time), Some(Value::Time(1_769_854_830_123_456)), "{time}");
            let millis = Form::new(Class::Time, Class::Document).apply(text(time));
            assert_eq!(millis, Value::Time(1_769_854_830_123_000), "{time}");
        }
        assert_eq!(Value::time_from("1969-12-31"), Some(Value::Time(-86_400_000_000)));
        let before = Form::new(Class::Document, Class::Time).apply(Value::Time(-1));
        assert_eq!(before, Value::Time(-1000), "rounded down, not towards 1970");
        let uuid = "6f1ed002-ab59-4b8e-9d4e-2e0f4a9fb9f1";
        let bytes = uuid::Uuid::parse_str(uuid).unwrap().as_bytes().to_vec();
        assert_eq!(Form::new(Class::Bytes, Class::Uuid).apply(Value::Bytes(bytes)), text(uuid));
        assert_eq!(Form::new(Class::Text, Class::Uuid).apply(text(&uuid.to_uppercase())), text(uuid));
        let json = Form::new(Class::Loose, Class::Json).apply(text(r#"{"b": [1.0, null], "a": true}"#));
        assert_eq!(Some(json), Value::json(r#"{"a":true,"b":[1,null]}"#));
    }

    #[test]
    fn what_is_not_the_same_stays_apart() {
        let pairs = [
            (Value::Null, text("")),
            (text("1"), Value::integer(1)),
            (text("a"), Value::Bytes(b"a".to_vec())),
            (text("\u{e9}"), text("e\u{301}")),
            (Value::json("1.00000000000000000001").unwrap(), Value::integer(1)),
            (Value::json("[1,[2]]").unwrap(), Value::json("[[1],2]").unwrap()),
            (Value::number("123456789012345678901234567890"), Value::number("123456789012345678901234567891")),
            (Value::Time(1), Value::integer(1)),
        ];
        for (one, other) in pairs {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            one.encode(&mut a);
            other.encode(&mut b);
            assert_ne!(a, b, "{one} and {other}");
        }
    }

    #[test]
    fn json_that_nests_without_end_is_text() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(Value::json(&deep), None);
        assert_eq!(Form::new(Class::Text, Class::Json).apply(text(&deep)), text(&deep));
    }

    #[test]
    fn keys_are_shown_on_one_line() {
        assert_eq!(text("a\nb\u{1b}[31m").to_string(), "a\\nb\\u{1b}[31m");
        assert_eq!(Value::Bytes(vec![0, 255]).to_string(), "0x00ff");
        assert_eq!(Value::Time(0).to_string(), "1970-01-01 00:00:00.000000 UTC");
    }

    proptest! {
        #[test]
        fn rows_that_differ_have_bytes_that_differ(one in values(), other in values()) {
            let bytes = |row: &[Value]| {
                let mut out = Vec::new();
                row.iter().for_each(|value| value.encode(&mut out));
                out
            };
            prop_assert_eq!(one == other, bytes(&one) == bytes(&other));
        }

        #[test]
        fn no_text_is_too_odd(text in ".*") {
            let _ = (Value::number(&text), Value::time_from(&text), Value::json(&text), Value::Text(text).to_string());
        }
    }

    fn values() -> impl Strategy<Value = Vec<Value>> {
        let one = prop_oneof![
            Just(Value::Null),
            (0i64..3).prop_map(Value::integer),
            "[ab]{0,2}".prop_map(Value::Text),
            prop::collection::vec(0u8..2, 0..2).prop_map(Value::Bytes),
            prop::collection::vec((0i64..2).prop_map(Value::integer), 0..2).prop_map(Value::List),
        ];
        prop::collection::vec(one, 0..3)
    }
}
