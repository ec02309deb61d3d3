//! Replay cases of what running plugins were given, in the form that `whimbrel plugin test` reads. Which values stand in
//! one its callers decide; a secret of the plugin's options never does: where the configuration has a reference, so has the
//! case.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::sample::Sample;
use super::stored::{self, Image};
use crate::batch::Batch;
use crate::config::finding::is_sensitive_name;
use crate::config::secret::Secret;
use crate::event::Event;
use crate::plugin::{Grants, Setup};

/// Shorter texts are in every row by chance.
const MIN_SECRET: usize = 5;

/// One call as a case has it.
#[derive(Debug, Serialize)]
pub(super) struct Case {
    pub(super) description: String,
    config: Value,
    grants: Value,
    now_ms: i64,
    pub(super) events: Vec<Sample>,
}

impl Case {
    /// A call of a plugin that runs like this, now.
    pub(super) fn of(setup: &Setup, description: String, mut events: Vec<Sample>) -> Self {
        let secrets = Secrets(&setup.written.secrets);
        events.iter_mut().for_each(|event| secrets.hide_in(event));
        Case {
            description,
            config: options("", &setup.written.options.clone().into()),
            grants: grants(&setup.grants),
            now_ms: (setup.services.clock)(),
            events,
        }
    }

    /// The case's text, for people and `whimbrel plugin test`.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// An event as a case has it.
pub(super) fn sample(batch: &Batch, event: &Event) -> serde_json::Result<Sample> {
    serde_json::from_slice(&stored::event_json(batch, event))
}

/// Options as the file has them. What is written out in it and called a secret is one all the same.
fn options(name: &str, written: &Value) -> Value {
    match written {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), options(name, member))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| options(name, item)).collect(),
        Value::String(text) if is_secret(name) && !text.contains("${") => Value::from("***"),
        Value::Number(_) if is_secret(name) => Value::from(0),
        other => other.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    // Who knows the salt of a hash can try out what was hashed.
    is_sensitive_name(name) || name.to_ascii_lowercase().contains("salt")
}

/// What a transform may be granted.
fn grants(grants: &Grants) -> Value {
    json!({ "state": grants.state, "metrics": grants.metrics, "clock": grants.clock })
}

/// What a plugin's options have by reference.
struct Secrets<'a>(&'a [(String, Secret)]);

impl Secrets<'_> {
    /// Rows may hold the same text, as where a plugin looks for it. They then hold the same reference.
    fn hide_in(&self, sample: &mut Sample) {
        if self.long().next().is_none() {
            return;
        }
        let images = [&mut sample.key, &mut sample.before, &mut sample.after];
        images.into_iter().flatten().for_each(|image| self.hide_in_image(image));
    }

    fn hide_in_image(&self, image: &mut Image) {
        for raw in image.values_mut().filter(|raw| raw.get().starts_with(['"', '{', '['])) {
            // What nests too deeply to be read cannot be searched, so it is not shown.
            let value: Option<Value> = serde_json::from_str(raw.get()).ok();
            let hidden = value.clone().map(|value| self.hidden(value));
            if hidden.is_none() || hidden != value {
                *raw = to_raw_value(&hidden).unwrap_or_else(|_| RawValue::NULL.to_owned());
            }
        }
    }

    fn hidden(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide(text)),
            Value::Array(items) => items.into_iter().map(|item| self.hidden(item)).collect(),
            Value::Object(members) => {
                let hide = |(name, member)| (self.hide(name), self.hidden(member));
                members.into_iter().map(hide).collect::<Map<_, _>>().into()
            }
            other => other,
        }
    }

    fn hide(&self, mut text: String) -> String {
        for (reference, secret) in self.long() {
            text = text.replace(secret.expose(), reference);
        }
        text
    }

    fn long(&self) -> impl Iterator<Item = &(String, Secret)> {
        self.0.iter().filter(|(_, secret)| secret.expose().len() >= MIN_SECRET)
    }
}
