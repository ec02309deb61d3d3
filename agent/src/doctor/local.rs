//! What is on this machine: files, the port, plugins; and the collector.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::databases::file;
use super::{Finding, in_time};
use crate::config::AgentConfig;
use crate::export::OtlpConfig;
use crate::monitor::Monitor;
use crate::plugin::Sandbox;
use crate::source::kafka::watch::now_ms;
use crate::stats::Instruments;
use crate::transform;

/// How long the port may take to answer.
const KNOCK: Duration = Duration::from_secs(2);

/// Looks at files, port and plugins.
pub(super) async fn examine(config: &AgentConfig, sandbox: Sandbox) -> Vec<Finding> {
    let mut all = vec![port(config).await];
    let files = [
        ("file of the log", &config.log.file),
        ("file of the plugins' state", &config.plugins.state_file),
        ("file of the monitor", &config.monitor.as_ref().and_then(|monitor| monitor.file.clone())),
    ];
    all.extend(files.iter().filter_map(|(what, path)| Some(file((*what).to_owned(), path.as_deref()?))));
    let config = config.clone();
    let loaded = in_time(tokio::task::spawn_blocking(move || plugins(&config, &sandbox))).await;
    match loaded {
        Ok(Ok(findings)) => all.extend(findings),
        Ok(Err(_)) | Err(_) => all.push(Finding::warning("plugins", "were not loaded in time", "try again")),
    }
    all
}

async fn port(config: &AgentConfig) -> Finding {
    let listen = config.export.listen;
    let what = format!("http endpoint {listen}");
    match TcpListener::bind(listen).await {
        Ok(_) => Finding::good(what, "is free"),
        Err(error) => match tokio::time::timeout(KNOCK, TcpStream::connect(listen)).await {
            Ok(Ok(_)) => Finding::good(what, "somebody listens there; good if it is this agent"),
            _ => Finding::bad(what, format!("cannot be had: {error}"), "write another address into `http.listen`"),
        },
    }
}

/// Loads every plugin as `whimbrel run` would.
fn plugins(config: &AgentConfig, sandbox: &Sandbox) -> Vec<Finding> {
    let instruments = Instruments::detached(std::sync::Arc::new(now_ms));
    let mut all = Vec::new();
    for pipeline in config.pipelines.iter().filter(|pipeline| !pipeline.transform.is_empty()) {
        let name = &pipeline.settings.name;
        let what = format!("pipeline {name}: plugins");
        all.push(match transform::build(sandbox, name, &pipeline.transform, &instruments) {
            Ok(_) => Finding::good(what, format!("{} loaded", pipeline.transform.len())),
            Err(error) => Finding::bad(
                what,
                crate::runtime::logging::chain(&error),
                "`whimbrel plugin check FILE` tells all that the agent wants of a plugin",
            ),
        });
    }
    if let Some(monitor) = &config.monitor {
        all.push(match Monitor::check(monitor, sandbox, &instruments) {
            Ok((rules, channels)) => {
                Finding::good("monitor: plugins", format!("{rules} rules and {channels} channels loaded"))
            }
            Err(error) => Finding::bad(
                "monitor: plugins",
                crate::runtime::logging::chain(&error),
                "correct the entry; `whimbrel alerts test --channel NAME` tries a channel",
            ),
        });
    }
    all
}

/// Whether somebody listens where metrics, traces and logs are pushed.
pub(super) async fn otlp(config: Option<&OtlpConfig>) -> Vec<Finding> {
    let Some(config) = config else { return Vec::new() };
    let endpoint = &config.endpoint;
    let what = "otlp collector";
    let host = endpoint.host_str().unwrap_or_default().to_owned();
    let port = endpoint.port_or_known_default().unwrap_or(4_317);
    let remedy = "start the collector, or correct `otlp.endpoint`";
    vec![match in_time(TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Finding::good(what, format!("{host}:{port} accepts connections")),
        Ok(Err(error)) => Finding::bad(what, format!("{host}:{port}: {error}"), remedy),
        Err(late) => Finding::bad(what, format!("{host}:{port}: {late}"), remedy),
    }]
}
