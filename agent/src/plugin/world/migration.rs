//! Migrations: a database session is lent for the call. Opening it, and what its transaction is, is the stage's business.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use super::{World, generated};
use crate::plugin::batch::Failure;
use crate::plugin::bindings::migration::whimbrel::plugin::host_database;
use crate::plugin::bindings::migration::{DatabaseMigration, DatabaseMigrationPre};
use crate::plugin::fault::CallError;
use crate::plugin::host::{Access, State};
use crate::plugin::instance::Instance;
use crate::plugin::manifest::{Interface, Kind};

/// Plugins that change a database.
#[derive(Debug)]
pub enum Migration {}

/// The session a migration works in.
pub trait Database: Send {
    /// Runs one command and gives its answer, both JSON.
    ///
    /// # Errors
    /// With the database's code and words.
    fn run(&mut self, command: &str) -> Result<String, Failure>;

    /// Takes note of how far the migration is.
    fn progress(&mut self, collection: &str, processed: u64, expected: Option<u64>);
}

/// What a migration is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the change.
    Up,
    /// Undo it.
    Down,
    /// See whether it is made.
    Validate,
}

impl World for Migration {
    const KIND: Kind = Kind::Migration;
    type Loan = Box<dyn Database>;

    fn link_own(linker: &mut Linker<State<Self::Loan>>, interface: Interface) -> wasmtime::Result<()> {
        match interface {
            Interface::Database => host_database::add_to_linker::<_, Access<Self::Loan>>(linker, |state| state),
            _ => Ok(()),
        }
    }

    generated!(DatabaseMigration, DatabaseMigrationPre);
}

impl Instance<Migration> {
    /// Has one step done on this database, which comes back in every case.
    ///
    /// # Errors
    /// When the plugin could not do it, or trapped: then this instance is gone and the next call starts another.
    pub fn run(&mut self, step: Step, database: Box<dyn Database>) -> (Box<dyn Database>, Result<(), CallError>) {
        self.call(database, |exports, store| {
            let migration = exports.whimbrel_plugin_migration();
            match step {
                Step::Up => migration.call_up(store),
                Step::Down => migration.call_down(store),
                Step::Validate => migration.call_validate(store),
            }
        })
    }
}
