//! What watching costs: monitoring beside the pipeline, ten thousand anomalies at once, a scrape of many series.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use whimbrel::event::Op;
use whimbrel::runtime::telemetry::Telemetry;
use whimbrel::stats::{BatchReport, LagConfig, Observer};

use super::Setup;
use super::agent::{Agent, Run, config};
use super::figures::Figures;
use super::figures::Target::{AtLeast, AtMost, Shown};

/// Findings of one evaluation.
const FLOOD: usize = 10_000;
/// Series of the scrape that is measured: the budget is 2,000, and one is for what overflows.
const SERIES: usize = 1_999;

/// A rule that finds ten thousand things wrong each time it is asked.
const LIB: &str = r#"//! Finds ten thousand things wrong.
use whimbrel_plugin::prelude::*;

/// Finds ten thousand things wrong.
#[derive(Config)]
struct Flood {}

#[rule]
impl Rule for Flood {
    fn evaluate(&mut self, _window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        let found = |n: u32| Finding::new(n.to_string(), "anomaly", Severity::Warning, format!("number {n} is odd"));
        Ok((0..10_000).map(found).collect())
    }
}
"#;

fn pipeline() -> Value {
    json!({
        "target": {"stdout": {"path": "/dev/null"}},
        "delivery": {"mode": "at_least_once", "batch": {"max_events": 1000}, "dead_letters": {"topic": "bench-dead-letters"}},
    })
}

async fn run(setup: &Setup, name: &str, monitor: Option<Value>) -> Result<Run> {
    let mut config = config(setup.directory(), &setup.topic, &setup.name(name), pipeline());
    if let Some(monitor) = monitor {
        config["monitor"] = monitor;
    }
    let mut agent = Agent::start(setup.directory(), &config)?;
    let run = agent.run_to(setup.events).await?;
    agent.stop()?;
    run.print(name);
    Ok(run)
}

/// Rules are asked each second here, thirty times as often as by default.
fn watching(setup: &Setup, name: &str) -> Value {
    json!({"file": setup.directory().join(format!("{name}.db")), "evaluate": "1s"})
}

fn flooded(setup: &Setup, name: &str, rule: &Path, receiver: SocketAddr) -> Value {
    let mut monitor = watching(setup, name);
    monitor["rules"] = json!([{"plugin": rule, "limits": {"call": "5s"}}]);
    monitor["channels"] = json!([{
        "name": "hook",
        "plugin": "webhook",
        "config": {"url": format!("http://{receiver}/")},
        "grants": {"http": [format!("http://{receiver}")], "private_addresses": true, "clock": true},
    }]);
    monitor["routes"] = json!([{"channels": ["hook"], "group_wait": "0ms"}]);
    monitor
}

/// Takes whatever is posted and counts it.
fn receiver() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut buffer = [0; 65_536];
            let _ = socket.read(&mut buffer);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    Ok((address, count))
}

/// The flooding rule, built as its author would.
fn flood(directory: &Path) -> Result<PathBuf> {
    let binary = std::env::var_os("WHIMBREL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_whimbrel").into());
    let target = directory.join("guest");
    let plugin = |words: &[&str]| -> Result<()> {
        let output = Command::new(&binary).arg("plugin").args(words).current_dir(directory).output()?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    plugin(&["new", "flood", "--kind", "rule"])?;
    std::fs::write(directory.join("flood/src/lib.rs"), LIB)?;
    plugin(&["build", "flood", "--target-dir", target.to_str().context("a path that is no text")?])?;
    Ok(target.join("flood.wasm"))
}

/// Milliseconds of a scrape of so many series, the middle of twenty.
fn scrape() -> Result<f64> {
    let raw = whimbrel::config::raw::Config::default();
    let export = whimbrel::export::ExportConfig::new(&raw.http, None, &raw.metrics)?;
    let (telemetry, _) = Telemetry::prepare("bench", None, &export)?;
    let observer = Observer::new("shop", "kafka", "postgresql", LagConfig::default(), telemetry.instruments.clone());
    let events = (0..SERIES).map(|n| ("shop".into(), format!("public.table_{n}").into(), Op::Create, 7)).collect();
    observer.applied(&BatchReport { events, ..BatchReport::default() }, 1);
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let text = String::from_utf8(telemetry.scrape.text().context("no scrape")?)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(text.lines().filter(|line| line.starts_with("cdc_events_processed_total{")).count() >= SERIES);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

pub(crate) async fn measure(setup: &Setup, figures: &mut Figures) -> Result<()> {
    let rule = flood(setup.directory())?;
    let (address, told) = receiver()?;
    for round in 0..setup.rounds {
        let plain = run(setup, &format!("plain-{round}"), None).await?;
        let name = format!("watched-{round}");
        let watched = run(setup, &name, Some(watching(setup, &name))).await?;
        let before = told.load(Ordering::Relaxed);
        let name = format!("flooded-{round}");
        let drowned = run(setup, &name, Some(flooded(setup, &name, &rule, address))).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let notifications = told.load(Ordering::Relaxed) - before;
        ensure!(notifications > 0, "{FLOOD} findings a second, and nobody was told: the run is too short");
        figures.add(
            "monitoring's threads, of the pipeline's CPU",
            "",
            AtMost(0.05),
            watched.micros_of("monitor") / plain.micros(),
        );
        figures.add("CPU an event, watched less plain, of plain", "", Shown, watched.micros() / plain.micros() - 1.0);
        figures.add("most memory, watched less plain", "MiB", AtMost(20.0), watched.peak - plain.peak);
        figures.add(
            "events a second beside 10,000 anomalies a second, of plain",
            "",
            AtLeast(0.95),
            drowned.per_second() / plain.per_second(),
        );
        figures.add(
            "CPU of the rule and the incidents meanwhile, of the pipeline's",
            "",
            Shown,
            drowned.micros_of("monitor") / plain.micros(),
        );
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        figures.add("notifications of them", "", AtMost(1.0), notifications as f64);
        figures.add("scrape of 2,000 series", "ms", AtMost(10.0), scrape()?);
    }
    Ok(())
}
