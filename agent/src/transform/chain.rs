//! The plugins of a pipeline in order, and what happens when one traps.
//!
//! A call that ends badly leaves the batch as it was. The events are then offered one by one, once, so that only those
//! suffer that are bad alone; what a trap means for such an event is the link's policy.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SendError;
use std::time::{Duration, Instant, SystemTime};

use super::crash::{Bundle, BundleError, Bundles};
use super::load::Recipe;
use super::slot::{Incoming, Slot};
use super::view::View;
use crate::batch::Batch;
use crate::event::{Reason, Verdict};
use crate::plugin::{CallError, EventBatch, Instance, Transform, Trap};
use crate::runtime::logging::chain;
use crate::stats::{Instruments, PluginMeter, ReloadOutcome};

/// What a trap on a single event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrapPolicy {
    /// The batch stops, and with it the pipeline, until somebody acts.
    #[default]
    Halt,
    /// The event goes to the dead letters.
    DeadLetter,
    /// The event goes on as it was. Never for plugins that hide something.
    Pass,
}

/// The chain cannot go on. The batch holds the work of earlier calls and must be thrown away, not delivered.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A plugin trapped and its policy is to halt.
    #[error("plugin {plugin} trapped on {topic}/{partition}/{offset}: {trap}")]
    Halted {
        /// The plugin.
        plugin: String,
        /// Where the event stands.
        topic: String,
        /// Where the event stands.
        partition: i32,
        /// Where the event stands.
        offset: i64,
        /// What happened.
        trap: Trap,
    },
    /// A plugin trapped so often in a short time that it, and not the events, must be broken.
    #[error("plugin {plugin} is in quarantine because it trapped too often{}; mend or replace it, then resume the pipeline", last(.trap.as_ref()))]
    Quarantined {
        /// The plugin.
        plugin: String,
        /// What happened the last time, as far as it was in this batch.
        trap: Option<Trap>,
    },
}

fn last(trap: Option<&Trap>) -> String {
    trap.map(|trap| format!(", last: {trap}")).unwrap_or_default()
}

/// One plugin in its place.
#[derive(Debug)]
pub struct Link {
    instance: Instance<Transform<View>>,
    policy: TrapPolicy,
    meter: Arc<PluginMeter>,
    stats: PluginStats,
    /// What it did with the last batch, until somebody asks.
    turn: Option<Turn>,
    /// Where new versions come in; none: this one stays.
    slot: Option<Arc<Slot>>,
    /// Where its crashes leave replay cases; none: nowhere.
    bundles: Option<Bundles>,
    /// What the clock said at the last call, for these.
    called_at_ms: i64,
}

/// What one plugin did with one batch, for its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The plugin.
    pub plugin: Arc<str>,
    /// When it got the batch.
    pub begun: SystemTime,
    /// How long its calls took, in all.
    pub took: Duration,
    /// How many events it saw.
    pub events: usize,
    /// How many calls that were: one, unless it failed and got the events one by one.
    pub calls: u64,
    /// How many of them ended in a trap.
    pub traps: u64,
    /// Why the last of these did.
    pub cause: Option<&'static str>,
}

/// What one plugin did so far, for status and terminal views.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginStats {
    /// Its name.
    pub plugin: String,
    /// How often it was called.
    pub calls: u64,
    /// How many calls ended in a trap.
    pub traps: u64,
    /// How many events it kept.
    pub kept: u64,
    /// How many events it dropped.
    pub dropped: u64,
    /// How many events failed in it.
    pub failed: u64,
    /// How long it had batches, in all.
    pub busy: Duration,
    /// Its linear memory, in bytes.
    pub memory: usize,
}

impl Link {
    /// Puts a running plugin into a chain, with a meter of its own.
    #[must_use]
    pub fn new(instance: Instance<Transform<View>>, policy: TrapPolicy, instruments: &Instruments) -> Self {
        let plugin = instance.plugin();
        let meter = PluginMeter::new(plugin.name(), &plugin.manifest().version, plugin.digest(), instruments);
        Self::metered(instance, policy, meter)
    }

    /// Puts a running plugin into a chain; the meter counts for it from now on.
    #[must_use]
    pub fn metered(instance: Instance<Transform<View>>, policy: TrapPolicy, meter: Arc<PluginMeter>) -> Self {
        let plugin = instance.plugin();
        let stats =
            PluginStats { plugin: plugin.name().to_owned(), memory: instance.memory(), ..PluginStats::default() };
        meter.memory_bytes(stats.memory as u64);
        Link { instance, policy, meter, stats, turn: None, slot: None, bundles: None, called_at_ms: 0 }
    }

    /// Lets new versions come in through this slot.
    pub(super) fn in_slot(self, slot: Arc<Slot>) -> Self {
        Link { slot: Some(slot), ..self }
    }

    /// Leaves a replay case there for each event that it traps on.
    pub(super) fn leaving(self, bundles: Option<Bundles>) -> Self {
        Link { bundles, ..self }
    }

    pub(super) fn stats(&self) -> &PluginStats {
        &self.stats
    }

