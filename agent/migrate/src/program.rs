//! Plugins as migrations, as this crate sees them: something that is lent a database session and does its work with it.
//! Loading and sandboxing them is the agent's business.

use std::fmt;

use crate::error::Result;
use crate::migration::PluginFile;

/// What went wrong in a call, as data: the plugin's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Short and stable.
    pub code: String,
    /// For people.
    pub message: String,
    /// The same call may succeed later.
    pub retryable: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// The session a program works in. Calls block.
pub trait Lent: Send {
    /// Runs one command and gives its answer, both JSON as `wit/database.wit` says.
    ///
    /// # Errors
    /// With the database's code and words.
    fn run(&mut self, command: &str) -> Result<String, Failure>;

    /// Takes note of how far it is.
    fn progress(&mut self, place: &str, done: u64, expected: Option<u64>);

    /// For whoever lent it and wants it back as it was.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

/// What a program can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Make the change.
    Up,
    /// Undo it.
    Down,
    /// See whether it is made.
    Validate,
}

/// A migration in code.
pub trait Program: Send {
    /// Has one call done; blocks. What was lent comes back in every case.
    fn call(&mut self, call: Call, lent: Box<dyn Lent>) -> (Box<dyn Lent>, Result<(), Failure>);
}

/// Loads programs.
pub trait Programs: Send + Sync {
    /// Loads one; blocks.
    ///
    /// # Errors
    /// When the file is no plugin of this kind, or may not run.
    fn load(&self, file: &PluginFile) -> Result<Box<dyn Program>>;
}
