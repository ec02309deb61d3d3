//! The other side inside the sandbox: the agent's functions behind the SDK's types, and the calls the agent makes.
//! Only `#[transform]` and this crate use it; its shape may change with every release.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use crate::batch::Batch;
use crate::config;
use crate::context::Context;
use crate::failure::Failure;
use crate::transform::Transform;

/// What the WIT files say, as Rust.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "event-transform",
        pub_export_macro: true,
        export_macro_name: "export_event_transform",
        default_bindings_module: "whimbrel_plugin::guest::bindings",
    });
}

use bindings::whimbrel::plugin::{events, host_log, types};

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        Failure { code: failure.code, message: failure.message, retryable: failure.retryable }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        types::Failure { code: failure.code, message: failure.message, retryable: failure.retryable }
    }
}

/// Where the instance keeps its plugin: one thread, one plugin, no re-entry.
#[doc(hidden)]
pub struct Slot<T>(RefCell<Option<T>>);

// SAFETY: a component built for wasm32-unknown-unknown without atomics has one thread.
unsafe impl<T> Sync for Slot<T> {}

impl<T: Transform> Slot<T> {
    /// Before `configure`.
    #[must_use]
    pub const fn empty() -> Self {
        Slot(RefCell::new(None))
    }

    /// The agent's first call.
    pub fn configure(&self, json: &str) -> Result<(), types::Failure> {
        std::panic::set_hook(Box::new(report_panic));
        let mut plugin: T = config::parse(json).map_err(|error| Failure::new("config", error.to_string()))?;
        plugin.start(&Context(()))?;
        *self.0.borrow_mut() = Some(plugin);
        Ok(())
    }

    /// One batch.
    pub fn apply(&self, batch: &events::Batch) -> Result<(), types::Failure> {
        let mut plugin = self.0.borrow_mut();
        let plugin = plugin.as_mut().ok_or_else(|| Failure::new("config", "apply was called before configure"))?;
        let mut batch = Batch { host: host::Host::borrow(batch) };
        Ok(plugin.apply(&mut batch, &Context(()))?)
    }
}

fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("panicked with a value that is no text");
    let (file, line) = panic.location().map_or(("", 0), |location| (location.file(), location.line()));
    host_log::panicked(message, file, line);
}

/// The same functions as the native host has, as calls over the boundary.
pub(crate) mod host {
    use super::{ManuallyDrop, events, host_log};
    use crate::context::Level;
    use crate::dictionary::Dictionary;
    use crate::failure::Failure;
    use crate::packed::Packed;
    use crate::value::Value;

    #[derive(Debug)]
    pub(crate) struct Host(ManuallyDrop<events::Batch>);

    pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let level = match level {
            Level::Trace => host_log::Level::Trace,
            Level::Debug => host_log::Level::Debug,
            Level::Info => host_log::Level::Info,
            Level::Warn => host_log::Level::Warn,
            Level::Error => host_log::Level::Error,
        };
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        host_log::log(level, message, &fields);
    }

    impl Host {
        /// The agent lends the batch for one call, so it must not be dropped here; `apply` ends before the loan does.
        pub(super) fn borrow(batch: &events::Batch) -> Self {
            // SAFETY: the handle is valid for the call, and ManuallyDrop keeps it from being given back twice.
            Host(ManuallyDrop::new(unsafe { events::Batch::from_handle(batch.handle()) }))
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len() as usize
        }

        pub(crate) fn operations(&self) -> Dictionary {
            self.0.operations().into()
        }

        pub(crate) fn tables(&self) -> Dictionary {
            self.0.tables().into()
        }

        pub(crate) fn set_tables(&mut self, tables: &Dictionary) -> Result<(), Failure> {
            let tables = events::Dictionary { values: tables.values.clone(), indices: tables.indices.clone() };
            Ok(self.0.set_tables(&tables)?)
        }

        pub(crate) fn source_times(&self) -> Vec<i64> {
            self.0.source_times()
        }

        pub(crate) fn text_column(&self, path: &str) -> Packed {
            let events::Packed { offsets, data, nulls } = self.0.text_column(path);
            Packed { offsets, data, nulls }
        }

        pub(crate) fn set_text_column(&mut self, path: &str, values: &Packed) -> Result<(), Failure> {
            lend(values, |values| self.0.set_text_column(path, values))
        }

        pub(crate) fn patch_text_column(&mut self, path: &str, rows: &[u32], values: &Packed) -> Result<(), Failure> {
            lend(values, |values| self.0.patch_text_column(path, rows, values))
        }

        pub(crate) fn column(&self, path: &str) -> Vec<Value> {
            self.0.column(path).into_iter().map(Value::from).collect()
        }

        pub(crate) fn set_column(&mut self, path: &str, values: &[Value]) -> Result<(), Failure> {
            let values: Vec<events::Value> = values.iter().cloned().map(events::Value::from).collect();
            Ok(self.0.set_column(path, &values)?)
        }

        pub(crate) fn json(&self, row: usize) -> Vec<u8> {
            self.0.json(narrow(row))
        }

        pub(crate) fn set_json(&mut self, row: usize, json: &[u8]) -> Result<(), Failure> {
            Ok(self.0.set_json(narrow(row), json)?)
        }

        pub(crate) fn drop_rows(&mut self, rows: &[u32]) {
            self.0.discard(rows);
        }

        pub(crate) fn fail(&mut self, row: usize, reason: &Failure) {
            self.0.fail(narrow(row), &reason.clone().into());
        }
    }

    /// `usize` has 32 bits here.
    #[expect(clippy::cast_possible_truncation, reason = "wasm32 only")]
    fn narrow(row: usize) -> u32 {
        row as u32
    }

    /// The generated type owns its buffers and the call only reads them: give it ours for the call's length rather
    /// than copies.
    fn lend<R>(
        values: &Packed,
        call: impl FnOnce(&events::Packed) -> Result<R, super::types::Failure>,
    ) -> Result<R, Failure> {
        // SAFETY: the buffers are aliased for reading only, and ManuallyDrop keeps the borrowed ones from being freed.
        let borrowed = unsafe {
            ManuallyDrop::new(events::Packed {
                offsets: Vec::from_raw_parts(
                    values.offsets.as_ptr().cast_mut(),
                    values.offsets.len(),
                    values.offsets.capacity(),
                ),
                data: String::from_raw_parts(
                    values.data.as_ptr().cast_mut(),
                    values.data.len(),
                    values.data.capacity(),
                ),
                nulls: Vec::from_raw_parts(
                    values.nulls.as_ptr().cast_mut(),
                    values.nulls.len(),
                    values.nulls.capacity(),
                ),
            })
        };
        Ok(call(&borrowed)?)
    }

    impl From<events::Dictionary> for Dictionary {
        fn from(dictionary: events::Dictionary) -> Self {
            Dictionary { values: dictionary.values, indices: dictionary.indices }
        }
    }

    impl From<events::Value> for Value {
        fn from(value: events::Value) -> Self {
            match value {
                events::Value::Null => Value::Null,
                events::Value::Boolean(value) => Value::Boolean(value),
                events::Value::Integer(value) => Value::Integer(value),
                events::Value::Float(value) => Value::Float(value),
                events::Value::Text(value) => Value::Text(value),
                events::Value::Bytes(value) => Value::Bytes(value),
                events::Value::Tagged((name, text)) => Value::Tagged(name, text),
            }
        }
    }

    impl From<Value> for events::Value {
        fn from(value: Value) -> Self {
            match value {
                Value::Null => events::Value::Null,
                Value::Boolean(value) => events::Value::Boolean(value),
                Value::Integer(value) => events::Value::Integer(value),
                Value::Float(value) => events::Value::Float(value),
                Value::Text(value) => events::Value::Text(value),
                Value::Bytes(value) => events::Value::Bytes(value),
                Value::Tagged(name, text) => events::Value::Tagged((name, text)),
            }
        }
    }
}

/// Exports the world for a transform and embeds its manifest; `#[transform]` calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty, $name:expr, $version:expr, $description:expr) => {
        const _: () = {
            const MANIFEST: $crate::manifest::Manifest = $crate::manifest::Manifest {
                kind: "transform",
                name: $name,
                version: $version,
                description: $description,
                config: <$plugin as $crate::config::Config>::SCHEMA,
            };
            #[used]
            #[unsafe(link_section = "whimbrel:manifest")]
            static SECTION: [u8; MANIFEST.size()] = MANIFEST.bytes();

            static SLOT: $crate::guest::Slot<$plugin> = $crate::guest::Slot::empty();

            struct Exports;

            impl $crate::guest::bindings::exports::whimbrel::plugin::lifecycle::Guest for Exports {
                fn configure(
                    config_json: String,
                ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                    SLOT.configure(&config_json)
                }
            }

            impl $crate::guest::bindings::exports::whimbrel::plugin::transform::Guest for Exports {
                fn apply(
                    batch: &$crate::guest::bindings::whimbrel::plugin::events::Batch,
                ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                    SLOT.apply(batch)
                }
            }

    $crate::guest::bindings::export_event_transform!(Exports with_types_in $crate::guest::bindings);
        };
    };
}
