//! Every query against a real Prometheus, the rules against its tool, and `apply` against a double that holds to the rules of
//! Grafana's documented API.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use whimbrel_monitor::dashboards::args::DashboardsArgs;
use whimbrel_monitor::dashboards::{dashboard, description, rules, run};
use whimbrel_monitor::gate::Stop;

use super::double::{Came, Double, Page};
use super::prometheus::{Prometheus, promtool};

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    args: DashboardsArgs,
}

async fn dashboards(line: &str, token: Option<&str>) -> (u8, String) {
    let mut out = Vec::new();
    let variable = |name: &str| token.filter(|_| name == "WHIMBREL_GRAFANA_TOKEN").map(str::to_owned);
    let ended = match Line::try_parse_from(line.split_whitespace()) {
        Ok(line) => run(&line.args, &variable, &mut out).await,
        Err(error) => Err(Stop::Usage(error.to_string())),
    };
    let out = String::from_utf8(out).unwrap();
    match ended {
        Ok(status) => (status, out),
        Err(stop) => (stop.status(), out + stop.why()),
    }
}

/// The agent's contract of what it exports, and what that has no example of, with everything that can be wrong.
fn scrape(times: u64) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/export/golden_scrape.txt");
    let mut text = String::new();
    for line in std::fs::read_to_string(golden).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let counts = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
        // What counts must move, or it has no rate.
        let value: f64 = value.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a test counts to a hundred")]
        let value = if counts { value * times as f64 } else { value };
        text += &format!("{series} {value}\n");
    }
    for line in [
        "migration_data_lag_seconds{migration_id=\"sick\"} 400".to_owned(),
        "cdc_lag_state{pipeline=\"stalled\",state=\"stalled\"} 1".to_owned(),
        "cdc_lag_state{pipeline=\"unknown\",state=\"unknown\"} 1".to_owned(),
        "cdc_lag_proof_age_seconds{pipeline=\"sick\"} 1.5".to_owned(),
        "cdc_catchup_eta_seconds{pipeline=\"sick\"} 60".to_owned(),
        "alerts_firing{severity=\"critical\"} 1".to_owned(),
        format!("alert_deliveries_total{{channel=\"ops\",outcome=\"given_up\"}} {times}"),
    ] {
        let series = line.rsplit_once(' ').unwrap().0;
        if !text.contains(series) {
            text += &(line + "\n");
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_returns_series_from_a_real_prometheus() {
    let mut times = 0;
    let quiet = Arc::new(Mutex::new(false));
    let answer = {
        let quiet = Arc::clone(&quiet);
        move |_: &Came| -> Page {
            times += 1;
            let text = if *quiet.lock().unwrap() { "quiet 1\n".to_owned() } else { scrape(times) };
            (200, text, Duration::ZERO)
        }
    };
    let agent = Double::answering(answer);
    let target = agent.address.to_string();
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&target)).await.unwrap();
    prometheus.until("count_over_time(migration_data_lag_seconds[1m]) > 3").await;

    let dashboard = serde_json::to_value(dashboard()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<(String, String)> = targets
        .map(|target| {
            (target["expr"].as_str().unwrap().to_owned(), target["legendFormat"].as_str().unwrap().to_owned())
        })
        .collect();
    let marks = &dashboard["annotations"]["list"][1];
    for field in ["titleFormat", "textFormat"] {
        queries.push((marks["expr"].as_str().unwrap().to_owned(), marks[field].as_str().unwrap().to_owned()));
    }
    let described: usize =
        description::rows().iter().flat_map(|row| &row.panels).map(|panel| panel.queries.len()).sum();
    assert_eq!(queries.len(), described + 2, "none is left out");
    for (query, legend) in &queries {
        let series = prometheus.query(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(!series.is_empty(), "{query} returns nothing");
        // A legend that names a label the series do not have would be empty.
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(series[0]["metric"].get(label).is_some(), "{query}: no label {label} in {}", series[0]);
        }
    }
    assert!(prometheus.query("sum by (").await.is_err(), "Prometheus does complain when there is reason");

    let rows = description::rows();
    let alerts: Vec<_> = rows.iter().flat_map(|row| &row.panels).flat_map(|panel| &panel.alerts).collect();
    for alert in alerts.iter().filter(|alert| alert.name != "AgentAbsent") {
        let series = prometheus.query(&alert.expr).await.unwrap_or_else(|error| panic!("{}: {error}", alert.expr));
        assert!(!series.is_empty(), "{} does not fire: {}", alert.name, alert.expr);
        for label in alert.summary.split("$labels.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap()) {
            assert!(series[0]["metric"].get(label).is_some(), "{}: no label {label}", alert.name);
        }
    }
    let absent = alerts.iter().find(|alert| alert.name == "AgentAbsent").unwrap();
    assert!(prometheus.query(&absent.expr).await.unwrap().is_empty());
    *quiet.lock().unwrap() = true;
    prometheus.until(&absent.expr).await;
    tokio::task::spawn_blocking(move || drop(prometheus)).await.unwrap();
}

#[test]
fn promtool_accepts_the_rules() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        promtool(&["check", "rules", "--lint-fatal", file.to_str().unwrap()])
    };
    let output = check(&rules::rules());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("SUCCESS: 10 rules found"), "{said}");
    assert!(
        !check(&rules::rules().replace("max by (", "max by")).status.success(),
        "it does complain when there is reason"
    );
}

