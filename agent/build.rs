//! Builds the bundled plugins for the sandbox and encodes them as components, so that the agent can carry them; packs the
//! SDK's sources for `whimbrel plugin new`.
//!
//! A second cargo runs inside the first, in a target directory of its own (`target/plugins`): sharing the outer one
//! would wait for a lock the outer cargo holds. All profiles, `check` and `clippy` share that directory, so the
//! plugins are compiled once and then only looked at.

#[path = "src/author/component.rs"]
mod component;
#[path = "build/sdk.rs"]
mod sdk;

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use component::{PROFILE, TARGET};

/// Crate names; their files have underscores.
const PLUGINS: [&str; 10] = [
    "alertmanager",
    "email",
    "lag-rules",
    "mask-fields",
    "pagerduty",
    "route",
    "slack",
    "statistical",
    "threshold-rules",
    "webhook",
];

fn main() -> Result<(), Box<dyn Error>> {
    let agent = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = agent.parent().ok_or("the agent is not inside its workspace")?;
    for path in
        ["wit", "plugin-sdk/src", "plugin-sdk/Cargo.toml", "plugin-sdk/macros", "plugins", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    for path in ["build.rs", "build", "src/author/component.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for path in ["plugin-sdk/template", "rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    sdk::embed(root, &out)?;

    let target_dir = beside_profiles(&out);
    build(root, &target_dir)?;
    for plugin in PLUGINS {
        let built = target_dir.join(TARGET).join(PROFILE).join(plugin.replace('-', "_")).with_extension("wasm");
        let module = fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
        let component = component::encode(&module)?;
        fs::write(out.join(plugin).with_extension("wasm"), component)?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}; cargo sets it"))
}

/// `target/plugins`, next to `target/debug` and `target/release`: OUT_DIR is `target/<profile>/build/<package>/out`.
fn beside_profiles(out: &Path) -> PathBuf {
    let build = out.ancestors().find(|path| path.file_name() == Some(OsStr::new("build")));
    let target = build.and_then(Path::parent).and_then(Path::parent);
    target.map_or_else(|| out.join("plugins"), |target| target.join("plugins"))
}

fn build(root: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--profile", PROFILE, "--target", TARGET, "--target-dir"])
        .arg(target_dir);
    for plugin in PLUGINS {
        cargo.args(["--package", plugin]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(component::leaks) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let hint = component::hint(&words).map(|hint| format!("\n{hint}")).unwrap_or_default();
    Err(format!("the bundled plugins do not build:\n{words}{hint}").into())
}
