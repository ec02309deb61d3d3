//! The process-wide TLS provider: `ring`, for everything that speaks rustls.

/// Installs it once; later calls, and a provider somebody installed before, change nothing.
pub fn install() {
    // Err means that a provider is already there, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
