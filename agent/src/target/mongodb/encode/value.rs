//! One cell to one BSON value. What the source meant is read by `decode::value`; here stands only what MongoDB makes of it:
//! the value exactly, or as text where BSON has no type for it, or a loss that is reported to be counted.

use std::str::FromStr;

use bson::Decimal128;

use super::Bad;
use super::json::{Json, MAX_DEPTH, field_name};
use super::writer::{Tag, Writer};
use crate::batch::Batch;
use crate::config::raw::OddFieldNames;
use crate::decode::value::{Value, civil_from_days, read};
use crate::event::{Cell, CellKind, SourceType};

/// What was lost, in words.
pub(crate) type Loss = &'static str;

/// A value's type and what its writing lost.
pub(crate) type Written = (Tag, Option<Loss>);

/// The depth left to a field's value: the document itself is the first level.
pub(crate) const FIELD_DEPTH: usize = MAX_DEPTH - 1;

const MICROSECONDS: Loss = "microseconds: BSON dates count milliseconds";
const DIGITS: Loss = "Decimal128 holds 34 digits: kept as text";
const NOT_JSON: Loss = "the column is declared JSON and holds none: kept as text";

const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// Writes the payload of a cell; `None` for cells that are not there.
pub(crate) fn cell(
    batch: &Batch,
    cell: Cell,
    ty: &SourceType,
    odd: OddFieldNames,
    depth: usize,
    out: &mut Writer,
) -> Result<Option<Written>, Bad> {
    if cell.kind == CellKind::Number && *ty == SourceType::Unknown {
        return number(batch.str(cell.span), out).map(Some);
    }
    let typed = read(batch, cell, ty)?;
    if typed.value == Value::Unset {
        return Ok(None);
    }
    let (tag, loss) = write(&typed.value, ty, odd, depth, out)?;
    Ok(Some((tag, loss.or_else(|| typed.loss.map(|loss| loss.as_str())))))
}

fn write(
    value: &Value<'_>,
    ty: &SourceType,
    odd: OddFieldNames,
    depth: usize,
    out: &mut Writer,
) -> Result<Written, Bad> {
    let tag = match value {
        Value::Unset | Value::Null => Tag::Null,
        Value::Bool(value) => out.boolean(*value),
        Value::Int(value) => match (ty, i32::try_from(*value)) {
            (SourceType::Int64, _) | (_, Err(_)) => out.int64(*value),
            (_, Ok(small)) => out.int32(small),
        },
        Value::Float(value) => out.double(*value),
        Value::Text(text) => out.string(text),
        Value::Bytes(bytes) => out.binary(0, bytes),
        Value::Decimal(digits) => return decimal(digits, out),
        Value::Date { days } => match days.checked_mul(MILLIS_PER_DAY) {
            Some(millis) => out.datetime(millis),
            None => out.string(&date(*days)),
        },
        Value::Time { micros, offset } => out.string(&time(*micros, *offset)),
        Value::Timestamp { micros, .. } => {
            let tag = out.datetime(micros.div_euclid(1000));
            return Ok((tag, (micros.rem_euclid(1000) != 0).then_some(MICROSECONDS)));
        }
        Value::Infinity { negative } => out.string(if *negative { "-infinity" } else { "infinity" }),
        Value::Interval { months, days, micros } => out.string(&interval(*months, *days, *micros)),
        Value::Uuid(bytes) => out.binary(4, bytes),
        Value::Json(text) => return json(text, ty, odd, depth, out),
        Value::Bits(digits) => out.string(digits),
        Value::Geometry { wkb, srid, point } => {
            let open = out.open();
            if let Some(wkb) = wkb {
                out.tagged(Tag::Binary, b"wkb");
                out.binary(0, wkb);
            }
            if let Some(srid) = srid {
                out.tagged(Tag::Int64, b"srid");
                out.int64(*srid);
            }
            if let Some((x, y)) = point {
                for (name, part) in [(b"x", *x), (b"y", *y)] {
                    out.tagged(Tag::Double, name);
                    out.double(part);
                }
            }
            out.close(open);
            Tag::Document
        }
        Value::Array(items) => return array(items, ty, odd, depth, out),
        Value::Struct(fields) => return structure(fields, ty, odd, depth, out),
    };
    Ok((tag, None))
}

