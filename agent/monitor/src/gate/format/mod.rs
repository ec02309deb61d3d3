//! How a report is printed. What comes from outside (names of pipelines, titles of incidents) is escaped for each form.

mod junit;
mod markdown;
mod text;

use clap::ValueEnum;
use serde_json::json;

use super::report::Report;

pub use markdown::markdown;

/// The form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// JUnit's XML, which CI servers show as tests
    Junit,
    /// A Markdown table
    Markdown,
}

/// Prints a report.
#[must_use]
pub fn print(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text::text(report),
        Format::Json => json(report),
        Format::Junit => junit::junit(report),
        Format::Markdown => markdown(report),
    }
}

fn json(report: &Report) -> String {
    let status = report.status();
    let document = json!({
        "migration_id": report.migration_id,
        "safe": status == 0,
        "verdict": report.verdict(),
        "exit_status": status,
        "source": report.source,
        "notes": report.notes,
        "conditions": report.conditions,
    });
    format!("{document:#}\n")
}

/// Without control characters, which could move a terminal's cursor or end a line of a table.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// The last line.
fn verdict(report: &Report) -> String {
    match report.status() {
        0 => "safe".to_owned(),
        status => format!("not safe: {} (exit status {status})", report.verdict()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Condition, State, Subject};
    use super::*;

    fn report() -> Report {
        let condition = |subject, state, measured: &str, limit: &str, why: &str| Condition {
            subject,
            state,
            measured: measured.into(),
            limit: limit.into(),
            why: why.into(),
        };
        Report {
            migration_id: "42<&\"|".into(),
            source: "the agent at http://127.0.0.1:9464".into(),
            notes: vec!["a note".into()],
            conditions: vec![
                condition(Subject::Data, State::Pass, "pipeline shop, 0 s old", "at most 60 s old", ""),
                condition(Subject::Lag, State::Fail, "412 s", "at most 300 s", "too far <behind> | \u{1b}[31m`x`"),
                condition(Subject::Rows, State::Skipped, "-", "all, and equal", "not compared"),
                condition(Subject::Errors, State::Unknown, "-", "at most 0", "]]>"),
            ],
        }
    }

    #[test]
    fn text_is_a_table() {
        assert_eq!(
            print(&report(), Format::Text),
            "migration 42<&\"|: asked the agent at http://127.0.0.1:9464\n\
             \x20 pass     data present and fresh  pipeline shop, 0 s old  at most 60 s old\n\
             \x20 FAIL     lag                     412 s                   at most 300 s     too far <behind> | \u{fffd}[31m`x`\n\
             \x20 skipped  rows equal              -                       all, and equal    not compared\n\
             \x20 UNKNOWN  errors                  -                       at most 0         ]]>\n\
             \x20 note: a note\n\
             not safe: lag (exit status 10)\n"
        );
    }

    #[test]
    fn json_has_everything() {
        let document: serde_json::Value = serde_json::from_str(&print(&report(), Format::Json)).unwrap();
        assert_eq!(document["exit_status"], 10);
        assert_eq!((&document["safe"], &document["verdict"]), (&false.into(), &"lag".into()));
        assert_eq!(document["conditions"][1]["condition"], "lag");
        assert_eq!(document["conditions"][1]["state"], "fail");
    }

    #[test]
    fn junit_has_a_case_for_each_condition_and_no_markup_from_outside() {
        let document = print(&report(), Format::Junit);
        assert!(document.contains(r#"tests="4" failures="1" errors="1" skipped="1""#), "{document}");
        assert!(document.contains(r#"<testcase classname="whimbrel.42&lt;&amp;&quot;|" name="lag">"#), "{document}");
        assert!(document.contains("too far &lt;behind&gt; | \u{fffd}[31m`x`"), "{document}");
        assert!(!document.contains("<behind>") && !document.contains('\u{1b}'));
    }

    #[test]
    fn markdown_cells_stay_cells() {
        let document = print(&report(), Format::Markdown);
        let row = document.lines().find(|line| line.contains("412")).unwrap();
        assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
        assert!(!document.contains("<behind>"), "{document}");
    }
}
