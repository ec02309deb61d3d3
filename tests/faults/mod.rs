//! What must hold when things break: nothing lost, nothing doubled.

mod chaos;
mod group;
mod letters_topic;
mod mutants;
mod outages;
mod poison;
mod scene;
mod soak;
