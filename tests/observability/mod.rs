//! What leaves the agent, checked with what receives it: a real OpenTelemetry Collector, a real Prometheus, plain HTTP.
//!
//! Needs the services' environment (`OTLP_HTTP_PORT`, `OTLP_GRPC_PORT`, `OTELCOL_OUT`, `WHIMBREL_SERVICES`).

mod collector;
mod http;
mod page;
pub(crate) mod prometheus;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use whimbrel::config::raw;
use whimbrel::event::{Op, Reason};
use whimbrel::export::ExportConfig;
use whimbrel::stats::{
    BatchReport, HopSamples, Instruments, LagConfig, Observer, PipelineState, Stamp, TableLag, Watermark,
};

/// A variable the test cannot do without.
fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the services first (`./x services up`)"))
}

fn export_config(otlp: Option<serde_json::Value>) -> ExportConfig {
    let otlp: Option<raw::Otlp> = otlp.map(|otlp| serde_json::from_value(otlp).unwrap());
    ExportConfig::new(&raw::Http { listen: "127.0.0.1:0".into() }, otlp.as_ref(), &raw::Metrics::default()).unwrap()
}

fn otlp(protocol: &str, endpoint: &str) -> serde_json::Value {
    json!({
        "endpoint": endpoint, "protocol": protocol, "interval": "200ms", "timeout": "5s",
        "semantic_conventions": true, "headers": {"x-token": "canary-secret"}
    })
}

/// A pipeline that is behind on one table and caught up on another.
fn shop(instruments: &Instruments, name: &str) -> Arc<Observer> {
    let now = instruments.now_ms();
    let observer = Observer::new(name, "kafka", "postgresql", LagConfig::default(), instruments.clone());
    observer.group("migration-consumer");
    let (orders, items): (Arc<str>, Arc<str>) = ("shop.public.orders".into(), "shop.public.items".into());
    observer.assigned(&[(Arc::clone(&orders), 0), (Arc::clone(&items), 0)]);
    observer.frontier(&orders, 0, 90, now);
    observer.frontier(&items, 0, 7, now);
    observer.heartbeat(&"__debezium-heartbeat.shop".into(), now - 500, now);
    observer.end_offset(&orders, 0, 100, now);
    observer.end_offset(&items, 0, 7, now);
    let table = |topic: &Arc<str>, source: &str, target: &str| TableLag {
        topic: Arc::clone(topic),
        source_table: source.into(),
        target_table: target.into(),
        newest_source_ts_ms: now - 5_000,
    };
    observer.applied(
        &BatchReport {
            events: vec![("shop".into(), "public.orders".into(), Op::Create, 5)],
            tables: vec![table(&orders, "public.orders", "orders"), table(&items, "public.items", "items")],
            watermarks: vec![Watermark { topic: orders, partition: 0, newest_source_ts_ms: now - 5_000 }],
            hops: HopSamples {
                stamps: vec![Stamp {
                    source_us: (now - 5_000) * 1_000,
                    captured_us: (now - 4_900) * 1_000,
                    received_us: (now - 4_000) * 1_000,
                }],
                transform: Some(Duration::from_millis(2)),
                apply: Some(Duration::from_millis(20)),
            },
            rows: 5,
            dead_letters: vec![(Reason::Malformed, 1)],
            ..BatchReport::default()
        },
        now,
    );
    observer.state(PipelineState::Running);
    observer
}

/// Asks until there is an answer.
async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
