//! The HTTP endpoint as a client sees it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use whimbrel::export::http::Surface;
use whimbrel::export::serve;
use whimbrel::monitor::View;
use whimbrel::runtime::telemetry::Telemetry;
use whimbrel::stats::{Component, Health, Instruments, LagConfig, Observer, PipelineState};

use super::{export_config, shop};

/// A running endpoint.
pub(super) struct Endpoint {
    pub(super) base: String,
    pub(super) address: String,
    pub(super) instruments: Instruments,
    pub(super) monitor: Arc<OnceLock<View>>,
    pub(super) client: reqwest::Client,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
    _telemetry: Telemetry,
}

impl Endpoint {
    pub(super) async fn start() -> Self {
        whimbrel::runtime::tls::install();
        let config = export_config(None);
        let (telemetry, _) = Telemetry::prepare("agent-1", None, &config).unwrap();
        let instruments = telemetry.instruments.clone();
        let surface = Surface::new("agent-1", &instruments, &telemetry.scrape);
        let monitor = Arc::clone(&surface.monitor);
        let server = serve(config.listen, surface).await.unwrap();
        let address = server.address().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build().unwrap();
        let base = format!("http://{address}");
        Self { base, address, instruments, monitor, client, stop, running, _telemetry: telemetry }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(super) async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.running).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn ready_is_when_every_pipeline_runs_and_nothing_is_down_and_each_reason_is_told() {
    let endpoint = Endpoint::start().await;
    assert_eq!(endpoint.get("/healthz").await, (200, Value::String("ok\n".into())));
    let (status, body) = endpoint.get("/readyz").await;
    assert_eq!((status, &body["reason"]), (503, &"no pipeline has started".into()));

    let good = shop(&endpoint.instruments, "good");
    let other = Observer::new("other", "kafka", "mongodb", LagConfig::default(), endpoint.instruments.clone());
    let (status, body) = endpoint.get("/readyz").await;
    assert_eq!((status, &body["ready"]), (503, &false.into()));
    assert_eq!(body["pipelines"]["good"]["ready"], true);
    assert_eq!(body["pipelines"]["other"]["reasons"][0], "starting");

    other.state(PipelineState::Paused { why: "login refused".into(), remedy: "mend the password".into() });
    other.component(Component::Target, Health::Down { why: "login refused".into() });
    let (_, body) = endpoint.get("/readyz").await;
    let reasons = &body["pipelines"]["other"]["reasons"];
    assert_eq!(
        (&reasons[0], &reasons[1]),
        (&"paused: login refused; mend the password".into(), &"target: login refused".into())
    );
    assert_eq!(body["pipelines"]["other"]["components"]["target"]["health"], "down");

    other.state(PipelineState::Running);
    other.component(Component::Target, Health::Up);
    let (status, body) = endpoint.get("/readyz").await;
    assert_eq!((status, &body["ready"]), (200, &true.into()), "being behind is not being unready: {body}");
    drop((good, other));
    endpoint.stop().await;
}

#[tokio::test]
async fn the_status_tells_lag_totals_and_state_of_each_pipeline() {
    let endpoint = Endpoint::start().await;
    let observer = shop(&endpoint.instruments, "shop");
    observer.dead_letters_stored(1);
    let (status, body) = endpoint.get("/api/v1/status").await;
    assert_eq!((status, &body["name"]), (200, &"agent-1".into()));
    let shop = &body["pipelines"][0];
    assert_eq!((&shop["pipeline"], &shop["state"]), (&"shop".into(), &"running".into()));
    assert_eq!((&shop["lag"]["state"], &shop["lag"]["messages"]), (&"behind".into(), &10.into()));
    assert_eq!(shop["totals"]["events"]["create"], 5);
    assert_eq!(shop["totals"]["dead_letters"]["malformed"], 1);
    assert_eq!(shop["dead_letters_stored"], 1);
    let items = shop["lag"]["tables"].as_array().unwrap().iter().find(|t| t["target_table"] == "items").unwrap();
    assert_eq!((&items["state"], &items["time_lag_ms"]), (&"caught_up".into(), &0.into()));

    let (status, one) = endpoint.get("/api/v1/pipelines/shop").await;
    assert_eq!((status, &one["pipeline"]), (200, &"shop".into()));
    assert_eq!(endpoint.get("/api/v1/pipelines/none").await.0, 404);
    assert_eq!(endpoint.get("/nowhere").await.0, 404);
    let post = endpoint.client.post(format!("{}/api/v1/status", endpoint.base)).send().await.unwrap();
    assert_eq!(post.status(), 405, "read-only");
    endpoint.stop().await;
}

#[tokio::test]
async fn a_page_in_a_browser_gets_nothing_out_of_it() {
    let endpoint = Endpoint::start().await;
    for path in ["/metrics", "/readyz", "/api/v1/status", "/nowhere"] {
        let answer = endpoint.client.get(format!("{}{path}", endpoint.base)).send().await.unwrap();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers().get(name).unwrap(), value, "{path}");
        }
        assert!(answer.headers().get("access-control-allow-origin").is_none());
        let rebound = endpoint.client.get(format!("{}{path}", endpoint.base)).header("host", "evil.example");
        assert_eq!(rebound.send().await.unwrap().status(), 421, "{path}: a name re-bound to loopback");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn the_second_agent_on_a_port_is_told_so() {
    let endpoint = Endpoint::start().await;
    let surface = Surface::new("agent-2", &endpoint.instruments, &whimbrel::export::Scrape::new().unwrap().0);
    let error = serve(endpoint.address.parse().unwrap(), surface).await.unwrap_err();
    assert!(error.to_string().contains("is another agent running"), "{error}");
    endpoint.stop().await;
}
