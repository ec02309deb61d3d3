//! A real Prometheus, which scrapes what a test tells it to every second; and its tool.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use whimbrel_monitor::ask::{Access, Asked};

use super::env;

/// Stopped and deleted when dropped.
pub(super) struct Prometheus {
    data: tempfile::TempDir,
    pub(super) port: u16,
}

impl Prometheus {
    fn run(data: &Path, port: u16, verb: &str, targets: &str) {
        let done = Command::new(format!("{}/prometheus.sh", env("WHIMBREL_SERVICES")))
            .arg(verb)
            .env("SVC_DATA", data)
            .env("PROMETHEUS_PORT", port.to_string())
            .env("PROMETHEUS_TARGETS", targets)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "prometheus.sh {verb}");
    }

    pub(super) fn start(targets: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        // Free now; nobody else is told of it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::run(data.path(), port, "start", targets);
        Self { data, port }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The series of a query.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let asked = Asked::new(&self.url(), &Access::default()).unwrap();
        let answer = asked.get("api/v1/query", &[("query", query)]).await.map_err(|error| error.to_string())?;
        match answer.body["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => Err(answer.body["error"].to_string()),
        }
    }

    /// Waits until a query has series.
    pub(super) async fn until(&self, query: &str) {
        let begin = Instant::now();
        while self.query(query).await.is_ok_and(|series| series.is_empty()) || self.query(query).await.is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{query}: no series within 30 s");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        Self::run(self.data.path(), self.port, "wipe", "");
    }
}

/// Runs Prometheus's tool.
pub(super) fn promtool(arguments: &[&str]) -> Output {
    let path = format!("{}:{}/prometheus/usr/bin", env("PATH"), env("SVC_HOME"));
    Command::new("promtool").args(arguments).env("PATH", path).output().unwrap()
}
