//! From one end to the other, through real servers.

mod connectors;
mod demo;
