//! Puts new versions of plugins to work while the pipelines run: read, check, compile, configure, try on the last batch,
//! hand over. Every cause (a changed file, a signal, a request, a promotion) comes through here, on a thread where nobody
//! waits for data. Whatever goes wrong on the way leaves the old version where it is, counted and with the reason.
//!
//! Grants and limits are those of the start: they come from the configuration, which is not read again.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde::Serialize;

use super::chain::{Chain, Link, TrapPolicy};
use super::load::{BuildError, Recipe, bytes_of, config_of, file, load};
use super::shadow::Shadow;
use super::slot::Incoming;
use super::view::View;
use crate::config::plugins::limits;
use crate::config::raw;
use crate::event::Reason;
use crate::plugin::store::{Memory, StateError};
use crate::plugin::{LoadError, Plugin, Sandbox, Services, Setup, Transform, digest};
use crate::runtime::logging::chain;
use crate::stats::{Edition, Instruments, PluginMeter, ReloadOutcome};

/// How long a pipeline may take to come to the end of its batch before the answer is that it still has to.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Why a version was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be read, loaded, linked or started.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What the plugin kept cannot be copied for the trial.
    #[error("the plugin's state cannot be copied for the trial")]
    State(#[source] StateError),
    /// It trapped on the batch it was tried on.
    #[error("it was tried on the last batch that the plugin saw ({events} events), and trapped: {what}")]
    Trapped {
        /// How many events the batch had.
        events: usize,
        /// How it trapped.
        what: String,
    },
    /// It failed all events of a batch of which the version at work failed none.
    #[error(
        "it was tried on the last batch that the plugin saw, and failed all {events} events, of which the version at work failed none: {what}"
    )]
    FailedAll {
        /// How many events the batch had.
        events: usize,
        /// What it said of the last one.
        what: String,
    },
}

impl ReloadError {
    const fn outcome(&self) -> ReloadOutcome {
        match self {
            Self::Build(BuildError::Read { .. }) => ReloadOutcome::Unreadable,
            Self::Build(
                BuildError::Grants { .. }
                | BuildError::Untrusted { .. }
                | BuildError::Load { source: LoadError::Refused(_), .. },
            ) => ReloadOutcome::Refused,
            Self::Build(BuildError::Load { .. }) | Self::State(_) => ReloadOutcome::Failed,
            Self::Trapped { .. } | Self::FailedAll { .. } => ReloadOutcome::Canary,
        }
    }
}

/// No plugin has this place.
#[derive(Debug, thiserror::Error)]
#[error("pipeline `{pipeline}` has no plugin `{plugin}`; /api/v1/plugins lists what there is")]
pub struct UnknownPlace {
    /// As asked for.
    pub pipeline: String,
    /// As asked for.
    pub plugin: String,
}

/// What became of the reload of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Pipeline.
    pub pipeline: String,
    /// Plugin.
    pub plugin: String,
    /// How it ended; none: the pipeline takes the new version after the batch at which it still is.
    pub outcome: Option<ReloadOutcome>,
    /// Why it did not end well.
    pub why: Option<String>,
}

impl Report {
    /// Whether the place has, or will have, what it should.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome.is_none_or(ReloadOutcome::is_good)
    }
}

enum Done {
    Swapped,
    Unchanged,
    Waiting,
}

/// All plugins of an agent that can be loaded again, and their shadows.
#[derive(Debug)]
pub struct Reloads {
    pub(super) sandbox: Sandbox,
    pub(super) instruments: Instruments,
    pub(super) recipes: Vec<Recipe>,
    pub(super) record: raw::Record,
    shadows: u64,
}

impl Reloads {
    /// Nothing to load yet.
    #[must_use]
    pub fn new(sandbox: Sandbox, instruments: Instruments) -> Self {
        Reloads { sandbox, instruments, recipes: Vec::new(), record: raw::Record::default(), shadows: 0 }
    }

    /// With this said of what may be recorded.
    #[must_use]
    pub fn recording(self, record: raw::Record) -> Self {
        Reloads { record, ..self }
    }

    /// Takes care of a chain's plugins from now on, and starts their shadows. A shadow that does not start is told of and
    /// keeps nobody from anything.
    pub fn add(&mut self, chain: &mut Chain) {
        for recipe in chain.take_recipes() {
            let tried = recipe.file().is_some() || recipe.transform.shadow.is_some();
            if tried || self.record != raw::Record::Off {
                recipe.slot.record();
            }
            let index = self.recipes.len();
            self.recipes.push(recipe);
            self.start_shadow(index);
        }
    }

    /// How the plugin of this place is made.
    pub(super) fn recipe(&self, pipeline: &str, plugin: &str) -> Result<&Recipe, UnknownPlace> {
        let found = self.recipes.iter().find(|recipe| recipe.pipeline == pipeline && recipe.name == plugin);
        found.ok_or_else(|| UnknownPlace { pipeline: pipeline.to_owned(), plugin: plugin.to_owned() })
    }

