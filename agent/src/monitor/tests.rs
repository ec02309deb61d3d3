//! The monitor with real rules, a real channel plugin and a real HTTP server: what is found is kept, told once, and told the
//! end of; whatever the server does.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::backtest::{self, Span};
use super::config::MonitorConfig;
use super::{Monitor, NewSilence};
use crate::egress::server::{http, whole};
use crate::event::{Op, Reason};
use crate::plugin::trust::Trust;
use crate::plugin::{Cache, Engine, Sandbox, Services};
use crate::source::kafka::watch::now_ms;
use crate::stats::{BatchReport, Instruments, LagConfig, Observer};

fn sandbox() -> Sandbox {
    let services = Services::default();
    let cache = Cache::at(std::env::temp_dir().join("whimbrel-test-cache"));
    Sandbox { engine: Engine::new().unwrap(), cache, services, trust: Trust::default(), repro: None }
}

/// A monitor of one pipeline that is fed by hand.
struct Scene {
    instruments: Instruments,
    observer: Arc<Observer>,
    feeding: Arc<AtomicBool>,
    failing: Arc<AtomicBool>,
    feeder: Option<std::thread::JoinHandle<()>>,
}

impl Scene {
    /// Ten events every 20 ms; as many dead letters while it is failing.
    fn new() -> Self {
        let instruments = Instruments::detached(Arc::new(now_ms));
        let observer = Observer::new("shop", "kafka", "sqlite", LagConfig::default(), instruments.clone());
        observer.state(crate::stats::PipelineState::Running);
        let (feeding, failing) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let feeder = std::thread::spawn({
            let (observer, feeding, failing) = (Arc::clone(&observer), Arc::clone(&feeding), Arc::clone(&failing));
            move || {
                while feeding.load(Ordering::Relaxed) {
                    let dead_letters = match failing.load(Ordering::Relaxed) {
                        true => vec![(Reason::ALL[0], 10)],
                        false => Vec::new(),
                    };
                    let events = vec![("shop".into(), "public.orders".into(), Op::Create, 10)];
                    observer.applied(&BatchReport { events, dead_letters, ..BatchReport::default() }, now_ms());
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { instruments, observer, feeding, failing, feeder: Some(feeder) }
    }

    fn fail(&self, yes: bool) {
        self.failing.store(yes, Ordering::Relaxed);
    }

    fn start(&self, config: Value) -> Monitor {
        Monitor::start(&parsed(config), &sandbox(), &self.instruments).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.feeding.store(false, Ordering::Relaxed);
        self.feeder.take().map(std::thread::JoinHandle::join);
        self.observer.state(crate::stats::PipelineState::Stopped);
    }
}

fn parsed(config: Value) -> MonitorConfig {
    let raw = serde_json::from_value(config).unwrap();
    MonitorConfig::new(&raw).unwrap()
}

/// Fast, with one rule that one step is enough for, and these channels.
fn config(file: Option<&Path>, channels: Value) -> Value {
    json!({
        "file": file,
        "sample": "100ms",
        "evaluate": "1s",
        "rules": [{"plugin": "threshold-rules", "config": {
            "high_error_rate": {"steps": 1}, "low_throughput": {"enabled": false},
        }}],
        "channels": channels,
        "routes": [{
            "channels": [channels[0]["name"]], "group_wait": "0ms", "group_interval": "100ms",
        }],
        "delivery": {"initial": "50ms", "max": "200ms", "fallback_after": "500ms"},
    })
}

fn webhook(name: &str, address: std::net::SocketAddr) -> Value {
    json!({
        "name": name,
        "plugin": "webhook",
        "config": {"url": format!("http://{address}/hook")},
        "grants": {"http": [format!("http://{address}")], "private_addresses": true, "clock": true},
        "limits": {"call": "1s"},
    })
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was told, as far as it was taken: status and id of each alert, in order.
type Taken = Arc<Mutex<Vec<(String, String)>>>;

/// A server that takes what it is told unless `refuse` has a status for it.
fn receiver(refuse: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static) -> (std::net::SocketAddr, Taken) {
    let taken = Taken::default();
    let noted = Arc::clone(&taken);
    let count = AtomicUsize::new(0);
    let (address, _) = http(move |request: &str| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        if let Some(status) = refuse(number) {
            return whole(status, "", "");
        }
        let body = request.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        for alert in body["alerts"].as_array().into_iter().flatten() {
            let text = |field: &str| alert[field].as_str().unwrap_or_default().to_owned();
            noted.lock().unwrap().push((text("status"), text("id")));
        }
        whole("200 OK", "", "")
    });
    (address, taken)
}

fn statuses(taken: &Taken) -> Vec<String> {
    taken.lock().unwrap().iter().map(|(status, _)| status.clone()).collect()
}

fn firing(monitor: &Monitor) -> Vec<Value> {
    let all = monitor.view().incidents();
    all["incidents"].as_array().unwrap().iter().filter(|one| one["status"] == "firing").cloned().collect()
}

#[test]
fn what_a_rule_finds_is_kept_told_once_and_told_the_end_of_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("monitor.db");
    let (address, taken) = receiver(|_| None);
    let scene = Scene::new();
    let settings = config(Some(&file), json!([webhook("ops", address)]));
    let begun_ms = now_ms();
    let mut monitor = scene.start(settings.clone());
    scene.fail(true);
    let incident = eventually("an incident", || firing(&monitor).pop());
    assert_eq!((&incident["kind"], &incident["scope"]), (&json!("high_error_rate"), &json!("pipeline/shop")));
    eventually("it is told", || (statuses(&taken) == ["firing"]).then_some(()));
    monitor.stop();
    drop(monitor);

    // It goes on with the same incident, and tells nobody again.
    let monitor = scene.start(settings.clone());
    let again = eventually("rules were asked", || {
        let all = monitor.view().incidents();
        all["evaluated_at_ms"].as_i64().map(|_| firing(&monitor))
    });
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["id"], incident["id"]);
    scene.fail(false);
    eventually("its end is told", || (statuses(&taken) == ["firing", "resolved"]).then_some(()));
    let ids: Vec<String> = taken.lock().unwrap().iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(
        monitor.view().channels().unwrap()["channels"][0],
        json!({"name": "ops", "waiting": 0, "last_error": null})
    );

    // The series are there, by the second and by the step; and the rule finds the same in them.
    let series = monitor.view().series("pipeline/shop", Some("events_per_second"), begun_ms, true).unwrap();
    let points = series["series"][0]["points"].as_array().unwrap().len();
    assert!(points > 10, "{points} points by the second");
    drop(monitor);
    let span = Span { from_ms: begun_ms - 1_000, until_ms: now_ms() };
    let report = backtest::run(&parsed(settings), &file, None, span, &sandbox(), &scene.instruments).unwrap();
    assert!(report.steps >= 2, "{report:?}");
    let found: Vec<&str> = report.incidents.iter().map(|incident| incident.kind.as_str()).collect();
    assert!(!found.is_empty() && found.iter().all(|kind| *kind == "high_error_rate"), "{found:?}");
    assert!(report.incidents.iter().all(|incident| incident.until_ms.is_some()), "it ended: {report:?}");
}

#[test]
fn a_server_that_is_down_for_long_gets_everything_in_order_and_nothing_twice() {
    let down = Arc::new(AtomicBool::new(true));
    let (address, taken) = receiver({
        let down = Arc::clone(&down);
        move |number| match (down.load(Ordering::Relaxed), number % 2) {
            (false, _) => None,
            (true, 0) => Some("503 Service Unavailable"),
            (true, _) => Some("429 Too Many Requests"),
        }
    });
    let scene = Scene::new();
    let monitor = scene.start(config(None, json!([webhook("ops", address)])));
    scene.fail(true);
    eventually("an incident", || firing(&monitor).pop());
    eventually("it was tried", || {
        let channels = monitor.view().channels().unwrap();
        channels["channels"][0]["last_error"].as_str().map(str::to_owned)
    });
    scene.fail(false);
    let no_rule = |incident: &Value| incident["kind"] != "delivery_failing";
    eventually("it ends", || firing(&monitor).iter().filter(|one| no_rule(one)).count().eq(&0).then_some(()));
    down.store(false, Ordering::Relaxed);
    eventually("all is told", || {
        let waiting = monitor.view().channels().unwrap()["channels"][0]["waiting"] == 0;
        (waiting && statuses(&taken).contains(&"resolved".to_owned())).then_some(())
    });
    let told = taken.lock().unwrap().clone();
    let mut seen = std::collections::HashSet::new();
    for one in &told {
        assert!(seen.insert(one.clone()), "told twice: {told:?}");
    }
    let (first, last) = (&told[0], told.iter().find(|(status, _)| status == "resolved").unwrap());
    assert_eq!((first.0.as_str(), &first.1), ("firing", &last.1), "{told:?}");
}

#[test]
fn the_fallback_is_told_when_a_channel_refuses_or_does_not_get_through() {
    for status in ["400 Bad Request", "500 Internal Server Error"] {
        let (broken, _) = receiver(move |_| Some(status));
        let (address, taken) = receiver(|_| None);
        let scene = Scene::new();
        let mut first = webhook("ops", broken);
        first["fallback"] = "mail".into();
        let monitor = scene.start(config(None, json!([first, webhook("mail", address)])));
        scene.fail(true);
        eventually("the fallback is told", || (!statuses(&taken).is_empty()).then_some(()));
        let told = taken.lock().unwrap().clone();
        assert_eq!(told[0].0, "firing", "{status}");
        drop(monitor);
    }
}

#[test]
fn what_is_silenced_or_explained_is_shown_and_not_told() {
    let (address, taken) = receiver(|_| None);
    let scene = Scene::new();
    let monitor = scene.start(config(None, json!([webhook("ops", address)])));
    let view = monitor.view();
    assert!(view.silence(NewSilence { for_ms: 60_000, ..NewSilence::default() }).is_err(), "everything");
    let all = NewSilence { scope: vec!["pipeline/*".to_owned()], for_ms: 60_000, ..NewSilence::default() };
    assert!(view.silence(NewSilence { for_ms: 0, ..all.clone() }).is_err(), "for no time");
    view.silence(all).unwrap();
    scene.fail(true);
    let incident = eventually("an incident", || firing(&monitor).pop());
    let silence = view.silences()["silences"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(incident["silenced_by"], silence);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(statuses(&taken), Vec::<String>::new());
    assert!(view.expire(&silence).unwrap());
    assert!(!view.expire(&silence).unwrap(), "it has ended");
    eventually("it is told", || (statuses(&taken) == ["firing"]).then_some(()));
}

#[test]
fn a_paused_pipeline_is_told_and_explains_its_troubles() {
    let (address, taken) = receiver(|_| None);
    let scene = Scene::new();
    let monitor = scene.start(config(None, json!([webhook("ops", address)])));
    scene.fail(true);
    scene.observer.state(crate::stats::PipelineState::Paused { why: "too many".into(), remedy: "look".into() });
    eventually("both fire", || (firing(&monitor).len() == 2).then_some(()));
    let all = firing(&monitor);
    let of = |kind: &str| all.iter().find(|one| one["kind"] == kind).unwrap().clone();
    assert_eq!(of("paused")["inhibited_by"], Value::Null);
    assert_eq!((&of("paused")["detail"], &of("paused")["action"]), (&json!("too many"), &json!("look")));
    eventually("it is told", || (!statuses(&taken).is_empty()).then_some(()));
    eventually("it explains", || {
        let all = firing(&monitor);
        all.iter().any(|one| one["inhibited_by"] == "phase paused").then_some(())
    });
}

#[test]
fn what_cannot_work_is_refused_with_the_place() {
    for (config, expect) in [
        (json!({"rules": [{"plugin": "threshold-rule"}]}), "rules[0].plugin"),
        (json!({"channels": [{"name": "a b", "plugin": "webhook"}]}), "channels[0].name"),
        (json!({"channels": [{"name": "a", "plugin": "webhook", "fallback": "b"}]}), "channels[0].fallback"),
        (json!({"channels": [{"name": "a", "plugin": "webhook", "fallback": "a"}]}), "channels[0].fallback"),
        (
            json!({"channels": [{"name": "a", "plugin": "webhook"}, {"name": "a", "plugin": "webhook"}]}),
            "channels[1].name",
        ),
        (
            json!({"channels": [{"name": "a", "plugin": "webhook", "grants": {"http": ["example.org"]}}]}),
            "channels[0].grants.http[0]",
        ),
        (
            json!({"channels": [{"name": "a", "plugin": "email", "grants": {"mail": ["me"]}}]}),
            "channels[0].grants.mail[0]",
        ),
        (json!({"routes": [{"channels": ["nobody"]}]}), "routes[0].channels"),
        (json!({"evaluate": "500ms"}), "evaluate"),
        (json!({"sample": "5s", "evaluate": "2s"}), "evaluate"),
        (json!({"keep": "1s"}), "keep"),
        (json!({"max_size": "1kB"}), "max_size"),
        (json!({"cap": {"alerts": 0}}), "cap"),
        (json!({"url": "here"}), "url"),
        (json!({"dead_man": {"url": "here"}}), "dead_man.url"),
        (json!({"mail": {"host": "h", "from": "a@b", "username": "u"}}), "mail.username"),
        (json!({"mail": {"host": "h", "from": "a@b", "tls": "none", "username": "u", "password": "p"}}), "mail.tls"),
    ] {
        let raw = serde_json::from_value(config.clone()).unwrap();
        let Err(wrong) = MonitorConfig::new(&raw) else { panic!("{config} is taken") };
        assert!(
            wrong.iter().any(|one| one.path == expect),
            "{config}: {:?}",
            wrong.iter().map(|one| &one.path).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_dead_man_hears_as_long_as_rules_are_asked() {
    let pings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pings);
    let (address, _) = http(move |request: &str| {
        assert!(request.starts_with("POST /ping/s3cret "), "{request}");
        counted.fetch_add(1, Ordering::Relaxed);
        whole("200 OK", "", "")
    });
    let scene = Scene::new();
    let mut settings = config(None, json!([]));
    settings["routes"] = Value::Null;
    settings["dead_man"] = json!({"url": format!("http://{address}/ping/s3cret"), "every": "1s"});
    let monitor = scene.start(settings);
    eventually("it hears three times", || (pings.load(Ordering::Relaxed) >= 3).then_some(()));
    drop(monitor);
    let heard = pings.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(pings.load(Ordering::Relaxed), heard, "and then no more");
}
