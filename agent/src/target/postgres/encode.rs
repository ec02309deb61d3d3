//! Columns of a batch as binary arrays, the parameters of UNNEST.
//!
//! The format is that of `array_send` (src/backend/utils/adt/arrayfuncs.c) with one dimension: its header, then per
//! element a length, -1 for NULL, and the element as its type's send function writes it.

use std::error::Error;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::decode::value::Value;
use crate::target::text::{write_json, write_text};

use super::types::Wire;

const HEADER: usize = 20;
/// 2000-01-01, where PostgreSQL counts from, in days since 1970-01-01.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// A column being encoded.
#[derive(Debug)]
pub(super) struct ArrayBuilder {
    bytes: Vec<u8>,
    count: i32,
    nulls: bool,
    element: u32,
}

/// An encoded column; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Array(Arc<Vec<u8>>);

impl ArrayBuilder {
    pub(super) fn new(element: u32, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + capacity * 16);
        bytes.resize(HEADER, 0);
        Self { bytes, count: 0, nulls: false, element }
    }

    pub(super) fn null(&mut self) {
        self.nulls = true;
        self.count += 1;
        self.bytes.put_i32(-1);
    }

    pub(super) fn push(&mut self, value: &[u8]) {
        self.with(|out| out.extend_from_slice(value));
    }

    /// Appends an element written in place.
    pub(super) fn with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.count += 1;
        let at = self.bytes.len();
        self.bytes.put_i32(0);
        let result = write(&mut self.bytes);
        let len = i32::try_from(self.bytes.len() - at - 4).unwrap_or(i32::MAX);
        if let Some(slot) = self.bytes.get_mut(at..at + 4) {
            slot.copy_from_slice(&len.to_be_bytes());
        }
        result
    }

    pub(super) fn finish(mut self) -> Array {
        let header = [1, i32::from(self.nulls), self.element.cast_signed(), self.count, 1];
        for (slot, field) in self.bytes.chunks_exact_mut(4).zip(header) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        Array(Arc::new(self.bytes))
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Why a value cannot be sent, in words without the value.
pub(super) type Unfit = &'static str;

/// What was lost, in words.
type Loss = Option<&'static str>;

const NUL: Unfit = "holds a NUL character, which PostgreSQL cannot store";
const OTHER_TYPE: Unfit = "cannot become a value of the column's type";
const ROUNDED: &str = "digits that a float does not hold";

/// Appends a value to a column that travels as `wire`; `cast` is the column's type. Answers what was lost.
pub(super) fn push_value(out: &mut ArrayBuilder, value: &Value<'_>, wire: Wire, cast: &str) -> Result<Loss, Unfit> {
    if matches!(value, Value::Unset | Value::Null) {
        out.null();
        return Ok(None);
    }
    let mut loss = None;
    match wire {
        Wire::Bool => out.push(&[u8::from(boolean(value)?)]),
        Wire::Int2 => out.push(&integer::<i16>(value)?.to_be_bytes()),
        Wire::Int4 => out.push(&integer::<i32>(value)?.to_be_bytes()),
        Wire::Int8 => out.push(&integer::<i64>(value)?.to_be_bytes()),
        Wire::Float4 => {
            let (float, lost) = float(value)?;
            #[expect(clippy::cast_possible_truncation, reason = "what is lost is counted")]
            let short = float as f32;
            if short.is_infinite() && float.is_finite() {
                return Err("is too large for its column");
            }
            loss = lost.or_else(|| (f64::from(short) != float && !float.is_nan()).then_some(ROUNDED));
            out.push(&short.to_be_bytes());
        }
        Wire::Float8 => {
            let (float, lost) = float(value)?;
            loss = lost;
            out.push(&float.to_be_bytes());
        }
        Wire::Uuid => match value {
            Value::Uuid(bytes) => out.push(bytes),
            Value::Text(text) => out.push(uuid::Uuid::try_parse(text).map_err(|_| "is not a UUID")?.as_bytes()),
            _ => return Err(OTHER_TYPE),
        },
        Wire::Bytea => match value {
            Value::Bytes(bytes) | Value::Geometry { wkb: Some(bytes), .. } => out.push(bytes),
            _ => return Err(OTHER_TYPE),
        },
        Wire::Date => out.push(&date(value)?.to_be_bytes()),
        Wire::Time => match value {
            Value::Time { micros: micros @ 0..=DAY_MICROS, .. } => out.push(&micros.to_be_bytes()),
            _ => return Err("is not a time of day"),
        },
        Wire::Timestamp | Wire::TimestampTz => out.push(&timestamp(value)?.to_be_bytes()),
        Wire::Json => out.with(|bytes| json(value, bytes))?,
        Wire::Jsonb => out.with(|bytes| {
            // The version of the format (src/backend/utils/adt/jsonb.c, jsonb_recv).
            bytes.push(1);
            json(value, bytes)
        })?,
        Wire::Text => out.with(|bytes| text(value, bytes))?,
        Wire::Cast => out.with(|bytes| literal(value, cast, bytes))?,
    }
    Ok(loss)
}

fn boolean(value: &Value<'_>) -> Result<bool, Unfit> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Int(1) => Ok(true),
        Value::Int(0) => Ok(false),
        Value::Text(text) => word(text),
        Value::Bits(text) => word(text),
        _ => Err("is not a boolean"),
    }
}

