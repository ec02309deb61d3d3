//! MongoDB: declarative steps, JSON command files and programs, in transactions wherever the server has them.
//!
//! | file | owns |
//! |---|---|
//! | `step` | the words: steps, and what each is to the server |
//! | `file`, `commands` | YAML and JSON files to steps |
//! | `renames` | renames that lead nowhere |
//! | `check` | what must hold |
//! | `value` | JSON and BSON |
//! | `client` | connecting, and what errors mean |
//! | `ledger`, `lock` | ledger and lock in the database |
//! | `session` | running a migration |
//! | `transaction` | one transaction: its work and the ledger's progress |
//! | `chunk` | ranges of `_id` |
//! | `outside` | what the server does only outside transactions |
//! | `lag` | how far replicas are behind |
//! | `predict` | what a run would do |
//! | `program` | the session lent to a plugin |

mod check;
mod chunk;
mod client;
pub mod commands;
mod database;
pub mod file;
mod lag;
mod ledger;
mod lock;
mod outside;
mod predict;
mod program;
mod renames;
mod session;
mod step;
mod transaction;
mod value;

pub use check::Check;
pub(crate) use client::hosts;
pub use database::{Settings, open};
pub use step::{Rename, Script, Step, Update};
pub use value::to_bson;
