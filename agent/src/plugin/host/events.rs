//! The batch's functions: columns in, columns out, verdicts. What a guest hands over is checked here, once: lengths fit,
//! texts are UTF-8 at their edges, rows exist; what does not fit ends the instance.

use wasmtime::component::Resource;

use super::{BatchHandle, State, violation};
use crate::plugin::batch::{ColumnPath, EventBatch, TextColumn};
use crate::plugin::bindings::events::{self, Dictionary, Packed, Value};
use crate::plugin::bindings::types;
use crate::plugin::host::log::cleaned;

impl<B: EventBatch> State<B> {
    /// A guest cannot hold the batch between calls; one that forges a handle ends here.
    fn batch(&mut self) -> wasmtime::Result<&mut B> {
        self.loan.as_mut().ok_or_else(|| violation("the batch was used outside a call"))
    }

    fn row(&mut self, index: u32) -> wasmtime::Result<usize> {
        let row = index as usize;
        if row < self.batch()?.len() { Ok(row) } else { Err(violation("a row does not exist")) }
    }
}

/// What the batch keeps for a written cell so that the write can be undone, in bytes.
const CELL: usize = 64;
/// What it keeps for an event that changed.
const EVENT: usize = 512;

fn text_of(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len() * 2,
        Value::Tagged((_, text)) => text.len(),
        Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => 0,
    }
}

fn no_such_path() -> types::Failure {
    types::Failure {
        code: "path".to_owned(),
        message: "a path is `after.`, `before.` or `key.` and a column's name".to_owned(),
        retryable: false,
    }
}

/// The rows of a column as a guest handed it over. Whether the lists fit together is checked at once, each row as it
/// is read: a row that lies ends the reading, and [`Cells::all_true`] says so. What was written before it does not
/// stand, since the call traps.
struct Cells<'a> {
    values: &'a Packed,
    row: usize,
    lied: bool,
}

impl<'a> Cells<'a> {
    fn of(values: &'a Packed, rows: usize) -> wasmtime::Result<Self> {
        if values.offsets.len() != rows + 1 {
            return Err(violation("there is not one value for each row"));
        }
        if !values.nulls.is_empty() && values.nulls.len() != rows.div_ceil(8) {
            return Err(violation("a column's null bits do not fit its rows"));
        }
        Ok(Cells { values, row: 0, lied: false })
    }

    fn all_true(self) -> wasmtime::Result<()> {
        if self.lied {
            return Err(violation("a column's offsets descend, leave its text or split a character"));
        }
        Ok(())
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        let Packed { offsets, data, nulls } = self.values;
        let (start, end) = (*offsets.get(self.row)?, *offsets.get(self.row + 1)?);
        let null = nulls.get(self.row / 8).is_some_and(|byte| byte & (1 << (self.row % 8)) != 0);
        self.row += 1;
        let text = data.get(start as usize..end as usize);
        self.lied |= text.is_none();
        Some((!null).then_some(text?))
    }
}

impl<B: EventBatch> events::Host for State<B> {}

