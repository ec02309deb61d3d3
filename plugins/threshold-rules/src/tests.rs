//! Windows in, findings out: what each case shows stands beside it.

use proptest::prelude::*;
use whimbrel_plugin::testing::{TestHost, context, strategy};

use super::*;

const STEP: i64 = 30_000;
const NOW: i64 = 1_700_000_010_000;

fn plugin(config: &str) -> ThresholdRules {
    let mut plugin: ThresholdRules = whimbrel_plugin::config::parse(config).unwrap();
    plugin.start(&context()).unwrap();
    plugin
}

/// Series whose last point is in the step that ends now. `NAN` leaves a step without a point.
fn window_of(scope: &str, series: &[(&str, Vec<f64>)], end_ms: i64) -> Window {
    let points = |values: &[f64]| {
        let count = i64::try_from(values.len()).unwrap();
        let all = values.iter().zip(-count..).map(|(value, step)| Point { at_ms: end_ms + step * STEP, value: *value });
        all.filter(|point| !point.value.is_nan()).collect::<Vec<_>>()
    };
    let series = series.iter().map(|(name, values)| match name.split_once('/') {
        Some((name, hop)) => {
            Series { name: name.into(), labels: vec![("hop".into(), hop.into())], points: points(values) }
        }
        None => Series { name: (*name).into(), labels: Vec::new(), points: points(values) },
    });
    Window { scope: scope.into(), start_ms: end_ms - STEP, end_ms, series: series.collect() }
}

fn window(series: &[(&str, Vec<f64>)]) -> Window {
    window_of("pipeline/shop", series, NOW)
}

fn found(config: &str, window: &Window) -> Vec<(String, Severity, i64)> {
    let findings = plugin(config).evaluate(window, &context()).unwrap();
    findings.into_iter().map(|finding| (finding.kind, finding.severity, finding.since_ms.unwrap())).collect()
}

fn each(value: f64) -> Vec<f64> {
    vec![value; 10]
}

/// Ten steps: so many of the first value, then the second.
fn then(first: f64, steps: usize, second: f64) -> Vec<f64> {
    (0..10).map(|step| if step < steps { first } else { second }).collect()
}

const GIVEN: &str = r#"{"low_throughput": {"expected": {"pipeline/shop": 1000, "migration/*": 1000}}}"#;

#[test]
fn low_throughput_is_what_stays_below_half_of_what_was_given_while_it_runs() {
    let rate = |values| ("events_per_second", values);
    let running = || ("running", each(1.0));
    let low = |steps: i64| vec![("low_throughput".to_owned(), Severity::Warning, NOW - steps * STEP)];
    for (case, series, expect) in [
        ("half is enough", vec![rate(each(500.0)), running()], vec![]),
        ("low for four steps", vec![rate(then(1000.0, 6, 499.0)), running()], low(4)),
        ("low for three", vec![rate(then(1000.0, 7, 499.0)), running()], vec![]),
        ("nothing at all, and nobody knows why", vec![rate(each(0.0)), running()], low(10)),
        ("paused", vec![rate(each(0.0)), ("running", each(0.0))], vec![]),
        ("paused until three steps ago", vec![rate(each(0.0)), ("running", then(0.0, 7, 1.0))], vec![]),
        ("whether it runs is not known", vec![rate(each(0.0))], vec![]),
        (
            "idle: caught up, and nothing is produced",
            vec![rate(each(0.0)), running(), ("lag_state", each(0.0)), ("produced_per_second", each(0.0))],
            vec![],
        ),
        (
            "nothing moves, and yet there is something",
            vec![rate(each(0.0)), running(), ("lag_state", each(1.0)), ("produced_per_second", each(0.0))],
            low(10),
        ),
        (
            "nothing comes, and whether there is nothing is not known",
            vec![rate(each(0.0)), running(), ("lag_state", each(3.0)), ("produced_per_second", each(0.0))],
            low(10),
        ),
        (
            "the source gives less than somebody said it would",
            vec![rate(each(300.0)), running(), ("lag_state", each(0.0)), ("produced_per_second", each(300.0))],
            low(10),
        ),
        ("not known in the last step", vec![rate([each(1.0), vec![f64::NAN]].concat()), running()], vec![]),
        (
            "one step in between was not known",
            vec![rate([each(1.0), vec![f64::NAN, 1.0]].concat()), running()],
            low(12),
        ),
    ] {
        let mut series = series;
        let length = series.iter().map(|(_, values)| values.len()).max().unwrap();
        for (_, values) in series.iter_mut().filter(|(name, _)| *name == "running") {
            values.splice(0..0, vec![values[0]; length - values.len()]);
        }
        assert_eq!(found(GIVEN, &window(&series)), expect, "{case}");
    }
}

