//! A `.sql` file as a [`Script`]: its statements, and what its first comments ask for. Whatever could not run as written is
//! a [`Fault`] here, before anything is written anywhere.

use crate::contents::Fault;

use super::lex::Lexer;
use super::split::{Part, split};
pub use super::words::what;
use super::{Dialect, Script, Statement, Step};

/// Reads a script. A file that is one transaction by its own words (`BEGIN; … COMMIT;`) is taken without them, since the
/// ledger's entry has to be in that transaction.
///
/// # Errors
/// With all that could not run as written.
pub fn parse(text: &str, dialect: Dialect) -> Result<Script, Vec<Fault>> {
    let mut faults = Vec::new();
    let asked = options(text, &mut faults);
    let mut statements = Vec::new();
    for piece in split(text, dialect) {
        match piece.part {
            Part::Statement(text) => statements.push(Statement { text: text.to_owned(), line: piece.line }),
            Part::Client(words) if dialect == Dialect::Postgresql => faults.push(Fault::new(
                Some(piece.line),
                format!(
                    "`{}` is a command of psql, not of the server",
                    words.split_whitespace().next().unwrap_or("\\")
                ),
                "write it in SQL, or take it out",
            )),
            Part::Client(words) if words.split_whitespace().nth(1).is_none() => {
                faults.push(Fault::new(Some(piece.line), "DELIMITER names no delimiter", "write `DELIMITER //`"));
            }
            Part::Rows => faults.push(Fault::new(
                Some(piece.line),
                "COPY … FROM STDIN reads rows that only psql sends",
                "write the rows as INSERT (pg_dump does so with --inserts), or copy from a file on the server",
            )),
            Part::Open(what) => {
                faults.push(Fault::new(Some(piece.line), format!("this {what} has no end"), "close it"))
            }
            Part::Blank | Part::Client(_) => {}
        }
    }
    let wrapped = unwrap(&mut statements, dialect);
    if wrapped && asked == Some(false) {
        faults.push(Fault::new(
            Some(1),
            "the file asks for no transaction, and begins one",
            "take out `-- whimbrel: no-transaction`, or BEGIN and COMMIT",
        ));
    }
    faults.extend(statements.iter().filter_map(|statement| forbidden(statement, dialect)));
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() {
        let steps = statements.into_iter().map(Step::Statement).collect();
        Ok(Script { steps, transaction: asked.unwrap_or(true) })
    } else {
        Err(faults)
    }
}

/// The options in the comments at the top: whether a transaction is wanted, if the file says so.
fn options(text: &str, faults: &mut Vec<Fault>) -> Option<bool> {
    let mut transaction = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        let Some(comment) = line.strip_prefix("--").or_else(|| line.strip_prefix('#')) else {
            if line.is_empty() {
                continue;
            }
            break;
        };
        let Some(option) = comment.trim().strip_prefix("whimbrel:") else { continue };
        match option.trim() {
            "no-transaction" => transaction = Some(false),
            other => faults.push(Fault::new(
                Some(index + 1),
                format!("there is no option `{other}`"),
                "the one there is: `-- whimbrel: no-transaction`",
            )),
        }
    }
    transaction
}

/// The first words in upper case.
fn head(text: &str, dialect: Dialect, count: usize) -> Vec<String> {
    Lexer::new(text, dialect)
        .filter(|token| !token.is_blank())
        .take(count)
        .map(|token| token.text.to_ascii_uppercase())
        .collect()
}

/// Takes a BEGIN at the beginning and a COMMIT at the end away, if both are there.
fn unwrap(statements: &mut Vec<Statement>, dialect: Dialect) -> bool {
    let [first, .., last] = statements.as_slice() else { return false };
    let first = head(&first.text, dialect, 4).join(" ");
    let last = head(&last.text, dialect, 3).join(" ");
    let begins = matches!(
        &*first,
        "BEGIN"
            | "BEGIN WORK"
            | "BEGIN TRANSACTION"
            | "START TRANSACTION"
            | "BEGIN DEFERRED"
            | "BEGIN IMMEDIATE"
            | "BEGIN EXCLUSIVE"
            | "BEGIN DEFERRED TRANSACTION"
            | "BEGIN IMMEDIATE TRANSACTION"
            | "BEGIN EXCLUSIVE TRANSACTION"
    );
    let ends =
        matches!(&*last, "COMMIT" | "COMMIT WORK" | "COMMIT TRANSACTION" | "END" | "END WORK" | "END TRANSACTION");
    if begins && ends {
        statements.pop();
        statements.remove(0);
    }
    begins && ends
}

