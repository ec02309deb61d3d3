//! What a DDL statement costs others: the lock it takes, and whether it reads or rewrites a table while it has it. By the
//! words of the statement, after the tables of PostgreSQL's manual ("Explicit Locking", "ALTER TABLE").

use crate::sql::Dialect;
use crate::sql::lex::{Lexer, Token};

/// Locks on a table, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    /// `SHARE UPDATE EXCLUSIVE`.
    ShareUpdateExclusive,
    /// `SHARE`.
    Share,
    /// `SHARE ROW EXCLUSIVE`.
    ShareRowExclusive,
    /// `EXCLUSIVE`.
    Exclusive,
    /// `ACCESS EXCLUSIVE`.
    AccessExclusive,
}

impl Lock {
    /// The lock and whom it keeps out, for people.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE: others read and write",
            Self::Share => "SHARE: others read, and wait to write",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE: others read, and wait to write",
            Self::Exclusive => "EXCLUSIVE: others read, and wait to write",
            Self::AccessExclusive => "ACCESS EXCLUSIVE: others wait to read and to write",
        }
    }
}

/// What is done with the table's rows, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Nothing.
    Nothing,
    /// They are read.
    Read,
    /// They are read and an index is made.
    Index,
    /// They are written anew, with all indexes.
    Rewrite,
}

/// What a statement does to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) lock: Lock,
    pub(super) work: Work,
}

const fn effect(lock: Lock, work: Work) -> Effect {
    Effect { lock, work }
}

/// The effect of a statement; none: it changes no table that was there.
pub(super) fn of(text: &str) -> Option<Effect> {
    let tokens: Vec<_> = Lexer::new(text, Dialect::Postgresql).filter(|token| !token.is_blank()).collect();
    let begins =
        |words: &[&str]| tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word));
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let head = |word: &str| tokens.iter().take(4).any(|token| token.is(word));
    if begins(&["ALTER", "TABLE"]) {
        return Some(alter(&tokens));
    }
    if begins(&["CREATE", "INDEX"]) || begins(&["CREATE", "UNIQUE", "INDEX"]) {
        let lock = if has("CONCURRENTLY") { Lock::ShareUpdateExclusive } else { Lock::Share };
        return Some(effect(lock, Work::Index));
    }
    if begins(&["DROP", "INDEX"]) {
        let lock = if has("CONCURRENTLY") { Lock::ShareUpdateExclusive } else { Lock::AccessExclusive };
        return Some(effect(lock, Work::Nothing));
    }
    if begins(&["DROP", "TABLE"])
        || begins(&["TRUNCATE"])
        || begins(&["DROP", "TRIGGER"])
        || begins(&["DROP", "POLICY"])
    {
        return Some(effect(Lock::AccessExclusive, Work::Nothing));
    }
    if begins(&["CREATE"]) && head("TRIGGER") && !head("EVENT") {
        return Some(effect(Lock::ShareRowExclusive, Work::Nothing));
    }
    if begins(&["VACUUM"]) {
        let full = tokens.iter().take(8).any(|token| token.is("FULL"));
        return Some(if full {
            effect(Lock::AccessExclusive, Work::Rewrite)
        } else {
            effect(Lock::ShareUpdateExclusive, Work::Read)
        });
    }
    if begins(&["CLUSTER"]) {
        return Some(effect(Lock::AccessExclusive, Work::Rewrite));
    }
    if begins(&["ANALYZE"]) {
        return Some(effect(Lock::ShareUpdateExclusive, Work::Nothing));
    }
    if begins(&["REINDEX"]) {
        let lock = if has("CONCURRENTLY") { Lock::ShareUpdateExclusive } else { Lock::Share };
        return Some(effect(lock, Work::Index));
    }
    if begins(&["REFRESH", "MATERIALIZED", "VIEW"]) {
        let lock = if has("CONCURRENTLY") { Lock::Exclusive } else { Lock::AccessExclusive };
        return Some(effect(lock, Work::Rewrite));
    }
    None
}

