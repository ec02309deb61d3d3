//! OTLP to a real collector: what its file exporter wrote down is what arrived.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use whimbrel::config::raw;
use whimbrel::export::trace::{BatchFacts, Links};
use whimbrel::runtime::telemetry::{LogConfig, Telemetry};

use super::{env, export_config, otlp, shop, until};

const CAUSE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What the collector received from one agent.
#[derive(Debug, Default)]
struct Received {
    metrics: Vec<Value>,
    spans: Vec<Value>,
    logs: Vec<Value>,
}

impl Received {
    fn read(instance: &str) -> Self {
        let mut received = Self::default();
        let file = std::fs::File::open(env("OTELCOL_OUT")).unwrap();
        for line in BufReader::new(file).lines() {
            // The last line may be half written.
            let Ok(line) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
            for (resources, scopes, items, into) in [
                ("resourceMetrics", "scopeMetrics", "metrics", &mut received.metrics),
                ("resourceSpans", "scopeSpans", "spans", &mut received.spans),
                ("resourceLogs", "scopeLogs", "logRecords", &mut received.logs),
            ] {
                for resource in line[resources].as_array().into_iter().flatten() {
                    if attribute(&resource["resource"], "service.instance.id") != Some(instance.into()) {
                        continue;
                    }
                    assert_eq!(attribute(&resource["resource"], "service.name"), Some("whimbrel".into()));
                    for scope in resource[scopes].as_array().into_iter().flatten() {
                        for item in scope[items].as_array().into_iter().flatten() {
                            let mut item = item.clone();
                            item["scope"] = scope["scope"]["name"].clone();
                            into.push(item);
                        }
                    }
                }
            }
        }
        received
    }

    fn metric(&self, name: &str) -> Option<&Value> {
        self.metrics.iter().rev().find(|metric| metric["name"] == name)
    }
}

