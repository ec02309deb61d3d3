//! What is wrong with a value, and what may get lost on the way. Words only, never the value.

/// Why a value could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is of another kind than its type says.
    #[error("is not {0}")]
    Expected(&'static str),
    /// It is of the right kind, but too large or too small.
    #[error("does not fit {0}")]
    OutOfRange(&'static str),
    /// A struct has a field that its schema lacks.
    #[error("has a field that its schema lacks")]
    UnknownField,
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8")]
    Utf8,
}

/// What was lost: by the connector's encoding, or because nothing finer can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Digits after the microsecond.
    SubMicrosecond,
    /// The connector counts a year as 365.25 days: months and days are gone.
    IntervalParts,
    /// More digits than a double holds.
    FloatDigits,
}

impl Loss {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SubMicrosecond => "digits after the microsecond",
            Self::IntervalParts => "months and days of an interval; set interval.handling.mode=string",
            Self::FloatDigits => "more digits than a double holds; set decimal.handling.mode=string",
        }
    }
}
