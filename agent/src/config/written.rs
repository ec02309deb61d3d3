//! A plugin's options as the file has them, for whoever shows them: with references where the plugin gets secrets, and with
//! those secrets beside it, so that they can be taken out of all else that is shown.

use serde_json::{Map, Value};

use super::secret::Secret;

/// Options as they are written.
#[derive(Clone, Default)]
pub struct Written {
    /// The options, with references as they stand in the file.
    pub options: Map<String, Value>,
    /// Each reference, and what it was resolved to.
    pub secrets: Vec<(String, Secret)>,
}

super::opaque::opaque_debug!(Written);