fn attribute(of: &Value, key: &str) -> Option<String> {
    let pair = of["attributes"].as_array()?.iter().find(|pair| pair["key"] == key)?;
    let value = pair["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn points<'a>(metric: &'a Value, kind: &str) -> &'a Vec<Value> {
    metric[kind]["dataPoints"].as_array().unwrap_or_else(|| panic!("no {kind} in {metric}"))
}

fn value_of(points: &[Value], key: &str, value: &str) -> f64 {
    let point = points.iter().find(|point| attribute(point, key).as_deref() == Some(value)).unwrap();
    let number = if point["asInt"].is_null() { &point["asDouble"] } else { &point["asInt"] };
    number.as_f64().or_else(|| number.as_str()?.parse().ok()).unwrap()
}

/// Metrics, a span with its link and stages, and a log record must arrive over this protocol.
async fn all_three_arrive(protocol: &str, endpoint: String) {
    let instance = format!("observability-{protocol}-{}-{:?}", std::process::id(), Instant::now());
    let config = export_config(Some(otlp(protocol, &endpoint)));
    let (telemetry, _) = Telemetry::prepare(&instance, None, &config).unwrap();
    let observer = shop(&telemetry.instruments, "shop");
    let mut links = Links::default();
    assert!(links.take(format!("00-{CAUSE}-00f067aa0ba902b7-01").as_bytes()));
    let now = SystemTime::now();
    let facts = BatchFacts { pipeline: "shop", group: "migration-consumer", topic: Some("t"), records: 5 };
    let span = telemetry.traces.batch(&facts, links, now);
    for stage in ["decode", "transform"] {
        span.stage(stage, now, now + Duration::from_millis(1));
    }
    span.apply("postgresql", 5, now, now + Duration::from_millis(9), Ok(()));
    span.end(now + Duration::from_millis(10), Ok(()));
    // Two pushes of metrics, then the rest at the end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    tokio::task::spawn_blocking(move || telemetry.shutdown(Duration::from_secs(5))).await.unwrap();
    drop(observer);

    let received = until("spans at the collector", Duration::from_secs(10), async || {
        let received = Received::read(&instance);
        (received.spans.len() >= 4 && received.metric("kafka.consumer_group.lag").is_some()).then_some(received)
    })
    .await;

    let lag = received.metric("cdc_consumer_lag_messages").unwrap();
    assert_eq!(value_of(points(lag, "gauge"), "topic", "shop.public.orders"), 10.0);
    assert_eq!(value_of(points(received.metric("cdc_lag_state").unwrap(), "gauge"), "state", "behind"), 1.0);
    let events = received.metric("cdc_events_processed_total").unwrap();
    assert_eq!(events["sum"]["isMonotonic"], true);
    assert_eq!(value_of(points(events, "sum"), "operation", "create"), 5.0);
    let hops = points(received.metric("cdc_hop_duration_seconds").unwrap(), "histogram");
    let names: BTreeSet<_> = hops.iter().filter_map(|point| attribute(point, "hop")).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["apply", "broker", "capture", "end_to_end", "transform"]);
    assert!(received.metric("process_resident_memory_bytes").is_some());
    let group = points(received.metric("kafka.consumer_group.lag").unwrap(), "gauge");
    assert_eq!(value_of(group, "topic", "shop.public.orders"), 10.0);
    assert_eq!(attribute(&group[0], "group").as_deref(), Some("migration-consumer"));
    let db = points(received.metric("db.client.operation.duration").unwrap(), "histogram");
    assert_eq!(attribute(&db[0], "db.system.name").as_deref(), Some("postgresql"));

    let by = |name: &str| received.spans.iter().find(|span| span["name"] == name).unwrap();
    let batch = by("cdc.batch");
    assert_eq!(batch["links"][0]["traceId"], CAUSE);
    assert_eq!(attribute(batch, "messaging.batch.message_count").as_deref(), Some("5"));
    for stage in ["decode", "transform", "apply"] {
        assert_eq!(by(stage)["parentSpanId"], batch["spanId"], "{stage}");
        assert_eq!(by(stage)["traceId"], batch["traceId"], "{stage}");
    }
    assert_eq!(received.spans.len(), 4);
    let everything = format!("{received:?}");
    assert!(!everything.contains("canary-secret"), "a header value is nobody's telemetry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_linked_spans_arrive_over_http() {
    all_three_arrive("http/protobuf", format!("http://127.0.0.1:{}", env("OTLP_HTTP_PORT"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_linked_spans_arrive_over_grpc() {
    all_three_arrive("grpc", format!("http://127.0.0.1:{}", env("OTLP_GRPC_PORT"))).await;
}

/// The process whose logs [`logs_arrive_once_and_cause_no_more_logs`] looks at: logging is set up once per process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn logging_process() {
    let (instance, protocol) = (env("OBSERVED_INSTANCE"), env("OBSERVED_PROTOCOL"));
    let port = env(if protocol == "grpc" { "OTLP_GRPC_PORT" } else { "OTLP_HTTP_PORT" });
    let config = export_config(Some(otlp(&protocol, &format!("http://127.0.0.1:{port}"))));
    let raw = raw::Log { level: Some("trace".into()), format: Some(raw::LogFormat::Json), file: None };
    let telemetry = Telemetry::start(&instance, &LogConfig::new(&raw).unwrap(), &config).unwrap();
    for number in 1..=3 {
        tracing::info!(target: "whimbrel::observed", number, text = "one\ntwo", "observed");
    }
    // Many pushes: each would log, and each log would be pushed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::task::spawn_blocking(move || telemetry.shutdown(Duration::from_secs(5))).await.unwrap();
}

async fn logs_arrive_once(protocol: &str) {
    let instance = format!("observability-logs-{protocol}-{}-{:?}", std::process::id(), Instant::now());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "observability::collector::logging_process", "--ignored", "--nocapture"])
        .env("OBSERVED_INSTANCE", &instance)
        .env("OBSERVED_PROTOCOL", protocol)
        .env_remove("WHIMBREL_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let console = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}\n{console}", String::from_utf8_lossy(&output.stdout));

    let carrier =
        |target: &str| ["hyper", "h2", "tonic", "opentelemetry", "reqwest"].iter().any(|c| target.starts_with(c));
    let lines: Vec<Value> = console.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |line: &Value| line["target"].as_str().unwrap_or_default().to_owned();
    assert_eq!(lines.iter().filter(|line| of(line) == "whimbrel::observed").count(), 3, "on the console");
    assert!(
        lines.iter().any(|line| carrier(&of(line))),
        "at trace level the carriers do log: else this proves nothing"
    );
    assert!(!console.contains("canary-secret"), "header values are secret at every level");

    let received = until("logs at the collector", Duration::from_secs(10), async || {
        let received = Received::read(&instance);
        (received.logs.len() >= 3).then_some(received)
    })
    .await;
    let observed: Vec<_> = received.logs.iter().filter(|log| log["scope"] == "whimbrel::observed").collect();
    assert_eq!(observed.len(), 3, "{:#?}", received.logs);
    assert_eq!(observed[0]["body"]["stringValue"], "observed");
    assert_eq!(attribute(observed[0], "number").as_deref(), Some("1"));
    assert_eq!(observed[0]["severityText"], "INFO");
    let scopes: BTreeSet<_> = received.logs.iter().filter_map(|log| log["scope"].as_str()).collect();
    assert!(!scopes.iter().any(|scope| carrier(scope)), "carriers fed back: {scopes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_arrive_once_and_cause_no_more_logs_over_http() {
    logs_arrive_once("http/protobuf").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_arrive_once_and_cause_no_more_logs_over_grpc() {
    logs_arrive_once("grpc").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_headers_go_with_every_request_and_no_redirect_is_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let heads = std::thread::spawn(move || {
        let mut heads = Vec::new();
        while heads.len() < 2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap();
            heads.push(String::from_utf8_lossy(&bytes[..count]).to_lowercase());
            let answer = "HTTP/1.1 307 x\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heads
    });
    let (telemetry, _) = Telemetry::prepare("x", None, &export_config(Some(otlp("http/protobuf", &endpoint)))).unwrap();
    let heads = tokio::task::spawn_blocking(move || heads.join().unwrap()).await.unwrap();
    for head in &heads {
        assert!(head.starts_with("post /v1/metrics http/1.1"), "{head}");
        assert!(head.contains("x-token: canary-secret"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    }
    drop(telemetry);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_delays_nothing_but_the_end_and_that_only_for_the_grace() {
    for protocol in ["http/protobuf", "grpc"] {
        // Accepts connections and never answers: the worst kind of away.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let (telemetry, _) = Telemetry::prepare("x", None, &export_config(Some(otlp(protocol, &endpoint)))).unwrap();
        let begin = Instant::now();
        let observer = shop(&telemetry.instruments, "shop");
        for _ in 0..10_000 {
            let facts = BatchFacts { pipeline: "p", group: "g", topic: None, records: 1 };
            telemetry.traces.batch(&facts, Links::default(), SystemTime::now()).end(SystemTime::now(), Ok(()));
        }
        assert!(!telemetry.scrape.text().unwrap().is_empty());
        assert!(begin.elapsed() < Duration::from_secs(2), "{protocol}: {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begin = Instant::now();
        tokio::task::spawn_blocking(move || telemetry.shutdown(Duration::from_secs(1))).await.unwrap();
        assert!(begin.elapsed() < Duration::from_millis(1_500), "{protocol}: {:?}", begin.elapsed());
        drop(observer);
    }
}
