//! `whimbrel start` and `whimbrel check`, less the program around them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use serde_json::{Value, json};
use whimbrel_monitor::gate::args::{CheckArgs, StartArgs};
use whimbrel_monitor::gate::facts::Rows;
use whimbrel_monitor::gate::{self, Compare, Copies, Stop};

use super::double::Double;
use super::prometheus::Prometheus;

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
enum Line {
    Start(StartArgs),
    Check(Box<CheckArgs>),
}

/// What a command did.
#[derive(Debug)]
struct Done {
    status: u8,
    out: String,
    err: String,
}

/// A command's surroundings.
struct Desk {
    state: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    compared: Mutex<Vec<Copies>>,
    comparison: Result<Rows, String>,
}

struct Comparison<'a>(&'a Desk);

impl Compare for Comparison<'_> {
    async fn compare(&self, copies: &Copies) -> Result<Rows, String> {
        self.0.compared.lock().unwrap().push(copies.clone());
        self.0.comparison.clone()
    }
}

impl Desk {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let home = state.path().display().to_string();
        Self {
            state,
            variables: BTreeMap::from([("XDG_STATE_HOME".to_owned(), home)]),
            compared: Mutex::default(),
            comparison: Ok(Rows { equal: true, detail: "3 rows".into() }),
        }
    }

    async fn run(&self, line: &str) -> Done {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let variable = |name: &str| self.variables.get(name).cloned();
        let ended = match Line::try_parse_from(line.split_whitespace()) {
            Ok(Line::Start(args)) => gate::start(&args, None, &variable, &mut out, &mut err).await,
            Ok(Line::Check(args)) => gate::check(&args, None, &variable, &Comparison(self), &mut out, &mut err).await,
            Err(error) => Err(Stop::Usage(error.to_string())),
        };
        let (status, why) = match ended {
            Ok(status) => (status, String::new()),
            Err(stop) => (stop.status(), stop.why().to_owned()),
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { status, out: text(out), err: text(err) + &why }
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// The status of an agent as it was captured, of now.
fn status(change: impl FnOnce(&mut Value)) -> String {
    let mut status: Value = serde_json::from_str(include_str!("captured/status.json")).unwrap();
    status["now_ms"] = now_ms().into();
    status["pipelines"][0]["dead_letters_stored"] = 0.into();
    change(&mut status);
    status.to_string()
}

fn agent(change: impl FnOnce(&mut Value)) -> Double {
    Double::with(&[("/api/v1/status", status(change))])
}

#[tokio::test]
async fn an_agent_is_asked_over_its_api() {
    let desk = Desk::new();
    let line = |double: &Double| format!("check --migration-id demo --max-lag 300 --agent-url {}", double.url());
    let done = desk.run(&line(&agent(|_| {}))).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.out.contains("pass     lag                     0 s") && done.out.ends_with("safe\n"), "{}", done.out);
    assert!(done.out.contains("pass     errors                  0 since"), "{}", done.out);
    for (pointer, value, expect) in [
        ("/pipelines/0/lag/time_lag_ms", json!(301_000), 10),
        ("/pipelines/0/dead_letters_stored", json!(1), 12),
        ("/pipelines/0/state", json!("retrying"), 13),
        ("/now_ms", json!(now_ms() - 120_000), 20),
        ("/pipelines", json!([]), 20),
        ("/pipelines", json!(null), 20),
    ] {
        let agent = agent(|status| *status.pointer_mut(pointer).unwrap() = value.clone());
        assert_eq!(desk.run(&line(&agent)).await.status, expect, "{pointer} = {value}");
    }
    let unknown = desk.run(&line(&agent(|_| {})).replace("demo", "dem")).await;
    assert_eq!(unknown.status, 20);
    assert!(unknown.out.contains("it knows: demo"), "{}", unknown.out);
}

#[tokio::test]
async fn whoever_does_not_answer_as_an_agent_or_a_prometheus_does_is_unknown() {
    let desk = Desk::new();
    let gone = agent(|_| {}).url();
    let page = |status: u16, body: &str, delay: u64| {
        let body = body.to_owned();
        Double::answering(move |_| (status, body.clone(), Duration::from_millis(delay)))
    };
    let doubles = [
        page(200, "<html>log in</html>", 0),
        page(302, "", 0),
        page(401, r#"{"error":"who are you"}"#, 0),
        page(500, "", 0),
        page(404, "", 0),
        page(200, "{}", 0),
        page(200, "[]", 0),
        page(200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, 0),
        page(200, r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]},"warnings":["partial"]}"#, 0),
        page(200, &status(|_| {}), 3_000),
        page(200, &format!("[{}]", "1,".repeat(9 << 20)), 0),
    ];
    for url in doubles.iter().map(Double::url).chain([gone]) {
        for source in ["agent", "prometheus"] {
            let done = desk.run(&format!("check --migration-id demo --timeout 1s --{source}-url {url}")).await;
            assert_eq!(done.status, 20, "{source} {done:?}");
            assert!(
                done.out.contains("UNKNOWN") && done.out.contains("not safe: unknown (exit status 20)"),
                "{}",
                done.out
            );
            let start = desk.run(&format!("start --migration-id demo --timeout 1s --{source}-url {url}")).await;
            assert_eq!(start.status, 20, "{source} {start:?}");
        }
    }
    assert_eq!(std::fs::read_dir(desk.state.path()).unwrap().count(), 0, "no baseline of what nobody told");
}