    /// Takes the version that waits in the slot, if one does. A version that cannot be started changes nothing.
    fn settle(&mut self) -> bool {
        let Some((slot, incoming)) = self.slot.as_ref().and_then(|slot| Some((slot, slot.take()?))) else {
            return false;
        };
        let Incoming { plugin, started, meter, edition, promoted, done } = incoming;
        match started.map_or_else(|| plugin.start(), Ok) {
            Ok(instance) => {
                tracing::info!(
                    plugin = self.stats.plugin,
                    version = plugin.manifest().version,
                    digest = plugin.digest(),
                    "new version of the plugin is at work"
                );
                self.meter = meter;
                self.stats.memory = instance.memory();
                self.meter.memory_bytes(self.stats.memory as u64);
                let old = std::mem::replace(&mut self.instance, instance);
                slot.place.swapped(edition, promoted);
                if promoted {
                    slot.set_shadow(None);
                    slot.place.unshadowed();
                }
                // Whoever waits for it lets the old version end on a thread where nobody waits.
                let _ = done.send(Ok(old));
                true
            }
            Err(error) => {
                // Nobody waits any more where it took too long.
                if let Err(SendError(Err(error))) = done.send(Err(error)) {
                    slot.place.reloaded(ReloadOutcome::Failed, Some(chain(&error)));
                }
                false
            }
        }
    }

    fn call(&mut self, view: View) -> (View, Result<(), CallError>) {
        if self.bundles.is_some() {
            self.called_at_ms = (self.instance.plugin().setup().services.clock)();
        }
        let begun = Instant::now();
        let (view, outcome) = self.instance.apply_at(begun, view);
        let took = begun.elapsed();
        self.stats.calls += 1;
        if let Some(turn) = &mut self.turn {
            turn.calls += 1;
            turn.took += took;
        }
        self.stats.busy += took;
        self.stats.memory = self.instance.memory();
        let word = match &outcome {
            Ok(()) => "ok",
            Err(CallError::Refused(_)) => "error",
            Err(CallError::Trapped(trap)) => {
                self.stats.traps += 1;
                if let Some(turn) = &mut self.turn {
                    turn.traps += 1;
                    turn.cause = Some(trap.cause.as_str());
                }
                self.meter.trap(trap.cause.as_str());
                "trap"
            }
            Err(CallError::Quarantined) => "quarantined",
        };
        self.meter.call(word, took);
        self.meter.memory_bytes(self.stats.memory as u64);
        (view, outcome)
    }

    /// Lets the plugin work on a batch. Blocks for as long as it takes.
    pub(super) fn apply(&mut self, mut view: View) -> (View, Result<(), ChainError>) {
        let plugin = Arc::clone(self.instance.plugin().shared_name());
        view.plugin = Some(Arc::clone(&plugin));
        view.show_kept();
        if view.is_empty() {
            return (view, Ok(()));
        }
        let rows: Vec<u32> = view.shown().to_vec();
        let errands = self.slot.as_ref().map(|slot| slot.before(&view.batch, rows.len()));
        let (begun, took) = (SystemTime::now(), Duration::ZERO);
        self.turn = Some(Turn { plugin, begun, took, events: rows.len(), calls: 0, traps: 0, cause: None });
        let (mut view, outcome) = self.call(view);
        let mut result = Ok(());
        if let Err(error) = outcome {
            tracing::warn!(plugin = self.stats.plugin, events = rows.len(), %error, "plugin failed on a batch");
            if let Some(slot) = &self.slot {
                slot.failed(&view.batch);
            }
            (view, result) = match rows.as_slice() {
                [one] => {
                    let result = self.judge(&mut view, *one, error);
                    (view, result)
                }
                _ if matches!(error, CallError::Quarantined) => (view, Err(self.quarantined(None))),
                _ => self.one_by_one(view, &rows, &error),
            };
        }
        let failed = self.count(&view, &rows);
        if let (Some(slot), Some(errands), Ok(())) = (&self.slot, errands, &result) {
            slot.after(errands, &view.batch, &rows, failed);
        }
        (view, result)
    }

    fn one_by_one(&mut self, mut view: View, rows: &[u32], error: &CallError) -> (View, Result<(), ChainError>) {
        // Written down now: the calls that follow may change batch and state.
        let together = match error {
            CallError::Trapped(trap) => self.write_down(&view.batch, rows, trap),
            CallError::Refused(_) | CallError::Quarantined => None,
        };
        let before = self.stats.traps;
        for row in rows {
            view.show_only(*row);
            let outcome;
            (view, outcome) = self.call(view);
            if let Err(error) = outcome
                && let Err(halt) = self.judge(&mut view, *row, error)
            {
                return (view, Err(halt));
            }
        }
        if matches!(error, CallError::Trapped(_)) && self.stats.traps == before {
            // No event is bad alone, so it is the plugin that cannot cope with many.
            self.instance.count_trap();
            self.keep(together);
        }
        (view, Ok(()))
    }

    fn quarantined(&self, trap: Option<Trap>) -> ChainError {
        ChainError::Quarantined { plugin: self.stats.plugin.clone(), trap }
    }

