//! The proof at the end of a demo: what the generator knows against what the database holds, record by record and row by
//! row. Reads the database file by itself, with nothing of the agent in between.

use std::fmt;
use std::path::Path;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

use super::generator::Generated;
use super::ledger::Effect;
use super::shop::{Row, Table};

/// Differences that are shown of a check; the rest is counted.
const SHOWN: usize = 5;
/// Where the demo's customers have their mail.
const DOMAIN: &str = "@customers.example";

/// One claim and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) claim: String,
    pub(crate) differences: Vec<String>,
    pub(crate) more: usize,
}

impl Check {
    fn new(claim: impl Into<String>) -> Self {
        Self { claim: claim.into(), differences: Vec::new(), more: 0 }
    }

    fn differs(&mut self, what: impl Into<String>) {
        if self.differences.len() < SHOWN { self.differences.push(what.into()) } else { self.more += 1 }
    }

    fn expect_equal<T: PartialEq + fmt::Display>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.differs(format!("{what}: {found}, expected {expected}"));
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.holds() { "  ok  " } else { " FAIL " }, self.claim)?;
        for difference in &self.differences {
            write!(f, "\n         {difference}")?;
        }
        if self.more > 0 {
            write!(f, "\n         and {} more", self.more)?;
        }
        Ok(())
    }
}

/// Why the proof could not be made: then nothing is proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    /// The database.
    #[error("the database cannot be read")]
    Database(#[from] rusqlite::Error),
    /// The file.
    #[error("the database file cannot be read")]
    File(#[from] std::io::Error),
}

/// Makes all checks.
pub(crate) fn prove(generated: &Generated, database: &Path, pipeline: &str) -> Result<Vec<Check>, ProofError> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut checks = vec![
        generator(generated),
        effects(generated, &connection, pipeline)?,
        dead_letters(generated, &connection, pipeline)?,
    ];
    for table in Table::ALL {
        checks.push(rows(generated, &connection, table)?);
    }
    // Everything into the one file that is searched next.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(connection);
    checks.push(addresses(database)?);
    Ok(checks)
}

/// The generator's own books must be complete, or nothing below means anything.
fn generator(generated: &Generated) -> Check {
    let (nothing, apply, dead) = generated.ledger.counts();
    let mut check = Check::new(format!("the broker confirmed all {} records", nothing + apply + dead));
    check.expect_equal("records that failed", generated.ledger.faults, 0);
    check.expect_equal("offsets without a record", generated.ledger.gaps(), 0);
    check
}

type Coordinates = (String, i32, i64);

/// Every record that must be applied stands in the ledger once, and nothing else does.
fn effects(generated: &Generated, connection: &Connection, pipeline: &str) -> Result<Check, ProofError> {
    let (_, apply, _) = generated.ledger.counts();
    let mut check = Check::new(format!("all {apply} changes were applied exactly once"));
    let expected = generated.ledger.records().filter(|(.., effect)| *effect == Effect::Apply);
    let mut expected = expected.map(|(topic, partition, offset, _)| (topic.to_owned(), partition, offset)).peekable();
    let mut statement = connection.prepare(
        r#"SELECT topic, "partition", "offset" FROM whimbrel_ledger WHERE pipeline = ?1
           ORDER BY topic, "partition", "offset""#,
    )?;
    let found = statement.query_map([pipeline], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut last: Option<Coordinates> = None;
    for found in found {
        let found: Coordinates = found?;
        while let Some(missing) = expected.next_if(|next| *next < found) {
            check.differs(format!("lost: {}", at(&missing)));
        }
        if expected.next_if_eq(&found).is_none() {
            let doubled = last.as_ref() == Some(&found);
            check.differs(format!("{}: {}", if doubled { "doubled" } else { "not a change" }, at(&found)));
        }
        last = Some(found);
    }
    expected.for_each(|missing| check.differs(format!("lost: {}", at(&missing))));
    Ok(check)
}

/// The dead letters are the poison records, each with its reason.
fn dead_letters(generated: &Generated, connection: &Connection, pipeline: &str) -> Result<Check, ProofError> {
    let (.., dead) = generated.ledger.counts();
    let mut check = Check::new(format!("the dead letters are the {dead} poison records, each with its reason"));
    let mut expected = generated
        .ledger
        .records()
        .filter_map(|(topic, partition, offset, effect)| match effect {
            Effect::DeadLetter(poison) => Some(((topic.to_owned(), partition, offset), poison.reason().as_str())),
            Effect::Nothing | Effect::Apply => None,
        })
        .peekable();
    let mut statement = connection.prepare(
        r#"SELECT topic, "partition", "offset", reason FROM whimbrel_dead_letters WHERE pipeline = ?1
           ORDER BY topic, "partition", "offset""#,
    )?;
    let found = statement
        .query_map([pipeline], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get::<_, String>(3)?)))?;
    for found in found {
        let (found, reason): (Coordinates, String) = found?;
        while let Some((missing, _)) = expected.next_if(|(next, _)| *next < found) {
            check.differs(format!("not there: {}", at(&missing)));
        }
        match expected.next_if(|(next, _)| *next == found) {
            Some((_, wanted)) if wanted == reason => {}
            Some((_, wanted)) => check.differs(format!("{}: reason {reason}, expected {wanted}", at(&found))),
            None => check.differs(format!("no poison, yet a dead letter ({reason}): {}", at(&found))),
        }
    }
    expected.for_each(|(missing, _)| check.differs(format!("not there: {}", at(&missing))));
    Ok(check)
}

