//! The kinds of plugins: what the host lends each for a call, how its world is linked, and how it is called. One file
//! per kind; what all have in common is in `instance`.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use super::batch::Failure;
use super::bindings::transform::whimbrel::plugin::{host_clock, host_log, host_metrics, host_state};
use super::host::{Access, State};
use super::manifest::{Interface, Kind};

mod channel;
mod migration;
mod rule;
mod transform;

pub use channel::{Alert, Channel, Status};
pub use migration::{Database, Migration, Step};
pub use rule::{Finding, Label, Point, Rule, Series, Window};
pub use transform::Transform;

/// A kind of plugin, as the host needs it.
pub trait World: Sized + 'static {
    /// Which kind.
    const KIND: Kind;
    /// What the host puts into the store for the length of one call and takes back afterwards, also after a trap.
    type Loan: Send + 'static;
    /// The world, linked.
    #[doc(hidden)]
    type Pre: Send + Sync;
    /// The world, running.
    #[doc(hidden)]
    type Exports: Send;

    /// Links the interfaces that only this kind has; those that all have are linked by [`link`].
    #[doc(hidden)]
    fn link_own(linker: &mut Linker<State<Self::Loan>>, interface: Interface) -> wasmtime::Result<()>;

    #[doc(hidden)]
    fn pre(pre: InstancePre<State<Self::Loan>>) -> wasmtime::Result<Self::Pre>;

    #[doc(hidden)]
    fn instantiate(pre: &Self::Pre, store: &mut Store<State<Self::Loan>>) -> wasmtime::Result<Self::Exports>;

    #[doc(hidden)]
    fn configure(
        exports: &Self::Exports,
        store: &mut Store<State<Self::Loan>>,
        config: &str,
    ) -> wasmtime::Result<Result<(), Failure>>;
}

/// Links the interfaces named and no others.
pub(super) fn link<W: World>(
    linker: &mut Linker<State<W::Loan>>,
    interfaces: impl Iterator<Item = Interface>,
) -> wasmtime::Result<()> {
    for interface in interfaces {
        match interface {
            Interface::Log => host_log::add_to_linker::<_, Access<W::Loan>>(linker, |state| state)?,
            Interface::State => host_state::add_to_linker::<_, Access<W::Loan>>(linker, |state| state)?,
            Interface::Metrics => host_metrics::add_to_linker::<_, Access<W::Loan>>(linker, |state| state)?,
            Interface::Clock => host_clock::add_to_linker::<_, Access<W::Loan>>(linker, |state| state)?,
            other => W::link_own(linker, other)?,
        }
    }
    Ok(())
}

/// The four functions of [`World`] that differ only in the generated types they name.
macro_rules! generated {
    ($world:ident, $pre:ident) => {
        type Pre = $pre<State<Self::Loan>>;
        type Exports = $world;

        fn pre(pre: InstancePre<State<Self::Loan>>) -> wasmtime::Result<Self::Pre> {
            $pre::new(pre)
        }

        fn instantiate(pre: &Self::Pre, store: &mut Store<State<Self::Loan>>) -> wasmtime::Result<Self::Exports> {
            pre.instantiate(store)
        }

        fn configure(
            exports: &Self::Exports,
            store: &mut Store<State<Self::Loan>>,
            config: &str,
        ) -> wasmtime::Result<Result<(), Failure>> {
            exports.whimbrel_plugin_lifecycle().call_configure(store, config)
        }
    };
}
use generated;
