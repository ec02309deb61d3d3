//! How the servers run a statement: what can share a transaction, what commits by itself. Only the first words are looked at.

use crate::sql::lex::{Kind, Lexer, Token};
use crate::sql::{Dialect, Script, Step};

/// How a statement is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It changes rows, and can be rolled back.
    Rows,
    /// It changes the session alone.
    Session,
    /// It changes the session alone, and cannot be in a transaction.
    SessionApart,
    /// It defines something, and commits by itself.
    Definition,
    /// It runs what others wrote, which may do either.
    Opaque,
    /// It is left out: it would lock the ledger away, and guards nothing that the migration needs.
    LeftOut,
}

/// Looks at a statement.
pub(super) fn manner(text: &str) -> Manner {
    let mut words = words(text).into_iter();
    let mut word = || words.next().unwrap_or_default();
    match word().as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "SELECT" | "WITH" | "VALUES" | "DO" | "(" | "EXPLAIN" | "SHOW"
        | "LOAD" => Manner::Rows,
        "USE" => Manner::Session,
        "SET" => {
            let mut name = word();
            if matches!(&*name, "SESSION" | "LOCAL" | "GLOBAL" | "@" | "PERSIST") {
                name = word();
            }
            match &*name {
                "TRANSACTION" | "AUTOCOMMIT" | "SQL_LOG_BIN" => Manner::SessionApart,
                "PASSWORD" | "DEFAULT" => Manner::Definition,
                _ => Manner::Session,
            }
        }
        "CALL" | "BEGIN" | "EXECUTE" | "PREPARE" | "DEALLOCATE" => Manner::Opaque,
        "LOCK" | "UNLOCK" => Manner::LeftOut,
        _ => Manner::Definition,
    }
}

/// Whether it is several statements in one, of which a part can be carried out alone.
pub(super) fn is_several(text: &str) -> bool {
    let words = words(text);
    let head: Vec<_> = words.iter().map(String::as_str).collect();
    matches!(
        head.as_slice(),
        ["DROP", "TABLE" | "VIEW" | "TABLES", ..] | ["DROP", "TEMPORARY", ..] | ["RENAME", "TABLE" | "TABLES", ..]
    ) && head.contains(&",")
}

/// Whether it makes, changes or drops a database.
pub(super) fn is_of_databases(text: &str) -> bool {
    words(text).iter().take(4).any(|word| matches!(word.as_str(), "DATABASE" | "SCHEMA"))
}

/// The words in upper case, of what the server reads in `/*! … */` too.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for token in Lexer::new(text, Dialect::Mysql).filter(|token| !token.is_blank()) {
        match inner(&token) {
            Some(inner) => words.extend(self::words(inner)),
            None => words.push(token.text.to_ascii_uppercase()),
        }
        // The head is enough, but for lists of names.
        if words.len() > 200 {
            break;
        }
    }
    words
}

fn inner<'a>(token: &Token<'a>) -> Option<&'a str> {
    if token.kind != Kind::Code {
        return None;
    }
    let text = token.text.strip_prefix("/*")?.strip_suffix("*/")?;
    let text = text.strip_prefix('M').unwrap_or(text).strip_prefix('!')?;
    Some(text.trim_start_matches(|sign: char| sign.is_ascii_digit()))
}

/// Steps that are run in one go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// In one transaction, from this step up to before that.
    Together(usize, usize),
    /// Outside of a transaction, and nothing but the session is changed.
    Apart(usize),
    /// One that commits by itself.
    Definition(usize),
    /// One that may do either.
    Opaque(usize),
    /// In batches.
    Batches(usize),
}

/// The steps from `from` on.
pub(super) fn stretches(script: &Script, from: usize) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    // Whether the stretch that is open changes rows already.
    let mut rows = false;
    for (index, step) in script.steps.iter().enumerate().skip(from) {
        let manner = match step {
            Step::Backfill(_) => {
                stretches.push(Stretch::Batches(index));
                continue;
            }
            Step::Statement(statement) => manner(&statement.text),
        };
        match manner {
            Manner::SessionApart => stretches.push(Stretch::Apart(index)),
            Manner::Definition => stretches.push(Stretch::Definition(index)),
            Manner::Opaque => stretches.push(Stretch::Opaque(index)),
            Manner::Rows | Manner::Session | Manner::LeftOut => {
                let is_rows = manner == Manner::Rows;
                match stretches.last_mut() {
                    Some(Stretch::Together(_, to)) if script.transaction || !(rows && is_rows) => {
                        *to = index + 1;
                        rows |= is_rows;
                    }
                    _ => {
                        stretches.push(Stretch::Together(index, index + 1));
                        rows = is_rows;
                    }
                }
            }
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::script;

    #[test]
    fn first_words_say_how_a_statement_is_run() {
        for (text, expected) in [
            ("insert into a values (1)", Manner::Rows),
            ("WITH x AS (SELECT 1) DELETE FROM a", Manner::Rows),
            ("(SELECT 1)", Manner::Rows),
            ("SET @a = 1", Manner::Session),
            ("SET NAMES utf8mb4", Manner::Session),
            ("/*!40014 SET FOREIGN_KEY_CHECKS=0 */", Manner::Session),
            ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", Manner::SessionApart),
            ("SET autocommit = 0", Manner::SessionApart),
            ("SET PASSWORD = 'x'", Manner::Definition),
            ("USE shop", Manner::Session),
            ("CREATE TABLE a (b int)", Manner::Definition),
            ("/*!50003 CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = 1 */", Manner::Definition),
            ("TRUNCATE a", Manner::Definition),
            ("GRANT ALL ON a TO b", Manner::Definition),
            ("CALL p()", Manner::Opaque),
            ("BEGIN NOT ATOMIC SELECT 1; END", Manner::Opaque),
            ("LOCK TABLES a WRITE", Manner::LeftOut),
            ("UNLOCK TABLES", Manner::LeftOut),
        ] {
            assert_eq!(manner(text), expected, "{text}");
        }
        for (text, several) in [
            ("DROP TABLE a", false),
            ("DROP TABLE IF EXISTS a, b", true),
            ("RENAME TABLE a TO b, b TO c", true),
            ("ALTER TABLE a ADD b int, ADD c int", false),
        ] {
            assert_eq!(is_several(text), several, "{text}");
        }
        assert!(is_of_databases("CREATE OR REPLACE DATABASE a") && !is_of_databases("CREATE TABLE a (schema_id int)"));
    }

    #[test]
    fn what_can_share_a_transaction_does() {
        use Stretch::{Apart, Definition, Opaque, Together};
        let told = |text: &str, from| stretches(&script::parse(text, Dialect::Mysql).unwrap(), from);
        let text = "SET @a = 1; INSERT INTO a VALUES (@a); UPDATE a SET b = 1; CREATE TABLE c (d int); DELETE FROM a; CALL p();";
        assert_eq!(told(text, 0), [Together(0, 3), Definition(3), Together(4, 5), Opaque(5)]);
        assert_eq!(told(text, 2), [Together(2, 3), Definition(3), Together(4, 5), Opaque(5)]);
        let apart =
            "-- whimbrel: no-transaction\nSET @a = 1; DELETE FROM a; SET @b = 2; DELETE FROM b; SET autocommit = 1;";
        assert_eq!(told(apart, 0), [Together(0, 3), Together(3, 4), Apart(4)]);
        assert_eq!(told("", 0), []);
    }
}