fn array(
    items: &[Value<'_>],
    ty: &SourceType,
    odd: OddFieldNames,
    depth: usize,
    out: &mut Writer,
) -> Result<Written, Bad> {
    let depth = depth.checked_sub(1).ok_or(Bad::TooDeep)?;
    let inner = if let SourceType::Array(inner) = ty { inner } else { &SourceType::Unknown };
    let open = out.open();
    let mut lost = None;
    for (index, item) in items.iter().enumerate() {
        let slot = out.item(index);
        let (tag, loss) = write(item, inner, odd, depth, out)?;
        out.set(slot, tag);
        lost = lost.or(loss);
    }
    out.close(open);
    Ok((Tag::Array, lost))
}

fn structure(
    fields: &[(&str, Value<'_>)],
    ty: &SourceType,
    odd: OddFieldNames,
    depth: usize,
    out: &mut Writer,
) -> Result<Written, Bad> {
    let depth = depth.checked_sub(1).ok_or(Bad::TooDeep)?;
    let declared = if let SourceType::Struct(declared) = ty { declared.as_slice() } else { &[] };
    let open = out.open();
    let mut lost = None;
    for (name, value) in fields {
        if *value == Value::Unset {
            continue;
        }
        let ty = declared.iter().find(|(known, _)| known == name).map_or(&SourceType::Unknown, |(_, ty)| ty);
        let slot = out.element(field_name(name, odd)?.as_bytes());
        let (tag, loss) = write(value, ty, odd, depth, out)?;
        out.set(slot, tag);
        lost = lost.or(loss);
    }
    out.close(open);
    Ok((Tag::Document, lost))
}

fn json(text: &str, ty: &SourceType, odd: OddFieldNames, depth: usize, out: &mut Writer) -> Result<Written, Bad> {
    let start = out.len();
    let reader = Json::new(text, odd);
    let reader = if *ty == SourceType::MongoDocument { reader.extended() } else { reader };
    match reader.whole(depth, out) {
        // The source checks its JSON columns, but a plugin may have put something else there.
        Err(Bad::Json) if *ty == SourceType::Json => {
            out.truncate(start);
            Ok((out.string(text), Some(NOT_JSON)))
        }
        written => written,
    }
}

/// Writes a JSON number without a declared type: the smallest integer type that holds it, `Double` when it has a fraction or
/// an exponent, `Decimal128` when a 64 bit integer or a double would change it, text when even that would.
pub(crate) fn number(text: &str, out: &mut Writer) -> Result<Written, Bad> {
    /// This many digits name every double; more did not come from one.
    const DOUBLE_DIGITS: usize = 17;
    let bytes = text.as_bytes();
    if !bytes.iter().any(u8::is_ascii_digit) {
        return Err(Bad::Json);
    }
    if bytes.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        let value: f64 = text.parse().map_err(|_| Bad::Json)?;
        let mantissa = bytes.iter().take_while(|b| !matches!(b, b'e' | b'E')).filter(|b| b.is_ascii_digit());
        let digits = mantissa.skip_while(|digit| **digit == b'0').count();
        if value.is_finite() && digits <= DOUBLE_DIGITS {
            return Ok((out.double(value), None));
        }
        return decimal(text, out);
    }
    match text.parse::<i64>() {
        Ok(value) => match i32::try_from(value) {
            Ok(small) => Ok((out.int32(small), None)),
            Err(_) => Ok((out.int64(value), None)),
        },
        Err(_) if bytes.iter().skip(1).all(u8::is_ascii_digit) => decimal(text, out),
        Err(_) => Err(Bad::Json),
    }
}

/// Writes a decimal number exactly: `Decimal128` up to 34 digits, else text.
fn decimal(text: &str, out: &mut Writer) -> Result<Written, Bad> {
    match Decimal128::from_str(text) {
        Ok(value) => {
            out.raw(&value.bytes());
            Ok((Tag::Decimal128, None))
        }
        // The parser refuses what it would have to round.
        Err(_) => Ok((out.string(text), Some(DIGITS))),
    }
}

/// ISO 8601, with as many digits of the year as it takes.
fn date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `[-]HH:MM:SS[.ffffff][±HH:MM]`; MySQL's spans reach beyond a day.
fn time(micros: i64, offset: Option<i32>) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let second = MICROS_PER_SECOND.unsigned_abs();
    let (seconds, fraction) = (micros / second, micros % second);
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        text.push_str(&format!(".{fraction:06}"));
    }
    match offset {
        None => {}
        Some(0) => text.push('Z'),
        Some(east) => {
            let minutes = east.unsigned_abs() / 60;
            text.push_str(&format!("{}{:02}:{:02}", if east < 0 { '-' } else { '+' }, minutes / 60, minutes % 60));
        }
    }
    text
}

/// ISO 8601 duration; the parts keep their own signs, as PostgreSQL writes them.
fn interval(months: i64, days: i64, micros: i64) -> String {
    let (whole, fraction) = (micros / MICROS_PER_SECOND, (micros % MICROS_PER_SECOND).unsigned_abs());
    let sign = if micros < 0 && whole == 0 { "-" } else { "" };
    let seconds = if fraction == 0 { format!("{whole}") } else { format!("{sign}{whole}.{fraction:06}") };
    format!("P{months}M{days}DT{seconds}S")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_intervals_are_iso_text() {
        let cases = [
            (time(0, None), "00:00:00"),
            (time(86_399_999_999, None), "23:59:59.999999"),
            (time(-(838 * 3600 + 59 * 60 + 59) * MICROS_PER_SECOND, None), "-838:59:59"),
            (time(3_600_000_000, Some(0)), "01:00:00Z"),
            (time(3_600_000_000, Some(-12_600)), "01:00:00-03:30"),
            (interval(14, 3, 4_500_000), "P14M3DT4.500000S"),
            (interval(0, -1, -500_000), "P0M-1DT-0.500000S"),
            (interval(0, 0, -61_000_000), "P0M0DT-61S"),
            (date(0), "1970-01-01"),
        ];
        for (text, expected) in cases {
            assert_eq!(text, expected);
        }
    }
}
