//! TLS for everything that speaks it: the process-wide provider; whom to trust and what a failed handshake means are shared
//! with migrations.

pub use whimbrel_migrate::tls::{Handshake, Trusted, client_config};

/// Installs the provider, `ring`, once; later calls, and a provider somebody installed before, change nothing.
pub fn install() {
    // Err means that a provider is already there, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
