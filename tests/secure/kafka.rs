//! Kafka over TLS: a login by PLAIN and SCRAM, or a client's certificate.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, PATIENCE, ROWS, WRONG, assert_silent, certificate, judge, source, start, topic, until_ready};
use crate::support::agent::Agent;
use crate::support::{eventually, port, setting, unique};

fn sasl(mechanism: &str, user: &str, password: &str) -> Value {
    json!({"mechanism": mechanism, "username": user, "password": format!("${{env:{password}}}")})
}

/// Rows in the SQLite file of a case.
fn rows(directory: &Path, case: &str) -> Result<i64, String> {
    let database = rusqlite::Connection::open(directory.join(format!("{case}.db"))).map_err(|e| e.to_string())?;
    database.busy_timeout(Duration::from_secs(10)).map_err(|e| e.to_string())?;
    database.query_row("SELECT count(*) FROM items", [], |row| row.get(0)).map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_with_tls_and_login_works_or_says_what_to_mend() {
    let directory = tempfile::tempdir().unwrap();
    let topic = topic("kafka").await;
    let user = setting("KAFKA_USER");
    let late = unique("late");
    let (ca, stranger) = (certificate("ca.pem"), certificate("stranger-ca.pem"));
    let (cert, key, locked) =
        (certificate("client.pem"), certificate("client.key"), certificate("client-encrypted.key"));
    let (strange_cert, strange_key) = (certificate("stranger.pem"), certificate("stranger.key"));
    let case = |name: &'static str, listener: &str, host: &str, more: Value, expect| Case {
        name,
        source: source(&topic, port(listener), host, more),
        target: json!({"sqlite": {"path": directory.path().join(format!("{name}.db")), "synchronous": "normal"}}),
        expect,
    };
    let login = |name, host, ca: &Path, mechanism, user: &str, password, expect| {
        let more = json!({"tls": {"ca_file": ca}, "sasl": sasl(mechanism, user, password)});
        case(name, "KAFKA_SASL_PORT", host, more, expect)
    };
    let mutual = |name, tls: Value, expect| case(name, "KAFKA_MTLS_PORT", "localhost", json!({"tls": tls}), expect);
    let (right, wrong) = ("KAFKA_PASSWORD", "WRONG_PASSWORD");
    let unverified: &[&str] = &["paused: kafka: ", "`tls.ca_file`", "expired", "another host name"];
    let refused: &[&str] = &["paused: kafka: ", "check `sasl.username`, `sasl.password`"];
    let cases = [
        login("plain", "localhost", &ca, "PLAIN", &user, right, &[]),
        login("scram-256", "localhost", &ca, "SCRAM-SHA-256", &user, right, &[]),
        login("scram-512", "localhost", &ca, "SCRAM-SHA-512", &user, right, &[]),
        mutual("mutual", json!({"ca_file": ca, "cert_file": cert, "key_file": key}), &[]),
        mutual(
            "mutual-locked-key",
            json!({"ca_file": ca, "cert_file": cert, "key_file": locked, "key_password": "${env:CLIENT_KEY_PASSWORD}"}),
            &[],
        ),
        login("wrong-plain", "localhost", &ca, "PLAIN", &user, wrong, refused),
        login("wrong-scram-256", "localhost", &ca, "SCRAM-SHA-256", &user, wrong, refused),
        login("wrong-scram-512", "localhost", &ca, "SCRAM-SHA-512", &user, wrong, refused),
        login("late-user", "localhost", &ca, "SCRAM-SHA-512", &late, right, refused),
        login("wrong-ca", "localhost", &stranger, "PLAIN", &user, right, unverified),
        case(
            "systems-ca",
            "KAFKA_SASL_PORT",
            "localhost",
            json!({"tls": {}, "sasl": sasl("PLAIN", &user, right)}),
            unverified,
        ),
        login("wrong-host", "127.0.0.1", &ca, "PLAIN", &user, right, unverified),
        case("expired", "KAFKA_EXPIRED_PORT", "localhost", json!({"tls": {"ca_file": ca}}), unverified),
        mutual("no-client-certificate", json!({"ca_file": ca}), &["paused: kafka: ", "`tls.cert_file`"]),
        mutual(
            "strange-client-certificate",
            json!({"ca_file": ca, "cert_file": strange_cert, "key_file": strange_key}),
            &["paused: kafka: ", "`tls.cert_file`"],
        ),
        case(
            "tls-to-plaintext",
            "KAFKA_PORT",
            "localhost",
            json!({"tls": {"ca_file": ca}}),
            &["paused: kafka: ", "does not speak TLS"],
        ),
        case("plaintext-to-tls", "KAFKA_MTLS_PORT", "localhost", json!({}), &["waiting for kafka: ", "may want TLS"]),
    ];
    let mut agent = start(directory.path(), &cases, &[(wrong, WRONG)]);
    judge(&agent, &cases).await;
    for case in cases.iter().filter(|case| case.expect.is_empty()) {
        eventually("rows arrive", PATIENCE, async || match rows(directory.path(), case.name)? {
            ROWS => Ok(()),
            rows => Err(format!("{}: {rows} rows", case.name)),
        })
        .await;
    }

    // The user comes into being: no restart is needed.
    let script = Path::new(&setting("WHIMBREL_SERVICES")).join("kafka.sh");
    let made = Command::new(script).args(["user", &late, &setting("KAFKA_PASSWORD")]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    until_ready(&agent, "late-user").await;
    // The others are as they were: a reason does not wear off while it lasts.
    judge(&agent, &cases.into_iter().filter(|case| case.name != "late-user").collect::<Vec<_>>()).await;
    assert_silent(&agent).await;
    assert_eq!(agent.stop(), Some(0), "{}", agent.tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_for_tls_that_is_missing_or_locked_ends_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, locked) = (certificate("client.pem"), certificate("client-encrypted.key"));
    for (name, tls, expect) in [
        ("missing", json!({"ca_file": "/no/such/ca.pem"}), "ssl.ca.location"),
        (
            "locked",
            json!({"cert_file": cert, "key_file": locked, "key_password": "${env:WRONG_PASSWORD}"}),
            "ssl.key.location",
        ),
    ] {
        let config = json!({"http": {"listen": "127.0.0.1:0"}, "pipelines": [{
            "name": "p", "source": {"kafka": source("t", port("KAFKA_SASL_PORT"), "localhost", json!({"tls": tls}))},
            "target": {"sqlite": {"path": directory.path().join(format!("{name}.db"))}},
        }]});
        let mut agent = Agent::start(directory.path(), name, &config, &[("WRONG_PASSWORD", WRONG)]);
        eventually("it ends", PATIENCE, async || if agent.ended() { Ok(()) } else { Err(agent.tail()) }).await;
        let said = agent.log();
        assert!(said.contains("pipeline `p`") && said.contains(expect), "{said}");
        assert!(!said.contains(super::CANARY), "{said}");
        assert_eq!(agent.stop(), Some(1));
    }
}
