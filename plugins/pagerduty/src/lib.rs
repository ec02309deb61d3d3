//! Triggers, acknowledges and resolves incidents at PagerDuty through its Events API v2: one event for each alert, under a
//! key that stays the same over the incident's life, so that what is sent twice is one incident. The routing key is a
//! secret that the agent puts in.

mod event;

use whimbrel_plugin::http::Request;
use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::line;
use whimbrel_plugin::prelude::*;

/// Triggers and resolves incidents at PagerDuty.
#[derive(Config)]
pub struct PagerDuty {
    /// Where events go; accounts in the EU write `https://events.eu.pagerduty.com/v2/enqueue`.
    #[config(default = "https://events.pagerduty.com/v2/enqueue")]
    url: String,
    /// The logical group of the events, such as `shop`.
    group: Option<String>,
    /// The events of a notification that could not be told whole and comes again which need not be sent again: they were
    /// accepted, or refused for good. Not for the agent to keep, which forgets what a call writes that fails.
    #[config(skip)]
    settled: Vec<String>,
    /// Why the first of them was refused.
    #[config(skip)]
    refused: Option<Failure>,
}

/// After so long no further event is begun, so that the call ends well within the 30 s it has, and the next one goes on where
/// this one stopped. Half of them are left to the event that is under way.
const LONGEST_MS: u64 = 15_000;

/// The name of the secret that is the integration's key.
const ROUTING_KEY: &str = "routing_key";

#[channel(description = "Triggers and resolves incidents at PagerDuty", secrets = ["routing_key"])]
impl Channel for PagerDuty {
    fn start(&mut self, cx: &ChannelContext) -> Result<(), Failure> {
        let wrong = |message: &str| Err(Failure::new("config", message));
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return wrong("url: must begin with https:// or http://");
        }
        if self.group.as_ref().is_some_and(|group| group.is_empty() || line(group) != *group) {
            return wrong("group: write one line, or leave it out");
        }
        cx.secret(ROUTING_KEY).map(drop)
    }

    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        let events: Vec<(Json, String)> = alerts
            .iter()
            .map(|alert| event::of(alert, self.group.as_deref()))
            .map(|event| {
                let text = event.to_string();
                (event, text)
            })
            .collect();
        // Another notification than the one that was interrupted: nothing of it is told yet.
        if !self.settled.iter().all(|text| events.iter().any(|(_, known)| known == text)) {
            self.forget();
        }
        let begun_ms = cx.now_ms();
        let (all, mut sent) = (events.len(), 0);
        for (event, text) in events {
            if self.settled.contains(&text) {
                continue;
            }
            // Each call sends at least one, however slow they are; a clock that was set back is no reason to go on for ever.
            if sent > 0 && cx.now_ms().abs_diff(begun_ms) >= LONGEST_MS {
                let settled = self.settled.len();
                return Err(Failure::retryable(
                    "timeout",
                    format!("{settled} of {all} events sent; the others follow"),
                ));
            }
            match self.send(event, cx) {
                Ok(()) => {}
                // The rest would fail the same way; what is settled is not sent again with it.
                Err(failure) if failure.retryable => return Err(failure),
                // One event that is refused must not keep the others back.
                Err(failure) => self.refused = Some(self.refused.take().unwrap_or(failure)),
            }
            self.settled.push(text);
            sent += 1;
        }
        self.forget().map_or(Ok(()), Err)
    }
}

impl PagerDuty {
    /// The notification is over, or is another one. Gives why one of its events was refused.
    fn forget(&mut self) -> Option<Failure> {
        self.settled.clear();
        self.refused.take()
    }

    fn send(&self, mut event: Json, cx: &ChannelContext) -> Result<(), Failure> {
        if let Json::Object(members) = &mut event {
            members.insert(0, ("routing_key".to_owned(), cx.secret(ROUTING_KEY)?.into()));
        }
        let answer = cx.send(&Request::post(&self.url).json(event.to_string()))?;
        answer.accepted().map(drop).map_err(|mut failure| {
            // The answer's own words may repeat the key.
            if failure.message.ends_with(" 400") {
                failure.message.push_str(
                    ": the event is not accepted; is the secret `routing_key` the 32 characters of an Events API v2 integration?",
                );
            }
            failure
        })
    }
}

#[cfg(test)]
mod tests;
