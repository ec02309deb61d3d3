//! Nothing of its own: the tests are in `all.rs` and the folders beside it, one binary for all of them.
