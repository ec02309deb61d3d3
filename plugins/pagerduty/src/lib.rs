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
    /// What was accepted of a notification that could not be told whole and comes again.
    #[config(skip)]
    accepted: Vec<String>,
}

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
        if !self.accepted.iter().all(|text| events.iter().any(|(_, known)| known == text)) {
            self.accepted.clear();
        }
        let mut refused = None;
        for (event, text) in events {
            if self.accepted.contains(&text) {
                continue;
            }
            match self.send(event, cx) {
                Ok(()) => self.accepted.push(text),
                // The rest would fail the same way; what was accepted is not sent again with it.
                Err(failure) if failure.retryable => return Err(failure),
                // One event that is refused must not keep the others back.
                Err(failure) => refused = Some(refused.unwrap_or(failure)),
            }
        }
        self.accepted.clear();
        refused.map_or(Ok(()), Err)
    }
}

impl PagerDuty {
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