/// Grafana's documented rules: who asks, what a folder and a dashboard need, and what it answers.
#[derive(Default)]
struct Rules {
    folder: Option<Value>,
    saved: Option<Value>,
    version: u64,
    provisioned: bool,
}

const TOKEN: &str = "glsa_canary";

impl Rules {
    fn answer(&mut self, came: &Came) -> (u16, Value) {
        let message = |status, text: &str| (status, json!({ "message": text }));
        if came.token.as_deref() != Some(TOKEN) {
            return message(401, "Unauthorized");
        }
        let uid = |text: &str| {
            (1..=40).contains(&text.len()) && text.chars().all(|one| one.is_ascii_alphanumeric() || "-_".contains(one))
        };
        match (came.method.as_str(), came.path.as_str()) {
            ("GET", "/api/folders/whimbrel") => match &self.folder {
                Some(folder) => (200, folder.clone()),
                None => message(404, "folder not found"),
            },
            ("POST", "/api/folders") => {
                let (title, id) = (came.body["title"].as_str().unwrap_or(""), came.body["uid"].as_str().unwrap_or(""));
                match () {
                    () if title.is_empty() => message(400, "folder title cannot be empty"),
                    () if !uid(id) => message(400, "uid contains illegal characters"),
                    () if self.folder.is_some() => message(409, "a folder with that uid exists"),
                    () => {
                        self.folder = Some(json!({"id": 1, "uid": id, "title": title}));
                        (200, self.folder.clone().unwrap())
                    }
                }
            }
            ("GET", "/api/dashboards/uid/whimbrel-migration") => match &self.saved {
                Some(dashboard) => {
                    let meta =
                        json!({"folderUid": "whimbrel", "provisioned": self.provisioned, "version": self.version});
                    (200, json!({"dashboard": dashboard, "meta": meta}))
                }
                None => message(404, "Dashboard not found"),
            },
            ("POST", "/api/dashboards/db") => self.save(&came.body),
            _ => message(404, "Not found"),
        }
    }

    fn save(&mut self, body: &Value) -> (u16, Value) {
        let message = |status, text: &str| (status, json!({ "message": text }));
        let dashboard = &body["dashboard"];
        match () {
            () if !dashboard.is_object() => message(400, "bad request data"),
            () if dashboard["title"].as_str().unwrap_or("").is_empty() => {
                message(400, "Dashboard title cannot be empty")
            }
            () if !dashboard["id"].is_null() => message(404, "Dashboard not found: no such id"),
            () if self.folder.as_ref().is_none_or(|folder| folder["uid"] != body["folderUid"]) => {
                message(400, "folder not found")
            }
            () if self.provisioned => message(400, "Cannot save provisioned dashboard"),
            () if self.saved.is_some() && body["overwrite"] != true => message(412, "version-mismatch"),
            () => {
                self.version += 1;
                let mut saved = dashboard.clone();
                saved["id"] = 17.into();
                saved["version"] = self.version.into();
                saved["weekStart"] = "".into();
                self.saved = Some(saved);
                let uid = &dashboard["uid"];
                let page = format!("/d/{}/database-migration-monitoring", uid.as_str().unwrap());
                (200, json!({"id": 17, "uid": uid, "url": page, "status": "success", "version": self.version}))
            }
        }
    }
}

