//! Crash windows for the fault tests: those of the pipelines, by the means that migrations have too.

pub use whimbrel_migrate::failpoints::hit;
