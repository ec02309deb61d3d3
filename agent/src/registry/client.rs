//! Talks to one registry: the OCI distribution protocol is the library's, what to ask for and what to make of the answers
//! is here. Nothing that a registry says is trusted: every byte is compared with its digest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use reqwest::header::HeaderValue;
use serde_json::json;

use super::RegistryError;
use super::artifact::Parts;
use super::login::login;
use crate::author::subject::Subject;
use crate::plugin::MAX_BYTES;
use crate::plugin::trust::artifact::{Artifact, is_sha256, sha256};
use crate::plugin::trust::signature::{PrivateKey, Signature};
use crate::runtime::logging::chain;

const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ: Duration = Duration::from_secs(30);

/// cosign's media type of a signed payload, and where it puts the signature.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// No payload is larger; no plugin has more signatures.
const MAX_PAYLOAD: u64 = 16 << 10;
const MAX_SIGNATURES: usize = 32;

/// Manifests of any kind: what is no plugin shall be named, not merely not found.
const MANIFESTS: [&str; 4] =
    [OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE];

/// How to reach a registry.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Without TLS. A registry on this machine is reached so in any case, unless `ca` is given.
    pub plain_http: bool,
    /// Certificates of authorities to trust besides the system's, PEM.
    pub ca: Option<PathBuf>,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Where it is.
    pub reference: Reference,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// Whether it had been there before.
    pub known: bool,
}

/// What was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The component.
    pub component: Vec<u8>,
    /// The manifest's text.
    pub manifest: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// `sha256:…` of the component.
    pub component_digest: String,
    /// Every signature that is stored for it; none is checked yet.
    pub signatures: Vec<Signature>,
}

