//! Builds the benchmark's guest the way the build script builds plugins, when the benchmark runs: nobody else pays for it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// `target/plugins`, where the build script puts guests: what it compiled is used again.
fn target_dir() -> Result<PathBuf, Box<dyn Error>> {
    let build = Path::new(env!("OUT_DIR")).ancestors().find(|path| path.ends_with("build"));
    Ok(build.and_then(Path::parent).and_then(Path::parent).ok_or("no target directory")?.join("plugins"))
}

/// The guest as a component, with these features.
pub(super) fn build(features: &[&str]) -> Result<Vec<u8>, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the agent is not inside its workspace")?;
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in env::vars() {
        if ["CARGO_PKG", "CARGO_MANIFEST", "RUSTC", "RUSTFLAGS", "CARGO_ENCODED"].iter().any(|it| name.starts_with(it))
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--package", "crossing-guest", "--profile", "plugin"])
        .args(["--target", "wasm32-unknown-unknown", "--features", &features.join(","), "--target-dir"])
        .arg(target_dir()?);
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("the guest does not build:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let module = fs::read(target_dir()?.join("wasm32-unknown-unknown/plugin/crossing_guest.wasm"))?;
    Ok(wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()?)
}
