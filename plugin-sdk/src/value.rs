//! One scalar of a row image with its type, for columns that are not text.

/// A value as the contract knows it.
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
