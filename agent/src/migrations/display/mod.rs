//! What people and programs see of a run: a bar on a terminal, plain lines elsewhere, JSON where it is asked for. Nothing here
//! can stop a migration: what cannot be shown is lost.

pub mod bars;
pub mod json;
pub mod lines;
pub mod words;

#[cfg(test)]
mod tests;
