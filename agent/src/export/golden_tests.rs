//! The scrape, exactly: names, types, labels and buckets are a contract with dashboards and alerts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::{Count, Direction, Progress};
use whimbrel_migrate::watch::{Event, Watch as _};

use super::prometheus::{Scrape, view};
use crate::event::{Op, Reason};
use crate::migrations::meter::Meter;
use crate::stats::{
    BatchReport, ConnectFacts, ConnectorBoard, ConnectorFacts, HopSamples, Instruments, LagConfig, LossyCount,
    MigrationBoard, Observer, PipelineState, PluginMeter, Restart, Stamp, TableLag, Watermark,
};

const NOW: i64 = 1_767_225_600_000;

struct Rig {
    clock: Arc<AtomicI64>,
    instruments: Instruments,
    scrape: Scrape,
    _provider: SdkMeterProvider,
}

fn rig(max_series: usize) -> Rig {
    let clock = Arc::new(AtomicI64::new(NOW));
    let (scrape, reader) = Scrape::new().unwrap();
    let provider = SdkMeterProvider::builder()
        .with_resource(opentelemetry_sdk::Resource::builder_empty().with_service_name("whimbrel").build())
        .with_view(view(max_series))
        .with_reader(reader)
        .build();
    let time = Arc::clone(&clock);
    let now = Arc::new(move || time.load(Ordering::Relaxed));
    let instruments = Instruments::new(&provider.meter("whimbrel"), None, max_series, now);
    Rig { clock, instruments, scrape, _provider: provider }
}

impl Rig {
    fn text(&self) -> String {
        String::from_utf8(self.scrape.text().unwrap()).unwrap()
    }

    /// Lines of one metric.
    fn lines(&self, metric: &str) -> Vec<String> {
        let own = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let mut lines: Vec<_> = self.text().lines().filter(own).map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn shop(rig: &Rig) -> Arc<Observer> {
    let observer = Observer::new("shop", "kafka", "postgresql", LagConfig::default(), rig.instruments.clone());
    observer.group("migration-consumer");
    let (topic, quiet): (Arc<str>, Arc<str>) = ("shop.public.orders".into(), "shop.public.quiet".into());
    observer.assigned(&[(Arc::clone(&topic), 0), (Arc::clone(&topic), 1), (Arc::clone(&quiet), 0)]);
    for (topic, partition, next) in [(&topic, 0, 90), (&topic, 1, 50), (&quiet, 0, 7)] {
        observer.frontier(topic, partition, next, NOW - 5_000);
    }
    observer.heartbeat(&"__debezium-heartbeat.shop".into(), NOW - 3_000, NOW - 2_500);
    for (topic, partition, end) in [(&topic, 0, 100), (&topic, 1, 50), (&quiet, 0, 7)] {
        observer.end_offset(topic, partition, end, NOW - 2_000);
    }
    let table = |topic: &Arc<str>, source: &str, target: &str| TableLag {
        topic: Arc::clone(topic),
        source_table: source.into(),
        target_table: target.into(),
        newest_source_ts_ms: NOW - 4_000,
    };
    observer.applied(
        &BatchReport {
            events: vec![
                ("shop".into(), "public.orders".into(), Op::Create, 5),
                ("shop".into(), "public.orders".into(), Op::Delete, 1),
                ("shop".into(), "public.orders".into(), Op::Read, 2),
            ],
            tables: vec![table(&topic, "public.orders", "orders"), table(&quiet, "public.quiet", "quiet")],
            watermarks: vec![Watermark { topic: Arc::clone(&topic), partition: 0, newest_source_ts_ms: NOW - 1_500 }],
            hops: HopSamples {
                stamps: vec![Stamp {
                    source_us: (NOW - 4_000) * 1_000,
                    captured_us: (NOW - 3_900) * 1_000,
                    received_us: (NOW - 3_000) * 1_000,
                }],
                transform: Some(Duration::from_millis(2)),
                apply: Some(Duration::from_millis(20)),
            },
            rows: 7,
            bytes: 7_000,
            dead_letters: vec![(Reason::Malformed, 1)],
            toast: 3,
            lossy: vec![LossyCount { table: "orders".into(), column: "total".into(), count: 2 }],
            dropped: 4,
            skipped_older: 0,
        },
        NOW - 1_000,
    );
    observer.dead_letters_stored(1);
    observer.state(PipelineState::Running);
    observer
}

/// A migration that ran once, failed in between, and runs again.
fn migrate(rig: &Rig, board: &Arc<MigrationBoard>, id: &str, system: System, place: &str, code: &str) {
    let meter = Meter::new("shop", &rig.instruments, board);
    let counts = [(place.to_owned(), Count { done: 250, expected: Some(1_000) })].into();
    let (before, progress) = (Progress::default(), Progress { counts, ..Progress::default() });
    let begin = || {
        meter.tell(&Event::Started {
            id,
            name: "fill total",
            system: Some(system),
            direction: Direction::Up,
            steps: 1,
            progress: &before,
        });
        meter.tell(&Event::StepStarted { id, index: 0, what: "update", place: Some(place), expected: Some(1_000) });
    };
    rig.clock.store(NOW - 5_000, Ordering::Relaxed);
    let ended = |error| {
        let started = UNIX_EPOCH + Duration::from_millis(u64::try_from(NOW).unwrap() - 100_000);
        meter.tell(&Event::Ended { id, direction: Direction::Up, started, error, progress: &before });
    };
    begin();
    meter.tell(&Event::Attempted { id, place, count: 100 });
    meter.tell(&Event::Retried { id, code, attempt: 2, wait: Duration::from_millis(1) });
    ended(Some((code, "it failed")));
    begin();
    ended(Some(("stopped", "somebody asked for it")));
    begin();
    ended(None);
    begin();
    meter.tell(&Event::Attempted { id, place, count: 250 });
    rig.clock.store(NOW, Ordering::Relaxed);
    let started = SystemTime::now();
    meter.tell(&Event::Committed { id, place, count: 250, started, progress: &progress });
}

#[test]
fn the_scrape_is_the_contract_to_the_letter() {
    let rig = rig(2_000);
    let _observer = shop(&rig);
    let plugin = PluginMeter::new("mask", "0.1.0", "sha256:abc", &rig.instruments);
    plugin.call("ok", Duration::from_micros(30));
    plugin.events("keep", 8);
    plugin.trap("deadline");
    plugin.bundle("written");
    plugin.memory_bytes(1 << 20);
    let board = ConnectorBoard::new(["migration-connector-shop"], &rig.instruments);
    board.looked(ConnectFacts {
        reachable: true,
        trouble: None,
        connectors: vec![ConnectorFacts {
            name: "migration-connector-shop".into(),
            condition: "failed",
            progress: "not_checked",
            tasks: [1, 2, 0],
            failed: [Some(0), Some(2)].into(),
            drifted_properties: 3,
            restart: Restart::Requested,
            restarts_left: 4,
            trouble: Some("FAILED".into()),
        }],
        report: serde_json::Value::Null,
    });
    let migrations = MigrationBoard::new(&rig.instruments);
    migrate(&rig, &migrations, "7", System::Mongodb, "orders", "WriteConflict");
    migrate(&rig, &migrations, "1.2", System::Postgresql, "public.orders", "lock_not_available");
    rig.instruments.alerts_firing([("info", 0), ("warning", 2), ("critical", 1)]);
    for outcome in ["delivered", "failed", "passed_on", "given_up"] {
        rig.instruments.alert_delivery("ops", outcome);
    }
    let mut got: Vec<String> = rig.text().lines().map(str::to_owned).collect();
    got.sort();
    let got = got.join("\n") + "\n";
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/export/golden_scrape.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden, &got).unwrap();
    }
    let expect = std::fs::read_to_string(golden).unwrap();
    assert!(got == expect, "differs from {golden} (BLESS=1 accepts):\n{got}");
}

