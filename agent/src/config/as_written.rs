//! Finds what plugins were given as options in the file's tree, as it stands there.

use super::node::{self, Node};
use super::read;
use super::validated::AgentConfig;
use super::written::Written;

/// Gives every plugin its options as written. Nothing of a configuration without errors was taken out, so the entries of
/// tree and structs are the same.
pub(super) fn note(root: &Node, config: &mut AgentConfig) {
    let options = |node: Option<&Node>| node.and_then(|node| node.get("config")).map(of).unwrap_or_default();
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

/// The options at this node.
fn of(node: &Node) -> Written {
    let mut secrets = Vec::new();
    node.walk(&mut |node| {
        if let node::Value::Scalar(scalar) = &node.value {
            secrets.extend(scalar.secrets.iter().cloned());
        }
    });
    Written { options: read::read(&node.as_written()).value.unwrap_or_default(), secrets }
}
