//! A table for people.

use super::super::report::{Report, State};
use super::{plain, verdict};

pub(super) fn text(report: &Report) -> String {
    let rows: Vec<[String; 5]> = report
        .conditions
        .iter()
        .map(|one| {
            let state = match one.state {
                State::Pass | State::Skipped => one.state.as_str().to_owned(),
                State::Fail | State::Unknown => one.state.as_str().to_uppercase(),
            };
            [state, one.subject.title().to_owned(), plain(&one.measured), plain(&one.limit), plain(&one.why)]
        })
        .collect();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut lines = vec![format!("migration {}: asked {}", plain(&report.migration_id), plain(&report.source))];
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        lines.push(format!("  {}", cells.join("  ").trim_end()));
    }
    lines.extend(report.notes.iter().map(|note| format!("  note: {}", plain(note))));
    lines.push(verdict(report));
    lines.push(String::new());
    lines.join("\n")
}
