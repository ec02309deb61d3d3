//! The plugins the agent carries. They come from `build.rs` as components and get no privilege: the same checks, limits
//! and cache as for any other file.

/// One bundled plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bundled {
    /// What a configuration calls it.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

/// All of them.
pub const BUNDLED: [Bundled; 2] = [
    Bundled { name: "mask-fields", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/mask-fields.wasm")) },
    Bundled { name: "route", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/route.wasm")) },
];

/// The component of a bundled plugin by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static [u8]> {
    BUNDLED.iter().find(|plugin| plugin.name == name).map(|plugin| plugin.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::manifest::{Kind, Manifest};

    #[test]
    fn each_says_in_its_manifest_what_it_is_called_here() {
        for plugin in BUNDLED {
            let manifest = Manifest::of(plugin.bytes, Kind::Transform).unwrap();
            assert_eq!(manifest.name, plugin.name);
            assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
            assert_eq!(manifest.config["type"], "object");
            assert!(plugin.bytes.len() < 200_000, "{} has {} bytes", plugin.name, plugin.bytes.len());
        }
    }
}
