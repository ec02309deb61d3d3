//! What leaves is what the Alertmanager's API v2 takes, whatever the alerts hold.

use proptest::prelude::*;
use whimbrel_plugin::http::Response;
use whimbrel_plugin::testing::{TestHost, strategy};

use super::*;

const NOW: i64 = 1_700_000_600_000;
const CONFIG: &str = r#"{"url": "http://alertmanager.example.org:9093"}"#;

fn started(config: &str) -> Result<Alertmanager, String> {
    let mut plugin: Alertmanager = whimbrel_plugin::config::parse(config).map_err(|error| error.to_string())?;
    plugin.start(&TestHost::new().channel_context()).map_err(|failure| failure.to_string())?;
    Ok(plugin)
}

fn host(statuses: &[u16]) -> TestHost {
    statuses.iter().fold(TestHost::new().at(NOW), |host, status| host.answering(Response::new(*status)))
}

/// The alerts of each request.
fn posted(host: &TestHost) -> Vec<Vec<Json>> {
    let body = |request: &Request| match Json::parse(std::str::from_utf8(&request.body).unwrap()).unwrap() {
        Json::List(alerts) => alerts,
        other => panic!("{other}"),
    };
    host.requests().iter().map(body).collect()
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_text).unwrap_or_default()
}

fn label<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get("labels").map_or("", |labels| text(labels, name))
}

/// The rules of the API's description and of what the server checks.
fn check(alert: &Json) -> Result<(), String> {
    let Json::Object(members) = alert else { return Err("no object".to_owned()) };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("labels" | "annotations", Json::Object(pairs)) => {
                for (index, (name, value)) in pairs.iter().enumerate() {
                    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                        && !name.starts_with("__");
                    if !valid || pairs[..index].iter().any(|(other, _)| other == name) {
                        return Err(format!("name {name:?}"));
                    }
                    if value.as_text().is_none_or(str::is_empty) {
                        return Err(format!("value of {name}"));
                    }
                }
            }
            ("startsAt" | "endsAt", Json::Text(time)) if time.len() == 24 && time.ends_with('Z') => {}
            ("generatorURL", Json::Text(url))
                if url.starts_with("http") && url.bytes().all(|byte| byte.is_ascii_graphic()) => {}
            _ => return Err(format!("member {name}: {value}")),
        }
    }
    for name in ["alertname", "severity", "whimbrel_id"] {
        if label(alert, name).is_empty() || label(alert, name).contains(char::is_control) {
            return Err(format!("label {name}"));
        }
    }
    // Fixed width, so that they compare as texts.
    if text(alert, "startsAt") > text(alert, "endsAt") {
        return Err("it begins after its end".to_owned());
    }
    Ok(())
}

