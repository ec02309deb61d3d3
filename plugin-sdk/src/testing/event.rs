//! Events for a transform's own tests, and what became of them.

use crate::batch::Batch;
use crate::failure::Failure;
use crate::json::Json;
use crate::native::Host;

/// What a plugin decided about an event.
///
/// ```
/// use whimbrel_plugin::testing::{Event, Verdict};
/// use whimbrel_plugin::{Batch, Failure};
///
/// let mut batch = Batch::of(["a", "b", "c"].map(|table| Event::create(table, r#"{"id": 1}"#)));
/// let reason = Failure::new("value", "not a phone number");
/// batch.drop_rows(&[1]);
/// batch.fail(2, &reason);
/// assert_eq!(batch.event(0).verdict(), &Verdict::Keep);
/// assert_eq!(batch.event(1).verdict(), &Verdict::Drop);
/// assert_eq!(batch.event(2).verdict(), &Verdict::Fail(reason));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the target.
    Keep,
    /// It was taken out of the stream.
    Drop,
    /// It goes to the dead letters.
    Fail(Failure),
}

/// One change event in a test.
///
/// ```
/// use whimbrel_plugin::testing::Event;
/// use whimbrel_plugin::Batch;
///
/// let batch = Batch::of([
///     Event::create("shop.orders", r#"{"id": 1, "total": 1990}"#),
///     Event::update("shop.orders", r#"{"id": 1, "total": 1990}"#, r#"{"id": 1, "total": 990}"#),
///     Event::delete("shop.orders", r#"{"id": 1}"#),
/// ]);
/// assert_eq!(batch.operations().iter().collect::<Vec<_>>(), ["create", "update", "delete"]);
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) operation: String,
    pub(crate) table: String,
    pub(crate) source_time: i64,
    pub(crate) key: Json,
    pub(crate) before: Json,
    pub(crate) after: Json,
    pub(crate) verdict: Verdict,
}

impl Event {
    /// An event of any operation; the images are JSON objects or `null`.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// let snapshot = Event::new("read", "shop.orders", r#"{"id": 1}"#, "null", r#"{"id": 1, "total": 1990}"#);
    /// assert_eq!((snapshot.before(), snapshot.table()), ("null".to_owned(), "shop.orders"));
    /// ```
    ///
    /// # Panics
    /// When an image is not JSON: the test is wrong.
    #[must_use]
    #[expect(clippy::panic, reason = "a wrong test must stop")]
    pub fn new(operation: &str, table: &str, key: &str, before: &str, after: &str) -> Self {
        let json = |text: &str| Json::parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        Event {
            operation: operation.to_owned(),
            table: table.to_owned(),
            source_time: 0,
            key: json(key),
            before: json(before),
            after: json(after),
            verdict: Verdict::Keep,
        }
    }

    /// An inserted row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// let event = Event::create("orders", r#"{"id": 1}"#);
    /// assert_eq!((event.before().as_str(), event.after().as_str()), ("null", r#"{"id":1}"#));
    /// ```
    #[must_use]
    pub fn create(table: &str, after: &str) -> Self {
        Event::new("create", table, "null", "null", after)
    }

    /// A changed row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// let event = Event::update("orders", r#"{"total": 1990}"#, r#"{"total": 990}"#);
    /// assert_eq!((event.before().as_str(), event.after().as_str()), (r#"{"total":1990}"#, r#"{"total":990}"#));
    /// ```
    #[must_use]
    pub fn update(table: &str, before: &str, after: &str) -> Self {
        Event::new("update", table, "null", before, after)
    }

    /// A deleted row.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// let event = Event::delete("orders", r#"{"id": 1}"#);
    /// assert_eq!((event.before().as_str(), event.after().as_str()), (r#"{"id":1}"#, "null"));
    /// ```
    #[must_use]
    pub fn delete(table: &str, before: &str) -> Self {
        Event::new("delete", table, "null", before, "null")
    }

