//! The `plugins:` section and the entries of a pipeline's `transform:` list, checked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::invalid::Invalid;
use super::otlp::positive;
use super::raw;
use super::suggest::nearest;
use crate::plugin::bundled::BUNDLED;

/// A plugin whose whole purpose is that nothing passes it untouched.
const MASKING: &str = "mask-fields";

/// A batch takes milliseconds; a call that takes a second is stuck.
const DEFAULT_CALL: Duration = Duration::from_secs(1);
/// A batch of 8 MiB, its columns and what a plugin makes of them, with room.
const DEFAULT_MEMORY: u64 = 64 << 20;
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

/// Where a plugin's code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginCode {
    /// In the agent, by one of the names in [`crate::plugin::bundled::BUNDLED`].
    Bundled(&'static str),
    /// In a component file.
    File(PathBuf),
}

/// One plugin of a chain.
#[derive(Clone, PartialEq)]
pub struct TransformConfig {
    /// Name in metrics and logs; `None`: the plugin's own.
    pub name: Option<String>,
    /// Its code.
    pub code: PluginCode,
    /// Its own configuration; may hold secrets.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What happens when it traps.
    pub on_trap: raw::OnTrap,
    /// Longest call.
    pub call: Duration,
    /// Most linear memory, bytes.
    pub memory: u64,
}

impl fmt::Debug for TransformConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The plugin's configuration stays out: any part of it may be a secret.
        f.debug_struct("TransformConfig")
            .field("code", &self.code)
            .field("on_trap", &self.on_trap)
            .finish_non_exhaustive()
    }
}

impl TryFrom<&raw::Transform> for TransformConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Transform) -> Result<Self, Invalid> {
        let code = code(&raw.plugin)?;
        if let Some(name) = &raw.name {
            check_name(name).map_err(|why| Invalid::new("name", why, NAME_HINT))?;
        }
        if code == PluginCode::Bundled(MASKING) && raw.on_trap == raw::OnTrap::Pass {
            return Err(Invalid::new(
                "on_trap",
                "`pass` would let unmasked rows through when the plugin crashes",
                "write `halt` or `dead_letter`",
            ));
        }
        let memory = raw.limits.memory.map_or(DEFAULT_MEMORY, |size| size.0);
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&memory) {
            return Err(Invalid::new("limits.memory", "outside 1MiB to 4GiB", "write a size such as `64MiB`"));
        }
        let call = positive("limits.call", raw.limits.call, DEFAULT_CALL)?;
        Ok(Self { name: raw.name.clone(), code, config: raw.config.clone(), on_trap: raw.on_trap, call, memory })
    }
}

fn code(plugin: &str) -> Result<PluginCode, Invalid> {
    if let Some(bundled) = BUNDLED.iter().map(|one| one.name).find(|name| *name == plugin) {
        return Ok(PluginCode::Bundled(bundled));
    }
    if plugin.contains('/') || plugin.contains('\\') || plugin.ends_with(".wasm") {
        return Ok(PluginCode::File(PathBuf::from(plugin)));
    }
    let hint = match nearest(plugin, BUNDLED.iter().map(|one| one.name)) {
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