#[test]
fn a_finding_says_how_much_since_when_where_and_what_to_do() {
    let told = |series: &[(&str, Vec<f64>)]| plugin(GIVEN).evaluate(&window(series), &context()).unwrap().remove(0);
    let base = [("events_per_second", then(900.0, 4, 310.0)), ("running", each(1.0)), ("lag_seconds", each(42.0))];
    let apply = told(&[&base[..], &[("hop_seconds/apply", each(4.0)), ("hop_seconds/broker", each(1.0))]].concat());
    assert_eq!(apply.title, "only 310 events/s, 1,000 expected");
    assert_eq!(apply.detail, "below 500 for 3 min; 1,000 events/s are expected (configured); lag: 42 s");
    assert!(apply.action.contains("target's load"), "{}", apply.action);
    assert_eq!(apply.attributes[0], ("hop".to_owned(), Value::Text("apply".to_owned())));
    let capture = told(&[&base[..], &[("lag_state", each(0.0))]].concat());
    assert!(capture.action.contains("less comes from the source"), "{}", capture.action);
}

#[test]
fn a_migration_is_judged_by_its_rows_until_it_is_done() {
    let migration = |progress| {
        let series = [("rows_per_second", each(10.0)), ("running", each(1.0)), ("progress_ratio", each(progress))];
        found(GIVEN, &window_of("migration/7", &series, NOW)).len()
    };
    assert_eq!((migration(0.5), migration(1.0)), (1, 0));
}

/// Evaluates step after step with an hour of look-back; gives the steps in which low throughput was found.
fn lived(host: &TestHost, config: &str, rates: &[f64], beside: &[(&str, f64)], restart: Option<usize>) -> Vec<usize> {
    let mut rules = plugin(config);
    let mut low = Vec::new();
    for step in 1..=rates.len() {
        if restart == Some(step) {
            rules = plugin(config);
        }
        let seen = rates[step.saturating_sub(120)..step].to_vec();
        let mut series = vec![("running", vec![1.0; seen.len()])];
        series.extend(beside.iter().map(|(name, value)| (*name, vec![*value; seen.len()])));
        series.push(("events_per_second", seen));
        let end_ms = NOW + i64::try_from(step).unwrap() * STEP;
        let findings = rules.evaluate(&window_of("pipeline/shop", &series, end_ms), &host.context()).unwrap();
        if findings.iter().any(|finding| finding.kind == "low_throughput") {
            low.push(step);
        }
    }
    low
}

#[test]
fn what_nobody_gave_is_learned_and_slow_steps_teach_nothing_for_a_day() {
    let (hour, host) = (120, TestHost::new());
    let rates = |slow: usize| [vec![1_000.0; 2 * hour], vec![100.0; slow], vec![1_000.0; hour]].concat();
    let all = lived(&host, "{}", &rates(10 * hour), &[], None);
    assert_eq!(all, (2 * hour + 4..=12 * hour).collect::<Vec<_>>(), "ten hours are not the usual case");
    let host = TestHost::new();
    let all = lived(&host, "{}", &rates(30 * hour), &[], None);
    assert_eq!(*all.last().unwrap(), 26 * hour, "after a day they are");
    assert!(host.lines().iter().any(|(_, line)| line.contains("is the expected one now")));

    let early = lived(&TestHost::new(), "{}", &[vec![1_000.0; 40], vec![100.0; 40]].concat(), &[], None);
    assert_eq!(early, (61..=80).collect::<Vec<_>>(), "half an hour is only learned from, whatever it brings");
    let few = lived(&TestHost::new(), "{}", &[vec![0.5; 2 * hour], vec![0.1; hour]].concat(), &[], None);
    assert!(few.is_empty(), "some single events say nothing");
    for quiet in [&[("lag_state", 0.0)][..], &[("lag_state", 3.0), ("lag_messages", 0.0)]] {
        let night = lived(&TestHost::new(), "{}", &rates(2 * hour), quiet, None);
        assert!(night.is_empty(), "a pipeline that keeps up with a quiet source is not slow");
    }
    let behind = [("lag_state", 3.0), ("lag_messages", 7.0)];
    assert_eq!(lived(&TestHost::new(), "{}", &rates(2 * hour), &behind, None).len(), 2 * hour - 3);
}

