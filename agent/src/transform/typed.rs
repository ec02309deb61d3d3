//! Values with their types, between cells and what the contract calls them. A value that does not change is not
//! written, so reading a column and writing it back loses nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use crate::batch::Batch;
use crate::event::{Cell, CellKind, Row, SourceType};
use crate::plugin::{Failure, Value};

/// The contract's name for a type whose values travel as text in a form of their own; none for plain text.
fn tag(ty: &SourceType) -> Option<&'static str> {
    Some(match ty {
        SourceType::Decimal { .. } | SourceType::VariableDecimal => "decimal",
        SourceType::DateDays | SourceType::IsoDate => "date",
        SourceType::TimeMillis
        | SourceType::TimeMicros
        | SourceType::TimeNanos
        | SourceType::ZonedTime
        | SourceType::IsoTime => "time",
        SourceType::TimestampMillis
        | SourceType::TimestampMicros
        | SourceType::TimestampNanos
        | SourceType::ZonedTimestamp
        | SourceType::IsoTimestamp => "timestamp",
        SourceType::IntervalMicros | SourceType::IntervalIso => "interval",
        SourceType::Json | SourceType::MongoDocument => "json",
        SourceType::Xml => "xml",
        SourceType::Uuid => "uuid",
        SourceType::Bits { .. } => "bits",
        _ => return None,
    })
}

fn type_of(batch: &Batch, row: Row, column: usize) -> SourceType {
    let shape = batch.shape(row).and_then(|shape| shape.columns.get(column));
    shape.map_or(SourceType::Unknown, |column| column.ty.clone())
}

/// What a cell holds.
pub(super) fn read(batch: &Batch, row: Row, column: usize, cell: Cell) -> Value {
    let Some(text) = batch.text(cell) else { return Value::Null };
    match cell.kind {
        CellKind::True => Value::Boolean(true),
        CellKind::False => Value::Boolean(false),
        CellKind::Json => Value::Tagged(("json".to_owned(), text.into_owned())),
        CellKind::Number => number(&text),
        _ => {
            let ty = type_of(batch, row, column);
            match tag(&ty) {
                Some(tag) => Value::Tagged((tag.to_owned(), text.into_owned())),
                None if ty == SourceType::Bytes => {
                    STANDARD.decode(text.as_bytes()).map_or_else(|_| Value::Text(text.into_owned()), Value::Bytes)
                }
                None => Value::Text(text.into_owned()),
            }
        }
    }
}

/// Whole numbers beyond 64 bits, and fractions that a float would change, keep their text.
fn number(text: &str) -> Value {
    if let Ok(integer) = text.parse() {
        return Value::Integer(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && text.contains(['.', 'e', 'E']) && float.to_string() == text => {
            Value::Float(float)
        }
        _ => Value::Tagged(("decimal".to_owned(), text.to_owned())),
    }
}

/// Refuses what no cell can hold.
pub(super) fn check(value: &Value) -> Result<(), Failure> {
    let wrong =
        |message: &str| Err(Failure { code: "value".to_owned(), message: message.to_owned(), retryable: false });
    match value {
        Value::Float(float) if !float.is_finite() => wrong("a float is not finite; JSON has no such number"),
        Value::Tagged((tag, text)) if tag == "json" && serde_json::from_str::<IgnoredAny>(text).is_err() => {
            wrong("a value tagged json is not JSON")
        }
        _ => Ok(()),
    }
}

/// The cell for a checked value, and the column's new type when the old one does not fit it.
pub(super) fn write(batch: &mut Batch, row: Row, column: usize, value: &Value) -> (Cell, Option<SourceType>) {
    let ty = type_of(batch, row, column);
    let mut cell = |text: &str, kind| Cell { span: batch.push_bytes(text.as_bytes()), kind };
    let unknown = ty == SourceType::Unknown;
    let unless = |fits: bool, other: SourceType| (!fits && !unknown).then_some(other);
    match value {
        Value::Null => (Cell::bare(CellKind::Null), None),
        Value::Boolean(true) => (Cell::bare(CellKind::True), unless(ty == SourceType::Boolean, SourceType::Boolean)),
        Value::Boolean(false) => (Cell::bare(CellKind::False), unless(ty == SourceType::Boolean, SourceType::Boolean)),
        Value::Integer(integer) => {
            // Times, dates and floats may be written as whole numbers too; text, booleans and JSON may not.
            let fits = !matches!(
                ty,
                SourceType::Boolean
                    | SourceType::Text
                    | SourceType::Bytes
                    | SourceType::Uuid
                    | SourceType::Json
                    | SourceType::Enum
            );
            (cell(&integer.to_string(), CellKind::Number), unless(fits, SourceType::Int64))
        }
        Value::Float(float) => {
            let fits = matches!(ty, SourceType::Float32 | SourceType::Float64);
            (cell(&float.to_string(), CellKind::Number), unless(fits, SourceType::Float64))
        }
        Value::Text(text) => (
            cell(text, CellKind::Text),
            unless(matches!(ty, SourceType::Text | SourceType::Enum | SourceType::EnumSet), SourceType::Text),
        ),
        Value::Bytes(bytes) => {
            (cell(&STANDARD.encode(bytes), CellKind::Text), unless(ty == SourceType::Bytes, SourceType::Bytes))
        }
        // JSON columns hold their document in a string; arrays and structs hold it as it is.
        Value::Tagged((tag, text)) if tag == "json" && self::tag(&ty) != Some("json") => {
            (cell(text, CellKind::Json), None)
        }
        Value::Tagged((tag, text)) => {
            let is_number = tag == "decimal"
                && !matches!(ty, SourceType::Decimal { .. } | SourceType::VariableDecimal)
                && serde_json::from_str::<serde_json::Number>(text).is_ok();
            let kind = if is_number { CellKind::Number } else { CellKind::Text };
            let fits = is_number || self::tag(&ty) == Some(tag.as_str());
            (cell(text, kind), unless(fits, SourceType::Text))
        }
    }
}
