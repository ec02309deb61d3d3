//! A message: one line of text, which also is what a phone shows, and an attachment for each alert.

use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::{fact, headline, line, rfc3339};
use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::span;

use crate::defused::defused;

/// Most attachments; Slack takes a hundred and advises against more than twenty.
pub(crate) const MOST: u32 = 20;
/// Longest text of the message. Slack cuts at 40,000 characters; a headline needs no more than this.
const TEXT: usize = 600;
/// Longest title of an attachment.
const TITLE: usize = 300;
/// Longest text of an attachment. Slack's limit for a block of text.
const BODY: usize = 3_000;
/// Longest value of a field.
const VALUE: usize = 300;
/// Most facts beside an alert that are shown.
const FACTS: usize = 6;
/// Longest link that is kept.
const LINK: usize = 2_000;

/// The message about these alerts; none for none.
pub(crate) fn of(alerts: &[Alert], mention: Option<&str>, most: u32) -> Option<Json> {
    if alerts.is_empty() {
        return None;
    }
    let most = usize::try_from(most).unwrap_or_default();
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by_key(|alert| (alert.status == Status::Resolved, std::cmp::Reverse(alert.severity)));
    let mut text = defused(&headline(alerts), TEXT);
    if let [only] = alerts {
        text = defused(&format!("{}: {}", word(only), line(&only.title)), TEXT);
    }
    let loud = alerts.iter().any(|alert| alert.status == Status::Firing && alert.severity == Severity::Critical);
    if let (true, Some(mention)) = (loud, mention) {
        text = format!("{mention} {text}");
    }
    let mut attachments: Vec<Json> = sorted.iter().take(most).map(|alert| attachment(alert)).collect();
    if let Some(rest) = sorted.get(most..).filter(|rest| !rest.is_empty()) {
        attachments.push(others(rest));
    }
    Some(Json::object([
        ("text", text.into()),
        ("mrkdwn", false.into()),
        ("link_names", false.into()),
        ("unfurl_links", false.into()),
        ("attachments", attachments.into()),
    ]))
}

/// One word that says how bad it is, or that it is over.
fn word(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "Resolved",
        (Status::Acknowledged, _) => "Acknowledged",
        (Status::Firing, Severity::Critical) => "Critical",
        (Status::Firing, Severity::Warning) => "Warning",
        (Status::Firing, Severity::Info) => "Info",
    }
}

fn colour(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) | (_, Severity::Info) => "good",
        (_, Severity::Warning) => "warning",
        (_, Severity::Critical) => "danger",
    }
}

fn attachment(alert: &Alert) -> Json {
    let title = defused(&format!("{}: {}", word(alert), line(&alert.title)), TITLE);
    let mut text = alert.detail.clone();
    if !alert.action.is_empty() && alert.status != Status::Resolved {
        let end = if text.is_empty() { "" } else { "\n" };
        text = format!("{text}{end}What to do: {}", alert.action);
    }
    let field = |name: &str, value: &str| {
        let value = defused(&line(value), VALUE);
        Json::object([
            ("title", defused(&line(name), VALUE).into()),
            // Slack refuses a field without a value.
            ("value", if value.is_empty() { "-".into() } else { value.into() }),
            ("short", true.into()),
        ])
    };
    let mut fields = vec![field("Where", &alert.scope), field("Since", &rfc3339(alert.since_ms))];
    if let Some(until_ms) = alert.until_ms {
        fields.push(field(
            "Until",
            &format!("{} ({})", rfc3339(until_ms), span(until_ms.saturating_sub(alert.since_ms))),
        ));
    }
    fields.push(field("Kind", &alert.kind));
    fields.extend(alert.attributes.iter().take(FACTS).map(|(name, value)| field(name, &fact(value))));
    let mut members = vec![
        ("fallback", title.clone().into()),
        ("color", colour(alert).into()),
        ("title", title.into()),
        ("text", defused(&text, BODY).into()),
        ("mrkdwn_in", Json::List(Vec::new())),
        ("fields", fields.into()),
        ("footer", defused(&format!("whimbrel, rule {}", line(&alert.rule)), VALUE).into()),
        ("ts", alert.until_ms.unwrap_or(alert.since_ms).div_euclid(1_000).max(0).into()),
    ];
    if let Some(url) = alert.url.as_deref().filter(|url| is_link(url)) {
        members.insert(3, ("title_link", url.into()));
    }
    Json::object(members)
}

fn is_link(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= LINK
        && !url.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '|' | '"'))
}

/// What did not get an attachment of its own: how many, and the first of them.
fn others(rest: &[&Alert]) -> Json {
    let titles: Vec<String> = rest
        .iter()
        .take(FACTS)
        .map(|alert| format!("{}: {}", word(alert), defused(&line(&alert.title), TITLE)))
        .collect();
    let more = if rest.len() > FACTS { "\n…" } else { "" };
    let title = format!("and {} more", rest.len());
    Json::object([
        ("fallback", title.clone().into()),
        ("color", rest.first().map_or("good", |alert| colour(alert)).into()),
        ("title", title.into()),
        ("text", format!("{}{more}", titles.join("\n")).into()),
        ("mrkdwn_in", Json::List(Vec::new())),
    ])
}