fn at((topic, partition, offset): &Coordinates) -> String {
    format!("{topic} [{partition}] offset {offset}")
}

/// The table holds the shop's rows, value by value, with masked addresses.
fn rows(generated: &Generated, connection: &Connection, table: Table) -> Result<Check, ProofError> {
    let mut expected = generated.shop.rows(table).peekable();
    let count = generated.shop.rows(table).count();
    let mut check = Check::new(format!("{} holds the shop's {count} rows, value by value", table.name()));
    let order = table.key().join(", ");
    let mut statement = connection.prepare(&format!("SELECT * FROM {} ORDER BY {order}", table.name()))?;
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut wanted: Vec<&String> = expected.peek().map(|row| row.keys().collect()).unwrap_or_default();
    let mut have: Vec<&String> = columns.iter().collect();
    wanted.sort();
    have.sort();
    if wanted != have {
        check.differs(format!("columns {have:?}, expected {wanted:?}"));
        return Ok(check);
    }
    let key = |row: &Row| table.key().iter().map(|name| row.get(*name).and_then(Json::as_i64)).collect::<Vec<_>>();
    let mut found = statement.query([])?;
    while let Some(found) = found.next()? {
        let mut row = Vec::with_capacity(columns.len());
        for (index, name) in columns.iter().enumerate() {
            row.push((name.as_str(), found.get::<_, Sql>(index)?));
        }
        let value = |name: &str| row.iter().find(|(column, _)| *column == name).map(|(_, value)| value);
        let found_key: Vec<Option<i64>> = table
            .key()
            .iter()
            .map(|name| match value(name) {
                Some(Sql::Integer(number)) => Some(*number),
                _ => None,
            })
            .collect();
        while let Some(missing) = expected.next_if(|next| key(next) < found_key) {
            check.differs(format!("row {} is missing", show_key(&key(missing))));
        }
        let Some(wanted) = expected.next_if(|next| key(next) == found_key) else {
            check.differs(format!("row {} should not be there", show_key(&found_key)));
            continue;
        };
        for (name, json) in wanted {
            let expected = sql_of(name, json);
            if value(name) != Some(&expected) {
                let found = value(name).map(|value| format!("{value:?}")).unwrap_or_default();
                check.differs(format!("row {}, {name}: {found}, expected {expected:?}", show_key(&found_key)));
            }
        }
    }
    expected.for_each(|missing| check.differs(format!("row {} is missing", show_key(&key(missing)))));
    Ok(check)
}

fn show_key(key: &[Option<i64>]) -> String {
    let parts: Vec<String> = key.iter().map(|part| part.map_or_else(|| "?".into(), |part| part.to_string())).collect();
    parts.join("/")
}

/// What SQLite must hold for a value of the shop.
fn sql_of(column: &str, json: &Json) -> Sql {
    match json {
        Json::Null => Sql::Null,
        Json::Bool(value) => Sql::Integer(i64::from(*value)),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Sql::Real(number.as_f64().unwrap_or_default()), Sql::Integer)
        }
        Json::String(text) if column == "email" => Sql::Text(masked(text)),
        Json::String(text) => Sql::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Sql::Text(json.to_string()),
    }
}

/// What `mask-fields` must make of an address: written here a second time, on purpose.
fn masked(email: &str) -> String {
    match email.split_once('@') {
        Some((user, domain)) => format!("{}***@{domain}", user.chars().take(1).collect::<String>()),
        None => "***".into(),
    }
}

