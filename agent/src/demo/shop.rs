//! The shop of the demo: customers, orders and order items, and what happens to them. Pure: a seed in, changes out.
//!
//! Holds the state the source database would have. What it says of a row at the end is what the target must hold; nothing
//! here knows of Kafka, Debezium or the agent.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// Tables of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Customers,
    Orders,
    OrderItems,
}

impl Table {
    /// All of them, in the order a snapshot reads them.
    pub(crate) const ALL: [Self; 3] = [Self::Customers, Self::Orders, Self::OrderItems];

    /// Name in the database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Orders => "orders",
            Self::OrderItems => "order_items",
        }
    }

    /// Names of the key columns.
    pub(crate) const fn key(self) -> &'static [&'static str] {
        match self {
            Self::Customers | Self::Orders => &["id"],
            Self::OrderItems => &["order_id", "line"],
        }
    }
}

/// A row as JSON, columns in table order.
pub(crate) type Row = serde_json::Map<String, Value>;

/// What Debezium would call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Read,
    Create,
    Update,
    Delete,
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowChange {
    pub(crate) table: Table,
    pub(crate) change: Change,
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
    /// Number of the transaction it is a part of.
    pub(crate) transaction: u64,
    /// Set on both halves of a key change: the other half's key.
    pub(crate) other_key: Option<Row>,
}

impl RowChange {
    /// The key of the row it is about.
    pub(crate) fn key(&self) -> Row {
        let row = self.after.as_ref().or(self.before.as_ref());
        key_of(self.table, row.unwrap_or(&Row::new()))
    }
}

/// The key columns of a row.
pub(crate) fn key_of(table: Table, row: &Row) -> Row {
    table.key().iter().map(|name| ((*name).to_owned(), row.get(*name).cloned().unwrap_or_default())).collect()
}

type Id = (i64, i64);

/// The shop.
#[derive(Debug)]
pub(crate) struct Shop {
    random: StdRng,
    rows: BTreeMap<Table, BTreeMap<Id, Row>>,
    /// Ids in use, for picking one at random; a deleted one is swapped out.
    customers: Vec<i64>,
    orders: Vec<i64>,
    next_customer: i64,
    next_order: i64,
    transaction: u64,
    now_us: i64,
}

const FIRST_NAMES: [&str; 12] =
    ["Ada", "Björn", "Chloé", "Dmitri", "Emeka", "Fatima", "Grace", "Hiro", "Inês", "Jürgen", "Kwame", "林"];
const LAST_NAMES: [&str; 10] =
    ["Lovelace", "Østergård", "O'Neil", "Petrov", "Quispe", "Ramanujan", "Sørensen", "Tanaka", "Umarov", "de Vries"];
const CITIES: [&str; 8] = ["Berlin", "København", "Kraków", "Lagos", "Montréal", "Nairobi", "東京", "Zürich"];
const STATUSES: [&str; 5] = ["placed", "paid", "packed", "shipped", "returned"];
const WORDS: [&str; 12] = [
    "please",
    "ring",
    "twice",
    "leave",
    "at the door",
    "gift",
    "fragile",
    "\"call first\"",
    "back\\yard",
    "2nd floor",
    "thanks",
    "no plastic",
];

impl Shop {
    /// A shop with its first customers and orders.
    pub(crate) fn new(seed: u64, customers: usize, orders: usize) -> Self {
        let mut shop = Self {
            random: StdRng::seed_from_u64(seed),
            rows: Table::ALL.into_iter().map(|table| (table, BTreeMap::new())).collect(),
            customers: Vec::new(),
            orders: Vec::new(),
            next_customer: 1,
            next_order: 1,
            transaction: 700,
            now_us: 1_735_732_800_000_000,
        };
        for _ in 0..customers.max(1) {
            shop.new_customer();
        }
        for _ in 0..orders {
            shop.new_order();
        }
        shop
    }

    /// What a snapshot reads: every row there is.
    pub(crate) fn snapshot(&self) -> Vec<RowChange> {
        let read = |table: Table, row: &Row| RowChange {
            table,
            change: Change::Read,
            before: None,
            after: Some(row.clone()),
            transaction: self.transaction,
            other_key: None,
        };
        self.rows.iter().flat_map(|(table, rows)| rows.values().map(|row| read(*table, row))).collect()
    }

    /// The rows of a table as they are now, by key.
    pub(crate) fn rows(&self, table: Table) -> impl Iterator<Item = &Row> {
        self.rows.get(&table).into_iter().flat_map(BTreeMap::values)
    }

