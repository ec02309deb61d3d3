//! The database a migration was lent.

use super::log::cleaned;
use super::{State, violation};
use crate::plugin::bindings::migration::whimbrel::plugin::host_database;
use crate::plugin::bindings::types;
use crate::plugin::world::Database;

impl host_database::Host for State<Box<dyn Database>> {
    fn run(&mut self, command_json: String) -> wasmtime::Result<Result<String, types::Failure>> {
        let database = self.loan.as_mut().ok_or_else(|| violation("the database was used outside a call"))?;
        let answer = database.run(&command_json);
        self.in_time()?;
        Ok(answer.map_err(cleaned))
    }

    fn progress(&mut self, collection: String, processed: u64, expected: Option<u64>) -> wasmtime::Result<()> {
        let database = self.loan.as_mut().ok_or_else(|| violation("the database was used outside a call"))?;
        database.progress(&collection, processed, expected);
        Ok(())
    }
}
