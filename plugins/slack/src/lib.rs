//! Tells a Slack channel, or whatever takes the same messages, through an incoming webhook. The webhook's URL is a secret:
//! whoever knows it can post. What an alert holds can neither mention anybody nor format anything.

mod defused;
mod message;

use whimbrel_plugin::http::{Request, Response};
use whimbrel_plugin::prelude::*;

/// Tells a Slack channel.
#[derive(Config)]
pub struct Slack {
    /// Who is called when a critical alert fires: `<!here>`, `<!channel>`, `<@U024BE7LH>` or `<!subteam^SAZ94GDB8>`.
    mention: Option<String>,
    /// How many alerts of a message are told in full; what is beyond is counted.
    #[config(default = 10_u32)]
    most: u32,
}

/// The name of the secret that is the webhook's URL.
const URL: &str = "url";

/// What Slack says when it does not take a message, and what can be done about it. Its other words are not repeated: they
/// may hold what was sent.
const REFUSALS: [(&str, &str); 8] = [
    ("invalid_payload", "the message is not as Slack wants it"),
    ("invalid_token", "the webhook's URL is not valid any more; make a new one"),
    ("no_service", "the webhook was removed or switched off; make a new one"),
    ("no_team", "the workspace is not there any more"),
    ("channel_not_found", "the channel is not there any more"),
    ("channel_is_archived", "the channel is archived"),
    ("action_prohibited", "the workspace does not let this webhook post there"),
    ("posting_to_general_channel_denied", "the workspace does not let webhooks post there"),
];

#[channel(description = "Tells a Slack channel through an incoming webhook", secrets = ["url"])]
impl Channel for Slack {
    fn start(&mut self, cx: &ChannelContext) -> Result<(), Failure> {
        let wrong = |message: &str| Err(Failure::new("config", message));
        if self.mention.as_deref().is_some_and(|mention| !defused::is_mention(mention)) {
            return wrong("mention: write `<!here>`, `<!channel>`, `<@USER-ID>` or `<!subteam^GROUP-ID>`");
        }
        if self.most == 0 || self.most > message::MOST {
            return wrong("most: write a number from 1 to 20");
        }
        cx.secret(URL).map(drop)
    }

    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        let Some(message) = message::of(alerts, self.mention.as_deref(), self.most) else { return Ok(()) };
        accepted(cx.send(&Request::post(cx.secret(URL)?).json(message.to_string()))?)
    }
}

fn accepted(answer: Response) -> Result<(), Failure> {
    let text = answer.text();
    answer.accepted().map(drop).map_err(|mut failure| {
        if let Some((word, reason)) = REFUSALS.iter().find(|(word, _)| *word == text.trim()) {
            failure.message = format!("{}: {word}, {reason}", failure.message);
        }
        failure
    })
}

#[cfg(test)]
mod tests;
