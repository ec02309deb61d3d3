//! The mail as HTML: tables and styles in place, as mail programs understand them; no pictures, no scripts, nothing from
//! elsewhere. Every text goes through [`escaped`].

use whimbrel_plugin::notice::{line, plain, shortened};
use whimbrel_plugin::prelude::*;

use crate::{facts, limits, link, word};

/// A text between tags or in a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Text of several lines.
fn paragraph(text: &str, chars: usize) -> String {
    let text = escaped(shortened(&plain(text), chars).trim());
    if text.is_empty() {
        String::new()
    } else {
        format!("<p style=\"margin:4px 0\">{}</p>", text.replace('\n', "<br>"))
    }
}

/// Dark enough to be read on white and, as a stripe, seen on black.
fn colour(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "#2e7d32",
        (_, Severity::Critical) => "#c62828",
        (_, Severity::Warning) => "#b26a00",
        (_, Severity::Info) => "#1565c0",
    }
}

/// One alert: a row with a stripe of its colour.
pub(crate) fn of(alert: &Alert) -> String {
    let colour = colour(alert);
    let title = escaped(&shortened(&line(&alert.title), limits::TITLE));
    let title = match link(alert) {
        Some(url) => format!("<a href=\"{}\">{title}</a>", escaped(url)),
        None => title,
    };
    let mut row = format!(
        "<tr><td style=\"border-left:4px solid {colour};padding:4px 12px\"><p style=\"margin:4px 0\"><b style=\"color:{colour}\">{}</b> <b>{title}</b></p>",
        word(alert.status, alert.severity)
    );
    row.push_str(&paragraph(&alert.detail, limits::DETAIL));
    if !alert.action.is_empty() && alert.status != Status::Resolved {
        row.push_str(&paragraph(&format!("What to do: {}", alert.action), limits::ACTION));
    }
    row.push_str("<table>");
    for (name, value) in facts(alert) {
        row.push_str(&format!(
            "<tr><th style=\"text-align:left\">{}</th><td>{}</td></tr>",
            escaped(&name),
            escaped(&value)
        ));
    }
    row.push_str("</table></td></tr>");
    row
}

/// All of them.
pub(crate) fn whole(rows: &[String], more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(more)) };
    format!(
        "<!DOCTYPE html>\n<html><body style=\"font-family:sans-serif\"><table>{}</table>{more}</body></html>\n",
        // A line for each: mail servers do not like long ones.
        rows.join("\n")
    )
}
