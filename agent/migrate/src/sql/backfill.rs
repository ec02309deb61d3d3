//! The SQL of a backfill, for each dialect: where a batch ends, its update, how many rows there are. Batches are ranges of
//! the key; that a row is changed once follows from the ranges not meeting, whatever their size.

use super::lex::{Kind, Lexer, Token};
use super::{Backfill, Dialect};

/// A column of the key, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// The column, quoted.
    pub column: String,
    /// Gives its value as the text that the ledger keeps: `"id"::text`.
    pub read: String,
    /// What is put around a parameter to make the value of the text again: `CAST(`, ` AS bigint)`.
    pub bind: (String, String),
}

/// Writes the statements of a backfill.
#[derive(Debug, Clone)]
pub struct Writer<'a> {
    backfill: &'a Backfill,
    dialect: Dialect,
    key: Vec<KeyColumn>,
}

impl<'a> Writer<'a> {
    /// For a backfill whose key's columns are these.
    #[must_use]
    pub const fn new(backfill: &'a Backfill, dialect: Dialect, key: Vec<KeyColumn>) -> Self {
        Self { backfill, dialect, key }
    }

    /// The key of the last row of the next batch, each column as text; no row when there is none. Parameters: of `after`,
    /// the key before it.
    #[must_use]
    pub fn end_of_batch(&self, after: bool, rows: u64) -> String {
        let columns: Vec<_> = self.key.iter().map(|key| key.column.as_str()).collect();
        // Of the batch: what is read has the columns' names too, and is text.
        let backwards: Vec<_> = columns.iter().map(|column| format!("batch.{column} DESC")).collect();
        let read: Vec<_> = self.key.iter().map(|key| key.read.as_str()).collect();
        let columns = columns.join(", ");
        format!(
            "SELECT {read} FROM (SELECT {columns} FROM {table}{filter} ORDER BY {columns} LIMIT {rows}) batch \
             ORDER BY {backwards} LIMIT 1",
            read = read.join(", "),
            table = self.table(),
            filter = self.filter(after, false),
            backwards = backwards.join(", "),
        )
    }

    /// Changes the rows of a batch. Parameters: of `after` the key before it, then the key of its last row.
    #[must_use]
    pub fn update(&self, after: bool) -> String {
        format!("UPDATE {} SET {}\n{}", self.table(), self.backfill.set, self.filter(after, true))
    }

    /// How many rows are still to be changed. Parameters: of `after`, the key before them.
    #[must_use]
    pub fn count(&self, after: bool) -> String {
        format!("SELECT count(*) FROM {}{}", self.table(), self.filter(after, false))
    }

    /// The rows that [`Writer::count`] counts, one each: for planners that estimate how many a query gives.
    #[must_use]
    pub fn rows(&self, after: bool) -> String {
        format!("SELECT 1 FROM {}{}", self.table(), self.filter(after, false))
    }

    /// Reads all of the first batch and gives the number of its rows: to see how long it takes.
    #[must_use]
    pub fn sample(&self, rows: u64) -> String {
        let columns: Vec<_> = self.key.iter().map(|key| key.column.as_str()).collect();
        let read = match self.dialect {
            // Whole rows, so that their width counts.
            Dialect::Postgresql => "count(hashtext(batch::text))",
            Dialect::Mysql | Dialect::Sqlite => "count(*)",
        };
        format!(
            "SELECT {read} FROM (SELECT * FROM {}{} ORDER BY {} LIMIT {rows}) batch",
            self.table(),
            self.filter(false, false),
            columns.join(", "),
        )
    }

    /// Whether there are rows that no batch would reach, their key being NULL; none where no column of it can be.
    #[must_use]
    pub fn without_key(&self, nullable: &[String]) -> Option<String> {
        let (first, rest) = nullable.split_first()?;
        let nulls = rest.iter().fold(format!("{first} IS NULL"), |all, column| format!("{all} OR {column} IS NULL"));
        let filter = self.backfill.filter.as_ref().map(|filter| format!(" AND (\n{filter}\n)")).unwrap_or_default();
        Some(format!("SELECT 1 FROM {} WHERE ({nulls}){filter} LIMIT 1", self.table()))
    }

    /// The table, quoted.
    #[must_use]
    pub fn table(&self) -> String {
        quote_path(&self.backfill.table, self.dialect)
    }

    fn filter(&self, after: bool, upto: bool) -> String {
        let keys = self.key.len();
        let mut all = Vec::new();
        if after {
            all.push(self.compare(">", 0));
        }
        if upto {
            all.push(self.compare("<=", if after { keys } else { 0 }));
        }
        if let Some(filter) = &self.backfill.filter {
            // On lines of its own: it may end in a comment.
            all.push(format!("(\n{filter}\n)"));
        }
        if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
    }

