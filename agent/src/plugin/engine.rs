//! The engine all plugins of an agent share, and the thread that moves its clock. Every call of a guest has a deadline in
//! ticks of that clock; without the thread no deadline would ever come.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::thread;

use wasmtime::{Config, EngineWeak, OptLevel};

use super::fault::LoadError;
use super::limits::TICK;

/// How deep a guest may call. The agent calls guests on threads of 2 MiB or more.
const MAX_STACK: usize = 512 << 10;

/// A compiler and runtime for plugins. Cheap to clone; the clock stops when the last clone is gone.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    counts: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Builds the engine and starts its clock.
    ///
    /// # Errors
    /// When this machine cannot run compiled guests, or has no thread to spare.
    pub fn new() -> Result<Self, LoadError> {
        Self::with(false)
    }

    /// An engine that counts what guests execute, in fuel, so that two runs can be compared to the instruction. Counting
    /// costs about a tenth of the speed; for tools only.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn counting() -> Result<Self, LoadError> {
        Self::with(true)
    }

    /// What its compiled code depends on, in short: version, settings, processor. Code made by an engine of another
    /// fingerprint does not fit.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.inner.precompile_compatibility_hash().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    fn with(counts: bool) -> Result<Self, LoadError> {
        let mut config = Config::new();
        config.consume_fuel(counts);
        config.wasm_component_model(true);
        config.epoch_interruption(true);
        config.cranelift_opt_level(OptLevel::Speed);
        config.max_wasm_stack(MAX_STACK);
        let inner = wasmtime::Engine::new(&config).map_err(LoadError::Engine)?;
        let weak = inner.weak();
        thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn(move || tick(&weak))
            .map_err(|error| LoadError::Engine(wasmtime::Error::from(error)))?;
        Ok(Engine { inner, counts })
    }

    /// Whether it counts what guests execute.
    pub(super) fn counts(&self) -> bool {
        self.counts
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }
}

/// Ends with the engine: nobody has to stop it.
fn tick(engine: &EngineWeak) {
    loop {
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
