//! Is a copied table as its source? Both sides are hashed by ranges of the key, and ranges that differ are cut into smaller
//! ones until the rows that differ are known.
//!
//! ```text
//! plan ─► one side per database ─► bisect ─► comparison
//! ```
//!
//! Who hashes depends on the two databases ([`Way`]): servers of one kind hash by themselves, and only sums come over the
//! wire; between different kinds both sides are read and hashed here, in the one form of [`value`]. Hashes are keyed by a
//! number that is new each time. Memory does not grow with the tables. Nothing is written.
//!
//! Each side is read in one snapshot where its database has one, but the two snapshots are not taken at the same moment: a
//! table that is written to may differ from its copy for as long as changes take to arrive. So what differs is looked at
//! once more, in new snapshots, before it is reported. Rows are reported by their keys; other values are never told.

pub mod bisect;
mod comparison;
pub mod decimal;
mod endpoint;
mod hash;
mod mongodb;
mod mysql;
mod plan;
mod postgresql;
mod sqlite;
pub mod value;

pub use bisect::{Fault, Limits};
pub use comparison::{Comparison, Difference, Unnamed};
pub use endpoint::Endpoint;

use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::migration::Copies;

/// A table and its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Table or collection that was copied.
    pub from: String,
    /// The copy.
    pub to: String,
    /// Columns of the key, the same on both sides; or `id=_id`, where the copy has another name for it.
    pub key: Vec<String>,
    /// Columns that are compared, also with `=` where they are called differently; empty: all that both have.
    pub columns: Vec<String>,
}

/// Who hashes the rows, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The servers, which are of one kind and have columns of the same types: each row as the server writes it.
    Server,
    /// We, of one kind of database: the values with their types.
    Exact,
    /// We, of different kinds of databases or types: the values in the one form of [`value`].
    Canonical,
}

/// Compares a table with its copy. One side, or both, may be the database of the migration itself.
///
/// # Errors
/// [`Kind::Refused`] when the tables cannot be compared by this key; others when a database cannot answer.
pub async fn compare(source: &Endpoint, target: &Endpoint, copy: &Copy, limits: Limits) -> Result<Comparison> {
    let began = Instant::now();
    if copy.key.is_empty() {
        return Err(Error::refused(
            format!("no key is named by which `{}` and `{}` are compared", copy.from, copy.to),
            "name the columns of a unique key in `key`",
        ));
    }
    let both = futures_util::future::join(source.open(&copy.from), target.open(&copy.to)).await;
    let (from, to) = (both.0.map_err(|error| error.at("the source"))?, both.1.map_err(|error| error.at("the copy"))?);
    let plan = plan::plan(copy, from.shape(), to.shape())?;
    let both = futures_util::future::join(from.side(plan.source), to.side(plan.target)).await;
    let (mut from, mut to) =
        (both.0.map_err(|error| error.at("the source"))?, both.1.map_err(|error| error.at("the copy"))?);
    let found = bisect::Search::new(&mut *from, &mut *to, limits).run().await?;
    let mut notes = plan.notes;
    notes.extend(from.notes().into_iter().chain(to.notes()));
    notes.dedup();
    Ok(Comparison::new(source, target, copy, plan.way, found, notes, began.elapsed()))
}

/// What is wrong with a copy, in a sentence; none when nothing is, or when copies are not compared in this run.
///
/// # Errors
/// As [`compare`].
pub async fn fault(copies: Option<&Copies>, copy: &Copy) -> Result<Option<String>> {
    match copies {
        Some(both) => Ok(compare(&both.source, &both.target, copy, Limits::default()).await?.fault()),
        None => Ok(None),
    }
}

/// What a database said is kept for the reader of logs; what it says of values is not repeated.
fn failed(kind: Kind, code: String, doing: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(kind, code, format!("{doing}: {cause}"))
}
