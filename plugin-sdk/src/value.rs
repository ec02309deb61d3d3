//! One scalar of a row image with its type, for columns that are not text.

/// A value as the contract knows it.
///
/// ```
/// use whimbrel_plugin::Value;
///
/// fn shown(value: &Value) -> String {
///     match value {
///         Value::Integer(number) => number.to_string(),
///         Value::Text(text) | Value::Tagged(_, text) => text.clone(),
///         _ => "-".to_owned(),
///     }
/// }
///
/// assert_eq!(shown(&Value::Integer(3)), "3");
/// assert_eq!(shown(&Value::Tagged("decimal".to_owned(), "19.90".to_owned())), "19.90");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null, absent, or not sent by the source.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Another type: its name ("decimal", "uuid", "timestamp", "json", …) and its canonical text.
    Tagged(String, String),
}
