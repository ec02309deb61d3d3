//! The shape of a configuration as a constant tree, and its JSON Schema written at compile time: the manifest is
//! a byte array in the plugin's file, so no code may be needed to produce it.
//!
//! ```
//! use whimbrel_plugin::prelude::*;
//! use whimbrel_plugin::schema::Schema;
//!
//! /// Masks columns.
//! #[derive(Config)]
//! struct Mask { columns: Vec<String> }
//!
//! assert!(matches!(Mask::SCHEMA, Schema::Object { description: "Masks columns.", fields } if fields.len() == 1));
//! ```

/// The shape of one configuration value. `#[derive(Config)]` writes these.
///
/// ```
/// use whimbrel_plugin::config::Config;
/// use whimbrel_plugin::schema::Schema;
///
/// fn word(schema: &Schema) -> String {
///     match schema {
///         Schema::List(items) => format!("a list of {}", word(items)),
///         Schema::Text { format: "" } => "texts".to_owned(),
///         Schema::Text { format } => format!("{format}s"),
///         other => format!("{other:?}"),
///     }
/// }
///
/// assert_eq!(word(Vec::<whimbrel_plugin::Glob>::SCHEMA), "a list of globs");
/// ```
#[derive(Debug)]
pub enum Schema {
    /// `true` or `false`.
    Boolean,
    /// A whole number within these bounds, both written out because they reach beyond 64 bits of float.
    Integer {
        /// The smallest allowed number.
        minimum: &'static str,
        /// The largest allowed number.
        maximum: &'static str,
    },
    /// Any number.
    Number,
    /// Any text, or one of a form that `format` names ("glob", …).
    Text {
        /// The form's name; empty for any text.
        format: &'static str,
    },
    /// A list of one kind of value.
    List(&'static Schema),
    /// A mapping from names to one kind of value.
    Map(&'static Schema),
    /// A value that may be left out or null.
    Optional(&'static Schema),
    /// A mapping with these members and no others.
    Object {
        /// What it is for.
        description: &'static str,
        /// Its members in order.
        fields: &'static [Field],
    },
    /// One of several.
    Choice {
        /// What it is for.
        description: &'static str,
        /// The alternatives in order.
        variants: &'static [Variant],
    },
}

/// A member of [`Schema::Object`].
///
/// ```
/// use whimbrel_plugin::prelude::*;
/// use whimbrel_plugin::schema::Schema;
///
/// #[derive(Config)]
/// struct Sample {
///     /// How many events to keep.
///     #[config(default = 100)]
///     first: u32,
/// }
///
/// let Schema::Object { fields: [first], .. } = Sample::SCHEMA else { unreachable!("one field") };
/// assert_eq!((first.name, first.description), ("first", "How many events to keep."));
/// assert_eq!((first.required, first.default), (false, "100"));
/// ```
#[derive(Debug)]
pub struct Field {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its value's shape.
    pub schema: &'static Schema,
    /// Whether it must be there.
    pub required: bool,
    /// What stands in for it, as JSON; empty when that is not a plain literal.
    pub default: &'static str,
}

/// An alternative of [`Schema::Choice`].
///
/// ```
/// use whimbrel_plugin::prelude::*;
/// use whimbrel_plugin::schema::Schema;
///
/// #[derive(Config)]
/// enum Action {
///     /// The value becomes null.
///     Remove,
///     /// The value becomes this text.
///     Replace(String),
/// }
///
/// let Schema::Choice { variants: [remove, replace], .. } = Action::SCHEMA else { unreachable!("two variants") };
/// assert_eq!((remove.name, remove.description), ("remove", "The value becomes null."));
/// assert!(remove.value.is_none() && replace.value.is_some());
/// ```
#[derive(Debug)]
pub struct Variant {
    /// The text that selects it, or the single member of the mapping that does.
    pub name: &'static str,
    /// What it means.
    pub description: &'static str,
    /// What the mapping's member holds; none for a plain text.
    pub value: Option<&'static Schema>,
}

/// Writes into a fixed array, or only counts when the array is empty: constants cannot allocate.
pub(crate) struct Writer<const N: usize> {
    pub(crate) bytes: [u8; N],
    pub(crate) len: usize,
}

#[expect(clippy::indexing_slicing, reason = "runs in constants only, where a wrong index is a compile error")]
impl<const N: usize> Writer<N> {
    pub(crate) const fn new() -> Self {
        Writer { bytes: [0; N], len: 0 }
    }

    const fn byte(&mut self, byte: u8) {
        if N > 0 {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    /// Appends text that is JSON already.
    pub(crate) const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    /// Appends text as a JSON string.
    pub(crate) const fn text(&mut self, text: &str) {
        self.byte(b'"');
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                byte if byte < b' ' => self.byte(b' '),
                byte => self.byte(byte),
            }
            i += 1;
        }
        self.byte(b'"');
    }

    /// Appends `,"name":"text"`, or nothing when the text is empty.
    pub(crate) const fn member(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.byte(b',');
            self.text(name);
            self.byte(b':');
            self.text(text);
        }
    }

    /// Appends `"name":["text",…]`, or nothing where there is no list.
    pub(crate) const fn names(&mut self, name: &str, texts: Option<&[&str]>) {
        let Some(texts) = texts else { return };
        self.text(name);
        self.raw(":[");
        let mut i = 0;
        while i < texts.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.text(texts[i]);
            i += 1;
        }
        self.raw("]");
    }

    /// Appends a schema, with an annotation or two before the closing brace.
    pub(crate) const fn schema(&mut self, schema: &Schema, description: &str, default: &str) {
        match schema {
            Schema::Boolean => self.raw(r#"{"type":"boolean""#),
            Schema::Number => self.raw(r#"{"type":"number""#),
            Schema::Integer { minimum, maximum } => {
                self.raw(r#"{"type":"integer","minimum":"#);
                self.raw(minimum);
                self.raw(r#","maximum":"#);
                self.raw(maximum);
            }
            Schema::Text { format } => {
                self.raw(r#"{"type":"string""#);
                self.member("format", format);
            }
            Schema::List(items) => {
                self.raw(r#"{"type":"array","items":"#);
                self.schema(items, "", "");
            }
            Schema::Map(values) => {
                self.raw(r#"{"type":"object","additionalProperties":"#);
                self.schema(values, "", "");
            }
            Schema::Optional(inner) => {
                self.raw(r#"{"anyOf":["#);
                self.schema(inner, "", "");
                self.raw(r#",{"type":"null"}]"#);
            }
            Schema::Object { description: own, fields } => {
                self.object(fields);
                if description.is_empty() {
                    self.member("description", own);
                }
            }
            Schema::Choice { description: own, variants } => {
                self.choice(variants);
                if description.is_empty() {
                    self.member("description", own);
                }
            }
        }
        self.member("description", description);
        if !default.is_empty() {
            self.raw(r#","default":"#);
            self.raw(default);
        }
        self.byte(b'}');
    }

    const fn object(&mut self, fields: &[Field]) {
        self.raw(r#"{"type":"object","properties":{"#);
        let mut i = 0;
        while i < fields.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.text(fields[i].name);
            self.byte(b':');
            self.schema(fields[i].schema, fields[i].description, fields[i].default);
            i += 1;
        }
        self.raw(r#"},"required":["#);
        let mut first = true;
        i = 0;
        while i < fields.len() {
            if fields[i].required {
                if !first {
                    self.byte(b',');
                }
                first = false;
                self.text(fields[i].name);
            }
            i += 1;
        }
        self.raw(r#"],"additionalProperties":false"#);
    }

    const fn choice(&mut self, variants: &[Variant]) {
        self.raw(r#"{"oneOf":["#);
        let mut i = 0;
        while i < variants.len() {
            if i > 0 {
                self.byte(b',');
            }
            let variant = &variants[i];
            match variant.value {
                None => {
                    self.raw(r#"{"const":"#);
                    self.text(variant.name);
                }
                Some(value) => {
                    self.raw(r#"{"type":"object","properties":{"#);
                    self.text(variant.name);
                    self.byte(b':');
                    self.schema(value, "", "");
                    self.raw(r#"},"required":["#);
                    self.text(variant.name);
                    self.raw(r#"],"additionalProperties":false"#);
                }
            }
            self.member("description", variant.description);
            self.byte(b'}');
            i += 1;
        }
        self.byte(b']');
    }
}
