//! The lock file: which plugin stands behind which reference, by digest, with the signatures it came with. Made to be
//! committed and reviewed, and to be checked without a network: the manifest's text is in it, so that a signature over
//! the manifest leads to the component's bytes.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, NoArtifact, sha256};
use super::signature::{PublicKey, Signature};
use crate::plugin::place::place;

/// The layout of the file.
const FORMAT: u32 = 1;

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("cannot read the lock file {path}: {source}; `whimbrel plugin pull REFERENCE --lock {path}` writes it")]
    Read {
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the lock file {path}: {source}")]
    Write {
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It is none.
    #[error("{path} is no lock file of plugins: {source}; `whimbrel plugin pull` writes it")]
    Parse {
        /// Its path.
        path: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// Another version of the program wrote it.
    #[error("{path} has format {found}, and this version reads {FORMAT}; update whimbrel")]
    Format {
        /// Its path.
        path: String,
        /// What it says.
        found: u32,
    },
}

/// A plugin, as it was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Where it was pulled from, with its tag.
    pub reference: String,
    /// The file it was written to, as said then.
    pub file: PathBuf,
    /// What the plugin calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// `sha256:…` of the component.
    pub component: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// The manifest, as the registry has it.
    pub manifest: String,
    /// The signatures of the manifest.
    pub signatures: Vec<Signature>,
}

/// Why an entry does not hold together: somebody changed it by hand.
#[derive(Debug, thiserror::Error)]
pub enum Torn {
    /// The manifest has another digest.
    #[error("its manifest is not the one of its digest")]
    Manifest,
    /// The manifest is of another component.
    #[error("its manifest is of another component")]
    Component,
    /// The manifest is none of a plugin.
    #[error(transparent)]
    NoArtifact(#[from] NoArtifact),
}

impl Locked {
    /// Checks that digest, manifest and component belong together.
    ///
    /// # Errors
    /// With what does not.
    pub fn check(&self) -> Result<(), Torn> {
        if sha256(self.manifest.as_bytes()) != self.digest {
            return Err(Torn::Manifest);
        }
        let artifact = Artifact::of(&self.manifest)?;
        if artifact.component == self.component { Ok(()) } else { Err(Torn::Component) }
    }

    /// The first of these keys that signed it.
    #[must_use]
    pub fn signed_by<'k>(&self, keys: &'k [PublicKey]) -> Option<&'k PublicKey> {
        self.signatures.iter().find_map(|signature| signature.made_by(&self.digest, keys))
    }
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    /// Its plugins, in order of their references.
    pub plugins: Vec<Locked>,
}

impl Default for Lock {
    fn default() -> Self {
        Lock { format: FORMAT, plugins: Vec::new() }
    }
}

impl Lock {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let name = || path.display().to_string();
        let text = fs::read(path).map_err(|source| LockError::Read { path: name(), source })?;
        let lock: Lock = serde_json::from_slice(&text).map_err(|source| LockError::Parse { path: name(), source })?;
        if lock.format == FORMAT { Ok(lock) } else { Err(LockError::Format { path: name(), found: lock.format }) }
    }

    /// Reads the file, or begins a new one where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn read_or_new(path: &Path) -> Result<Self, LockError> {
        match Self::read(path) {
            Err(LockError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            read => read,
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        place(path, text.as_bytes()).map_err(|source| LockError::Write { path: path.display().to_string(), source })
    }

    /// The entry of a reference.
    #[must_use]
    pub fn of_reference(&self, reference: &str) -> Option<&Locked> {
        self.plugins.iter().find(|locked| locked.reference == reference)
    }

    /// Puts an entry in the place of the one with its reference, or of the one that stood for its file.
    pub fn put(&mut self, locked: Locked) {
        self.plugins.retain(|other| other.reference != locked.reference && other.file != locked.file);
        self.plugins.push(locked);
        self.plugins.sort_by(|a, b| a.reference.cmp(&b.reference));
    }
}
