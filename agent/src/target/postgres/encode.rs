//! Columns of a batch as binary arrays, the parameters of UNNEST.
//!
//! The format is that of `array_send` (src/backend/utils/adt/arrayfuncs.c) with one dimension: its header, then per
//! element a length, -1 for NULL, and the element as its type's send function writes it.

use std::error::Error;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::batch::Batch;
use crate::event::{Cell, CellKind, SourceType};

use super::types::Wire;

const HEADER: usize = 20;

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

/// Why a cell cannot be sent, in words without the value.
pub(super) type Unfit = &'static str;

/// Appends a cell to a column that travels as `wire`.
pub(super) fn push_cell(
    out: &mut ArrayBuilder,
    batch: &Batch,
    cell: Cell,
    _ty: &SourceType,
    wire: Wire,
) -> Result<(), Unfit> {
    if matches!(cell.kind, CellKind::Absent | CellKind::Unavailable | CellKind::Null) {
        out.null();
        return Ok(());
    }
    let text = batch.text(cell).unwrap_or_default();
    let text = text.as_ref();
    match wire {
        Wire::Bool => out.push(&[u8::from(boolean(cell.kind, text)?)]),
        Wire::Int2 => out.push(&integer::<i16>(cell.kind, text)?.to_be_bytes()),
        Wire::Int4 => out.push(&integer::<i32>(cell.kind, text)?.to_be_bytes()),
        Wire::Int8 => out.push(&integer::<i64>(cell.kind, text)?.to_be_bytes()),
        Wire::Float4 => out.push(&text.parse::<f32>().map_err(|_| "is not a number")?.to_be_bytes()),
        Wire::Float8 => out.push(&text.parse::<f64>().map_err(|_| "is not a number")?.to_be_bytes()),
        Wire::Uuid => out.push(&uuid(text)?),
        Wire::Jsonb => out.with(|bytes| {
            bytes.push(1);
            bytes.extend_from_slice(text.as_bytes());
        }),
        Wire::Text | Wire::Cast | Wire::Json => {
            if memchr::memchr(0, text.as_bytes()).is_some() {
                return Err("holds a NUL character, which PostgreSQL cannot store");
            }
            out.push(text.as_bytes());
        }
        Wire::Bytea | Wire::Date | Wire::Time | Wire::Timestamp | Wire::TimestampTz => {
            return Err("is not of the type its schema declares");
        }
    }
    Ok(())
}

fn boolean(kind: CellKind, text: &str) -> Result<bool, Unfit> {
    match (kind, text) {
        (CellKind::True, _) | (_, "1" | "t" | "true") => Ok(true),
        (CellKind::False, _) | (_, "0" | "f" | "false") => Ok(false),
        _ => Err("is not a boolean"),
    }
}

fn integer<T: TryFrom<i64>>(kind: CellKind, text: &str) -> Result<T, Unfit> {
    let value = match kind {
        CellKind::True => 1,
        CellKind::False => 0,
        _ => text.parse::<i64>().map_err(|_| "is not an integer of 64 bits")?,
    };
    T::try_from(value).map_err(|_| "is an integer too large for its column")
}

fn uuid(text: &str) -> Result<[u8; 16], Unfit> {
    uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes).map_err(|_| "is not a UUID")
}