/// A registry, and who asks.
pub struct Registry {
    client: Client,
    auth: RegistryAuth,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Registry {
    /// The registry of a reference.
    ///
    /// # Errors
    /// When certificates or login cannot be used.
    pub fn of(reference: &Reference, options: &Options) -> Result<Self, RegistryError> {
        let host = reference.resolve_registry();
        let plain = options.plain_http || (options.ca.is_none() && is_loopback(host));
        let mut certificates = Vec::new();
        if let Some(path) = &options.ca {
            let failed = |source| RegistryError::Ca { path: path.display().to_string(), source };
            let data = std::fs::read(path).map_err(failed)?;
            certificates.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: certificates,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(READ),
            user_agent: concat!("whimbrel/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| told(reference, &error))?;
        Ok(Registry { client, auth: login(host)? })
    }

    /// Pushes a plugin. Where the tag holds another content already, it is refused unless `force` is set.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push(&self, reference: &Reference, subject: &Subject, force: bool) -> Result<Pushed, RegistryError> {
        let failed = |error| told(reference, &error);
        let parts = Parts::of(subject);
        let (manifest, pushed) = text_of(&parts.manifest);
        let there = match self.client.fetch_manifest_digest(reference, &self.auth).await {
            Ok(digest) => Some(digest),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        let known = there.as_ref() == Some(&pushed);
        match there {
            Some(digest) if !known && !force => {
                return Err(RegistryError::Taken { reference: reference.to_string(), digest });
            }
            _ => {}
        }
        if !known {
            let (layer, config) = (parts.layer, parts.config);
            let digests = (layer.sha256_digest(), config.sha256_digest());
            self.client.push_blob(reference, layer.data, &digests.0).await.map_err(failed)?;
            self.client.push_blob(reference, config.data, &digests.1).await.map_err(failed)?;
            self.put_manifest(reference, manifest).await?;
        }
        Ok(Pushed { reference: reference.clone(), digest: pushed, known })
    }

    /// Signs what has this digest, beside the signatures that are there.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn sign(&self, reference: &Reference, digest: &str, key: &PrivateKey) -> Result<(), RegistryError> {
        let place = signatures_of(reference, digest);
        let failed = |error| told(&place, &error);
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let signature = Signature::new(key, &repository, digest);
        let layer = ImageLayer::new(signature.payload.into_bytes(), PAYLOAD.to_owned(), None);
        let layer_digest = layer.sha256_digest();
        let mut layers = self.manifest_of(&place).await?.map(|manifest| manifest.layers).unwrap_or_default();
        let stands = |there: &OciDescriptor| {
            let value = there.annotations.as_ref().and_then(|annotations| annotations.get(SIGNATURE));
            there.digest == layer_digest && value == Some(&signature.signature)
        };
        if layers.iter().any(stands) {
            return Ok(());
        }
        layers.push(OciDescriptor {
            media_type: PAYLOAD.to_owned(),
            digest: layer_digest.clone(),
            size: i64::try_from(layer.data.len()).unwrap_or(i64::MAX),
            annotations: Some(BTreeMap::from([(SIGNATURE.to_owned(), signature.signature)])),
            ..OciDescriptor::default()
        });
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = Config::new(config.to_string().into_bytes(), IMAGE_CONFIG_MEDIA_TYPE.to_owned(), None);
        let config_digest = config.sha256_digest();
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: OciDescriptor {
                media_type: config.media_type,
                digest: config_digest.clone(),
                size: i64::try_from(config.data.len()).unwrap_or(i64::MAX),
                ..OciDescriptor::default()
            },
            layers,
            ..OciImageManifest::default()
        };
        self.client.push_blob(&place, layer.data, &layer_digest).await.map_err(failed)?;
        self.client.push_blob(&place, config.data, &config_digest).await.map_err(failed)?;
        self.put_manifest(&place, text_of(&manifest).0).await
    }

    /// Pulls a component with its manifest and signatures. Compares everything with its digest, and looks at nothing else.
    ///
    /// # Errors
    /// When there is none, or it is not what it should be.
    pub async fn pull(&self, reference: &Reference) -> Result<Pulled, RegistryError> {
        let name = || reference.to_string();
        let failed = |error| told(reference, &error);
        let spoiled = |why: &str| RegistryError::Spoiled { reference: name(), why: why.to_owned() };
        let (manifest, _) = self.client.pull_manifest_raw(reference, &self.auth, &MANIFESTS).await.map_err(failed)?;
        // The library compares only where the reference or a header names a digest.
        let digest = sha256(&manifest);
        if reference.digest().is_some_and(|wanted| wanted != digest) {
            return Err(spoiled("the manifest has another digest"));
        }
        let manifest = String::from_utf8(manifest.to_vec()).map_err(|_| spoiled("the manifest is no text"))?;
        let artifact =
            Artifact::of(&manifest).map_err(|source| RegistryError::NoPlugin { reference: name(), source })?;
        let component = self.blob(reference, &artifact.component, artifact.size, MAX_BYTES as u64).await?;
        let signatures = self.signatures(reference, &digest).await?;
        Ok(Pulled { component, manifest, digest, component_digest: artifact.component, signatures })
    }

    /// The signatures that are stored for this digest. What is none is passed over: anybody may have put it there.
    async fn signatures(&self, reference: &Reference, digest: &str) -> Result<Vec<Signature>, RegistryError> {
        let place = signatures_of(reference, digest);
        let Some(manifest) = self.manifest_of(&place).await? else { return Ok(Vec::new()) };
        let mut signatures = Vec::new();
        for layer in manifest.layers.into_iter().filter(|layer| layer.media_type == PAYLOAD).take(MAX_SIGNATURES) {
            let Some(signature) = layer.annotations.and_then(|mut annotations| annotations.remove(SIGNATURE)) else {
                continue;
            };
            let size = u64::try_from(layer.size).unwrap_or(u64::MAX);
            if size > MAX_PAYLOAD || !is_sha256(&layer.digest) {
                continue;
            }
            let payload = self.blob(&place, &layer.digest, size, MAX_PAYLOAD).await?;
            if let Ok(payload) = String::from_utf8(payload) {
                signatures.push(Signature { payload, signature });
            }
        }
        Ok(signatures)
    }

    /// The image manifest there, if there is one.
    async fn manifest_of(&self, place: &Reference) -> Result<Option<OciImageManifest>, RegistryError> {
        match self.client.pull_manifest_raw(place, &self.auth, &MANIFESTS).await {
            Ok((text, _)) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| RegistryError::Odd { reference: place.to_string(), why: error.to_string() }),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(told(place, &error)),
        }
    }

