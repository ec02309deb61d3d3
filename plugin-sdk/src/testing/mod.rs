//! Everything a plugin's own tests need in a plain `cargo test`: events and what became of them, and a host that answers as
//! it was told to and remembers what it was asked. Only outside the sandbox.
//!
//! ```
//! use whimbrel_plugin::prelude::*;
//! use whimbrel_plugin::testing::{Event, TestHost};
//!
//! fn count_deletes(batch: &Batch, cx: &Context) {
//!     let deletes = batch.operations().iter().filter(|operation| *operation == "delete").count();
//!     cx.metrics().add("deletes", deletes as f64);
//! }
//!
//! let host = TestHost::new();
//! let batch = Batch::of([Event::delete("orders", r#"{"id": 1}"#)]);
//! count_deletes(&batch, &host.context());
//! assert_eq!(host.counter("deletes"), 1.0);
//! ```

mod event;
mod host;
#[cfg(feature = "proptest")]
pub mod strategy;

pub use event::{Event, Verdict};
pub use host::TestHost;

use crate::context::Context;

/// A context of a fresh [`TestHost`].
///
/// ```
/// use whimbrel_plugin::testing::context;
///
/// let cx = context();
/// assert_eq!((cx.now_ms(), cx.state().get("anything")), (0, None));
/// ```
#[must_use]
pub fn context() -> Context {
    TestHost::new().context()
}
