//! From configuration to a running chain: finds each plugin's file, checks it, compiles or loads it, and configures one
//! instance, so that whatever is wrong shows at the start and not with the first event.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::chain::{Chain, Link, TrapPolicy};
use super::view::View;
use crate::config::raw;
use crate::plugin::{Cache, Engine, Instance, Kind, Limits, LoadError, Manifest, Plugin, bundled};
use crate::stats::Instruments;

/// Why a chain cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The file cannot be read.
    #[error("cannot read plugin {path}; name a bundled plugin ({bundled}) or the path of a component", bundled = bundled_names())]
    Read {
        /// Its path.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The file is no plugin that can stand here.
    #[error("cannot use plugin {plugin}")]
    Load {
        /// What the configuration calls it.
        plugin: String,
        /// Why.
        #[source]
        source: LoadError,
    },
}

fn bundled_names() -> String {
    bundled::BUNDLED.map(|plugin| plugin.name).join(", ")
}

/// Builds the chain of a pipeline. Compiles what is not in the cache, which takes some 50 ms a plugin: call it off the
/// async workers.
///
/// # Errors
/// With the first plugin that cannot be used.
pub fn build(
    engine: &Engine,
    cache: &Cache,
    transforms: &[raw::Transform],
    instruments: &Instruments,
) -> Result<Chain, BuildError> {
    let mut links = Vec::with_capacity(transforms.len());
    for transform in transforms {
        let bytes = bytes_of(&transform.plugin)?;
        let instance = start(engine, cache, transform, &bytes)
            .map_err(|source| BuildError::Load { plugin: transform.plugin.clone(), source })?;
        let policy = match transform.on_trap {
            raw::OnTrap::Halt => TrapPolicy::Halt,
            raw::OnTrap::DeadLetter => TrapPolicy::DeadLetter,
            raw::OnTrap::Pass => TrapPolicy::Pass,
        };
        links.push(Link::new(instance, policy, instruments));
    }
    Ok(Chain::new(links))
}

/// A bundled name wins over a file of that name: files are named with a path or an extension.
fn bytes_of(plugin: &str) -> Result<std::borrow::Cow<'static, [u8]>, BuildError> {
    if let Some(bytes) = bundled::find(plugin) {
        return Ok(bytes.into());
    }
    let path = PathBuf::from(plugin);
    fs::read(&path).map(Into::into).map_err(|source| BuildError::Read { path, source })
}

fn start(
    engine: &Engine,
    cache: &Cache,
    transform: &raw::Transform,
    bytes: &[u8],
) -> Result<Instance<View>, LoadError> {
    let name = match &transform.name {
        Some(name) => name.clone(),
        None => Manifest::of(bytes, Kind::Transform)?.name,
    };
    let defaults = Limits::default();
    let limits = Limits {
        call: transform.limits.call.map_or(defaults.call, |time| time.0),
        memory: transform.limits.memory.map_or(defaults.memory, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        ..defaults
    };
    let config = serde_json::Value::Object(transform.config.clone()).to_string();
    let plugin = Arc::new(Plugin::load(engine, cache, &name, bytes, limits, config)?);
    tracing::info!(
        plugin = name,
        version = plugin.manifest().version,
        digest = plugin.digest(),
        from_cache = plugin.origin() == crate::plugin::Origin::Cached,
        "plugin loaded"
    );
    plugin.start()
}
