//! An event in PagerDuty's common event format (PD-CEF), within the limits of the Events API v2.

use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::{fact, fingerprint, line, plain, rfc3339, shortened};
use whimbrel_plugin::prelude::*;

/// Longest summary, as documented.
const SUMMARY: usize = 1_024;
/// Longest deduplication key, as documented.
const KEY: usize = 255;
/// Longest of the other texts; a page shows no more.
const TEXT: usize = 255;
/// Longest detail. All together stay far below the 512 KB of an event.
const DETAIL: usize = 2_000;
/// Most facts beside an alert.
const FACTS: usize = 20;
/// Longest link that is kept.
const LINK: usize = 2_000;

/// The event about an alert, but for the routing key.
pub(crate) fn of(alert: &Alert, group: Option<&str>) -> Json {
    let action = match alert.status {
        Status::Firing => "trigger",
        Status::Acknowledged => "acknowledge",
        Status::Resolved => "resolve",
    };
    let mut event = vec![("event_action", action.into()), ("dedup_key", key(&alert.id).into())];
    // What is over or at work needs no more than its key.
    if alert.status == Status::Firing {
        event.push(("payload", payload(alert, group)));
        event.push(("client", "whimbrel".into()));
        if let Some(url) = alert.url.as_deref().filter(|url| is_link(url)) {
            let link = Json::object([("href", url.into()), ("text", "Whimbrel".into())]);
            event.push(("client_url", url.into()));
            event.push(("links", vec![link].into()));
        }
    }
    Json::object(event)
}

/// Ids are short; of one that is not, the beginning is kept for people, and a fingerprint of the whole tells it from others.
fn key(id: &str) -> String {
    if id.chars().count() <= KEY {
        return id.to_owned();
    }
    let fingerprint = fingerprint(id);
    let begin: String = id.chars().take(KEY - 1 - fingerprint.len()).collect();
    format!("{begin}-{fingerprint}")
}

fn payload(alert: &Alert, group: Option<&str>) -> Json {
    let filled = |text: &str, limit: usize, otherwise: &str| {
        let text = shortened(&line(text), limit);
        Json::from(if text.is_empty() { otherwise.to_owned() } else { text })
    };
    let mut payload = vec![
        ("summary", filled(&alert.title, SUMMARY, "an alert without a title")),
        ("source", filled(&alert.scope, TEXT, "whimbrel")),
        ("severity", alert.severity.as_str().into()),
        ("timestamp", rfc3339(alert.since_ms).into()),
        ("component", filled(&alert.scope, TEXT, "whimbrel")),
        ("class", filled(&alert.kind, TEXT, "alert")),
    ];
    if let Some(group) = group {
        payload.push(("group", shortened(group, TEXT).into()));
    }
    payload.push(("custom_details", details(alert)));
    Json::object(payload)
}

fn details(alert: &Alert) -> Json {
    let text = |text: &str| Json::from(shortened(&plain(text), DETAIL));
    let mut members = vec![
        ("detail".to_owned(), text(&alert.detail)),
        ("what to do".to_owned(), text(&alert.action)),
        ("rule".to_owned(), text(&alert.rule)),
        ("reported".to_owned(), i64::from(alert.count).into()),
    ];
    for (name, value) in alert.attributes.iter().take(FACTS) {
        let name = shortened(&line(name), TEXT);
        if !name.is_empty() && members.iter().all(|(known, _)| *known != name) {
            members.push((name, text(&fact(value))));
        }
    }
    Json::Object(members)
}

fn is_link(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= LINK
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}