#[test]
fn what_was_learned_outlives_a_restart_and_damage_costs_no_more_than_learning_again() {
    let rates = [vec![1_000.0; 240], vec![100.0; 240]].concat();
    let whole = lived(&TestHost::new(), "{}", &rates, &[], None);
    for restart in [200, 242, 300, 479] {
        assert_eq!(lived(&TestHost::new(), "{}", &rates, &[], Some(restart)), whole, "restarted at step {restart}");
    }
    let mut since = plugin("{}");
    let host = TestHost::new();
    lived(&host, "{}", &rates, &[], None);
    let kept = host.kept("learned").unwrap();
    assert_eq!(kept.len(), 37, "one scope");
    let series = [("events_per_second", each(100.0)), ("running", each(1.0))];
    let later = window_of("pipeline/shop", &series, NOW + 481 * STEP);
    let finding = since.evaluate(&later, &host.context()).unwrap().remove(0);
    assert_eq!(finding.since_ms, Some(NOW + 240 * STEP), "the beginning is known, though the look-back is shorter");
    assert!(finding.detail.contains("1,000 events/s are expected (learned)"), "{}", finding.detail);
    for damaged in [&b""[..], b"\x02abc", b"\x01abc", &[1; 200][..]] {
        let host = TestHost::new().state("learned", damaged);
        assert_eq!(lived(&host, "{}", &rates, &[], None), whole, "{damaged:?}");
    }
}

#[test]
fn memory_is_bounded_by_the_number_of_scopes() {
    let (mut rules, host) = (plugin("{}"), TestHost::new());
    let series = [("events_per_second", each(100.0)), ("running", each(1.0))];
    for scope in 0..800 {
        // Most of them in one step, as an agent with many does.
        let end_ms = NOW + (scope / 700) * STEP;
        rules.evaluate(&window_of(&format!("migration/{scope}"), &series, end_ms), &host.context()).unwrap();
    }
    assert_eq!(host.kept("learned").unwrap().len(), 1 + 500 * 36);
}

