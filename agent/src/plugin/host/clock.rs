//! The clock, as the agent's services tell it: the system's, or the one of a replay.

use super::State;
use crate::plugin::bindings::transform::whimbrel::plugin::host_clock;

impl<L: Send> host_clock::Host for State<L> {
    fn now_ms(&mut self) -> wasmtime::Result<i64> {
        Ok((self.services.clock)())
    }
}
