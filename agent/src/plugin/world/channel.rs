//! Channels: alerts go in by value, and what is told leaves through the host's HTTP and mail. Nothing is lent.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use super::{World, generated};
use crate::plugin::batch::Failure;
use crate::plugin::bindings::channel::exports::whimbrel::plugin::channel;
use crate::plugin::bindings::channel::whimbrel::plugin::{host_http, host_mail, host_secrets};
use crate::plugin::bindings::channel::{AlertChannel, AlertChannelPre};
use crate::plugin::fault::CallError;
use crate::plugin::host::{Access, State};
use crate::plugin::instance::Instance;
use crate::plugin::manifest::{Interface, Kind};

pub use channel::{Alert, Status};

/// Plugins that tell people.
#[derive(Debug)]
pub enum Channel {}

impl World for Channel {
    const KIND: Kind = Kind::Channel;
    type Loan = ();

    fn link_own(linker: &mut Linker<State<()>>, interface: Interface) -> wasmtime::Result<()> {
        match interface {
            Interface::Secrets => host_secrets::add_to_linker::<_, Access<()>>(linker, |state| state),
            Interface::Http => host_http::add_to_linker::<_, Access<()>>(linker, |state| state),
            Interface::Mail => host_mail::add_to_linker::<_, Access<()>>(linker, |state| state),
            _ => Ok(()),
        }
    }

    generated!(AlertChannel, AlertChannelPre);
}

impl Instance<Channel> {
    /// Has one notification delivered.
    ///
    /// # Errors
    /// When the plugin could not deliver, or trapped: then this instance is gone and the next call starts another.
    pub fn deliver(&mut self, alerts: &[Alert]) -> Result<(), CallError> {
        self.call((), |exports, store| exports.whimbrel_plugin_channel().call_deliver(store, alerts)).1
    }
}