    /// The next transaction: one change or a few that belong together.
    pub(crate) fn step(&mut self) -> Vec<RowChange> {
        self.transaction += 1;
        self.now_us += self.random.random_range(1_000..2_000_000);
        match self.random.random_range(0..1_000) {
            0..80 => vec![self.new_customer()],
            80..230 => self.change_customer().into_iter().collect(),
            230..235 => self.rekey_customer(),
            235..245 => self.drop_customer().into_iter().collect(),
            245..500 => self.new_order(),
            500..910 => self.change_order().into_iter().collect(),
            910..960 => self.change_item().into_iter().collect(),
            _ => self.drop_order(),
        }
    }

    fn put(&mut self, table: Table, id: Id, row: Row) -> RowChange {
        let before = self.rows.entry(table).or_default().insert(id, row.clone());
        let change = if before.is_some() { Change::Update } else { Change::Create };
        RowChange { table, change, before, after: Some(row), transaction: self.transaction, other_key: None }
    }

    fn remove(&mut self, table: Table, id: Id) -> Option<RowChange> {
        let before = self.rows.entry(table).or_default().remove(&id)?;
        let transaction = self.transaction;
        Some(RowChange {
            table,
            change: Change::Delete,
            before: Some(before),
            after: None,
            transaction,
            other_key: None,
        })
    }

    fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.choose(&mut self.random).copied().unwrap_or_default()
    }

    fn email(&mut self, id: i64) -> String {
        let (first, last) = (self.word(&FIRST_NAMES), self.word(&LAST_NAMES));
        let plain =
            |name: &str| name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        format!("{}.{}.{id}@customers.example", plain(first), plain(last))
    }

    fn zoned(&self) -> String {
        let (seconds, micros) = (self.now_us.div_euclid(1_000_000), self.now_us.rem_euclid(1_000_000));
        zoned_timestamp(seconds, micros)
    }

    fn new_customer(&mut self) -> RowChange {
        let id = self.next_customer;
        self.next_customer += 1;
        let name = format!("{} {}", self.word(&FIRST_NAMES), self.word(&LAST_NAMES));
        let row = row([
            ("id", json!(id)),
            ("email", json!(self.email(id))),
            ("name", json!(name)),
            ("city", json!(self.word(&CITIES))),
            ("active", json!(true)),
            ("created_at", json!(self.zoned())),
        ]);
        self.customers.push(id);
        self.put(Table::Customers, (id, 0), row)
    }

    fn change_customer(&mut self) -> Option<RowChange> {
        let id = *self.customers.choose(&mut self.random)?;
        let mut row = self.rows.get(&Table::Customers)?.get(&(id, 0))?.clone();
        match self.random.random_range(0..3) {
            0 => row.insert("email".into(), json!(self.email(id))),
            1 => row.insert("city".into(), json!(self.word(&CITIES))),
            _ => row.insert("active".into(), json!(self.random.random_bool(0.7))),
        };
        Some(self.put(Table::Customers, (id, 0), row))
    }

    /// The id itself changes: Debezium sends a delete of the old key and a create of the new one.
    fn rekey_customer(&mut self) -> Vec<RowChange> {
        if self.customers.is_empty() {
            return Vec::new();
        }
        let at = self.random.random_range(0..self.customers.len());
        let id = self.customers.swap_remove(at);
        let Some(mut gone) = self.remove(Table::Customers, (id, 0)) else { return Vec::new() };
        let new_id = self.next_customer;
        self.next_customer += 1;
        let mut row = gone.before.clone().unwrap_or_default();
        row.insert("id".into(), json!(new_id));
        self.customers.push(new_id);
        let mut come = self.put(Table::Customers, (new_id, 0), row);
        gone.other_key = Some(come.key());
        come.other_key = Some(gone.key());
        vec![gone, come]
    }

    fn drop_customer(&mut self) -> Option<RowChange> {
        // A shop without customers could go on no more.
        if self.customers.len() < 10 {
            return None;
        }
        let at = self.random.random_range(0..self.customers.len());
        let id = self.customers.swap_remove(at);
        self.remove(Table::Customers, (id, 0))
    }

    fn new_order(&mut self) -> Vec<RowChange> {
        let id = self.next_order;
        self.next_order += 1;
        let customer = self.customers.choose(&mut self.random).copied();
        let lines = self.random.random_range(1..=3);
        let mut cents = 0;
        let mut items = Vec::new();
        for line in 1..=lines {
            let (quantity, price) = (self.random.random_range(1..=4), self.random.random_range(99..50_000));
            cents += quantity * price;
            items.push((
                (id, line),
                row([
                    ("order_id", json!(id)),
                    ("line", json!(line)),
                    ("sku", json!(format!("SKU-{:05}", self.random.random_range(0..20_000)))),
                    ("quantity", json!(quantity)),
                    ("price", json!(decimal(price))),
                ]),
            ));
        }
        let note = match self.random.random_range(0..10) {
            0..6 => Value::Null,
            6..9 => json!(format!("{} {}", self.word(&WORDS), self.word(&WORDS))),
            // Long enough for PostgreSQL to store it out of line.
            _ => json!((0..30).map(|_| self.word(&WORDS)).collect::<Vec<_>>().join(" ")),
        };
        let order = row([
            ("id", json!(id)),
            ("customer_id", json!(customer)),
            ("status", json!("placed")),
            ("total", json!(decimal(cents))),
            ("placed_at", json!(self.now_us)),
            ("note", note),
        ]);
        self.orders.push(id);
        let mut changes = vec![self.put(Table::Orders, (id, 0), order)];
        changes.extend(items.into_iter().map(|(id, row)| self.put(Table::OrderItems, id, row)));
        changes
    }

    fn change_order(&mut self) -> Option<RowChange> {
        let id = *self.orders.choose(&mut self.random)?;
        let mut row = self.rows.get(&Table::Orders)?.get(&(id, 0))?.clone();
        if self.random.random_ratio(9, 10) {
            row.insert("status".into(), json!(self.word(&STATUSES)));
        } else {
            row.insert("note".into(), json!(format!("{} {}", self.word(&WORDS), self.word(&WORDS))));
        }
        Some(self.put(Table::Orders, (id, 0), row))
    }

    fn change_item(&mut self) -> Option<RowChange> {
        let id = *self.orders.choose(&mut self.random)?;
        let mut row = self.rows.get(&Table::OrderItems)?.get(&(id, 1))?.clone();
        row.insert("quantity".into(), json!(self.random.random_range(1..=9)));
        Some(self.put(Table::OrderItems, (id, 1), row))
    }

    fn drop_order(&mut self) -> Vec<RowChange> {
        if self.orders.len() < 10 {
            return Vec::new();
        }
        let at = self.random.random_range(0..self.orders.len());
        let id = self.orders.swap_remove(at);
        let items = (1..=3).filter_map(|line| self.remove(Table::OrderItems, (id, line))).collect::<Vec<_>>();
        items.into_iter().chain(self.remove(Table::Orders, (id, 0))).collect()
    }
}

fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn decimal(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// `2025-01-01T12:00:00.000000Z`, as Debezium writes a timestamp with zone. Days to a date by the algorithm of Howard
/// Hinnant's "chrono-compatible low-level date algorithms", civil_from_days.
fn zoned_timestamp(seconds: i64, micros: i64) -> String {
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(changes: impl IntoIterator<Item = RowChange>) -> BTreeMap<(Table, String), Row> {
        let mut rows = BTreeMap::new();
        for change in changes {
            let key = (change.table, serde_json::to_string(&change.key()).unwrap());
            match change.after {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        rows
    }

    #[test]
    fn replaying_all_changes_gives_the_rows_the_shop_says_it_has() {
        let mut shop = Shop::new(7, 50, 80);
        let mut changes = shop.snapshot();
        for _ in 0..5_000 {
            changes.extend(shop.step());
        }
        for wanted in [Change::Read, Change::Create, Change::Update, Change::Delete] {
            assert!(changes.iter().filter(|c| c.change == wanted).count() > 20, "{wanted:?}");
        }
        assert!(changes.iter().any(|c| c.other_key.is_some()));
        let replayed = replay(changes);
        let told: usize = Table::ALL.iter().map(|table| shop.rows(*table).count()).sum();
        assert_eq!(replayed.len(), told);
        for table in Table::ALL {
            for row in shop.rows(table) {
                let key = serde_json::to_string(&key_of(table, row)).unwrap();
                assert_eq!(replayed.get(&(table, key)), Some(row));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_changes_and_another_seed_others() {
        let changes = |seed| {
            let mut shop = Shop::new(seed, 10, 10);
            (0..200).flat_map(|_| shop.step()).collect::<Vec<_>>()
        };
        assert_eq!(changes(1), changes(1));
        assert_ne!(changes(1), changes(2));
    }

    #[test]
    fn timestamps_are_written_as_debezium_does() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00.000001Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000001Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(zoned_timestamp(seconds, 1), expect);
        }
    }
}