    /// The files in use, with the digest of what was read from each.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let own = self.recipes.iter().filter_map(|recipe| Some((recipe.file()?, recipe.loaded.clone())));
        let shadows = self.recipes.iter().filter_map(|recipe| {
            let path = file(&recipe.transform.shadow.as_ref()?.plugin)?;
            let shadow = recipe.slot.shadow();
            Some((path, shadow.map(|shadow| shadow.plugin.digest().to_owned()).unwrap_or_default()))
        });
        own.chain(shadows).collect()
    }

    /// Loads what stands in one of these files.
    pub fn changed(&mut self, files: &[PathBuf]) -> Vec<Report> {
        self.reload(|file| files.iter().any(|changed| changed == file))
    }

    /// Loads everything whose file has other content than what works.
    pub fn all(&mut self) -> Vec<Report> {
        self.reload(|_| true)
    }

    fn reload(&mut self, wanted: impl Fn(&Path) -> bool) -> Vec<Report> {
        let mut reports = Vec::new();
        for index in 0..self.recipes.len() {
            let Some(recipe) = self.recipes.get(index) else { break };
            let shadow = recipe.transform.shadow.as_ref().and_then(|shadow| file(&shadow.plugin));
            let own = recipe.file();
            if let Some(path) = own.filter(|path| wanted(path)) {
                reports.extend(self.reload_one(index, &path));
            }
            if shadow.is_some_and(|path| wanted(&path)) {
                self.start_shadow(index);
            }
        }
        reports
    }

    fn reload_one(&mut self, index: usize, path: &Path) -> Option<Report> {
        let recipe = self.recipes.get_mut(index)?;
        let mut report =
            Report { pipeline: recipe.pipeline.clone(), plugin: recipe.name.clone(), outcome: None, why: None };
        match replace(&self.sandbox, &self.instruments, recipe) {
            // The link has counted it.
            Ok(Done::Swapped) => report.outcome = Some(ReloadOutcome::Swapped),
            Ok(Done::Waiting) => {}
            Ok(Done::Unchanged) => {
                recipe.slot.place.reloaded(ReloadOutcome::Unchanged, None);
                report.outcome = Some(ReloadOutcome::Unchanged);
            }
            Err(error) => {
                let why = chain(&error);
                tracing::error!(
                    pipeline = report.pipeline,
                    plugin = report.plugin,
                    path = %path.display(),
                    error = why,
                    "new version of the plugin is not taken, the old one goes on"
                );
                recipe.slot.place.reloaded(error.outcome(), Some(why.clone()));
                (report.outcome, report.why) = (Some(error.outcome()), Some(why));
            }
        }
        Some(report)
    }

    /// Starts the shadow of a place, or starts it anew when there is other content in its file.
    fn start_shadow(&mut self, index: usize) {
        let Some(recipe) = self.recipes.get(index) else { return };
        let Some(configured) = &recipe.transform.shadow else { return };
        let place = &recipe.slot.place;
        // Then the entry of the configuration has served: what it names is at work.
        if place.status().promoted {
            return;
        }
        self.shadows += 1;
        let number = self.shadows;
        let sample = configured.sample.unwrap_or(1.0);
        let started =
            bytes_of(&configured.plugin, &self.sandbox.trust).map_err(|error| chain(&error)).and_then(|bytes| {
                let known = recipe.slot.shadow().is_some_and(|shadow| shadow.plugin.digest() == digest(&bytes));
                if known {
                    return Ok(None);
                }
                let plugin = Arc::new(self.shadow_plugin(recipe, configured, &bytes).map_err(|error| chain(&error))?);
                let edition = edition(&plugin, &configured.plugin);
                let instance = plugin.start().map_err(|error| chain(&error))?;
                let shadow = Shadow::start(instance, sample, number, place, &self.instruments);
                Ok(Some((shadow.map_err(|error| error.to_string())?, edition)))
            });
        match started {
            Ok(None) => place.not_shadowed(&configured.plugin, None),
            Ok(Some((shadow, edition))) => {
                tracing::info!(plugin = recipe.name, version = edition.version, digest = edition.digest, "shadow runs");
                place.shadowed(edition, sample, number);
                recipe.slot.set_shadow(Some(shadow));
            }
            Err(why) => {
                tracing::error!(plugin = recipe.name, error = why, "shadow does not run");
                place.not_shadowed(&configured.plugin, Some(why));
            }
        }
    }

    fn shadow_plugin(
        &self,
        recipe: &Recipe,
        configured: &raw::Shadow,
        bytes: &[u8],
    ) -> Result<Plugin<Transform<View>>, BuildError> {
        let setup = recipe.setup(&self.sandbox, None)?;
        let setup = Setup {
            name: format!("{}/shadow", recipe.name),
            owner: format!("{}/shadow", setup.owner),
            config: configured.config.as_ref().map_or(setup.config, config_of),
            written: configured.config.as_ref().map_or(setup.written, |_| configured.written.clone()),
            limits: limits(configured.limits.as_ref().unwrap_or(&recipe.transform.limits)),
            services: Services { store: Arc::new(Memory::default()), egress: None, ..setup.services },
            grants: setup.grants,
        };
        load(&self.sandbox, setup, bytes)
            .map_err(|source| BuildError::Load { plugin: configured.plugin.clone(), source })
    }
}

