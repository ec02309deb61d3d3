//! Is a copied table as its source? Both sides are hashed by ranges of the key, and ranges that differ are halved until the
//! rows that differ are known.

/// A table and its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Table or collection that was copied.
    pub from: String,
    /// The copy.
    pub to: String,
    /// Columns of the key, the same on both sides.
    pub key: Vec<String>,
    /// Columns that are compared; empty: all that both have.
    pub columns: Vec<String>,
}
