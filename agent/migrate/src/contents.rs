//! What is read from a migration's file: contents, or what is wrong with them, all at once.

use crate::migration::{Body, Check};

/// A migration's file, understood.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Its name, where the file says one.
    pub name: Option<String>,
    /// Makes the change.
    pub up: Body,
    /// Undoes it.
    pub down: Option<Body>,
    /// What must hold afterwards.
    pub checks: Vec<Check>,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; none: the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What mends it.
    pub remedy: String,
}

impl Fault {
    /// A fault at a line.
    #[must_use]
    pub fn new(line: Option<usize>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { line, message: message.into(), remedy: remedy.into() }
    }
}
