//! Rules: a window of statistics goes in by value, findings come out. Nothing is lent.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use super::{World, generated};
use crate::plugin::batch::Failure;
use crate::plugin::bindings::rule::exports::whimbrel::plugin::rule;
use crate::plugin::bindings::rule::{AnomalyRule, AnomalyRulePre};
use crate::plugin::fault::CallError;
use crate::plugin::host::State;
use crate::plugin::instance::Instance;
use crate::plugin::manifest::{Interface, Kind};

pub use crate::plugin::bindings::rule::whimbrel::plugin::stats::{Label, Point, Series, Window};
pub use rule::Finding;

/// Plugins that judge statistics.
#[derive(Debug)]
pub enum Rule {}

impl World for Rule {
    const KIND: Kind = Kind::Rule;
    type Loan = ();

    fn link_own(_linker: &mut Linker<State<()>>, _interface: Interface) -> wasmtime::Result<()> {
        Ok(())
    }

    generated!(AnomalyRule, AnomalyRulePre);
}

impl Instance<Rule> {
    /// Has a window judged.
    ///
    /// # Errors
    /// When the plugin refused the window, or trapped: then this instance is gone and the next call starts another.
    pub fn evaluate(&mut self, window: &Window) -> Result<Vec<Finding>, CallError> {
        self.call((), |exports, store| exports.whimbrel_plugin_rule().call_evaluate(store, window)).1
    }
}
