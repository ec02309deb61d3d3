//! Configuration: what may be written (`raw`), checked and made into what the code sees (`validated`).
//!
//! The way of a file: `yaml` makes a tree of it that knows lines and columns, `reference` puts secrets in, `read` makes the
//! raw structs, `validated` asks each stage to check its section. `load` does it all and answers with the configuration
//! or with every finding. Nothing outside this folder reads the file.

mod as_written;
pub mod connectors;
pub mod example;
pub mod finding;
pub mod invalid;
mod load;
pub mod migrations;
pub mod monitor;
mod node;
pub(crate) mod opaque;
pub mod plugins;
pub mod raw;
mod read;
mod reference;
pub mod schema;
pub mod secret;
mod suggest;
pub mod units;
pub mod validated;
pub mod written;
mod yaml;

#[cfg(test)]
mod tests;

pub use finding::{Finding, Report, Severity};
pub use load::{Loaded, load};
pub use node::Place;
pub(crate) use reference::scrub_value;
pub(crate) use validated::host_name;
pub use validated::{AgentConfig, PipelineConfig};