    /// The key against as many parameters from `first` on.
    fn compare(&self, sign: &str, first: usize) -> String {
        let value = |index: usize| {
            let name = parameter(first + index, self.dialect);
            self.key.get(index).map_or(name.clone(), |key| format!("{}{name}{}", key.bind.0, key.bind.1))
        };
        let columns = || self.key.iter().map(|key| key.column.as_str());
        if self.key.len() == 1 || self.dialect != Dialect::Mysql {
            let values: Vec<_> = (0..self.key.len()).map(value).collect();
            return format!("({}) {sign} ({})", columns().collect::<Vec<_>>().join(", "), values.join(", "));
        }
        // MySQL reads the whole index for rows compared as rows.
        let strict = sign.trim_end_matches('=');
        let last = self.key.len() - 1;
        let alternatives: Vec<_> = (0..=last)
            .map(|depth| {
                let mut parts: Vec<_> =
                    columns().take(depth).enumerate().map(|(i, column)| format!("{column} = {}", value(i))).collect();
                let sign = if depth == last { sign } else { strict };
                parts.extend(columns().nth(depth).map(|column| format!("{column} {sign} {}", value(depth))));
                parts.join(" AND ")
            })
            .collect();
        format!("(({}))", alternatives.join(") OR ("))
    }
}

/// The name of a parameter, counted from 0; the same one can stand twice in a statement.
#[must_use]
pub fn parameter(index: usize, dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgresql => format!("${}", index + 1),
        Dialect::Mysql => format!(":k{index}"),
        Dialect::Sqlite => format!("?{}", index + 1),
    }
}

/// A name quoted.
///
/// ```
/// use whimbrel_migrate::sql::{Dialect, backfill::quote};
/// assert_eq!(quote("a\"b", Dialect::Postgresql), "\"a\"\"b\"");
/// assert_eq!(quote("a`b", Dialect::Mysql), "`a``b`");
/// ```
#[must_use]
pub fn quote(name: &str, dialect: Dialect) -> String {
    let sign = if dialect == Dialect::Mysql { '`' } else { '"' };
    format!("{sign}{}{sign}", name.replace(sign, &format!("{sign}{sign}")))
}

/// The parts of a name with dots, unquoted; a part with a dot in it is written in quotes.
#[must_use]
pub fn path(name: &str, dialect: Dialect) -> Vec<String> {
    let mut parts = vec![String::new()];
    for token in Lexer::new(name.trim(), dialect) {
        if token.is_sign('.') {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(&unquoted(&token));
        }
    }
    parts
}

fn unquoted(token: &Token<'_>) -> String {
    let mut signs = token.text.chars();
    match (token.kind, signs.next(), signs.next_back()) {
        (Kind::Name, Some(sign), Some(_)) => {
            let inner = signs.as_str();
            if sign == '[' { inner.to_owned() } else { inner.replace(&format!("{sign}{sign}"), &String::from(sign)) }
        }
        _ => token.text.to_owned(),
    }
}

/// A name with dots, each part quoted.
#[must_use]
pub fn quote_path(name: &str, dialect: Dialect) -> String {
    path(name, dialect).iter().map(|part| quote(part, dialect)).collect::<Vec<_>>().join(".")
}

/// What is wrong with a backfill, each with what mends it.
#[must_use]
pub fn faults(backfill: &Backfill, dialect: Dialect) -> Vec<(String, &'static str)> {
    let mut faults = Vec::new();
    if backfill.table.trim().is_empty() {
        faults.push(("the backfill names no table".to_owned(), "write `table:`"));
    }
    if backfill.key.is_empty() || backfill.key.iter().any(|column| column.trim().is_empty()) {
        faults.push(("the backfill names no key".to_owned(), "write `key:` with the columns of the primary key"));
    }
    if backfill.batch == Some(0) {
        faults.push(("a batch of no rows never ends".to_owned(), "write a `batch` of 1 or more, or leave it out"));
    }
    let remedy = "write it as it stands in an UPDATE, without the words SET and WHERE";
    let fragments = [("set", Some(&backfill.set)), ("where", backfill.filter.as_ref())];
    for (what, text) in fragments.into_iter().filter_map(|(what, text)| Some((what, text?))) {
        if let Some(message) = fragment_fault(text, dialect) {
            faults.push((format!("`{what}` {message}"), remedy));
        }
    }
    let assigned = assigned(&backfill.set, dialect);
    let key = |name: &String| backfill.key.iter().any(|key| key.eq_ignore_ascii_case(name));
    if let Some(column) = assigned.iter().find(|column| key(column)) {
        faults.push((
            format!("`set` changes `{column}`, by which the batches follow each other"),
            "go by another key, or change it in a statement of its own",
        ));
    }
    faults
}

/// What is wrong with a part of a statement that is put into another.
#[must_use]
pub fn fragment_fault(text: &str, dialect: Dialect) -> Option<&'static str> {
    let mut depth = 0_usize;
    let mut empty = true;
    for token in Lexer::new(text, dialect) {
        if token.open {
            return Some("has a quote or comment that has no end");
        }
        if token.is_sign(';') {
            return Some("holds a semicolon");
        }
        if token.is_sign('(') {
            depth += 1;
        } else if token.is_sign(')') {
            let Some(less) = depth.checked_sub(1) else { return Some("closes a parenthesis that it did not open") };
            depth = less;
        }
        empty &= token.is_blank();
    }
    if empty {
        return Some("is empty");
    }
    (depth > 0).then_some("opens a parenthesis that it does not close")
}

