//! Everything a plugin's own tests need in a plain `cargo test`: events and what became of them, and a host that answers as
//! it was told to and remembers what it was asked. Only outside the sandbox.

mod event;
mod host;
#[cfg(feature = "proptest")]
pub mod strategy;

pub use event::{Event, Verdict};
pub use host::TestHost;

use crate::context::Context;

/// A context of a fresh [`TestHost`].
#[must_use]
pub fn context() -> Context {
    TestHost::new().context()
}
