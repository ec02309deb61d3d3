//! The dashboard is what was promised, is laid out without overlaps, and its copy in docs/ is this one.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::description::rows;
use super::difference::differences;
use super::{UID, dashboard, rules};

fn value() -> Value {
    serde_json::to_value(dashboard()).unwrap()
}

fn panel(title: &str) -> Value {
    value()["panels"].as_array().unwrap().iter().find(|panel| panel["title"] == title).unwrap().clone()
}

#[test]
fn the_panels_that_were_promised_are_there_word_by_word() {
    let dashboard = value();
    assert_eq!(dashboard["title"], "Database Migration Monitoring");
    assert_eq!((&dashboard["uid"], &dashboard["id"]), (&UID.into(), &Value::Null));
    for (title, kind, query, legend) in [
        ("Migration Progress", "timeseries", "rate(migration_rows_total[5m])", "{{migration_id}} - {{table_name}}"),
        ("Data Lag", "stat", "migration_data_lag_seconds", "{{migration_id}}"),
        ("Error Rate", "timeseries", "rate(migration_errors_total[5m])", "{{migration_id}} - {{error_type}}"),
    ] {
        let panel = panel(title);
        assert_eq!(panel["type"], kind, "{title}");
        assert_eq!(panel["targets"][0]["expr"], query, "{title}");
        assert_eq!(panel["targets"][0]["legendFormat"], legend, "{title}");
    }
    assert_eq!(
        panel("Data Lag")["fieldConfig"]["defaults"]["thresholds"]["steps"],
        json!([{"color": "green", "value": 0.0}, {"color": "yellow", "value": 60.0}, {"color": "red", "value": 300.0}])
    );
    let titles: Vec<&str> = rows().iter().map(|row| row.title).collect();
    assert_eq!(
        titles,
        ["Migrations", "CDC lag by state and hop", "Dead letters", "Plugins", "Alerts", "MongoDB migrations"]
    );
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    assert_eq!(dashboard["annotations"]["list"][1]["expr"], "migration_info");
}

#[test]
fn no_two_panels_overlap_and_all_numbers_are_different() {
    let dashboard = value();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
    }
}

#[test]
fn the_copies_in_the_documentation_are_these() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dashboards");
    let json = serde_json::to_string_pretty(&dashboard()).unwrap() + "\n";
    for (name, text) in [("database-migration-monitoring.json", json), ("alert-rules.yaml", rules::rules())] {
        let path = docs.join(name);
        if std::env::var_os("WHIMBREL_BLESS").is_some() {
            std::fs::create_dir_all(&docs).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "docs/dashboards/{name} is not what is rendered; WHIMBREL_BLESS=1 writes it");
    }
}

#[test]
fn a_difference_is_what_we_say_and_they_do_not() {
    let ours = value();
    for (change, expect) in [
        // Grafana numbers dashboards and adds what it likes.
        (json!({"id": 7, "version": 3, "weekStart": ""}), vec![]),
        (json!({"title": "Mine"}), vec!["/title: is \"Mine\", should be \"Database Migration Monitoring\""]),
        (json!({"refresh": null}), vec!["/refresh: is null, should be \"30s\""]),
        (json!({"tags": ["whimbrel"]}), vec!["/tags/1: missing"]),
    ] {
        let mut theirs = ours.clone();
        for (name, value) in change.as_object().unwrap() {
            theirs[name] = value.clone();
        }
        assert_eq!(differences(&ours, &theirs), expect, "{change}");
    }
    let mut theirs = ours.clone();
    theirs["panels"][2]["targets"][0]["expr"] = "0".into();
    theirs["panels"][2]["options"]["added"] = true.into();
    theirs["panels"][2]["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] = 60.into();
    assert_eq!(
        differences(&ours, &theirs),
        ["/panels/Data Lag/targets/0/expr: is \"0\", should be \"migration_data_lag_seconds\""]
    );
    theirs["panels"].as_array_mut().unwrap().push(json!({"title": "Mine"}));
    assert!(differences(&ours, &theirs).contains(&"/panels/Mine: should not be there".to_owned()));
}
