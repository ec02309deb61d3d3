//! Windows in, findings out: what each case shows stands beside it.

use proptest::prelude::*;
use whimbrel_plugin::testing::context;

use super::*;

const STEP: i64 = 30_000;
const NOW: i64 = 1_700_000_010_000;
const UNKNOWN: f64 = f64::NAN;

fn plugin(config: &str) -> LagRules {
    let mut plugin: LagRules = whimbrel_plugin::config::parse(config).unwrap();
    plugin.start(&context()).unwrap();
    plugin
}

/// A series whose last value is of the step that ends now.
fn series(name: &str, labels: &[(&str, &str)], values: &[f64]) -> Series {
    let count = i64::try_from(values.len()).unwrap();
    let points = values.iter().zip(-count..).map(|(value, step)| Point { at_ms: NOW + step * STEP, value: *value });
    Series {
        name: name.into(),
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        points: points.filter(|point| !point.value.is_nan()).collect(),
    }
}

fn window(series: Vec<Series>) -> Window {
    Window { scope: "pipeline/shop".into(), start_ms: NOW - STEP, end_ms: NOW, series }
}

fn found(config: &str, series: Vec<Series>) -> Vec<Finding> {
    plugin(config).evaluate(&window(series), &context()).unwrap()
}

fn told(findings: &[Finding]) -> Vec<(&str, Severity)> {
    findings.iter().map(|finding| (finding.kind.as_str(), finding.severity)).collect()
}

/// Twelve values: `from`, and `by` more each step.
fn line(from: f64, by: f64) -> Vec<f64> {
    (0..12).map(|step| from + by * f64::from(step)).collect()
}

/// The first so many of one line, and the rest of another.
fn joined(first: &[f64], steps: usize, second: &[f64]) -> Vec<f64> {
    first.iter().take(steps).chain(second.iter().skip(steps)).copied().collect()
}

fn partition(topic: &str, number: &str, frontier: &[f64], end: &[f64]) -> Vec<Series> {
    let labels = [("topic", topic), ("partition", number)];
    vec![series("partition_frontier", &labels, frontier), series("partition_end_offset", &labels, end)]
}

