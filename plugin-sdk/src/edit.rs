//! Editing the texts of a column without an allocation a row: what was chosen for a row, and the buffer its new text
//! goes to. Which rows there are is the batch's business.

use crate::packed::Packed;

/// What to do with one text; see [`crate::Batch::edit_text`].
///
/// ```
/// use whimbrel_plugin::testing::Event;
/// use whimbrel_plugin::{Batch, Edit};
///
/// let rows = ["ada@example.org", "", "***"].map(|email| format!(r#"{{"email": "{email}"}}"#));
/// let mut batch = Batch::of(rows.map(|row| Event::create("customers", &row)));
/// batch.edit_text("after.email", |_row, email, new| match email {
///     "***" => Edit::Keep,
///     "" => Edit::Null,
///     _ => {
///         new.push_str("***");
///         Edit::Replace
///     }
/// })?;
/// assert_eq!(batch.text_column("after.email").iter().collect::<Vec<_>>(), [Some("***"), None, Some("***")]);
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Leave the row as it is.
    Keep,
    /// The new text was appended to the buffer.
    Replace,
    /// The row becomes null.
    Null,
}

/// The text of the row being edited: append only.
///
/// ```
/// use whimbrel_plugin::testing::Event;
/// use whimbrel_plugin::{Batch, Edit, RowText};
///
/// fn stars(text: &str, new: &mut RowText) {
///     for c in text.chars() {
///         new.push(if c.is_alphanumeric() { '*' } else { c });
///     }
/// }
///
/// let mut batch = Batch::of([Event::create("customers", r#"{"phone": "+49 30 1234"}"#)]);
/// batch.edit_text("after.phone", |_row, phone, new| {
///     stars(phone, new);
///     Edit::Replace
/// })?;
/// assert_eq!(batch.event(0).after(), r#"{"phone":"+** ** ****"}"#);
/// # Ok::<(), whimbrel_plugin::Failure>(())
/// ```
#[derive(Debug)]
pub struct RowText {
    packed: Packed,
    start: usize,
}

impl RowText {
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Self {
        RowText { packed: Packed::with_capacity(rows, bytes), start: 0 }
    }

    /// Ends the row as was chosen; answers whether it is one of the new column.
    pub(crate) fn take(&mut self, choice: Edit) -> bool {
        if choice != Edit::Replace {
            self.clear();
        }
        let taken = choice != Edit::Keep;
        if taken {
            self.packed.close(choice == Edit::Null);
            self.start = self.packed.data.len();
        }
        taken
    }

    /// The new column of the rows that were taken.
    pub(crate) fn finish(mut self) -> Packed {
        self.packed.finish();
        self.packed
    }

    /// Appends text.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Edit};
    /// # let mut batch = Batch::of([Event::create("customers", r#"{"email": "ada@example.org"}"#)]);
    /// batch.edit_text("after.email", |_row, email, new| {
    ///     new.push_str("***@");
    ///     new.push_str(email.split_once('@').map_or("", |(_, domain)| domain));
    ///     Edit::Replace
    /// })?;
    /// assert_eq!(batch.event(0).after(), r#"{"email":"***@example.org"}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    pub fn push_str(&mut self, text: &str) {
        self.packed.data.push_str(text);
    }

    /// Appends a character.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Edit};
    /// # let mut batch = Batch::of([Event::create("customers", r#"{"name": "Ada"}"#)]);
    /// batch.edit_text("after.name", |_row, name, new| {
    ///     name.chars().take(1).for_each(|initial| new.push(initial));
    ///     new.push('.');
    ///     Edit::Replace
    /// })?;
    /// assert_eq!(batch.event(0).after(), r#"{"name":"A."}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    pub fn push(&mut self, c: char) {
        self.packed.data.push(c);
    }

    /// How many bytes were appended for this row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Edit};
    /// # let mut batch = Batch::of(["ab", "cdefgh"].map(|note| Event::create("t", &format!(r#"{{"note": "{note}"}}"#))));
    /// batch.edit_text("after.note", |_row, note, new| {
    ///     new.push_str(note.get(..4).unwrap_or(note));
    ///     if new.len() < note.len() { Edit::Replace } else { Edit::Keep }
    /// })?;
    /// assert_eq!(batch.text_column("after.note").iter().collect::<Vec<_>>(), [Some("ab"), Some("cdef")]);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.data.len() - self.start
    }

    /// Whether nothing was appended for this row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Edit};
    /// # let mut batch = Batch::of([Event::create("customers", r#"{"phone": "unknown"}"#)]);
    /// batch.edit_text("after.phone", |_row, phone, new| {
    ///     phone.chars().filter(char::is_ascii_digit).for_each(|digit| new.push(digit));
    ///     if new.is_empty() { Edit::Null } else { Edit::Replace }
    /// })?;
    /// assert_eq!(batch.event(0).after(), r#"{"phone":null}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back what was appended for this row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Edit};
    /// # let mut batch = Batch::of([Event::create("customers", r#"{"phone": "ext. 12"}"#)]);
    /// batch.edit_text("after.phone", |_row, phone, new| {
    ///     phone.chars().filter(char::is_ascii_digit).for_each(|digit| new.push(digit));
    ///     if new.len() < 5 {
    ///         new.clear();
    ///         new.push_str("not a number");
    ///     }
    ///     Edit::Replace
    /// })?;
    /// assert_eq!(batch.event(0).after(), r#"{"phone":"not a number"}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    pub fn clear(&mut self) {
        self.packed.data.truncate(self.start);
    }
}
