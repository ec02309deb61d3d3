//! The plugins the agent carries. They come from `build.rs` as components and get no privilege: the same checks, limits
//! and cache as for any other file.

use super::manifest::Kind;

/// One bundled plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bundled {
    /// What a configuration calls it.
    pub name: &'static str,
    /// Where it can stand.
    pub kind: Kind,
    /// The component.
    pub bytes: &'static [u8],
}

macro_rules! bundled {
    ($name:literal, $kind:expr) => {
        Bundled { name: $name, kind: $kind, bytes: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm")) }
    };
}

/// All of them.
pub const BUNDLED: [Bundled; 10] = [
    bundled!("alertmanager", Kind::Channel),
    bundled!("email", Kind::Channel),
    bundled!("lag-rules", Kind::Rule),
    bundled!("mask-fields", Kind::Transform),
    bundled!("pagerduty", Kind::Channel),
    bundled!("route", Kind::Transform),
    bundled!("slack", Kind::Channel),
    bundled!("statistical", Kind::Rule),
    bundled!("threshold-rules", Kind::Rule),
    bundled!("webhook", Kind::Channel),
];

/// The component of a bundled plugin by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static [u8]> {
    BUNDLED.iter().find(|plugin| plugin.name == name).map(|plugin| plugin.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::Manifest;

    #[test]
    fn each_says_in_its_manifest_what_it_is_called_here() {
        for plugin in BUNDLED {
            let manifest = Manifest::of(plugin.bytes, plugin.kind).unwrap();
            assert_eq!(manifest.name, plugin.name);
            assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
            assert_eq!(manifest.config["type"], "object");
            assert!(plugin.bytes.len() < 200_000, "{} has {} bytes", plugin.name, plugin.bytes.len());
        }
    }
}
