//! The monitor at work: measures, keeps, asks rules, tells people.
//!
//! What an incident is and who is told when is decided in the crate `whimbrel-monitor`; this wires it to what is measured
//! ([`crate::stats`]), to rule and channel plugins ([`crate::plugin`]) and to the status API ([`crate::export`]). Threads of
//! its own: one that measures and decides who is told, one that asks rules (calls block), one for each channel, so that a
//! slow server holds up nobody else.

pub mod backtest;
pub mod config;
mod dead_man;
mod deliver;
pub mod headroom;
mod judge;
mod own;
mod plugins;
mod readings;
mod shared;
#[cfg(test)]
mod tests;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use whimbrel_monitor::store::{OpenError, Store, StoreError};

use self::config::MonitorConfig;
use self::deliver::Courier;
use self::headroom::Slot;
use self::judge::Judge;
pub use self::plugins::PlaceError;
use self::plugins::{ChannelPlace, RulePlace};
use self::shared::Shared;
pub use self::view::{Announced, NewPhase, NewSilence, View};
use crate::egress::{Outbound, OutboundSettings, SetupError};
use crate::plugin::Sandbox;
use crate::stats::Instruments;

/// The monitor cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its file cannot be used.
    #[error("the monitor cannot start")]
    Open(#[from] OpenError),
    /// Its file cannot be read.
    #[error("the monitor cannot start")]
    Store(#[from] StoreError),
    /// A rule cannot be used.
    #[error("rule {index} of the monitor (`monitor.rules[{index}]`)")]
    Rule {
        /// Its index.
        index: usize,
        /// Why.
        #[source]
        source: PlaceError,
    },
    /// A channel cannot be used.
    #[error("channel {name} of the monitor (`monitor.channels`)")]
    Channel {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: PlaceError,
    },
    /// There is no way out for channels.
    #[error("channels of the monitor cannot send")]
    Outbound(#[from] SetupError),
    /// The file of authorities cannot be read.
    #[error("cannot read the authorities in {path} (`monitor.ca_file`)")]
    Authorities {
        /// Its path.
        path: std::path::PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No thread.
    #[error("a thread of the monitor could not be started")]
    Thread(#[source] std::io::Error),
}

/// The monitor. Its threads end when it is stopped or dropped.
pub struct Monitor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl Monitor {
    /// Loads rules and channels, reads what the file has of before, and begins. Compiles plugins: call it off the async
    /// workers.
    ///
    /// # Errors
    /// When something of it cannot be used; nothing has begun then.
    pub fn start(config: &MonitorConfig, sandbox: &Sandbox, instruments: &Instruments) -> Result<Self, StartError> {
        let rules = rules(config, sandbox, instruments)?;
        let channels = channels(config, sandbox, instruments)?;
        let store = match &config.file {
            Some(path) => Store::open(path)?,
            None => Store::in_memory()?,
        };
        let shared = Arc::new(Shared::restore(config, store, instruments)?);
        let mut monitor = Self { shared, threads: Vec::new() };
        for (name, fallback, place) in channels {
            let courier = Courier::new(Arc::clone(&monitor.shared), name.clone(), fallback, place);
            monitor.spawn(&format!("alert-{name}"), move || courier.run())?;
        }
        // One step waits at most: rules that are slower than the steps skip some, and say so.
        let (steps, to_judge) = sync_channel(1);
        let judge = Judge::new(Arc::clone(&monitor.shared), rules);
        monitor.spawn("monitor-rules", move || judge.run(&to_judge))?;
        let shared = Arc::clone(&monitor.shared);
        monitor.spawn("monitor", move || shared.run(&steps))?;
        if let Some((url, every)) = config.dead_man.clone() {
            let shared = Arc::clone(&monitor.shared);
            monitor.spawn("dead-man", move || dead_man::run(&shared, &url, every))?;
        }
        Ok(monitor)
    }

    /// Looks at replication slots too, if there are any.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn watch(&mut self, slots: Vec<Slot>) -> Result<(), StartError> {
        if slots.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        self.spawn("monitor-slots", move || headroom::run(&shared, &slots))
    }

    /// Loads rules and channels as [`Monitor::start`] would, and lets them go. Gives how many there are.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn check(
        config: &MonitorConfig,
        sandbox: &Sandbox,
        instruments: &Instruments,
    ) -> Result<(usize, usize), StartError> {
        Ok((rules(config, sandbox, instruments)?.len(), channels(config, sandbox, instruments)?.len()))
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// What others may see of it and ask of it.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.shared))
    }

    /// Ends the threads. What is queued stays in the file, and is delivered by the next.
    pub fn stop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A panic was printed by the hook; there is nothing else to be done about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn rules(config: &MonitorConfig, sandbox: &Sandbox, instruments: &Instruments) -> Result<Vec<RulePlace>, StartError> {
    let start = |(index, rule)| {
        RulePlace::start(rule, sandbox, instruments).map_err(|source| StartError::Rule { index, source })
    };
    config.rules.iter().enumerate().map(start).collect()
}

type Started = (String, Option<String>, ChannelPlace);

fn channels(config: &MonitorConfig, sandbox: &Sandbox, instruments: &Instruments) -> Result<Vec<Started>, StartError> {
    if config.channels.is_empty() {
        return Ok(Vec::new());
    }
    let sandbox = with_way_out(config, sandbox)?;
    let start = |channel: &config::ChannelConfig| match ChannelPlace::start(channel, &sandbox, instruments) {
        Ok(place) => Ok((channel.name.clone(), channel.fallback.clone(), place)),
        Err(source) => Err(StartError::Channel { name: channel.name.clone(), source }),
    };
    config.channels.iter().map(start).collect()
}

/// The sandbox of channels: they may send what they were granted.
fn with_way_out(config: &MonitorConfig, sandbox: &Sandbox) -> Result<Sandbox, StartError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| StartError::Authorities { path: path.to_owned(), source });
    let authorities = config.ca_file.as_deref().map(read).transpose()?.into_iter().collect();
    let settings = OutboundSettings { mail: config.mail.clone(), authorities, ..OutboundSettings::default() };
    let mut sandbox = sandbox.clone();
    sandbox.services.egress = Some(Arc::new(Outbound::new(settings)?));
    Ok(sandbox)
}

/// Has a channel deliver one alert, now, to see whether it gets through.
///
/// # Errors
/// When there is no such channel, or it cannot start, or did not take the alert: a sentence for people.
pub fn try_channel(
    config: &MonitorConfig,
    name: &str,
    alerts: &[whimbrel_monitor::incident::Alert],
    sandbox: &Sandbox,
    instruments: &Instruments,
) -> anyhow::Result<()> {
    let Some(channel) = config.channels.iter().find(|channel| channel.name == name) else {
        let names: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
        anyhow::bail!("no channel is called `{name}`; there are: {}", names.join(", "));
    };
    let sandbox = with_way_out(config, sandbox)?;
    let mut place = ChannelPlace::start(channel, &sandbox, instruments)?;
    place.deliver(alerts).map_err(|not_taken| {
        let later = if not_taken.retryable { "the agent would try again" } else { "trying again would not help" };
        anyhow::anyhow!("channel {name} did not take it: {} ({later})", not_taken.why)
    })
}
