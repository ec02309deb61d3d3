//! Alerts to the people's end: real SMTP servers, a real Alertmanager, and an agent that is killed while it tells.

mod doctor;
mod panels;
mod slot;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{Agent, binary};
use crate::support::kafka::{Producer, create_topic_at};
use crate::support::{brokers, port, setting, unique};

/// `whimbrel alerts test` with this section `monitor`.
fn tried(directory: &Path, monitor: &Value, channel: &str) -> Output {
    let file = directory.join("alerts.yaml");
    let config = json!({
        "monitor": monitor,
        "pipelines": [{
            "name": "shop",
            "source": {"kafka": {"brokers": ["127.0.0.1:9"], "group": "none"}},
            "target": {"sqlite": {"path": directory.join("shop.db")}},
        }],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    Command::new(binary())
        .args(["alerts", "test", "--severity", "critical", "--channel", channel, "--config"])
        .arg(&file)
        .env("SMTP_SECRET", setting("SMTP_PASSWORD"))
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("whimbrel-test-cache"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mails() -> Vec<String> {
    let directory = PathBuf::from(setting("SVC_DATA")).join("smtp/mail");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|end| end == "eml"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

#[test]
fn mail_arrives_over_starttls_and_over_tls_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Path::new(&setting("SVC_TLS")).join("ca.pem");
    let to = format!("{}@example.org", unique("ops"));
    let monitor = |listener: &str, tls: &str, login: bool, ca: &Path| {
        let mut mail = json!({
            "host": "localhost", "port": port(listener), "tls": tls, "from": "Whimbrel <whimbrel@example.org>",
        });
        if login {
            mail["username"] = setting("SMTP_USER").into();
            mail["password"] = "${env:SMTP_SECRET}".into();
        }
        json!({
            "mail": mail,
            "ca_file": ca,
            "channels": [{"name": "mail", "plugin": "email", "config": {"to": [to]}, "grants": {"mail": ["@example.org"]}}],
        })
    };
    for (listener, tls, login) in
        [("SMTP_PORT", "starttls", true), ("SMTP_TLS_PORT", "tls", true), ("SMTP_PLAIN_PORT", "none", false)]
    {
        let before = mails().iter().filter(|mail| mail.contains(&to)).count();
        let output = tried(directory.path(), &monitor(listener, tls, login, &ca), "mail");
        assert_eq!(output.status.code(), Some(0), "{listener}: {}", said(&output));
        let arrived: Vec<String> = mails().into_iter().filter(|mail| mail.contains(&to)).collect();
        assert_eq!(arrived.len(), before + 1, "{listener}");
        let login = if login { "X-Login: yes" } else { "X-Login: no" };
        let newest = arrived.iter().filter(|mail| mail.contains(login)).count();
        assert!(newest > 0, "{listener}: {arrived:?}");
        assert!(arrived.iter().all(|mail| mail.contains("text/html") && mail.contains("text/plain")));
    }
    let count = mails().len();
    let stranger = Path::new(&setting("SVC_TLS")).join("stranger-ca.pem");
    for (listener, tls, ca) in [
        ("SMTP_EXPIRED_PORT", "starttls", &ca),
        ("SMTP_PORT", "starttls", &stranger),
        ("SMTP_PLAIN_PORT", "starttls", &ca),
    ] {
        let output = tried(directory.path(), &monitor(listener, tls, true, ca), "mail");
        assert_eq!(output.status.code(), Some(1), "{listener}: {}", said(&output));
        assert!(!said(&output).contains(&setting("SMTP_PASSWORD")), "{}", said(&output));
    }
    assert_eq!(mails().len(), count, "nothing was sent without trust");
}

#[tokio::test]
async fn an_alertmanager_holds_what_fires() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}", port("ALERTMANAGER_PORT"));
    let team = unique("team");
    let monitor = json!({"channels": [{
        "name": "am",
        "plugin": "alertmanager",
        "config": {"url": url, "labels": {"team": team}},
        "grants": {"http": [url], "private_addresses": true, "clock": true, "state": "64KiB"},
    }]});
    let output = tried(directory.path(), &monitor, "am");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    whimbrel::runtime::tls::install();
    let filter = format!("team=\"{team}\"");
    let deadline = Instant::now() + Duration::from_secs(20);
    let alerts: Vec<Value> = loop {
        let answer = reqwest::Client::new().get(format!("{url}/api/v2/alerts")).query(&[("filter", &filter)]).send();
        let alerts: Vec<Value> = answer.await.unwrap().json().await.unwrap();
        if !alerts.is_empty() || Instant::now() > deadline {
            break alerts;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let labels = &alerts[0]["labels"];
    assert_eq!((&labels["severity"], &labels["scope"]), (&json!("critical"), &json!("agent")));
}

/// What a receiver was told: status and id, in order.
type Told = Arc<Mutex<Vec<(String, String)>>>;

/// A receiver that notes what it is told, and does not answer while it is to hang.
fn receiver() -> (SocketAddr, Told, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, hangs) = (Told::default(), Arc::new(AtomicBool::new(false)));
    let (noted, hanging) = (Arc::clone(&told), Arc::clone(&hangs));
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (noted, hanging) = (Arc::clone(&noted), Arc::clone(&hanging));
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let mut buffer = [0; 8_192];
                let body = loop {
                    let read = socket.read(&mut buffer).unwrap_or(0);
                    text.extend_from_slice(&buffer[..read]);
                    let whole = String::from_utf8_lossy(&text).into_owned();
                    let body = whole.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
                    match serde_json::from_str::<Value>(&body) {
                        Ok(body) => break body,
                        Err(_) if read == 0 => return,
                        Err(_) => {}
                    }
                };
                for alert in body["alerts"].as_array().into_iter().flatten() {
                    let text = |field: &str| alert[field].as_str().unwrap_or_default().to_owned();
                    noted.lock().unwrap().push((text("status"), text("id")));
                }
                if hanging.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_secs(60));
                }
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            });
        }
    });
    (address, told, hangs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_while_it_tells_tells_again_with_the_same_id_and_the_gate_is_shut() {
    let directory = tempfile::tempdir().unwrap();
    let (address, told, hangs) = receiver();
    let (topic, group) = (unique("letters"), unique("group"));
    create_topic_at(&brokers(), &topic, 1).await;
    let kafka = Producer::new(&brokers(), &topic);
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = json!({
        "http": {"listen": listen.to_string()},
        "pipelines": [{
            "name": "shop",
            "source": {"kafka": {"brokers": [brokers()], "topics": [topic], "group": group}},
            "target": {"sqlite": {"path": directory.path().join("shop.db")}},
            "tables": [{"from": "*", "create": true}],
            "delivery": {"poison": {"max_consecutive": 1_000_000, "max_ratio": 1.0}},
        }],
        "monitor": {
            "file": directory.path().join("monitor.db"),
            "sample": "200ms",
            "evaluate": "1s",
            "rules": [{"plugin": "threshold-rules", "config": {
                "high_error_rate": {"steps": 1, "minimum_events": 1}, "low_throughput": {"enabled": false},
            }}],
            "channels": [{
                "name": "hook",
                "plugin": "webhook",
                "config": {"url": format!("http://{address}/")},
                "grants": {"http": [format!("http://{address}")], "private_addresses": true, "clock": true},
            }],
            "routes": [{"channels": ["hook"], "group_wait": "0ms", "group_interval": "100ms"}],
            "delivery": {"initial": "100ms"},
        },
    });
    hangs.store(true, Ordering::Relaxed);
    let mut agent = Agent::start(directory.path(), "agent", &config, &[]);
    let feeding = Arc::new(AtomicBool::new(true));
    let feeder = std::thread::spawn({
        let feeding = Arc::clone(&feeding);
        move || {
            while feeding.load(Ordering::Relaxed) {
                kafka.send(0, Some("k"), Some(b"this is no envelope"));
                kafka.flush();
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let first = agent.until("it tells", async |_| told.lock().unwrap().first().cloned().ok_or("nothing".into())).await;
    assert_eq!(first.0, "firing");
    // The receiver has it, and the agent does not know.
    agent.kill();
    hangs.store(false, Ordering::Relaxed);

    let mut agent = Agent::start(directory.path(), "agent", &config, &[]);
    agent
        .until("it tells again", async |_| {
            let told = told.lock().unwrap().clone();
            if told.len() >= 2 { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    let gate = |max_letters: &str| {
        Command::new(binary())
            .args(["check", "--migration-id", "shop", "--max-lag", "86400", "--max-dead-letters", max_letters])
            .args(["--agent-url", &format!("http://{listen}")])
            .output()
            .unwrap()
    };
    let shut = gate("0");
    assert_eq!(shut.status.code(), Some(12), "dead letters: {}", said(&shut));

    feeding.store(false, Ordering::Relaxed);
    feeder.join().unwrap();
    agent
        .until("it tells the end", async |_| {
            let told = told.lock().unwrap().clone();
            if told.iter().any(|(status, _)| status == "resolved") { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = told.lock().unwrap().clone();
    let expect: Vec<(String, String)> =
        ["firing", "firing", "resolved"].map(|status| (status.to_owned(), first.1.clone())).to_vec();
    assert_eq!(told, expect, "once more after the kill, and no more");
    assert_eq!(agent.stop(), Some(0));
}
