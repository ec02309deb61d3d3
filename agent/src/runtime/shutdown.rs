//! The token by which everything learns that the agent is to end, and the signals that say so.
//!
//! A token only ever goes from "run" to "end". Futures wait for it, plain threads ask it; nobody can take it back.

use tokio_util::sync::CancellationToken;

/// Says whether the agent is to end. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A token that says "run".
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that ends with this one, and can also end before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Asks everybody to end.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// True when the end was asked for: for plain threads, between two pieces of work.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token itself, for those who know no more than tokens.
    #[must_use]
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits until the end is asked for. May be dropped and called again.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }
}

/// Asks for the end at SIGTERM or SIGINT. A second signal ends the process at once, with the shell's status for it
/// (128 + number): whoever sends it does not want to wait any longer.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn on_signals(shutdown: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let (name, number) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", 15),
            _ = interrupt.recv() => ("SIGINT", 2),
        };
        if shutdown.is_requested() {
            tracing::warn!(signal = name, "second signal: ending at once");
            std::process::exit(128 + number);
        }
        tracing::info!(signal = name, "ending: finishing what is in flight");
        shutdown.request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_holds_the_token_learns_of_the_end() {
        let shutdown = Shutdown::new();
        let (clone, child) = (shutdown.clone(), shutdown.child());
        assert!(!clone.is_requested());
        shutdown.request();
        clone.wait().await;
        child.wait().await;
        assert!(clone.is_requested() && child.is_requested());
    }

    #[tokio::test]
    async fn a_child_ends_alone() {
        let shutdown = Shutdown::new();
        let child = shutdown.child();
        child.request();
        child.wait().await;
        assert!(!shutdown.is_requested());
    }
}
