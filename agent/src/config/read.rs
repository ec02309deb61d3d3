//! The tree to the raw structs, with every error found rather than the first.
//!
//! A serde deserializer over [`Node`]. When a value cannot be read, the finding is noted, the value is taken out of the
//! tree and the reading starts again, until it succeeds or the root itself is out; a field that is missing because its
//! value was taken out is not reported a second time. Values that came by reference never enter a message.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};

use super::finding::{Finding, is_sensitive_name};
use super::node::{Entry, Node, Scalar, Value};
use super::reference::withheld;
use super::suggest::nearest;

/// Findings after which reading stops: nobody mends a hundred at once.
const MAX_FINDINGS: usize = 100;

/// What reading gave.
pub(crate) struct Reading<T> {
    /// The value without the parts that could not be read; `None` when nothing is left.
    pub(crate) value: Option<T>,
    /// What could not be read.
    pub(crate) findings: Vec<Finding>,
    /// Numbers of the nodes that were taken out.
    pub(crate) pruned: HashSet<usize>,
}

/// Reads `T` from the tree.
pub(crate) fn read<T: de::DeserializeOwned>(root: &Node) -> Reading<T> {
    let session = Session::default();
    let mut value = None;
    // Each round takes at least one node out, so this ends; the bound keeps a hostile file from making it long.
    while session.findings.borrow().len() < MAX_FINDINGS {
        let before = session.pruned.borrow().len();
        match T::deserialize(Reader { node: root, session: &session }) {
            Ok(read) => value = Some(read),
            Err(error) => drop(error.at(root, &session)),
        }
        let after = session.pruned.borrow().len();
        if value.is_some() || after == before || session.pruned.borrow().contains(&root.id) {
            break;
        }
    }
    Reading { value, findings: session.findings.into_inner(), pruned: session.pruned.into_inner() }
}

#[derive(Default)]
struct Session {
    findings: RefCell<Vec<Finding>>,
    pruned: RefCell<HashSet<usize>>,
}

impl Session {
    fn is_pruned(&self, node: &Node) -> bool {
        self.pruned.borrow().contains(&node.id)
    }

    /// Takes the node out, with a finding the first time.
    fn prune(&self, node: &Node, finding: Option<Finding>) {
        if self.pruned.borrow_mut().insert(node.id)
            && let Some(finding) = finding
        {
            self.findings.borrow_mut().push(finding);
        }
    }
}

