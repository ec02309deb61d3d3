//! mongod that takes only TLS and a password.

use std::path::Path;

use bson::{Document, doc};
use serde_json::json;

use super::{Case, PATIENCE, ROWS, WRONG, assert_silent, judge, source, start, topic, until_ready};
use crate::support::eventually;
use crate::support::services::Services;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_with_tls_and_login_works_or_says_what_to_mend() {
    const PASSWORD: &str = "canary-mongo-password";
    let settings = [("MONGO_TLS", "on"), ("MONGO_USER", "whimbrel"), ("MONGO_PASSWORD", PASSWORD)];
    let services = tokio::task::spawn_blocking(move || Services::start_with(&["mongo"], &settings)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let topic = topic("mongodb").await;
    let tls = services.directory("tls");
    let (ca, stranger) = (tls.join("ca.pem"), tls.join("stranger-ca.pem"));
    let trusted = Some(ca.as_path());
    let uri = |host: &str, user: &str, password: &str, ca: Option<&Path>| {
        let authority = ca.map_or(String::new(), |ca| format!("&tlsCAFile={}", ca.display()));
        let port = services.port("MONGO_PORT");
        format!("mongodb://{user}:{password}@{host}:{port}/?replicaSet=rs0&tls=true{authority}")
    };
    let case = |name, uri: String, expect| Case {
        name,
        source: source(&topic, crate::support::port("KAFKA_PORT"), "127.0.0.1", json!({})),
        target: json!({"mongodb": {"uri": uri, "database": "shop", "state_database": format!("state_{name}"), "timeout": "3s"}}),
        expect,
    };
    let (right, wrong) = ("${env:SECURE_PASSWORD}", "${env:WRONG_PASSWORD}");
    let refused: &[&str] = &["paused: ", "login refused", "check user and password"];
    let plain = uri("localhost", "whimbrel", right, None).replace("tls=true", "tls=false");
    let cases = [
        case("right", uri("localhost", "whimbrel", right, trusted), &[]),
        case("wrong-password", uri("localhost", "whimbrel", wrong, trusted), refused),
        case("late-user", uri("localhost", "late", right, trusted), refused),
        case(
            "wrong-ca",
            uri("localhost", "whimbrel", right, Some(stranger.as_path())),
            &["UnknownIssuer", "`tlsCAFile=`"],
        ),
        case("systems-ca", uri("localhost", "whimbrel", right, None), &["UnknownIssuer", "`tlsCAFile=`"]),
        case("wrong-host", uri("127.0.0.1", "whimbrel", right, trusted), &["another name"]),
        case("no-tls", plain, &["no primary can be reached", "`tls=true`"]),
    ];
    let mut agent = start(directory.path(), &cases, &[("SECURE_PASSWORD", PASSWORD), ("WRONG_PASSWORD", WRONG)]);
    judge(&agent, &cases).await;

    whimbrel::runtime::tls::install();
    let admin = uri("localhost", "whimbrel", PASSWORD, trusted);
    let admin = mongodb::Client::with_uri_str(admin).await.unwrap();
    let items = admin.database("shop").collection::<Document>("items");
    eventually("rows arrive", PATIENCE, async || match items.count_documents(doc! {}).await {
        Ok(rows) if i64::try_from(rows) == Ok(ROWS) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    // The user comes into being: no restart is needed.
    let create = doc! {"createUser": "late", "pwd": PASSWORD, "roles": ["root"]};
    admin.database("admin").run_command(create).await.unwrap();
    until_ready(&agent, "late-user").await;
    assert_silent(&agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}
