//! A plugin's options as the file has them, for whoever shows them: with references where the plugin gets secrets, and with
//! those secrets beside it, so that they can be taken out of all else that is shown.

use serde_json::{Map, Value};

use super::node::{self, Node};
use super::read;
use super::secret::Secret;
use super::validated::AgentConfig;

/// Options as they are written.
#[derive(Clone, Default)]
pub struct Written {
    /// The options, with references as they stand in the file.
    pub options: Map<String, Value>,
    /// Each reference, and what it was resolved to.
    pub secrets: Vec<(String, Secret)>,
}

super::opaque::opaque_debug!(Written);

impl Written {
    /// The options at this node.
    fn of(node: &Node) -> Self {
        let mut secrets = Vec::new();
        node.walk(&mut |node| {
            if let node::Value::Scalar(scalar) = &node.value {
                secrets.extend(scalar.secrets.iter().cloned());
            }
        });
        Written { options: read::read(&node.as_written()).value.unwrap_or_default(), secrets }
    }
}

/// Gives every plugin its options as written. Nothing of a configuration without errors was taken out, so the entries of
/// tree and structs are the same.
pub(super) fn note(root: &Node, config: &mut AgentConfig) {
    let options = |node: Option<&Node>| node.and_then(|node| node.get("config")).map(Written::of).unwrap_or_default();
    let pipelines = root.get("pipelines").map(Node::items).unwrap_or_default();
    for (pipeline, node) in config.pipelines.iter_mut().zip(pipelines) {
        let transforms = node.get("transform").map(Node::items).unwrap_or_default();
        for (transform, node) in pipeline.transform.iter_mut().zip(transforms) {
            transform.written = options(Some(node));
            if let Some(shadow) = &mut transform.shadow {
                shadow.written = options(node.get("shadow"));
            }
        }
    }
}
