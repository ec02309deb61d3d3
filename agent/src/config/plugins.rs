//! The `plugins:` section and the entries of a pipeline's `transform:` list, checked.

use std::path::PathBuf;

use super::invalid::Invalid;
use super::raw;
use super::suggest::nearest;
use crate::plugin::bundled::BUNDLED;

/// A plugin whose whole purpose is that nothing passes it untouched.
const MASKING: &str = "mask-fields";

/// One page of linear memory and a stack do not fit below; the plugin could not even start.
const MIN_MEMORY: u64 = 1 << 20;
/// WebAssembly's 32-bit linear memory ends here.
const MAX_MEMORY: u64 = 4 << 30;

/// Settings of the plugin host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// Where compiled code is cached; `None`: the user's cache directory.
    pub cache_dir: Option<PathBuf>,
}

impl TryFrom<&raw::Plugins> for PluginsConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Plugins) -> Result<Self, Invalid> {
        match &raw.cache_dir {
            Some(dir) if dir.as_os_str().is_empty() || dir.is_file() => {
                Err(Invalid::new("cache_dir", "not the path of a folder", "write a path, or leave it out"))
            }
            cache_dir => Ok(Self { cache_dir: cache_dir.clone() }),
        }
    }
}

/// Checks an entry of a `transform:` list. Whether the plugin takes its own configuration only the plugin knows: that shows
/// when the chain is built.
///
/// # Errors
/// The first setting that cannot be used.
pub fn check_transform(raw: &raw::Transform) -> Result<(), Invalid> {
    check_code(&raw.plugin)?;
    if let Some(name) = &raw.name {
        check_name(name).map_err(|why| Invalid::new("name", why, NAME_HINT))?;
    }
    if raw.plugin == MASKING && raw.on_trap == raw::OnTrap::Pass {
        return Err(Invalid::new(
            "on_trap",
            "`pass` would let unmasked rows through when the plugin crashes",
            "write `halt` or `dead_letter`",
        ));
    }
    if raw.limits.memory.is_some_and(|size| !(MIN_MEMORY..=MAX_MEMORY).contains(&size.0)) {
        return Err(Invalid::new("limits.memory", "outside 1MiB to 4GiB", "write a size such as `64MiB`"));
    }
    if raw.limits.call.is_some_and(|time| time.0.is_zero()) {
        return Err(Invalid::new("limits.call", "no time at all", "write a duration such as `1s`, or leave it out"));
    }
    Ok(())
}

fn check_code(plugin: &str) -> Result<(), Invalid> {
    let bundled = || BUNDLED.iter().map(|one| one.name);
    let is_path = plugin.contains('/') || plugin.contains('\\') || plugin.ends_with(".wasm");
    if is_path || bundled().any(|name| name == plugin) {
        return Ok(());
    }
    let hint = match nearest(plugin, bundled()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write `mask-fields`, `route`, or the path of a component file such as `./my-plugin.wasm`".to_owned(),
    };
    Err(Invalid::new("plugin", "no bundled plugin, and no path", hint))
}

/// What [`check_name`] wants, as a hint.
pub(crate) const NAME_HINT: &str = "use 1 to 64 letters, digits, `-` and `_`";

/// Names that become metric labels and parts of identities.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name {
        "" => Err("the name is empty"),
        name if name.len() > 64 => Err("the name is too long"),
        name if !name.chars().all(valid) => Err("not a name: it holds other characters"),
        _ => Ok(()),
    }
}
