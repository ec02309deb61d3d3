//! What PostgreSQL lets run only outside of a transaction, and how to see afterwards whether it was carried out.

use crate::sql::lex::{Kind, Lexer, Token};
use crate::sql::{Dialect, Script, Step};

/// A statement that cannot be in a transaction with the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alone {
    /// `CREATE INDEX CONCURRENTLY`: a valid index is there, or an invalid one, which is dropped and built again.
    CreateIndex {
        /// The index, as written, if it has a name.
        name: Option<String>,
        /// The table, as written.
        table: String,
    },
    /// `DROP INDEX CONCURRENTLY`: the index is there or not.
    DropIndex(String),
    /// `REINDEX … CONCURRENTLY`: done again, after what is left of it is dropped.
    Reindex,
    /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`: is finished where it was left.
    Detach {
        /// The table, as written.
        table: String,
        /// The partition, as written.
        partition: String,
    },
    /// `CREATE DATABASE`, `DROP DATABASE`: it is there or not.
    Database {
        /// Its name, as written.
        name: String,
        /// Whether it is there when the statement was carried out.
        there: bool,
    },
    /// Does no harm when it is done twice: `VACUUM`, `REINDEX DATABASE`, `ALTER SYSTEM`.
    Again,
    /// A look at the database does not tell.
    Unknown,
}

/// Whether all of it can be one transaction with the ledger.
pub(in crate::sql) fn is_one_transaction(script: &Script) -> bool {
    let last = script.steps.len().saturating_sub(1);
    script.transaction
        && script.steps.iter().enumerate().all(|(index, step)| match step {
            Step::Backfill(_) => false,
            Step::Statement(statement) => {
                alone(&statement.text, true).is_none() && (index == last || !adds_enum_value(&statement.text))
            }
        })
}

/// A new enum value can be used only by later transactions.
fn adds_enum_value(text: &str) -> bool {
    let words = Words::of(text);
    words.begins(&["ALTER", "TYPE"]) && words.has(&["ADD", "VALUE"])
}

/// Whether it only sets something in the session, which a later session has to set anew.
pub(super) fn sets(text: &str) -> bool {
    let words = Words::of(text);
    words.begins(&["SET"]) && !words.begins(&["SET", "LOCAL"]) && !words.begins(&["SET", "TRANSACTION"])
        || words.begins(&["SELECT"]) && text.to_ascii_lowercase().contains("set_config")
}

/// How it is run outside of a transaction; none: it is not. `transaction`: whether its file leaves that to us.
pub(super) fn alone(text: &str, transaction: bool) -> Option<Alone> {
    let words = Words::of(text);
    let concurrently = words.position("CONCURRENTLY");
    let is_index = |verb: &str| words.begins(&[verb, "INDEX"]) || words.begins(&[verb, "UNIQUE", "INDEX"]);
    if is_index("CREATE") && concurrently.is_some() {
        let on = words.position("ON")?;
        let name = words.name_after(concurrently?, &["IF", "NOT", "EXISTS"]);
        return Some(Alone::CreateIndex { name, table: words.name_after(on, &["ONLY"])? });
    }
    if is_index("DROP") && concurrently.is_some() {
        return words.name_after(concurrently?, &["IF", "EXISTS"]).map(Alone::DropIndex);
    }
    if words.begins(&["REINDEX"]) {
        if concurrently.is_some() {
            return Some(Alone::Reindex);
        }
        return words.any(&["SCHEMA", "DATABASE", "SYSTEM"]).then_some(Alone::Again);
    }
    if words.begins(&["ALTER", "TABLE"]) && words.has(&["DETACH", "PARTITION"]) && concurrently.is_some() {
        let table = words.name_after(1, &["IF", "EXISTS", "ONLY"])?;
        let partition = words.name_after(words.position("PARTITION")?, &[])?;
        return Some(Alone::Detach { table, partition });
    }
    if words.begins(&["CREATE", "DATABASE"]) || words.begins(&["DROP", "DATABASE"]) {
        let name = words.name_after(1, &["IF", "EXISTS"])?;
        return Some(Alone::Database { name, there: words.begins(&["CREATE"]) });
    }
    if words.begins(&["VACUUM"]) || words.begins(&["ALTER", "SYSTEM"]) || words.begins(&["CLUSTER"]) && words.len() == 1
    {
        return Some(Alone::Again);
    }
    let elsewhere =
        [["CREATE", "TABLESPACE"], ["DROP", "TABLESPACE"], ["CREATE", "SUBSCRIPTION"], ["DROP", "SUBSCRIPTION"]];
    if elsewhere.iter().any(|pair| words.begins(pair))
        || words.begins(&["ALTER", "SUBSCRIPTION"]) && words.any(&["REFRESH"])
    {
        return Some(Alone::Unknown);
    }
    // Code that commits by itself works only outside of a transaction, which its file then has to ask for.
    let commits = !transaction && (words.begins(&["CALL"]) || words.begins(&["DO"]) && words.body_commits());
    commits.then_some(Alone::Unknown)
}

/// The tokens of a statement that are looked at.
struct Words<'a>(Vec<Token<'a>>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(Lexer::new(text, Dialect::Postgresql).filter(|token| !token.is_blank()).take(200).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn begins(&self, words: &[&str]) -> bool {
        self.0.len() >= words.len() && self.0.iter().zip(words).all(|(token, word)| token.is(word))
    }

    fn position(&self, word: &str) -> Option<usize> {
        self.0.iter().position(|token| token.is(word))
    }

    fn any(&self, words: &[&str]) -> bool {
        self.0.iter().any(|token| token.is_any(words))
    }

    fn has(&self, words: &[&str]) -> bool {
        self.0.windows(words.len()).any(|window| window.iter().zip(words).all(|(token, word)| token.is(word)))
    }

    /// The name after a token, quoted as written.
    fn name_after(&self, index: usize, skip: &[&str]) -> Option<String> {
        let mut name = String::new();
        let mut tokens = self.0.get(index + 1..)?.iter().skip_while(|token| token.is_any(skip)).peekable();
        if tokens.peek().is_none_or(|first| first.is("ON")) {
            return None;
        }
        while let Some(token) = tokens.next() {
            if !matches!(token.kind, Kind::Word | Kind::Name) {
                return None;
            }
            name.push_str(token.text);
            if tokens.next_if(|next| next.is_sign('.')).is_none() {
                break;
            }
            name.push('.');
        }
        Some(name)
    }

    fn body_commits(&self) -> bool {
        let text = |token: &&Token<'_>| token.kind == Kind::Text;
        self.0.iter().filter(text).any(|token| {
            let body = token.text.trim_start_matches(|sign: char| sign == '$' || sign.is_alphanumeric() || sign == '_');
            Lexer::new(body, Dialect::Postgresql).any(|word| word.is_any(&["COMMIT", "ROLLBACK"]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::script;

    #[test]
    fn what_runs_outside_of_a_transaction_is_known_with_its_names() {
        let index = |name: Option<&str>, table: &str| {
            Some(Alone::CreateIndex { name: name.map(str::to_owned), table: table.to_owned() })
        };
        let cases = [
            ("CREATE INDEX CONCURRENTLY i ON ONLY s.\"T x\" (a)", index(Some("i"), "s.\"T x\"")),
            ("create unique index concurrently if not exists i on t (a)", index(Some("i"), "t")),
            ("CREATE INDEX CONCURRENTLY ON t (a)", index(None, "t")),
            ("CREATE INDEX i ON t (a)", None),
            ("DROP INDEX CONCURRENTLY IF EXISTS s.i", Some(Alone::DropIndex("s.i".into()))),
            ("DROP INDEX i", None),
            ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", Some(Alone::Reindex)),
            ("REINDEX TABLE t", None),
            ("REINDEX DATABASE d", Some(Alone::Again)),
            (
                "ALTER TABLE ONLY t DETACH PARTITION p CONCURRENTLY",
                Some(Alone::Detach { table: "t".into(), partition: "p".into() }),
            ),
            ("ALTER TABLE t DETACH PARTITION p", None),
            ("CREATE DATABASE d", Some(Alone::Database { name: "d".into(), there: true })),
            ("DROP DATABASE IF EXISTS d", Some(Alone::Database { name: "d".into(), there: false })),
            ("VACUUM (ANALYZE) t", Some(Alone::Again)),
            ("CLUSTER", Some(Alone::Again)),
            ("CLUSTER t", None),
            ("UPDATE t SET a = 'CREATE INDEX CONCURRENTLY'", None),
            ("DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$", None),
        ];
        for (text, expected) in cases {
            assert_eq!(alone(text, true), expected, "{text}");
        }
        for (text, expected) in [
            ("DO $x$ BEGIN UPDATE t SET a = 1; COMMIT; END $x$", Some(Alone::Unknown)),
            ("DO $$ BEGIN UPDATE t SET a = 1; END $$", None),
            ("CALL p()", Some(Alone::Unknown)),
        ] {
            assert_eq!(alone(text, false), expected, "{text}");
        }
    }

    #[test]
    fn a_script_is_one_transaction_unless_a_step_cannot_be_in_it() {
        for (text, expected) in [
            ("CREATE TABLE a (b int); CREATE INDEX i ON a (b);", true),
            ("CREATE TABLE a (b int); CREATE INDEX CONCURRENTLY i ON a (b);", false),
            ("ALTER TYPE e ADD VALUE 'x'; INSERT INTO a VALUES ('x');", false),
            ("INSERT INTO a VALUES ('x'); ALTER TYPE e ADD VALUE 'x';", true),
            ("-- whimbrel: no-transaction\nINSERT INTO a VALUES (1);", false),
            ("", true),
        ] {
            assert_eq!(is_one_transaction(&script::parse(text, Dialect::Postgresql).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn settings_of_the_session_are_known() {
        for (text, expected) in [
            ("SET search_path TO a", true),
            ("SET ROLE a", true),
            ("SELECT pg_catalog.set_config('search_path', '', false)", true),
            ("SET LOCAL search_path TO a", false),
            ("UPDATE a SET b = 1", false),
        ] {
            assert_eq!(sets(text), expected, "{text}");
        }
    }
}
