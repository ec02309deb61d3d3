//! What the host keeps or does for plugins beyond their batch: state, series, the clock, requests to the outside. One set
//! serves all plugins of an agent; what a single one may use of it is in [`super::rights`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cache::Cache;
use super::egress::Egress;
use super::engine::Engine;
use super::fault::TrapCause;
use super::repro::ReproDir;
use super::store::{Memory, StateStore};
use super::trust::Trust;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Where the series of plugins go. Names are the plugin's own and not trusted: the sink bounds them.
pub trait MetricSink: Send + Sync {
    /// Adds to a counter; `by` is finite and not negative.
    fn add(&self, name: &str, by: f64);
    /// Sets a gauge; `value` is finite.
    fn set(&self, name: &str, value: f64);
    /// Adds an observation to a histogram; `value` is finite.
    fn observe(&self, name: &str, value: f64);
    /// A call of a rule, channel or migration ended: `outcome` is "ok", "error", "trap" or "quarantined". Transforms are
    /// counted by their chain, which knows their events too.
    fn called(&self, outcome: &'static str, took: Duration, trap: Option<TrapCause>) {
        let _ = (outcome, took, trap);
    }
    /// How much linear memory the instance has, bytes.
    fn memory(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// Takes the log lines of a plugin instead of the agent's log.
pub trait LogSink: Send + Sync {
    /// One line, bounded and harmless; `level` is "trace", "debug", "info", "warn" or "error".
    fn line(&self, level: &'static str, line: &str);
}

/// Services for one plugin. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Keeps the plugin's state.
    pub store: Arc<dyn StateStore>,
    /// Takes its series; none: they are dropped.
    pub metrics: Option<Arc<dyn MetricSink>>,
    /// Takes its log lines; none: they go to the agent's log.
    pub log: Option<Arc<dyn LogSink>>,
    /// Tells the time.
    pub clock: Clock,
    /// Sends its requests and mail; none: there is no way out.
    pub egress: Option<Arc<dyn Egress>>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl Default for Services {
    /// State in memory, the system's clock, no series, no way out.
    fn default() -> Self {
        Services {
            store: Arc::new(Memory::default()),
            metrics: None,
            log: None,
            clock: Arc::new(system_ms),
            egress: None,
        }
    }
}

/// All that plugins of one agent share.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Runs them.
    pub engine: Engine,
    /// Keeps their compiled code.
    pub cache: Cache,
    /// Serves them.
    pub services: Services,
    /// Says which files may run.
    pub trust: Trust,
    /// Where crashes leave replay cases; none: nowhere.
    pub repro: Option<ReproDir>,
}

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
