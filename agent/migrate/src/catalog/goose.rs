//! Files of goose (`-- +goose Up`) and of sql-migrate (`-- +migrate Up`): both ways in one, with `StatementBegin` and
//! `StatementEnd` around what has semicolons in it.

use super::sections::{self, Marker, Sections};
use crate::contents::Fault;
use crate::sql::Dialect;

/// Reads a file; none: it is neither tool's.
pub(super) fn read(text: &str, dialect: Dialect) -> Option<Result<Sections, Vec<Fault>>> {
    sections::read(text, dialect, marker)
}

fn marker(line: &str) -> Option<Marker> {
    let rest = line.trim_start_matches('\u{feff}').trim().strip_prefix("--")?.trim_start();
    let rest = rest.strip_prefix("+goose").or_else(|| rest.strip_prefix("+migrate"))?;
    let words = rest.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>().join(" ");
    Some(match words.as_str() {
        "up" => Marker::Up { transaction: true },
        "down" => Marker::Down { transaction: true },
        "up notransaction" => Marker::Up { transaction: false },
        "down notransaction" => Marker::Down { transaction: false },
        "statementbegin" => Marker::StatementBegin,
        "statementend" => Marker::StatementEnd,
        "no transaction" => Marker::NoTransaction,
        "envsub on" => Marker::Wrong("variables of the environment are not put in: write the values"),
        "envsub off" => return None,
        _ => Marker::Wrong("write Up, Down, StatementBegin, StatementEnd or NO TRANSACTION"),
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

    #[test]
    fn what_is_marked_as_a_statement_is_one() {
        let text = "-- +goose Up\nCREATE TABLE a (b int);\n-- +goose StatementBegin\nCREATE PROCEDURE p()\nBEGIN\n  x; y;\nEND;\n\
                    -- +goose StatementEnd\nCALL p();\n\n-- +goose Down\nDROP TABLE a;\n";
        let sections = read(text, Dialect::Mysql).unwrap().unwrap();
        let expected = [
            (2, "CREATE TABLE a (b int)".to_owned()),
            (4, "CREATE PROCEDURE p()\nBEGIN\n  x; y;\nEND".to_owned()),
            (9, "CALL p()".to_owned()),
        ];
        assert_eq!(told(&sections.up), expected);
        assert_eq!(told(&sections.down.unwrap()), [(12, "DROP TABLE a".to_owned())]);
        assert!(sections.up.transaction);
    }

    #[test]
    fn a_file_without_transaction_says_so_for_both_ways() {
        let goose = read("-- +goose NO TRANSACTION\n-- +goose Up\na;\n-- +goose Down\nb;", Dialect::Postgresql)
            .unwrap()
            .unwrap();
        assert!(!goose.up.transaction && !goose.down.unwrap().transaction);
        let other =
            read("-- +migrate Up notransaction\na;\n-- +migrate Down\nb;", Dialect::Postgresql).unwrap().unwrap();
        assert!(!other.up.transaction && other.down.unwrap().transaction);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, lines) in [
            ("-- +goose Up\n-- +goose StatementBegin\na;", vec![Some(2)]),
            ("-- +goose Up\na;\n-- +goose StatementEnd", vec![Some(3)]),
            ("-- +goose Up\n-- +goose StatementBegin\na;\n-- +goose Down\nb;", vec![Some(4)]),
            ("-- +goose ENVSUB ON\n-- +goose Up\na;", vec![Some(1)]),
            ("-- +goose Upp\n-- +goose Up\na;", vec![Some(1)]),
            ("-- +goose Down\na;", vec![None]),
        ] {
            let faults = read(text, Dialect::Postgresql).unwrap().unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), lines, "{text}: {faults:?}");
        }
        assert!(read("CREATE TABLE a (b int);", Dialect::Postgresql).is_none());
    }
}
