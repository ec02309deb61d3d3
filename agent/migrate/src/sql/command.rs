//! What a plugin asks of a SQL database: one statement with parameters, as `wit/database.wit` has it.

use serde::Deserialize;
use serde_json::Value;

use super::{Dialect, Script, script};
use crate::program::Failure;

/// Rows of one answer: a plugin that wants more asks for them in pieces.
pub(crate) const MOST_ROWS: usize = 10_000;

/// A statement and its parameters: numbers, texts, flags and nulls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    pub(crate) sql: String,
    #[serde(default)]
    pub(crate) parameters: Vec<Value>,
}

impl Command {
    /// Reads a command, and what its statement is. What would end the transaction is refused here as in files.
    pub(crate) fn read(written: &str, dialect: Dialect) -> Result<(Self, Script), Failure> {
        let command: Self = serde_json::from_str(written).map_err(|error| bad(format!("it is no command: {error}")))?;
        let script = script::parse(&command.sql, dialect).map_err(|faults| {
            bad(faults.first().map_or_else(|| "it is no statement".to_owned(), |fault| fault.message.clone()))
        })?;
        Ok((command, script))
    }

    /// The parameters as the database takes them; `plain` knows none for a list or an object.
    pub(crate) fn parameters<T>(&self, plain: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Failure> {
        let parameters = self.parameters.iter().map(plain).collect::<Option<_>>();
        parameters.ok_or_else(|| bad("a parameter is no number, text, flag or null"))
    }
}

/// The command cannot be carried out as it is.
pub(crate) fn bad(message: impl Into<String>) -> Failure {
    Failure { code: "command".to_owned(), message: message.into(), retryable: false }
}

/// What is said of an answer with more than [`MOST_ROWS`].
pub(crate) fn too_many_rows() -> String {
    format!("the answer has more than {MOST_ROWS} rows: ask for less")
}
