//! PostgreSQL that takes only TLS and a password.

use std::path::Path;

use serde_json::json;
use tokio_postgres::NoTls;

use super::{Case, PATIENCE, ROWS, WRONG, assert_silent, judge, source, start, topic, until_ready, until_unready};
use crate::support::services::Services;
use crate::support::{eventually, port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_with_tls_and_login_works_or_says_what_to_mend() {
    const PASSWORD: &str = "canary-postgres-password";
    let settings = [("PG_TLS", "on"), ("PG_PASSWORD", PASSWORD)];
    let services = tokio::task::spawn_blocking(move || Services::start_with(&["postgres"], &settings)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let topic = topic("postgres").await;
    let tls = services.directory("tls");
    let (ca, stranger) = (tls.join("ca.pem"), tls.join("stranger-ca.pem"));
    let trusted = Some(ca.as_path());
    let case = |name, host: &str, user: &str, password: &str, mode: &str, ca: Option<&Path>, expect| {
        let port = services.port("PG_PORT");
        let uri = format!("postgresql://{user}:${{env:{password}}}@{host}:{port}/postgres?sslmode={mode}");
        let mut target = json!({"uri": uri, "timeout": "5s"});
        if let Some(ca) = ca {
            target["ca_file"] = json!(ca);
        }
        Case {
            name,
            source: source(&topic, crate::support::port("KAFKA_PORT"), "127.0.0.1", json!({})),
            target: json!({"postgresql": target}),
            expect,
        }
    };
    let (right, wrong) = ("SECURE_PASSWORD", "WRONG_PASSWORD");
    let refused: &[&str] = &["password authentication failed", "check user and password"];
    let cases = [
        case("right", "localhost", "postgres", right, "verify-full", trusted, &[]),
        case("wrong-password", "localhost", "postgres", wrong, "require", trusted, refused),
        case("late-user", "localhost", "late", right, "require", trusted, refused),
        case(
            "wrong-ca",
            "localhost",
            "postgres",
            right,
            "require",
            Some(stranger.as_path()),
            &["UnknownIssuer", "`ca_file` of `target.postgresql`"],
        ),
        case("systems-ca", "localhost", "postgres", right, "require", None, &["UnknownIssuer", "`ca_file`"]),
        case("wrong-host", "127.0.0.1", "postgres", right, "verify-full", trusted, &["another name", "localhost"]),
        case("no-tls", "localhost", "postgres", right, "disable", None, &["no encryption"]),
    ];
    let mut agent = start(directory.path(), &cases, &[(right, PASSWORD), (wrong, WRONG)]);
    judge(&agent, &cases).await;

    // A session past TLS and passwords, over the server's own socket.
    let mut admin = tokio_postgres::Config::new();
    admin.host_path(services.directory("postgres")).port(services.port("PG_PORT")).user("postgres");
    let (admin, connection) = admin.dbname("postgres").connect(NoTls).await.unwrap();
    tokio::task::spawn(connection);
    eventually("rows arrive", PATIENCE, async || {
        match admin.query_one("SELECT count(*) FROM items", &[]).await.map(|row| row.get::<_, i64>(0)) {
            Ok(ROWS) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'whimbrel'";
    assert!(admin.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0));

    // The user comes into being; the certificate runs out and is renewed: no restart is needed.
    admin.batch_execute(&format!("CREATE ROLE late SUPERUSER LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();
    until_ready(&agent, "late-user").await;
    services.call("postgres", "certificate expired");
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'whimbrel'";
    admin.query(cut, &[]).await.unwrap();
    until_unready(&agent, "right", &["paused", "certificate expired", "renew it"]).await;
    services.call("postgres", "certificate server");
    until_ready(&agent, "right").await;
    assert_silent(&agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
    assert_ne!(services.port("PG_PORT"), port("PG_PORT"));
}
