//! SQL migrations: scripts of statements, backfills and checks, which are the same words for every SQL database. How they
//! are run is `postgresql/`'s, `mysql/`'s and `sqlite/`'s business.

use std::fmt;

mod answer;
pub mod backfill;
mod command;
pub mod file;
pub mod lex;
pub mod lint;
pub mod mysql;
pub mod postgresql;
mod record;
pub mod script;
pub mod split;
pub mod sqlite;
pub mod touched;
pub mod words;

/// How a database writes its SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgresql,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

/// What a SQL migration does, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether the file leaves it to the database to run all of it in one transaction. Backfills never are.
    pub transaction: bool,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// One statement.
    Statement(Statement),
    /// Rows changed in batches.
    Backfill(Backfill),
}

/// One statement as written, without its terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// Its first line in the file, from 1.
    pub line: usize,
}

/// `UPDATE table SET set WHERE filter`, a batch of keys at a time, each its own transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// Table, with or without schema.
    pub table: String,
    /// Columns of a unique key, by which the batches follow each other.
    pub key: Vec<String>,
    /// What is assigned: `total = price * quantity`.
    pub set: String,
    /// Which rows.
    pub filter: Option<String>,
    /// Rows of a batch.
    pub batch: Option<u64>,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// How many rows there are.
    Count {
        /// Table.
        table: String,
        /// Which rows.
        filter: Option<String>,
        /// How many.
        is: Bound,
    },
    /// A query gives this one value.
    Query {
        /// The query: one row, one column.
        sql: String,
        /// The value.
        equals: serde_json::Value,
    },
    /// Two queries give the same value.
    Equal {
        /// One: one row, one column.
        left: String,
        /// The other.
        right: String,
    },
}

/// A number or what it may lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// At least.
    pub at_least: u64,
    /// At most; none: however many.
    pub at_most: Option<u64>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { table, filter: None, is } => write!(f, "{table} has {is} rows"),
            Self::Count { table, filter: Some(filter), is } => write!(f, "{table} has {is} rows where {filter}"),
            Self::Query { sql, equals } => write!(f, "`{sql}` gives {equals}"),
            Self::Equal { left, right } => write!(f, "`{left}` gives what `{right}` gives"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (least, Some(most)) if least == most => write!(f, "{least}"),
            (0, Some(most)) => write!(f, "at most {most}"),
            (least, Some(most)) => write!(f, "{least} to {most}"),
            (least, None) => write!(f, "at least {least}"),
        }
    }
}

impl Bound {
    /// Whether this many are right.
    #[must_use]
    pub fn holds(&self, count: u64) -> bool {
        count >= self.at_least && self.at_most.is_none_or(|most| count <= most)
    }
}
