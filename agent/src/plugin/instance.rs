//! A plugin ready to run, and one running instance of it. An instance serves call after call until a trap ends it or its
//! time is over; the next call gets a new one from the linked component. Calls block: never make them on an async worker.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::Linker;

use super::batch::Failure;
use super::breaker::Breaker;
use super::cache::{Cache, Origin, digest};
use super::engine::Engine;
use super::fault::{CallError, LoadError, Trap, TrapCause};
use super::host::log::cleaned;
use super::host::{State, Violation};
use super::limits::{Limits, MAX_HANDLES};
use super::manifest::Manifest;
use super::rights::Grants;
use super::services::Services;
use super::store::Pending;
use super::world::{World, link};
use crate::config::written::Written;

/// How a plugin is to run: everything but its code.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What configuration, logs and metrics call it.
    pub name: String,
    /// Under which name its state is kept; different for each place a plugin stands in.
    pub owner: String,
    /// The JSON for its instances.
    pub config: String,
    /// The same as it may be shown; nothing where nobody knows.
    pub written: Written,
    /// What it may use.
    pub limits: Limits,
    /// What it may do.
    pub grants: Grants,
    /// What does it for it.
    pub services: Services,
}

impl Setup {
    /// A plugin with the default limits, no grants, and state in memory.
    #[must_use]
    pub fn new(name: &str, config: &str) -> Self {
        Setup {
            name: name.to_owned(),
            owner: name.to_owned(),
            config: config.to_owned(),
            written: Written::default(),
            limits: Limits::default(),
            grants: Grants::default(),
            services: Services::default(),
        }
    }
}

/// A plugin of one kind, checked, compiled and linked, with its configuration.
pub struct Plugin<W: World> {
    name: Arc<str>,
    manifest: Manifest,
    digest: String,
    origin: Origin,
    engine: Engine,
    pre: Arc<W::Pre>,
    rights: Arc<Grants>,
    setup: Setup,
}

impl<W: World> fmt::Debug for Plugin<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl<W: World> Plugin<W> {
    /// Checks, compiles and links a component.
    ///
    /// # Errors
    /// When the file is not a plugin of this kind that this agent can run with these grants. Its configuration is tried by
    /// [`Plugin::start`].
    pub fn load(engine: &Engine, cache: &Cache, bytes: &[u8], setup: Setup) -> Result<Self, LoadError> {
        let manifest = Manifest::of(bytes, W::KIND)?;
        let rights = Arc::new(setup.grants.clone().narrowed(&manifest)?);
        let plugin = || setup.name.clone();
        let (component, origin) =
            cache.load(engine, bytes).map_err(|source| LoadError::Compile { plugin: plugin(), source })?;
        let mut linker = Linker::new(engine.wasmtime());
        let pre = link::<W>(&mut linker, manifest.imports.iter().copied())
            .and_then(|()| linker.instantiate_pre(&component))
            .and_then(W::pre)
            .map_err(|source| LoadError::Link { plugin: plugin(), world: W::KIND.world(), source })?;
        let digest = digest(bytes);
        Ok(Plugin {
            name: setup.name.as_str().into(),
            manifest,
            digest,
            origin,
            engine: engine.clone(),
            pre: Arc::new(pre),
            rights,
            setup,
        })
    }

    /// The same code in another setup, without compiling and linking it again.
    ///
    /// # Errors
    /// When the setup does not grant what the plugin imports.
    pub fn in_setup(&self, setup: Setup) -> Result<Self, LoadError> {
        Ok(Plugin {
            name: setup.name.as_str().into(),
            manifest: self.manifest.clone(),
            digest: self.digest.clone(),
            origin: self.origin,
            engine: self.engine.clone(),
            pre: Arc::clone(&self.pre),
            rights: Arc::new(setup.grants.clone().narrowed(&self.manifest)?),
            setup,
        })
    }

