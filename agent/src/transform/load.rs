//! From configuration to a running chain: finds each plugin's file, checks it, compiles or loads it, and configures one
//! instance, so that whatever is wrong shows at the start and not with the first event.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::chain::{Chain, Link, TrapPolicy};
use super::view::View;
use crate::config::{invalid::Invalid, plugins, raw};
use crate::plugin::{
    Instance, Kind, LoadError, Manifest, Plugin, Sandbox, Services, Setup, Transform, bundled, digest,
};
use crate::stats::{Instruments, PluginMeter};

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
    /// What it was granted makes no sense.
    #[error("cannot use plugin {plugin}")]
    Grants {
        /// Its name.
        plugin: String,
        /// Why.
        #[source]
        source: Invalid,
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
    sandbox: &Sandbox,
    pipeline: &str,
    transforms: &[raw::Transform],
    instruments: &Instruments,
) -> Result<Chain, BuildError> {
    let mut links = Vec::with_capacity(transforms.len());
    for transform in transforms {
        let bytes = bytes_of(&transform.plugin)?;
        let failed = |source| BuildError::Load { plugin: transform.plugin.clone(), source };
        let (name, manifest) = named(transform, &bytes).map_err(failed)?;
        let meter = PluginMeter::new(&name, &manifest.version, &digest(&bytes), instruments);
        let setup = Setup {
            owner: format!("{pipeline}/{name}"),
            config: serde_json::Value::Object(transform.config.clone()).to_string(),
            limits: plugins::limits(&transform.limits),
            grants: plugins::grants(&transform.grants)
                .map_err(|source| BuildError::Grants { plugin: name.clone(), source })?,
            services: Services { metrics: Some(meter.clone()), ..sandbox.services.clone() },
            name,
        };
        let instance = start(sandbox, setup, &bytes).map_err(failed)?;
        let policy = match transform.on_trap {
            raw::OnTrap::Halt => TrapPolicy::Halt,
            raw::OnTrap::DeadLetter => TrapPolicy::DeadLetter,
            raw::OnTrap::Pass => TrapPolicy::Pass,
        };
        links.push(Link::metered(instance, policy, meter));
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

/// What the configuration calls it, else what it calls itself.
fn named(transform: &raw::Transform, bytes: &[u8]) -> Result<(String, Manifest), LoadError> {
    let manifest = Manifest::of(bytes, Kind::Transform)?;
    Ok((transform.name.clone().unwrap_or_else(|| manifest.name.clone()), manifest))
}

fn start(sandbox: &Sandbox, setup: Setup, bytes: &[u8]) -> Result<Instance<Transform<View>>, LoadError> {
    let plugin = Arc::new(Plugin::load(&sandbox.engine, &sandbox.cache, bytes, setup)?);
    tracing::info!(
        plugin = plugin.name(),
        version = plugin.manifest().version,
        digest = plugin.digest(),
        from_cache = plugin.origin() == crate::plugin::Origin::Cached,
        "plugin loaded"
    );
    plugin.start()
}
