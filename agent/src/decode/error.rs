//! Why a record could not be decoded, in words for the dead letter. Never holds values of rows.

use super::json::{Flaw, Syntax};
use crate::event::Reason;

/// Why a record could not be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum DecodeError {
    #[error("{part} is not JSON: {} at byte {}", .syntax.flaw.as_str(), .syntax.at)]
    Syntax { part: Part, syntax: Syntax },
    #[error("{part} is not UTF-8 at byte {at}")]
    Utf8 { part: Part, at: usize },
    #[error("record of {size} bytes is larger than the limit of {limit}; raise decode.max_record if it is sound")]
    TooLarge { size: usize, limit: usize },
    #[error("{part} is not an object with rows, but {found}")]
    NotAnObject { part: Part, found: &'static str },
    #[error("neither a Debezium envelope (op and source) nor an unwrapped row with {known}")]
    Unknown { known: &'static str },
    #[error("field `op` is not one of c, u, d, r, t, m")]
    Op,
    #[error("envelope: field `{field}` {what}")]
    Envelope { field: &'static str, what: &'static str },
    #[error(
        "update of a MongoDB document without the document: either the connector's capture.mode is not \
        change_streams_update_full, or the document was gone when the connector looked it up; for the latter set \
        decode.updates_without_document: skip"
    )]
    NoDocument,
    #[error("{part}: row has the field `{field}` twice")]
    Duplicate { part: Part, field: String },
    #[error("{part}: row has more than {limit} fields")]
    TooWide { part: Part, limit: usize },
    #[error("{part}: embedded schema cannot be read: {what}")]
    Schema { part: Part, what: &'static str },
}

/// Which part of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

impl DecodeError {
    pub(super) const fn syntax(part: Part) -> impl Fn(Syntax) -> Self {
        move |syntax| Self::Syntax { part, syntax }
    }

    /// The class for metrics and operators.
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::Syntax { syntax: Syntax { flaw: Flaw::NulName, .. }, .. }
            | Self::Duplicate { .. }
            | Self::TooWide { .. } => Reason::BadValue,
            Self::Syntax { .. } | Self::Utf8 { .. } => Reason::Malformed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::NotAnObject { .. }
            | Self::Unknown { .. }
            | Self::Op
            | Self::Envelope { .. }
            | Self::NoDocument
            | Self::Schema { .. } => Reason::NotAnEnvelope,
        }
    }
}
