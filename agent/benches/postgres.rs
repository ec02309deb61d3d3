//! What writing to PostgreSQL costs, as a ratio to a ceiling measured in the same run.
//!
//! `PG_PORT=… PG_USER=… PG_PASSWORD=… cargo bench -p whimbrel --bench postgres`. Batches of 1,000 rows of about 200 bytes
//! over 100,000 keys. The ceiling is the same UNNEST upsert, each a transaction of its own, with parameters built before
//! the clock starts; the target encodes its rows from a decoded batch, moves its offset by compare-and-set and commits.
//! Contenders take turns within a round, each with a table of its own. CPU is this process's alone (getrusage).

#[path = "ceiling/postgres.rs"]
mod ceiling;
#[path = "../src/target/fixture.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests, which use all of it and may unwrap")]
mod fixture;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ceiling::{Micros, Unnest};
use fixture::{Planned, V, layout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use whimbrel::config::raw;
use whimbrel::config::secret::Secret;
use whimbrel::event::SourceType;
use whimbrel::target::postgres::{PostgresTarget, Settings};
use whimbrel::target::{DeliveryMode, Layout, Target};

const ROWS: usize = 1_000;
const KEYS: usize = 100_000;
const BATCHES: usize = 50;
const ROUNDS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The values of one row.
struct Row {
    id: i64,
    customer: i64,
    status: &'static str,
    email: String,
    note: String,
    placed: i64,
    paid: bool,
}

fn row(n: usize) -> Result<Row> {
    let id = i64::try_from(n % KEYS)?;
    Ok(Row {
        id,
        customer: id % 977,
        status: "shipped",
        email: format!("customer-{id}@example.org"),
        note: format!(
            "Leave it with the neighbours at no. {n}; {n} Whimbrel Lane, 12345 Wattenmeer, Schleswig-Holstein"
        ),
        placed: 1_709_251_199_999_999 + id,
        paid: n.is_multiple_of(2),
    })
}

/// A batch as the ceiling sends it: every column an array, encoded by the driver.
struct Columns {
    ids: Vec<i64>,
    customers: Vec<i64>,
    statuses: Vec<&'static str>,
    emails: Vec<String>,
    notes: Vec<String>,
    placed: Vec<Micros>,
    paid: Vec<bool>,
}

impl Columns {
    fn params(&self) -> [&(dyn ToSql + Sync); 7] {
        [&self.ids, &self.customers, &self.statuses, &self.emails, &self.notes, &self.placed, &self.paid]
    }
}

struct Contender {
    name: &'static str,
    wall: Vec<Duration>,
    cpu: Duration,
}

impl Contender {
    const fn new(name: &'static str) -> Self {
        Self { name, wall: Vec::new(), cpu: Duration::ZERO }
    }

    fn add(&mut self, started: Instant, cpu: Duration) {
        self.wall.push(started.elapsed());
        self.cpu += cpu_time().saturating_sub(cpu);
    }

    /// Rows a second of the best round: other work on the machine only ever adds.
    fn rate(&self) -> f64 {
        let best = self.wall.iter().min().map_or(f64::INFINITY, Duration::as_secs_f64);
        as_f64(ROWS * BATCHES) / best
    }

    fn print(&self, ceiling: f64) {
        let micros = self.cpu.as_secs_f64() * 1e6 / as_f64(ROWS * BATCHES * self.wall.len());
        let rate = self.rate();
        println!(
            "{:<16}{:>12.0} rows/s{:>10.2} of ceiling{:>10.2} us CPU/row",
            self.name,
            rate,
            rate / ceiling,
            micros
        );
    }
}

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::NAN, f64::from)
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    // SAFETY: getrusage fills the struct it is given; all zeroes is a valid value of it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.unsigned_abs()) + Duration::from_micros(t.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn columns(first: usize) -> Result<Columns> {
    let rows = (first..first + ROWS).map(row).collect::<Result<Vec<_>>>()?;
    Ok(Columns {
        ids: rows.iter().map(|r| r.id).collect(),
        customers: rows.iter().map(|r| r.customer).collect(),
        statuses: rows.iter().map(|r| r.status).collect(),
        emails: rows.iter().map(|r| r.email.clone()).collect(),
        notes: rows.iter().map(|r| r.note.clone()).collect(),
        placed: rows.iter().map(|r| Micros(r.placed)).collect(),
        paid: rows.iter().map(|r| r.paid).collect(),
    })
}

fn planned(mode: DeliveryMode, layout: &Arc<Layout>, first: usize) -> Result<Planned> {
    let mut planned = Planned::new(mode).at(i64::try_from(first)?);
    for n in first..first + ROWS {
        let row = row(n)?;
        let (id, customer, placed) = (row.id.to_string(), row.customer.to_string(), row.placed.to_string());
        let cells = [
            V::Num(&id),
            V::Num(&customer),
            V::Text(row.status),
            V::Text(&row.email),
            V::Text(&row.note),
            V::Num(&placed),
            V::Bool(row.paid),
        ];
        planned = planned.upsert(layout, u64::try_from(n)?, &cells);
    }
    Ok(planned)
}

