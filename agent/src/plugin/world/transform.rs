//! Transforms: the batch is lent for the call, and what was written stands only when the call ended well.

use std::marker::PhantomData;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker, Resource};

use super::{World, generated};
use crate::plugin::batch::{EventBatch, Failure};
use crate::plugin::bindings::transform::{EventTransform, EventTransformPre};
use crate::plugin::bindings::{events, types};
use crate::plugin::fault::CallError;
use crate::plugin::host::{Access, State};
use crate::plugin::instance::Instance;
use crate::plugin::manifest::{Interface, Kind};

/// Plugins that change, drop or refuse the events of a batch `B`.
#[derive(Debug)]
pub struct Transform<B>(PhantomData<fn(B)>);

impl<B: EventBatch> World for Transform<B> {
    const KIND: Kind = Kind::Transform;
    type Loan = B;

    fn link_own(linker: &mut Linker<State<B>>, interface: Interface) -> wasmtime::Result<()> {
        match interface {
            Interface::Events => events::add_to_linker::<_, Access<B>>(linker, |state| state),
            Interface::Types => types::add_to_linker::<_, Access<B>>(linker, |state| state),
            _ => Ok(()),
        }
    }

    generated!(EventTransform, EventTransformPre);
}

impl<B: EventBatch> Instance<Transform<B>> {
    /// Lets the plugin work on a batch, which comes back in every case. What the plugin wrote stands when the call ended
    /// well; otherwise the batch is as it was before.
    ///
    /// A trap over several events does not count yet: which of them it was is found out by offering them one by one, and
    /// that call counts. Where none traps alone, the caller counts it ([`Instance::count_trap`]).
    ///
    /// # Errors
    /// When the plugin refused the batch, or trapped: then this instance is gone and the next call starts another.
    pub fn apply(&mut self, batch: B) -> (B, Result<(), CallError>) {
        self.apply_at(Instant::now(), batch)
    }

    /// The same for a caller that has just looked at the clock. With batches of one event a look is some percent of a call.
    pub(crate) fn apply_at(&mut self, now: Instant, batch: B) -> (B, Result<(), CallError>) {
        let alone = batch.len() == 1;
        let (mut batch, outcome) = self.call_uncounted(now, batch, |exports, store| {
            exports.whimbrel_plugin_transform().call_apply(store, Resource::new_borrow(0))
        });
        if alone && matches!(outcome, Err(CallError::Trapped(_))) {
            self.count_trap();
        }
        match outcome {
            Ok(()) => batch.commit(),
            Err(_) => batch.rollback(),
        }
        (batch, outcome)
    }
}