#[test]
fn a_consumer_is_judged_by_its_last_ten_steps() {
    let unknown = [UNKNOWN; 12];
    for (case, frontier, end, expect) in [
        ("at the end all the time", line(100.0, 5.0), line(100.0, 5.0), None),
        ("idle", line(100.0, 0.0), line(100.0, 0.0), None),
        ("stands, and nothing new comes", line(100.0, 0.0), line(101.0, 0.0), Some(("stall", 12))),
        ("stands, and more comes", line(100.0, 0.0), line(101.0, 9.0), Some(("stall", 12))),
        ("stands for nine steps", joined(&line(90.0, 0.0), 3, &line(100.0, 0.0)), line(200.0, 0.0), None),
        ("stands for ten", joined(&line(90.0, 0.0), 2, &line(100.0, 0.0)), line(200.0, 0.0), Some(("stall", 10))),
        ("no lag once, in the middle", line(100.0, 0.0), joined(&line(100.0, 0.0), 6, &line(105.0, 0.0)), None),
        ("at the end by now", line(100.0, 0.0), joined(&line(105.0, 0.0), 11, &line(100.0, 0.0)), None),
        ("falls behind", line(100.0, 5.0), line(110.0, 6.0), Some(("lag_growing", 12))),
        (
            "falls behind and recovers a little",
            line(100.0, 5.0),
            joined(&line(110.0, 6.0), 11, &line(105.0, 6.0)),
            None,
        ),
        ("late by the same all the time", line(100.0, 5.0), line(110.0, 5.0), None),
        ("catches up", line(100.0, 6.0), line(500.0, 5.0), None),
        ("went back", joined(&line(100.0, 5.0), 8, &line(20.0, 5.0)), line(170.0, 5.0), Some(("rewind", 4))),
        (
            "went back from the end",
            joined(&line(100.0, 0.0), 8, &line(20.0, 0.0)),
            line(100.0, 0.0),
            Some(("rewind", 4)),
        ),
        (
            "went back and has come to where it was",
            joined(&line(100.0, 5.0), 8, &line(140.0, 5.0)),
            line(170.0, 5.0),
            None,
        ),
        ("is not told for 4 steps, told for 8", joined(&line(90.0, 1.0), 8, &unknown), line(200.0, 1.0), None),
        (
            "is not told for 8 steps, told for 4",
            joined(&line(90.0, 1.0), 4, &unknown),
            line(200.0, 1.0),
            Some(("stop", 9)),
        ),
        ("is not told, and was at the end", joined(&line(90.0, 1.0), 4, &unknown), line(90.0, 1.0), Some(("stop", 9))),
        ("is not told, and has all", joined(&line(90.0, 0.0), 4, &unknown), line(90.0, 0.0), None),
        (
            "is not told, and something came just now",
            joined(&line(90.0, 0.0), 4, &unknown),
            joined(&line(90.0, 0.0), 10, &line(95.0, 0.0)),
            None,
        ),
        (
            "nothing is told of either",
            joined(&line(90.0, 1.0), 4, &unknown),
            joined(&line(200.0, 1.0), 4, &unknown),
            None,
        ),
        ("was never told", unknown.to_vec(), line(200.0, 1.0), None),
        (
            "the end was not known once",
            line(100.0, 0.0),
            joined(&joined(&line(101.0, 0.0), 6, &unknown), 7, &line(101.0, 0.0)),
            None,
        ),
        (
            "a new topic of the same name",
            joined(&line(500.0, 1.0), 8, &line(-4.0, 1.0)),
            joined(&line(500.0, 1.0), 8, &line(1.0, 1.0)),
            Some(("rewind", 4)),
        ),
    ] {
        let findings = found("{}", partition("orders", "0", &frontier, &end));
        let got: Vec<(&str, i64)> =
            findings.iter().map(|finding| (finding.kind.as_str(), (NOW - finding.since_ms.unwrap()) / STEP)).collect();
        assert_eq!(got, expect.into_iter().collect::<Vec<_>>(), "{case}");
    }
}

