//! Calls to a transform.

use super::bindings::transform::whimbrel::plugin::events;
use super::bindings::whimbrel::plugin::types;
use super::host::Host;
use super::{Slot, context};
use crate::batch::Batch;
use crate::transform::Transform;

impl<T: Transform> Slot<T> {
    /// The agent's first call.
    pub fn configure_transform(&self, json: &str) -> Result<(), types::Failure> {
        self.fill(json, |plugin| plugin.start(&context()))
    }

    /// One batch.
    pub fn apply(&self, batch: &events::Batch) -> Result<(), types::Failure> {
        self.with(|plugin| plugin.apply(&mut Batch { host: Host::borrow(batch) }, &context()))
    }
}

/// Exports the world.
#[doc(hidden)]
#[macro_export]
macro_rules! export_transform {
    ($exports:ident, $slot:ident) => {
        impl $crate::guest::bindings::exports::whimbrel::plugin::lifecycle::Guest for $exports {
            fn configure(
                config_json: String,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.configure_transform(&config_json)
            }
        }

        impl $crate::guest::bindings::transform::exports::whimbrel::plugin::transform::Guest for $exports {
            fn apply(
                batch: &$crate::guest::bindings::transform::whimbrel::plugin::events::Batch,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.apply(batch)
            }
        }

        $crate::guest::bindings::export_lifecycle!($exports with_types_in $crate::guest::bindings);
        $crate::guest::bindings::transform::export_own!($exports with_types_in $crate::guest::bindings::transform);
    };
}
pub use export_transform as export;