/// Each action of an `ALTER TABLE`, taken together.
fn alter(tokens: &[Token<'_>]) -> Effect {
    let mut depth = 0_usize;
    let actions = tokens.split(|token| {
        if token.is_sign('(') {
            depth += 1;
        } else if token.is_sign(')') {
            depth = depth.saturating_sub(1);
        }
        depth == 0 && token.is_sign(',')
    });
    let mut all = effect(Lock::ShareUpdateExclusive, Work::Nothing);
    for (index, action) in actions.enumerate() {
        let action = if index == 0 { behind_name(action) } else { action };
        let one = self::action(action);
        all = effect(all.lock.max(one.lock), all.work.max(one.work));
    }
    all
}

/// What stands behind `ALTER TABLE [IF EXISTS] [ONLY] name [*]`.
fn behind_name<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let verbs = [
        "ADD", "ALTER", "DROP", "SET", "RESET", "RENAME", "VALIDATE", "ENABLE", "DISABLE", "ATTACH", "DETACH", "OWNER",
        "CLUSTER", "INHERIT", "NO", "FORCE", "REPLICA", "OF", "NOT",
    ];
    let at = tokens.iter().skip(2).position(|token| token.is_any(&verbs)).map_or(tokens.len(), |at| at + 2);
    tokens.get(at..).unwrap_or(&[])
}

fn action(tokens: &[Token<'_>]) -> Effect {
    use Lock::{AccessExclusive, ShareRowExclusive, ShareUpdateExclusive};
    let begins =
        |words: &[&str]| tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word));
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let pair = |one: &str, other: &str| {
        tokens.windows(2).any(|pair| matches!(pair, [first, second] if first.is(one) && second.is(other)))
    };
    let constraint = || {
        let read = if pair("NOT", "VALID") { Work::Nothing } else { Work::Read };
        if pair("FOREIGN", "KEY") || has("REFERENCES") {
            effect(ShareRowExclusive, read)
        } else if has("CHECK") {
            effect(AccessExclusive, read)
        } else if pair("USING", "INDEX") {
            effect(AccessExclusive, Work::Nothing)
        } else {
            effect(AccessExclusive, Work::Index)
        }
    };
    let kinds = ["CONSTRAINT", "CHECK", "FOREIGN", "UNIQUE", "PRIMARY", "EXCLUDE"];
    if begins(&["ADD"]) && tokens.get(1).is_some_and(|second| second.is_any(&kinds)) {
        return constraint();
    }
    if begins(&["ADD"]) {
        return effect(AccessExclusive, added(tokens));
    }
    if begins(&["ALTER"]) {
        return match () {
            () if has("TYPE") => effect(AccessExclusive, Work::Rewrite),
            () if pair("SET", "NOT") => effect(AccessExclusive, Work::Read),
            () if has("STATISTICS") => effect(ShareUpdateExclusive, Work::Nothing),
            () => effect(AccessExclusive, Work::Nothing),
        };
    }
    if begins(&["VALIDATE"]) {
        return effect(ShareUpdateExclusive, Work::Read);
    }
    if begins(&["SET", "LOGGED"])
        || begins(&["SET", "UNLOGGED"])
        || begins(&["SET", "TABLESPACE"])
        || begins(&["SET", "ACCESS"])
    {
        return effect(AccessExclusive, Work::Rewrite);
    }
    let reloptions =
        (begins(&["SET"]) || begins(&["RESET"])) && tokens.get(1).is_some_and(|second| second.is_sign('('));
    if reloptions || begins(&["CLUSTER"]) || begins(&["SET", "WITHOUT", "CLUSTER"]) {
        return effect(ShareUpdateExclusive, Work::Nothing);
    }
    if (begins(&["ENABLE"]) || begins(&["DISABLE"])) && has("TRIGGER") {
        return effect(ShareRowExclusive, Work::Nothing);
    }
    if begins(&["ATTACH"]) || begins(&["DETACH"]) && has("CONCURRENTLY") {
        return effect(ShareUpdateExclusive, Work::Nothing);
    }
    effect(AccessExclusive, Work::Nothing)
}

