//! Examples that `whimbrel config example` prints. Tests load them, so they cannot go stale.

/// Every section, with comments.
pub const COMPLETE: &str = include_str!("example.yaml");

/// The least that works.
pub const MINIMAL: &str = include_str!("example-minimal.yaml");