/// The columns that are assigned to.
fn assigned(set: &str, dialect: Dialect) -> Vec<String> {
    let (mut depth, mut first) = (0_usize, true);
    let mut columns = Vec::new();
    let mut list = false;
    for token in Lexer::new(set, dialect).filter(|token| !token.is_blank()) {
        if token.is_sign('(') {
            // `(a, b) = (1, 2)`
            list |= first && depth == 0;
            depth += 1;
        } else if token.is_sign(')') {
            depth = depth.saturating_sub(1);
            list &= depth > 0;
        } else if matches!(token.kind, Kind::Word | Kind::Name) && (first && depth == 0 || list && depth == 1) {
            columns.push(unquoted(&token));
        }
        first = depth == 0 && token.is_sign(',');
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Mysql, Postgresql, Sqlite};

    fn backfill(key: &[&str], set: &str, filter: Option<&str>) -> Backfill {
        Backfill {
            table: "shop.orders".into(),
            key: key.iter().map(|&key| key.into()).collect(),
            set: set.into(),
            filter: filter.map(Into::into),
            batch: None,
        }
    }

    fn key(names: &[&str], dialect: Dialect) -> Vec<KeyColumn> {
        let column = |name: &&str| {
            let column = quote(name, dialect);
            KeyColumn { read: format!("{column}::text"), column, bind: ("CAST(".into(), " AS bigint)".into()) }
        };
        names.iter().map(column).collect()
    }

    #[test]
    fn a_batch_is_a_range_of_the_key() {
        let one = backfill(&["id"], "a = 1", Some("a IS NULL -- x"));
        let writer = Writer::new(&one, Postgresql, key(&["id"], Postgresql));
        assert_eq!(
            writer.end_of_batch(true, 5),
            "SELECT \"id\"::text FROM (SELECT \"id\" FROM \"shop\".\"orders\" WHERE (\"id\") > (CAST($1 AS bigint)) AND \
             (\na IS NULL -- x\n) ORDER BY \"id\" LIMIT 5) batch ORDER BY batch.\"id\" DESC LIMIT 1"
        );
        assert_eq!(
            writer.update(true),
            "UPDATE \"shop\".\"orders\" SET a = 1\n WHERE (\"id\") > (CAST($1 AS bigint)) AND (\"id\") <= \
             (CAST($2 AS bigint)) AND (\na IS NULL -- x\n)"
        );
        let all = backfill(&["id"], "a = 1", None);
        let writer = Writer::new(&all, Sqlite, key(&["id"], Sqlite));
        assert_eq!(writer.count(false), "SELECT count(*) FROM \"shop\".\"orders\"");
        assert!(writer.update(false).ends_with("WHERE (\"id\") <= (CAST(?1 AS bigint))"));
        assert_eq!(writer.without_key(&[]), None);
    }

    #[test]
    fn mysql_compares_keys_column_by_column() {
        let two = backfill(&["a", "b"], "c = 1", None);
        let writer = Writer::new(&two, Mysql, key(&["a", "b"], Mysql));
        let expected = "WHERE ((`a` > CAST(:k0 AS bigint)) OR (`a` = CAST(:k0 AS bigint) AND `b` > CAST(:k1 AS bigint))) AND \
            ((`a` < CAST(:k2 AS bigint)) OR (`a` = CAST(:k2 AS bigint) AND `b` <= CAST(:k3 AS bigint)))";
        assert!(writer.update(true).ends_with(expected), "{}", writer.update(true));
    }

    #[test]
    fn names_are_quoted_part_by_part() {
        for (name, dialect, expected) in [
            ("orders", Postgresql, "\"orders\""),
            ("Shop.Orders", Postgresql, "\"Shop\".\"Orders\""),
            ("\"a.b\".\"c\"\"d\"", Postgresql, "\"a.b\".\"c\"\"d\""),
            ("shop.`a``b`", Mysql, "`shop`.`a``b`"),
            ("[a.b].c", Sqlite, "\"a.b\".\"c\""),
            ("a-b c", Sqlite, "\"a-b c\""),
        ] {
            assert_eq!(quote_path(name, dialect), expected);
        }
    }

    #[test]
    fn what_a_backfill_must_not_do_is_told() {
        let wrong = [
            backfill(&[], "a = 1", None),
            backfill(&["id"], "", None),
            backfill(&["id"], "a = 1;", None),
            backfill(&["id"], "a = ')", None),
            backfill(&["id"], "a = 1", Some("b)")),
            backfill(&["id"], "a = (1", None),
            backfill(&["id"], "a = 1, ID = 2", None),
            backfill(&["id"], "a = f(b, c), \"id\" = 2", None),
            backfill(&["id"], "(a, id) = (1, 2)", None),
        ];
        for one in wrong {
            assert_eq!(faults(&one, Postgresql).len(), 1, "{one:?}");
        }
        for set in ["a = f(b, id), c = id", "a = id", "(a, b) = (SELECT id, id)", "a = '; id ='"] {
            assert_eq!(faults(&backfill(&["id"], set, Some("id > 3")), Postgresql), [], "{set}");
        }
    }
}
