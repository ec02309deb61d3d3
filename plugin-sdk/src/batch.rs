//! The batch as an author sees it. It holds no events: they stay with the agent, or with the in-memory host in a
//! test, and this type asks for columns and hands columns back. Both hosts sit behind `crate::host`.

use crate::dictionary::Dictionary;
use crate::edit::{Edit, RowText};
use crate::failure::Failure;
use crate::host::Host;
use crate::packed::Packed;
use crate::value::Value;

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
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([Event::create("orders", r#"{"id": 1}"#), Event::delete("orders", r#"{"id": 1}"#)]);
    /// assert_eq!(batch.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.host.len()
    }

    /// Whether there is none.
    ///
    /// ```
    /// # use whimbrel_plugin::Batch;
    /// assert!(Batch::of([]).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// "create", "update", "delete", "read", … by row. The set may grow.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([Event::create("orders", r#"{"id": 1}"#), Event::delete("orders", r#"{"id": 1}"#)]);
    /// let deletes = batch.operations().iter().filter(|operation| *operation == "delete").count();
    /// assert_eq!(deletes, 1);
    /// ```
    #[must_use]
    pub fn operations(&self) -> Dictionary {
        self.host.operations()
    }

    /// The full table name by row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of(["shop.orders", "shop.items"].map(|table| Event::create(table, r#"{"id": 1}"#)));
    /// assert_eq!(batch.tables().iter().collect::<Vec<_>>(), ["shop.orders", "shop.items"]);
    /// ```
    #[must_use]
    pub fn tables(&self) -> Dictionary {
        self.host.tables()
    }

    /// Renames tables: one row for each event.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of([Event::create("public.orders", r#"{"id": 1}"#)]);
    /// let mut tables = batch.tables();
    /// if tables.rename(|table| Some(table.replace("public.", "shop."))) {
    ///     batch.set_tables(&tables)?;
    /// }
    /// assert_eq!(batch.event(0).table(), "shop.orders");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When a name is empty.
    pub fn set_tables(&mut self, tables: &Dictionary) -> Result<(), Failure> {
        self.host.set_tables(tables)
    }

    /// Milliseconds since 1970 at the source, by row; 0 where the source does not say.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([Event::create("orders", r#"{"id": 1}"#)]);
    /// assert_eq!(batch.source_times(), [0], "the events of a test do not say");
    /// ```
    #[must_use]
    pub fn source_times(&self) -> Vec<i64> {
        self.host.source_times()
    }

    /// One column as text, in one crossing of the boundary.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([
    ///     Event::create("customers", r#"{"id": 7, "email": "ada@example.org"}"#),
    ///     Event::delete("customers", r#"{"id": 8}"#),
    /// ]);
    /// assert_eq!(batch.text_column("after.email").get(0), Some("ada@example.org"));
    /// assert_eq!(batch.text_column("after.email").get(1), None);
    /// assert_eq!(batch.text_column("before.id").get(1), Some("8"));
    /// ```
    #[must_use]
    pub fn text_column(&self, path: &str) -> Packed {
        self.host.text_column(path)
    }

    /// Writes one column: a value, or null, for each event.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Packed};
    /// let mut batch = Batch::of(["Ada", "Grace"].map(|name| Event::create("t", &format!(r#"{{"name":"{name}"}}"#))));
    /// let initials: Packed = batch.text_column("after.name").iter().map(|name| name?.get(..1)).collect();
    /// batch.set_text_column("after.name", &initials)?;
    /// assert_eq!(batch.event(1).after(), r#"{"name":"G"}"#);
    /// assert_eq!(batch.set_text_column("name", &initials).unwrap_err().code, "path");
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When the path names no image.
    pub fn set_text_column(&mut self, path: &str, values: &Packed) -> Result<(), Failure> {
        self.host.set_text_column(path, values)
    }

    /// Writes some rows of a column: `values` has one value for each of `rows`, which ascend.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Packed};
    /// # let row = |email: &str| Event::create("customers", &format!(r#"{{"email":"{email}"}}"#));
    /// let mut batch = Batch::of([row("ada@example.org"), row("n/a"), row("-")]);
    /// let nulls: Packed = [None, None].into_iter().collect();
    /// batch.patch_text_column("after.email", &[1, 2], &nulls)?;
    /// assert_eq!(batch.text_column("after.email").iter().flatten().collect::<Vec<_>>(), ["ada@example.org"]);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When the path names no image.
    pub fn patch_text_column(&mut self, path: &str, rows: &[u32], values: &Packed) -> Result<(), Failure> {
        self.host.patch_text_column(path, rows, values)
    }

    /// Replaces every text of a column by what the closure makes of it. Nulls stay null.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of([Event::update("customers", r#"{"iban": "DE02 1203"}"#, r#"{"iban": "DE02 5001"}"#)]);
    /// for path in ["before.iban", "after.iban"] {
    ///     batch.map_text(path, |iban| iban.chars().take(2).chain("****".chars()).collect::<String>())?;
    /// }
    /// assert_eq!(batch.event(0).before(), r#"{"iban":"DE****"}"#);
    /// assert_eq!(batch.event(0).after(), r#"{"iban":"DE****"}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
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
        let mut new = RowText::with_capacity(column.len(), column.text_len() + column.text_len() / 8);
        let mut rows = Vec::with_capacity(column.len());
        for (row, text) in texts {
            let choice = edit(row, text, &mut new);
            if new.take(choice) {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let packed = new.finish();
        if rows.len() == column.len() {
            self.set_text_column(path, &packed)
        } else {
            self.patch_text_column(path, &rows, &packed)
        }
    }

    /// One column with its types.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Value};
    /// let batch = Batch::of([
    ///     Event::create("orders", r#"{"total": 1990}"#),
    ///     Event::create("orders", r#"{"total": null}"#),
    /// ]);
    /// assert_eq!(batch.column("after.total"), [Value::Integer(1990), Value::Null]);
    /// ```
    #[must_use]
    pub fn column(&self, path: &str) -> Vec<Value> {
        self.host.column(path)
    }

    /// Writes one column with its types: a value for each event.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::{Batch, Value};
    /// let mut batch = Batch::of([Event::create("customers", r#"{"birth_year": 1815}"#)]);
    /// let mut years = batch.column("after.birth_year");
    /// for year in &mut years {
    ///     if let Value::Integer(year) = year {
    ///         *year -= *year % 10;
    ///     }
    /// }
    /// batch.set_column("after.birth_year", &years)?;
    /// assert_eq!(batch.event(0).after(), r#"{"birth_year":1810}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When the path names no image, or a tagged value is not of its type.
    pub fn set_column(&mut self, path: &str, values: &[Value]) -> Result<(), Failure> {
        self.host.set_column(path, values)
    }

    /// One whole event as JSON, with the members `operation`, `table`, `source_time`, `key`, `before` and `after`.
    /// Slow beside columns: for plugins that cannot know the columns beforehand.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([Event::create("orders", r#"{"id":1}"#).key(r#"{"id":1}"#)]);
    /// let event = String::from_utf8(batch.json(0)).unwrap();
    /// assert_eq!(
    ///     event,
    ///     r#"{"operation":"create","table":"orders","source_time":0,"key":{"id":1},"before":null,"after":{"id":1}}"#
    /// );
    /// ```
    #[must_use]
    pub fn json(&self, row: usize) -> Vec<u8> {
        self.host.json(row)
    }

    /// Replaces table, key and images of one event. Here columns may come and go.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of([Event::create("customers", r#"{"id":1,"password":"x"}"#)]);
    /// let mut event = Json::parse(&String::from_utf8_lossy(&batch.json(0))).unwrap();
    /// if let Some(Json::Object(columns)) = event.get_mut("after") {
    ///     columns.retain(|(name, _)| name != "password");
    /// }
    /// batch.set_json(0, event.to_string().as_bytes())?;
    /// assert_eq!(batch.event(0).after(), r#"{"id":1}"#);
    /// # Ok::<(), whimbrel_plugin::Failure>(())
    /// ```
    ///
    /// # Errors
    /// When it is not the JSON of an event.
    pub fn set_json(&mut self, row: usize, json: &[u8]) -> Result<(), Failure> {
        self.host.set_json(row, json)
    }

    /// Takes events out of the stream.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::{Event, Verdict};
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of(["no", "yes"].map(|test| Event::create("orders", &format!(r#"{{"test":"{test}"}}"#))));
    /// let tests = batch.text_column("after.test");
    /// let rows = (0_u32..).zip(tests.iter()).filter_map(|(row, test)| (test == Some("yes")).then_some(row));
    /// batch.drop_rows(&rows.collect::<Vec<u32>>());
    /// assert_eq!(batch.event(0).verdict(), &Verdict::Keep);
    /// assert_eq!(batch.event(1).verdict(), &Verdict::Drop);
    /// ```
    pub fn drop_rows(&mut self, rows: &[u32]) {
        self.host.drop_rows(rows);
    }

    /// Sends one event to the dead letters; the others go on.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::{Event, Verdict};
    /// # use whimbrel_plugin::{Batch, Failure};
    /// let mut batch = Batch::of([Event::create("customers", r#"{"phone":"unknown"}"#)]);
    /// let phones = batch.text_column("after.phone");
    /// for (row, phone) in phones.iter().enumerate() {
    ///     if phone.is_some_and(|phone| !phone.starts_with('+')) {
    ///         batch.fail(row, &Failure::new("value", "not a phone number"));
    ///     }
    /// }
    /// assert!(matches!(batch.event(0).verdict(), Verdict::Fail(why) if why.code == "value"));
    /// ```
    pub fn fail(&mut self, row: usize, reason: &Failure) {
        self.host.fail(row, reason);
    }
}
