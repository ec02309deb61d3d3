//! The plugin a tool works on: a component's bytes with what it says of itself. Reads one file; runs nothing.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use crate::config::secret::Secret;
use crate::plugin::rights::{HttpRights, MailRights, Origin};
use crate::plugin::{Grants, Interface, Kind, Manifest, Refusal, bundled, digest};

/// Why a file cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; name the `.wasm` component of a plugin, or a bundled plugin ({bundled})", bundled = bundled::BUNDLED.map(|plugin| plugin.name).join(", "))]
    Read {
        /// Its path.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is no plugin this agent can run.
    #[error("{path}: {}", full(.source))]
    Refused {
        /// Its path.
        path: String,
        /// Why, and how to mend it.
        source: Refusal,
    },
}

fn full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}

/// A plugin's file, read.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The component.
    pub bytes: Cow<'static, [u8]>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it is.
    pub kind: Kind,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

impl Subject {
    /// Reads a component's file, or a bundled plugin by name.
    ///
    /// # Errors
    /// When there is no such file, or it is no plugin.
    pub fn read(file: &Path) -> Result<Self, SubjectError> {
        let path = file.display().to_string();
        let bytes = match bundled::find(&path) {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(fs::read(file).map_err(|source| SubjectError::Read { path: path.clone(), source })?),
        };
        Self::of(bytes).map_err(|source| SubjectError::Refused { path, source })
    }

    /// The plugin in these bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn of(bytes: Cow<'static, [u8]>) -> Result<Self, Refusal> {
        let (manifest, kind) = Manifest::any(&bytes)?;
        let digest = digest(&bytes);
        Ok(Subject { bytes, manifest, kind, digest })
    }

    /// What it must be granted to load, as lines of the agent's configuration under `grants:`. What the manifest says of
    /// origins and secrets is filled in.
    #[must_use]
    pub fn grant_lines(&self) -> Vec<String> {
        let line = |interface: &Interface| match (interface, &self.manifest.wants.http, &self.manifest.wants.secrets) {
            (Interface::Http, Some(origins), _) => Some(format!("http: {{ origins: {} }}", quoted(origins))),
            (Interface::Secrets, _, Some(names)) if !names.is_empty() => {
                let secrets = names.iter().map(|name| format!("{name}: \"${{env:{}}}\"", variable(name)));
                Some(format!("secrets: {{ {} }}", secrets.collect::<Vec<_>>().join(", ")))
            }
            _ => interface.grant().map(str::to_owned),
        };
        self.manifest.imports.iter().filter_map(line).collect()
    }

    /// Everything it asks for, for a try-out: nothing leaves, since no way out comes with it.
    #[must_use]
    pub fn tried_grants(&self) -> Grants {
        let wants = &self.manifest.wants;
        let origins = wants.http.iter().flatten().filter_map(|origin| Origin::parse(origin)).collect();
        let mut names = wants.secrets.clone().unwrap_or_default();
        if names.is_empty() {
            names.push("name".to_owned());
        }
        Grants {
            http: Some(HttpRights { origins, private_addresses: false }),
            mail: Some(MailRights::default()),
            secrets: names.into_iter().map(|name| (name, Secret::new("secret"))).collect(),
            ..Grants::harmless()
        }
    }
}

fn quoted(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

/// A secret's name as the name of an environment variable.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