#[test]
fn lag_that_the_agent_tells_goes_before_lag_that_is_computed() {
    let labels = [("topic", "orders"), ("partition", "0")];
    // One record behind the frontier is a marker of a transaction, which the agent knows and the offsets do not say.
    let mut all = partition("orders", "0", &line(100.0, 0.0), &line(101.0, 0.0));
    assert_eq!(told(&found("{}", all.clone())), [("stall", Severity::Critical)]);
    assert!(found(r#"{"consumers": {"tolerated_lag": 1}}"#, all.clone()).is_empty());
    all.push(series("partition_lag_messages", &labels, &line(0.0, 0.0)));
    assert!(found("{}", all).is_empty());
}

#[test]
fn a_paused_pipeline_need_not_move() {
    let stands = partition("orders", "0", &line(100.0, 0.0), &line(101.0, 9.0));
    let paused = |running: f64| {
        let mut all = stands.clone();
        all.push(series("running", &[], &line(running, 0.0)));
        told(&found("{}", all)).len()
    };
    assert_eq!((paused(1.0), paused(0.0)), (1, 0));
}

#[test]
fn a_thousand_partitions_are_one_finding_for_each_kind_of_trouble() {
    let mut all = Vec::new();
    let numbers: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let topics: Vec<String> = (0..1_000).map(|number| format!("shop.t{}", number % 20)).collect();
    for (index, (topic, number)) in topics.iter().zip(&numbers).enumerate() {
        let lag = 1.0 + index as f64;
        let frontier = if index % 2 == 0 { line(100.0, 0.0) } else { line(100.0, 1.0) };
        all.extend(partition(topic, number, &frontier, &line(100.0 + lag, 2.0)));
    }
    let findings = found("{}", all);
    assert_eq!(told(&findings), [("stall", Severity::Critical), ("lag_growing", Severity::Warning)]);
    let stall = &findings[0];
    assert_eq!(stall.title, "500 partitions of 10 topics stand still, 261,000 messages wait");
    assert_eq!(
        stall.detail,
        "produced, and not applied: nothing became durable for 6 min; worst: shop.t18/998 (1,021), shop.t16/996 (1,019), \
         shop.t14/994 (1,017), shop.t12/992 (1,015), shop.t10/990 (1,013) and 495 more"
    );
    assert_eq!(stall.attributes[2], ("partitions".to_owned(), Value::Integer(500)));
    let bytes: usize = findings.iter().map(|finding| format!("{finding:?}").len()).sum();
    assert!(bytes < 2_500, "{bytes}");
}

#[test]
fn a_single_partition_is_named_with_where_since_when_and_what_to_do() {
    let mut all = partition("orders", "3", &line(100.0, 0.0), &line(101.0, 9.0));
    for (hop, seconds) in [("capture", 90.0), ("transform", 3.0), ("apply", 7.0)] {
        all.push(series("hop_seconds", &[("hop", hop)], &line(seconds, 0.0)));
    }
    let finding = found("{}", all).remove(0);
    assert_eq!(
        (finding.key.as_str(), finding.title.as_str()),
        ("stall", "partition 3 of orders stands still, 100 messages wait")
    );
    assert_eq!(
        finding.attributes[1],
        ("hop".to_owned(), Value::Text("apply".to_owned())),
        "capture is before the broker"
    );
    assert!(finding.action.contains("quarantine"), "{}", finding.action);
    assert_eq!(finding.since_ms, Some(NOW - 12 * STEP));
}

#[test]
fn lag_in_time_has_a_warning_and_a_critical_limit_and_says_in_which_hop() {
    let lag = |values: &[f64]| vec![series("lag_seconds", &[], values)];
    for (case, config, values, expect) in [
        ("below", "{}", line(59.0, 0.0), vec![]),
        ("a minute", "{}", line(60.0, 0.0), vec![("lag", Severity::Warning)]),
        ("a minute for one step", "{}", joined(&line(1.0, 0.0), 11, &line(60.0, 0.0)), vec![]),
        ("five minutes", "{}", line(300.0, 0.0), vec![("lag", Severity::Critical)]),
        (
            "five minutes for one step",
            "{}",
            joined(&line(60.0, 0.0), 11, &line(300.0, 0.0)),
            vec![("lag", Severity::Warning)],
        ),
        ("not known now", "{}", joined(&line(300.0, 0.0), 11, &[UNKNOWN; 12]), vec![]),
        (
            "other limits",
            r#"{"lag": {"warning_seconds": 5, "critical_seconds": 9, "steps": 1}}"#,
            line(-93.0, 9.0),
            vec![("lag", Severity::Warning)],
        ),
        ("not looked at", r#"{"lag": {"enabled": false}}"#, line(300.0, 0.0), vec![]),
    ] {
        assert_eq!(told(&found(config, lag(&values))), expect, "{case}");
    }
    let mut all = lag(&joined(&line(5.0, 0.0), 8, &line(310.0, 0.0)));
    all.push(series("catchup_eta_seconds", &[], &line(90.0, 0.0)));
    all.push(series("lag_messages", &[], &line(12_000.0, 0.0)));
    let finding = found("{}", all.clone()).remove(0);
    assert_eq!(finding.title, "the target is 5 min 10 s behind");
    assert_eq!(
        finding.detail,
        "at or above 5 min for 2 min; 12,000 messages wait at the broker; at this pace it has caught up in 1 min 30 s"
    );
    assert_eq!(finding.attributes[0], ("hop".to_owned(), Value::Text("apply".to_owned())));
    all[2] = series("lag_messages", &[], &line(0.0, 0.0));
    let finding = found("{}", all).remove(0);
    assert_eq!(finding.attributes[0], ("hop".to_owned(), Value::Text("capture".to_owned())));
    assert!(finding.action.contains("connectors status"), "{}", finding.action);

    let replica = found("{}", vec![series("replication_lag_seconds", &[], &line(90.0, 0.0))]);
    assert_eq!(
        (replica[0].key.as_str(), replica[0].title.as_str()),
        ("replication_lag_seconds", "replicas are 1 min 30 s behind")
    );
}

#[test]
fn a_stalled_pipeline_is_told_once_with_the_hop_that_stands() {
    let stalled = |more: Vec<Series>| {
        let mut all = vec![series("lag_state", &[], &joined(&line(1.0, 0.0), 8, &line(2.0, 0.0)))];
        all.extend(more);
        found("{}", all)
    };
    let nobody_knows = stalled(vec![]);
    assert_eq!(told(&nobody_knows), [("stall", Severity::Critical)]);
    assert_eq!(nobody_knows[0].since_ms, Some(NOW - 4 * STEP));
    assert_eq!(stalled(vec![series("running", &[], &line(0.0, 0.0))]), [], "somebody paused it");
    let capture = stalled(partition("orders", "0", &line(100.0, 0.0), &line(100.0, 0.0)));
    assert_eq!(capture[0].title, "nothing comes from the source any more");
    let apply = stalled(partition("orders", "0", &line(100.0, 0.0), &line(100.0, 9.0)));
    assert_eq!(told(&apply), [("stall", Severity::Critical)], "the partition is named already");
    assert_eq!(apply[0].key, "stall");
}

/// An hour of values, one a step: `from`, and `by` more each hour.
fn hour(from: f64, by: f64) -> Vec<f64> {
    (1..=120).map(|step| from + by * f64::from(step) / 120.0).collect()
}

#[test]
fn kafka_retention_that_comes_closer_is_told_before_it_deletes_what_was_not_read() {
    let labels = [("topic", "orders"), ("partition", "0")];
    let retention = |start: &[f64], frontier: &[f64], end: &[f64]| {
        let mut all = partition("orders", "0", frontier, end);
        all.push(series("partition_start_offset", &labels, start));
        let config = r#"{"consumers": {"enabled": false}}"#;
        found(config, all).into_iter().map(|finding| (finding.severity, finding.title)).collect::<Vec<_>>()
    };
    let still = hour(1_000.0, 0.0);
    let end = hour(90_000.0, 1_000.0);
    for (case, start, frontier, end, expect) in [
        ("the start stands", hour(0.0, 0.0), still.clone(), end.clone(), None),
        ("ten hours", hour(0.0, 90.0), still.clone(), end.clone(), None),
        (
            "five hours",
            hour(0.0, 166.666_666),
            still.clone(),
            end.clone(),
            Some((Severity::Warning, "partition 0 of orders loses data in 5 h to retention")),
        ),
        (
            "half an hour",
            hour(0.0, 666.666_666),
            still.clone(),
            end.clone(),
            Some((Severity::Critical, "partition 0 of orders loses data in 30 min to retention")),
        ),
        ("the consumer is as fast", hour(0.0, 666.666_666), hour(1_000.0, 666.0), end.clone(), None),
        ("nothing waits", hour(0.0, 666.666_666), still.clone(), still.clone(), None),
        ("it has caught up before", hour(0.0, 900.0), hour(1_000.0, 500.0), hour(1_510.0, 0.0), None),
        (
            "it happened",
            hour(1_100.0, 0.0),
            still.clone(),
            end.clone(),
            Some((Severity::Critical, "partition 0 of orders lost 100 messages to retention")),
        ),
        ("two steps are no line", hour(0.0, 666.666_666)[118..].to_vec(), still.clone(), end.clone(), None),
    ] {
        let expect: Vec<(Severity, String)> =
            expect.into_iter().map(|(severity, title)| (severity, title.to_owned())).collect();
        assert_eq!(retention(&start, &frontier, &end), expect, "{case}");
    }
    // A stopped consumer tells no frontier; what it did not read is deleted all the same.
    let stopped = [hour(1_000.0, 0.0)[..20].to_vec(), vec![UNKNOWN; 100]].concat();
    assert_eq!(retention(&hour(0.0, 666.666_666), &stopped, &end).len(), 1);
}

#[test]
fn slots_and_oplogs_are_told_by_the_hours_that_are_left_where_they_are_known() {
    let gib = f64::from(1 << 30);
    let source = |config: &str, name: &str, by: &str, values: &[f64]| {
        let labels = [("by", by), ("name", "shop_slot")];
        let findings = found(config, vec![series(name, &labels, values)]);
        findings.into_iter().map(|finding| (finding.severity, finding.title)).collect::<Vec<_>>()
    };
    let slot = |values: &[f64]| source("{}", "source_headroom_bytes", "slot", values);
    let oplog = |values: &[f64]| source("{}", "source_headroom_seconds", "oplog", values);
    assert_eq!(slot(&hour(5.0 * gib, 0.0)), []);
    assert_eq!(slot(&hour(5.0 * gib, gib)), [], "it grows");
    assert_eq!(slot(&hour(20.0 * gib, -gib)), [], "nineteen hours");
    let title = |text: &str| text.to_owned();
    assert_eq!(slot(&hour(5.0 * gib, -gib)), [(Severity::Warning, title("slot shop_slot loses changes in 4 h"))]);
    assert_eq!(
        slot(&hour(5.0 * gib, -3.0 * gib)),
        [(Severity::Critical, title("slot shop_slot loses changes in 40 min"))]
    );
    let burst = [hour(50.0 * gib, 0.0)[..100].to_vec(), hour(50.0 * gib, -100.0 * gib)[..20].to_vec()].concat();
    assert_eq!(slot(&burst)[0].0, Severity::Critical, "ten minutes of a burst are enough");
    assert_eq!(slot(&hour(0.0, 0.0))[0].1, "slot shop_slot has no headroom left: what it held may be gone");
    assert_eq!(slot(&[1.0, 1.0, UNKNOWN, UNKNOWN, UNKNOWN]), [], "not known now");
    let least = r#"{"data_loss": {"least_slot_bytes": 2147483648}}"#;
    let low = source(least, "source_headroom_bytes", "slot", &hour(gib, 0.0));
    assert_eq!(low, [(Severity::Warning, title("slot shop_slot has only 1 GiB of headroom"))]);

    assert_eq!(oplog(&hour(86_400.0, 0.0)), []);
    assert_eq!(oplog(&hour(18_000.0, -3_600.0)), [(Severity::Warning, title("oplog shop_slot loses changes in 4 h"))]);
    assert_eq!(oplog(&hour(1_800.0, 0.0)), [(Severity::Warning, title("oplog shop_slot has only 30 min of headroom"))]);
    let off = r#"{"data_loss": {"enabled": false}}"#;
    assert_eq!(source(off, "source_headroom_seconds", "oplog", &hour(0.0, 0.0)), []);
    // Ten slots are one finding.
    let labels: Vec<String> = (0..10).map(|number| format!("slot_{number}")).collect();
    let all = labels
        .iter()
        .map(|name| series("source_headroom_bytes", &[("by", "slot"), ("name", name)], &hour(5.0 * gib, -gib)));
    let findings = found("{}", all.collect());
    assert_eq!((findings.len(), findings[0].title.as_str()), (1, "10 slots lose changes in 4 h"));
}

#[test]
fn odd_windows_are_judged_without_a_word() {
    let labels = [("topic", "orders"), ("partition", "0")];
    let names = ["partition_frontier", "partition_end_offset", "partition_start_offset", "partition_lag_messages"];
    for value in [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -1.0, 0.0] {
        for other in [f64::INFINITY, f64::MAX, f64::MIN, 0.0] {
            let mut all: Vec<Series> =
                names.iter().map(|name| series(name, &labels, &[value, other].repeat(60))).collect();
            all.push(series("lag_seconds", &[], &[value, other].repeat(60)));
            all.push(series("source_headroom_bytes", &[("by", "slot")], &[value, other].repeat(60)));
            for finding in found("{}", all) {
                assert!(!finding.title.contains("NaN") && finding.title.len() < 200, "{}", finding.title);
            }
        }
    }
    let bare = names.map(|name| Series { name: name.into(), ..Series::default() });
    for (start_ms, end_ms) in [(0, 0), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
        let empty = names.map(|name| series(name, &labels, &[]));
        let window = Window { start_ms, end_ms, series: [&bare[..], &empty[..]].concat(), ..Window::default() };
        assert!(plugin("{}").evaluate(&window, &context()).unwrap().is_empty());
    }
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, message) in [
        (r#"{"consumers": {"window": 2}}"#, "config: consumers.window: must be at least 3"),
        (r#"{"lag": {"steps": 0}}"#, "config: lag.steps: must be at least 1"),
        (
            r#"{"lag": {"critical_seconds": 30}}"#,
            "config: lag: `warning_seconds` must be above 0 and `critical_seconds` not below it",
        ),
        (
            r#"{"data_loss": {"warning_hours": 0.5}}"#,
            "config: data_loss: `critical_hours` must be 0 or more and `warning_hours` not below it",
        ),
        (r#"{"data_loss": {"least_oplog_seconds": -1}}"#, "config: data_loss.least_oplog_seconds: must be 0 or more"),
    ] {
        let mut plugin: LagRules = whimbrel_plugin::config::parse(config).unwrap();
        assert_eq!(plugin.start(&context()).unwrap_err().to_string(), message);
    }
    // What is left out within a section is what is left out with it.
    let figures = |rules: &LagRules| format!("{:?} {:?} {:?}", rules.consumers, rules.lag, rules.data_loss);
    assert_eq!(figures(&plugin("{}")), figures(&plugin(r#"{"consumers": {}, "lag": {}, "data_loss": {}}"#)));
}

fn offsets() -> impl Strategy<Value = Vec<f64>> {
    let odd = prop_oneof![20 => 0.0..1_000.0, 1 => Just(f64::NAN), 1 => Just(f64::MAX), 1 => Just(-1.0)];
    let random = proptest::collection::vec(odd, 0..130);
    let steady = (0.0..1_000.0, -2.0..9.0_f64, 0_usize..130).prop_map(|(from, by, steps): (f64, f64, usize)| {
        (0..steps).map(|step| (from + by * step as f64).round()).collect()
    });
    prop_oneof![random, steady]
}

proptest! {
    #[test]
    fn whatever_comes_no_two_findings_have_one_key_and_nothing_panics(
        all in proptest::collection::vec((offsets(), offsets(), offsets(), offsets()), 0..4),
        lag in offsets(),
        state in offsets(),
        headroom in offsets(),
    ) {
        let mut series_of = vec![
            series("lag_seconds", &[], &lag),
            series("lag_state", &[], &state.iter().map(|value| (value / 300.0).floor()).collect::<Vec<_>>()),
            series("source_headroom_seconds", &[("by", "oplog"), ("name", "a")], &headroom),
        ];
        for (number, (frontier, end, start, lag)) in all.iter().enumerate() {
            let number = number.to_string();
            let labels = [("topic", "t"), ("partition", number.as_str())];
            series_of.extend(partition("t", &number, frontier, end));
            series_of.push(series("partition_start_offset", &labels, start));
            series_of.push(series("partition_lag_messages", &labels, lag));
        }
        let findings = found("{}", series_of);
        let mut keys: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), findings.len());
        prop_assert!(findings.iter().all(|finding| finding.since_ms.is_none_or(|since| since <= NOW)));
    }
}
