//! Calls to a migration.

use super::bindings::whimbrel::plugin::types;
use super::{Slot, context};
use crate::context::MigrationContext;
use crate::migration::Migration;

impl<T: Migration> Slot<T> {
    /// The agent's first call.
    pub fn configure_migration(&self, json: &str) -> Result<(), types::Failure> {
        self.fill(json, |plugin| plugin.start(&MigrationContext(context())))
    }

    /// Makes the change.
    pub fn up(&self) -> Result<(), types::Failure> {
        self.with(|plugin| plugin.up(&MigrationContext(context())))
    }

    /// Undoes it.
    pub fn down(&self) -> Result<(), types::Failure> {
        self.with(|plugin| plugin.down(&MigrationContext(context())))
    }

    /// Looks whether it is made.
    pub fn validate(&self) -> Result<(), types::Failure> {
        self.with(|plugin| plugin.validate(&MigrationContext(context())))
    }
}

/// Exports the world.
#[doc(hidden)]
#[macro_export]
macro_rules! export_migration {
    ($exports:ident, $slot:ident) => {
        impl $crate::guest::bindings::exports::whimbrel::plugin::lifecycle::Guest for $exports {
            fn configure(
                config_json: String,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.configure_migration(&config_json)
            }
        }

        impl $crate::guest::bindings::migration::exports::whimbrel::plugin::migration::Guest for $exports {
            fn up() -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.up()
            }

            fn down() -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.down()
            }

            fn validate() -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.validate()
            }
        }

        $crate::guest::bindings::export_lifecycle!($exports with_types_in $crate::guest::bindings);
        $crate::guest::bindings::migration::export_own!($exports with_types_in $crate::guest::bindings::migration);
    };
}
pub use export_migration as export;
