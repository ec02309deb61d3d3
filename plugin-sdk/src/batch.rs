//! The batch as an author sees it. It holds no events: they stay with the agent, or with the in-memory host in a
//! test, and this type asks for columns and hands columns back. Both hosts sit behind `crate::host`.

use crate::dictionary::Dictionary;
use crate::failure::Failure;
use crate::host::Host;
use crate::packed::Packed;
use crate::value::Value;

/// What to do with one text; see [`Batch::edit_text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Leave the row as it is.
    Keep,
    /// The new text was appended to the buffer.
    Replace,
    /// The row becomes null.
    Null,
}

/// Change events that travel together. Rows are numbered from 0.
///
/// Columns are named by image and name: `after.email`, `before.id`, `key.id`. A row without that image or column
/// reads as null, and what is written to it is ignored.
///
/// ```
/// use whimbrel_plugin::testing::Event;
/// use whimbrel_plugin::Batch;
///
/// let mut batch = Batch::of([
///     Event::create("shop.customers", r#"{"id": 1, "email": "ada@example.org"}"#),
///     Event::create("shop.customers", r#"{"id": 2, "email": null}"#),
/// ]);
/// batch.map_text("after.email", |email| email.to_uppercase())?;
/// assert_eq!(batch.event(0).after(), r#"{"id":1,"email":"ADA@EXAMPLE.ORG"}"#);
/// assert_eq!(batch.event(1).after(), r#"{"id":2,"email":null}"#);
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
#[derive(Debug)]
pub struct Batch {
    pub(crate) host: Host,
}

impl Batch {
    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.host.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// "create", "update", "delete", "read", … by row. The set may grow.
    #[must_use]
    pub fn operations(&self) -> Dictionary {
        self.host.operations()
    }

    /// The full table name by row.
    #[must_use]
    pub fn tables(&self) -> Dictionary {
        self.host.tables()
    }

    /// Renames tables: one row for each event.
    ///
    /// # Errors
    /// When a name is empty.
    pub fn set_tables(&mut self, tables: &Dictionary) -> Result<(), Failure> {
        self.host.set_tables(tables)
    }

    /// Milliseconds since 1970 at the source, by row; 0 where the source does not say.
    #[must_use]
    pub fn source_times(&self) -> Vec<i64> {
        self.host.source_times()
    }

    /// One column as text, in one crossing of the boundary.
    #[must_use]
    pub fn text_column(&self, path: &str) -> Packed {
        self.host.text_column(path)
    }

    /// Writes one column: a value, or null, for each event.
    ///
    /// # Errors
    /// When the path names no image.
    pub fn set_text_column(&mut self, path: &str, values: &Packed) -> Result<(), Failure> {
        self.host.set_text_column(path, values)
    }

    /// Writes some rows of a column: `values` has one value for each of `rows`, which ascend.
    ///
    /// # Errors
    /// When the path names no image.
    pub fn patch_text_column(&mut self, path: &str, rows: &[u32], values: &Packed) -> Result<(), Failure> {
        self.host.patch_text_column(path, rows, values)
    }

    /// Replaces every text of a column by what the closure makes of it. Nulls stay null.
    ///
    /// # Errors
    /// When the path names no image.
    pub fn map_text<T: AsRef<str>>(&mut self, path: &str, mut map: impl FnMut(&str) -> T) -> Result<(), Failure> {
        self.edit_text(path, |_, text, new| {
            new.push_str(map(text).as_ref());
            Edit::Replace
        })
    }

    /// Like [`Batch::map_text`] without an allocation a row: the closure gets the row, its text and a buffer to
    /// append the new text to, and says which of the three to take.
    ///
    /// ```
    /// use whimbrel_plugin::testing::Event;
    /// use whimbrel_plugin::{Batch, Edit};
    ///
    /// let mut batch = Batch::of([Event::create("t", r#"{"note": "  hello "}"#)]);
    /// batch.edit_text("after.note", |_row, note, new| {
    ///     new.push_str(note.trim());
    ///     if new.len() == note.len() { Edit::Keep } else { Edit::Replace }
    /// })?;
    /// assert_eq!(batch.event(0).after(), r#"{"note":"hello"}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When the path names no image.
    pub fn edit_text(
        &mut self,
        path: &str,
        mut edit: impl FnMut(usize, &str, &mut RowText) -> Edit,
    ) -> Result<(), Failure> {
        let column = self.text_column(path);
        let mut texts = column.iter().enumerate().filter_map(|(row, text)| Some((row, text?))).peekable();
        // The older image of a new row is all nulls: then there is nothing to make room for.
        if texts.peek().is_none() {
            return Ok(());
        }
        let mut new = RowText {
            packed: Packed::with_capacity(column.len(), column.text_len() + column.text_len() / 8),
            start: 0,
        };
        let mut rows = Vec::with_capacity(column.len());
        for (row, text) in texts {
            let choice = edit(row, text, &mut new);
            if choice != Edit::Replace {
                new.clear();
            }
            if choice != Edit::Keep {
                new.packed.close(choice == Edit::Null);
                new.start = new.packed.data.len();
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let mut packed = new.packed;
        packed.finish();
        if rows.len() == column.len() {
            self.set_text_column(path, &packed)
        } else {
            self.patch_text_column(path, &rows, &packed)
        }
    }

    /// One column with its types.
    #[must_use]
    pub fn column(&self, path: &str) -> Vec<Value> {
        self.host.column(path)
    }

    /// Writes one column with its types: a value for each event.
    ///
    /// # Errors
    /// When the path names no image, or a tagged value is not of its type.
    pub fn set_column(&mut self, path: &str, values: &[Value]) -> Result<(), Failure> {
        self.host.set_column(path, values)
    }

    /// One whole event as JSON, with the members `operation`, `table`, `source_time`, `key`, `before` and `after`.
    /// Slow beside columns: for plugins that cannot know the columns beforehand.
    #[must_use]
    pub fn json(&self, row: usize) -> Vec<u8> {
        self.host.json(row)
    }

    /// Replaces table, key and images of one event. Here columns may come and go.
    ///
    /// # Errors
    /// When it is not the JSON of an event.
    pub fn set_json(&mut self, row: usize, json: &[u8]) -> Result<(), Failure> {
        self.host.set_json(row, json)
    }

    /// Takes events out of the stream.
    pub fn drop_rows(&mut self, rows: &[u32]) {
        self.host.drop_rows(rows);
    }

    /// Sends one event to the dead letters; the others go on.
    pub fn fail(&mut self, row: usize, reason: &Failure) {
        self.host.fail(row, reason);
    }
}

/// The text of the row being edited: append only.
#[derive(Debug)]
pub struct RowText {
    packed: Packed,
    start: usize,
}

impl RowText {
    /// Appends text.
    pub fn push_str(&mut self, text: &str) {
        self.packed.data.push_str(text);
    }

    /// Appends a character.
    pub fn push(&mut self, c: char) {
        self.packed.data.push(c);
    }

    /// How many bytes were appended for this row.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.data.len() - self.start
    }

    /// Whether nothing was appended for this row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back what was appended for this row.
    pub fn clear(&mut self) {
        self.packed.data.truncate(self.start);
    }
}
