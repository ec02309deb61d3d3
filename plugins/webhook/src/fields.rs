//! What placeholders stand for: fields of one alert, and of the group it came in.

use whimbrel_plugin::json::Json;
use whimbrel_plugin::notice::{fingerprint, headline, rfc3339, standing};
use whimbrel_plugin::prelude::*;

/// A field of an alert.
pub(crate) type AlertField = fn(&Alert) -> Json;
/// A field of a group.
pub(crate) type GroupField = fn(&[Alert]) -> Json;

/// What one alert has.
pub(crate) const OF_ALERT: [(&str, AlertField); 16] = [
    ("id", |alert| alert.id.as_str().into()),
    ("status", |alert| alert.status.as_str().into()),
    ("severity", |alert| alert.severity.as_str().into()),
    ("rule", |alert| alert.rule.as_str().into()),
    ("kind", |alert| alert.kind.as_str().into()),
    ("title", |alert| alert.title.as_str().into()),
    ("detail", |alert| alert.detail.as_str().into()),
    ("action", |alert| alert.action.as_str().into()),
    ("scope", |alert| alert.scope.as_str().into()),
    ("since", |alert| rfc3339(alert.since_ms).into()),
    ("since_ms", |alert| alert.since_ms.into()),
    ("until", |alert| alert.until_ms.map_or(Json::Null, |until_ms| rfc3339(until_ms).into())),
    ("until_ms", |alert| alert.until_ms.map_or(Json::Null, Json::from)),
    ("count", |alert| i64::from(alert.count).into()),
    ("url", |alert| alert.url.as_deref().map_or(Json::Null, Json::from)),
    ("attributes", attributes),
];

/// What a group has.
pub(crate) const OF_GROUP: [(&str, GroupField); 7] = [
    ("delivery", |alerts| delivery(alerts).into()),
    ("status", |alerts| standing(alerts).map_or(Json::Null, |(status, _)| status.as_str().into())),
    ("severity", |alerts| standing(alerts).map_or(Json::Null, |(_, severity)| severity.as_str().into())),
    ("title", |alerts| headline(alerts).into()),
    ("alerts", |alerts| number(alerts.len())),
    ("firing", |alerts| number(alerts.iter().filter(|alert| alert.status == Status::Firing).count())),
    ("resolved", |alerts| number(alerts.iter().filter(|alert| alert.status == Status::Resolved).count())),
];

fn number(count: usize) -> Json {
    Json::Number(count.to_string())
}

/// The facts beside an alert. A name that comes twice is told once, for JSON has no more room.
fn attributes(alert: &Alert) -> Json {
    let mut members: Vec<(String, Json)> = Vec::with_capacity(alert.attributes.len());
    for (name, fact) in &alert.attributes {
        if members.iter().any(|(known, _)| known == name) {
            continue;
        }
        let fact = match fact {
            Value::Null | Value::Bytes(_) => Json::Null,
            Value::Boolean(yes) => (*yes).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) if number.is_finite() => Json::Number(number.to_string()),
            Value::Float(_) => Json::Null,
            Value::Text(text) | Value::Tagged(_, text) => text.as_str().into(),
        };
        members.push((name.clone(), fact));
    }
    Json::Object(members)
}

/// A name for telling these alerts in this state: the same when a delivery is repeated, another when one of them has been
/// reported more often or has ended. It guards against accidents, the signature against people.
pub(crate) fn delivery(alerts: &[Alert]) -> String {
    let mut told: Vec<String> = alerts
        .iter()
        .map(|alert| format!("{}\u{1f}{}\u{1f}{}\u{1e}", alert.id, alert.status.as_str(), alert.count))
        .collect();
    told.sort_unstable();
    fingerprint(&told.concat())
}
