//! Replay cases of what running plugins were given, in the form that `whimbrel plugin test` reads. Which values stand in
//! one its callers decide; a secret of the plugin's options never does: where the configuration has a reference, so has the
//! case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::sample::Sample;
use super::stored::Image;
use crate::config::finding::is_sensitive_name;
use crate::config::scrub_value;
use crate::config::written::Written;
use crate::plugin::store::Entries;
use crate::plugin::{Grants, Limits, Setup};

/// Stands for a secret that the file has written out.
const STARS: &str = "***";
/// Shorter texts are in every row by chance.
const MIN_SECRET: usize = 5;

/// One call as a case has it.
#[derive(Debug, Serialize)]
pub(super) struct Case {
    pub(super) description: String,
    config: Value,
    grants: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Value>,
    pub(super) now_ms: i64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) state: Map<String, Value>,
    events: Vec<Sample>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trap: Option<Value>,
}

impl Case {
    /// A call of a plugin that runs like this, now.
    pub(super) fn of(setup: &Setup, description: String, mut events: Vec<Sample>) -> Self {
        let secrets = Secrets::of(&setup.written);
        events.iter_mut().for_each(|event| secrets.hide_in(event));
        Case {
            description,
            config: options("", &setup.written.options.clone().into()),
            grants: grants(&setup.grants),
            limits: None,
            now_ms: (setup.services.clock)(),
            state: Map::new(),
            events,
            trap: None,
        }
    }

    /// With limits that decide whether the call ends well.
    pub(super) fn limit(&mut self, limits: &Limits) {
        let call_ms = u64::try_from(limits.call.as_millis()).unwrap_or(u64::MAX);
        self.limits = Some(json!({ "call_ms": call_ms, "memory": limits.memory }));
    }

    /// With what the plugin kept. Bytes that are no text are left out when they hold a secret.
    pub(super) fn keep(&mut self, setup: &Setup, kept: &Entries) {
        let secrets = Secrets::of(&setup.written);
        for (key, value) in kept {
            let value = match std::str::from_utf8(value) {
                Ok(text) => Value::from(secrets.hide(text.to_owned())),
                Err(_) if secrets.are_in(value) => continue,
                Err(_) => json!({ "base64": BASE64.encode(value) }),
            };
            self.state.insert(secrets.hide(key.clone()), value);
        }
    }

    /// What a plugin said, without its secrets and parts of them.
    pub(super) fn hide(setup: &Setup, said: &str) -> String {
        Secrets::of(&setup.written).0.iter().fold(said.to_owned(), |said, (secret, _)| scrub_value(&said, secret))
    }

    /// The case's text, for people and `whimbrel plugin test`.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// Options as the file has them. What is written out in it and called a secret is one all the same.
fn options(name: &str, written: &Value) -> Value {
    match written {
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), options(name, member))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| options(name, item)).collect(),
        Value::String(text) if is_written_out(name, text) => Value::from(STARS),
        Value::Number(_) if is_secret(name) => Value::from(0),
        other => other.clone(),
    }
}

fn written_out(name: &str, written: &Value, found: &mut Vec<(String, String)>) {
    match written {
        Value::Object(members) => members.iter().for_each(|(name, member)| written_out(name, member, found)),
        Value::Array(items) => items.iter().for_each(|item| written_out(name, item, found)),
        Value::String(text) if is_written_out(name, text) => found.push((text.clone(), STARS.to_owned())),
        Value::Number(number) if is_secret(name) => found.push((number.to_string(), STARS.to_owned())),
        _ => {}
    }
}

fn is_written_out(name: &str, text: &str) -> bool {
    is_secret(name) && !text.contains("${")
}

fn is_secret(name: &str) -> bool {
    // Who knows the salt of a hash can try out what was hashed.
    is_sensitive_name(name) || name.to_ascii_lowercase().contains("salt")
}

/// What a transform may be granted.
fn grants(grants: &Grants) -> Value {
    json!({ "state": grants.state, "metrics": grants.metrics, "clock": grants.clock })
}

/// The secrets among a plugin's options, each with what stands in its place: its reference, or stars.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn of(written: &Written) -> Self {
        let mut found = Vec::new();
        for (reference, secret) in &written.secrets {
            found.push((secret.expose().to_owned(), reference.clone()));
        }
        written.options.iter().for_each(|(name, option)| written_out(name, option, &mut found));
        Secrets(found)
    }

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
        for (secret, shown) in self.long() {
            text = text.replace(secret.as_str(), shown);
        }
        text
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        self.long().any(|(secret, _)| memchr::memmem::find(bytes, secret.as_bytes()).is_some())
    }

    fn long(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter().filter(|(secret, _)| secret.len() >= MIN_SECRET)
    }
}
