//! The functions a guest may call, over the batch that is in the store for the length of one call. Whatever a guest
//! hands over is checked here, once: what the contract does not allow ends the instance, and nothing of it stands.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{HasData, Resource};

use super::batch::{ColumnPath, EventBatch, TextColumn};
use super::bindings::whimbrel::plugin::events::{self, Dictionary, Packed, Value};
use super::bindings::whimbrel::plugin::{host_log, types};
use super::fault::TrapCause;
use super::limits::{Limits, LogRate, MemoryLimiter};

/// Stands for the batch in handles. There is one batch per call, so the handle carries no number.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
#[derive(Debug)]
pub enum BatchHandle {}

/// Tells the generated linker code what host functions work on.
pub(super) struct Access<B>(std::marker::PhantomData<B>);

impl<B: EventBatch> HasData for Access<B> {
    type Data<'a> = &'a mut State<B>;
}

/// What one instance has on the host's side.
pub(super) struct State<B> {
    plugin: Arc<str>,
    /// There while a call runs.
    pub(super) batch: Option<B>,
    pub(super) memory: MemoryLimiter,
    log: LogRate,
    /// The panic that is about to become a trap.
    pub(super) panic: Option<String>,
}

/// The guest broke the contract; becomes a trap.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Violation {
    pub(super) cause: TrapCause,
    pub(super) message: &'static str,
}

fn violation(message: &'static str) -> wasmtime::Error {
    Violation { cause: TrapCause::Contract, message }.into()
}

impl<B: EventBatch> State<B> {
    pub(super) fn new(plugin: Arc<str>, limits: &Limits) -> Self {
        State {
            plugin,
            batch: None,
            memory: MemoryLimiter::new(limits.memory),
            log: LogRate::new(limits.log_lines, Instant::now()),
            panic: None,
        }
    }

    /// A guest cannot hold the batch between calls; one that forges a handle ends here.
    fn batch(&mut self) -> wasmtime::Result<&mut B> {
        self.batch.as_mut().ok_or_else(|| violation("the batch was used outside a call"))
    }

    fn row(&mut self, index: u32) -> wasmtime::Result<usize> {
        let row = index as usize;
        if row < self.batch()?.len() { Ok(row) } else { Err(violation("a row does not exist")) }
    }
}

fn no_such_path() -> types::Failure {
    types::Failure {
        code: "path".to_owned(),
        message: "a path is `after.`, `before.` or `key.` and a column's name".to_owned(),
        retryable: false,
    }
}

/// The rows of a column as a guest handed it over, all checked.
fn cells(values: &Packed) -> wasmtime::Result<impl Iterator<Item = Option<&str>>> {
    let Packed { offsets, data, nulls } = values;
    let rows = offsets.len().checked_sub(1).ok_or_else(|| violation("a column has no offsets"))?;
    if !nulls.is_empty() && nulls.len() != rows.div_ceil(8) {
        return Err(violation("a column's null bits do not fit its rows"));
    }
    let mut texts = Vec::with_capacity(rows);
    for (row, (start, end)) in offsets.iter().zip(offsets.iter().skip(1)).enumerate() {
        let null = nulls.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0);
        let text = data.get(*start as usize..*end as usize);
        let text = text.ok_or_else(|| violation("a column's offsets descend, leave its text or split a character"))?;
        texts.push((!null).then_some(text));
    }
    Ok(texts.into_iter())
}

