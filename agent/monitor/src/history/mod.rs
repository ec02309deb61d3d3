//! What was measured, kept in bounded space, and handed out as windows.
//!
//! A [`Recorder`] takes readings each second and makes one point a step of them (30 s unless configured otherwise): rates are
//! means over the step, levels are what was read last, and a step in which nothing was known has no point. The newest
//! points stay in memory, for rules to look back on; all are written to the [store](crate::store), first row by row, then
//! packed into chunks ([`chunk`]).

pub mod chunk;
mod recorder;
mod series;
#[cfg(test)]
mod tests;

pub use recorder::{Limits, Recorder, Step};
pub use series::{Key, Point, Reading, Series, Value};