fn word(text: &str) -> Result<bool, Unfit> {
    match text {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err("is not a boolean"),
    }
}

fn integer<T: TryFrom<i64>>(value: &Value<'_>) -> Result<T, Unfit> {
    const WHOLE: Unfit = "is not a whole number of 64 bits";
    let number = match value {
        Value::Int(number) => *number,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => text.parse().map_err(|_| WHOLE)?,
        Value::Decimal(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            if fraction.bytes().any(|digit| digit != b'0') {
                return Err(WHOLE);
            }
            whole.parse().map_err(|_| WHOLE)?
        }
        _ => return Err(WHOLE),
    };
    T::try_from(number).map_err(|_| "is too large for its column")
}

fn float(value: &Value<'_>) -> Result<(f64, Loss), Unfit> {
    match value {
        Value::Float(float) => Ok((*float, None)),
        Value::Int(number) => {
            #[expect(clippy::cast_precision_loss, reason = "what is lost is counted")]
            let float = *number as f64;
            Ok((float, (number.unsigned_abs() > 1 << 53).then_some(ROUNDED)))
        }
        Value::Decimal(text) => {
            let float = text.parse().map_err(|_| "is not a number")?;
            // 15 digits always survive the way into a double and back.
            let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
            Ok((float, (digits > 15).then_some(ROUNDED)))
        }
        Value::Text(text) => Ok((text.parse().map_err(|_| "is not a number")?, None)),
        _ => Err("is not a number"),
    }
}

/// Days since 2000-01-01.
fn date(value: &Value<'_>) -> Result<i32, Unfit> {
    match value {
        Value::Date { days } => i32::try_from(days - EPOCH_DAYS).map_err(|_| "is too large for its column"),
        Value::Infinity { negative: false } => Ok(i32::MAX),
        Value::Infinity { negative: true } => Ok(i32::MIN),
        _ => Err(OTHER_TYPE),
    }
}

/// Microseconds since 2000-01-01; a point in time becomes the clock of UTC in a column without zone, and the other way.
fn timestamp(value: &Value<'_>) -> Result<i64, Unfit> {
    match value {
        Value::Timestamp { micros, .. } => {
            micros.checked_sub(EPOCH_DAYS * DAY_MICROS).ok_or("is too large for its column")
        }
        Value::Infinity { negative: false } => Ok(i64::MAX),
        Value::Infinity { negative: true } => Ok(i64::MIN),
        _ => Err(OTHER_TYPE),
    }
}

/// JSON for a JSON column. Text is taken as JSON: without a schema Debezium's JSON columns are plain strings.
fn json(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match value {
        Value::Text(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
        other => write_json(other, out),
    }
    Ok(())
}

fn text(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let start = out.len();
    write_text(value, out);
    if out.get(start..).is_some_and(|text| memchr::memchr(0, text).is_some()) { Err(NUL) } else { Ok(()) }
}

/// Text that the type named `cast` reads.
fn literal(value: &Value<'_>, cast: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match value {
        Value::Array(values) if cast.ends_with("[]") => array(values, cast, out),
        Value::Geometry { point: Some((x, y)), .. } if cast == "point" => {
            out.extend_from_slice(format!("({x:?},{y:?})").as_bytes());
            Ok(())
        }
        other => text(other, out),
    }
}

/// PostgreSQL manual, "Array Input and Output Syntax". Everything but NULL is quoted, so nothing needs to be told apart.
fn array(values: &[Value<'_>], cast: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let of_json = cast == "json[]" || cast == "jsonb[]";
    let mut element = Vec::new();
    out.push(b'{');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match value {
            Value::Null | Value::Unset => out.extend_from_slice(b"NULL"),
            Value::Array(inner) => array(inner, cast, out)?,
            value => {
                element.clear();
                if of_json {
                    json(value, &mut element)?
                } else {
                    text(value, &mut element)?
                }
                out.push(b'"');
                for byte in &element {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
    Ok(())
}
