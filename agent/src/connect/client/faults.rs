//! What a real Kafka Connect will not do on request: answer with 409, 500 or nonsense, hang, or speak TLS with an unknown
//! authority. The server here is small and answers from a list.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::*;
use crate::{
    config::connectors::Connectors,
    connect::{
        health::Condition,
        settings::Settings,
        supervisor::{RestartAction, Supervisor},
    },
};

/// Answers in the order they are given, the last one for ever; and what was asked.
#[derive(Clone, Default)]
struct Double {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(double): State<Double>, request: Request) -> Response {
    double.asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    let mut answers = double.answers.lock().unwrap();
    let (status, body) = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap();
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn serve(answers: &[(u16, &str)]) -> (SocketAddr, Double) {
    let double = Double::default();
    double.answers.lock().unwrap().extend(answers.iter().map(|(status, body)| (*status, (*body).to_owned())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(answer).with_state(double.clone());
    #[expect(clippy::disallowed_methods, reason = "a double that ends with the test")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, double)
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint { url: Url::parse(url).unwrap(), basic_auth: None, ca_file: None, timeout: Duration::from_secs(5) }
}

fn client(address: SocketAddr) -> Client {
    let mut redactor = Redactor::default();
    redactor.learn_value("canary");
    let retry = Retry { attempts: 4, first: Duration::from_millis(5), longest: Duration::from_millis(10) };
    Client::new(&endpoint(&format!("http://{address}")), redactor).unwrap().with_retry(retry)
}

const BUSY: (u16, &str) = (
    409,
    r#"{"error_code":409,"message":"Cannot complete request because of a conflicting operation (e.g. worker rebalance)"}"#,
);

/// As for `internal.legacy.snapshot.max.threads` of Debezium's MySQL connector 3.6.
#[tokio::test]
async fn a_property_without_a_value_in_a_validation_is_passed_over() {
    let validation = r#"{"name": "c", "error_count": 1, "groups": [], "configs": [
        {"definition": {"name": "internal.hidden"}, "value": null},
        {"definition": null, "value": {"name": "database.port", "value": "x", "errors": ["not a number"], "visible": true}},
        {"definition": {"name": "topic.prefix"}, "value": {"name": "topic.prefix", "value": "x", "errors": []}}]}"#;
    let (address, _) = serve(&[(200, validation)]).await;
    let problems = client(address).validate("a", &ConnectorConfig::default()).await.unwrap();
    assert_eq!(problems, [("database.port".to_owned(), vec!["not a number".to_owned()])]);
}

#[tokio::test]
async fn a_rebalance_is_waited_for_and_no_longer_than_allowed() {
    let (address, double) = serve(&[BUSY, BUSY, (200, "{}")]).await;
    client(address).put_config("a", &ConnectorConfig::default()).await.unwrap();
    assert_eq!(*double.asked.lock().unwrap(), ["PUT /connectors/a/config"; 3]);

    let (address, double) = serve(&[BUSY]).await;
    let error = client(address).restart_failed("a").await.unwrap_err();
    assert!(matches!(error, Error::Rebalancing { attempts: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("e.g. worker rebalance"), "{error}");
    assert_eq!(*double.asked.lock().unwrap(), ["POST /connectors/a/restart?includeTasks=true&onlyFailed=true"; 4]);
}

#[tokio::test]
async fn a_refusal_carries_status_and_message_without_secrets_and_is_not_repeated() {
    for (status, body, parts) in [
        (500, r#"{"error_code":500,"message":"boom with canary"}"#, ["HTTP 500", "boom with ***"]),
        (
            400,
            r#"{"error_code":400,"message":"Connector configuration is invalid"}"#,
            ["HTTP 400", "configuration is invalid"],
        ),
        (502, "<html>bad\u{1b}[31m gateway</html>", ["HTTP 502", "bad\\u{1b}[31m gateway"]),
        (401, "", ["HTTP 401", "no reason given"]),
        (302, "", ["HTTP 302", "no reason given"]),
    ] {
        let (address, double) = serve(&[(status, body)]).await;
        let error = client(address).plugins().await.unwrap_err();
        for part in parts {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        assert!(error.hint().is_some());
        assert_eq!(double.asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_kafka_connect_is_told_as_such() {
    for body in ["<html>hello</html>", "[]", "\"x\"", ""] {
        let (address, _double) = serve(&[(200, body)]).await;
        let error = client(address).connectors().await.unwrap_err();
        assert!(matches!(error, Error::NotConnect { .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endpoint = Endpoint { timeout: Duration::from_millis(100), ..endpoint(&url) };
    let error = Client::new(&endpoint, Redactor::default()).unwrap().plugins().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(error.chain().contains("did not answer GET /connector-plugins within 0.1 s"), "{}", error.chain());
}

const FAILED: &str = r#"{"migration-connector-a": {"info": {"config": {}},
    "status": {"connector": {"state": "RUNNING", "worker_id": "w"},
               "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w", "trace": "x.Y: login as canary-pg failed\n\tat z"}]}}}"#;

fn settings(address: SocketAddr) -> Settings {
    let raw: Connectors = serde_json::from_value(serde_json::json!({
        "url": format!("http://{address}"), "restart": {"max": 1},
        "list": [{"postgresql": {"name": "a", "host": "h", "dbname": "d", "user": "u", "password": "canary-pg", "topic_prefix": "a",
            "slot": "a", "publication": "a"}}]
    }))
    .unwrap();
    Settings::validate(&raw).unwrap()
}

#[tokio::test]
async fn the_supervisor_restarts_within_the_budget_and_then_says_it_is_spent() {
    let (address, double) = serve(&[(200, FAILED), (202, ""), (200, FAILED)]).await;
    let settings = settings(address);
    let mut supervisor =
        Supervisor::new(Client::new(&settings.endpoint, settings.redactor()).unwrap(), &settings).unwrap();
    let first = supervisor.tick().await;
    let connector = &first.connectors[0];
    assert_eq!((connector.condition, connector.restarts.action), (Some(Condition::Failed), RestartAction::Restarted));
    assert_eq!(connector.failure.as_deref(), Some("x.Y: login as *** failed"));
    assert!(!first.healthy());
    for _ in 0..3 {
        let later = supervisor.tick().await;
        assert_eq!(later.connectors[0].restarts.action, RestartAction::Exhausted);
        assert!(!serde_json::to_string(&later).unwrap().contains("canary"));
    }
    let asked = double.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|call| call.starts_with("POST")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn the_supervisor_knows_nothing_while_connect_is_away_and_a_refused_restart_costs_nothing() {
    let refused = (500, r#"{"message": "not now"}"#);
    let (address, _double) = serve(&[(200, FAILED), refused, (200, FAILED), (202, ""), (503, "away")]).await;
    let settings = settings(address);
    let mut supervisor =
        Supervisor::new(Client::new(&settings.endpoint, settings.redactor()).unwrap(), &settings).unwrap();
    let first = supervisor.tick().await;
    assert_eq!((first.connectors[0].restarts.action, first.connectors[0].restarts.used), (RestartAction::Refused, 0));
    assert!(first.error.as_deref().is_some_and(|error| error.contains("not now")), "{first:?}");
    assert_eq!(supervisor.tick().await.connectors[0].restarts.action, RestartAction::Restarted);
    let away = supervisor.tick().await;
    assert!(!away.reachable && !away.healthy());
    assert_eq!((away.connectors[0].condition, away.connectors[0].restarts.used), (None, 1));
}

/// A TLS server with a certificate for `localhost`, signed by `tls/ca.pem`. The key is for this test alone.
fn serve_tls() -> SocketAddr {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = Arc::new(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket.unwrap());
            // A client that does not trust us hangs up during the handshake.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]");
            }
        }
    });
    address
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_nobody_else() {
    let url = format!("https://localhost:{}", serve_tls().port());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    };
    let with = |ca_file| Client::new(&Endpoint { ca_file, ..endpoint(&url) }, Redactor::default());

    assert_eq!(with(file("ca.pem", include_bytes!("tls/ca.pem"))).unwrap().plugins().await.unwrap(), []);
    // The server's own certificate is no authority.
    let error = with(file("other.pem", include_bytes!("tls/server.pem"))).unwrap().plugins().await.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("ca_file")), "{} {:?}", error.chain(), error.hint());
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        plain.accept().map(|(mut socket, _)| socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    });
    let endpoint = Endpoint { ca_file: file("again.pem", include_bytes!("tls/ca.pem")), ..endpoint(&url) };
    let error = Client::new(&endpoint, Redactor::default()).unwrap().plugins().await.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("plain HTTP")), "{} {:?}", error.chain(), error.hint());
    assert!(matches!(with(file("empty.pem", b"")).unwrap_err(), Error::CaFile { .. }));
    assert!(matches!(with(Some(folder.path().join("absent"))).unwrap_err(), Error::CaFile { .. }));
}
