//! A new plugin's crate: templates with a name filled in, and the SDK beside them, since it is on no registry. Writes into
//! a folder that is not there yet, and nothing else.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::plugin::Kind;

mod embedded {
    //! The SDK's sources and the templates, as `build/sdk.rs` packed them.
    include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
}

/// Why there is no new crate.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The name is none.
    #[error("`{0}` cannot name a crate; use lower-case letters, digits and `-`, beginning with a letter")]
    Name(String),
    /// There is something already.
    #[error("{0} exists already; choose another name, or another place with --path")]
    Exists(String),
    /// The SDK is not where it is said to be.
    #[error(
        "{0} is not the SDK: its Cargo.toml does not name `whimbrel-plugin`; leave --sdk out to use the one this program carries"
    )]
    NoSdk(String),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
}

/// The name of the SDK's crate.
const SDK: &str = "whimbrel-plugin";

/// Makes the crate `name` in `parent` and gives its folder. The SDK is the one at `sdk`, or a copy inside the crate.
///
/// # Errors
/// When the name cannot be one, the folder exists, or cannot be written.
pub fn scaffold(parent: &Path, name: &str, kind: Kind, sdk: Option<&Path>) -> Result<PathBuf, ScaffoldError> {
    if !is_crate_name(name) {
        return Err(ScaffoldError::Name(name.to_owned()));
    }
    let folder = parent.join(name);
    if folder.exists() {
        return Err(ScaffoldError::Exists(folder.display().to_string()));
    }
    let sdk = match sdk {
        None => "sdk/plugin-sdk".to_owned(),
        Some(sdk) => {
            let named = fs::read_to_string(sdk.join("Cargo.toml")).unwrap_or_default();
            if !named.contains(&format!("name = \"{SDK}\"")) {
                return Err(ScaffoldError::NoSdk(sdk.display().to_string()));
            }
            let sdk = fs::canonicalize(sdk).unwrap_or_else(|_| sdk.to_owned());
            sdk.display().to_string()
        }
    };
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{kind}}", kind.as_str())
            .replace("{{channel}}", embedded::CHANNEL)
            .replace("{{sdk}}", &sdk)
    };
    for (path, text) in embedded::TEMPLATES {
        let own = path.strip_prefix("shared/").or_else(|| path.strip_prefix(kind.as_str())?.strip_prefix('/'));
        if let Some(path) = own {
            // The templates are no crates and no ignored files where they are kept.
            let path = match path {
                "manifest.toml" => "Cargo.toml",
                "toolchain.toml" => "rust-toolchain.toml",
                "gitignore" => ".gitignore",
                path => path,
            };
            write(&folder.join(path), &fill(text))?;
        }
    }
    write(&folder.join("Cargo.lock"), embedded::LOCK)?;
    if sdk == "sdk/plugin-sdk" {
        for (path, text) in embedded::SDK {
            write(&folder.join("sdk").join(path), text)?;
        }
    }
    Ok(folder)
}

fn is_crate_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(valid)
        && !name.ends_with('-')
        // The crate would depend on itself, or hide the standard library.
        && !["whimbrel-plugin", "whimbrel-plugin-macros", "std", "core", "alloc", "test"].contains(&name)
}

fn write(path: &Path, text: &str) -> Result<(), ScaffoldError> {
    let written = match path.parent() {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(path, text)),
        None => fs::write(path, text),
    };
    written.map_err(|source| ScaffoldError::Write { path: path.display().to_string(), source })
}