/// What a new column does to the rows there are.
fn added(tokens: &[Token<'_>]) -> Work {
    const VOLATILE: [&str; 9] = [
        "random",
        "gen_random_uuid",
        "uuid_generate_v4",
        "uuidv4",
        "uuidv7",
        "nextval",
        "clock_timestamp",
        "timeofday",
        "statement_timestamp",
    ];
    let has = |words: &[&str]| tokens.iter().any(|token| token.is_any(words));
    let default = tokens.iter().position(|token| token.is("DEFAULT"));
    let volatile =
        default.and_then(|at| tokens.get(at..)).is_some_and(|rest| rest.iter().any(|one| one.is_any(&VOLATILE)));
    let generated = has(&["GENERATED", "SERIAL", "BIGSERIAL", "SMALLSERIAL"]) && !has(&["VIRTUAL"]);
    if volatile || generated {
        Work::Rewrite
    } else if has(&["UNIQUE", "PRIMARY"]) {
        Work::Index
    } else if has(&["CHECK"]) {
        Work::Read
    } else {
        Work::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_work_are_those_of_the_manual() {
        use Lock::{AccessExclusive, Exclusive, Share, ShareRowExclusive, ShareUpdateExclusive};
        use Work::{Index, Nothing, Read, Rewrite};
        let cases = [
            ("CREATE INDEX i ON a (b)", Share, Index),
            ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (b)", ShareUpdateExclusive, Index),
            ("DROP INDEX i", AccessExclusive, Nothing),
            ("ALTER TABLE a ADD b int", AccessExclusive, Nothing),
            ("ALTER TABLE a ADD COLUMN b int DEFAULT 7 NOT NULL", AccessExclusive, Nothing),
            ("ALTER TABLE a ADD b uuid DEFAULT gen_random_uuid()", AccessExclusive, Rewrite),
            ("ALTER TABLE a ADD b bigserial", AccessExclusive, Rewrite),
            ("ALTER TABLE ONLY s.a ADD b int UNIQUE, ADD c int", AccessExclusive, Index),
            ("ALTER TABLE a ALTER b TYPE bigint", AccessExclusive, Rewrite),
            ("ALTER TABLE a ALTER COLUMN b SET NOT NULL", AccessExclusive, Read),
            ("ALTER TABLE a ALTER b SET STATISTICS 100", ShareUpdateExclusive, Nothing),
            ("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)", AccessExclusive, Read),
            ("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID", AccessExclusive, Nothing),
            ("ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (d)", ShareRowExclusive, Read),
            ("ALTER TABLE a ADD PRIMARY KEY (b)", AccessExclusive, Index),
            ("ALTER TABLE a ADD CONSTRAINT c UNIQUE USING INDEX i", AccessExclusive, Nothing),
            ("ALTER TABLE a VALIDATE CONSTRAINT c", ShareUpdateExclusive, Read),
            ("ALTER TABLE a SET (fillfactor = 70)", ShareUpdateExclusive, Nothing),
            ("ALTER TABLE a SET (fillfactor = 70), ADD b int", AccessExclusive, Nothing),
            ("ALTER TABLE a SET UNLOGGED", AccessExclusive, Rewrite),
            ("ALTER TABLE a DISABLE TRIGGER ALL", ShareRowExclusive, Nothing),
            ("ALTER TABLE a RENAME TO b", AccessExclusive, Nothing),
            ("TRUNCATE a", AccessExclusive, Nothing),
            ("CREATE OR REPLACE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()", ShareRowExclusive, Nothing),
            ("VACUUM (FULL) a", AccessExclusive, Rewrite),
            ("VACUUM a", ShareUpdateExclusive, Read),
            ("REINDEX TABLE a", Share, Index),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY a", Exclusive, Rewrite),
        ];
        for (text, lock, work) in cases {
            assert_eq!(of(text), Some(effect(lock, work)), "{text}");
        }
        for text in ["CREATE TABLE a (b int)", "UPDATE a SET b = 1", "SELECT 1", ""] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
