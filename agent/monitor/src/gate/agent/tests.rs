//! Answers as a running agent gave them (tests/captured), and what is read of them when one thing is otherwise.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::baseline::Kind;
use super::super::judge::{Limits, judge};
use super::*;

const NOW_MS: i64 = 1_795_686_016_500;

/// The status of a demo that is caught up, without its dead letters.
fn status() -> Value {
    let mut status: Value = serde_json::from_str(include_str!("../../../tests/captured/status.json")).unwrap();
    status["pipelines"][0]["dead_letters_stored"] = 0.into();
    status
}

fn migrations() -> Value {
    let mut migrations: Value = serde_json::from_str(include_str!("../../../tests/captured/migrations.json")).unwrap();
    migrations["now_ms"] = NOW_MS.into();
    migrations
}

/// A set whose ledger says that 7 is applied.
fn ledger() -> Value {
    let mut all = migrations();
    all["sets"] = json!([{"name": "shop", "database": "sqlite", "read_at_ms": NOW_MS - 1000, "error": null}]);
    let migration = &mut all["migrations"][0];
    migration["id"] = "7".into();
    migration["set"] = "shop".into();
    migration["state"] = "applied".into();
    migration["places"] = json!([{"name": "orders", "done": 10, "expected": 10, "attempted": 10}]);
    all
}

fn incident(severity: &str, scope: &str, status: &str) -> Value {
    json!({"now_ms": NOW_MS, "evaluated_at_ms": NOW_MS - 30_000, "incidents": [{
        "id": "i", "status": status, "severity": severity, "rule": "lag-rules", "kind": "stall", "title": "it stalls",
        "detail": "", "action": "", "scope": scope, "since_ms": 1, "until_ms": null, "count": 1, "silenced_by": "s",
        "inhibited_by": null, "attributes": {}}]})
}

fn look_at(
    id: &str,
    status: &Value,
    migrations: Option<Value>,
    incidents: Option<Value>,
) -> Result<Seen, serde_json::Error> {
    let answers = Answers {
        status: serde_json::from_value(status.clone())?,
        migrations: migrations.map(serde_json::from_value).transpose()?,
        incidents: incidents.map(serde_json::from_value).transpose()?,
        errors: Vec::new(),
    };
    let wanted = Wanted { migration_id: id.into(), window: Duration::from_secs(300), now_ms: NOW_MS };
    Ok(reading::seen("a test", &wanted, &answers, None))
}

fn exit(id: &str, status: &Value, migrations: Option<Value>, incidents: Option<Value>, limits: &Limits) -> u8 {
    let report = judge(id, &look_at(id, status, migrations, incidents).unwrap().facts, limits);
    println!("{report:#?}");
    report.status()
}

fn max_lag() -> Limits {
    Limits { max_lag_seconds: Some(300.0), ..Limits::default() }
}

#[test]
fn each_field_of_a_pipeline_counts() {
    for (pointer, value, expect) in [
        ("/now_ms", json!(NOW_MS), 0),
        ("/pipelines/0/lag/state", json!("behind"), 0),
        ("/pipelines/0/lag/time_lag_ms", json!(300_001), 10),
        ("/pipelines/0/lag/time_lag_ms", json!(null), 20),
        ("/pipelines/0/lag/partitions/1/time_lag_ms", json!(null), 20),
        ("/pipelines/0/lag/partitions/1/heartbeat", json!(true), 0),
        ("/pipelines/0/lag/proof_age_ms", json!(null), 20),
        ("/pipelines/0/lag/state", json!("unknown"), 20),
        ("/pipelines/0/lag/state", json!("a state of a later agent"), 20),
        ("/pipelines/0/lag/state", json!("stalled"), 10),
        ("/pipelines/0/state", json!("waiting"), 20),
        ("/pipelines/0/state", json!("stopped"), 20),
        ("/pipelines/0/state", json!("retrying"), 13),
        ("/pipelines/0/state", json!("paused"), 13),
        ("/pipelines/0/dead_letters_stored", json!(1), 12),
        ("/pipelines/0/dead_letters_stored", json!(null), 20),
        ("/pipelines/0/migration_id", json!("another"), 20),
        ("/pipelines/0/migration_id", json!(null), 0),
        ("/pipelines", json!([]), 20),
        ("/now_ms", json!(NOW_MS - 60_500), 20),
        ("/now_ms", json!(NOW_MS + 60_500), 20),
    ] {
        let mut status = status();
        *status.pointer_mut(pointer).unwrap() = value.clone();
        assert_eq!(exit("demo", &status, None, None, &max_lag()), expect, "{pointer} = {value}");
    }
}

#[test]
fn of_several_pipelines_with_the_id_the_worst_counts() {
    for (pointer, value, expect) in [
        ("/lag/state", json!("caught_up"), 0),
        ("/lag/time_lag_ms", json!(null), 20),
        ("/lag/time_lag_ms", json!(400_000), 10),
        ("/lag/state", json!("stalled"), 10),
        ("/lag/state", json!("unknown"), 20),
        ("/dead_letters_stored", json!(null), 20),
        ("/dead_letters_stored", json!(1), 12),
        ("/state", json!("paused"), 13),
    ] {
        for worst in [0, 1] {
            let mut status = status();
            let second = status["pipelines"][0].clone();
            status["pipelines"].as_array_mut().unwrap().push(second);
            status["pipelines"][1 - worst]["pipeline"] = "second".into();
            *status["pipelines"][worst].pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(exit("demo", &status, None, None, &max_lag()), expect, "{worst}{pointer} = {value}");
        }
    }
}

