//! Signatures of plugins: ECDSA over NIST P-256 with SHA-256 over a "simple signing" payload that names the digest of the
//! plugin's manifest. Both are what `cosign sign --key` writes and `cosign verify --key` reads (cosign's SIGNATURE_SPEC),
//! so either side may be done with that tool. Reads key files; knows no registry.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{self, SigningKey, VerifyingKey};
use p256::pkcs8::DecodePublicKey as _;
use serde::{Deserialize, Serialize};

/// What a payload says it is.
const TYPE: &str = "cosign container image signature";
/// No key is larger.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read.
    #[error("cannot read the key {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is no public key of the one kind there is.
    #[error(
        "{0} is no public key for ECDSA over P-256 in PEM; `openssl ec -in KEY -pubout` and `cosign generate-key-pair` write one"
    )]
    Public(String),
    /// It is no private key of the one kind there is.
    #[error(
        "{0} is no private key for ECDSA over P-256 in PEM; `openssl ecparam -name prime256v1 -genkey -noout` writes one"
    )]
    Private(String),
    /// It is locked by a password.
    #[error(
        "{0} is encrypted; sign with the tool that made it (`cosign sign --key`), its signatures are read here too, or decrypt it"
    )]
    Encrypted(String),
}

/// A key that says who may sign.
#[derive(Debug, Clone)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads a file in PEM.
    ///
    /// # Errors
    /// When it cannot be read, or is no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = read(path)?;
        let name = path.display().to_string();
        let key = VerifyingKey::from_public_key_pem(&pem).map_err(|_| KeyError::Public(name.clone()))?;
        Ok(PublicKey { name, key })
    }

    /// The path it was read from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A key to sign with; never shown.
pub struct PrivateKey(SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Reads a file in PEM, PKCS #8 or SEC 1.
    ///
    /// # Errors
    /// When it cannot be read, or is no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = read(path)?;
        let name = || path.display().to_string();
        if pem.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted(name()));
        }
        // What stands before, such as openssl's EC PARAMETERS, is not the key.
        let start = pem.match_indices("-----BEGIN ").find(|(at, _)| pem.get(*at..).is_some_and(is_private));
        let key = pem.get(start.map_or(0, |(at, _)| at)..).unwrap_or_default();
        let secret = SecretKey::from_pem(key).map_err(|_| KeyError::Private(name()))?;
        Ok(PrivateKey(SigningKey::from(secret)))
    }
}

fn is_private(pem: &str) -> bool {
    pem.lines().next().is_some_and(|line| line.trim_end().ends_with("PRIVATE KEY-----"))
}

fn read(path: &Path) -> Result<String, KeyError> {
    let failed = |source| KeyError::Read { path: path.display().to_string(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_KEY_BYTES {
        return Err(KeyError::Public(path.display().to_string()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// One signature with what it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signed text, JSON.
    pub payload: String,
    /// The signature, DER in Base64.
    pub signature: String,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    optional: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl Signature {
    /// Signs the manifest of this digest in this repository. The same input gives the same signature (RFC 6979).
    #[must_use]
    pub fn new(key: &PrivateKey, repository: &str, digest: &str) -> Self {
        let payload = Payload {
            critical: Critical {
                identity: Identity { docker_reference: repository.to_owned() },
                image: Image { docker_manifest_digest: digest.to_owned() },
                r#type: TYPE.to_owned(),
            },
            optional: None,
        };
        let payload = serde_json::to_string(&payload).unwrap_or_default();
        let signature: ecdsa::Signature = key.0.sign(payload.as_bytes());
        Signature { payload, signature: BASE64.encode(signature.to_der()) }
    }

    /// The first of these keys that made it, if it was made for the manifest of this digest. The repository it names is not
    /// compared: a mirror holds the same plugin.
    #[must_use]
    pub fn made_by<'k>(&self, digest: &str, keys: &'k [PublicKey]) -> Option<&'k PublicKey> {
        let payload: Payload = serde_json::from_str(&self.payload).ok()?;
        if payload.critical.r#type != TYPE || payload.critical.image.docker_manifest_digest != digest {
            return None;
        }
        let der = BASE64.decode(&self.signature).ok()?;
        let signature = ecdsa::Signature::from_der(&der).ok()?;
        keys.iter().find(|key| key.key.verify(self.payload.as_bytes(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

    use super::*;

    const DIGEST: &str = "sha256:3f2a";

    fn written(directory: &Path, name: &str, pem: &str) -> std::path::PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, pem).unwrap();
        path
    }

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_slice(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> String {
        secret(seed).public_key().to_public_key_pem(LineEnding::LF).unwrap()
    }

    #[test]
    fn a_signature_holds_for_its_digest_and_key_only() {
        let directory = tempfile::tempdir().unwrap();
        let other = PublicKey::read(&written(directory.path(), "b.pub", &public(2))).unwrap();
        let public = PublicKey::read(&written(directory.path(), "a.pub", &public(1))).unwrap();
        let mut made = Vec::new();
        let sec1 = secret(1).to_sec1_pem(LineEnding::LF).unwrap();
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let with_parameters = format!("{parameters}{}", sec1.as_str());
        let pkcs8 = secret(1).to_pkcs8_pem(LineEnding::LF).unwrap();
        for pem in [sec1.as_str(), &with_parameters, &pkcs8] {
            let key = PrivateKey::read(&written(directory.path(), "key", pem)).unwrap();
            made.push(Signature::new(&key, "localhost:5000/team/hide", DIGEST));
        }
        assert!(made.iter().all(|one| *one == made[0]), "one key in three forms");
        let signature = &made[0];
        let keys = [other.clone(), public];
        assert!(signature.made_by(DIGEST, &keys).unwrap().name().ends_with("a.pub"));
        assert!(signature.made_by("sha256:3f2b", &keys).is_none(), "another plugin");
        assert!(signature.made_by(DIGEST, &[other]).is_none(), "another key");
        assert!(signature.made_by(DIGEST, &[]).is_none());
        let spoiled = [
            Signature { payload: signature.payload.replace("3f2a", "3f2b"), ..signature.clone() },
            Signature { payload: String::new(), ..signature.clone() },
            Signature { signature: "%".to_owned(), ..signature.clone() },
            Signature { signature: BASE64.encode([48, 6, 2, 1, 0, 2, 1, 0]), ..signature.clone() },
        ];
        for spoiled in spoiled {
            assert!(spoiled.made_by(DIGEST, &keys).is_none(), "{spoiled:?}");
            assert!(spoiled.made_by("sha256:3f2b", &keys).is_none(), "{spoiled:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_writes_one() {
        let directory = tempfile::tempdir().unwrap();
        let said = |pem: &str| {
            let path = written(directory.path(), "key", pem);
            (PublicKey::read(&path).unwrap_err().to_string(), PrivateKey::read(&path).unwrap_err().to_string())
        };
        let (public, private) = said("nonsense");
        assert!(public.contains("openssl ec") && private.contains("openssl ecparam"), "{public} {private}");
        assert!(said("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n").1.contains("cosign sign --key"));
        assert!(PublicKey::read(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
        let sec1 = secret(1).to_sec1_pem(LineEnding::LF).unwrap();
        let key = PrivateKey::read(&written(directory.path(), "key", &sec1)).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }
}
