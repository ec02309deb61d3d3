//! The `plugins:` section and the entries of a pipeline's `transform:` list, checked.

use std::path::PathBuf;

use super::invalid::Invalid;
use super::raw;
use super::suggest::nearest;
use crate::plugin::bundled::BUNDLED;
use crate::plugin::trust::{Signatures, Trust};
use crate::plugin::{BreakerLimits, Grants, Limits};

/// A plugin whose whole purpose is that nothing passes it untouched.
const MASKING: &str = "mask-fields";

/// One page of linear memory and a stack do not fit below; the plugin could not even start.
const MIN_MEMORY: u64 = 1 << 20;
/// WebAssembly's 32-bit linear memory ends here.
const MAX_MEMORY: u64 = 4 << 30;

/// Settings of the plugin host.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// Where compiled code is cached; `None`: the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// Where the state of plugins is kept; `None`: in memory.
    pub state_file: Option<PathBuf>,
    /// Whether plugins are loaded again when their files change.
    pub watch: bool,
    /// Which files may run.
    pub trust: Trust,
    /// What may be taken from this agent as a replay case.
    pub record: raw::Record,
    /// Where crashes leave replay cases; `None`: nowhere.
    pub repro_dir: Option<PathBuf>,
    /// How many of them are kept.
    pub repro_keep: usize,
}

/// A person looks at some of them; each has 1 MiB at most.
const DEFAULT_REPRO_KEEP: usize = 20;

impl TryFrom<&raw::Plugins> for PluginsConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Plugins) -> Result<Self, Invalid> {
        if raw.cache_dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty() || dir.is_file()) {
            return Err(Invalid::new("cache_dir", "not the path of a folder", "write a path, or leave it out"));
        }
        if raw.state_file.as_ref().is_some_and(|file| file.as_os_str().is_empty() || file.is_dir()) {
            return Err(Invalid::new("state_file", "not the path of a file", "write a path, or leave it out"));
        }
        if raw.repro_dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty() || dir.is_file()) {
            return Err(Invalid::new("repro_dir", "not the path of a folder", "write a path, or leave it out"));
        }
        if raw.repro_keep == Some(0) {
            return Err(Invalid::new(
                "repro_keep",
                "not a number of files",
                "write 1 or more; leave `repro_dir` out for none",
            ));
        }
        Ok(Self {
            cache_dir: raw.cache_dir.clone(),
            state_file: raw.state_file.clone(),
            watch: raw.watch.unwrap_or(true),
            trust: trust(&raw.trust).map_err(|invalid| invalid.within("trust"))?,
            record: raw.record,
            repro_dir: raw.repro_dir.clone(),
            repro_keep: raw.repro_keep.unwrap_or(DEFAULT_REPRO_KEEP),
        })
    }
}

fn trust(raw: &raw::Trust) -> Result<Trust, Invalid> {
    let is_path = |path: &PathBuf| !path.as_os_str().is_empty() && !path.is_dir();
    if raw.lock.as_ref().is_some_and(|lock| !is_path(lock)) {
        return Err(Invalid::new("lock", "not the path of a file", "write the path of a lock file, or leave it out"));
    }
    if !raw.keys.iter().all(is_path) {
        return Err(Invalid::new("keys", "not the path of a file", "write paths of public keys in PEM"));
    }
    let signatures = match raw.signatures {
        raw::Signatures::Require => Signatures::Require,
        raw::Signatures::Warn => Signatures::Warn,
        raw::Signatures::Off => Signatures::Off,
    };
    if signatures != Signatures::Off && raw.lock.is_none() {
        return Err(Invalid::new(
            "signatures",
            "signatures are kept in the lock file, and none is named",
            "name the one of `whimbrel plugin pull` as `lock`",
        ));
    }
    if signatures == Signatures::Require && raw.keys.is_empty() {
        return Err(Invalid::new(
            "signatures",
            "`require` without a key would refuse every plugin",
            "name the public keys of those who may sign as `keys`",
        ));
    }
    Ok(Trust { lock: raw.lock.clone(), signatures, keys: raw.keys.clone() })
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
    check_limits(&raw.limits)?;
    if let Some(shadow) = &raw.shadow {
        check_shadow(shadow).map_err(|invalid| invalid.within("shadow"))?;
    }
    grants(&raw.grants).map(drop)
}

fn check_shadow(raw: &raw::Shadow) -> Result<(), Invalid> {
    check_code(&raw.plugin)?;
    if raw.sample.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
        return Err(Invalid::new("sample", "not a share", "write a number above 0 and at most 1, such as `0.1`"));
    }
    raw.limits.as_ref().map_or(Ok(()), check_limits)
}

/// Checks the limits of a plugin.
///
/// # Errors
/// The first that cannot be used.
pub(crate) fn check_limits(limits: &raw::Limits) -> Result<(), Invalid> {
    if limits.memory.is_some_and(|size| !(MIN_MEMORY..=MAX_MEMORY).contains(&size.0)) {
        return Err(Invalid::new("limits.memory", "outside 1MiB to 4GiB", "write a size such as `64MiB`"));
    }
    if limits.call.is_some_and(|time| time.0.is_zero()) {
        return Err(Invalid::new("limits.call", "no time at all", "write a duration such as `1s`, or leave it out"));
    }
    if limits.traps == Some(0) {
        return Err(Invalid::new("limits.traps", "not a number of traps", "write 1 or more, or leave it out"));
    }
    Ok(())
}

/// The limits written for a plugin, and the defaults for the rest.
#[must_use]
pub fn limits(raw: &raw::Limits) -> Limits {
    let defaults = Limits::default();
    Limits {
        call: raw.call.map_or(defaults.call, |time| time.0),
        memory: raw.memory.map_or(defaults.memory, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        recycle_after: raw.recycle_after.map_or(defaults.recycle_after, |time| time.0),
        breaker: BreakerLimits { traps: raw.traps.unwrap_or(defaults.breaker.traps), ..defaults.breaker },
        ..defaults
    }
}

/// The most state one plugin may keep: it is held in memory while the plugin runs.
const MAX_STATE: u64 = 256 << 20;

/// The grants written for a plugin.
///
/// # Errors
/// When one makes no sense.
pub fn grants(raw: &raw::Grants) -> Result<Grants, Invalid> {
    if raw.state.is_some_and(|size| !(1..=MAX_STATE).contains(&size.0)) {
        return Err(Invalid::new("grants.state", "outside 1B to 256MiB", "write a size such as `1MiB`"));
    }
    Ok(Grants {
        state: raw.state.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        metrics: raw.metrics,
        clock: raw.clock,
        ..Grants::default()
    })
}

pub(crate) fn check_code(plugin: &str) -> Result<(), Invalid> {
    let bundled = || BUNDLED.iter().map(|one| one.name);
    let is_path = plugin.contains('/') || plugin.contains('\\') || plugin.ends_with(".wasm");
    if is_path || bundled().any(|name| name == plugin) {
        return Ok(());
    }
    let hint = match nearest(plugin, bundled()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = bundled().collect();
            format!("write one of {}, or the path of a component file such as `./my-plugin.wasm`", names.join(", "))
        }
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

crate::config::opaque::opaque_debug!(PluginsConfig);
