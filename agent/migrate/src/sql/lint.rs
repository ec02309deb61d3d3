//! What can be said of a script before it runs. For PostgreSQL squawk's rules, as warnings, and its parser's errors, as
//! errors; for the others what is sure without a grammar. A rule is switched off by `-- squawk-ignore RULE` in the file, or
//! in the options.

use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use super::{Dialect, Script, script};

/// Something that deserves a look, or keeps a script from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line, from 1; none: the text as a whole.
    pub line: Option<usize>,
    /// Whether it only deserves a look.
    pub warning: bool,
    /// What is remarkable.
    pub message: String,
    /// What mends it.
    pub remedy: String,
    /// The rule that says so.
    pub rule: Option<String>,
}

/// What of the linter's rules is right everywhere and of no use here: the engine sets the timeouts and begins the
/// transactions itself, and whether statements can be run twice is the ledger's business.
const OURS: [Rule; 6] = [
    Rule::RequireLockTimeout,
    Rule::RequireStatementTimeout,
    Rule::RequireTimeoutSettings,
    Rule::PreferRobustStmts,
    Rule::TransactionNesting,
    Rule::BanUncommittedTransaction,
];

/// Looks at the text of a script. `script`: what [`script::parse`] made of it; `off`: rules that are switched off, by name.
#[must_use]
pub fn lint(text: &str, dialect: Dialect, script: &Script, off: &[String]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if script.steps.is_empty() {
        remarks.push(Remark {
            line: None,
            warning: true,
            message: "the file holds no statement".to_owned(),
            remedy: "write one, or remove the file if nothing was applied from it".to_owned(),
            rule: None,
        });
    }
    if dialect == Dialect::Postgresql {
        remarks.extend(postgresql(text, script, off));
    }
    remarks
}

/// Whether there is a rule of this name, for options that name one.
#[must_use]
pub fn is_rule(name: &str) -> bool {
    Rule::try_from(name).is_ok()
}

fn postgresql(text: &str, script: &Script, off: &[String]) -> Vec<Remark> {
    // The byte order mark is none of the server's business, nor of the parser's.
    let text = text.trim_start_matches('\u{feff}');
    let parse = SourceFile::parse(text);
    let errors: Vec<_> = parse
        .errors()
        .into_iter()
        .map(|error| Remark {
            line: Some(line(text, error.range().start().into())),
            warning: false,
            message: format!("syntax error: {}", error.message()),
            remedy: format!("mend the statement; if your PostgreSQL takes it as it is, switch the rule `{SYNTAX}` off"),
            rule: Some(SYNTAX.to_owned()),
        })
        .collect();
    if !errors.is_empty() {
        // The rules would stumble over the same place.
        return if off.iter().any(|rule| rule == SYNTAX) { Vec::new() } else { errors };
    }
    let mut exclude = OURS.to_vec();
    exclude.extend(off.iter().filter_map(|name| Rule::try_from(name.as_str()).ok()));
    let mut linter = Linter::with_rules(&[], &exclude);
    // What cannot be in a transaction is run outside of one, whatever the file says.
    linter.settings.assume_in_transaction = super::postgresql::is_one_transaction(script);
    linter
        .lint(&parse, text)
        .into_iter()
        .map(|violation| Remark {
            line: Some(line(text, violation.text_range.start().into())),
            warning: true,
            message: violation.message,
            remedy: violation
                .help
                .unwrap_or_else(|| format!("`-- squawk-ignore {}` above it accepts it", violation.code)),
            rule: Some(violation.code.to_string()),
        })
        .collect()
}

/// The name under which the parser's errors are switched off.
pub const SYNTAX: &str = "syntax-error";

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// What [`lint`] says of one statement or fragment of a YAML file, `first` being its line there.
#[must_use]
pub fn lint_statement(text: &str, first: usize, dialect: Dialect, transaction: bool, off: &[String]) -> Vec<Remark> {
    let Ok(mut script) = script::parse(text, dialect) else { return Vec::new() };
    script.transaction = transaction;
    let at = |remark: Remark| Remark { line: remark.line.map(|line| line + first.saturating_sub(1)), ..remark };
    lint(text, dialect, &script, off).into_iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remarks(text: &str, dialect: Dialect, off: &[&str]) -> Vec<(Option<usize>, bool, Option<String>)> {
        let script = script::parse(text, dialect).unwrap();
        let off: Vec<_> = off.iter().map(|&rule| rule.to_owned()).collect();
        lint(text, dialect, &script, &off).into_iter().map(|one| (one.line, one.warning, one.rule)).collect()
    }

    fn warning(line: usize, rule: &str) -> (Option<usize>, bool, Option<String>) {
        (Some(line), true, Some(rule.to_owned()))
    }

    #[test]
    fn what_blocks_writers_is_told_with_rule_and_line() {
        let text = "-- orders\nCREATE INDEX i ON orders (a);\n\nALTER TABLE orders ALTER COLUMN a TYPE bigint;\n";
        let expected = [warning(2, "require-concurrent-index-creation"), warning(4, "changing-column-type")];
        assert_eq!(remarks(text, Dialect::Postgresql, &[]), expected);
        assert_eq!(remarks(text, Dialect::Postgresql, &["changing-column-type"]), expected[..1]);
        let ignored = text.replace("-- orders", "-- squawk-ignore require-concurrent-index-creation");
        assert_eq!(remarks(&ignored, Dialect::Postgresql, &[]), expected[1..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn any_text_can_be_linted(text in r"(CREATE |INDEX |CONCURRENTLY |TABLE |ALTER |ADD |COLUMN |CONSTRAINT |CHECK |DEFAULT |ON |UPDATE |SET |FROM |SELECT |WITH |TYPE |DROP |NOT NULL |int |text |-- squawk-ignore |BEGIN;|COMMIT;|[a-z0-9_.;,()'$\[\n:=<> -]|\PC){0,40}") {
            let script = Script { steps: Vec::new(), transaction: true };
            let lines = text.matches('\n').count() + 1;
            for remark in lint(&text, Dialect::Postgresql, &script, &[]) {
                prop_assert!(remark.line.is_none_or(|line| line <= lines));
            }
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_an_error() {
        let found = remarks("SELECT 1;\nCREATE TABEL a (b int);", Dialect::Postgresql, &[]);
        assert!(found.iter().any(|(line, warning, _)| *line == Some(2) && !warning), "{found:?}");
        assert_eq!(remarks("CREATE TABEL a (b int);", Dialect::Postgresql, &[SYNTAX]), []);
    }

    #[test]
    fn a_concurrent_index_is_no_fault_since_it_is_run_outside_of_transactions() {
        for text in [
            "-- whimbrel: no-transaction\nCREATE INDEX CONCURRENTLY i ON orders (a);",
            "CREATE INDEX CONCURRENTLY i ON orders (a);",
        ] {
            assert_eq!(remarks(text, Dialect::Postgresql, &[]), [], "{text}");
        }
    }

    #[test]
    fn a_file_without_statements_deserves_a_look_in_any_dialect() {
        for dialect in [Dialect::Postgresql, Dialect::Mysql, Dialect::Sqlite] {
            assert_eq!(remarks("-- nothing\n", dialect, &[]), [(None, true, None)]);
        }
    }

    #[test]
    fn statements_of_a_yaml_file_keep_their_lines() {
        let found = lint_statement("\nCREATE INDEX i ON orders (a)", 7, Dialect::Postgresql, true, &[]);
        assert_eq!(found.first().and_then(|one| one.line), Some(8));
    }
}
