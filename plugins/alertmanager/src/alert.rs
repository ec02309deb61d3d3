//! An alert as the Alertmanager's API v2 takes it. Its labels say which alert it is and therefore never change over an
//! incident's life, but for the severity; what changes is in annotations.

use std::collections::BTreeMap;

use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::{fact, line, plain, rfc3339, shortened};
use whimbrel_plugin::prelude::*;

/// Labels that every alert has.
pub(crate) const OWN_LABELS: [&str; 5] = ["alertname", "severity", "scope", "rule", "whimbrel_id"];
/// Annotations that alerts have.
const OWN_ANNOTATIONS: [&str; 3] = ["summary", "description", "action"];
/// Longest value of a label.
const LABEL: usize = 200;
/// Longest value of an annotation.
const ANNOTATION: usize = 2_000;
/// Longest name of an annotation.
const NAME: usize = 100;
/// Most facts beside an alert.
const FACTS: usize = 20;
/// Longest link that is kept.
const LINK: usize = 2_000;

/// The alert with this severity and this end, told now.
pub(crate) fn of(alert: &Alert, severity: Severity, now_ms: i64, end_ms: i64, more: &BTreeMap<String, String>) -> Json {
    let mut members = vec![
        ("labels", labels(alert, severity, more)),
        ("annotations", annotations(alert)),
        // One that begins after it ended is refused; one from the future is a clock that is wrong.
        ("startsAt", rfc3339(alert.since_ms.min(end_ms).min(now_ms)).into()),
        ("endsAt", rfc3339(end_ms).into()),
    ];
    if let Some(url) = alert.url.as_deref().filter(|url| is_link(url)) {
        members.push(("generatorURL", url.into()));
    }
    Json::object(members)
}

fn labels(alert: &Alert, severity: Severity, more: &BTreeMap<String, String>) -> Json {
    let name = shortened(&line(&alert.kind), LABEL);
    let mut labels: Vec<(String, Json)> =
        more.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let values = [
        if name.is_empty() { "alert" } else { name.as_str() },
        severity.as_str(),
        alert.scope.as_str(),
        alert.rule.as_str(),
        alert.id.as_str(),
    ];
    for (name, value) in OWN_LABELS.iter().zip(values) {
        let value = shortened(&line(value), LABEL);
        // A label without a value is none.
        if !value.is_empty() {
            labels.push(((*name).to_owned(), value.into()));
        }
    }
    Json::Object(labels)
}

fn annotations(alert: &Alert) -> Json {
    let mut annotations: Vec<(String, Json)> = Vec::new();
    let mut add = |name: String, value: String| {
        if !value.is_empty() && annotations.iter().all(|(known, _)| *known != name) {
            annotations.push((name, value.into()));
        }
    };
    let texts = [line(&alert.title), plain(&alert.detail), plain(&alert.action)];
    for (name, text) in OWN_ANNOTATIONS.iter().zip(&texts) {
        add((*name).to_owned(), shortened(text, ANNOTATION));
    }
    for (name, value) in alert.attributes.iter().take(FACTS) {
        add(named(name), shortened(&plain(&fact(value)), ANNOTATION));
    }
    Json::Object(annotations)
}

/// A name of any text: what no name may have becomes "_".
fn named(text: &str) -> String {
    let mut name: String =
        text.chars().take(NAME).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "fact_");
    }
    // Our own say something else.
    if OWN_ANNOTATIONS.contains(&name.as_str()) { format!("fact_{name}") } else { name }
}

/// Whether this can be a label's name: letters, digits and "_", no digit first, and not one that Prometheus keeps to itself.
pub(crate) fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

fn is_link(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= LINK
        && !url.contains(|c: char| !c.is_ascii_graphic() || "<>\"\\^`{|}".contains(c))
}