#[test]
fn an_alert_goes_on_until_it_ends() {
    let host = host(&[200, 200]);
    let mut plugin =
        started(r#"{"url": "http://alertmanager.example.org:9093/prefix/", "labels": {"team": "data"}}"#).unwrap();
    let alert = Alert {
        url: Some("https://whimbrel.example.org/".to_owned()),
        attributes: vec![
            ("Lag (s)".to_owned(), Value::Integer(75)),
            ("summary".to_owned(), Value::Text("x".to_owned())),
        ],
        ..Alert::sample()
    };
    plugin.deliver(std::slice::from_ref(&alert), &host.channel_context()).unwrap();
    let over = Alert { status: Status::Resolved, until_ms: Some(1_700_000_300_000), ..alert };
    plugin.deliver(&[over], &host.channel_context()).unwrap();
    let request = &host.requests()[0];
    assert_eq!(request.url, "http://alertmanager.example.org:9093/prefix/api/v2/alerts");
    assert_eq!(request.headers, [("content-type".to_owned(), "application/json".to_owned())]);
    let alert = |ends: &str| {
        format!(
            concat!(
                r#"[{{"labels":{{"team":"data","alertname":"low_throughput","severity":"warning","scope":"pipeline/shop","#,
                r#""rule":"sample-rule","whimbrel_id":"sample"}},"annotations":{{"summary":"pipeline shop is slow","#,
                r#""description":"12 rows/s, expected 100","action":"look at the target's load","lag__s_":"75","#,
                r#""fact_summary":"x"}},"startsAt":"2023-11-14T22:13:20.000Z","endsAt":"{ends}","#,
                r#""generatorURL":"https://whimbrel.example.org/"}}]"#
            ),
            ends = ends
        )
    };
    let bodies: Vec<String> =
        host.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    // Ten hours after now, and when it was over.
    assert_eq!(bodies, [alert("2023-11-15T08:23:20.000Z"), alert("2023-11-14T22:18:20.000Z")]);
}

#[test]
fn when_it_gets_worse_the_former_alert_ends() {
    let host = host(&[200, 503, 200, 200, 200]);
    let mut plugin = started(CONFIG).unwrap();
    let mut deliver = |severity, status| {
        let until_ms = (status == Status::Resolved).then_some(NOW - 1);
        let alert = Alert { severity, status, until_ms, ..Alert::sample() };
        plugin.deliver(&[alert], &host.channel_context()).is_ok()
    };
    assert!(deliver(Severity::Warning, Status::Firing));
    assert!(!deliver(Severity::Critical, Status::Firing));
    assert!(deliver(Severity::Critical, Status::Firing));
    assert!(deliver(Severity::Critical, Status::Firing));
    assert!(deliver(Severity::Warning, Status::Resolved));
    let told: Vec<Vec<(String, bool)>> = posted(&host)
        .iter()
        .map(|alerts| {
            let over = |alert: &Json| text(alert, "endsAt") <= whimbrel_plugin::notice::rfc3339(NOW).as_str();
            alerts.iter().map(|alert| (label(alert, "severity").to_owned(), over(alert))).collect()
        })
        .collect();
    let (warning, critical) = ("warning".to_owned(), "critical".to_owned());
    let worse = vec![(critical.clone(), false), (warning.clone(), true)];
    assert_eq!(
        told,
        [
            vec![(warning.clone(), false)],
            worse.clone(),
            // What the server did not take is told again.
            worse,
            vec![(critical.clone(), false)],
            vec![(warning, true), (critical, true)],
        ]
    );
}

/// A fresh instance each time, as after a recycling, a trap or a restart of the agent: nothing is left but what the agent keeps.
fn deliver_anew(alerts: &[Alert], host: &TestHost) -> Vec<(String, bool)> {
    started(CONFIG).unwrap().deliver(alerts, &host.channel_context()).unwrap();
    let over = |alert: &Json| text(alert, "endsAt") <= whimbrel_plugin::notice::rfc3339(NOW).as_str();
    let posted = posted(host).pop().unwrap_or_default();
    for alert in &posted {
        assert_eq!(check(alert), Ok(()));
    }
    posted.iter().map(|alert| (label(alert, "severity").to_owned(), over(alert))).collect()
}

#[test]
fn another_instance_ends_the_alert_with_the_former_severity_too() {
    let (warning, critical) = ("warning".to_owned(), "critical".to_owned());
    for id in ["8f2c", "critical 8f2c", "a\nb", "a\r\nwarning b", "a\u{2028}b", &"é".repeat(500)] {
        let host = host(&[200, 200, 200, 200]);
        let alert = |severity, status| [Alert { id: id.to_owned(), severity, status, ..Alert::sample() }];
        let told = [
            (Severity::Warning, Status::Firing),
            (Severity::Critical, Status::Acknowledged),
            (Severity::Critical, Status::Firing),
            (Severity::Warning, Status::Resolved),
        ]
        .map(|(severity, status)| deliver_anew(&alert(severity, status), &host));
        let expected = [
            vec![(warning.clone(), false)],
            vec![(critical.clone(), false), (warning.clone(), true)],
            vec![(critical.clone(), false)],
            vec![(warning.clone(), true), (critical.clone(), true)],
        ];
        assert_eq!(told, expected, "{id:?}");
        assert_eq!(host.kept("told").as_deref(), Some(&b""[..]), "what is over is forgotten");
    }
}

#[test]
fn what_is_kept_is_bounded_and_the_alerts_told_last_are_in_it() {
    let host = host(&[200, 200, 200]);
    let alerts = |severity, ids: std::ops::Range<u32>| -> Vec<Alert> {
        ids.map(|id| Alert { id: format!("{id:016x}"), severity, ..Alert::sample() }).collect()
    };
    deliver_anew(&alerts(Severity::Warning, 0..3_000), &host);
    let kept = host.kept("told").unwrap().len();
    assert!((59_000..=60_000).contains(&kept), "{kept} bytes");
    assert_eq!(deliver_anew(&alerts(Severity::Critical, 2_900..3_000), &host).len(), 200);
    assert_eq!(deliver_anew(&alerts(Severity::Critical, 0..100), &host).len(), 100);
}

#[test]
fn what_was_kept_and_cannot_be_read_is_left_out() {
    let host = host(&[200]).state("told", b"\xff\n\nsevere 8f2c\nwarning\ncritical sample\n");
    let over = ("critical".to_owned(), true);
    assert_eq!(deliver_anew(&[Alert::sample()], &host), [("warning".to_owned(), false), over]);
    assert_eq!(host.kept("told").as_deref(), Some(&b"warning sample\n"[..]));
}

#[test]
fn an_alert_never_begins_after_its_end() {
    for (status, since_ms, until_ms) in [
        (Status::Resolved, NOW, Some(NOW - 5_000)),
        (Status::Resolved, NOW + 5_000, None),
        (Status::Firing, i64::MAX, None),
        (Status::Resolved, 0, Some(i64::MIN)),
    ] {
        let host = host(&[200]);
        let alert = Alert { status, since_ms, until_ms, ..Alert::sample() };
        started(CONFIG).unwrap().deliver(&[alert], &host.channel_context()).unwrap();
        let alert = &posted(&host)[0][0];
        assert_eq!(check(alert), Ok(()));
        assert!(text(alert, "startsAt") <= whimbrel_plugin::notice::rfc3339(NOW).as_str(), "{alert}");
    }
}

#[test]
fn a_status_decides_whether_it_is_tried_again() {
    for (status, wanted) in [
        (200, None),
        (400, Some(false)),
        (404, Some(false)),
        (401, Some(false)),
        (408, Some(true)),
        (429, Some(true)),
        (500, Some(true)),
        (502, Some(true)),
    ] {
        let host = host(&[status]);
        let failure = started(CONFIG).unwrap().deliver(&[Alert::sample()], &host.channel_context()).err();
        assert_eq!(failure.map(|failure| failure.retryable), wanted, "{status}");
    }
    let host = TestHost::new().refusing(Failure::retryable("timeout", "no answer"));
    assert!(started(CONFIG).unwrap().deliver(&[Alert::sample()], &host.channel_context()).unwrap_err().retryable);
}

#[test]
fn nothing_to_tell_is_not_told() {
    let host = host(&[]);
    assert_eq!(started(CONFIG).unwrap().deliver(&[], &host.channel_context()), Ok(()));
    assert!(host.requests().is_empty());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let url = "config: url: write `http://HOST:9093`, without the API's path";
    for (config, message) in [
        (r#"{}"#, "the option `url` is missing"),
        (r#"{"url": "alertmanager:9093"}"#, url),
        (r#"{"url": "http://"}"#, url),
        (r#"{"url": "http://a?b"}"#, url),
        (r#"{"url": "http://a:9093/api/v2/alerts"}"#, "config: url: leave out `/api/v2/alerts`, it is added"),
        (r#"{"url": "http://a", "labels": {"a-b": "c"}}"#, "config: labels: `a-b` cannot be a label's name here"),
        (r#"{"url": "http://a", "labels": {"__a": "c"}}"#, "config: labels: `__a` cannot be a label's name here"),
        (
            r#"{"url": "http://a", "labels": {"severity": "c"}}"#,
            "config: labels: `severity` cannot be a label's name here",
        ),
        (r#"{"url": "http://a", "labels": {"team": ""}}"#, "config: labels.team: must be one line"),
        (r#"{"url": "http://a", "expires_minutes": 0}"#, "config: expires_minutes: must be more than 0"),
    ] {
        assert_eq!(started(config).err().as_deref(), Some(message), "{config}");
    }
}

proptest! {
    #[test]
    fn whatever_alerts_hold_each_is_an_alert_as_documented(alerts in strategy::alerts()) {
        prop_assume!(!alerts.is_empty());
        let host = host(&[200]);
        started(CONFIG).unwrap().deliver(&alerts, &host.channel_context()).unwrap();
        let posted = posted(&host);
        prop_assert_eq!(posted[0].len(), alerts.len());
        for alert in &posted[0] {
            prop_assert_eq!(check(alert), Ok(()));
        }
    }
}