    /// Whether it keeps state: its instances then must not overlap.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        self.rights.state.is_some() && self.manifest.imports.contains(&super::manifest::Interface::State)
    }

    /// What configuration, logs and metrics call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_name(&self) -> &Arc<str> {
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

    /// What runs it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether its code came from the cache.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How it runs.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Starts an instance and configures it.
    ///
    /// # Errors
    /// When the configuration is refused, or the plugin traps over it.
    pub fn start(self: &Arc<Self>) -> Result<Instance<W>, LoadError> {
        let live = self.instantiate()?;
        let breaker = Breaker::new(self.setup.limits.breaker);
        Ok(Instance { plugin: Arc::clone(self), live: Some(live), breaker, fuel: 0 })
    }

    fn instantiate(&self) -> Result<Live<W>, LoadError> {
        let limits = &self.setup.limits;
        let name = || self.name.to_string();
        let kept = match self.rights.state {
            None => Pending::new(super::store::Entries::new(), 0),
            Some(quota) => {
                let stored = self.setup.services.store.load(&self.setup.owner);
                Pending::new(stored.map_err(|source| LoadError::State { plugin: name(), source })?, quota)
            }
        };
        let services = self.setup.services.clone();
        let state = State::new(Arc::clone(&self.name), limits, Arc::clone(&self.rights), services, kept);
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.output);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(limits.ticks());
        fill(&mut store, &self.engine);
        let started = W::instantiate(&self.pre, &mut store).and_then(|exports| {
            let answer = W::configure(&exports, &mut store, &self.setup.config)?;
            Ok((exports, answer))
        });
        match started {
            Ok((exports, Ok(()))) => {
                let mut live = Live { store, exports, started: Instant::now() };
                live.keep(&self.setup).map_err(|trap| LoadError::Start { plugin: name(), trap })?;
                Ok(live)
            }
            Ok((_, Err(refused))) => Err(LoadError::Config { plugin: name(), message: cleaned(refused).message }),
            Err(error) => Err(LoadError::Start { plugin: name(), trap: trap_of(&error, store.data()) }),
        }
    }
}

/// More fuel than any call burns before its deadline: it is counted, and bounds nothing.
const FULL: u64 = u64::MAX;

fn fill<L>(store: &mut Store<State<L>>, engine: &Engine) {
    if engine.counts()
        && let Err(error) = store.set_fuel(FULL)
    {
        tracing::error!(%error, "the plugin engine does not count");
    }
}

struct Live<W: World> {
    store: Store<State<W::Loan>>,
    exports: W::Exports,
    started: Instant,
}

/// A running plugin.
pub struct Instance<W: World> {
    plugin: Arc<Plugin<W>>,
    /// None after a trap or a recycling, until the next call.
    live: Option<Live<W>>,
    breaker: Breaker,
    fuel: u64,
}

impl<W: World> fmt::Debug for Instance<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("plugin", &self.plugin).field("live", &self.live.is_some()).finish()
    }
}

