//! What the host needs of a batch so that a guest can work on it. A stage implements [`EventBatch`] for its own
//! batch; this module knows neither the stage nor how events are stored. Everything a guest hands over has been
//! checked by `host` before it comes here: lengths fit, texts are UTF-8, rows exist.

use super::bindings::{events, types};

pub use events::{Dictionary, Value};
pub use types::Failure;

/// Which row image a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The key.
    Key,
    /// The row before the change.
    Before,
    /// The row after the change.
    After,
}

/// "after.email", taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnPath<'a> {
    /// Which image.
    pub image: Image,
    /// The column's name; it may contain dots.
    pub column: &'a str,
}

impl<'a> ColumnPath<'a> {
    /// Takes a path apart; `None` when it names no image or no column.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let (image, column) = path.split_once('.')?;
        let image = match image {
            "key" => Image::Key,
            "before" => Image::Before,
            "after" => Image::After,
            _ => return None,
        };
        (!column.is_empty()).then_some(ColumnPath { image, column })
    }
}

/// Change events a guest may read and write, by row. The rows are those the guest may see now: a stage that hides
/// events, or offers them one by one, numbers the rest from 0.
///
/// The host moves the batch into the guest's store for one call and takes it back afterwards, also after a trap. What a
/// call writes stands only after [`EventBatch::commit`]; [`EventBatch::rollback`] undoes all of it.
pub trait EventBatch: Send + 'static {
    /// How many rows the guest sees.
    fn len(&self) -> usize;

    /// Whether it sees none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The operation of each row.
    fn operations(&self) -> Dictionary;

    /// The destination of each row.
    fn tables(&self) -> Dictionary;

    /// Gives rows new destinations.
    fn set_tables(&mut self, tables: &Dictionary);

    /// Milliseconds since 1970 at the source, by row; 0 when unknown.
    fn source_times(&self) -> Vec<i64>;

    /// Appends one column to `column`: a text or a null for each row.
    fn read_text(&self, path: ColumnPath<'_>, column: &mut TextColumn);

    /// Writes texts, or nulls, into rows. Rows without that column are left alone, and so are those whose text stays
    /// the same; a null leaves alone what could not be read.
    fn write_text<'a>(&mut self, path: ColumnPath<'_>, cells: impl Iterator<Item = (usize, Option<&'a str>)>);

    /// One column with its types.
    fn read_values(&self, path: ColumnPath<'_>) -> Vec<Value>;

    /// Writes one column with its types, one value for each row.
    ///
    /// # Errors
    /// When a value cannot be stored; nothing is written then.
    fn write_values(&mut self, path: ColumnPath<'_>, values: &[Value]) -> Result<(), Failure>;

    /// One event as JSON.
    fn json(&self, row: usize) -> Vec<u8>;

    /// Replaces images and destination of one event.
    ///
    /// # Errors
    /// When it is not the JSON of an event; nothing is changed then.
    fn set_json(&mut self, row: usize, json: &str) -> Result<(), Failure>;

    /// Takes a row out of the stream.
    fn drop_row(&mut self, row: usize);

    /// Sends a row to the dead letters.
    fn fail_row(&mut self, row: usize, reason: Failure);

    /// Makes what was written since the last commit stand.
    fn commit(&mut self);

    /// Undoes what was written since the last commit.
    fn rollback(&mut self);
}

/// A text column being built in the layout it crosses in.
#[derive(Debug)]
pub struct TextColumn {
    offsets: Vec<u32>,
    data: Vec<u8>,
    nulls: Vec<u8>,
}

impl TextColumn {
    /// An empty column with room for so many rows.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        // Names, addresses and numbers as text are about this long; more costs one or two reallocations.
        TextColumn { offsets, data: Vec::with_capacity(rows * 24), nulls: Vec::new() }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Adds a row with a text.
    pub fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        // A batch is bounded far below 4 GiB; a column that is not fails in `finish`.
        self.offsets.push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
    }

    /// Adds a row without a text.
    pub fn push_null(&mut self) {
        let row = self.rows();
        if self.nulls.len() <= row / 8 {
            self.nulls.resize(row / 8 + 1, 0);
        }
        if let Some(byte) = self.nulls.last_mut() {
            *byte |= 1 << (row % 8);
        }
        // Where the text before ended, this one ends too.
        self.offsets.extend(self.offsets.last().copied());
    }

    /// Offsets, text and null bits as the contract wants them; `None` when a row was not UTF-8 or the text is longer
    /// than 4 GiB.
    #[must_use]
    pub fn into_parts(mut self) -> Option<(Vec<u32>, String, Vec<u8>)> {
        if !self.nulls.is_empty() {
            self.nulls.resize(self.rows().div_ceil(8), 0);
        }
        u32::try_from(self.data.len()).ok()?;
        Some((self.offsets, String::from_utf8(self.data).ok()?, self.nulls))
    }

    pub(super) fn finish(self) -> Option<events::Packed> {
        self.into_parts().map(|(offsets, data, nulls)| events::Packed { offsets, data, nulls })
    }
}
