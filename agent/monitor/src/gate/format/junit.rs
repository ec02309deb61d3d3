//! JUnit's XML: a suite for the migration, a case for each condition. What is unknown is an error: the test could not be made.

use std::fmt::Write as _;

use super::super::report::{Report, State};
use super::plain;

pub(super) fn junit(report: &Report) -> String {
    let count = |state| report.conditions.iter().filter(|one| one.state == state).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let id = attribute(&report.migration_id);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<testsuites>\n<testsuite name=\"whimbrel check {id}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        report.conditions.len(),
        count(State::Fail),
        count(State::Unknown),
        count(State::Skipped)
    );
    for one in &report.conditions {
        let _ = writeln!(text, "<testcase classname=\"whimbrel.{id}\" name=\"{}\">", one.subject.title());
        let said = attribute(&format!(
            "{} ({}){}{}",
            one.measured,
            one.limit,
            if one.why.is_empty() { "" } else { ": " },
            one.why
        ));
        let _ = match one.state {
            State::Pass => writeln!(text, "<system-out>{said}</system-out>"),
            State::Fail => writeln!(text, "<failure message=\"{said}\"/>"),
            State::Unknown => writeln!(text, "<error message=\"{said}\"/>"),
            State::Skipped => writeln!(text, "<skipped message=\"{said}\"/>"),
        };
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// Text that may stand in an attribute, and so anywhere.
fn attribute(text: &str) -> String {
    let mut safe = String::new();
    for letter in plain(text).chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            // No character of XML.
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}