#[tokio::main]
async fn main() -> Result<()> {
    let env = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let uri =
        format!("postgresql://{}:{}@127.0.0.1:{}/postgres", env("PG_USER")?, env("PG_PASSWORD")?, env("PG_PORT")?);
    let (client, connection) = tokio_postgres::connect(&uri, NoTls).await?;
    #[expect(clippy::disallowed_methods, reason = "ends with the bench")]
    tokio::spawn(connection);
    let schema = format!("bench_{}", std::process::id());
    client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await?;
    let done = run(&client, &uri, &schema).await;
    client
        .batch_execute(&format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA IF EXISTS {schema}_state CASCADE"))
        .await?;
    done
}

async fn run(client: &Client, uri: &str, schema: &str) -> Result<()> {
    for (table, version) in [("ceiling", ""), ("once", ""), ("twice", ", _whimbrel_version bytea")] {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, customer bigint, status text, email text, note text,
                 placed timestamp, paid boolean{version})"
            ))
            .await?;
    }
    let columns_of_ceiling = [
        ("id", Type::INT8_ARRAY),
        ("customer", Type::INT8_ARRAY),
        ("status", Type::TEXT_ARRAY),
        ("email", Type::TEXT_ARRAY),
        ("note", Type::TEXT_ARRAY),
        ("placed", Type::TIMESTAMP_ARRAY),
        ("paid", Type::BOOL_ARRAY),
    ];
    let upsert = Unnest::prepare(client, "ceiling", &columns_of_ceiling).await?;
    let raw = raw::PostgresTarget {
        uri: Secret::new(uri),
        schema: Some(schema.to_owned()),
        state_schema: Some(format!("{schema}_state")),
        ca_file: None,
        ledger: false,
        timeout: None,
    };
    let mut target = PostgresTarget::new(Settings::from_raw(&raw, Duration::from_secs(3600))?);
    target.open().await?;
    let types = [
        ("id", SourceType::Int64),
        ("customer", SourceType::Int64),
        ("status", SourceType::Text),
        ("email", SourceType::Text),
        ("note", SourceType::Text),
        ("placed", SourceType::TimestampMicros),
        ("paid", SourceType::Boolean),
    ];
    let (once, twice) = (layout("once", 1, &types, false), layout("twice", 1, &types, false));
    let mut contenders = [Contender::new("ceiling"), Contender::new("exactly_once"), Contender::new("at_least_once")];
    let [ceiling, exactly, at_least] = &mut contenders;
    let mut expected = None;
    for round in 0..ROUNDS {
        let firsts: Vec<usize> = (0..BATCHES).map(|b| (round * BATCHES + b) * ROWS).collect();
        let built = firsts.iter().map(|f| columns(*f)).collect::<Result<Vec<_>>>()?;
        let (started, cpu) = (Instant::now(), cpu_time());
        for batch in &built {
            upsert.send(client, &batch.params()).await?;
        }
        ceiling.add(started, cpu);
        for (contender, mode, layout, topic) in [
            (&mut *exactly, DeliveryMode::ExactlyOnce, &once, "once"),
            (&mut *at_least, DeliveryMode::AtLeastOnce, &twice, "twice"),
        ] {
            let mut built = firsts.iter().map(|f| planned(mode, layout, *f)).collect::<Result<Vec<_>>>()?;
            for (batch, first) in built.iter_mut().zip(&firsts) {
                let next = i64::try_from(first + ROWS)?;
                topic.clone_into(&mut batch.topic);
                let known = (*first > 0).then_some(i64::try_from(*first)?);
                *batch = std::mem::replace(batch, Planned::new(mode)).advance(known, next);
                expected = Some(next);
            }
            let (started, cpu) = (Instant::now(), cpu_time());
            for batch in &built {
                target.apply(&batch.write()).await?;
            }
            contender.add(started, cpu);
        }
    }
    let best = contenders.first().map_or(f64::NAN, Contender::rate);
    for contender in &contenders {
        contender.print(best);
    }
    // Nobody is fast by doing less.
    for table in ["once", "twice"] {
        let differing: i64 = client
            .query_one_scalar(
                &format!(
                    "SELECT count(*) FROM ceiling c FULL JOIN {table} t USING (id) WHERE c.customer IS DISTINCT FROM t.customer
                     OR c.email IS DISTINCT FROM t.email OR c.note IS DISTINCT FROM t.note OR c.paid IS DISTINCT FROM t.paid
                     OR c.status IS DISTINCT FROM t.status OR c.placed IS DISTINCT FROM t.placed"
                ),
                &[],
            )
            .await?;
        println!("{table}: {differing} rows differ from the ceiling's; next offset {expected:?}");
        if differing != 0 {
            return Err(format!("{table} holds other rows than the ceiling").into());
        }
    }
    Ok(())
}