#[tokio::test]
async fn apply_makes_it_so_once_and_diff_tells_what_somebody_changed() {
    let rules = Arc::new(Mutex::new(Rules::default()));
    let grafana = {
        let rules = Arc::clone(&rules);
        Double::answering(move |came| {
            let (status, body) = rules.lock().unwrap().answer(came);
            (status, body.to_string(), Duration::ZERO)
        })
    };
    let url = grafana.url();
    let command = async |verb: &str| dashboards(&format!("{verb} --grafana-url {url}"), Some(TOKEN)).await;
    let posts = || grafana.came().iter().filter(|came| came.method == "POST").count();

    assert_eq!(command("diff").await, (3, "Grafana has no such dashboard\n".into()));
    assert_eq!(command("apply").await, (0, "created /d/whimbrel-migration/database-migration-monitoring\n".into()));
    assert_eq!((posts(), rules.lock().unwrap().folder.is_some()), (2, true));
    assert_eq!(command("apply").await, (0, "unchanged\n".into()));
    assert_eq!(command("diff").await, (0, "no difference\n".into()));
    assert_eq!(posts(), 2, "nothing is written where nothing is to be changed");

    rules.lock().unwrap().saved.as_mut().unwrap()["panels"][2]["title"] = "Mine".into();
    let difference = "  /panels/Data Lag/title: is \"Mine\", should be \"Data Lag\"\n";
    assert_eq!(command("diff").await, (3, difference.into()));
    let (status, said) = command("apply").await;
    assert_eq!((status, said.ends_with(difference)), (0, true), "{said}");
    assert_eq!((command("diff").await.0, rules.lock().unwrap().version), (0, 2));

    rules.lock().unwrap().saved.as_mut().unwrap()["title"] = "Mine".into();
    rules.lock().unwrap().provisioned = true;
    let (status, said) = command("apply").await;
    assert!(status == 1 && said.contains("provisioned from a file"), "{said}");
    for token in [None, Some("wrong-canary")] {
        let (status, said) = dashboards(&format!("apply --grafana-url {url}"), token).await;
        assert!(status == 1 && said.contains("WHIMBREL_GRAFANA_TOKEN") && !said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_grafana_is_told_and_changes_nothing() {
    for (body, status) in [("<html>", 200), ("{}", 200), ("{\"message\":\"out of order\"}", 500), ("", 302)] {
        let double = Double::answering(move |_| (status, body.to_owned(), Duration::ZERO));
        let (exit, said) = dashboards(&format!("apply --grafana-url {}", double.url()), Some(TOKEN)).await;
        assert!(exit == 1 && !said.is_empty(), "{body}: {exit} {said}");
        assert!(double.came().iter().all(|came| came.method == "GET"), "{body}");
    }
    assert_eq!(dashboards("apply --grafana-url http://127.0.0.1:1", None).await.0, 1);
    assert_eq!(dashboards("apply --grafana-url grafana:3000", None).await.0, 2);
    assert_eq!(dashboards("apply --grafana-url http://127.0.0.1:1 --folder-uid a/b", None).await.0, 2);
    assert_eq!(dashboards("apply", None).await.0, 2);
}

#[tokio::test]
async fn files_for_provisioning_point_at_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (status, said) = dashboards(&format!("render --provisioning {}", path.display()), None).await;
    assert_eq!((status, said.lines().count()), (0, 2), "{said}");
    let provider = std::fs::read_to_string(path.join("dashboards/whimbrel.yaml")).unwrap();
    let inside = path.canonicalize().unwrap().join("dashboards/whimbrel");
    assert!(provider.contains(&format!("    path: \"{}\"\n", inside.display())), "{provider}");
    let text = std::fs::read_to_string(inside.join("whimbrel-migration.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), serde_json::to_value(dashboard()).unwrap());
    let line = format!("render --provisioning {} --seen-as /etc/grafana/provisioning", path.display());
    assert_eq!(dashboards(&line, None).await.0, 0);
    let provider = std::fs::read_to_string(path.join("dashboards/whimbrel.yaml")).unwrap();
    assert!(provider.contains("path: \"/etc/grafana/provisioning/dashboards/whimbrel\""), "{provider}");
    assert_eq!(dashboards("render --rules", None).await, (0, rules::rules()));
    assert_eq!(dashboards("render", None).await.1, text);
}
