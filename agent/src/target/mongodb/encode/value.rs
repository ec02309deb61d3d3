//! One cell to one BSON value. Either the value is exact, or it is kept as text, or the loss is reported to be counted.

use std::str::FromStr;

use bson::Decimal128;

use super::Bad;
use super::json::{Json, MAX_DEPTH};
use super::writer::{Tag, Writer};
use crate::batch::{Batch, unescape};
use crate::config::raw::OddFieldNames;
use crate::event::{Cell, CellKind, SourceType};

/// Why a value is not what it was, in words.
pub(crate) type Loss = &'static str;

/// Writes the payload of a cell; `None` for cells that are not there.
pub(crate) fn cell(
    batch: &Batch,
    cell: Cell,
    ty: &SourceType,
    odd: OddFieldNames,
    depth: usize,
    out: &mut Writer,
) -> Result<Option<(Tag, Option<Loss>)>, Bad> {
    let written = match cell.kind {
        CellKind::Absent | CellKind::Unavailable => return Ok(None),
        CellKind::Null => (Tag::Null, None),
        CellKind::False => (out.boolean(false), None),
        CellKind::True => (out.boolean(true), None),
        CellKind::Number => typed_number(batch.str(cell.span), ty, out)?,
        CellKind::Text => (out.string(batch.str(cell.span)), None),
        CellKind::Escaped => {
            let mut plain = String::with_capacity(cell.span.len as usize);
            unescape(batch.bytes(cell.span), &mut plain);
            (out.string(&plain), None)
        }
        CellKind::Json => (Json::new(batch.str(cell.span), odd).whole(depth, out)?, None),
    };
    Ok(Some(written))
}

fn typed_number(text: &str, ty: &SourceType, out: &mut Writer) -> Result<(Tag, Option<Loss>), Bad> {
    match ty {
        SourceType::Int64 => match text.parse() {
            Ok(value) => Ok((out.int64(value), None)),
            Err(_) => number(text, out),
        },
        SourceType::Float32 | SourceType::Float64 => match text.parse() {
            Ok(value) => Ok((out.double(value), None)),
            Err(_) => Err(Bad::Json),
        },
        _ => number(text, out),
    }
}

/// Writes a JSON number without a declared type: the smallest integer type that holds it, `Double` when it has a fraction or
/// an exponent, `Decimal128` when a 64 bit integer or a double would change it, text when even that would.
pub(crate) fn number(text: &str, out: &mut Writer) -> Result<(Tag, Option<Loss>), Bad> {
    let digits = text.as_bytes();
    if !digits.iter().any(u8::is_ascii_digit) {
        return Err(Bad::Json);
    }
    if digits.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        let value: f64 = text.parse().map_err(|_| Bad::Json)?;
        if value.is_finite() {
            return Ok((out.double(value), None));
        }
        return decimal(text, out);
    }
    match text.parse::<i64>() {
        Ok(value) => match i32::try_from(value) {
            Ok(small) => Ok((out.int32(small), None)),
            Err(_) => Ok((out.int64(value), None)),
        },
        Err(_) if digits.iter().skip(1).all(u8::is_ascii_digit) => decimal(text, out),
        Err(_) => Err(Bad::Json),
    }
}

/// Writes a decimal number exactly: `Decimal128` up to 34 digits, else text.
pub(crate) fn decimal(text: &str, out: &mut Writer) -> Result<(Tag, Option<Loss>), Bad> {
    match Decimal128::from_str(text) {
        Ok(value) => {
            out.raw(&value.bytes());
            Ok((Tag::Decimal128, None))
        }
        // Decimal128 rounds nothing away here: the parser refuses what it would have to round.
        Err(_) => Ok((out.string(text), Some("more than 34 digits: kept as text"))),
    }
}

/// The value of a top-level cell, at the depth a document's own fields have.
pub(crate) const FIELD_DEPTH: usize = MAX_DEPTH - 1;
