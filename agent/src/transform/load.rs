//! From configuration to a running chain: finds each plugin's file, checks it, compiles or loads it, and configures one
//! instance, so that whatever is wrong shows at the start and not with the first event.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::chain::{Chain, Link, TrapPolicy};
use super::crash::Bundles;
use super::slot::Slot;
use super::view::View;
use crate::config::{invalid::Invalid, plugins, raw};
use crate::plugin::code::{NoCode, code};
use crate::plugin::repro::ReproDir;
use crate::plugin::services::MetricSink;
use crate::plugin::trust::{Trust, Untrusted};
use crate::plugin::{
    Instance, Kind, LoadError, Manifest, Plugin, Sandbox, Services, Setup, Transform, bundled, digest,
};
use crate::stats::{Edition, Instruments, PluginMeter, PluginPlace};

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
    /// The lock file or the keys of those who may sign forbid it.
    #[error("plugin {plugin} is not trusted here")]
    Untrusted {
        /// What the configuration calls it.
        plugin: String,
        /// Why.
        #[source]
        source: Untrusted,
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
    let transforms = bundled::BUNDLED.iter().filter(|plugin| plugin.kind == Kind::Transform);
    transforms.map(|plugin| plugin.name).collect::<Vec<_>>().join(", ")
}

/// How the plugin of one place is made, again and again.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) transform: raw::Transform,
    pub(super) slot: Arc<Slot>,
    /// Digest of the file's content that came to work last, by whichever way.
    pub(super) loaded: String,
}

impl Recipe {
    /// How the plugin at work runs; its own series go to the meter.
    pub(super) fn setup(&self, sandbox: &Sandbox, meter: Option<Arc<PluginMeter>>) -> Result<Setup, BuildError> {
        setup(sandbox, &self.pipeline, &self.name, &self.transform, meter)
    }

    /// The file it is read from; none for a bundled one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        file(&self.transform.plugin)
    }
}

/// The file that a configured plugin names; none for a bundled one.
pub(super) fn file(plugin: &str) -> Option<PathBuf> {
    bundled::find(plugin).is_none().then(|| PathBuf::from(plugin))
}

fn setup(
    sandbox: &Sandbox,
    pipeline: &str,
    name: &str,
    transform: &raw::Transform,
    meter: Option<Arc<PluginMeter>>,
) -> Result<Setup, BuildError> {
    let metrics = meter.map(|meter| meter as Arc<dyn MetricSink>);
    Ok(Setup {
        name: name.to_owned(),
        owner: format!("{pipeline}/{name}"),
        config: config_of(&transform.config),
        written: transform.written.clone(),
        limits: plugins::limits(&transform.limits),
        grants: plugins::grants(&transform.grants)
            .map_err(|source| BuildError::Grants { plugin: name.to_owned(), source })?,
        services: Services { metrics, ..sandbox.services.clone() },
    })
}

/// A plugin's configuration as it gets it.
pub(super) fn config_of(config: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::Value::Object(config.clone()).to_string()
}

/// Builds the chain of a pipeline. Compiles what is not in the cache, which takes some 50 ms a plugin: call it off the
/// async workers. Its plugins stay as they are, until a [`Reloads`](super::Reloads) takes care of them.
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
    let mut recipes = Vec::with_capacity(transforms.len());
    for transform in transforms {
        let bytes = bytes_of(&transform.plugin, &sandbox.trust)?;
        let failed = |source| BuildError::Load { plugin: transform.plugin.clone(), source };
        let manifest = Manifest::of(&bytes, Kind::Transform).map_err(|refusal| failed(refusal.into()))?;
        // What the configuration calls it, else what it calls itself.
        let name = transform.name.clone().unwrap_or_else(|| manifest.name.clone());
        let digest = digest(&bytes);
        let meter = PluginMeter::new(&name, &manifest.version, &digest, instruments);
        meter.serves(pipeline);
        let setup = setup(sandbox, pipeline, &name, transform, Some(Arc::clone(&meter)))?;
        let instance = start(sandbox, setup, &bytes).map_err(failed)?;
        let policy = match transform.on_trap {
            raw::OnTrap::Halt => TrapPolicy::Halt,
            raw::OnTrap::DeadLetter => TrapPolicy::DeadLetter,
            raw::OnTrap::Pass => TrapPolicy::Pass,
        };
        let edition =
            Edition { source: transform.plugin.clone(), version: manifest.version.clone(), digest: digest.clone() };
        let slot = Slot::new(PluginPlace::new(pipeline, &name, edition, instruments));
        let bundles = |directory: &ReproDir| Bundles { directory: directory.clone(), pipeline: pipeline.to_owned() };
        let link = Link::metered(instance, policy, meter).in_slot(Arc::clone(&slot));
        links.push(link.leaving(sandbox.repro.as_ref().map(bundles)));
        recipes.push(Recipe {
            pipeline: pipeline.to_owned(),
            name,
            transform: transform.clone(),
            slot,
            loaded: digest,
        });
    }
    Ok(Chain::from_recipes(links, recipes))
}

/// The code of a plugin.
pub(super) fn bytes_of(plugin: &str, trust: &Trust) -> Result<Cow<'static, [u8]>, BuildError> {
    code(plugin, trust).map_err(|none| match none {
        NoCode::Read(source) => BuildError::Read { path: PathBuf::from(plugin), source },
        NoCode::Untrusted(source) => BuildError::Untrusted { plugin: plugin.to_owned(), source },
    })
}

fn start(sandbox: &Sandbox, setup: Setup, bytes: &[u8]) -> Result<Instance<Transform<View>>, LoadError> {
    let plugin = Arc::new(load(sandbox, setup, bytes)?);
    tracing::info!(
        plugin = plugin.name(),
        version = plugin.manifest().version,
        digest = plugin.digest(),
        from_cache = plugin.origin() == crate::plugin::Origin::Cached,
        "plugin loaded"
    );
    plugin.start()
}

pub(super) fn load(sandbox: &Sandbox, setup: Setup, bytes: &[u8]) -> Result<Plugin<Transform<View>>, LoadError> {
    Plugin::load(&sandbox.engine, &sandbox.cache, bytes, setup)
}
