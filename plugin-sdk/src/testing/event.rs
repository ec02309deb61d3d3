//! Events for a transform's own tests, and what became of them.

use crate::batch::Batch;
use crate::failure::Failure;
use crate::json::Json;
use crate::native::Host;

/// What a plugin decided about an event.
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
    #[must_use]
    pub fn create(table: &str, after: &str) -> Self {
        Event::new("create", table, "null", "null", after)
    }

    /// A changed row.
    #[must_use]
    pub fn update(table: &str, before: &str, after: &str) -> Self {
        Event::new("update", table, "null", before, after)
    }

    /// A deleted row.
    #[must_use]
    pub fn delete(table: &str, before: &str) -> Self {
        Event::new("delete", table, "null", before, "null")
    }

    /// The same event with a key.
    ///
    /// # Panics
    /// When the key is not JSON: the test is wrong.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        let fresh = Event::new("", "", key, "null", "null");
        Event { key: fresh.key, ..self }
    }

    /// The full name of its table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The new row image as JSON text, `null` when there is none.
    #[must_use]
    pub fn after(&self) -> String {
        self.after.to_string()
    }

    /// The old row image as JSON text, `null` when there is none.
    #[must_use]
    pub fn before(&self) -> String {
        self.before.to_string()
    }

    /// What the plugin decided.
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
    #[must_use]
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        Batch { host: Host { events: events.into_iter().collect() } }
    }

    /// One event with what became of it.
    ///
    /// # Panics
    /// When there is no such row: the test is wrong.
    #[must_use]
    #[expect(clippy::panic, reason = "a wrong test must stop")]
    pub fn event(&self, row: usize) -> &Event {
        self.host.events.get(row).unwrap_or_else(|| panic!("there is no row {row}"))
    }
}