#[tokio::test]
async fn usage_is_2_and_a_baseline_that_cannot_be_used_is_1() {
    let desk = Desk::new();
    for line in [
        "start --migration-id 42",
        "check --migration-id 42 --agent-url 127.0.0.1:9464",
        "check --migration-id 42 --agent-url http://127.0.0.1:1 --ca-file /nowhere/ca.pem",
        "check --migration-id 42 --agent-url http://127.0.0.1:1 --prometheus-url http://127.0.0.1:1",
        "check --migration-id 42 --max-lag soon",
        "check --max-lag 300",
        "check --migration-id 42 --deadline 1m",
        "check --migration-id 42 --table orders",
    ] {
        let done = desk.run(line).await;
        assert_eq!(done.status, 2, "{line}: {done:?}");
        assert!(!done.err.is_empty(), "{line} is explained");
    }
    let file = desk.state.path().join("b.json");
    std::fs::write(&file, "not json").unwrap();
    let done = desk.run(&format!("check --migration-id 42 --baseline {}", file.display())).await;
    assert_eq!(done.status, 1, "{done:?}");
    let mut nowhere = Desk::new();
    nowhere.variables.clear();
    assert_eq!(nowhere.run("check --migration-id 42").await.status, 2, "no directory for the baseline");
}

#[tokio::test]
async fn waiting_ends_when_it_is_safe_or_at_the_deadline() {
    let desk = Desk::new();
    let asked = AtomicUsize::new(0);
    let double = Double::answering(move |came| {
        let late = came.path == "/api/v1/status" && asked.fetch_add(1, Ordering::Relaxed) < 3;
        let lag = if late { 400_000 } else { 5_000 };
        let page = if came.path == "/api/v1/status" { 200 } else { 404 };
        (page, status(|status| status["pipelines"][0]["lag"]["time_lag_ms"] = lag.into()), Duration::ZERO)
    });
    let line = format!("check --migration-id demo --wait --every 200ms --deadline 20s --agent-url {}", double.url());
    let done = desk.run(&line).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.err, "whimbrel: waiting: lag 400 s (at most 300 s)\n", "told once");

    let begin = Instant::now();
    let late = agent(|status| status["pipelines"][0]["lag"]["time_lag_ms"] = 400_000.into());
    let line = format!("check --migration-id demo --wait --every 200ms --deadline 1s --agent-url {}", late.url());
    assert_eq!(desk.run(&line).await.status, 10);
    assert!((700..5_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    let gone = "check --migration-id demo --wait --every 200ms --deadline 1s --agent-url http://127.0.0.1:1";
    assert_eq!(desk.run(gone).await.status, 20);
}

#[tokio::test]
async fn tokens_are_sent_and_never_shown_and_the_summary_is_appended() {
    let mut desk = Desk::new();
    let summary = desk.state.path().join("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    desk.variables.insert("WHIMBREL_AGENT_TOKEN".into(), "canary-token".into());
    desk.variables.insert("GITHUB_STEP_SUMMARY".into(), summary.display().to_string());
    let agent = agent(|_| {});
    let url = agent.url().replace("//", "//me:canary-password@");
    let start = desk.run(&format!("start --migration-id demo --agent-url {url}")).await;
    assert_eq!(start.status, 0, "{start:?}");
    assert!(start.out.starts_with("migration demo: baseline of 37 dead letters and 0 errors in "), "{}", start.out);
    let baseline = std::fs::read_to_string(desk.state.path().join("whimbrel/gate/demo.json")).unwrap();
    let done = desk.run("check --migration-id demo --format json").await;
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.status, &document["safe"]), (0, &Value::Bool(true)), "asks who was told at the start");
    let came = agent.came();
    assert!(!came.is_empty() && came.iter().all(|came| came.token.as_deref() == Some("canary-token")), "{came:?}");
    let summary = std::fs::read_to_string(&summary).unwrap();
    assert!(summary.starts_with("before\n### ✅ Migration demo: safe"), "{summary}");
    for text in [&start.out, &start.err, &done.out, &done.err, &baseline, &summary] {
        assert!(!text.contains("canary"), "{text}");
    }
    desk.variables.insert("GITHUB_STEP_SUMMARY".into(), "/nowhere/summary.md".into());
    assert_eq!(desk.run("check --migration-id demo").await.status, 1, "a summary that cannot be written is told");
}

