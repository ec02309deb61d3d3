//! Plugins in OCI registries: push, sign, pull. The registry's side of it only; whom to trust is decided in
//! [`crate::plugin::trust`], and the agent itself never fetches anything.
//!
//! A plugin is an artifact of one layer in the media type for Wasm components, as the CNCF's guidance "Wasm OCI Artifact
//! Layout" has it, so other tools (wkg, oras, crane) can carry it too. Signatures are stored as cosign stores them: in the
//! same repository under the tag `sha256-<digest>.sig`.

mod artifact;
mod client;
mod login;

use oci_client::Reference;

pub use client::{Options, Pulled, Pushed, Registry};

use crate::plugin::trust::artifact::NoArtifact;
use crate::plugin::trust::signature::KeyError;

/// Why a registry did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The reference is none.
    #[error(
        "`{reference}` is no reference to a plugin in a registry: {why}; write HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]"
    )]
    Reference {
        /// As it was said.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// The certificate authority's file cannot be used.
    #[error("cannot read the certificates in {path}: {source}")]
    Ca {
        /// Its path.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// No credentials can be had.
    #[error("the login for {host} cannot be used: {why}; log in again with `docker login {host}`, or mend the file")]
    Login {
        /// The registry.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The registry wants to know who asks, or does not let this user.
    #[error(
        "{reference}: the registry refuses ({why}); log in with `docker login {host}`, or ask its owner for the right to do this"
    )]
    Refused {
        /// What was asked for.
        reference: String,
        /// The registry.
        host: String,
        /// Its words.
        why: String,
    },
    /// There is no such thing.
    #[error("{0}: the registry has no such plugin; check name and tag")]
    Missing(String),
    /// The registry does not answer.
    #[error("{reference}: the registry cannot be reached: {why}{hint}")]
    Unreachable {
        /// What was asked for.
        reference: String,
        /// The library's words.
        why: String,
        /// What may mend it.
        hint: &'static str,
    },
    /// It holds no plugin.
    #[error("{reference}: {source}")]
    NoPlugin {
        /// What was asked for.
        reference: String,
        /// Why.
        source: NoArtifact,
    },
    /// The tag is taken.
    #[error(
        "{reference} is there already, with another content ({digest}); a version is pushed once: raise it in Cargo.toml, name another tag, or say --force"
    )]
    Taken {
        /// What was asked for.
        reference: String,
        /// What is there.
        digest: String,
    },
    /// It is too large to be a plugin.
    #[error("{reference}: its component has {size} bytes, and a plugin at most {most}")]
    TooLarge {
        /// What was asked for.
        reference: String,
        /// Its size in bytes.
        size: u64,
        /// The most.
        most: u64,
    },
    /// What came is not what was announced.
    #[error(
        "{reference}: what the registry sent is not what its digest says ({why}); ask its owner to look after it, and do not use it"
    )]
    Spoiled {
        /// What was asked for.
        reference: String,
        /// What differs.
        why: String,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Anything else.
    #[error("{reference}: the registry's answer cannot be used: {why}")]
    Odd {
        /// What was asked for.
        reference: String,
        /// The library's words.
        why: String,
    },
}

/// Reads a reference. The host must be said: nothing is looked for at a registry that somebody else chose.
///
/// # Errors
/// When it is none.
pub fn reference(text: &str) -> Result<Reference, RegistryError> {
    let bad = |why: &str| RegistryError::Reference { reference: text.to_owned(), why: why.to_owned() };
    let plain = text.strip_prefix("oci://").unwrap_or(text);
    let Some((host, _)) = plain.split_once('/') else { return Err(bad("it names no registry")) };
    if !(host == "localhost" || host.contains(['.', ':'])) {
        return Err(bad("it does not begin with the host of a registry"));
    }
    plain.parse().map_err(|error: oci_client::ParseError| bad(&error.to_string()))
}

/// Whether the text names the tag or digest of its reference itself: the library takes `latest` where there is none.
#[must_use]
pub fn names_version(text: &str, reference: &Reference) -> bool {
    reference.digest().is_some() || reference.tag().is_some_and(|tag| text.ends_with(&format!(":{tag}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        for text in ["localhost/hide", "127.0.0.1:5000/team/hide:1.0.0", "oci://registry.example.org/hide"] {
            assert_eq!(reference(text).unwrap().to_string(), Reference::to_string(&reference(text).unwrap()), "{text}");
        }
        for text in ["hide", "team/hide", "", "localhost:5000/HIDE", "localhost:5000/", "localhost:5000/a@sha256:12"] {
            let said = reference(text).unwrap_err().to_string();
            assert!(said.contains("HOST[:PORT]/NAME"), "{said}");
        }
    }
}
