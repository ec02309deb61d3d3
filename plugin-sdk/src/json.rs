//! A JSON value small enough to travel in every plugin: look up, change, write; `parse` reads it. Numbers keep their text,
//! so that 64-bit keys and exact decimals survive. Holds configuration and single events; knows neither.
//!
//! ```
//! use whimbrel_plugin::json::Json;
//!
//! let mut order = Json::parse(r#"{"id": 18446744073709551616, "note": "call ada"}"#)?;
//! if let Some(note) = order.get_mut("note") {
//!     *note = Json::Null;
//! }
//! assert_eq!(order.to_string(), r#"{"id":18446744073709551616,"note":null}"#);
//! # Ok::<(), whimbrel_plugin::json::JsonError>(())
//! ```

mod parse;

use std::fmt::{self, Write as _};

use parse::Parser;

/// One JSON value. Objects keep the order of their members.
///
/// ```
/// use whimbrel_plugin::json::Json;
///
/// let row = Json::parse(r#"{"id": 9007199254740993, "email": "ada@example.org"}"#)?;
/// assert_eq!(row.get("email").and_then(Json::as_text), Some("ada@example.org"));
/// assert_eq!(row.to_string(), r#"{"id":9007199254740993,"email":"ada@example.org"}"#);
/// # Ok::<(), whimbrel_plugin::json::JsonError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, members in the order of the text.
    Object(Vec<(String, Json)>),
}

/// Where and why a text is not JSON.
///
/// ```
/// use whimbrel_plugin::json::Json;
///
/// let error = Json::parse(r#"{"id": 1,}"#).unwrap_err();
/// assert_eq!((error.at, error.reason), (9, "expected a member name"));
/// assert_eq!(error.to_string(), "invalid JSON at byte 9: expected a member name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset into the text.
    pub at: usize,
    /// What was expected or is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON at byte {}: {}", self.at, self.reason)
    }
}

impl std::error::Error for JsonError {}

impl Json {
    /// An object of these members. Their names must differ.
    ///
    /// ```
    /// use whimbrel_plugin::json::Json;
    ///
    /// let body = Json::object([("text", "hello".into()), ("count", 2_i64.into()), ("links", false.into())]);
    /// assert_eq!(body.to_string(), r#"{"text":"hello","count":2,"links":false}"#);
    /// ```
    #[must_use]
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Reads one value; anything but white space after it is an error.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// assert_eq!(Json::parse(" [1, true] ").unwrap().to_string(), "[1,true]");
    /// assert_eq!(Json::parse("1 2").unwrap_err().reason, "nothing more");
    /// ```
    ///
    /// # Errors
    /// When the text is not JSON, nests deeper than 64 levels or names a member twice.
    pub fn parse(text: &str) -> Result<Json, JsonError> {
        Parser::new(text).whole()
    }

    /// The member of an object by name; `None` for every other value.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// let answer = Json::parse(r#"{"n": 3}"#).unwrap();
    /// assert_eq!(answer.get("n"), Some(&Json::Number("3".to_owned())));
    /// assert_eq!(answer.get("ok"), None);
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Like [`Json::get`], to change it in place.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// let mut row = Json::parse(r#"{"id": 1, "email": "ada@example.org"}"#).unwrap();
    /// if let Some(email) = row.get_mut("email") {
    ///     *email = Json::from("***");
    /// }
    /// assert_eq!(row.to_string(), r#"{"id":1,"email":"***"}"#);
    /// ```
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        match self {
            Json::Object(members) => members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string; `None` for every other value.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// assert_eq!(Json::from("ada").as_text(), Some("ada"));
    /// assert_eq!(Json::Number("7".to_owned()).as_text(), None);
    /// ```
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What this value is, for messages.
    ///
    /// ```
    /// # use whimbrel_plugin::json::Json;
    /// assert_eq!(format!("found {}", Json::Bool(true).kind()), "found a boolean");
    /// ```
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Json::Number(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Json::Bool(flag)
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Json::List(list)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(text),
            Json::Text(text) => write_text(f, text),
            Json::List(values) => {
                f.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_char(']')
            }
            Json::Object(members) => {
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        for text in [
            r#"null"#,
            r#"[true,false,null]"#,
            r#"{"a":1,"b":[{"c":-1.50e+3}],"d":""}"#,
            r#"18446744073709551616"#,
            r#""\"\\ü\u0001\n😀""#,
        ] {
            assert_eq!(Json::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Json::parse(r#""\ud83d\ude00\u00fc\/""#).unwrap(), Json::from("😀ü/"));
    }

    #[test]
    fn malformed_texts_are_refused_with_their_place() {
        for (text, at, reason) in [
            ("", 0, "expected a value"),
            ("nul", 0, "expected a value"),
            ("1 2", 2, "nothing more"),
            ("01", 1, "nothing more"),
            ("1.", 2, "expected a digit"),
            ("[1,]", 3, "expected a value"),
            ("{\"a\":1,}", 7, "expected a member name"),
            ("{\"a\":1,\"a\":2}", 10, "a member is named twice"),
            ("\"a", 2, "the text ends inside a string"),
            ("\"\\ud83d\"", 7, "half a surrogate pair"),
            ("\"\\u00g0\"", 3, "expected four hex digits"),
            ("\"\n\"", 1, "a control character must be escaped"),
        ] {
            assert_eq!(Json::parse(text), Err(JsonError { at, reason }), "{text}");
        }
        let deep = "[".repeat(100);
        assert_eq!(Json::parse(&deep).unwrap_err().reason, "nested too deeply");
    }
}