#[test]
fn an_id_nobody_knows_is_told_with_those_that_are_known() {
    let seen = look_at("dem", &status(), Some(ledger()), None).unwrap();
    let why = format!("{:?}", seen.facts.data);
    assert!(why.contains("demo, shop/7"), "{why}");
}

#[test]
fn a_migration_is_there_when_its_ledger_says_so_and_nothing_is_missing() {
    for (pointer, value, expect) in [
        ("/now_ms", json!(NOW_MS), 0),
        ("/migrations/0/state", json!("running"), 11),
        ("/migrations/0/state", json!("pending"), 11),
        ("/migrations/0/state", json!("undone"), 11),
        ("/migrations/0/state", json!("failed"), 11),
        ("/migrations/0/places/0/done", json!(9), 11),
        ("/migrations/0/places/0/expected", json!(null), 0),
        ("/migrations/0/retries", json!(1), 13),
        ("/sets/0/error", json!("connection refused"), 20),
        ("/sets/0/read_at_ms", json!(null), 20),
        ("/sets/0/read_at_ms", json!(NOW_MS - 200_000), 20),
        ("/sets", json!([]), 20),
    ] {
        let mut all = ledger();
        *all.pointer_mut(pointer).unwrap() = value.clone();
        for id in ["7", "shop/7"] {
            assert_eq!(exit(id, &status(), Some(all.clone()), None, &Limits::default()), expect, "{pointer} = {value}");
        }
        assert_eq!(exit("other/7", &status(), Some(all), None, &Limits::default()), 20);
    }
    assert_eq!(exit("42", &status(), Some(migrations()), None, &Limits::default()), 11, "as captured: it runs");
}

#[test]
fn only_what_fires_here_and_was_evaluated_lately_counts() {
    for (severity, scope, word, expect) in [
        ("critical", "pipeline/demo", "firing", 14),
        ("warning", "pipeline/demo", "firing", 14),
        ("info", "pipeline/demo", "firing", 0),
        ("a word of a later agent", "pipeline/demo", "firing", 14),
        ("critical", "pipeline/demo", "resolved", 0),
        ("critical", "pipeline/other", "firing", 0),
    ] {
        let incidents = incident(severity, scope, word);
        assert_eq!(exit("demo", &status(), None, Some(incidents), &max_lag()), expect, "{severity} {scope} {word}");
    }
    for at in [json!(null), json!(NOW_MS - 100_000)] {
        let mut incidents = incident("info", "x", "resolved");
        incidents["evaluated_at_ms"] = at;
        assert_eq!(exit("demo", &status(), None, Some(incidents), &max_lag()), 20);
    }
}

#[test]
fn a_restart_of_the_agent_hides_no_dead_letters() {
    let mut status = status();
    status["pipelines"][0]["dead_letters_stored"] = 37.into();
    let seen = look_at("demo", &status, None, None).unwrap();
    let baseline = Baseline::new("demo", 0, Kind::Agent, String::new(), seen.counters);
    let measure = |status: &Value| {
        let answers = Answers { status: serde_json::from_value(status.clone()).unwrap(), ..Answers::default() };
        let wanted = Wanted { migration_id: "demo".into(), window: Duration::from_secs(300), now_ms: NOW_MS };
        reading::seen("", &wanted, &answers, Some(&baseline)).facts.dead_letters.known().unwrap().value
    };
    assert_eq!(measure(&status), 0.0);
    status["started_at_ms"] = NOW_MS.into();
    assert_eq!(measure(&status), 37.0);
}

#[test]
fn errors_of_the_window_come_from_the_history_where_it_reaches_back() {
    let mut all = ledger();
    all["migrations"][0]["retries"] = 9.into();
    let errors = |points: Value| {
        let answers = Answers {
            status: serde_json::from_value(status()).unwrap(),
            migrations: Some(serde_json::from_value(all.clone()).unwrap()),
            incidents: None,
            errors: vec![
                serde_json::from_value(json!({"scope": "x", "series": [{"name": "x", "points": points}]})).unwrap(),
            ],
        };
        let wanted = Wanted { migration_id: "7".into(), window: Duration::from_secs(10), now_ms: NOW_MS };
        reading::seen("", &wanted, &answers, None).facts.errors.known().unwrap().value
    };
    let now = status()["now_ms"].as_i64().unwrap();
    assert_eq!(errors(json!([[now - 10_000, 5.0], [now - 9_000, 2.0], [now - 8_000, 0.0]])), 2.0);
    assert_eq!(errors(json!([[now - 10_000, 0.0], [now - 5_000, 0.4]])), 2.0, "sampled every five seconds");
    assert_eq!(errors(json!([[now - 5_000, 0.0], [now - 4_000, 0.0]])), 9.0, "it does not reach back");
    assert_eq!(errors(json!([])), 9.0);
}

/// All places of a document.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), all));
        }
        _ => {}
    }
}

proptest! {
    /// With a lag that is too large, no damage to the answer makes it pass: places that are lost, `null` or empty.
    #[test]
    fn losing_parts_of_the_answer_never_makes_it_pass(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3), 1..4),
    ) {
        let mut status = status();
        status["pipelines"][0]["lag"]["time_lag_ms"] = 400_000.into();
        for (place, how) in damage {
            let mut all = Vec::new();
            pointers(&status, "", &mut all);
            let pointer = place.get(&all).clone();
            let with = [Value::Null, json!([]), json!({})][how].clone();
            let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
            match status.pointer_mut(parent) {
                Some(Value::Object(fields)) if how == 0 => { fields.shift_remove(name); }
                _ => *status.pointer_mut(&pointer).unwrap() = with,
            }
        }
        if let Ok(seen) = look_at("demo", &status, None, None) {
            prop_assert_ne!(judge("demo", &seen.facts, &max_lag()).status(), 0);
        }
    }
}
