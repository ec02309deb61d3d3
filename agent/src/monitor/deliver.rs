//! Has one channel deliver what is queued for it, in order.

use std::sync::Arc;
use std::time::Duration;

use super::plugins::{ChannelPlace, NotTaken};
use super::shared::Shared;

/// How long a channel may sleep when nothing rings: a retry is due at some time.
const LOOK: Duration = Duration::from_millis(500);

/// Carries what is queued to one channel.
pub(super) struct Courier {
    shared: Arc<Shared>,
    name: String,
    fallback: Option<String>,
    place: ChannelPlace,
}

impl Courier {
    pub(super) const fn new(shared: Arc<Shared>, name: String, fallback: Option<String>, place: ChannelPlace) -> Self {
        Self { shared, name, fallback, place }
    }

    /// Delivers until it is over.
    pub(super) fn run(mut self) {
        loop {
            while !self.shared.is_stopping() && self.one() {}
            if !self.shared.wait(LOOK) {
                return;
            }
        }
    }

    /// Delivers one notification. Says whether there may be another.
    fn one(&mut self) -> bool {
        let now_ms = self.shared.instruments.now_ms();
        let Some(Some(queued)) = self.shared.try_store("read", |store| store.next(&self.name, now_ms)) else {
            return false;
        };
        match self.place.deliver(&queued.alerts) {
            Ok(()) => {
                self.told("delivered");
                tracing::info!(channel = self.name, alerts = queued.alerts.len(), "alerts delivered");
                // Only now is it out of the queue: an agent killed before this line delivers once more.
                self.shared.try_store("written", |store| store.done(queued.id)).is_some()
            }
            Err(NotTaken { why, retryable }) => {
                self.told("failed");
                let now_ms = self.shared.instruments.now_ms();
                let verdict = self.shared.policy.after_failure(&queued, retryable, now_ms);
                if let (true, Some(fallback)) = (verdict.pass_on, &self.fallback) {
                    tracing::warn!(channel = self.name, fallback, "alerts passed on to the fallback");
                    self.told("passed_on");
                    self.shared.try_store("written", |store| store.pass_on(queued.id, fallback, now_ms));
                    self.shared.ring();
                }
                match verdict.next_ms {
                    Some(next_ms) => {
                        let attempts = queued.attempts + 1;
                        tracing::warn!(channel = self.name, why, attempts, "alerts not delivered yet");
                        self.shared.try_store("written", |store| store.retry(queued.id, next_ms, &why));
                        false
                    }
                    None => {
                        tracing::error!(channel = self.name, why, alerts = queued.alerts.len(), "alerts given up");
                        self.told("given_up");
                        self.shared.try_store("written", |store| store.done(queued.id)).is_some()
                    }
                }
            }
        }
    }

    fn told(&self, outcome: &'static str) {
        self.shared.instruments.alert_delivery(&self.name, outcome);
    }
}
