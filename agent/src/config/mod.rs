//! Configuration: what may be written (`raw`), checked and made into what the code sees.

pub mod connectors;
pub mod invalid;
pub mod raw;
pub mod secret;
pub mod units;
