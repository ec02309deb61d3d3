//! From a plugin's crate to a component: what both the agent's build script and `whimbrel plugin build` must do the same
//! way. Pure but for the environment it is asked about. Included by `build.rs` too, so it uses nothing of this crate.

/// What guests are compiled for: the one target whose standard library imports nothing.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The cargo profile guests are compiled with; also the name of the directory cargo puts the files in.
pub(crate) const PROFILE: &str = "plugin";

/// Encodes a core module, with the WIT its bindings left in it, as a component.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoded =
        wit_component::ComponentEncoder::default().validate(true).module(module).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

/// What an outer cargo, clippy or the user set for another build and must not reach the guest's. Where cargo finds its
/// registry and how it reaches the network stays.
pub(crate) fn leaks(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS"].contains(&name)
        || ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    let set_for_another = ["CARGO", "CLIPPY_", "DEP_"].iter().any(|prefix| name.starts_with(prefix))
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
    set_for_another && !kept
}

/// What to do about a failed build, where its words tell.
pub(crate) fn hint(words: &str) -> Option<&'static str> {
    let lacks = |name: &str| words.contains(&format!("can't find crate for `{name}`"));
    (lacks("core") || lacks("std"))
        .then_some("the sandbox's target is missing: run `rustup target add wasm32-unknown-unknown`")
}
