//! From a plugin's crate to its component: runs cargo, encodes what it made, reads it as the agent will. Writes nothing
//! but the component and cargo's target directory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use serde::Deserialize;

use super::component::{PROFILE, TARGET, encode, hint, leaks};
use super::subject::Subject;
use crate::plugin::Refusal;
use crate::plugin::place::place;

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a crate.
    #[error(
        "{0} has no Cargo.toml; name a plugin's folder, or make one with `whimbrel plugin new NAME --kind transform`"
    )]
    NoCrate(String),
    /// No cargo.
    #[error("cannot run cargo ({0}); install Rust with rustup")]
    NoCargo(io::Error),
    /// Cargo said no.
    #[error("the plugin does not build:\n{words}{}", .hint.map(|hint| format!("\n{hint}")).unwrap_or_default())]
    Cargo {
        /// Its words.
        words: String,
        /// What to do, where that is known.
        hint: Option<&'static str>,
    },
    /// It built something else.
    #[error("{0} builds no `cdylib`; write `crate-type = [\"cdylib\", \"rlib\"]` under `[lib]` in its Cargo.toml")]
    NoLibrary(String),
    /// The module cannot become a component.
    #[error(
        "the module cannot be encoded as a component: {0}; build it with the whimbrel-plugin crate and its attribute"
    )]
    Encode(String),
    /// The component is not one the agent takes.
    #[error("{path}: {source}")]
    Refused {
        /// Its path.
        path: String,
        /// Why, and how to mend it.
        source: Refusal,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
}

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the component goes; none: `target/NAME.wasm` in the crate.
    pub out: Option<PathBuf>,
    /// Cargo's target directory; none: cargo's own choice.
    pub target_dir: Option<PathBuf>,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The component's file.
    pub path: PathBuf,
    /// What it is.
    pub subject: Subject,
}

/// One line of cargo's JSON messages, as far as it matters.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// Builds a crate and writes its component.
///
/// # Errors
/// When it does not build, or what was built is no plugin.
pub fn build(dir: &Path, options: &Options) -> Result<Built, BuildError> {
    let manifest = dir.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|_| BuildError::NoCrate(dir.display().to_string()))?;
    let output = cargo(dir, &text, options).output().map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let hint = hint(&words);
        return Err(BuildError::Cargo { words, hint });
    }
    let file = |action, path: &Path| {
        let path = path.display().to_string();
        move |source| BuildError::File { action, path, source }
    };
    let module = artifact(&manifest, &output.stdout).ok_or_else(|| BuildError::NoLibrary(dir.display().to_string()))?;
    let bytes = fs::read(&module).map_err(file("read", &module))?;
    let component = encode(&bytes).map_err(BuildError::Encode)?;
    let subject = Subject::of(Cow::Owned(component))
        .map_err(|source| BuildError::Refused { path: module.display().to_string(), source })?;
    let path = options.out.clone().unwrap_or_else(|| {
        let target = options.target_dir.clone().unwrap_or_else(|| dir.join("target"));
        target.join(&subject.manifest.name).with_extension("wasm")
    });
    place(&path, &subject.bytes).map_err(file("write", &path))?;
    Ok(Built { path, subject })
}

fn cargo(dir: &Path, manifest: &str, options: &Options) -> Command {
    // Under `cargo run` and `cargo test` this is the cargo that runs; otherwise the one on the path.
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir).stdin(Stdio::null());
    cargo.args(["build", "--lib", "--target", TARGET, "--profile", PROFILE]);
    cargo.arg("--message-format=json-render-diagnostics");
    if !manifest.contains("[profile.plugin]") {
        for setting in
            ["inherits='release'", "opt-level=3", "lto=true", "codegen-units=1", "panic='abort'", "strip='debuginfo'"]
        {
            cargo.arg("--config").arg(format!("profile.{PROFILE}.{setting}"));
        }
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(leaks) {
            cargo.env_remove(name);
        }
    }
    let target_dir = options.target_dir.clone().or_else(|| env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
    if let Some(target_dir) = target_dir {
        let absolute = std::path::absolute(&target_dir).unwrap_or(target_dir);
        cargo.arg("--target-dir").arg(absolute);
    }
    cargo
}

/// The module cargo made of this crate.
fn artifact(manifest: &Path, messages: &[u8]) -> Option<PathBuf> {
    let manifest = fs::canonicalize(manifest).ok()?;
    let lines = messages.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| message.target.crate_types.iter().any(|kind| kind == "cdylib"))
        .filter(|message| fs::canonicalize(&message.manifest_path).is_ok_and(|path| path == manifest))
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}
