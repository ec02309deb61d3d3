//! Tells people by mail, one for a group of alerts, as text and as HTML. The server, the sender and the protection of the
//! connection are the agent's (`monitor: mail:`); so is the right to write to somebody.

mod html;
mod text;

use whimbrel_plugin::Mail;
use whimbrel_plugin::notice::{headline, line, shortened, standing};
use whimbrel_plugin::prelude::*;

/// Tells people by mail.
#[derive(Config)]
pub struct Email {
    /// Addresses, without names.
    to: Vec<String>,
    /// What the subject begins with.
    #[config(default = "[whimbrel]")]
    subject_prefix: String,
    /// How many alerts of a mail are told in full; what is beyond is counted.
    #[config(default = 20_u32)]
    most: u32,
}

/// Most recipients of one mail; the agent sends to no more.
const RECIPIENTS: usize = 50;
/// Longest subject: what a list of mails shows, and far below the agent's limit.
const SUBJECT: usize = 200;
/// Longest beginning of a subject.
const PREFIX: usize = 50;
/// Most alerts told in full.
const MOST: u32 = 50;
/// Most bytes of text and HTML together; the agent refuses a mail of more than twice as much.
const BYTES: usize = 500_000;

#[channel(description = "Tells people by mail", http = [], secrets = [])]
impl Channel for Email {
    fn start(&mut self, _cx: &ChannelContext) -> Result<(), Failure> {
        let wrong = |message: String| Err(Failure::new("config", message));
        if self.to.is_empty() || self.to.len() > RECIPIENTS {
            return wrong(format!("to: a mail has 1 to {RECIPIENTS} recipients"));
        }
        if let Some(index) = self.to.iter().position(|address| !is_address(address)) {
            return wrong(format!("to[{index}]: not a plain address such as `ops@example.org`"));
        }
        if line(&self.subject_prefix) != self.subject_prefix || self.subject_prefix.chars().count() > PREFIX {
            return wrong(format!("subject_prefix: must be one line of at most {PREFIX} characters"));
        }
        if self.most == 0 || self.most > MOST {
            return wrong(format!("most: write a number from 1 to {MOST}"));
        }
        Ok(())
    }

    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        if alerts.is_empty() {
            return Ok(());
        }
        let (text, html) = bodies(alerts, usize::try_from(self.most).unwrap_or_default());
        cx.mail(&Mail { to: self.to.clone(), subject: subject(&self.subject_prefix, alerts), text, html: Some(html) })
    }
}

/// Whether this is an address and nothing else. The agent's mail client judges again.
fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c);
    text.rsplit_once('@').is_some_and(|(who, domain)| !who.is_empty() && !domain.is_empty() && !who.contains('@'))
        && !text.contains(odd)
}

/// One line without control characters, so that nothing in it can begin another header.
fn subject(prefix: &str, alerts: &[Alert]) -> String {
    let word = standing(alerts).map_or("", |(status, severity)| word(status, severity));
    shortened(&line(&format!("{prefix} {word}: {}", headline(alerts))), SUBJECT)
}

/// One word that says how bad it is, or that it is over.
fn word(status: Status, severity: Severity) -> &'static str {
    match (status, severity) {
        (Status::Resolved, _) => "RESOLVED",
        (Status::Acknowledged, _) => "ACKNOWLEDGED",
        (Status::Firing, Severity::Critical) => "CRITICAL",
        (Status::Firing, Severity::Warning) => "WARNING",
        (Status::Firing, Severity::Info) => "INFO",
    }
}

/// The mail's text and HTML. The worst comes first; those that do not fit are counted.
fn bodies(alerts: &[Alert], most: usize) -> (String, String) {
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by_key(|alert| (alert.status == Status::Resolved, std::cmp::Reverse(alert.severity)));
    let (mut texts, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
    for alert in sorted.iter().take(most) {
        let (text, row) = (text::of(alert), html::of(alert));
        bytes += text.len() + row.len();
        if bytes > BYTES {
            break;
        }
        texts.push(text);
        rows.push(row);
    }
    let more = match alerts.len() - rows.len() {
        0 => String::new(),
        count => format!("and {count} more"),
    };
    (text::whole(&texts, &more), html::whole(&rows, &more))
}

/// What a part of an alert may take.
mod limits {
    pub(super) const TITLE: usize = 300;
    pub(super) const DETAIL: usize = 2_000;
    pub(super) const ACTION: usize = 1_000;
    pub(super) const NAME: usize = 60;
    pub(super) const VALUE: usize = 300;
    pub(super) const FACTS: usize = 10;
    pub(super) const LINK: usize = 2_000;
}

/// What is said of an alert in a table: names and values, one line each.
fn facts(alert: &Alert) -> Vec<(String, String)> {
    use whimbrel_plugin::notice::{fact, rfc3339};
    use whimbrel_plugin::words::span;

    let mut facts = vec![("Where".to_owned(), alert.scope.clone()), ("Since".to_owned(), rfc3339(alert.since_ms))];
    if let Some(until_ms) = alert.until_ms {
        let lasted = span(until_ms.saturating_sub(alert.since_ms));
        facts.push(("Until".to_owned(), format!("{} ({lasted})", rfc3339(until_ms))));
    }
    facts.push(("Kind".to_owned(), alert.kind.clone()));
    facts.push(("Rule".to_owned(), alert.rule.clone()));
    facts.extend(alert.attributes.iter().take(limits::FACTS).map(|(name, value)| (name.clone(), fact(value))));
    let short = |(name, value): (String, String)| {
        (shortened(&line(&name), limits::NAME), shortened(&line(&value), limits::VALUE))
    };
    facts.into_iter().map(short).collect()
}

/// The page about an alert, when it is one.
fn link(alert: &Alert) -> Option<&str> {
    alert.url.as_deref().filter(|url| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && url.len() <= limits::LINK
            && !url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '<' || c == '>')
    })
}

#[cfg(test)]
mod tests;
