//! The configuration file as a tree that still knows where everything stood.
//!
//! `yaml` builds it, `reference` puts secrets into its scalars, `read` makes the raw structs of it. Because a secret enters
//! a scalar that is already parsed, its content can be no YAML, and because each node keeps its place, every later finding
//! can name line and column.

use std::fmt;

use super::secret::Secret;

/// A place in the file; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
    /// Characters to underline; at least 1.
    pub len: usize,
}

/// A value of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: Value,
    /// Where it begins.
    pub(crate) at: Place,
    /// What to point at when the whole value is meant: its key, or itself in a list.
    pub(crate) anchor: Place,
    /// Field path from the root, such as `pipelines[0].source`.
    pub(crate) path: String,
    /// Number that is unique in the tree.
    pub(crate) id: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Text, number, boolean or null: decided by the field that reads it.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Mapping(Vec<Entry>),
}

/// A scalar.
#[derive(Clone)]
pub(crate) struct Scalar {
    /// Its text after quotes and escapes are undone and references are put in.
    pub(crate) text: String,
    /// Written without quotes, so that it may be a number, a boolean or null.
    pub(crate) plain: bool,
    /// The references that made it, such as `${env:NAME}`, when it holds any: its text must then never be printed.
    pub(crate) resolved_from: Option<String>,
    /// The text with its references in place, when it holds any.
    pub(crate) written: Option<String>,
    /// Each of its references, and what that was resolved to.
    pub(crate) secrets: Vec<(String, Secret)>,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resolved_from {
            Some(reference) => f.write_str(reference),
            None => f.write_str(if self.plain { "plain scalar" } else { "quoted scalar" }),
        }
    }
}

impl Scalar {
    /// Written as null, or not written at all (`key:`).
    pub(crate) fn is_null(&self) -> bool {
        self.plain && self.resolved_from.is_none() && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_at: Place,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// A node that is not in a tree yet.
    pub(crate) fn new(value: Value, at: Place) -> Self {
        Self { value, at, anchor: at, path: String::new(), id: 0 }
    }

    /// Null, written or left out.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// What a person would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.resolved_from.is_some() => "a referenced value",
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "text or a number",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The entry called `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The items of a list; of anything else none.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => &[],
        }
    }

    /// This node and all below it, parents first.
    pub(crate) fn walk(&self, visit: &mut impl FnMut(&Node)) {
        visit(self);
        match &self.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| item.walk(visit)),
            Value::Mapping(entries) => entries.iter().for_each(|entry| entry.value.walk(visit)),
        }
    }

    /// This node with its references back in the place of what they were resolved to.
    pub(crate) fn as_written(&self) -> Node {
        let mut node = self.clone();
        node.unresolve();
        node
    }

    fn unresolve(&mut self) {
        match &mut self.value {
            Value::Scalar(scalar) => {
                if let Some(written) = scalar.written.take() {
                    scalar.text = written;
                }
            }
            Value::Sequence(items) => items.iter_mut().for_each(Node::unresolve),
            Value::Mapping(entries) => entries.iter_mut().for_each(|entry| entry.value.unresolve()),
        }
    }

    /// Gives this node and all below it their paths, anchors and numbers.
    pub(crate) fn number(&mut self) {
        self.number_from(String::new(), self.at, &mut 0);
    }

    fn number_from(&mut self, path: String, anchor: Place, next: &mut usize) {
        self.id = *next;
        *next += 1;
        self.anchor = anchor;
        match &mut self.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let at = item.at;
                    item.number_from(format!("{path}[{index}]"), at, next);
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    let below = join(&path, &entry.key);
                    entry.value.number_from(below, entry.key_at, next);
                }
            }
        }
        self.path = path;
    }
}

/// A path one field longer; keys that are no plain words stand in quotes.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[\"{}\"]", key.escape_debug()),
    }
}
