//! What must hold when things break: nothing lost, nothing doubled.

mod chaos;
mod group;
mod mutants;
mod poison;
mod scene;