impl<B: EventBatch> events::Host for State<B> {}
impl<B: EventBatch> types::Host for State<B> {}

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
        let cells = cells(&values)?;
        let batch = self.batch()?;
        if values.offsets.len() != batch.len() + 1 {
            return Err(violation("there is not one value for each row"));
        }
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        batch.write_text(path, cells.enumerate());
        Ok(Ok(()))
    }

    fn patch_text_column(
        &mut self,
        _batch: Resource<BatchHandle>,
        path: String,
        rows: Vec<u32>,
        values: Packed,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let cells = cells(&values)?;
        let batch = self.batch()?;
        if values.offsets.len() != rows.len() + 1 {
            return Err(violation("there is not one value for each row"));
        }
        if !rows.is_sorted_by(|a, b| a < b) || rows.last().is_some_and(|last| *last as usize >= batch.len()) {
            return Err(violation("rows do not ascend or do not exist"));
        }
        let Some(path) = ColumnPath::parse(&path) else { return Ok(Err(no_such_path())) };
        batch.write_text(path, rows.iter().map(|row| *row as usize).zip(cells));
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
        for index in indices {
            let row = self.row(index)?;
            self.batch()?.drop_row(row);
        }
        Ok(())
    }

    fn fail(&mut self, _batch: Resource<BatchHandle>, index: u32, reason: types::Failure) -> wasmtime::Result<()> {
        let row = self.row(index)?;
        self.batch()?.fail_row(row, cleaned(reason));
        Ok(())
    }

    fn drop(&mut self, _batch: Resource<BatchHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// The longest log line or panic message of a guest, in bytes, that is kept.
const MAX_LINE: usize = 4096;

/// Control characters would let a guest forge lines or drive a terminal; length would fill the disk.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_LINE));
    for c in text.chars() {
        if out.len() >= MAX_LINE {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A guest's reason ends in logs and dead letters, so it is bounded like a log line.
pub(super) fn cleaned(reason: types::Failure) -> types::Failure {
    types::Failure { code: clean(&reason.code), message: clean(&reason.message), retryable: reason.retryable }
}

impl<B: EventBatch> host_log::Host for State<B> {
    fn log(&mut self, level: host_log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if !self.log.admit(Instant::now()) {
            return Ok(());
        }
        let suppressed = std::mem::take(&mut self.log.suppressed);
        let mut line = clean(&message);
        for (name, value) in fields.iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(line, " {}={}", clean(name), clean(value));
        }
        let plugin = &*self.plugin;
        match level {
            host_log::Level::Trace => tracing::trace!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Debug => tracing::debug!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Info => tracing::info!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Warn => tracing::warn!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Error => tracing::error!(plugin, suppressed, text = line, "plugin log"),
        }
        Ok(())
    }

    fn panicked(&mut self, message: String, file: String, line: u32) -> wasmtime::Result<()> {
        // The first one counts: a panic inside the hook would only hide it.
        if self.panic.is_none() {
            self.panic = Some(format!("{} at {}:{line}", clean(&message), clean(&file)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_neither_forge_another_nor_fill_the_disk() {
        assert_eq!(clean("a\nERROR b\u{1b}[2Jü"), "a\\nERROR b\\u{1b}[2Jü");
        assert!(clean(&"x".repeat(1 << 20)).len() <= MAX_LINE + 3);
        let reason = types::Failure { code: "a\0".to_owned(), message: "y".repeat(1 << 20), retryable: true };
        let reason = cleaned(reason);
        assert_eq!(reason.code, "a\\u{0}");
        assert!(reason.message.len() <= MAX_LINE + 3 && reason.retryable);
    }

    #[test]
    fn columns_that_lie_about_their_lengths_are_refused() {
        let packed = |offsets: &[u32], data: &str, nulls: &[u8]| Packed {
            offsets: offsets.to_vec(),
            data: data.to_owned(),
            nulls: nulls.to_vec(),
        };
        for (column, expect) in [
            (packed(&[], "", &[]), "a column has no offsets"),
            (packed(&[0, 9], "abc", &[]), "a column's offsets descend, leave its text or split a character"),
            (packed(&[2, 1], "abc", &[]), "a column's offsets descend, leave its text or split a character"),
            (packed(&[0, 1], "ü", &[]), "a column's offsets descend, leave its text or split a character"),
            (packed(&[0, 1], "a", &[0, 0]), "a column's null bits do not fit its rows"),
        ] {
            assert_eq!(cells(&column).err().unwrap().to_string(), expect);
        }
        let good = packed(&[0, 1, 1, 3], "aü", &[0b010]);
        assert_eq!(cells(&good).unwrap().collect::<Vec<_>>(), [Some("a"), None, Some("ü")]);
    }
}