impl<W: World> Instance<W> {
    /// The plugin it runs.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin<W>> {
        &self.plugin
    }

    /// How much linear memory it has, in bytes; 0 after a trap.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.live.as_ref().map_or(0, |live| live.store.data().memory.used)
    }

    /// What the last call executed, in fuel; 0 where the engine does not count.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        self.fuel
    }

    /// Whether it trapped so often that it is called no more until [`Instance::pardon`].
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.breaker.is_open()
    }

    /// Ends a quarantine: somebody says that the plugin may try again.
    pub fn pardon(&mut self) {
        self.breaker.close();
    }

    /// Counts a trap that a call did not count itself.
    pub fn count_trap(&mut self) {
        self.breaker.trapped(Instant::now());
    }

    /// Makes one call with something lent for its length, which comes back in every case. A trap always counts.
    pub(super) fn call<R>(
        &mut self,
        loan: W::Loan,
        run: impl FnOnce(&W::Exports, &mut Store<State<W::Loan>>) -> wasmtime::Result<Result<R, Failure>>,
    ) -> (W::Loan, Result<R, CallError>) {
        let begun = Instant::now();
        let (loan, outcome) = self.call_uncounted(begun, loan, run);
        let (word, trap) = match &outcome {
            Ok(_) => ("ok", None),
            Err(CallError::Refused(_)) => ("error", None),
            Err(CallError::Trapped(trap)) => ("trap", Some(trap)),
            Err(CallError::Quarantined) => ("quarantined", None),
        };
        if let Some(metrics) = &self.plugin.setup.services.metrics {
            metrics.called(word, begun.elapsed(), trap.map(|trap| trap.cause));
            metrics.memory(self.memory());
        }
        if let Some(trap) = trap {
            let cause = trap.cause.as_str();
            tracing::warn!(plugin = self.plugin.name(), kind = %W::KIND, cause, error = %trap, "plugin trapped");
            self.count_trap();
        }
        (loan, outcome)
    }

    /// Like [`Instance::call`] for calls whose traps the caller looks into before it counts them.
    pub(super) fn call_uncounted<R>(
        &mut self,
        now: Instant,
        loan: W::Loan,
        run: impl FnOnce(&W::Exports, &mut Store<State<W::Loan>>) -> wasmtime::Result<Result<R, Failure>>,
    ) -> (W::Loan, Result<R, CallError>) {
        if self.breaker.is_open() {
            return (loan, Err(CallError::Quarantined));
        }
        let setup = &self.plugin.setup;
        let mut live = match self.live.take() {
            Some(live) => live,
            None => match self.plugin.instantiate() {
                Ok(live) => live,
                // It started before with the same configuration, so this is a fault at run time.
                Err(error) => {
                    let trap = match error {
                        LoadError::Start { trap, .. } => trap,
                        error => Trap { cause: TrapCause::Fault, message: error.to_string() },
                    };
                    return (loan, Err(CallError::Trapped(trap)));
                }
            },
        };
        live.store.data_mut().loan = Some(loan);
        live.store.data_mut().begin(now, &setup.limits);
        live.store.set_epoch_deadline(setup.limits.ticks());
        fill(&mut live.store, &self.plugin.engine);
        let answer = run(&live.exports, &mut live.store);
        self.fuel = live.store.get_fuel().map_or(0, |left| FULL - left);
        #[expect(clippy::expect_used, reason = "host functions borrow the loan, nothing takes it")]
        let loan = live.store.data_mut().loan.take().expect("the loan is still there");
        // Takes the live part apart only where it goes on: an instance that trapped cannot be called again.
        let outcome = match answer {
            Ok(Ok(value)) => live.keep(setup).map(|()| value).map_err(CallError::Trapped),
            Ok(Err(refused)) => {
                live.store.data_mut().kept.rollback();
                Err(CallError::Refused(cleaned(refused)))
            }
            Err(error) => Err(CallError::Trapped(trap_of(&error, live.store.data()))),
        };
        let trapped = matches!(outcome, Err(CallError::Trapped(_)));
        if !trapped && !live.is_spent(now, &setup.limits) {
            self.live = Some(live);
        }
        (loan, outcome)
    }
}

impl<W: World> Live<W> {
    /// Stores what the call changed of the plugin's state.
    fn keep(&mut self, setup: &Setup) -> Result<(), Trap> {
        let kept = &mut self.store.data_mut().kept;
        if kept.changes().is_empty() {
            return Ok(());
        }
        match setup.services.store.save(&setup.owner, kept.changes()) {
            Ok(()) => {
                kept.commit();
                Ok(())
            }
            Err(error) => Err(Trap { cause: TrapCause::Fault, message: error.to_string() }),
        }
    }

    /// Whether the next call should get a fresh instance: memory of a guest never shrinks, and what leaks in it ends so.
    fn is_spent(&self, now: Instant, limits: &Limits) -> bool {
        now.saturating_duration_since(self.started) >= limits.recycle_after
            || self.store.data().memory.used > limits.recycle_above()
    }
}

/// Names what ended an instance. The engine's own words come last: they are the least helpful ones.
fn trap_of<L>(error: &wasmtime::Error, state: &State<L>) -> Trap {
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
        (None, None) if words.starts_with("cannot allocate another handle") => {
            (TrapCause::Memory, "it held more handles than it may".to_owned())
        }
        (None, None) if words.starts_with("too much data is being copied") => {
            (TrapCause::Output, "it handed over more than its output limit".to_owned())
        }
        _ => (TrapCause::Fault, words),
    };
    Trap { cause, message }
}
