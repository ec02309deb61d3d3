//! What the monitor's threads share, and the one that measures and decides who is told.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use whimbrel_monitor::delivery::Policy;
use whimbrel_monitor::history::{Reading, Recorder, Step};
use whimbrel_monitor::incident::{
    Book, Explained, Incident, Inhibition, Notification, Notifier, Phase, Resolution, Severity, Silence,
};
use whimbrel_monitor::millis;
use whimbrel_monitor::store::{Keep, Store, StoreError};

use super::config::MonitorConfig;
use super::readings::readings;
use crate::runtime::logging::chain;
use crate::stats::Instruments;

/// How often history is packed and old history dropped.
const TIDY_EVERY: Duration = Duration::from_secs(300);
/// A silence is still listed for a while after its end.
const SILENCE_SHOWN_MS: i64 = 86_400_000;

/// Everything about incidents.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) book: Book,
    pub(super) notifier: Notifier,
    /// What was decided and could not be queued yet.
    untold: Vec<Notification>,
    pub(super) silences: Vec<Silence>,
    /// Those that somebody announced.
    pub(super) announced: Vec<Phase>,
    /// Those that show by themselves, as of the last step.
    pub(super) seen: Vec<Phase>,
    /// When rules were asked last.
    pub(super) evaluated_at_ms: Option<i64>,
}

impl Board {
    pub(super) fn phases(&self) -> Vec<Phase> {
        self.announced.iter().chain(&self.seen).cloned().collect()
    }
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) instruments: Instruments,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) board: Mutex<Board>,
    pub(super) inhibitions: Vec<Inhibition>,
    pub(super) policy: Policy,
    /// The names of the channels.
    pub(super) channels: Vec<String>,
    keep: Keep,
    sample: Duration,
    begun_ms: i64,
    pub(super) step: Duration,
    /// What is read beside the pipelines, and when.
    aside: Mutex<(Instant, Vec<Reading>)>,
    stopping: Mutex<bool>,
    /// Wakes whoever waits: there is something to deliver, or it is over.
    bell: Condvar,
}

impl Shared {
    /// With what the file has of before.
    pub(super) fn restore(config: &MonitorConfig, store: Store, instruments: &Instruments) -> Result<Self, StoreError> {
        let now_ms = instruments.now_ms();
        let mut recorder = Recorder::new(config.history, now_ms);
        recorder.restore(store.points(None, now_ms.saturating_sub(millis(config.history.look_back)), now_ms)?, now_ms);
        let channels: Vec<String> = config.channels.iter().map(|channel| channel.name.clone()).collect();
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        let dropped = store.retain_channels(&names)?;
        if dropped > 0 {
            tracing::warn!(dropped, "deliveries dropped: their channels are not configured any more");
        }
        let notifier = Notifier::new(config.routes.clone(), config.cap, config.url.clone(), store.told()?);
        let board = Board {
            book: Book::restored(store.incidents()?),
            notifier,
            untold: Vec::new(),
            silences: store.silences(now_ms - SILENCE_SHOWN_MS)?,
            announced: store.phases(now_ms)?,
            seen: Vec::new(),
            evaluated_at_ms: None,
        };
        Ok(Self {
            store,
            instruments: instruments.clone(),
            recorder: Mutex::new(recorder),
            board: Mutex::new(board),
            inhibitions: config.inhibitions.clone(),
            policy: config.delivery,
            channels,
            keep: config.keep,
            sample: config.sample,
            begun_ms: now_ms,
            step: config.history.step,
            aside: Mutex::new((Instant::now(), Vec::new())),
            stopping: Mutex::new(false),
            bell: Condvar::new(),
        })
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it rings, or so long. Says whether to go on.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopping {
            return false;
        }
        let (stopping, _) = self.bell.wait_timeout(stopping, within).unwrap_or_else(PoisonError::into_inner);
        !*stopping
    }