impl<B: EventBatch> events::HostBatch for State<B> {
    fn len(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<u32> {
        u32::try_from(self.batch()?.len()).map_err(|_| violation("the batch is too long"))
    }

    fn operations(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<Dictionary> {
        Ok(self.batch()?.operations())
    }

    fn tables(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<Dictionary> {
        Ok(self.batch()?.tables())
    }

    fn set_tables(
        &mut self,
        _batch: Resource<BatchHandle>,
        tables: Dictionary,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.charge(tables.values.iter().map(String::len).sum::<usize>() + tables.indices.len() * EVENT)?;
        let batch = self.batch()?;
        if tables.indices.len() != batch.len() {
            return Err(violation("there is not one table for each row"));
        }
        if tables.indices.iter().any(|index| *index as usize >= tables.values.len()) {
            return Err(violation("an index names no table"));
        }
        if tables.values.iter().any(String::is_empty) {
            return Ok(Err(types::Failure {
                code: "table".to_owned(),
                message: "a table name is empty".to_owned(),
                retryable: false,
            }));
        }
        batch.set_tables(&tables);
        Ok(Ok(()))
    }

    fn source_times(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<Vec<i64>> {
        Ok(self.batch()?.source_times())
    }

    fn text_column(&mut self, _batch: Resource<BatchHandle>, path: String) -> wasmtime::Result<Packed> {
        let batch = self.batch()?;
        let mut column = TextColumn::with_capacity(batch.len());
        match ColumnPath::parse(&path) {
            Some(path) => batch.read_text(path, &mut column),
            None => (0..batch.len()).for_each(|_| column.push_null()),
        }
        column.finish().ok_or_else(|| violation("the column does not fit"))
    }

    fn set_text_column(
        &mut self,
        _batch: Resource<BatchHandle>,
        path: String,
        values: Packed,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.charge(values.data.len() + values.offsets.len() * CELL)?;
        let batch = self.batch()?;
        let mut cells = Cells::of(&values, batch.len())?;
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        batch.write_text(path, (&mut cells).enumerate());
        cells.all_true().map(Ok)
    }

    fn patch_text_column(
        &mut self,
        _batch: Resource<BatchHandle>,
        path: String,
        rows: Vec<u32>,
        values: Packed,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.charge(values.data.len() + rows.len() * CELL)?;
        let batch = self.batch()?;
        let mut cells = Cells::of(&values, rows.len())?;
        if !rows.is_sorted_by(|a, b| a < b) || rows.last().is_some_and(|last| *last as usize >= batch.len()) {
            return Err(violation("rows do not ascend or do not exist"));
        }
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        batch.write_text(path, rows.iter().map(|row| *row as usize).zip(&mut cells));
        cells.all_true().map(Ok)
    }

    fn text_list(&mut self, _batch: Resource<BatchHandle>, path: String) -> wasmtime::Result<Vec<Option<String>>> {
        let batch = self.batch()?;
        let mut column = TextColumn::with_capacity(batch.len());
        match ColumnPath::parse(&path) {
            Some(path) => batch.read_text(path, &mut column),
            None => (0..batch.len()).for_each(|_| column.push_null()),
        }
        let rows = batch.len();
        let column = column.finish().ok_or_else(|| violation("the column does not fit"))?;
        Ok(Cells::of(&column, rows)?.map(|text| text.map(str::to_owned)).collect())
    }

    fn set_text_list(
        &mut self,
        _batch: Resource<BatchHandle>,
        path: String,
        values: Vec<Option<String>>,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.charge(values.iter().map(|text| text.as_ref().map_or(0, String::len) + CELL).sum())?;
        let batch = self.batch()?;
        if values.len() != batch.len() {
            return Err(violation("there is not one value for each row"));
        }
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        batch.write_text(path, values.iter().map(Option::as_deref).enumerate());
        Ok(Ok(()))
    }

    fn column(&mut self, _batch: Resource<BatchHandle>, path: String) -> wasmtime::Result<Vec<Value>> {
        let batch = self.batch()?;
        Ok(match ColumnPath::parse(&path) {
            Some(path) => batch.read_values(path),
            None => vec![Value::Null; batch.len()],
        })
    }

    fn set_column(
        &mut self,
        _batch: Resource<BatchHandle>,
        path: String,
        values: Vec<Value>,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.charge(values.iter().map(|value| text_of(value) + CELL).sum())?;
        let batch = self.batch()?;
        if values.len() != batch.len() {
            return Err(violation("there is not one value for each row"));
        }
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        Ok(batch.write_values(path, &values))
    }

    fn json(&mut self, _batch: Resource<BatchHandle>, index: u32) -> wasmtime::Result<Vec<u8>> {
        let row = self.row(index)?;
        Ok(self.batch()?.json(row))
    }

    fn set_json(
        &mut self,
        _batch: Resource<BatchHandle>,
        index: u32,
        json: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let row = self.row(index)?;
        self.charge(json.len() + EVENT)?;
        let Ok(json) = std::str::from_utf8(&json) else {
            return Ok(Err(types::Failure {
                code: "json".to_owned(),
                message: "not UTF-8".to_owned(),
                retryable: false,
            }));
        };
        Ok(self.batch()?.set_json(row, json))
    }

    fn discard(&mut self, _batch: Resource<BatchHandle>, indices: Vec<u32>) -> wasmtime::Result<()> {
        self.charge(indices.len() * EVENT)?;
        for index in indices {
            let row = self.row(index)?;
            self.batch()?.drop_row(row);
        }
        Ok(())
    }

    fn fail(&mut self, _batch: Resource<BatchHandle>, index: u32, reason: types::Failure) -> wasmtime::Result<()> {
        let row = self.row(index)?;
        let reason = cleaned(reason);
        self.charge(reason.code.len() + reason.message.len() + EVENT)?;
        self.batch()?.fail_row(row, reason);
        Ok(())
    }

    fn drop(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_lie_about_their_lengths_are_refused() {
        let packed = |offsets: &[u32], data: &str, nulls: &[u8]| Packed {
            offsets: offsets.to_vec(),
            data: data.to_owned(),
            nulls: nulls.to_vec(),
        };
        let read = |column: &Packed, rows| {
            let mut cells = Cells::of(column, rows)?;
            let texts: Vec<_> = (&mut cells).map(|text| text.map(str::to_owned)).collect();
            cells.all_true().map(|()| texts)
        };
        let count = "there is not one value for each row";
        let lie = "a column's offsets descend, leave its text or split a character";
        for (column, rows, expect) in [
            (packed(&[], "", &[]), 0, count),
            (packed(&[0], "", &[]), 1, count),
            (packed(&[0, 1, 1], "a", &[]), 1, count),
            (packed(&[0, 9], "abc", &[]), 1, lie),
            (packed(&[2, 1], "abc", &[]), 1, lie),
            (packed(&[0, 1], "ü", &[]), 1, lie),
            (packed(&[0, 1, 9, 2], "abc", &[]), 3, lie),
            // A null says nothing of its text, but the offsets must be true all the same.
            (packed(&[0, 9], "abc", &[1]), 1, lie),
            (packed(&[0, 1], "a", &[0, 0]), 1, "a column's null bits do not fit its rows"),
        ] {
            assert_eq!(read(&column, rows).err().unwrap().to_string(), expect, "{column:?}");
        }
        let good = packed(&[0, 1, 1, 3], "aü", &[0b010]);
        assert_eq!(read(&good, 3).unwrap(), [Some("a".to_owned()), None, Some("ü".to_owned())]);
    }
}
