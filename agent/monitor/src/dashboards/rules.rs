//! The description -> alert rules of Prometheus, as YAML.

use std::fmt::Write as _;

use super::description::{Alert, rows};

/// A file of rules: a group for each row of the dashboard.
#[must_use]
pub fn rules() -> String {
    let mut text = String::from("# Made by `whimbrel dashboards render --rules`.\ngroups:\n");
    for row in rows() {
        let alerts: Vec<&Alert> = row.panels.iter().flat_map(|panel| &panel.alerts).collect();
        if alerts.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- name: {}\n  rules:", quoted(&format!("whimbrel: {}", row.title)));
        for alert in alerts {
            let _ = writeln!(
                text,
                "  - alert: {}\n    expr: {}\n    for: {}\n    labels:\n      severity: {}\n    annotations:\n      \
                 summary: {}\n      action: {}",
                alert.name,
                quoted(&alert.expr),
                alert.holds,
                alert.severity,
                quoted(alert.summary),
                quoted(alert.action)
            );
        }
    }
    text
}

/// A string of YAML, which are JSON's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
