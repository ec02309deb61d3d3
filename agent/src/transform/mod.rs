//! The plugin chain: every batch goes through the configured plugins in order, and each event leaves with one verdict:
//! keep, drop, or fail with a reason.
//!
//! Lends the batch to guests through a [`View`] and takes it back; decides what a trap means ([`Chain`]). Never
//! touches offsets, and writes no dead letters: the verdicts say what the pipeline shall do. Calls block, so they
//! belong on a thread of their own.

mod case;
mod chain;
mod compare;
mod crash;
mod load;
mod native;
mod promote;
mod recording;
mod redact;
mod reload;
mod sample;
mod shadow;
mod slot;
mod stored;
#[cfg(test)]
mod tests;
mod typed;
mod view;

pub use chain::{Chain, ChainError, Link, PluginStats, TrapPolicy, Turn};
pub use load::{BuildError, build};
pub use native::mask_email;
pub use promote::{PromoteError, Promoted};
pub use recording::{RecordError, Show};
pub use reload::{ReloadError, Reloads, Report, UnknownPlace};
pub use sample::Sample;
pub use view::View;
