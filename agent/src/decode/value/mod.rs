//! What a cell holds, once the connector's encoding is undone: the one reading of Debezium's types that all targets share.
//!
//! Pure: from a cell and its [`SourceType`] to a [`Value`]; no target's limits are known here. Whole numbers, booleans,
//! floats and texts without escapes cost no allocation. An error says what does not fit and never the value itself.

mod decimal;
mod error;
mod interval;
mod mongodb;
mod nested;
mod temporal;

use std::borrow::Cow;

pub use decimal::plain as plain_decimal;
pub use error::{Loss, ValueError};
pub use temporal::civil_from_days;

use super::json::Cursor;
use crate::batch::{Batch, unescape};
use crate::event::{Cell, CellKind, SourceType};

/// A value as the source meant it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Not sent: the cell is absent, or a placeholder for a value that did not change. Leave the target's column alone.
    Unset,
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float, infinities and NaN included. A 32 bit float is widened exactly.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A decimal number in plain notation, with exactly as many digits after the point as its scale says: `-12.30`.
    Decimal(String),
    /// A day.
    Date {
        /// Days since 1970-01-01 in the proleptic Gregorian calendar.
        days: i64,
    },
    /// A time of day, or for MySQL any span within ±838 hours.
    Time {
        /// Microseconds since midnight.
        micros: i64,
        /// Seconds east of UTC, for times that have a zone.
        offset: Option<i32>,
    },
    /// A point in time, or on a clock without zone.
    Timestamp {
        /// Microseconds since 1970-01-01 00:00.
        micros: i64,
        /// True for a point in time, false for a clock without zone.
        zoned: bool,
    },
    /// PostgreSQL's `infinity` and `-infinity` of dates and timestamps; the type of the column says of which.
    Infinity {
        /// True for `-infinity`.
        negative: bool,
    },
    /// An interval; its three parts do not convert into each other.
    Interval {
        /// Months, years included.
        months: i64,
        /// Days, weeks included.
        days: i64,
        /// Microseconds, hours included.
        micros: i64,
    },
    /// A UUID.
    Uuid([u8; 16]),
    /// JSON text. Not checked again: the source checked it.
    Json(Cow<'a, str>),
    /// A bit string, most significant bit first: `101`. For `bit varying` leading zeros are those of the declared length.
    Bits(String),
    /// A geometry.
    Geometry {
        /// Well-known binary.
        wkb: Option<Vec<u8>>,
        /// Spatial reference system.
        srid: Option<i64>,
        /// Coordinates, when it is a point and the connector sent them.
        point: Option<(f64, f64)>,
    },
    /// An array; elements may be [`Value::Null`].
    Array(Vec<Value<'a>>),
    /// A struct; fields in the order of its schema.
    Struct(Vec<(&'a str, Value<'a>)>),
}

/// A value and whether something was lost before or while it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed<'a> {
    /// The value.
    pub value: Value<'a>,
    /// What was lost, if anything.
    pub loss: Option<Loss>,
}

impl<'a> From<Value<'a>> for Typed<'a> {
    fn from(value: Value<'a>) -> Self {
        Self { value, loss: None }
    }
}

/// Reads a cell of `batch` as `ty`.
///
/// # Errors
/// When the cell does not hold what `ty` says, or holds something no target could represent.
pub fn read<'a>(batch: &'a Batch, cell: Cell, ty: &'a SourceType) -> Result<Typed<'a>, ValueError> {
    view(cell.kind, batch.bytes(cell.span), ty)
}