/// Puts what stands in the file in the place of what works, unless it is the same.
fn replace(sandbox: &Sandbox, instruments: &Instruments, recipe: &mut Recipe) -> Result<Done, ReloadError> {
    let bytes: Cow<'static, [u8]> = bytes_of(&recipe.transform.plugin, &sandbox.trust)?;
    let digest = digest(&bytes);
    // After a promotion the file holds what it held when it was loaded, and what works is something else.
    if digest == recipe.loaded || digest == recipe.slot.place.status().edition.digest {
        return Ok(Done::Unchanged);
    }
    let plugin = load(sandbox, recipe.setup(sandbox, None)?, &bytes).map_err(|source| not_loaded(recipe, source))?;
    let edition = edition(&plugin, &recipe.transform.plugin);
    if introduce(instruments, recipe, plugin, edition, false)? {
        recipe.loaded = digest;
        return Ok(Done::Swapped);
    }
    Ok(Done::Waiting)
}

pub(super) fn not_loaded(recipe: &Recipe, source: LoadError) -> ReloadError {
    BuildError::Load { plugin: recipe.transform.plugin.clone(), source }.into()
}

fn edition(plugin: &Plugin<Transform<View>>, source: &str) -> Edition {
    Edition {
        source: source.to_owned(),
        version: plugin.manifest().version.clone(),
        digest: plugin.digest().to_owned(),
    }
}

/// Tries a version and hands it over; says whether it has been taken yet.
pub(super) fn introduce(
    instruments: &Instruments,
    recipe: &Recipe,
    plugin: Plugin<Transform<View>>,
    edition: Edition,
    promoted: bool,
) -> Result<bool, ReloadError> {
    let failed = |source| not_loaded(recipe, source);
    try_out(&plugin, recipe)?;
    let meter = PluginMeter::new(&recipe.name, &edition.version, &edition.digest, instruments);
    meter.serves(&recipe.pipeline);
    let setup = plugin.setup().clone();
    let services = Services { metrics: Some(meter.clone()), ..setup.services.clone() };
    let plugin = Arc::new(plugin.in_setup(Setup { services, ..setup }).map_err(failed)?);
    let started = if plugin.keeps_state() { None } else { Some(plugin.start().map_err(failed)?) };
    let (done, taken) = sync_channel(1);
    recipe.slot.hand_over(Incoming { plugin, started, meter, edition, promoted, done });
    match taken.recv_timeout(TAKEN_WITHIN) {
        Ok(Ok(old)) => {
            drop(old);
            Ok(true)
        }
        Ok(Err(source)) => Err(failed(source)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            tracing::warn!(
                pipeline = recipe.pipeline,
                plugin = recipe.name,
                "new version of the plugin waits for the pipeline"
            );
            Ok(false)
        }
    }
}

/// Starts a version and lets it work on a copy of the last batch, with a copy of the state: what it does there leaves no
/// trace.
fn try_out(plugin: &Plugin<Transform<View>>, recipe: &Recipe) -> Result<(), ReloadError> {
    let failed = |source| not_loaded(recipe, source);
    let setup = plugin.setup().clone();
    let store = if plugin.keeps_state() {
        Memory::holding(&setup.owner, setup.services.store.load(&setup.owner).map_err(ReloadError::State)?)
    } else {
        Memory::default()
    };
    let services = Services { store: Arc::new(store), metrics: None, egress: None, ..setup.services.clone() };
    let trial = Arc::new(plugin.in_setup(Setup { services, ..setup }).map_err(failed)?);
    let instance = trial.start().map_err(failed)?;
    let Some(recorded) = recipe.slot.recorded() else { return Ok(()) };
    let nobody = Instruments::detached(Arc::new(|| 0));
    let mut link = Link::new(instance, TrapPolicy::DeadLetter, &nobody);
    let batch = Arc::unwrap_or_clone(recorded.batch);
    let failures = batch.failures.len();
    let (view, outcome) = link.apply(View::new(batch));
    let stats = link.stats();
    let events = usize::try_from(stats.kept + stats.dropped + stats.failed).unwrap_or(usize::MAX);
    let batch = view.into_batch();
    let mut said = batch.failures.get(failures..).unwrap_or_default().iter();
    if stats.traps > 0 {
        let trapped = said.find(|failure| failure.reason == Reason::TransformTrapped);
        let what = match (outcome, trapped) {
            (_, Some(failure)) => failure.message.clone(),
            (Err(error), None) => chain(&error),
            (Ok(()), None) => "on all events together, and on none alone".to_owned(),
        };
        return Err(ReloadError::Trapped { events, what });
    }
    if events > 1 && stats.failed == events as u64 && recorded.failed == Some(0) {
        let what = said.next_back().map(|failure| failure.message.clone()).unwrap_or_default();
        return Err(ReloadError::FailedAll { events, what });
    }
    Ok(())
}