#[tokio::test]
async fn tables_are_compared_once_nothing_else_is_in_the_way() {
    let mut desk = Desk::new();
    desk.variables.insert("WHIMBREL_DATABASE".into(), "sqlite:b.db".into());
    let (fine, late) = (agent(|_| {}), agent(|status| status["pipelines"][0]["lag"]["time_lag_ms"] = 400_000.into()));
    let tail = "--table orders --table items=goods --key a,b=_b --source-url sqlite:a.db";
    let line = |double: &Double| format!("check --migration-id demo --agent-url {} {tail}", double.url());
    assert_eq!(desk.run(&line(&late)).await.status, 10);
    assert!(desk.compared.lock().unwrap().is_empty());
    let done = desk.run(&line(&fine)).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert!(done.out.contains("3 rows"));
    assert_eq!(
        desk.compared.lock().unwrap().pop().unwrap(),
        Copies {
            source_url: "sqlite:a.db".into(),
            target_url: "sqlite:b.db".into(),
            tables: vec![("orders".into(), "orders".into()), ("items".into(), "goods".into())],
            key: vec!["a".into(), "b=_b".into()],
        }
    );
    desk.comparison = Ok(Rows { equal: false, detail: "1 missing in the copy".into() });
    assert_eq!(desk.run(&line(&fine)).await.status, 11);
    desk.comparison = Err("connection refused".into());
    assert_eq!(desk.run(&line(&fine)).await.status, 20);
}

/// The series of a pipeline whose name and migration are `id`, as an agent exports them.
fn pipeline(id: &str, change: impl FnOnce(&mut BTreeMap<&str, String>)) -> String {
    let mut values = BTreeMap::from([
        ("lag", "12".to_owned()),
        ("state", "behind".to_owned()),
        ("dead_letters", "0".to_owned()),
        ("total", "0".to_owned()),
        ("at", String::new()),
    ]);
    change(&mut values);
    let (lag, at) = (&values["lag"], &values["at"]);
    let mut text = String::new();
    if lag != "absent" {
        text += &format!("migration_data_lag_seconds{{migration_id=\"{id}\"}} {lag}{at}\n");
    }
    for state in ["caught_up", "behind", "stalled", "unknown"] {
        let is = u8::from(values["state"] == state);
        text += &format!("cdc_lag_state{{pipeline=\"{id}\",state=\"{state}\"}} {is}{at}\n");
    }
    text += &format!("cdc_pipeline_info{{group=\"g\",migration_id=\"{id}\",pipeline=\"{id}\"}} 1{at}\n");
    text += &format!("cdc_lag_proof_age_seconds{{pipeline=\"{id}\"}} 1{at}\n");
    text += &format!("cdc_pipeline_state{{pipeline=\"{id}\",state=\"running\"}} 1{at}\n");
    text += &format!("cdc_dead_letters{{pipeline=\"{id}\"}} {}{at}\n", values["dead_letters"]);
    text + &format!("cdc_dead_letters_total{{pipeline=\"{id}\",reason=\"malformed\"}} {}{at}\n", values["total"])
}

fn set(values: &mut BTreeMap<&str, String>, name: &'static str, value: &str) {
    values.insert(name, value.to_owned());
}