    /// Waits so long, however often it rings. Says whether to go on.
    pub(super) fn rest(&self, until: Instant) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return !self.is_stopping();
            }
            if !self.wait(left) {
                return false;
            }
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ring();
    }

    pub(super) fn ring(&self) {
        self.bell.notify_all();
    }

    /// Measures and decides until it is over.
    pub(super) fn run(&self, steps: &SyncSender<Step>) {
        let mut next = Instant::now();
        let mut tidy = Instant::now() + TIDY_EVERY;
        loop {
            self.measure(steps);
            self.tell();
            if tidy <= Instant::now() {
                tidy = Instant::now() + TIDY_EVERY;
                self.try_store("tidied", |store| store.tidy(self.keep, self.instruments.now_ms()));
            }
            next += self.sample;
            // After a pause of the whole machine the missed moments are not caught up with.
            next = next.max(Instant::now());
            if !self.rest(next) {
                return;
            }
        }
    }

    /// Takes what was read beside the pipelines; it holds until the next time.
    pub(super) fn beside(&self, readings: Vec<Reading>) {
        *self.aside.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), readings);
    }

    /// What was read beside the pipelines, unless that is long ago.
    fn read_aside(&self) -> Vec<Reading> {
        let aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        if aside.0.elapsed() < self.step.saturating_mul(2) { aside.1.clone() } else { Vec::new() }
    }

    fn measure(&self, steps: &SyncSender<Step>) {
        let mut readings = readings(&self.instruments);
        readings.extend(self.read_aside());
        let step = self.recorder().read(readings, self.instruments.now_ms());
        let Some(step) = step else { return };
        self.try_store("written", |store| store.append(&step));
        // What was not seen from its beginning is not judged: that nothing was found there would end what goes on.
        if step.start_ms < self.begun_ms {
            return;
        }
        match steps.try_send(step) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!("rules take longer than a step; this one is not judged");
            }
        }
    }

    /// Has something done with the file; what fails is logged, and the monitor goes on with what it has in memory.
    pub(super) fn try_store<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Option<T> {
        work(&self.store)
            .inspect_err(|error| tracing::error!(error = chain(error), what, "the monitor's file fails"))
            .ok()
    }

    /// Rules were asked about these scopes; what they found is in the book. Ends what nobody looks at any more.
    pub(super) fn judged(&self, rules: &[String], scopes: &[String], now_ms: i64) {
        let mut board = self.board();
        board.evaluated_at_ms = Some(now_ms);
        board.book.retain(Resolution::RuleGone, |rule| rules.iter().any(|known| known == rule), now_ms);
        board.book.retain(Resolution::ScopeGone, |scope| scopes.iter().any(|known| known == scope), now_ms);
        let (changed, forgotten) = board.book.changes();
        let counts = Severity::ALL.map(|severity| {
            let count = board.book.firing().filter(|incident| incident.severity == severity).count();
            (severity.as_str(), count as u64)
        });
        drop(board);
        self.instruments.alerts_firing(counts);
        self.try_store("written", |store| store.keep_incidents(&changed, &forgotten));
    }

    /// Decides who is told, and queues it.
    fn tell(&self) {
        let now_ms = self.instruments.now_ms();
        let mut guard = self.board();
        let board = &mut *guard;
        board.silences.retain(|silence| now_ms - silence.ends_ms < SILENCE_SHOWN_MS);
        board.announced.retain(|phase| phase.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms));
        let phases = board.phases();
        let explained = Explained::new(&phases, &self.inhibitions, board.book.firing(), now_ms);
        let muted = |incident: &Incident| {
            board.silences.iter().any(|silence| silence.mutes(incident, now_ms)) || explained.by(incident).is_some()
        };
        board.untold.extend(board.notifier.due(&board.book, muted, now_ms));
        if board.untold.is_empty() {
            return;
        }
        let state = board.notifier.state();
        if self.try_store("written", |store| store.tell(&board.untold, state, now_ms)).is_none() {
            return; // the next second tries again
        }
        board.untold.clear();
        drop(guard);
        self.ring();
    }
}