/// No byte of the database file, free pages included, belongs to an unmasked address.
fn addresses(database: &Path) -> Result<Check, ProofError> {
    let mut check = Check::new("no unmasked e-mail address anywhere in the database file");
    let bytes = std::fs::read(database)?;
    let mut masked = 0_u64;
    for found in memchr::memmem::find_iter(&bytes, DOMAIN) {
        match found.checked_sub(3).and_then(|start| bytes.get(start..found)) {
            Some(b"***") => masked += 1,
            _ => check.differs(format!("an address at byte {found} of the file")),
        }
    }
    if masked == 0 {
        check.differs("no masked address either: nothing was searched");
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::super::poison::Poison;
    use super::super::shop::Shop;
    use super::*;

    struct World {
        generated: Generated,
        directory: tempfile::TempDir,
    }

    /// A database that is exactly right.
    fn world() -> World {
        let shop = Shop::new(3, 30, 20);
        let mut ledger = Ledger::default();
        for offset in 0..10 {
            ledger.stored("shop.public.orders", 0, offset, Effect::Apply.code());
        }
        ledger.stored("shop.public.orders", 0, 10, Effect::DeadLetter(Poison::CutOff).code());
        ledger.stored("shop.public.orders", 0, 11, Effect::Nothing.code());
        let directory = tempfile::tempdir().unwrap();
        let world = World { generated: Generated { shop, ledger }, directory };
        let connection = world.open();
        connection
            .execute_batch(
                r#"PRAGMA synchronous = OFF;
                   CREATE TABLE whimbrel_ledger (pipeline TEXT, topic TEXT, "partition" INTEGER, "offset" INTEGER);
                   CREATE TABLE whimbrel_dead_letters
                   (pipeline TEXT, topic TEXT, "partition" INTEGER, "offset" INTEGER, reason TEXT);
                   INSERT INTO whimbrel_dead_letters VALUES ('demo', 'shop.public.orders', 0, 10, 'malformed');"#,
            )
            .unwrap();
        for offset in 0..10 {
            connection
                .execute("INSERT INTO whimbrel_ledger VALUES ('demo', 'shop.public.orders', 0, ?1)", [offset])
                .unwrap();
        }
        for table in Table::ALL {
            for (index, row) in world.generated.shop.rows(table).enumerate() {
                let names: Vec<&str> = row.keys().map(String::as_str).collect();
                if index == 0 {
                    connection.execute_batch(&format!("CREATE TABLE {} ({})", table.name(), names.join(", "))).unwrap();
                }
                let marks = vec!["?"; names.len()].join(", ");
                let values = row.iter().map(|(name, value)| sql_of(name, value));
                let insert = format!("INSERT INTO {} VALUES ({marks})", table.name());
                connection.execute(&insert, rusqlite::params_from_iter(values)).unwrap();
            }
        }
        world
    }

    impl World {
        fn database(&self) -> std::path::PathBuf {
            self.directory.path().join("shop.db")
        }

        fn open(&self) -> Connection {
            Connection::open(self.database()).unwrap()
        }

        fn failing(&self) -> Vec<String> {
            let checks = prove(&self.generated, &self.database(), "demo").unwrap();
            checks.iter().filter(|check| !check.holds()).map(ToString::to_string).collect()
        }
    }

    #[test]
    fn a_right_database_proves_itself() {
        assert_eq!(world().failing(), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_damage_is_found() {
        for (damage, expect) in [
            (r#"DELETE FROM whimbrel_ledger WHERE "offset" = 4"#, "lost: shop.public.orders [0] offset 4"),
            (r#"DELETE FROM whimbrel_ledger WHERE "offset" = 9"#, "lost: shop.public.orders [0] offset 9"),
            (
                "INSERT INTO whimbrel_ledger VALUES ('demo', 'shop.public.orders', 0, 9)",
                "doubled: shop.public.orders [0] offset 9",
            ),
            ("INSERT INTO whimbrel_ledger VALUES ('demo', 'shop.public.orders', 0, 11)", "not a change"),
            ("DELETE FROM whimbrel_dead_letters", "not there: shop.public.orders [0] offset 10"),
            ("UPDATE whimbrel_dead_letters SET reason = 'no_key'", "reason no_key, expected malformed"),
            (
                "INSERT INTO whimbrel_dead_letters VALUES ('demo', 'shop.public.orders', 0, 3, 'malformed')",
                "no poison, yet a dead letter",
            ),
            ("DELETE FROM customers WHERE id = 30", "row 30 is missing"),
            ("DELETE FROM order_items WHERE order_id = 5 AND line = 1", "row 5/1 is missing"),
            ("UPDATE orders SET status = 'gone' WHERE id = 7", "row 7, status"),
            ("UPDATE orders SET total = 1.5 WHERE id = 7", "row 7, total"),
            (
                "INSERT INTO orders SELECT 999, customer_id, status, total, placed_at, note FROM orders LIMIT 1",
                "row 999 should not be there",
            ),
            ("ALTER TABLE orders ADD COLUMN extra", "columns"),
            ("UPDATE customers SET email = 'ada@customers.example' WHERE id = 1", "an address at byte"),
            (
                "CREATE TABLE notes (t); INSERT INTO notes VALUES ('write to ada@customers.example')",
                "an address at byte",
            ),
        ] {
            let world = world();
            world.open().execute_batch(damage).unwrap();
            let failing = world.failing();
            assert!(failing.iter().any(|check| check.contains(expect)), "{damage}: {failing:#?}");
        }
    }

    #[test]
    fn books_of_the_generator_that_are_not_whole_prove_nothing() {
        let mut world = world();
        world.generated.ledger.stored("shop.public.orders", 0, 20, Effect::Nothing.code());
        assert!(world.failing().iter().any(|check| check.contains("offsets without a record: 8")));
        world.generated.ledger.faults = 1;
        assert!(world.failing().iter().any(|check| check.contains("records that failed: 1")));
    }
}
