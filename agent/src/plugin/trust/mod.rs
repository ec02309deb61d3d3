//! Which files may run as plugins: those whose digest the lock file knows, signed by a key that is trusted here. Decides
//! from files alone, before anything of a plugin is compiled; the network is [`crate::registry`]'s.

pub mod artifact;
pub mod lock;
pub mod signature;

use std::path::PathBuf;

use clap::ValueEnum;

use self::artifact::sha256;
use self::lock::{Lock, LockError, Locked, Torn};
use self::signature::{KeyError, PublicKey};

/// What a missing or foreign signature means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Signatures {
    /// The plugin is refused.
    Require,
    /// It is said, and the plugin is taken.
    Warn,
    /// Signatures are not looked at.
    #[default]
    Off,
}

/// Why a plugin is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The lock file does not know the file.
    #[error(
        "its digest {component} is not in the lock file {lock}; `whimbrel plugin pull REFERENCE --lock {lock}` puts a plugin there"
    )]
    Unknown {
        /// Of the file.
        component: String,
        /// Path of the lock file.
        lock: String,
    },
    /// Its entry in the lock file was changed.
    #[error("its entry in the lock file does not hold together: {0}; pull it again with --update")]
    Torn(#[from] Torn),
    /// Nobody signed it.
    #[error(
        "it is not signed; sign it with `whimbrel plugin push --sign-key KEY` or `cosign sign --key`, then pull it again"
    )]
    Unsigned,
    /// Somebody else signed it.
    #[error(
        "none of its {0} signatures is by a key that is trusted here; add the key that signed it, or sign it with one of these"
    )]
    Foreign(usize),
}

/// What is trusted here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// The lock file; none: any file's digest will do.
    pub lock: Option<PathBuf>,
    /// What a missing signature means.
    pub signatures: Signatures,
    /// Files with the keys of those who may sign.
    pub keys: Vec<PathBuf>,
}

impl Trust {
    /// Decides whether a component may run. Files are read anew, so that a new lock file counts for the next reload.
    ///
    /// # Errors
    /// With the reason why it may not.
    pub fn admit(&self, plugin: &str, component: &[u8]) -> Result<(), Untrusted> {
        let Some(path) = &self.lock else { return Ok(()) };
        let component = sha256(component);
        let lock = Lock::read(path)?;
        let entries: Vec<&Locked> = lock.plugins.iter().filter(|locked| locked.component == component).collect();
        let Some(first) = entries.first() else {
            return Err(Untrusted::Unknown { component, lock: path.display().to_string() });
        };
        first.check()?;
        let signed = || {
            let keys = self.keys()?;
            // A plugin that was pulled under several names is signed when one of them is.
            let found = entries.iter().find_map(|locked| locked.check().is_ok().then(|| locked.signed_by(&keys))?);
            found.map(drop).ok_or_else(|| unsigned(first))
        };
        match self.signatures {
            Signatures::Off => Ok(()),
            Signatures::Require => signed(),
            Signatures::Warn => {
                if let Err(why) = signed() {
                    tracing::warn!(plugin, why = %why, "plugin is taken without a signature that is trusted here");
                }
                Ok(())
            }
        }
    }

    fn keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        self.keys.iter().map(|path| PublicKey::read(path)).collect()
    }
}

/// Why an entry that no trusted key signed is not enough.
#[must_use]
pub fn unsigned(locked: &Locked) -> Untrusted {
    match locked.signatures.len() {
        0 => Untrusted::Unsigned,
        count => Untrusted::Foreign(count),
    }
}
