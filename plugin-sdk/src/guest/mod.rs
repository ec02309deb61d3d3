//! The other side inside the sandbox: the agent's functions behind the SDK's types, and the calls the agent makes, one
//! file per kind. Only the attribute macros and this crate use it; its shape may change with every release.

mod batch;
pub mod bindings;
pub mod channel;
pub(crate) mod host;
pub mod migration;
pub mod rule;
pub mod transform;

use std::cell::RefCell;

use crate::config::{self, Config};
use crate::context::Context;
use crate::failure::Failure;
use crate::value::Value;
use bindings::whimbrel::plugin::{host_log, types};

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

impl From<types::Value> for Value {
    fn from(value: types::Value) -> Self {
        match value {
            types::Value::Null => Value::Null,
            types::Value::Boolean(value) => Value::Boolean(value),
            types::Value::Integer(value) => Value::Integer(value),
            types::Value::Float(value) => Value::Float(value),
            types::Value::Text(value) => Value::Text(value),
            types::Value::Bytes(value) => Value::Bytes(value),
            types::Value::Tagged((name, text)) => Value::Tagged(name, text),
        }
    }
}

impl From<Value> for types::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => types::Value::Null,
            Value::Boolean(value) => types::Value::Boolean(value),
            Value::Integer(value) => types::Value::Integer(value),
            Value::Float(value) => types::Value::Float(value),
            Value::Text(value) => types::Value::Text(value),
            Value::Bytes(value) => types::Value::Bytes(value),
            Value::Tagged(name, text) => types::Value::Tagged((name, text)),
        }
    }
}

/// Where the instance keeps its plugin: one thread, one plugin, no re-entry.
#[doc(hidden)]
pub struct Slot<T>(RefCell<Option<T>>);

// SAFETY: a component built for wasm32-unknown-unknown without atomics has one thread.
unsafe impl<T> Sync for Slot<T> {}

impl<T: Config> Slot<T> {
    /// Before `configure`.
    #[must_use]
    pub const fn empty() -> Self {
        Slot(RefCell::new(None))
    }

    /// The agent's first call: reads the configuration and lets the plugin prepare itself.
    fn fill(&self, json: &str, start: impl FnOnce(&mut T) -> Result<(), Failure>) -> Result<(), types::Failure> {
        std::panic::set_hook(Box::new(report_panic));
        let mut plugin: T = config::parse(json).map_err(|error| Failure::new("config", error.to_string()))?;
        start(&mut plugin)?;
        *self.0.borrow_mut() = Some(plugin);
        Ok(())
    }

    /// Any later call.
    fn with<R>(&self, call: impl FnOnce(&mut T) -> Result<R, Failure>) -> Result<R, types::Failure> {
        let mut plugin = self.0.borrow_mut();
        let plugin = plugin.as_mut().ok_or_else(|| Failure::new("config", "called before configure"))?;
        Ok(call(plugin)?)
    }
}

fn context() -> Context {
    Context { services: host::Services }
}

fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("panicked with a value that is no text");
    let (file, line) = panic.location().map_or(("", 0), |location| (location.file(), location.line()));
    host_log::panicked(message, file, line);
}

/// Embeds the manifest and exports the world; the attribute macros call it. `$kind` is a module of this one and the
/// manifest's word.
#[doc(hidden)]
#[macro_export]
macro_rules! export_plugin {
    ($kind:ident, $word:literal, $plugin:ty, $name:expr, $version:expr, $description:expr, $http:expr, $secrets:expr) => {
        const _: () = {
            const MANIFEST: $crate::manifest::Manifest = $crate::manifest::Manifest {
                kind: $word,
                name: $name,
                version: $version,
                description: $description,
                config: <$plugin as $crate::config::Config>::SCHEMA,
                http: $http,
                secrets: $secrets,
            };
            #[used]
            #[unsafe(link_section = "whimbrel:manifest")]
            static SECTION: [u8; MANIFEST.size()] = MANIFEST.bytes();

            static SLOT: $crate::guest::Slot<$plugin> = $crate::guest::Slot::empty();

            struct Exports;

            $crate::guest::$kind::export!(Exports, SLOT);
        };
    };
}
