//! Kafka to PostgreSQL beside UNNEST upserts from memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::Setup;
use super::agent::{Agent, Run, config};
use super::ceiling_postgres::{Micros, Unnest};
use super::envelope::order;
use super::figures::Figures;
use super::figures::Target::{AtLeast, Shown};

/// Rows a batch.
const ROWS: u64 = 1000;
const SCHEMA: &str = "whimbrel_bench";
const STATE: &str = "whimbrel_bench_state";

/// Column, its type, the type of an array of it.
const COLUMNS: [(&str, &str, Type); 14] = [
    ("id", "bigint", Type::INT8_ARRAY),
    ("customer_id", "bigint", Type::INT8_ARRAY),
    ("email", "text", Type::TEXT_ARRAY),
    ("status", "text", Type::TEXT_ARRAY),
    ("total", "text", Type::TEXT_ARRAY),
    ("currency", "text", Type::TEXT_ARRAY),
    ("note", "text", Type::TEXT_ARRAY),
    ("address", "text", Type::TEXT_ARRAY),
    ("tracking", "text", Type::TEXT_ARRAY),
    ("items", "integer", Type::INT4_ARRAY),
    ("paid", "boolean", Type::BOOL_ARRAY),
    ("discount", "double precision", Type::FLOAT8_ARRAY),
    ("placed_on", "integer", Type::INT4_ARRAY),
    ("updated_at", "timestamp", Type::TIMESTAMP_ARRAY),
];

fn env(name: &str, or: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| or.to_owned())
}

pub(crate) fn password() -> String {
    env("PG_PASSWORD", "postgres")
}

fn uri(password: &str) -> String {
    format!("postgresql://{}:{password}@127.0.0.1:{}/postgres", env("PG_USER", "postgres"), env("PG_PORT", "15432"))
}

fn pipeline(table: &str, mode: &str) -> Value {
    json!({
        // The agent takes no password that is written out.
        "target": {"postgresql": {"uri": uri("${env:PG_PASSWORD}"), "schema": SCHEMA, "state_schema": STATE}},
        "decode": {"types": {"public.orders.updated_at": "timestamp_micros"}},
        "tables": [{"from": "*", "to": table}],
        "delivery": {"mode": mode, "batch": {"max_events": ROWS}},
    })
}

async fn create(client: &Client, table: &str, version: &str) -> Result<()> {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
    let columns = columns.join(", ");
    client.batch_execute(&format!("CREATE TABLE {table} ({columns}{version}, PRIMARY KEY (id))")).await?;
    Ok(())
}

/// One column of a batch.
type Array = Box<dyn ToSql + Sync + Send>;

fn texts(rows: &[Value], column: &str) -> Result<Array> {
    let all: Option<Vec<String>> = rows.iter().map(|row| Some(row[column].as_str()?.to_owned())).collect();
    Ok(Box::new(all.with_context(|| format!("{column} is not text"))?))
}

fn integers(rows: &[Value], column: &str) -> Result<Vec<i64>> {
    rows.iter().map(|row| row[column].as_i64()).collect::<Option<_>>().with_context(|| format!("{column} is no number"))
}

/// The rows of a batch as the driver takes them.
fn arrays(first: u64) -> Result<Vec<Array>> {
    let rows: Vec<Value> = (first..first + ROWS)
        .map(|n| -> Result<Value> {
            let (_, envelope) = order(usize::try_from(n)?);
            Ok(serde_json::from_str::<Value>(&envelope)?["after"].take())
        })
        .collect::<Result<_>>()?;
    COLUMNS
        .iter()
        .map(|(name, _, ty)| -> Result<Array> {
            Ok(match *ty {
                Type::INT8_ARRAY => Box::new(integers(&rows, name)?),
                Type::INT4_ARRAY => {
                    let all = integers(&rows, name)?.into_iter().map(i32::try_from);
                    Box::new(all.collect::<std::result::Result<Vec<_>, _>>()?)
                }
                Type::TIMESTAMP_ARRAY => Box::new(integers(&rows, name)?.into_iter().map(Micros).collect::<Vec<_>>()),
                Type::BOOL_ARRAY => Box::new(rows.iter().map(|row| row[*name].as_bool()).collect::<Vec<_>>()),
                Type::FLOAT8_ARRAY => Box::new(rows.iter().map(|row| row[*name].as_f64()).collect::<Vec<_>>()),
                _ => texts(&rows, name)?,
            })
        })
        .collect()
}