    /// What becomes of an event that fails alone.
    fn judge(&self, view: &mut View, row: u32, error: CallError) -> Result<(), ChainError> {
        let plugin = &self.stats.plugin;
        let trap = match error {
            CallError::Refused(failure) => {
                view.batch.fail(
                    row as usize,
                    Reason::TransformFailed,
                    format!("{plugin}: {}: {}", failure.code, failure.message),
                );
                view.commit();
                return Ok(());
            }
            CallError::Trapped(trap) => trap,
            CallError::Quarantined => return Err(self.quarantined(None)),
        };
        self.keep(self.write_down(&view.batch, &[row], &trap));
        if self.instance.is_quarantined() {
            return Err(self.quarantined(Some(trap)));
        }
        match self.policy {
            TrapPolicy::Halt => {
                let event = view.batch.events.get(row as usize);
                let (topic, origin) = event
                    .map_or((String::new(), None), |event| (view.batch.topic(event).to_owned(), Some(event.origin)));
                Err(ChainError::Halted {
                    plugin: plugin.clone(),
                    topic,
                    partition: origin.map_or(-1, |origin| origin.partition),
                    offset: origin.map_or(-1, |origin| origin.offset),
                    trap,
                })
            }
            TrapPolicy::DeadLetter => {
                view.batch.fail(row as usize, Reason::TransformTrapped, format!("{plugin}: {trap}"));
                view.commit();
                Ok(())
            }
            TrapPolicy::Pass => Ok(()),
        }
    }

    /// Writes down the last call, which trapped, where that is wanted.
    fn write_down(&self, batch: &Batch, rows: &[u32], trap: &Trap) -> Option<Result<Bundle, BundleError>> {
        let bundles = self.bundles.as_ref()?;
        Some(bundles.write_down(self.instance.plugin(), self.called_at_ms, batch, rows, trap))
    }

    fn keep(&self, bundle: Option<Result<Bundle, BundleError>>) {
        if let Some((bundles, bundle)) = self.bundles.as_ref().zip(bundle) {
            bundles.keep(&self.stats.plugin, &self.meter, bundle);
        }
    }

    /// Counts the verdicts; gives the number of events that failed.
    fn count(&mut self, view: &View, rows: &[u32]) -> u64 {
        let (mut kept, mut dropped, mut failed) = (0, 0, 0);
        for row in rows {
            match view.batch.events.get(*row as usize).map(|event| event.verdict) {
                Some(Verdict::Keep) => kept += 1,
                Some(Verdict::Drop) => dropped += 1,
                Some(Verdict::Fail(_)) | None => failed += 1,
            }
        }
        self.stats.kept += kept;
        self.stats.dropped += dropped;
        self.stats.failed += failed;
        for (verdict, count) in [("keep", kept), ("drop", dropped), ("fail", failed)] {
            self.meter.events(verdict, count);
        }
        failed
    }
}

/// The plugins of one pipeline.
#[derive(Debug, Default)]
pub struct Chain {
    links: Vec<Link>,
    /// How its plugins are made anew; empty once somebody has taken that over, or where nobody built it from a configuration.
    recipes: Vec<Recipe>,
}

impl Chain {
    /// A chain of these links; without any it lets everything pass.
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        Chain { links, recipes: Vec::new() }
    }

    pub(super) fn from_recipes(links: Vec<Link>, recipes: Vec<Recipe>) -> Self {
        Chain { links, recipes }
    }

    pub(super) fn take_recipes(&mut self) -> Vec<Recipe> {
        mem::take(&mut self.recipes)
    }

    /// Runs a batch through all plugins. Blocks for as long as they take.
    ///
    /// # Errors
    /// When a plugin stops the pipeline; the batch must then be thrown away and read again.
    pub fn apply(&mut self, batch: &mut Batch) -> Result<(), ChainError> {
        if self.links.is_empty() {
            return Ok(());
        }
        self.settle();
        let mut view = View::closed(mem::take(batch));
        let mut result = Ok(());
        for link in &mut self.links {
            (view, result) = link.apply(view);
            if result.is_err() {
                break;
            }
        }
        *batch = view.into_batch();
        result
    }

    /// Takes new versions of plugins that wait to be taken; says whether there was one. [`Chain::apply`] does so before each
    /// batch: this is for times without any.
    pub fn settle(&mut self) -> bool {
        // Every one is asked, also after one that had news.
        self.links.iter_mut().map(Link::settle).filter(|taken| *taken).count() > 0
    }

    /// Ends the quarantine of every plugin: somebody says that they may try again.
    pub fn pardon(&mut self) {
        self.links.iter_mut().for_each(|link| link.instance.pardon());
    }

    /// What each plugin did with the last batch, in order; those that saw none of it are left out. Asked once a batch.
    pub fn turns(&mut self) -> Vec<Turn> {
        self.links.iter_mut().filter_map(|link| link.turn.take()).collect()
    }

    /// What each plugin did so far, in order.
    pub fn stats(&self) -> impl Iterator<Item = &PluginStats> {
        self.links.iter().map(|link| &link.stats)
    }
}
