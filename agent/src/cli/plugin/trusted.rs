//! What `push`, `pull` and `verify` have in common: how a registry is reached, whose signatures count, and what is said of
//! a plugin that was looked at.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use oci_client::Reference;

use crate::author::subject::Subject;
use crate::plugin::Kind;
use crate::plugin::trust::lock::Locked;
use crate::plugin::trust::signature::PublicKey;
use crate::plugin::trust::{Signatures, unsigned};
use crate::registry::{Options, Pulled, Registry};

/// How a registry is reached.
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {
    /// Speak to the registry without TLS; one on this machine is spoken to so in any case
    #[arg(long)]
    plain_http: bool,
    /// Also trust the certificate authorities in this file, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl RegistryArgs {
    pub(super) fn registry(&self, reference: &Reference) -> anyhow::Result<Registry> {
        let options = Options { plain_http: self.plain_http, ca: self.ca.clone() };
        Ok(Registry::of(reference, &options)?)
    }
}

/// Which plugins are taken.
#[derive(Debug, Args)]
pub(super) struct TrustArgs {
    /// The lock file: which digest stands behind which reference
    #[arg(long, value_name = "FILE", default_value = "whimbrel.lock")]
    pub(super) lock: PathBuf,
    /// Public key of somebody who may sign, PEM; may be said several times
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// What a missing or foreign signature means [default: require where a key is named, else off]
    #[arg(long, value_enum, value_name = "POLICY")]
    signatures: Option<Signatures>,
}

/// Whose signatures count, with the keys read.
pub(super) struct Signers {
    policy: Signatures,
    keys: Vec<PublicKey>,
}

impl TrustArgs {
    pub(super) fn signers(&self) -> anyhow::Result<Signers> {
        let policy = self.signatures.unwrap_or(match self.keys.as_slice() {
            [] => Signatures::Off,
            _ => Signatures::Require,
        });
        if policy == Signatures::Require && self.keys.is_empty() {
            bail!("`--signatures require` needs to know whose signatures count; name a public key with --key");
        }
        let keys = self.keys.iter().map(|path| PublicKey::read(path)).collect::<Result<_, _>>()?;
        Ok(Signers { policy, keys })
    }
}

impl Signers {
    /// What is to be said of the signatures of an entry.
    ///
    /// # Errors
    /// When they must be there and are not.
    pub(super) fn judge(&self, locked: &Locked) -> anyhow::Result<String> {
        let count = locked.signatures.len();
        match (self.policy, locked.signed_by(&self.keys)) {
            (Signatures::Off, _) => Ok(format!("{count} signatures, not looked at")),
            (_, Some(key)) => Ok(format!("signed by {}", key.name())),
            (Signatures::Require, None) => Err(unsigned(locked).into()),
            (Signatures::Warn, None) => Ok(format!("WARNING: {}", unsigned(locked))),
        }
    }
}

/// What was pulled, as a plugin this agent can run and as an entry of the lock file. The bytes are those of its digest.
pub(super) fn looked_at(
    reference: &Reference,
    pulled: Pulled,
    kind: Option<Kind>,
    file: impl FnOnce(&Subject) -> PathBuf,
) -> anyhow::Result<(Subject, Locked)> {
    let subject = Subject::of(Cow::Owned(pulled.component)).with_context(|| format!("{reference} is not taken"))?;
    if let Some(kind) = kind.filter(|kind| *kind != subject.kind) {
        bail!("{reference} is not taken: it is a {}, and a {kind} is wanted", subject.kind);
    }
    let manifest = &subject.manifest;
    let locked = Locked {
        reference: reference.to_string(),
        file: file(&subject),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        kind: subject.kind.to_string(),
        component: pulled.component_digest,
        digest: pulled.digest,
        manifest: pulled.manifest,
        signatures: pulled.signatures,
    };
    Ok((subject, locked))
}
