//! `whimbrel start` and `whimbrel check`: conditions, sources and forms are [`whimbrel_monitor::gate`]'s business; here are the
//! configuration that names an agent, and the databases that tables are compared in.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use whimbrel_migrate::verify::{self, Copy, Endpoint, Limits};
use whimbrel_monitor::gate::args::{CheckArgs, StartArgs};
use whimbrel_monitor::gate::facts::Rows;
use whimbrel_monitor::gate::{self, Compare, Copies, Stop};

use super::Exit;
use crate::config;
use crate::runtime::logging::escaped;
use crate::runtime::tls;

/// Notes a baseline.
///
/// # Errors
/// When there is no async runtime to be had.
pub fn start(args: &StartArgs) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    ended(agent(args.source.config.as_deref()).and_then(|agent| {
        let (mut out, mut err) = (io::stdout(), io::stderr());
        runtime.block_on(gate::start(args, agent.as_deref(), &variable, &mut out, &mut err))
    }))
}

/// Checks whether it is safe.
///
/// # Errors
/// When there is no async runtime to be had.
pub fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let runtime = runtime()?;
    ended(agent(args.source.config.as_deref()).and_then(|agent| {
        let (mut out, mut err) = (io::stdout(), io::stderr());
        runtime.block_on(gate::check(args, agent.as_deref(), &variable, &Databases, &mut out, &mut err))
    }))
}

/// One thread: it asks one question after another.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the async runtime could not be started")
}

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The status of a command that ended, which is told why if it did not do what it should.
pub(super) fn ended(done: Result<u8, Stop>) -> anyhow::Result<Exit> {
    match done {
        Ok(0) => Ok(Exit::Ok),
        Ok(status) => Ok(Exit::Status(status)),
        Err(stop) => {
            for line in stop.why().lines() {
                // Nobody is left to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "whimbrel: {}", escaped(line));
            }
            Ok(Exit::Status(stop.status()))
        }
    }
}

/// Where the agent of a configuration listens.
fn agent(config: Option<&Path>) -> Result<Option<String>, Stop> {
    let Some(file) = config else { return Ok(None) };
    let loaded = config::load(file).map_err(|report| Stop::Usage(report.to_string()))?;
    Ok(Some(format!("http://{}", reachable(loaded.config.export.listen))))
}

/// An agent that listens everywhere listens here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// The databases that migrations know.
struct Databases;

impl Compare for Databases {
    async fn compare(&self, copies: &Copies) -> Result<Rows, String> {
        let endpoint = |url: &str| Endpoint::parse(url).map_err(|error| error.to_string());
        let (source, target) = (endpoint(&copies.source_url)?, endpoint(&copies.target_url)?);
        let mut equal = Vec::new();
        for (from, to) in &copies.tables {
            let copy = Copy { from: from.clone(), to: to.clone(), key: copies.key.clone(), columns: Vec::new() };
            let compared = verify::compare(&source, &target, &copy, Limits::default()).await;
            let compared = compared.map_err(|error| error.to_string())?;
            match compared.fault() {
                Some(fault) => return Ok(Rows { equal: false, detail: fault }),
                None => equal.push(format!("{to}: {} rows compared", compared.source_rows)),
            }
        }
        Ok(Rows { equal: true, detail: equal.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_listens_everywhere_is_asked_here() {
        for (listen, expect) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.7:9464", "10.0.0.7:9464"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expect);
        }
    }

    #[tokio::test]
    async fn tables_are_compared_in_their_databases() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let make = |name: &str, rows: &[(i64, &str)]| {
            let database = rusqlite::Connection::open(file(name)).unwrap();
            database.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, total TEXT)").unwrap();
            for row in rows {
                database.execute("INSERT INTO orders VALUES (?1, ?2)", *row).unwrap();
            }
            format!("sqlite:{}", file(name).display())
        };
        let copies = |source_url: &str, target_url: &str| Copies {
            source_url: source_url.to_owned(),
            target_url: target_url.to_owned(),
            tables: vec![("orders".into(), "orders".into())],
            key: vec!["id".into()],
        };
        let source = make("a.db", &[(1, "1"), (2, "2")]);
        let (same, other) = (make("b.db", &[(1, "1"), (2, "2")]), make("c.db", &[(1, "1")]));
        let rows = Databases.compare(&copies(&source, &same)).await.unwrap();
        assert_eq!(rows, Rows { equal: true, detail: "orders: 2 rows compared".into() });
        let rows = Databases.compare(&copies(&source, &other)).await.unwrap();
        assert!(!rows.equal && rows.detail.contains("1 missing in the copy"), "{rows:?}");
        assert!(Databases.compare(&copies("nowhere:x", &same)).await.is_err());
        let nothing = Copies { tables: vec![("none".into(), "none".into())], ..copies(&source, &same) };
        assert!(Databases.compare(&nothing).await.is_err());
    }
}