    async fn put_manifest(&self, place: &Reference, text: Vec<u8>) -> Result<(), RegistryError> {
        let content = HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE);
        self.client.push_manifest_raw(place, text, content).await.map(drop).map_err(|error| told(place, &error))
    }

    /// A blob of this digest and size, at most so large.
    async fn blob(&self, place: &Reference, digest: &str, size: u64, most: u64) -> Result<Vec<u8>, RegistryError> {
        let failed = |error| told(place, &error);
        if size > most {
            return Err(RegistryError::TooLarge { reference: place.to_string(), size, most });
        }
        let mut stream = self.client.pull_blob_stream(place, digest).await.map_err(failed)?.stream;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.try_next().await.map_err(|error| failed(error.into()))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > size {
                break;
            }
        }
        if bytes.len() as u64 == size && sha256(&bytes) == digest {
            return Ok(bytes);
        }
        let why = format!("{digest} came with another content");
        Err(RegistryError::Spoiled { reference: place.to_string(), why })
    }
}

/// Where the signatures of a digest are.
fn signatures_of(reference: &Reference, digest: &str) -> Reference {
    let tag = format!("{}.sig", digest.replacen(':', "-", 1));
    Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), tag)
}

/// A manifest as it is pushed, and its digest.
fn text_of(manifest: &OciImageManifest) -> (Vec<u8>, String) {
    // Structures of texts and numbers: there is nothing in them that could not be written.
    let text = serde_json::to_vec(manifest).unwrap_or_default();
    let digest = sha256(&text);
    (text, digest)
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn codes(error: &OciDistributionError) -> &[oci_client::errors::OciError] {
    match error {
        OciDistributionError::RegistryError { envelope, .. } => &envelope.errors,
        _ => &[],
    }
}

fn is_missing(error: &OciDistributionError) -> bool {
    use OciErrorCode::{ManifestUnknown, NameUnknown, NotFound};
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        error => codes(error).iter().any(|error| matches!(error.code, ManifestUnknown | NameUnknown | NotFound)),
    }
}

fn is_refused(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => true,
        OciDistributionError::ServerError { code, .. } => matches!(code, 401 | 403),
        error => {
            codes(error).iter().any(|error| matches!(error.code, OciErrorCode::Unauthorized | OciErrorCode::Denied))
        }
    }
}

/// What the library says, as what can be done about it.
fn told(reference: &Reference, error: &OciDistributionError) -> RegistryError {
    let name = reference.to_string();
    if is_missing(error) {
        return RegistryError::Missing(name);
    }
    if is_refused(error) {
        let host = reference.resolve_registry().to_owned();
        return RegistryError::Refused { reference: name, host, why: error.to_string() };
    }
    match error {
        OciDistributionError::RequestError(request) => {
            let hint = if request.is_connect() {
                "; a registry without TLS needs --plain-http, one with a certificate of your own authority --ca FILE"
            } else {
                ""
            };
            RegistryError::Unreachable { reference: name, why: chain(request), hint }
        }
        OciDistributionError::DigestError(digest) => {
            RegistryError::Spoiled { reference: name, why: digest.to_string() }
        }
        error => RegistryError::Odd { reference: name, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.org", "10.0.0.1:5000", "registry.example.org", "[::2]:5000", "127.example.org"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn signatures_lie_where_cosign_looks_for_them() {
        let reference = super::super::reference("localhost:5000/team/hide:1.0.0").unwrap();
        let place = signatures_of(&reference, "sha256:abc").to_string();
        assert_eq!(place, "localhost:5000/team/hide:sha256-abc.sig");
    }
}