/// Reads a value of which kind and bytes are known, as [`Cell`] has them.
#[inline]
fn view<'a>(kind: CellKind, bytes: &'a [u8], ty: &'a SourceType) -> Result<Typed<'a>, ValueError> {
    match kind {
        CellKind::Absent | CellKind::Unavailable => return Ok(Value::Unset.into()),
        CellKind::Null => return Ok(Value::Null.into()),
        _ => {}
    }
    let value = match ty {
        SourceType::Unknown => return unknown(kind, bytes),
        SourceType::Boolean => boolean(kind)?,
        SourceType::Int32 | SourceType::Year => {
            let number = integer(kind, bytes)?;
            i32::try_from(number).map_err(|_| ValueError::OutOfRange("a 32 bit number"))?;
            Value::Int(number)
        }
        SourceType::Int64 => Value::Int(integer(kind, bytes)?),
        SourceType::Float32 => match kind {
            CellKind::Number => {
                let float: f32 = number_text(bytes)?.parse().map_err(|_| ValueError::Expected("a number"))?;
                finite(f64::from(float))?
            }
            _ => float_word(kind, bytes)?,
        },
        SourceType::Float64 => match kind {
            CellKind::Number => finite(number_text(bytes)?.parse().map_err(|_| ValueError::Expected("a number"))?)?,
            _ => float_word(kind, bytes)?,
        },
        SourceType::Text | SourceType::Xml | SourceType::Enum | SourceType::EnumSet => Value::Text(text(kind, bytes)?),
        SourceType::Bytes => Value::Bytes(base64(kind, bytes)?),
        SourceType::Decimal { scale } => match kind {
            // JsonConverter with decimal.format=NUMERIC.
            CellKind::Number => Value::Decimal(decimal::plain(number_text(bytes)?)?),
            _ => Value::Decimal(decimal::from_unscaled(&base64(kind, bytes)?, i64::from(*scale))?),
        },
        SourceType::VariableDecimal => nested::variable_decimal(kind, bytes)?,
        SourceType::DateDays => temporal::days(integer(kind, bytes)?),
        SourceType::TimeMillis => temporal::time(integer(kind, bytes)?.checked_mul(1000))?,
        SourceType::TimeMicros => temporal::time(Some(integer(kind, bytes)?))?,
        SourceType::TimeNanos => {
            let nanos = integer(kind, bytes)?;
            return Ok(shortened(temporal::time(Some(nanos.div_euclid(1000)))?, nanos.rem_euclid(1000) != 0));
        }
        SourceType::TimestampMillis => temporal::timestamp_millis(integer(kind, bytes)?)?,
        SourceType::TimestampMicros => temporal::timestamp_micros(integer(kind, bytes)?),
        SourceType::TimestampNanos => {
            let nanos = integer(kind, bytes)?;
            let value = Value::Timestamp { micros: nanos.div_euclid(1000), zoned: false };
            return Ok(shortened(value, nanos.rem_euclid(1000) != 0));
        }
        SourceType::ZonedTime => return temporal::iso_time(&text(kind, bytes)?, true),
        SourceType::ZonedTimestamp => return temporal::iso_timestamp(&text(kind, bytes)?, true),
        SourceType::IsoDate => temporal::iso_date(&text(kind, bytes)?)?,
        SourceType::IsoTime => return temporal::iso_time(&text(kind, bytes)?, false),
        SourceType::IsoTimestamp => return temporal::iso_timestamp(&text(kind, bytes)?, false),
        SourceType::IntervalMicros => return interval::micros(integer(kind, bytes)?),
        SourceType::IntervalIso => return interval::iso(&text(kind, bytes)?),
        SourceType::Json => Value::Json(any_text(kind, bytes)?),
        SourceType::MongoDocument => Value::Json(mongodb::strict(any_text(kind, bytes)?)),
        SourceType::Map => match kind {
            CellKind::Json => Value::Json(Cow::Borrowed(utf8(bytes)?)),
            _ => return Err(ValueError::Expected("an object")),
        },
        SourceType::Uuid => Value::Uuid(uuid(&text(kind, bytes)?)?),
        SourceType::Bits { length } => match kind {
            // bit(1) comes as a boolean in some connectors whatever the schema of the column says.
            CellKind::True => Value::Bits("1".to_owned()),
            CellKind::False => Value::Bits("0".to_owned()),
            _ => Value::Bits(bits(&base64(kind, bytes)?, *length)?),
        },
        SourceType::Geometry => nested::geometry(kind, bytes)?,
        SourceType::Array(inner) => return nested::array(kind, bytes, inner),
        SourceType::Struct(fields) => return nested::structure(kind, bytes, fields),
    };
    Ok(value.into())
}

fn shortened(value: Value<'_>, lossy: bool) -> Typed<'_> {
    Typed { value, loss: lossy.then_some(Loss::SubMicrosecond) }
}

/// Without a type JSON's own are taken. A number with a point or exponent becomes a float: JSON's writer meant one, or the
/// connector is told to send decimals as doubles.
fn unknown(kind: CellKind, bytes: &[u8]) -> Result<Typed<'_>, ValueError> {
    Ok(match kind {
        CellKind::True | CellKind::False => Value::Bool(kind == CellKind::True).into(),
        CellKind::Text | CellKind::Escaped => Value::Text(text(kind, bytes)?).into(),
        CellKind::Json => Value::Json(Cow::Borrowed(utf8(bytes)?)).into(),
        _ => {
            let number = number_text(bytes)?;
            if let Ok(whole) = number.parse() {
                return Ok(Value::Int(whole).into());
            }
            if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                return Ok(Value::Decimal(decimal::plain(number)?).into());
            }
            let value = finite(number.parse().map_err(|_| ValueError::Expected("a number"))?)?;
            let digits = number.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).filter(u8::is_ascii_digit);
            let significant = digits.skip_while(|digit| *digit == b'0').count();
            // 17 digits name every double; more did not come from one.
            Typed { value, loss: (significant > 17).then_some(Loss::FloatDigits) }
        }
    })
}

