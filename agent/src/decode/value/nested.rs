//! Values with values inside: arrays, structs, and the structs that Debezium gives a meaning.

use super::{Typed, Value, ValueError, base64, decimal, inside, integer, text, view};
use crate::event::{CellKind, SourceType};

use super::super::json::{Cursor, Raw, Syntax};

/// The cell was scanned when it was decoded, but a plugin may have written it since.
impl From<Syntax> for ValueError {
    fn from(_: Syntax) -> Self {
        Self::Expected("JSON")
    }
}

pub(super) fn array<'a>(kind: CellKind, bytes: &'a [u8], inner: &'a SourceType) -> Result<Typed<'a>, ValueError> {
    let mut cursor = inside(kind, bytes)?;
    if !cursor.eat(b'[') {
        return Err(ValueError::Expected("an array"));
    }
    let mut values = Vec::new();
    let mut loss = None;
    cursor.space();
    if !cursor.eat(b']') {
        loop {
            let raw = cursor.value(1)?;
            let typed = view(raw.kind, cursor.slice(raw.start, raw.end), inner)?;
            loss = loss.or(typed.loss);
            values.push(typed.value);
            cursor.space();
            if cursor.eat(b']') {
                break;
            }
            if !cursor.eat(b',') {
                return Err(ValueError::Expected("JSON"));
            }
            cursor.space();
        }
    }
    cursor.finish()?;
    Ok(Typed { value: Value::Array(values), loss })
}

pub(super) fn structure<'a>(
    kind: CellKind,
    bytes: &'a [u8],
    types: &'a [(String, SourceType)],
) -> Result<Typed<'a>, ValueError> {
    let mut values: Vec<(&str, Value<'_>)> = types.iter().map(|(name, _)| (name.as_str(), Value::Null)).collect();
    let mut loss = None;
    fields(kind, bytes, |name, raw, cursor| {
        let at = types.iter().position(|(own, _)| own == name).ok_or(ValueError::UnknownField)?;
        if let (Some((_, ty)), Some(slot)) = (types.get(at), values.get_mut(at)) {
            let typed = view(raw.kind, cursor.slice(raw.start, raw.end), ty)?;
            loss = loss.or(typed.loss);
            slot.1 = typed.value;
        }
        Ok(())
    })?;
    Ok(Typed { value: Value::Struct(values), loss })
}

/// `{"scale": n, "value": base64}`.
pub(super) fn variable_decimal(kind: CellKind, bytes: &[u8]) -> Result<Value<'static>, ValueError> {
    let mut scale = None;
    let mut unscaled = None;
    fields(kind, bytes, |name, raw, cursor| {
        let bytes = cursor.slice(raw.start, raw.end);
        match name {
            "scale" => scale = Some(integer(raw.kind, bytes)?),
            "value" => unscaled = Some(base64(raw.kind, bytes)?),
            _ => return Err(ValueError::UnknownField),
        }
        Ok(())
    })?;
    match (scale, unscaled) {
        (Some(scale), Some(unscaled)) => {
            if i32::try_from(scale).is_err() {
                return Err(ValueError::OutOfRange("a decimal"));
            }
            decimal::from_unscaled(&unscaled, scale).map(Value::Decimal)
        }
        _ => Err(ValueError::Expected("a decimal with scale and value")),
    }
}

/// `{"x", "y", "wkb", "srid"}`, any of them missing or null.
pub(super) fn geometry(kind: CellKind, bytes: &[u8]) -> Result<Value<'static>, ValueError> {
    let (mut x, mut y, mut wkb, mut srid) = (None, None, None, None);
    fields(kind, bytes, |name, raw, cursor| {
        let bytes = cursor.slice(raw.start, raw.end);
        if raw.kind == CellKind::Null {
            return Ok(());
        }
        match name {
            "x" => x = Some(coordinate(raw.kind, bytes)?),
            "y" => y = Some(coordinate(raw.kind, bytes)?),
            "wkb" => wkb = Some(base64(raw.kind, bytes)?),
            "srid" => srid = Some(integer(raw.kind, bytes)?),
            _ => return Err(ValueError::UnknownField),
        }
        Ok(())
    })?;
    Ok(Value::Geometry { wkb, srid, point: x.zip(y) })
}

fn coordinate(kind: CellKind, bytes: &[u8]) -> Result<f64, ValueError> {
    match view(kind, bytes, &SourceType::Float64)?.value {
        Value::Float(float) => Ok(float),
        _ => Err(ValueError::Expected("a number")),
    }
}

/// Calls `each` for every field of an object.
fn fields<'a>(
    kind: CellKind,
    bytes: &'a [u8],
    mut each: impl FnMut(&str, Raw, &Cursor<'a>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let mut cursor = inside(kind, bytes)?;
    if cursor.peek() != b'{' {
        return Err(ValueError::Expected("an object"));
    }
    let mut more = cursor.open_object()?;
    while more {
        let name = cursor.name()?;
        let raw = cursor.value(1)?;
        each(&text(name.kind, cursor.slice(name.start, name.end))?, raw, &cursor)?;
        more = cursor.next_field()?;
    }
    cursor.finish()?;
    Ok(())
}
