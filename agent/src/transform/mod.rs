//! The plugin chain.

use crate::batch::Batch;

/// Why the chain halted.
#[derive(Debug, thiserror::Error)]
#[error("halted")]
pub struct ChainError;

/// The chain.
#[derive(Debug, Default)]
pub struct Chain;

impl Chain {
    /// Runs the plugins over a batch.
    ///
    /// # Errors
    /// When a plugin halts.
    pub fn apply(&mut self, _batch: &mut Batch) -> Result<(), ChainError> {
        Ok(())
    }
}
