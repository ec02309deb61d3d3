//! Migrations in the log: fields first, a constant message. Nothing here waits, and no row value is told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use whimbrel_migrate::watch::{Event, Watch};

/// How often it is said at the usual level how far a migration is; each chunk is told at `debug`.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Tells the log. Its target is [`TARGET`].
#[derive(Default)]
pub struct Log {
    told: Mutex<HashMap<String, Instant>>,
}

/// The target of all lines, for filters.
pub const TARGET: &str = "whimbrel::migrations::log";

impl Log {
    /// Nothing told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn is_due(&self, id: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match told.get_mut(id) {
            Some(last) if now.duration_since(*last) < PROGRESS_EVERY => false,
            Some(last) => {
                *last = now;
                true
            }
            None => {
                told.insert(id.to_owned(), now);
                false
            }
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Watch for Log {
    fn tell(&self, event: &Event<'_>) {
        match event {
            Event::WaitingForLock { holder, since } => {
                tracing::info!(holder, waited_ms = ms(*since), "waiting for the lock");
            }
            Event::Started { id, name, system, direction, steps, progress } => {
                let system = system.map_or("", whimbrel_migrate::database::System::as_str);
                let (direction, resumed) = (direction.as_str(), !progress.is_untouched());
                tracing::info!(migration = id, name, system, direction, steps, resumed, "migration started");
            }
            Event::StepStarted { id, index, what, place, expected } => {
                tracing::info!(migration = id, step = index, what, place, expected, "step started");
            }
            Event::Attempted { id, place, count } => {
                tracing::trace!(migration = id, place, count, "chunk attempted");
            }
            Event::Committed { id, place, count, started, progress } => {
                let took_ms = ms(started.elapsed().unwrap_or_default());
                tracing::debug!(migration = id, place, count, took_ms, "chunk committed");
                if self.is_due(id) {
                    let total = progress.total();
                    tracing::info!(migration = id, done = total.done, expected = total.expected, "migration goes on");
                }
            }
            Event::Measured { id, phase, done, total } => {
                tracing::debug!(migration = id, phase, done, total, "server tells how far it is");
            }
            Event::Blocked { id, sessions } => {
                for one in *sessions {
                    tracing::warn!(
                        migration = id,
                        waiting = one.waiting,
                        blocked_by = one.blocked_by,
                        by_us = one.by_us,
                        waiting_ms = one.waiting_ms,
                        what = one.what,
                        user = one.user,
                        application = one.application,
                        "a session waits for another"
                    );
                }
            }
            Event::Throttled { id, lag, waited } => {
                tracing::info!(migration = id, lag_ms = ms(*lag), waited_ms = ms(*waited), "waiting for the replicas");
            }
            Event::Retried { id, code, attempt, wait } => {
                tracing::warn!(migration = id, code, attempt, wait_ms = ms(*wait), "trying again");
            }
            Event::StepEnded { id, index, what, started, error } => {
                let took_ms = ms(started.elapsed().unwrap_or_default());
                match error {
                    None => tracing::info!(migration = id, step = index, what, took_ms, "step done"),
                    Some(code) => tracing::warn!(migration = id, step = index, what, took_ms, code, "step failed"),
                }
            }
            Event::Checked { id, check, fault: None } => tracing::info!(migration = id, check, "check passed"),
            Event::Checked { id, check, fault: Some(fault) } => {
                tracing::error!(migration = id, check, fault, "check failed");
            }
            Event::Ended { id, direction, started, error, progress } => {
                self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(*id);
                let took_ms = ms(started.elapsed().unwrap_or_default());
                let (direction, done) = (direction.as_str(), progress.total().done);
                match error {
                    None => tracing::info!(migration = id, direction, took_ms, done, "migration done"),
                    Some(("stopped", _)) => {
                        tracing::warn!(migration = id, direction, took_ms, done, "migration stopped")
                    }
                    Some((code, message)) => {
                        tracing::error!(
                            migration = id,
                            direction,
                            took_ms,
                            done,
                            code,
                            error = message,
                            "migration failed"
                        );
                    }
                }
            }
        }
    }
}
