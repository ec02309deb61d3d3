//! The query that counts what a statement would touch, made of the statement itself: for those who may only read, and so
//! cannot even have it explained.

use super::Dialect;
use super::lex::{Lexer, Token};

/// A query of the rows that an INSERT, UPDATE or DELETE would touch, for `SELECT count(*) FROM (…)`; none where the
/// statement is not simple enough to tell.
///
/// ```
/// use whimbrel_migrate::sql::{Dialect, touched::rows};
/// let query = rows("UPDATE orders o SET total = 0 WHERE o.id > 7 RETURNING id", Dialect::Postgresql);
/// assert_eq!(query.as_deref(), Some("SELECT 1 FROM orders o WHERE o.id > 7"));
/// ```
#[must_use]
pub fn rows(text: &str, dialect: Dialect) -> Option<String> {
    let mut depth = 0_usize;
    let flat: Vec<Token<'_>> = Lexer::new(text, dialect)
        .filter(|token| !token.is_blank())
        .filter(|token| {
            if token.is_sign(')') {
                depth = depth.saturating_sub(1);
            }
            let flat = depth == 0;
            if token.is_sign('(') {
                depth += 1;
            }
            flat
        })
        .collect();
    let first = flat.first()?;
    let at = |words: &[&str]| flat.iter().position(|token| token.is_any(words));
    let start = |index: usize| flat.get(index).map_or(text.len(), |token| token.start);
    let between = |from: usize, to: usize| text.get(from..to).map(str::trim);
    // What follows the rows themselves.
    let end = |from: usize| {
        let more = flat.iter().enumerate().skip(from);
        let tail = |(_, token): &(usize, &Token<'_>)| token.is_any(&["RETURNING"]);
        let conflict = flat
            .windows(2)
            .position(|pair| matches!(pair, [on, word] if on.is("ON") && word.is_any(&["CONFLICT", "DUPLICATE"])));
        let returning = more.clone().find(tail).map(|(index, _)| index);
        [returning, conflict].into_iter().flatten().min().map_or(text.len(), start)
    };
    if first.is("UPDATE") {
        let set = at(&["SET"])?;
        if at(&["FROM", "JOIN", "ORDER", "LIMIT"]).is_some() {
            return None;
        }
        let table = between(start(1), start(set))?;
        return Some(select(table, at(&["WHERE"]).and_then(|index| between(start(index), end(index)))));
    }
    if first.is("DELETE") {
        let from = at(&["FROM"])?;
        if from != 1 || at(&["USING", "JOIN", "ORDER", "LIMIT"]).is_some() {
            return None;
        }
        let filter = at(&["WHERE"]);
        let table = between(start(2), filter.map_or_else(|| end(2), start))?;
        return Some(select(table, filter.and_then(|index| between(start(index), end(index)))));
    }
    if first.is("INSERT") {
        let query = at(&["SELECT", "VALUES", "TABLE"])?;
        let with = at(&["WITH"]).filter(|with| *with < query).unwrap_or(query);
        return between(start(with), end(query)).map(str::to_owned);
    }
    None
}

fn select(table: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| format!(" {filter}")).unwrap_or_default();
    format!("SELECT 1 FROM {table}{filter}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rows_of_simple_statements_can_be_queried() {
        let cases = [
            ("UPDATE a SET b = 1", Some("SELECT 1 FROM a")),
            (
                "UPDATE ONLY s.\"A\" AS x SET b = (SELECT 1 FROM c WHERE d) WHERE x.b IS NULL",
                Some("SELECT 1 FROM ONLY s.\"A\" AS x WHERE x.b IS NULL"),
            ),
            ("UPDATE a SET b = c.b FROM c WHERE a.id = c.id", None),
            ("DELETE FROM a WHERE b = ')' RETURNING b", Some("SELECT 1 FROM a WHERE b = ')'")),
            ("DELETE FROM a USING b WHERE a.id = b.id", None),
            ("DELETE FROM a", Some("SELECT 1 FROM a")),
            ("INSERT INTO a (b) SELECT b FROM c ON CONFLICT DO NOTHING", Some("SELECT b FROM c")),
            ("INSERT INTO a VALUES (1), (2)", Some("VALUES (1), (2)")),
            (
                "INSERT INTO a WITH x AS (SELECT 1) SELECT * FROM x RETURNING b",
                Some("WITH x AS (SELECT 1) SELECT * FROM x"),
            ),
            ("INSERT INTO a DEFAULT VALUES", Some("VALUES")),
            ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", None),
            ("CREATE TABLE a (b int)", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rows(text, Dialect::Postgresql).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at(text in r"(UPDATE |DELETE FROM |INSERT |SET |WHERE |[a-z('\)é ]){0,20}") {
            let _ = rows(&text, Dialect::Postgresql);
        }
    }
}
