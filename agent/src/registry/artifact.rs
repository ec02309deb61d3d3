//! A plugin as an OCI artifact: its config and its manifest. The same file gives the same bytes, so that it is the same
//! artifact wherever it is pushed to.

use std::collections::BTreeMap;

use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde_json::json;
use wasmparser::{Parser, Payload};

use crate::author::subject::Subject;
use crate::plugin::trust::artifact::{COMPONENT, CONFIG};

/// When a component was made is not known, and the time of the push would make two artifacts of one plugin.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The parts to push.
pub(super) struct Parts {
    pub(super) layer: ImageLayer,
    pub(super) config: Config,
    pub(super) manifest: OciImageManifest,
}

impl Parts {
    pub(super) fn of(subject: &Subject) -> Self {
        let (imports, exports) = interfaces(&subject.bytes);
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            // The guidance's word for a component, whether it imports anything of WASI or, as here, nothing.
            "os": "wasip2",
            "layerDigests": [format!("sha256:{}", subject.digest)],
            "component": { "imports": imports, "exports": exports },
        });
        let layer = ImageLayer::new(subject.bytes.to_vec(), COMPONENT.to_owned(), None);
        let config = Config::new(config.to_string().into_bytes(), CONFIG.to_owned(), None);
        let annotations = annotations(subject);
        let mut manifest = OciImageManifest::build(std::slice::from_ref(&layer), &config, Some(annotations));
        manifest.media_type = Some(OCI_IMAGE_MEDIA_TYPE.to_owned());
        Parts { layer, config, manifest }
    }
}

fn annotations(subject: &Subject) -> BTreeMap<String, String> {
    let manifest = &subject.manifest;
    let mut annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), manifest.name.clone()),
        ("org.opencontainers.image.version".to_owned(), manifest.version.clone()),
        ("whimbrel.plugin.kind".to_owned(), subject.kind.to_string()),
        ("whimbrel.plugin.wit".to_owned(), manifest.wit.clone()),
    ]);
    if !manifest.description.is_empty() {
        annotations.insert("org.opencontainers.image.description".to_owned(), manifest.description.clone());
    }
    annotations
}

/// The names of what a component imports and exports itself, not what is nested in it.
fn interfaces(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().filter_map(Result::ok).map(|import| import.name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(section.into_iter().filter_map(Result::ok).map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plugin::trust::artifact::Artifact;

    #[test]
    fn a_plugin_is_one_layer_and_always_the_same_artifact() {
        let subject = Subject::read(Path::new("mask-fields")).unwrap();
        let (parts, again) = (Parts::of(&subject), Parts::of(&subject));
        let text = serde_json::to_string(&parts.manifest).unwrap();
        assert_eq!(text, serde_json::to_string(&again.manifest).unwrap());
        let artifact = Artifact::of(&text).unwrap();
        assert_eq!(artifact.component, format!("sha256:{}", subject.digest));
        assert_eq!(artifact.size, subject.bytes.len() as u64);
        let config: serde_json::Value = serde_json::from_slice(&parts.config.data).unwrap();
        let exports = config["component"]["exports"].to_string();
        assert!(exports.contains("whimbrel:plugin/transform"), "{config}");
        assert!(config["component"]["imports"].to_string().contains("whimbrel:plugin/events"), "{config}");
    }
}
