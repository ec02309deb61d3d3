//! An OpenTelemetry Collector that takes only TLS with a client's certificate, over both wire protocols.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CANARY, PATIENCE, certificate, source};
use crate::support::agent::Agent;
use crate::support::{eventually, port, setting, unique};

type Words = &'static [&'static str];

/// An agent that exports, and the words that must be in its log; none: its metrics arrive.
struct Case {
    name: String,
    agent: Agent,
    expect: Words,
}

fn start(
    directory: &std::path::Path,
    protocol: &str,
    host: &str,
    tls: &Value,
    expect: &'static [&'static str],
) -> Case {
    let name = unique("collector");
    let endpoint = match protocol {
        "grpc" => format!("https://{host}:{}", port("OTLP_TLS_GRPC_PORT")),
        _ => format!("https://{host}:{}", port("OTLP_TLS_HTTP_PORT")),
    };
    let config = json!({
        "name": name, "http": {"listen": "127.0.0.1:0"},
        "otlp": {
            "endpoint": endpoint, "protocol": protocol, "tls": tls, "interval": "300ms", "timeout": "3s",
            "headers": {"x-token": "${env:OTLP_TOKEN}"},
        },
        "pipelines": [{
            "name": "p", "source": {"kafka": source("none", port("KAFKA_PORT"), "127.0.0.1", json!({}))},
            "target": {"sqlite": {"path": directory.join(format!("{name}.db"))}},
        }],
    });
    let agent = Agent::start(directory, &name, &config, &[("OTLP_TOKEN", "canary-token")]);
    Case { name, agent, expect }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_reach_a_collector_with_tls_or_the_log_says_what_to_mend() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, stranger) = (certificate("ca.pem"), certificate("stranger-ca.pem"));
    let (cert, key) = (certificate("client.pem"), certificate("client.key"));
    let mut cases = Vec::new();
    for protocol in ["http/protobuf", "grpc"] {
        let mut case = |host, tls, expect| cases.push(start(directory.path(), protocol, host, &tls, expect));
        let with = |ca| json!({"ca_file": ca, "cert_file": cert, "key_file": key});
        case("localhost", with(&ca), &[]);
        // The words of the library, and over HTTP also the setting: gRPC's client tells its errors to nobody but the SDK.
        let told = |http: Words, grpc: Words| if protocol == "grpc" { grpc } else { http };
        case("localhost", with(&stranger), told(&["UnknownIssuer", "`otlp.tls.ca_file`"], &["UnknownIssuer"]));
        case("127.0.0.1", with(&ca), told(&["connect by a name that it holds"], &["certificate not valid for name"]));
        case("localhost", json!({"ca_file": ca}), told(&["`otlp.tls.cert_file`"], &["CertificateRequired"]));
    }
    for Case { name, agent, expect } in &mut cases {
        eventually(&format!("{name}: {expect:?}"), PATIENCE, async || {
            let said = agent.log();
            if expect.is_empty() {
                let received = std::fs::read_to_string(setting("OTELCOL_OUT")).map_err(|e| e.to_string())?;
                let arrived =
                    received.lines().any(|line| line.contains(name.as_str()) && line.contains("cdc_pipeline_info"));
                return if arrived { Ok(()) } else { Err(agent.tail()) };
            }
            if expect.iter().all(|word| said.contains(word)) { Ok(()) } else { Err(said) }
        })
        .await;
        assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
        assert!(!agent.log().contains(CANARY), "{}", agent.log());
    }
    let received = std::fs::read_to_string(setting("OTELCOL_OUT")).unwrap();
    assert!(!received.contains("canary-token"), "a header is nobody's telemetry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_file_that_is_none_ends_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let rubbish = directory.path().join("rubbish.pem");
    std::fs::write(&rubbish, "no certificate").unwrap();
    for (tls, expect) in [
        (json!({"ca_file": rubbish}), "`otlp.tls.ca_file`"),
        (json!({"ca_file": "/no/such/ca.pem"}), "`otlp.tls.ca_file`"),
        (json!({"cert_file": rubbish, "key_file": certificate("client.key")}), "`otlp.tls.cert_file`"),
    ] {
        let mut case = start(directory.path(), "http/protobuf", "localhost", &tls, &[]);
        let agent = &mut case.agent;
        eventually("it ends", Duration::from_secs(20), async || if agent.ended() { Ok(()) } else { Err(agent.tail()) })
            .await;
        assert!(agent.log().contains(expect), "{}", agent.log());
        assert_eq!(agent.stop(), Some(1));
    }
}