    /// The same event with a key.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of([Event::delete("orders", "null").key(r#"{"id": 7}"#)]);
    /// assert_eq!(batch.text_column("key.id").get(0), Some("7"));
    /// ```
    ///
    /// # Panics
    /// When the key is not JSON: the test is wrong.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        let fresh = Event::new("", "", key, "null", "null");
        Event { key: fresh.key, ..self }
    }

    /// The full name of its table.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// assert_eq!(Event::create("shop.orders", r#"{"id": 1}"#).table(), "shop.orders");
    /// ```
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The new row image as JSON text, `null` when there is none.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// assert_eq!(Event::create("orders", r#"{ "id": 1 }"#).after(), r#"{"id":1}"#);
    /// assert_eq!(Event::delete("orders", r#"{ "id": 1 }"#).after(), "null");
    /// ```
    #[must_use]
    pub fn after(&self) -> String {
        self.after.to_string()
    }

    /// The old row image as JSON text, `null` when there is none.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// assert_eq!(Event::delete("orders", r#"{ "id": 1 }"#).before(), r#"{"id":1}"#);
    /// assert_eq!(Event::create("orders", r#"{ "id": 1 }"#).before(), "null");
    /// ```
    #[must_use]
    pub fn before(&self) -> String {
        self.before.to_string()
    }

    /// What the plugin decided.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::{Event, Verdict};
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of([Event::create("audit.log", r#"{"id": 1}"#)]);
    /// assert_eq!(batch.event(0).verdict(), &Verdict::Keep);
    /// batch.drop_rows(&[0]);
    /// assert_eq!(batch.event(0).verdict(), &Verdict::Drop);
    /// ```
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(crate) fn image(&self, name: &str) -> &Json {
        match name {
            "after" => &self.after,
            "before" => &self.before,
            _ => &self.key,
        }
    }

    pub(crate) fn image_mut(&mut self, name: &str) -> &mut Json {
        match name {
            "after" => &mut self.after,
            "before" => &mut self.before,
            _ => &mut self.key,
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        let member = |name: &str, value| (name.to_owned(), value);
        Json::Object(vec![
            member("operation", Json::from(self.operation.as_str())),
            member("table", Json::from(self.table.as_str())),
            member("source_time", Json::Number(self.source_time.to_string())),
            member("key", self.key.clone()),
            member("before", self.before.clone()),
            member("after", self.after.clone()),
        ])
    }

    pub(crate) fn replace(&mut self, json: &Json) -> Result<(), &'static str> {
        let image = |name| match json.get(name) {
            None => Ok(Json::Null),
            Some(image @ (Json::Null | Json::Object(_))) => Ok(image.clone()),
            Some(_) => Err("an image must be an object or null"),
        };
        let (key, before, after) = (image("key")?, image("before")?, image("after")?);
        match json.get("table").and_then(Json::as_text) {
            Some(table) if !table.is_empty() => table.clone_into(&mut self.table),
            _ => return Err("the table is missing"),
        }
        (self.key, self.before, self.after) = (key, before, after);
        Ok(())
    }
}

impl Batch {
    /// A batch of these events, for a test.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let batch = Batch::of((1..=3).map(|id| Event::create("orders", &format!(r#"{{"id": {id}}}"#))));
    /// assert_eq!(batch.text_column("after.id").iter().flatten().collect::<Vec<_>>(), ["1", "2", "3"]);
    /// ```
    #[must_use]
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        Batch { host: Host { events: events.into_iter().collect() } }
    }

    /// One event with what became of it.
    ///
    /// ```
    /// # use whimbrel_plugin::testing::Event;
    /// # use whimbrel_plugin::Batch;
    /// let mut batch = Batch::of([Event::create("customers", r#"{"email":"ada@example.org"}"#)]);
    /// batch.map_text("after.email", |_| "***").unwrap();
    /// assert_eq!(batch.event(0).after(), r#"{"email":"***"}"#);
    /// ```
    ///
    /// # Panics
    /// When there is no such row: the test is wrong.
    #[must_use]
    #[expect(clippy::panic, reason = "a wrong test must stop")]
    pub fn event(&self, row: usize) -> &Event {
        self.host.events.get(row).unwrap_or_else(|| panic!("there is no row {row}"))
    }
}