fn boolean(kind: CellKind) -> Result<Value<'static>, ValueError> {
    match kind {
        CellKind::True => Ok(Value::Bool(true)),
        CellKind::False => Ok(Value::Bool(false)),
        _ => Err(ValueError::Expected("a boolean")),
    }
}

fn finite(float: f64) -> Result<Value<'static>, ValueError> {
    if float.is_finite() { Ok(Value::Float(float)) } else { Err(ValueError::OutOfRange("a float")) }
}

/// Infinities and NaN, which JSON has no numbers for.
fn float_word(kind: CellKind, bytes: &[u8]) -> Result<Value<'static>, ValueError> {
    match (kind, bytes) {
        (CellKind::Text, b"NaN") => Ok(Value::Float(f64::NAN)),
        (CellKind::Text, b"Infinity") => Ok(Value::Float(f64::INFINITY)),
        (CellKind::Text, b"-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
        _ => Err(ValueError::Expected("a number, NaN or an infinity")),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes).map_err(|_| ValueError::Utf8)
}

fn number_text(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes).map_err(|_| ValueError::Expected("a number"))
}

fn integer(kind: CellKind, bytes: &[u8]) -> Result<i64, ValueError> {
    if kind != CellKind::Number {
        return Err(ValueError::Expected("a whole number"));
    }
    let number = number_text(bytes)?;
    number.parse().map_err(|_| {
        if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            ValueError::OutOfRange("a 64 bit number")
        } else {
            ValueError::Expected("a whole number")
        }
    })
}

#[inline]
fn text(kind: CellKind, bytes: &[u8]) -> Result<Cow<'_, str>, ValueError> {
    match kind {
        CellKind::Text => Ok(Cow::Borrowed(utf8(bytes)?)),
        CellKind::Escaped => {
            let mut out = String::with_capacity(bytes.len());
            unescape(utf8(bytes)?.as_bytes(), &mut out);
            Ok(Cow::Owned(out))
        }
        _ => Err(ValueError::Expected("text")),
    }
}

/// JSON in a string, or as it stands.
fn any_text(kind: CellKind, bytes: &[u8]) -> Result<Cow<'_, str>, ValueError> {
    match kind {
        CellKind::Text | CellKind::Escaped => text(kind, bytes),
        CellKind::True => Ok(Cow::Borrowed("true")),
        CellKind::False => Ok(Cow::Borrowed("false")),
        _ => Ok(Cow::Borrowed(utf8(bytes)?)),
    }
}

/// Bytes in base64. JSON may escape the slash, hence the detour through `text`.
fn base64(kind: CellKind, bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
    use base64::Engine as _;
    let text = text(kind, bytes).map_err(|_| ValueError::Expected("base64"))?;
    base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).map_err(|_| ValueError::Expected("base64"))
}

/// `length` binary digits of a little-endian number, or as many as it has when the length is not known.
fn bits(bytes: &[u8], length: u32) -> Result<String, ValueError> {
    let at = |bit: usize| bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    let used = (0..bytes.len() * 8).rev().find(|bit| at(*bit)).map_or(0, |bit| bit + 1);
    let length = if length == 0 { used.max(1) } else { length as usize };
    if used > length {
        return Err(ValueError::OutOfRange("the declared number of bits"));
    }
    if length > MAX_BITS {
        return Err(ValueError::OutOfRange("a bit string"));
    }
    Ok((0..length).rev().map(|bit| if at(bit) { '1' } else { '0' }).collect())
}

/// PostgreSQL's limit for `bit(n)`.
const MAX_BITS: usize = 83_886_080;

/// 32 hex digits, with dashes where they belong, in any case.
fn uuid(text: &str) -> Result<[u8; 16], ValueError> {
    uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes).map_err(|_| ValueError::Expected("a UUID"))
}

/// A cursor over a JSON value that a cell holds.
fn inside(kind: CellKind, bytes: &[u8]) -> Result<Cursor<'_>, ValueError> {
    if kind == CellKind::Json {
        utf8(bytes)?;
        Ok(Cursor::new(bytes, 0))
    } else {
        Err(ValueError::Expected("an array or object"))
    }
}

#[cfg(test)]
mod tests;
