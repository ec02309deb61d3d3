//! State by key, within the quota that was granted. Writes wait in [`crate::plugin::store`] until the call ends well.

use super::{State, failure};
use crate::plugin::bindings::transform::whimbrel::plugin::host_state;
use crate::plugin::bindings::types;
use crate::plugin::store::NotKept;

impl<L: Send> host_state::Host for State<L> {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.kept.get(&key).cloned())
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), types::Failure>> {
        Ok(self.kept.set(&key, value).map_err(|why| match why {
            NotKept::Quota => failure("quota", "the state would be larger than what was granted"),
            NotKept::Key => failure("key", "a key has 1 to 256 bytes"),
        }))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.kept.delete(&key);
        Ok(())
    }
}