#[test]
fn series_end_when_a_partition_is_revoked_and_when_a_pipeline_ends() {
    let rig = rig(2_000);
    let observer = shop(&rig);
    assert_eq!(rig.lines("cdc_consumer_lag_messages").len(), 3);
    assert_eq!(rig.lines("cdc_replication_lag_seconds").len(), 2);
    observer.revoked(&[("shop.public.quiet".into(), 0), ("shop.public.orders".into(), 1)]);
    assert_eq!(
        rig.lines("cdc_consumer_lag_messages"),
        [r#"cdc_consumer_lag_messages{partition="0",topic="shop.public.orders"} 10"#]
    );
    assert_eq!(rig.lines("cdc_replication_lag_seconds").len(), 1);
    drop(observer);
    assert_eq!(rig.lines("cdc_consumer_lag_messages"), [""; 0]);
    assert_eq!(rig.lines("cdc_lag_state"), [""; 0]);
    assert_eq!(rig.lines("cdc_rows_written_total"), [r#"cdc_rows_written_total{pipeline="shop"} 7"#], "counters stay");
}

#[test]
fn zero_on_the_scrape_needs_proof_and_ends_with_it() {
    let rig = rig(2_000);
    let _observer = shop(&rig);
    let quiet = r#"cdc_replication_lag_seconds{source_table="public.quiet",target_table="quiet"}"#;
    let lag = || {
        let lines = rig.lines("cdc_replication_lag_seconds");
        lines.iter().find_map(|line| line.strip_prefix(quiet)).unwrap().trim().to_owned()
    };
    assert_eq!(lag(), "0");
    rig.clock.store(NOW + 27_000, Ordering::Relaxed);
    assert_eq!(lag(), "0", "the heartbeat is 30 s old: just within the window");
    rig.clock.store(NOW + 28_000, Ordering::Relaxed);
    assert_eq!(lag(), "31", "nobody proved anything since the heartbeat");
}

#[test]
fn beyond_the_budget_series_share_one_and_are_counted() {
    let rig = rig(5);
    let observer = Observer::new("p", "kafka", "sqlite", LagConfig::default(), rig.instruments.clone());
    let topic: Arc<str> = "t".into();
    for partition in 0..20 {
        observer.assigned(&[(Arc::clone(&topic), partition)]);
        observer.frontier(&topic, partition, 0, NOW);
        observer.end_offset(&topic, partition, i64::from(partition), NOW);
        let events = vec![("s".into(), format!("t{partition}").into(), Op::Create, 1)];
        observer.applied(&BatchReport { events, ..BatchReport::default() }, NOW);
    }
    let lag = rig.lines("cdc_consumer_lag_messages");
    assert_eq!(lag.len(), 6, "{lag:?}");
    assert!(lag.iter().any(|line| line.contains(r#"{partition="_overflow",topic="_overflow"}"#)), "{lag:?}");
    let events = rig.lines("cdc_events_processed_total");
    assert_eq!(events.len(), 6, "{events:?}");
    let total: u64 = events.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total, 20, "no event is lost from the sum");
    let overflow = rig.lines("series_overflow_total");
    for expect in [
        r#"series_overflow_total{metric="cdc_consumer_lag_messages"} 15"#,
        r#"series_overflow_total{metric="cdc_events_processed_total"} 15"#,
        r#"series_overflow_total{metric="cdc_lag_proof_age_seconds"} 0"#,
    ] {
        assert!(overflow.iter().any(|line| line == expect), "{expect} in {overflow:?}");
    }
    assert!(!rig.text().contains("otel_metric_overflow"), "the SDK's own limit never bites");
}

#[test]
fn two_pipelines_on_one_topic_show_the_larger_lag() {
    let rig = rig(100);
    let topic: Arc<str> = "t".into();
    let all: Vec<_> = [("a", 5), ("b", 9)]
        .map(|(name, end)| {
            let observer = Observer::new(name, "kafka", "sqlite", LagConfig::default(), rig.instruments.clone());
            observer.assigned(&[(Arc::clone(&topic), 0)]);
            observer.frontier(&topic, 0, 0, NOW);
            observer.end_offset(&topic, 0, end, NOW);
            observer
        })
        .into();
    assert_eq!(rig.lines("cdc_consumer_lag_messages"), [r#"cdc_consumer_lag_messages{partition="0",topic="t"} 9"#]);
    drop(all);
}

/// Not a test of correctness: prints what a scrape costs. `cargo test --release -p whimbrel scrape_cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn scrape_cost() {
    let rig = rig(5_000);
    let observer = Observer::new("p", "kafka", "sqlite", LagConfig::default(), rig.instruments.clone());
    for index in 0..200 {
        let topic: Arc<str> = format!("shop.public.table_{index}").into();
        for partition in 0..8 {
            observer.assigned(&[(Arc::clone(&topic), partition)]);
            observer.frontier(&topic, partition, 0, NOW);
            observer.end_offset(&topic, partition, 1_000, NOW);
        }
        observer.applied(
            &BatchReport {
                events: vec![("shop".into(), Arc::clone(&topic), Op::Create, 1)],
                tables: vec![TableLag {
                    topic: Arc::clone(&topic),
                    source_table: Arc::clone(&topic),
                    target_table: Arc::clone(&topic),
                    newest_source_ts_ms: NOW - 1_000,
                }],
                ..BatchReport::default()
            },
            NOW,
        );
    }
    let series = rig.text().lines().filter(|line| !line.starts_with('#')).count();
    let mut times: Vec<f64> = (0..50)
        .map(|round| {
            rig.clock.store(NOW + round * 1_000, Ordering::Relaxed);
            let begin = std::time::Instant::now();
            let _ = rig.scrape.text().unwrap();
            begin.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("scrape of {series} series: median {:.2} ms, slowest {:.2} ms", times[25], times[49]);
    let report = BatchReport {
        events: vec![("shop".into(), "t".into(), Op::Create, 1_000)],
        hops: HopSamples {
            stamps: vec![Stamp { source_us: NOW, captured_us: NOW + 1, received_us: NOW + 2 }; 8],
            transform: Some(Duration::from_millis(1)),
            apply: Some(Duration::from_millis(1)),
        },
        rows: 1_000,
        bytes: 1,
        ..BatchReport::default()
    };
    let begin = std::time::Instant::now();
    for _ in 0..10_000 {
        observer.applied(&report, NOW);
    }
    println!("applied(): {:.2} us a batch", begin.elapsed().as_secs_f64() * 100.0);
}
