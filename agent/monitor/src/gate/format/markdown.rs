//! A Markdown table, also for the step summary of CI.

use std::fmt::Write as _;

use super::super::report::{Report, State};
use super::{plain, verdict};

/// A report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mark = if report.status() == 0 { "✅" } else { "❌" };
    let mut text = format!("### {mark} Migration {}: {}\n\n", cell(&report.migration_id), cell(&verdict(report)));
    text.push_str("| | Condition | Measured | Limit | Why |\n|---|---|---|---|---|\n");
    for one in &report.conditions {
        let mark = match one.state {
            State::Pass => "✅",
            State::Fail => "❌",
            State::Unknown => "❓",
            State::Skipped => "➖",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {mark} {} | {} | {} | {} | {} |",
            one.state.as_str(),
            one.subject.title(),
            cell(&one.measured),
            cell(&one.limit),
            cell(&one.why)
        );
    }
    let notes = std::iter::once(format!("Asked {}.", report.source)).chain(report.notes.iter().cloned());
    for note in notes {
        let _ = write!(text, "\n{}\n", cell(&note));
    }
    text
}

/// Text without markup of its own.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for letter in plain(text).chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter => safe.push(letter),
        }
    }
    safe
}
