//! Cells to BSON bytes, without a tree in between: rows to documents, keys to `_id`. No I/O; what cannot be encoded is a
//! [`Bad`], which `write.rs` turns into an error that names the event.

pub(super) mod extended;
pub(super) mod json;
pub(super) mod own_id;
pub(super) mod plan;
pub(super) mod row;
pub(super) mod value;
pub(super) mod writer;

#[cfg(test)]
mod tests;

use crate::decode::value::ValueError;

/// Why a value or a name cannot be encoded. Holds no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    /// The cell does not hold well-formed JSON.
    #[error("the value is not well-formed JSON")]
    Json,
    /// Internal signal of `json.rs`: an object names a field twice.
    #[error("an object names a field twice")]
    Twice,
    /// Deeper than the server stores.
    #[error("the value is nested deeper than the 100 levels MongoDB stores")]
    TooDeep,
    /// A NUL would end the name early and corrupt the document.
    #[error("a field name holds a NUL character, which BSON cannot store")]
    NulInName,
    /// `$` in front or a dot inside, and the policy says reject.
    #[error("a field name begins with `$` or holds a dot, and `odd_field_names` says reject")]
    OddName,
    /// A key cell is absent.
    #[error("a key column has no value")]
    NoKey,
    /// The server refuses arrays, regular expressions and `$` names in `_id`.
    #[error("the key holds an array, a regular expression or a name with `$`, which MongoDB refuses in `_id`")]
    KeyType,
    /// The value is not what its type says.
    #[error("the value {0}")]
    Value(#[from] ValueError),
    /// The document is larger than the server stores.
    #[error("the document is larger than the 16 MiB MongoDB stores")]
    TooLarge,
}
