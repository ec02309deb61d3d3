//! The mail as plain text.

use whimbrel_plugin::notice::{line, plain, shortened};
use whimbrel_plugin::prelude::*;

use crate::{facts, limits, link, word};

/// One alert.
pub(crate) fn of(alert: &Alert) -> String {
    let title = shortened(&line(&alert.title), limits::TITLE);
    let mut lines = vec![format!("{}: {title}", word(alert.status, alert.severity))];
    let mut say = |text: &str, chars: usize| {
        let text = shortened(&plain(text), chars);
        lines.extend(text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("  {line}")));
    };
    say(&alert.detail, limits::DETAIL);
    if !alert.action.is_empty() && alert.status != Status::Resolved {
        say(&format!("What to do: {}", alert.action), limits::ACTION);
    }
    lines.extend(facts(alert).into_iter().map(|(name, value)| format!("  {name}: {value}")));
    lines.extend(link(alert).map(|url| format!("  {url}")));
    lines.join("\n")
}

/// All of them.
pub(crate) fn whole(alerts: &[String], more: &str) -> String {
    let more = if more.is_empty() { None } else { Some(more) };
    let mut text = alerts.iter().map(String::as_str).chain(more).collect::<Vec<&str>>().join("\n\n");
    text.push('\n');
    text
}
