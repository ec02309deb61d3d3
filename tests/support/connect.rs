//! Connectors in Kafka Connect: made by `whimbrel connectors apply`, so that what it renders is proven on the real thing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::binary;
use super::{eventually, port, unique};

/// How long Connect may take for what it does in the background.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A name for a connector and all that belongs to it.
pub(crate) fn name(stem: &str) -> String {
    // Connect remembers offsets by connector even after it is deleted: a process id that comes again is not enough.
    format!("{}_{:08x}", unique(stem), rand::random::<u32>())
}

/// Makes the connector that `entry` of the configuration's list describes, and waits until it runs.
pub(crate) async fn apply(directory: &Path, entry: &Value) {
    let config = json!({"connectors": {"url": format!("http://127.0.0.1:{}", port("CONNECT_PORT")), "list": [entry]}});
    let file = directory.join("connectors.yaml");
    std::fs::write(&file, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    let apply = move || Command::new(binary()).args(["connectors", "apply", "--config"]).arg(&file).output();
    let output = tokio::task::spawn_blocking(apply).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "connectors apply: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tells Connect to `pause` or `resume` a connector.
pub(crate) async fn tell(name: &str, verb: &str) {
    client().put(rest(name, &format!("/{verb}"))).send().await.unwrap().error_for_status().unwrap();
}

/// Deletes a connector, if there is one.
pub(crate) async fn remove(name: &str) {
    let client = client();
    let gone = async || {
        let answer = client.delete(rest(name, "")).send().await.map_err(|e| e.to_string())?;
        // 409 while Connect is busy with itself.
        if answer.status().is_success() || answer.status() == 404 { Ok(()) } else { Err(answer.status().to_string()) }
    };
    eventually("delete the connector", PATIENCE, gone).await;
}

fn rest(name: &str, below: &str) -> String {
    format!("http://127.0.0.1:{}/connectors/migration-connector-{name}{below}", port("CONNECT_PORT"))
}

fn client() -> reqwest::Client {
    // reqwest asks for a TLS provider even where only plain HTTP is spoken; another test may have been first.
    whimbrel::runtime::tls::install();
    reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap()
}
