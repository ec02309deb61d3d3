//! The batch's functions as calls over the boundary: the same as the native host has.

use std::mem::ManuallyDrop;

use super::bindings::transform::whimbrel::plugin::events;
use super::bindings::whimbrel::plugin::types;
use crate::dictionary::Dictionary;
use crate::failure::Failure;
use crate::packed::Packed;
use crate::value::Value;

#[derive(Debug)]
pub(crate) struct Host(ManuallyDrop<events::Batch>);

impl Host {
    /// The agent lends the batch for one call, so it must not be dropped here; `apply` ends before the loan does.
    pub(in crate::guest) fn borrow(batch: &events::Batch) -> Self {
        // SAFETY: the handle is valid for the call, and ManuallyDrop keeps it from being given back twice.
        Host(ManuallyDrop::new(unsafe { events::Batch::from_handle(batch.handle()) }))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() as usize
    }

    pub(crate) fn operations(&self) -> Dictionary {
        self.0.operations().into()
    }

    pub(crate) fn tables(&self) -> Dictionary {
        self.0.tables().into()
    }

    pub(crate) fn set_tables(&mut self, tables: &Dictionary) -> Result<(), Failure> {
        let tables = events::Dictionary { values: tables.values.clone(), indices: tables.indices.clone() };
        Ok(self.0.set_tables(&tables)?)
    }

    pub(crate) fn source_times(&self) -> Vec<i64> {
        self.0.source_times()
    }

    pub(crate) fn text_column(&self, path: &str) -> Packed {
        let events::Packed { offsets, data, nulls } = self.0.text_column(path);
        Packed { offsets, data, nulls }
    }

    pub(crate) fn set_text_column(&mut self, path: &str, values: &Packed) -> Result<(), Failure> {
        lend(values, |values| self.0.set_text_column(path, values))
    }

    pub(crate) fn patch_text_column(&mut self, path: &str, rows: &[u32], values: &Packed) -> Result<(), Failure> {
        lend(values, |values| self.0.patch_text_column(path, rows, values))
    }

    pub(crate) fn column(&self, path: &str) -> Vec<Value> {
        self.0.column(path).into_iter().map(Value::from).collect()
    }

    pub(crate) fn set_column(&mut self, path: &str, values: &[Value]) -> Result<(), Failure> {
        let values: Vec<types::Value> = values.iter().cloned().map(types::Value::from).collect();
        Ok(self.0.set_column(path, &values)?)
    }

    pub(crate) fn json(&self, row: usize) -> Vec<u8> {
        self.0.json(narrow(row))
    }

    pub(crate) fn set_json(&mut self, row: usize, json: &[u8]) -> Result<(), Failure> {
        Ok(self.0.set_json(narrow(row), json)?)
    }

    pub(crate) fn drop_rows(&mut self, rows: &[u32]) {
        self.0.discard(rows);
    }

    pub(crate) fn fail(&mut self, row: usize, reason: &Failure) {
        self.0.fail(narrow(row), &reason.clone().into());
    }
}

/// `usize` has 32 bits here.
#[expect(clippy::cast_possible_truncation, reason = "wasm32 only")]
fn narrow(row: usize) -> u32 {
    row as u32
}

/// The generated type owns its buffers and the call only reads them: give it ours for the call's length rather
/// than copies.
fn lend<R>(values: &Packed, call: impl FnOnce(&events::Packed) -> Result<R, types::Failure>) -> Result<R, Failure> {
    // SAFETY: the buffers are aliased for reading only, and ManuallyDrop keeps the borrowed ones from being freed.
    let borrowed = unsafe {
        ManuallyDrop::new(events::Packed {
            offsets: Vec::from_raw_parts(
                values.offsets.as_ptr().cast_mut(),
                values.offsets.len(),
                values.offsets.capacity(),
            ),
            data: String::from_raw_parts(values.data.as_ptr().cast_mut(), values.data.len(), values.data.capacity()),
            nulls: Vec::from_raw_parts(values.nulls.as_ptr().cast_mut(), values.nulls.len(), values.nulls.capacity()),
        })
    };
    Ok(call(&borrowed)?)
}

impl From<events::Dictionary> for Dictionary {
    fn from(dictionary: events::Dictionary) -> Self {
        Dictionary { values: dictionary.values, indices: dictionary.indices }
    }
}
