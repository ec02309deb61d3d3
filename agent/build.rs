//! Builds the bundled plugins for the sandbox and encodes them as components, so that the agent can carry them.
//!
//! A second cargo runs inside the first, in a target directory of its own (`target/plugins`): sharing the outer one
//! would wait for a lock the outer cargo holds. All profiles, `check` and `clippy` share that directory, so the
//! plugins are compiled once and then only looked at.

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Crate names; their files have underscores.
const PLUGINS: [&str; 2] = ["mask-fields", "route"];
const TARGET: &str = "wasm32-unknown-unknown";
/// In the workspace's Cargo.toml; also the name of the directory cargo puts the files in.
const PROFILE: &str = "plugin";

fn main() -> Result<(), Box<dyn Error>> {
    let agent = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = agent.parent().ok_or("the agent is not inside its workspace")?;
    for path in
        ["wit", "plugin-sdk/src", "plugin-sdk/Cargo.toml", "plugin-sdk/macros", "plugins", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let target_dir = beside_profiles(&out);
    build(root, &target_dir)?;
    for plugin in PLUGINS {
        let built = target_dir.join(TARGET).join(PROFILE).join(plugin.replace('-', "_")).with_extension("wasm");
        let module = fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
        let component = wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()?;
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
        if name.to_str().is_none_or(leaks) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let hint = if words.contains("can't find crate for `core`") || words.contains("can't find crate for `std`") {
        "\nthe sandbox's target is missing: run `rustup target add wasm32-unknown-unknown`"
    } else {
        ""
    };
    Err(format!("the bundled plugins do not build:\n{words}{hint}").into())
}

/// What the outer cargo, clippy or the user set for the agent and must not reach the plugins. Where cargo finds its
/// registry and how it reaches the network stays.
fn leaks(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS"].contains(&name)
        || ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    let set_for_the_agent = ["CARGO", "CLIPPY_", "DEP_"].iter().any(|prefix| name.starts_with(prefix))
        || [
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_LINKER",
            "RUSTDOC",
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
        ]
        .contains(&name)
        || ["TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "OUT_DIR"].contains(&name);
    set_for_the_agent && !kept
}