/// What would end or change the session that holds the lock, or the transaction that the ledger's entry is in.
fn forbidden(statement: &Statement, dialect: Dialect) -> Option<Fault> {
    let head = head(&statement.text, dialect, 3);
    let word = |index: usize| head.get(index).map_or("", String::as_str);
    let transaction = match (word(0), word(1)) {
        ("BEGIN", "NOT") if dialect == Dialect::Mysql => false,
        ("BEGIN" | "COMMIT" | "ABORT" | "END", _) | ("START", "TRANSACTION") | ("PREPARE", "TRANSACTION") => true,
        // Back to a savepoint is within the transaction.
        ("ROLLBACK", "TO") => false,
        ("ROLLBACK", _) => word(2) != "TO",
        _ => false,
    };
    if transaction {
        return Some(Fault::new(
            Some(statement.line),
            format!("`{}` would end the transaction that the ledger is written in", word(0)),
            "take it out: a migration is one transaction, or with `-- whimbrel: no-transaction` one for each statement; \
             what needs transactions of its own goes to files of its own",
        ));
    }
    (dialect == Dialect::Postgresql && word(0) == "DISCARD" && word(1) == "ALL").then(|| {
        Fault::new(
            Some(statement.line),
            "DISCARD ALL would give up the lock on the migrations",
            "name what is to be discarded: DISCARD PLANS, DISCARD TEMP, RESET ALL",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(script: &Script) -> Vec<(usize, &str)> {
        let statement = |step| match step {
            &Step::Statement(Statement { ref text, line }) => Some((line, text.as_str())),
            Step::Backfill(_) => None,
        };
        script.steps.iter().filter_map(statement).collect()
    }

    proptest! {
        #[test]
        fn any_text_can_be_looked_at(text in r"(BEGIN|COMMIT|CREATE |INDEX |CONCURRENTLY |TABLE |ALTER |ON |UPDATE |SET |FROM |WITH |[a-z0-9_.;,()'`\$\[\n -]|\PC){0,40}") {
            for dialect in [Dialect::Postgresql, Dialect::Mysql, Dialect::Sqlite] {
                let lines = text.matches('\n').count() + 1;
                match parse(&text, dialect) {
                    Ok(script) => for step in script.steps {
                        let Step::Statement(statement) = step else { unreachable!() };
                        prop_assert!(text.contains(&statement.text) && statement.line <= lines);
                        prop_assert!(!what(&statement.text).is_empty());
                    },
                    Err(faults) => prop_assert!(faults.iter().all(|fault| fault.line.is_some_and(|line| line <= lines))),
                }
            }
        }
    }

    #[test]
    fn a_file_is_its_statements_with_their_lines() {
        let script = parse("-- orders\nCREATE TABLE a (b int);\n\nUPDATE a SET b = 1;\n", Dialect::Postgresql).unwrap();
        assert_eq!(texts(&script), [(2, "CREATE TABLE a (b int)"), (4, "UPDATE a SET b = 1")]);
        assert!(script.transaction);
    }

    #[test]
    fn a_file_can_ask_for_no_transaction() {
        for text in [
            "-- whimbrel: no-transaction\nVACUUM a;",
            "\n-- Copyright\n--whimbrel:no-transaction\n\nVACUUM a;",
            "\u{feff}-- whimbrel: no-transaction\nVACUUM a",
        ] {
            assert!(!parse(text, Dialect::Postgresql).unwrap().transaction, "{text}");
        }
        let late = "VACUUM a;\n-- whimbrel: no-transaction\n";
        assert!(parse(late, Dialect::Postgresql).unwrap().transaction);
        let faults = parse("-- whimbrel: no-transactoin\na", Dialect::Sqlite).unwrap_err();
        assert_eq!(faults[0].line, Some(1));
    }

    #[test]
    fn a_file_that_is_one_transaction_is_taken_without_its_words() {
        for (dialect, text) in [
            (Dialect::Postgresql, "BEGIN;\na;\nCOMMIT;"),
            (Dialect::Postgresql, "-- x\nbegin transaction; a; end"),
            (Dialect::Mysql, "START TRANSACTION; a; COMMIT;"),
            (Dialect::Sqlite, "BEGIN IMMEDIATE; a; COMMIT;"),
        ] {
            let script = parse(text, dialect).unwrap();
            assert_eq!(script.steps.len(), 1, "{text}");
            assert!(script.transaction);
        }
    }

    #[test]
    fn what_could_not_run_as_written_is_told_with_its_line_all_at_once() {
        let cases: &[(Dialect, &str, &[usize])] = &[
            (Dialect::Postgresql, "BEGIN;\na;\nCOMMIT;\nBEGIN;\nb;\nCOMMIT;", &[3, 4]),
            (Dialect::Postgresql, "a;\nCOMMIT;", &[2]),
            (Dialect::Postgresql, "BEGIN ISOLATION LEVEL SERIALIZABLE;\na;\nCOMMIT;", &[1, 3]),
            (Dialect::Postgresql, "-- whimbrel: no-transaction\nBEGIN;\na;\nCOMMIT;", &[1]),
            (Dialect::Postgresql, "\\connect x\na;\nDISCARD ALL;", &[1, 3]),
            (Dialect::Postgresql, "COPY a FROM STDIN;\n1\n\\.\n", &[1]),
            (Dialect::Mysql, "a;\nb 'c", &[2]),
            (Dialect::Mysql, "ROLLBACK;", &[1]),
            (Dialect::Sqlite, "a;\nEND;", &[2]),
        ];
        for (dialect, text, lines) in cases {
            let faults = parse(text, *dialect).unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.line.unwrap()).collect::<Vec<_>>(), *lines, "{text}");
            assert!(faults.iter().all(|fault| !fault.remedy.is_empty()));
        }
        assert!(parse("SAVEPOINT a;\nb;\nROLLBACK TO a;", Dialect::Postgresql).is_ok());
        assert!(parse("BEGIN NOT ATOMIC a; END;", Dialect::Mysql).is_ok());
    }
}
