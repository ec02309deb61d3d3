//! May it be cut over? Conditions, where their figures come from, and the answer.
//!
//! ```text
//! agent's API ─┐
//!              ├─► facts ─► judge (limits) ─► report ─► text, JSON, JUnit, Markdown; exit status
//! Prometheus ──┘
//! ```
//!
//! Whatever goes wrong on the way there makes a fact unknown, and what is unknown does not pass: no answer, an old answer, an
//! id nobody knows, a figure that is no number.

pub mod agent;
pub mod args;
pub mod baseline;
mod check;
pub mod facts;
pub mod format;
pub mod judge;
pub mod prometheus;
pub mod report;
mod source;
mod start;
#[cfg(test)]
mod tests;

pub use check::{Compare, Copies, check};
pub use source::DEFAULT_AGENT;
pub use start::start;

/// How a command ends besides what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// 1.
    Runtime(String),
    /// 2.
    Usage(String),
}

impl Stop {
    /// The exit status.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Runtime(_) => 1,
            Self::Usage(_) => 2,
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Runtime(why) | Self::Usage(why) => why,
        }
    }
}