async fn ceiling(setup: &Setup, client: &Client, table: &str) -> Result<Duration> {
    create(client, table, "").await?;
    let columns: Vec<(&str, Type)> = COLUMNS.iter().map(|(name, _, ty)| (*name, ty.clone())).collect();
    let upsert = Unnest::prepare(client, table, &columns).await?;
    let batches = (0..setup.events / ROWS).map(|batch| arrays(batch * ROWS + 1)).collect::<Result<Vec<_>>>()?;
    settle(client).await?;
    let begun = Instant::now();
    for batch in &batches {
        let params: Vec<&(dyn ToSql + Sync)> = batch.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
        ensure!(upsert.send(client, &params).await? == ROWS, "rows were not written");
    }
    let took = begun.elapsed();
    println!("{table:<20} {:.0} rows/s, {:.1} s", setup.events as f64 / took.as_secs_f64(), took.as_secs_f64());
    Ok(took)
}

async fn run(setup: &Setup, client: &Client, name: &str, mode: &str) -> Result<Run> {
    let table = name.replace('-', "_");
    create(client, &table, if mode == "at_least_once" { ", _whimbrel_version bytea" } else { "" }).await?;
    let config = config(setup.directory(), &setup.topic, &setup.name(&format!("pg-{name}")), pipeline(&table, mode));
    settle(client).await?;
    let mut agent = Agent::start(setup.directory(), &config)?;
    let run = agent.run_to(setup.events).await?;
    agent.stop()?;
    run.print(name);
    Ok(run)
}

/// What the contender before has left to be written to disk is written now, and not in the next one's time.
async fn settle(client: &Client) -> Result<()> {
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// Nobody is fast by doing less.
async fn compare(client: &Client, one: &str, other: &str) -> Result<()> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _, _)| *name).collect();
    let names = names.join(", ");
    let sql = format!("SELECT count(*) FROM ((SELECT {names} FROM {one}) EXCEPT (SELECT {names} FROM {other})) AS odd");
    let odd: i64 = client.query_one(&sql, &[]).await?.try_get(0)?;
    ensure!(odd == 0, "{odd} rows of {one} are not in {other}");
    Ok(())
}

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(&uri(&password()), NoTls).await?;
    #[expect(clippy::disallowed_methods, reason = "ends with the bench")]
    tokio::spawn(connection);
    let drop = format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; DROP SCHEMA IF EXISTS {STATE} CASCADE");
    client.batch_execute(&format!("{drop}; CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}")).await?;
    let fsync: String = client.query_one("SHOW fsync", &[]).await?.try_get(0)?;
    println!("PostgreSQL with fsync {fsync}");
    for round in 0..setup.rounds {
        let best = ceiling(setup, &client, &format!("ceiling_{round}")).await?;
        let once = run(setup, &client, &format!("once-{round}"), "exactly_once").await?;
        let least = run(setup, &client, &format!("least-{round}"), "at_least_once").await?;
        compare(&client, &format!("ceiling_{round}"), &format!("once_{round}")).await?;
        compare(&client, &format!("ceiling_{round}"), &format!("least_{round}")).await?;
        let ceiling = setup.events as f64 / best.as_secs_f64();
        figures.add("PostgreSQL ceiling, rows a second", "", Shown, ceiling);
        figures.add("Kafka -> PostgreSQL, events a second", "", Shown, once.per_second());
        figures.add("Kafka -> PostgreSQL, of the ceiling", "", AtLeast(0.75), once.per_second() / ceiling);
        figures.add("Kafka -> PostgreSQL, CPU an event", "µs", Shown, once.micros());
        figures.add(
            "Kafka -> PostgreSQL, exactly_once of at_least_once",
            "",
            AtLeast(0.8),
            once.per_second() / least.per_second(),
        );
    }
    client.batch_execute(&drop).await?;
    Ok(())
}