#[test]
fn a_high_error_rate_is_more_than_one_in_a_hundred_of_enough() {
    let ratio = |values| ("error_ratio", values);
    let high = |steps: i64| vec![("high_error_rate".to_owned(), Severity::Critical, NOW - steps * STEP)];
    let rate = |value| ("events_per_second", each(value));
    for (case, config, series, expect) in [
        ("exactly one in a hundred", "{}", vec![ratio(each(0.01))], vec![]),
        ("more", "{}", vec![ratio(each(0.011)), rate(100.0)], high(10)),
        ("more for two steps", "{}", vec![ratio(then(0.0, 8, 0.5)), rate(100.0)], high(2)),
        ("more for one", "{}", vec![ratio(then(0.0, 9, 0.5)), rate(100.0)], vec![]),
        ("one is enough here", r#"{"high_error_rate": {"steps": 1}}"#, vec![ratio(then(0.0, 9, 0.5))], high(1)),
        ("eighteen events in two steps", "{}", vec![ratio(each(0.5)), rate(0.3)], vec![]),
        (
            "they and as many errors",
            "{}",
            vec![ratio(each(0.5)), rate(0.3), ("errors_per_second", each(0.3))],
            high(10),
        ),
        ("how many is not known", "{}", vec![ratio(each(0.5))], high(10)),
        ("not any more", "{}", vec![ratio([each(0.5), vec![f64::NAN]].concat())], vec![]),
        ("all of them", "{}", vec![ratio(each(1.0)), rate(0.0), ("errors_per_second", each(50.0))], high(10)),
        ("another limit", r#"{"high_error_rate": {"ratio": 0.6}}"#, vec![ratio(each(0.5))], vec![]),
        ("not looked at", r#"{"high_error_rate": {"enabled": false}}"#, vec![ratio(each(0.5))], vec![]),
    ] {
        assert_eq!(found(config, &window(&series)), expect, "{case}");
    }
}

#[test]
fn odd_windows_are_judged_without_a_word() {
    let absurd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -1.0, 0.0];
    for value in absurd {
        let points = vec![Point { at_ms: NOW - 1, value }; 5];
        let names = ["events_per_second", "error_ratio", "running", "lag_state", "produced_per_second"];
        let series = names.map(|name| Series { name: name.into(), labels: Vec::new(), points: points.clone() });
        let window = Window { scope: String::new(), start_ms: NOW - STEP, end_ms: NOW, series: series.to_vec() };
        let findings = plugin(GIVEN).evaluate(&window, &context()).unwrap();
        assert!(findings.iter().all(|finding| finding.score.is_none_or(f64::is_finite)), "{value}");
    }
    for (start_ms, end_ms) in [(0, 0), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
        let series = vec![Series { name: "events_per_second".into(), ..Series::default() }];
        let window = Window { start_ms, end_ms, series, ..Window::default() };
        assert!(plugin("{}").evaluate(&window, &context()).unwrap().is_empty());
    }
    assert!(plugin("{}").evaluate(&Window::default(), &context()).unwrap().is_empty());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, message) in [
        (r#"{"low_throughput": {"factor": 1}}"#, "config: low_throughput.factor: must be between 0 and 1"),
        (r#"{"low_throughput": {"steps": 0}}"#, "config: low_throughput.steps: must be at least 1"),
        (r#"{"low_throughput": {"idle_below": -1}}"#, "config: low_throughput.idle_below: must be 0 or more"),
        (
            r#"{"low_throughput": {"expected": {"pipeline/shop": 0}}}"#,
            "config: low_throughput.expected.pipeline/shop: must be more than 0",
        ),
        (r#"{"high_error_rate": {"ratio": 1}}"#, "config: high_error_rate.ratio: must be from 0 to less than 1"),
        (r#"{"high_error_rate": {"steps": 0}}"#, "config: high_error_rate.steps: must be at least 1"),
    ] {
        let mut plugin: ThresholdRules = whimbrel_plugin::config::parse(config).unwrap();
        assert_eq!(plugin.start(&context()).unwrap_err().to_string(), message);
    }
    let unknown = whimbrel_plugin::config::parse::<ThresholdRules>(r#"{"low_throughput": {"severity": "bad"}}"#);
    let message = "low_throughput.severity: unknown choice `bad`, expected one of `info`, `warning`, `critical`";
    assert_eq!(unknown.err().unwrap().to_string(), message);
    // What is left out within a section is what is left out with it.
    let (empty, sections) = (plugin("{}"), plugin(r#"{"low_throughput": {}, "high_error_rate": {}}"#));
    assert_eq!(empty.low_throughput.check(), sections.low_throughput.check());
    let figures = |rules: &ThresholdRules| {
        let (low, high) = (&rules.low_throughput, &rules.high_error_rate);
        format!("{low:?} {high:?}")
    };
    assert_eq!(figures(&empty), figures(&sections));
}

proptest! {
    #[test]
    fn whatever_comes_it_is_judged_alike_twice_and_never_panics(
        mut window in strategy::windows(&["events_per_second", "error_ratio", "running", "lag_state", "produced_per_second"]),
        start in any::<i64>(),
        odd in any::<bool>(),
    ) {
        if odd {
            window.start_ms = start;
        }
        let judged = |window: &Window| plugin(GIVEN).evaluate(window, &context()).unwrap();
        prop_assert_eq!(judged(&window), judged(&window));
        let mut learning = plugin("{}");
        let host = TestHost::new();
        for _ in 0..3 {
            learning.evaluate(&window, &host.context()).unwrap();
            window.end_ms = window.end_ms.saturating_add(STEP);
        }
    }
}
