//! A statement in a few words and without its values: "create index orders_total", "update orders"; and the table it is
//! about. For people and spans; nothing is decided by it.

use super::Dialect;
use super::lex::{Kind, Lexer, Token};

/// The statement in a few words.
///
/// ```
/// use whimbrel_migrate::sql::words::what;
/// assert_eq!(what("UPDATE ONLY shop.orders SET total = 7"), "update shop.orders");
/// ```
#[must_use]
pub fn what(text: &str) -> String {
    look(text).0
}

/// The table the statement is about, where it names one, unquoted.
#[must_use]
pub fn place(text: &str) -> Option<String> {
    look(text).1
}

/// The first word of a statement in lower case, behind parentheses; empty where there is none.
#[must_use]
pub fn verb(text: &str) -> String {
    Lexer::new(text, Dialect::Postgresql)
        .find(|token| !token.is_blank() && !token.is_sign('('))
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text.to_ascii_lowercase())
        .unwrap_or_default()
}

/// A statement of which more than this is looked at has its name far behind: enough for any head.
const HEAD: usize = 400;
/// Longer names are cut: it is for one line.
const LONGEST: usize = 80;

fn look(text: &str) -> (String, Option<String>) {
    // Of the dialects only MySQL's and SQLite's know backticks, and a name is quoted by `"` in the others.
    let dialect = if text.contains('`') { Dialect::Mysql } else { Dialect::Postgresql };
    let tokens: Vec<_> = Lexer::new(text, dialect).filter(|token| !token.is_blank()).take(HEAD).collect();
    Words { tokens: &tokens }.statement()
}

#[derive(Clone, Copy)]
struct Words<'t, 'a> {
    tokens: &'t [Token<'a>],
}

/// Between the verb and the kind of what is made, changed or dropped.
const ADJECTIVES: [&str; 14] = [
    "OR",
    "REPLACE",
    "TEMP",
    "TEMPORARY",
    "UNIQUE",
    "GLOBAL",
    "LOCAL",
    "UNLOGGED",
    "RECURSIVE",
    "CONSTRAINT",
    "FULLTEXT",
    "SPATIAL",
    "TRUSTED",
    "DEFAULT",
];
/// Kinds of two words, by the first.
const DOUBLE: [&str; 5] = ["materialized", "foreign", "text", "access", "operator"];
/// Between the kind and the name.
const BEFORE_NAME: [&str; 12] = [
    "CONCURRENTLY",
    "IF",
    "NOT",
    "EXISTS",
    "ONLY",
    "LOW_PRIORITY",
    "IGNORE",
    "INTO",
    "FROM",
    "TABLE",
    "DELAYED",
    "QUICK",
];

impl Words<'_, '_> {
    fn skip(&mut self, words: &[&str]) {
        while self.tokens.first().is_some_and(|token| token.is_any(words)) {
            self.next();
        }
    }

    fn next(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or(&[]);
    }

    fn word(&mut self) -> Option<String> {
        let token = self.tokens.first().filter(|token| token.kind == Kind::Word)?;
        let word = token.text.to_ascii_lowercase();
        self.next();
        Some(word)
    }