/// Why a value could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The finding is noted and the node taken out.
    Noted,
    /// A field is missing.
    Missing(&'static str),
    /// Not one of the known words.
    Variant(&'static [&'static str]),
    /// Another kind of value was expected.
    Type(String),
    /// What the type itself says; may hold the value.
    Message(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the configuration could not be read")
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Type(expected.to_string())
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Type(expected.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Variant(expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl ReadError {
    /// Notes the error as one of `node` and takes the node out, unless that has been done further inside.
    fn at(self, node: &Node, session: &Session) -> Self {
        let finding = match self {
            Self::Noted => return Self::Noted,
            Self::Missing(field) => {
                let known = node.get(field).is_some_and(|child| session.is_pruned(child));
                (!known).then(|| {
                    let message = format!("the field `{field}` is missing");
                    Finding::error(node.path.clone(), node.anchor, message, format!("add `{field}: …` here"))
                })
            }
            Self::Variant(known) => Some(unknown_word(node, known)),
            Self::Type(expected) => Some(wrong_type(node, &expected)),
            Self::Message(message) => Some(match &node.value {
                Value::Scalar(Scalar { resolved_from: Some(reference), .. }) => {
                    withheld(reference, &node.path, node.at, "")
                }
                _ => Finding::error(node.path.clone(), node.at, message, ""),
            }),
        };
        session.prune(node, finding);
        Self::Noted
    }
}

fn wrong_type(node: &Node, expected: &str) -> Finding {
    if let Value::Scalar(Scalar { resolved_from: Some(reference), .. }) = &node.value {
        return withheld(reference, &node.path, node.at, expected);
    }
    let hint = match (&node.value, expected) {
        (Value::Scalar(_), "a list") => "write `[one, two]`, or one `- item` a line below",
        (Value::Scalar(scalar), "true or false")
            if matches!(scalar.text.to_ascii_lowercase().as_str(), "yes" | "on") =>
        {
            "write `true`"
        }
        (Value::Scalar(scalar), "true or false")
            if matches!(scalar.text.to_ascii_lowercase().as_str(), "no" | "off") =>
        {
            "write `false`"
        }
        (Value::Scalar(scalar), "text") if scalar.is_null() => "write a value, or leave the field out",
        (Value::Mapping(_), "text") => {
            "write one value on the line of the field; quote it when it holds `: `, `{` or `}`"
        }
        (Value::Sequence(_), "a mapping") => "remove the `-` in front, and write `field: value` lines",
        (Value::Sequence(_), "text") => "write one value, not a list",
        _ => "",
    };
    let message = format!("expected {expected}, found {}", node.kind());
    Finding::error(node.path.clone(), node.at, message, hint)
}

fn unknown_word(node: &Node, known: &[&str]) -> Finding {
    let list = quoted(known);
    match &node.value {
        Value::Scalar(Scalar { resolved_from: Some(reference), .. }) => {
            withheld(reference, &node.path, node.at, &format!("one of {list}"))
        }
        Value::Scalar(scalar) => {
            let hint = match nearest(&scalar.text, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? known are {list}"),
                None => format!("write one of {list}"),
            };
            Finding::error(node.path.clone(), node.at, format!("`{}` is not known here", scalar.text), hint)
        }
        Value::Sequence(_) | Value::Mapping(_) => wrong_type(node, &format!("one of {list}")),
    }
}

fn unknown_field(entry: &Entry, known: &[&str]) -> Finding {
    let hint = match nearest(&entry.key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "no fields are known here".to_owned(),
        None => format!("fields that are known here: {}", quoted(known)),
    };
    Finding::error(entry.value.path.clone(), entry.key_at, format!("unknown field `{}`", entry.key), hint)
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A node as serde reads it.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    session: &'a Session,
}

impl<'a> Reader<'a> {
    fn scalar(&self, expected: &str) -> Result<&'a Scalar, ReadError> {
        match &self.node.value {
            Value::Scalar(scalar) if !self.session.is_pruned(self.node) => Ok(scalar),
            _ => Err(self.refuse(expected)),
        }
    }

    fn refuse(&self, expected: &str) -> ReadError {
        ReadError::Type(expected.to_owned()).at(self.node, self.session)
    }

    /// The number a scalar is; quotes make it text, a reference does not.
    fn number<T: std::str::FromStr>(&self, expected: &str) -> Result<T, ReadError> {
        let scalar = self.scalar(expected)?;
        let text = scalar.text.trim().replace('_', "");
        let may_be_number = scalar.plain || scalar.resolved_from.is_some();
        text.parse().ok().filter(|_| may_be_number).ok_or_else(|| self.refuse(expected))
    }

    fn entries(&self) -> Result<&'a [Entry], ReadError> {
        match &self.node.value {
            _ if self.session.is_pruned(self.node) => Err(ReadError::Noted),
            Value::Mapping(entries) => Ok(entries),
            Value::Scalar(scalar) if scalar.is_null() => Ok(&[]),
            _ => Err(self.refuse("a mapping")),
        }
    }

    fn map<'de, V: Visitor<'de>>(self, entries: &'a [Entry], visitor: V) -> Result<V::Value, ReadError> {
        let access = Map { entries: entries.iter(), value: None, session: self.session };
        visitor.visit_map(access).map_err(|error| error.at(self.node, self.session))
    }
}

macro_rules! whole_numbers {
    ($($deserialize:ident $visit:ident $type:ty,)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let value: $type = self.number("a whole number")?;
            visitor.$visit(value).map_err(|error: ReadError| error.at(self.node, self.session))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) if scalar.is_null() => visitor.visit_unit(),
            Value::Scalar(scalar) if scalar.plain && scalar.resolved_from.is_none() => match scalar.text.as_str() {
                "true" | "True" | "TRUE" => visitor.visit_bool(true),
                "false" | "False" | "FALSE" => visitor.visit_bool(false),
                text => match (text.parse::<u64>(), text.parse::<i64>(), json_float(text)) {
                    (Ok(number), _, _) => visitor.visit_u64(number),
                    (_, Ok(number), _) => visitor.visit_i64(number),
                    (_, _, Some(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_str(text),
                },
            },
            Value::Scalar(scalar) => visitor.visit_str(&scalar.text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let scalar = self.scalar("true or false")?;
        let may_be_bool = scalar.plain || scalar.resolved_from.is_some();
        match scalar.text.trim() {
            "true" | "True" | "TRUE" if may_be_bool => visitor.visit_bool(true),
            "false" | "False" | "FALSE" if may_be_bool => visitor.visit_bool(false),
            _ => Err(self.refuse("true or false")),
        }
    }

    whole_numbers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let number: f64 = self.number("a number")?;
        if number.is_finite() { visitor.visit_f64(number) } else { Err(self.refuse("a number")) }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let scalar = self.scalar("text")?;
        if scalar.is_null() {
            return Err(self.refuse("text"));
        }
        visitor.visit_str(&scalar.text).map_err(|error: ReadError| error.at(self.node, self.session))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.refuse("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == super::secret::NAME
            && let Some(finding) = secret_in_the_clear(self.node)
        {
            self.session.prune(self.node, Some(finding));
            return Err(ReadError::Noted);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let items = match &self.node.value {
            _ if self.session.is_pruned(self.node) => return Err(ReadError::Noted),
            Value::Sequence(items) => items.as_slice(),
            Value::Scalar(scalar) if scalar.is_null() => &[],
            Value::Scalar(_) | Value::Mapping(_) => return Err(self.refuse("a list")),
        };
        let access = List { items: items.iter(), session: self.session };
        visitor.visit_seq(access).map_err(|error| error.at(self.node, self.session))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.map(self.entries()?, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let entries = self.entries()?;
        for entry in entries.iter().filter(|entry| !fields.contains(&entry.key.as_str())) {
            self.session.prune(&entry.value, Some(unknown_field(entry, fields)));
        }
        self.map(entries, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let done = match &self.node.value {
            _ if self.session.is_pruned(self.node) => return Err(ReadError::Noted),
            Value::Scalar(scalar) => {
                let name = scalar.text.as_str();
                if !variants.contains(&name) {
                    return Err(ReadError::Variant(variants).at(self.node, self.session));
                }
                visitor.visit_enum(Variant { name, content: None, session: self.session })
            }
            Value::Mapping(entries) => match entries.as_slice() {
                [entry] if variants.contains(&entry.key.as_str()) => {
                    visitor.visit_enum(Variant { name: &entry.key, content: Some(&entry.value), session: self.session })
                }
                [entry] => {
                    self.session.prune(self.node, Some(unknown_field(entry, variants)));
                    return Err(ReadError::Noted);
                }
                _ => {
                    let expected = format!("exactly one of {}", quoted(variants));
                    let message = format!("expected {expected}, found {} fields", entries.len());
                    let finding = Finding::error(self.node.path.clone(), self.node.anchor, message, "keep one of them");
                    self.session.prune(self.node, Some(finding));
                    return Err(ReadError::Noted);
                }
            },
            Value::Sequence(_) => return Err(self.refuse(&format!("one of {}", quoted(variants)))),
        };
        done.map_err(|error: ReadError| {
            // A content that was taken out takes its variant along, silently: it has its finding.
            let content_out = match &self.node.value {
                Value::Mapping(entries) => entries.iter().any(|entry| self.session.is_pruned(&entry.value)),
                Value::Scalar(_) | Value::Sequence(_) => false,
            };
            match error {
                ReadError::Noted if content_out => {
                    self.session.prune(self.node, None);
                    ReadError::Noted
                }
                other => other.at(self.node, self.session),
            }
        })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

/// A password that is written out where a reference belongs.
fn secret_in_the_clear(node: &Node) -> Option<Finding> {
    let Value::Scalar(scalar) = &node.value else { return None };
    if scalar.resolved_from.is_some() || scalar.is_null() || scalar.text.is_empty() {
        return None;
    }
    // Written `$${…}`: a reference for somebody else to resolve, such as Kafka Connect, and no secret itself.
    if scalar.text.starts_with("${") && scalar.text.ends_with('}') && !scalar.text.contains(char::is_whitespace) {
        return None;
    }
    let field = node.path.rsplit(['.', '[']).next().unwrap_or_default();
    let user_part = scalar.text.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
    let in_uri = user_part.is_some_and(|(user, _)| user.contains(':'));
    let in_pairs = scalar.text.to_ascii_lowercase().contains("password=");
    (is_sensitive_name(field) || in_uri || in_pairs).then(|| {
        let message = "a secret is written out in the file";
        let hint = "refer to it: `${env:NAME}` or `${file:PATH}`; a reference may also be a part of the text";
        Finding::error(node.path.clone(), node.at, message, hint)
    })
}

/// A plain number with point or exponent.
fn json_float(text: &str) -> Option<f64> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.' || c == '+');
    text.parse().ok().filter(|number: &f64| numeric && number.is_finite())
}

struct Map<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Node>,
    session: &'a Session,
}

impl<'de> de::MapAccess<'de> for Map<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.entries.by_ref().find(|entry| !self.session.is_pruned(&entry.value)) else {
            return Ok(None);
        };
        self.value = Some(&entry.value);
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|error: ReadError| error.at(&entry.value, self.session))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        match self.value.take() {
            Some(node) => {
                seed.deserialize(Reader { node, session: self.session }).map_err(|error| error.at(node, self.session))
            }
            None => Err(ReadError::Message("a value was asked for before its key".into())),
        }
    }
}

struct List<'a> {
    items: std::slice::Iter<'a, Node>,
    session: &'a Session,
}

impl<'de> de::SeqAccess<'de> for List<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.items.by_ref().find(|node| !self.session.is_pruned(node)) else {
            return Ok(None);
        };
        seed.deserialize(Reader { node, session: self.session }).map(Some).map_err(|error| error.at(node, self.session))
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<&'a Node>,
    session: &'a Session,
}

impl<'a> Variant<'a> {
    fn content(&self) -> Result<Reader<'a>, ReadError> {
        match self.content {
            Some(node) if self.session.is_pruned(node) => Err(ReadError::Noted),
            Some(node) => Ok(Reader { node, session: self.session }),
            None => Err(ReadError::Type(format!("a mapping `{}:` with its fields", self.name))),
        }
    }
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: de::value::StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            Some(node) if !node.is_null() => Err(ReadError::Type("nothing".into()).at(node, self.session)),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let reader = self.content()?;
        seed.deserialize(reader).map_err(|error| error.at(reader.node, self.session))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}
