//! What must hold when things break: nothing lost, nothing doubled.
