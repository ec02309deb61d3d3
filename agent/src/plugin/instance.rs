//! A plugin ready to run, and one running instance of it. An instance serves call after call until a trap ends it; the next
//! call gets a new one from the linked component. Calls block: never make them on an async worker.

use std::fmt;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Linker, Resource};

use super::batch::EventBatch;
use super::bindings::{EventTransform, EventTransformPre};
use super::cache::{Cache, Origin, hex};
use super::engine::Engine;
use super::fault::{CallError, LoadError, Trap, TrapCause};
use super::host::{Access, State, Violation, cleaned};
use super::limits::Limits;
use super::manifest::{Kind, Manifest};
use sha2::{Digest, Sha256};

/// A transform plugin, checked, compiled and linked, with its configuration.
pub struct Plugin<B: EventBatch> {
    name: Arc<str>,
    manifest: Manifest,
    digest: String,
    origin: Origin,
    engine: Engine,
    pre: EventTransformPre<State<B>>,
    limits: Limits,
    config: String,
}

impl<B: EventBatch> fmt::Debug for Plugin<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl<B: EventBatch> Plugin<B> {
    /// Checks, compiles and links a component. `name` is what configuration, logs and metrics call it; `config` is
    /// the JSON for its instances.
    ///
    /// # Errors
    /// When the file is not a transform plugin this agent can run. Its configuration is tried by [`Plugin::start`].
    pub fn load(
        engine: &Engine,
        cache: &Cache,
        name: &str,
        bytes: &[u8],
        limits: Limits,
        config: String,
    ) -> Result<Self, LoadError> {
        let manifest = Manifest::of(bytes, Kind::Transform)?;
        let plugin = || name.to_owned();
        let (component, origin) =
            cache.load(engine, bytes).map_err(|source| LoadError::Compile { plugin: plugin(), source })?;
        let link = |source| LoadError::Link { plugin: plugin(), world: Kind::Transform.world(), source };
        let mut linker = Linker::new(engine.wasmtime());
        EventTransform::add_to_linker::<State<B>, Access<B>>(&mut linker, |state| state).map_err(link)?;
        let pre = linker.instantiate_pre(&component).and_then(EventTransformPre::new).map_err(link)?;
        let digest = hex(&Sha256::digest(bytes));
        Ok(Plugin { name: name.into(), manifest, digest, origin, engine: engine.clone(), pre, limits, config })
    }

    /// What configuration, logs and metrics call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of its file, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether its code came from the cache.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Starts an instance and configures it.
    ///
    /// # Errors
    /// When the configuration is refused, or the plugin traps over it.
    pub fn start(self: &Arc<Self>) -> Result<Instance<B>, LoadError> {
        let live = self.instantiate()?;
        Ok(Instance { plugin: Arc::clone(self), live: Some(live) })
    }

    fn instantiate(&self) -> Result<Live<B>, LoadError> {
        let mut store = Store::new(self.engine.wasmtime(), State::new(Arc::clone(&self.name), &self.limits));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(self.limits.output);
        store.set_epoch_deadline(self.limits.ticks());
        let started = self.pre.instantiate(&mut store).and_then(|world| {
            let answer = world.whimbrel_plugin_lifecycle().call_configure(&mut store, &self.config)?;
            Ok((world, answer))
        });
        match started {
            Ok((world, Ok(()))) => Ok(Live { store, world }),
            Ok((_, Err(refused))) => {
                Err(LoadError::Config { plugin: self.name.to_string(), message: cleaned(refused).message })
            }
            Err(error) => Err(LoadError::Start { plugin: self.name.to_string(), trap: trap_of(&error, store.data()) }),
        }
    }
}

struct Live<B: EventBatch> {
    store: Store<State<B>>,
    world: EventTransform,
}

/// A running plugin.
pub struct Instance<B: EventBatch> {
    plugin: Arc<Plugin<B>>,
    /// None after a trap, until the next call.
    live: Option<Live<B>>,
}

impl<B: EventBatch> fmt::Debug for Instance<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("plugin", &self.plugin).field("live", &self.live.is_some()).finish()
    }
}

impl<B: EventBatch> Instance<B> {
    /// The plugin it runs.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin<B>> {
        &self.plugin
    }

    /// How much linear memory it has, in bytes; 0 after a trap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().memory.used)
    }

    /// Lets the plugin work on a batch, which comes back in every case. What the plugin wrote stands when the call ended
    /// well; otherwise the batch is as it was before.
    ///
    /// # Errors
    /// When the plugin refused the batch, or trapped: then this instance is gone and the next call starts another.
    pub fn apply(&mut self, batch: B) -> (B, Result<(), CallError>) {
        let live = match self.live.take() {
            Some(live) => live,
            None => match self.plugin.instantiate() {
                Ok(live) => live,
                // It started before with the same configuration, so this is a fault at run time.
                Err(LoadError::Start { trap, .. }) => return (batch, Err(CallError::Trapped(trap))),
                Err(error) => {
                    return (
                        batch,
                        Err(CallError::Trapped(Trap { cause: TrapCause::Fault, message: error.to_string() })),
                    );
                }
            },
        };
        let (live, batch, outcome) = live.apply(batch, &self.plugin.limits);
        self.live = live;
        (batch, outcome)
    }
}

impl<B: EventBatch> Live<B> {
    /// Takes itself, so that an instance that trapped cannot be called again.
    fn apply(mut self, batch: B, limits: &Limits) -> (Option<Self>, B, Result<(), CallError>) {
        self.store.data_mut().batch = Some(batch);
        self.store.set_epoch_deadline(limits.ticks());
        let answer = self.world.whimbrel_plugin_transform().call_apply(&mut self.store, Resource::new_borrow(0));
        #[expect(clippy::expect_used, reason = "host functions borrow the batch, nothing takes it")]
        let mut batch = self.store.data_mut().batch.take().expect("the batch is still there");
        match answer {
            Ok(Ok(())) => {
                batch.commit();
                (Some(self), batch, Ok(()))
            }
            Ok(Err(refused)) => {
                batch.rollback();
                (Some(self), batch, Err(CallError::Refused(cleaned(refused))))
            }
            Err(error) => {
                batch.rollback();
                let trap = trap_of(&error, self.store.data());
                (None, batch, Err(CallError::Trapped(trap)))
            }
        }
    }
}

/// Names what ended an instance. The engine's own words come last: they are the least helpful ones.
fn trap_of<B>(error: &wasmtime::Error, state: &State<B>) -> Trap {
    if let Some(violation) = error.downcast_ref::<Violation>() {
        return Trap { cause: violation.cause, message: violation.message.to_owned() };
    }
    let words = error.root_cause().to_string();
    let trap = error.downcast_ref::<wasmtime::Trap>();
    let (cause, message) = match (trap, &state.panic) {
        (Some(wasmtime::Trap::Interrupt), _) => {
            (TrapCause::Deadline, "the call took longer than its budget".to_owned())
        }
        (Some(wasmtime::Trap::StackOverflow), _) => (TrapCause::Stack, words),
        (_, Some(panic)) => (TrapCause::Panic, panic.clone()),
        _ if state.memory.refused => (TrapCause::Memory, "it wanted more memory than its limit".to_owned()),
        (None, None) if words.starts_with("too much data is being copied") => {
            (TrapCause::Output, "it handed over more than its output limit".to_owned())
        }
        _ => (TrapCause::Fault, words),
    };
    Trap { cause, message }
}
