//! The scrape, read by a real Prometheus and checked by its own tool.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::http::Endpoint;
use super::{env, shop, until};

/// A Prometheus of this test's own, which scrapes one address every second; stopped and deleted when dropped.
pub(crate) struct Prometheus {
    data: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Prometheus {
    fn run(data: &Path, port: u16, verb: &str, target: &str) {
        let done = Command::new(format!("{}/prometheus.sh", env("WHIMBREL_SERVICES")))
            .arg(verb)
            .env("SVC_DATA", data)
            .env("PROMETHEUS_PORT", port.to_string())
            .env("PROMETHEUS_TARGETS", target)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "prometheus.sh {verb}");
    }

    pub(crate) fn start(target: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        // Free now; nobody else is told of it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::run(data.path(), port, "start", target);
        Self { data, port }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        Self::run(self.data.path(), self.port, "wipe", "");
    }
}

fn promtool(text: &[u8]) -> (bool, String) {
    use std::io::Write as _;
    let path = format!("{}:{}/prometheus/usr/bin", std::env::var("PATH").unwrap(), env("SVC_HOME"));
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(text).unwrap();
    let output = tool.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_it_and_answers_questions_about_it() {
    let endpoint = Endpoint::start().await;
    let observer = shop(&endpoint.instruments, "shop");

    let answer = endpoint.client.get(format!("{}/metrics", endpoint.base)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.bytes().await.unwrap();
    let (fine, said) = promtool(&text);
    assert!(fine && said.is_empty(), "promtool: {said}");
    let (fine, _) = promtool(b"# TYPE a_total gauge\na_total 1\na_total 2\n");
    assert!(!fine, "promtool does complain when there is reason");

    let target = endpoint.address.clone();
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&target)).await.unwrap();
    let ask = async |query: &str| -> Option<f64> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", prometheus.port);
        let answer: Value = endpoint.client.get(url).query(&[("query", query)]).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    let up = format!("up{{instance=\"{}\"}} == 1", endpoint.address);
    until("up == 1", Duration::from_secs(20), async || ask(&up).await).await;
    for (query, expect) in [
        (r#"cdc_consumer_lag_messages{topic="shop.public.orders",partition="0"}"#, 10.0),
        (r#"cdc_replication_lag_seconds{source_table="public.items",target_table="items"}"#, 0.0),
        (r#"cdc_events_processed_total{source="shop",table="public.orders",operation="create"}"#, 5.0),
        (r#"cdc_lag_state{pipeline="shop",state="behind"}"#, 1.0),
        (r#"sum(cdc_lag_state{pipeline="shop"})"#, 1.0),
        (r#"cdc_hop_duration_seconds_count{hop="end_to_end"}"#, 1.0),
        (r#"histogram_quantile(0.5, cdc_hop_duration_seconds_bucket{hop="apply"}) < bool 0.03"#, 1.0),
        (r#"cdc_dead_letters_total{reason="malformed"}"#, 1.0),
        (r#"cdc_lag_state * on(pipeline) group_left(target) cdc_pipeline_info{target="postgresql"} == 1"#, 1.0),
        (r#"target_info{service_name="whimbrel",service_instance_id="agent-1"}"#, 1.0),
        ("process_resident_memory_bytes > bool 1000000", 1.0),
    ] {
        assert_eq!(ask(query).await, Some(expect), "{query}");
    }
    // A revoked partition's series ends at the next scrape, and Prometheus marks it stale.
    observer.revoked(&[("shop.public.orders".into(), 0)]);
    until("the series of a revoked partition ends", Duration::from_secs(10), async || {
        ask(r#"count(cdc_consumer_lag_messages{topic="shop.public.orders"})"#).await.is_none().then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || drop(prometheus)).await.unwrap();
    endpoint.stop().await;
}