    /// A name with dots, unquoted.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            let token = *self.tokens.first()?;
            match token.kind {
                Kind::Word => name.push_str(token.text),
                Kind::Name => name.push_str(token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or("")),
                _ => return None,
            }
            self.next();
            if !self.tokens.first().is_some_and(|token| token.is_sign('.')) {
                return Some(name.chars().take(LONGEST).collect());
            }
            self.next();
            name.push('.');
        }
    }

    fn named(mut self, verb: &str) -> (String, Option<String>) {
        self.skip(&BEFORE_NAME);
        match self.name() {
            Some(name) => (format!("{verb} {name}"), Some(name)),
            None => (verb.to_owned(), None),
        }
    }

    fn statement(mut self) -> (String, Option<String>) {
        let Some(verb) = self.word() else { return ("statement".to_owned(), None) };
        match &*verb {
            "create" | "alter" | "drop" | "reindex" | "comment" => self.definition(&verb),
            "insert" | "replace" | "merge" => {
                // SQLite: INSERT OR IGNORE INTO.
                if self.tokens.first().is_some_and(|token| token.is("OR")) {
                    self.tokens = self.tokens.get(2..).unwrap_or(&[]);
                }
                self.named(&format!("{verb} into"))
            }
            "update" => {
                if self.tokens.first().is_some_and(|token| token.is("OR")) {
                    self.tokens = self.tokens.get(2..).unwrap_or(&[]);
                }
                self.named(&verb)
            }
            "delete" => self.named("delete from"),
            "truncate" | "lock" | "copy" => self.named(&verb),
            "vacuum" | "analyze" | "cluster" | "optimize" => {
                self.skip(&["FULL", "FREEZE", "VERBOSE", "ANALYZE"]);
                if self.tokens.first().is_some_and(|token| token.is_sign('(')) {
                    let end = self.tokens.iter().position(|token| token.is_sign(')'));
                    self.tokens = end.and_then(|end| self.tokens.get(end + 1..)).unwrap_or(&[]);
                }
                self.named(&verb)
            }
            "refresh" => {
                self.skip(&["MATERIALIZED", "VIEW"]);
                self.named("refresh materialized view")
            }
            "with" => self.behind_with(),
            "call" => (self.named(&verb).0, None),
            _ => (verb, None),
        }
    }

    /// `CREATE`, `ALTER`, `DROP` and their like.
    fn definition(mut self, verb: &str) -> (String, Option<String>) {
        self.skip(&ADJECTIVES);
        // COMMENT ON.
        self.skip(&["ON"]);
        if self.tokens.first().is_some_and(|token| token.is_any(&["DEFINER", "ALGORITHM", "SQL"])) {
            // MySQL: `DEFINER = user@host`, `ALGORITHM = MERGE`, `SQL SECURITY INVOKER`, in front of the kind.
            let kind = ["VIEW", "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT"];
            let at = self.tokens.iter().position(|token| token.is_any(&kind));
            self.tokens = at.and_then(|at| self.tokens.get(at..)).unwrap_or(&[]);
        }
        let Some(mut kind) = self.word() else { return (verb.to_owned(), None) };
        if DOUBLE.contains(&&*kind) || self.is_event_trigger(&kind) {
            kind = match self.word() {
                Some(second) => format!("{kind} {second}"),
                None => kind,
            };
        }
        self.skip(&["CONCURRENTLY", "IF", "NOT", "EXISTS", "ONLY"]);
        let names_none = self.tokens.first().is_some_and(|token| token.is("ON"));
        let name = if names_none { None } else { self.name() };
        let table = match &*kind {
            "table" | "view" | "materialized view" | "foreign table" => name.clone(),
            "index" | "trigger" | "policy" | "rule" => self.behind_on(),
            _ => None,
        };
        let what = match (&name, &table) {
            (Some(name), _) => format!("{verb} {kind} {name}"),
            (None, Some(table)) => format!("{verb} {kind} on {table}"),
            (None, None) => format!("{verb} {kind}"),
        };
        (what, table)
    }

    fn is_event_trigger(&self, kind: &str) -> bool {
        kind == "event" && self.tokens.first().is_some_and(|token| token.is("TRIGGER"))
    }

    fn behind_on(mut self) -> Option<String> {
        let at = self.tokens.iter().position(|token| token.is("ON"))?;
        self.tokens = self.tokens.get(at + 1..)?;
        self.skip(&["ONLY"]);
        self.name()
    }

    /// The statement after `WITH …`: the first verb outside of parentheses.
    fn behind_with(mut self) -> (String, Option<String>) {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate() {
            if token.is_sign('(') {
                depth += 1;
            } else if token.is_sign(')') {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && token.is_any(&["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"]) {
                self.tokens = self.tokens.get(index..).unwrap_or(&[]);
                return self.statement();
            }
        }
        ("with".to_owned(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_without_its_values() {
        let cases = [
            ("create table a (b int)", "create table a", Some("a")),
            ("CREATE TEMP TABLE IF NOT EXISTS s.\"A b\" (b int)", "create table s.A b", Some("s.A b")),
            ("CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.a (b)", "create index i", Some("s.a")),
            ("CREATE INDEX ON a (b)", "create index on a", Some("a")),
            ("CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ secret $$", "create function f", None),
            ("CREATE DEFINER=`root`@`%` TRIGGER t BEFORE INSERT ON `a` FOR EACH ROW x", "create trigger t", Some("a")),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", "create materialized view v", Some("v")),
            ("CREATE EVENT TRIGGER t ON ddl_command_end", "create event trigger t", None),
            ("ALTER TABLE ONLY a ADD b int DEFAULT 7", "alter table a", Some("a")),
            ("DROP INDEX CONCURRENTLY IF EXISTS i", "drop index i", None),
            ("/* x */ INSERT INTO a VALUES ('secret')", "insert into a", Some("a")),
            ("INSERT OR IGNORE INTO a VALUES (1)", "insert into a", Some("a")),
            ("UPDATE a SET b = 'secret'", "update a", Some("a")),
            ("DELETE FROM a WHERE b = 1", "delete from a", Some("a")),
            ("TRUNCATE TABLE a, b", "truncate a", Some("a")),
            ("WITH x AS (SELECT 1) UPDATE a SET b = 1", "update a", Some("a")),
            ("VACUUM (FULL, ANALYZE) a", "vacuum a", Some("a")),
            ("REINDEX TABLE CONCURRENTLY a", "reindex table a", Some("a")),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "refresh materialized view v", Some("v")),
            ("COMMENT ON TABLE a IS 'secret'", "comment table a", Some("a")),
            ("ALTER USER bob PASSWORD 'secret'", "alter user bob", None),
            ("SELECT 'secret'", "select", None),
            ("GRANT ALL ON a TO b", "grant", None),
            ("DO $$ secret $$", "do", None),
            ("SET x = 'secret'", "set", None),
            ("'secret'", "statement", None),
            ("", "statement", None),
        ];
        for (text, expected, table) in cases {
            assert_eq!((&*what(text), place(text).as_deref()), (expected, table), "{text}");
        }
    }
}
