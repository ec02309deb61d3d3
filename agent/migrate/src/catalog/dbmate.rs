//! dbmate's files: both ways in one, behind `-- migrate:up` and `-- migrate:down`, each with `transaction:false` where it
//! wants none.

use super::sections::{self, Marker, Sections};
use crate::contents::Fault;
use crate::sql::Dialect;

/// Reads a file; none: it is not dbmate's.
pub(super) fn read(text: &str, dialect: Dialect) -> Option<Result<Sections, Vec<Fault>>> {
    sections::read(text, dialect, marker)
}

fn marker(line: &str) -> Option<Marker> {
    let rest = line.trim_start_matches('\u{feff}').trim().strip_prefix("--")?.trim_start().strip_prefix("migrate:")?;
    let mut words = rest.split_whitespace();
    let way = words.next().unwrap_or("");
    let mut transaction = true;
    for option in words {
        match option {
            "transaction:false" => transaction = false,
            "transaction:true" => {}
            _ => return Some(Marker::Wrong("the option there is: `transaction:false`")),
        }
    }
    Some(match way {
        "up" => Marker::Up { transaction },
        "down" => Marker::Down { transaction },
        _ => Marker::Wrong("write `-- migrate:up` or `-- migrate:down`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Script, Step};

    fn told(script: &Script) -> Vec<(usize, String)> {
        let statement = |step: &Step| match step {
            Step::Statement(statement) => (statement.line, statement.text.clone()),
            Step::Backfill(_) => (0, String::new()),
        };
        script.steps.iter().map(statement).collect()
    }

    fn read(text: &str) -> Result<Sections, Vec<Fault>> {
        super::read(text, Dialect::Postgresql).expect("it is dbmate's")
    }

    #[test]
    fn both_ways_keep_their_lines_and_their_options() {
        let text =
            "-- orders\n-- migrate:up\nCREATE TABLE a (b int);\n\n-- migrate:down transaction:false\nDROP TABLE a;\n";
        let sections = read(text).unwrap();
        assert_eq!(told(&sections.up), [(3, "CREATE TABLE a (b int)".to_owned())]);
        assert!(sections.up.transaction);
        let down = sections.down.unwrap();
        assert_eq!(told(&down), [(6, "DROP TABLE a".to_owned())]);
        assert!(!down.transaction);
        let alone = read("-- migrate:up transaction:false\r\nVACUUM;\r\n").unwrap();
        assert!(!alone.up.transaction && alone.down.is_none());
    }

    #[test]
    fn a_file_without_markers_is_not_dbmates() {
        assert!(super::read("CREATE TABLE a (b int); -- migrate: later", Dialect::Postgresql).is_none());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, lines) in [
            ("DROP TABLE x;\n-- migrate:up\na;", vec![Some(1)]),
            ("-- migrate:up\na;\n-- migrate:up\nb;", vec![Some(3)]),
            ("-- migrate:down\na;", vec![None]),
            ("-- migrate:up transaction:no\n-- migrate:up\na;\n-- migrate:donw\nb;", vec![Some(1), Some(4)]),
            ("-- migrate:up\na;\n'b;\n-- migrate:down\nc 'd;", vec![Some(3), Some(5)]),
        ] {
            let faults = read(text).unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), lines, "{text}: {faults:?}");
        }
    }
}
