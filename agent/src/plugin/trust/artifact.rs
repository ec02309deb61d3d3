//! What a manifest in an OCI registry says of a plugin. One component is one layer, as the CNCF's guidance for Wasm
//! artifacts has it; whatever else a registry may hold is refused with what it is. Reads text only.

use serde::Deserialize;

use crate::plugin::digest;

/// The media type of a component.
pub const COMPONENT: &str = "application/wasm";
/// The media type of what describes a component (`created`, `architecture`, `layerDigests`, `component`).
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// A manifest that stands for one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// `sha256:…` of the component.
    pub component: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a manifest stands for no plugin.
#[derive(Debug, thiserror::Error)]
pub enum NoArtifact {
    /// It cannot be read.
    #[error("what the registry has there is no OCI manifest ({0})")]
    Unreadable(#[from] serde_json::Error),
    /// It is an index of several.
    #[error("it is an index of several artifacts; name one of them by its digest")]
    Index,
    /// It is something else.
    #[error(
        "it is no component but {0}; push plugins with `whimbrel plugin push`, or any tool that writes one layer of type {COMPONENT}"
    )]
    Foreign(String),
    /// It has a component among other layers.
    #[error("it has {0} layers, and a plugin is one; push it with `whimbrel plugin push`")]
    Layers(usize),
    /// Its layer is not named by SHA-256.
    #[error("its component's digest `{0}` is no sha256; push it again with a tool that uses sha256")]
    Digest(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
    manifests: Option<Vec<serde::de::IgnoredAny>>,
    config: Option<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    media_type: String,
}

impl Artifact {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// When it stands for anything but one component.
    pub fn of(manifest: &str) -> Result<Self, NoArtifact> {
        let manifest: Manifest = serde_json::from_str(manifest)?;
        if manifest.manifests.is_some() {
            return Err(NoArtifact::Index);
        }
        match manifest.layers.as_slice() {
            [layer] if layer.media_type == COMPONENT => {
                if !is_sha256(&layer.digest) {
                    return Err(NoArtifact::Digest(layer.digest.clone()));
                }
                Ok(Artifact { component: layer.digest.clone(), size: layer.size })
            }
            layers if layers.len() > 1 && layers.iter().any(|layer| layer.media_type == COMPONENT) => {
                Err(NoArtifact::Layers(layers.len()))
            }
            layers => {
                let config = manifest.config.map(|config| config.media_type);
                let first = layers.first().map(|layer| layer.media_type.clone());
                Err(NoArtifact::Foreign(first.or(config).unwrap_or_else(|| "empty".to_owned())))
            }
        }
    }
}

/// The digest of these bytes, as a registry names them.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

/// Whether it is `sha256:` and 64 small hexadecimal digits.
#[must_use]
pub fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{CONFIG}","digest":"sha256:0","size":2}},"layers":[{layers}]}}"#
        )
    }

    fn layer(media_type: &str, digest: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":7}}"#)
    }

    #[test]
    fn only_one_component_is_a_plugin() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let whole = Artifact::of(&manifest(&layer(COMPONENT, &digest))).unwrap();
        assert_eq!(whole, Artifact { component: digest.clone(), size: 7 });
        let two = [layer(COMPONENT, &digest), layer("text/plain", &digest)].join(",");
        let cases = [
            (manifest(&two), "2 layers"),
            (manifest(&layer("application/vnd.oci.image.layer.v1.tar+gzip", &digest)), "layer.v1.tar+gzip"),
            (manifest(""), "vnd.wasm.config"),
            (manifest(&layer(COMPONENT, "sha512:abc")), "sha512:abc"),
            (r#"{"manifests": []}"#.to_owned(), "index"),
            ("[]".to_owned(), "no OCI manifest"),
            ("{}".to_owned(), "empty"),
        ];
        for (text, part) in cases {
            let said = Artifact::of(&text).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