fn scrape(dead_letters: &str, errors: u32) -> String {
    let old = format!(" {}", now_ms() - 120_000);
    let mut text = String::new();
    for pipeline in [
        pipeline("fine", |_| {}),
        pipeline("late", |values| set(values, "lag", "301")),
        pipeline("nan", |values| set(values, "lag", "NaN")),
        pipeline("missing", |values| set(values, "lag", "absent")),
        pipeline("stalled", |values| set(values, "state", "stalled")),
        pipeline("unknown", |values| set(values, "state", "unknown")),
        pipeline("old", |values| set(values, "at", &old)),
        pipeline("alert", |_| {}),
        pipeline("letters", |values| {
            set(values, "dead_letters", dead_letters);
            set(values, "total", dead_letters);
        }),
        pipeline("we\\\"ird", |_| {}),
    ] {
        text += &pipeline;
    }
    text += "ALERTS{alertname=\"Lag\",alertstate=\"firing\",pipeline=\"alert\",severity=\"critical\"} 1\n";
    text += "ALERTS{alertname=\"Lag\",alertstate=\"pending\",pipeline=\"fine\",severity=\"critical\"} 1\n";
    text += "migration_rows_total{migration_id=\"contract\",table_name=\"t\"} 5\n";
    text += "migration_data_lag_seconds{migration_id=\"contract\"} 5\n";
    text += "migration_rows_total{migration_id=\"plain\",table_name=\"t\"} 5\n";
    text += "migration_info{migration_id=\"runs\",name=\"n\"} 1\nmigration_progress_ratio{migration_id=\"runs\"} 0.5\n";
    if errors > 0 {
        text += &format!("migration_errors_total{{migration_id=\"contract\",error_type=\"deadlock\"}} {errors}\n");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_alone_is_enough_and_nothing_passes_without_it() {
    let desk = Desk::new();
    let agent = Double::with(&[("/metrics", scrape("3", 0))]);
    let second = Double::with(&[("/metrics", pipeline("twice", |_| {}))]);
    let third = Double::with(&[("/metrics", pipeline("twice", |_| {}))]);
    let demo = Double::with(&[("/metrics", include_str!("captured/demo_scrape.txt").to_owned())]);
    let targets = [&agent, &second, &third, &demo].map(|one| one.address.to_string()).join(" ");
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&targets)).await.unwrap();
    let line = |id: &str| format!("check --migration-id {id} --max-lag 300 --prometheus-url {}", prometheus.url());
    prometheus.until("count(up == 1) == 4").await;
    prometheus.until("migration_rows_total{migration_id=\"contract\"}").await;
    for (id, expect) in [
        ("fine", 0),
        ("contract", 0),
        ("twice", 0),
        ("we\"ird", 0),
        ("late", 10),
        ("stalled", 10),
        ("runs --max-dead-letters 5", 11),
        ("letters", 12),
        ("letters --max-dead-letters 3", 0),
        ("alert", 14),
        ("alert --no-anomaly none", 0),
        ("nan", 20),
        ("missing", 20),
        ("unknown", 20),
        ("old", 20),
        ("old --max-stale 3m", 0),
        ("plain", 20),
        ("nobody", 20),
        ("fine --max-errors 0", 0),
        ("fine --no-anomaly critical", 20),
        ("fine --matcher env=prod", 20),
        // As a demo was scraped: an agent that does not tell the id of its pipeline, which is its name.
        ("demo", 12),
        ("demo --max-dead-letters 50", 0),
    ] {
        let done = desk.run(&line(id)).await;
        assert_eq!(done.status, expect, "{id}: {}{}", done.out, done.err);
    }

    // What there was at the start is not held against the migration; what comes later is.
    let start = desk.run(&format!("start --migration-id letters --prometheus-url {}", prometheus.url())).await;
    assert_eq!(start.status, 0, "{start:?}");
    assert!(start.out.contains("baseline of 3 dead letters"), "{}", start.out);
    let start = desk.run(&format!("start --migration-id nobody --prometheus-url {}", prometheus.url())).await;
    assert_eq!(start.status, 0, "it may come: {start:?}");
    let check = "check --migration-id letters --max-lag 300";
    assert_eq!(desk.run(check).await.status, 0);
    agent.set(&[("/metrics", scrape("4", 1))]);
    prometheus.until("cdc_dead_letters{pipeline=\"letters\"} == 4").await;
    prometheus.until("migration_errors_total").await;
    assert_eq!(desk.run(check).await.status, 12);
    let done = desk.run(&line("contract")).await;
    assert_eq!(done.status, 13, "a counter that was born with its first error: {}", done.out);

    // One of two agents with the id goes away, and is missed as long as Prometheus looks for it.
    drop(third);
    prometheus.until("count(up == 0) == 1").await;
    let done = desk.run(&line("twice")).await;
    assert_eq!(done.status, 20, "{}", done.out);
    assert!(done.out.contains("up is 0"), "{}", done.out);
    assert_eq!(desk.run(&line("fine")).await.status, 0, "others are none of its business");
    // An agent that is still there and does not carry the series any more.
    second.set(&[("/metrics", "other 1\n".to_owned())]);
    prometheus.until("other").await;
    assert_eq!(desk.run(&line("twice")).await.status, 20);
    drop(agent);
    prometheus.until("count(up == 0) == 2").await;
    assert_eq!(desk.run(&line("fine")).await.status, 20);
    let line = line("fine");
    tokio::task::spawn_blocking(move || drop(prometheus)).await.unwrap();
    let done = desk.run(&line).await;
    assert_eq!(done.status, 20, "{done:?}");
    assert!(done.out.contains("does not answer"), "{}", done.out);
    assert!(Path::new(desk.state.path()).exists());
}
