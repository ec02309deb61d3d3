//! Whole lives of series, fed as the agent feeds them: step by step, with or without look-back, over restarts.

use proptest::prelude::*;
use whimbrel_plugin::testing::{TestHost, context, strategy};

use super::*;

const STEP: i64 = 300_000;
/// A Monday.
const BEGIN: i64 = 1_700_438_400_000;
const VALUE: &str = r#"{"watch": [{"series": "value"}], "least_score": 0.1}"#;

fn plugin(config: &str) -> Statistical {
    let mut plugin: Statistical = whimbrel_plugin::config::parse(config).unwrap();
    plugin.start(&context()).unwrap();
    plugin
}

fn series(name: &str, points: Vec<Point>) -> Series {
    Series { name: name.into(), labels: Vec::new(), points }
}

fn at(row: usize) -> i64 {
    BEGIN + i64::try_from(row).unwrap() * STEP
}

/// The window in which a row is new, with so many rows of look-back before it.
fn window(values: &[f64], row: usize, look_back: usize) -> Window {
    let rows = row.saturating_sub(look_back)..=row;
    let points = rows.map(|row| Point { at_ms: at(row), value: values[row] }).collect();
    let scope = "pipeline/shop".to_owned();
    Window { scope, start_ms: at(row), end_ms: at(row) + STEP, series: vec![series("value", points)] }
}

/// A day's rise and fall with noise that is the same in every run.
fn day(row: usize) -> f64 {
    let noise = f64::from(u32::try_from(row * 7_919 % 101).unwrap()) / 10.0;
    100.0 + 50.0 * (row as f64 * std::f64::consts::TAU / 288.0).sin() + noise
}

/// How series are fed.
#[derive(Clone, Copy)]
struct Feed {
    look_back: usize,
    /// A new instance every so many rows.
    restart: Option<usize>,
}

const ONE_BY_ONE: Feed = Feed { look_back: 0, restart: None };

/// The kinds that were found in each row.
fn lived(config: &str, values: &[f64], feed: Feed) -> Vec<Vec<String>> {
    let host = TestHost::new();
    let mut rule = plugin(config);
    let rows = (0..values.len()).map(|row| {
        if feed.restart.is_some_and(|every| row % every == every - 1) {
            rule = plugin(config);
        }
        let findings = rule.evaluate(&window(values, row, feed.look_back), &host.context()).unwrap();
        findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
    });
    rows.collect()
}

fn rows_of(kind: &str, lived: &[Vec<String>]) -> Vec<usize> {
    let rows = lived.iter().enumerate().filter(|(_, kinds)| kinds.iter().any(|found| found == kind));
    rows.map(|(row, _)| row).collect()
}

#[test]
fn a_value_as_never_before_is_an_anomaly_for_ten_minutes_and_not_again_an_hour_later() {
    let mut values: Vec<f64> = (0..2_000).map(day).collect();
    values[1_500] = 400.0;
    values[1_512] = 390.0;
    let lived = lived(VALUE, &values, ONE_BY_ONE);
    let late: Vec<usize> = rows_of("anomaly", &lived).into_iter().filter(|row| *row > 600).collect();
    assert_eq!(late, [1_500, 1_501]);
}

#[test]
fn a_series_with_a_point_each_half_minute_is_judged_over_the_same_time() {
    let (host, mut rule) = (TestHost::new(), plugin(VALUE));
    let mut late = Vec::new();
    for row in 0..12_000_usize {
        let value = if (9_060..9_070).contains(&row) { 400.0 } else { day(row / 10) + (row % 10) as f64 / 10.0 };
        let at_ms = BEGIN + i64::try_from(row).unwrap() * 30_000;
        let points = vec![Point { at_ms, value }];
        let window = Window {
            scope: "a".into(),
            start_ms: at_ms,
            end_ms: at_ms + 30_000,
            series: vec![series("value", points)],
        };
        let found = rule.evaluate(&window, &host.context()).unwrap();
        if row > 5_000 && found.iter().any(|finding| finding.kind == "anomaly") {
            late.push(row);
        }
    }
    assert_eq!(late, (9_060..9_079).collect::<Vec<_>>(), "ten minutes from the first of ten points on");
    let kept = host.kept("index").unwrap();
    assert_eq!(kept.len(), 1 + 16, "one series");
}

#[test]
fn findings_and_scores_are_the_same_however_often_it_is_started_anew_and_whatever_look_back_it_has() {
    let mut values: Vec<f64> = (0..1_200).map(day).collect();
    values[700] = 300.0;
    values[1_000..].iter_mut().for_each(|value| *value += 200.0);
    let config = r#"{"watch": [{"series": "value"}], "least_score": 0.071, "report_scores": true}"#;
    let scores = |feed: Feed| {
        let host = TestHost::new();
        let mut rule = plugin(config);
        let mut all = Vec::new();
        for row in 0..values.len() {
            if feed.restart.is_some_and(|every| row % every == every - 1) {
                rule = plugin(config);
            }
            all.extend(rule.evaluate(&window(&values, row, feed.look_back), &host.context()).unwrap());
        }
        all
    };
    let plain = scores(ONE_BY_ONE);
    assert_eq!(plain.iter().filter(|finding| finding.kind == "score").count(), 1_200);
    for (look_back, restart) in [(0, Some(1)), (0, Some(7)), (12, None), (12, Some(1)), (12, Some(5)), (100, Some(11))]
    {
        assert_eq!(scores(Feed { look_back, restart }), plain, "{look_back} rows of look-back, restart {restart:?}");
    }
}

#[test]
fn what_was_missed_is_learned_from_the_look_back_and_is_no_news() {
    let mut values: Vec<f64> = (0..900).map(day).collect();
    values[798] = 400.0;
    let (host, mut rule) = (TestHost::new(), plugin(VALUE));
    for row in 0..795 {
        rule.evaluate(&window(&values, row, 12), &host.context()).unwrap();
    }
    // Stopped for five steps; the peak is in the look-back of the next window.
    let after = rule.evaluate(&window(&values, 800, 12), &host.context()).unwrap();
    assert_eq!(after, []);
    values[801] = 400.0;
    let again = rule.evaluate(&window(&values, 801, 12), &host.context()).unwrap();
    assert_eq!(again, [], "as high as what was missed");
}

#[test]
fn a_flat_line_and_a_slow_drift_are_kinds_of_their_own() {
    let mut values: Vec<f64> = (0..800).map(day).collect();
    values.extend([120.0; 40]);
    let stands = lived(VALUE, &values, Feed { look_back: 12, restart: Some(9) });
    assert_eq!(rows_of("flat_line", &stands), (812..840).collect::<Vec<_>>(), "from an hour on");
    // Four weeks of days; from the third on a sixth of the day's amplitude more every day, while peaks stay beyond it.
    let drifting = |row: usize| {
        let peak = if row.is_multiple_of(500) { 900.0 } else { 0.0 };
        day(row) + peak + (row as f64 - 4_032.0).max(0.0) / 288.0 * 8.0
    };
    let values: Vec<f64> = (0..8_064).map(drifting).collect();
    let drifts = rows_of("slow_drift", &lived(VALUE, &values, ONE_BY_ONE));
    let days = (drifts[0] - 4_032) / 288;
    assert!((4..=13).contains(&days), "told after {days} days");
    let off = r#"{"watch": [{"series": "value"}], "drift_after_hours": 0, "flat_after_minutes": 0}"#;
    let quiet = lived(off, &values, ONE_BY_ONE);
    assert!(rows_of("slow_drift", &quiet).is_empty() && rows_of("flat_line", &quiet).is_empty());
}

#[test]
fn an_anomaly_says_what_when_how_far_and_what_is_usual() {
    let mut values: Vec<f64> = (0..700).map(day).collect();
    values.push(1_250.0);
    let (host, mut rule) = (TestHost::new(), plugin(r#"{"watch": [{"series": "va*", "scopes": "pipeline/*"}]}"#));
    let mut last = Vec::new();
    for row in 0..values.len() {
        last = rule.evaluate(&window(&values, row, 0), &host.context()).unwrap();
    }
    let finding = last.remove(0);
    assert_eq!((finding.key.as_str(), finding.kind.as_str()), ("anomaly/value", "anomaly"));
    assert_eq!(finding.title, "value is 1,250, as it never was before");
    assert!(finding.detail.starts_with("usual at this hour of the week: 1"), "{}", finding.detail);
    assert!(finding.detail.ends_with("(told from 0.5 on); watched for 2 d 10 h"), "{}", finding.detail);
    assert_eq!((finding.severity, finding.since_ms), (Severity::Warning, Some(at(700))));
    assert!(finding.score.unwrap() > 0.9);
}

#[test]
fn labels_tell_series_apart_and_only_what_is_watched_is_learned() {
    let hop = |hop: &str| Series {
        labels: vec![("pipeline".into(), "shop".into()), ("hop".into(), hop.into())],
        ..series("hop_seconds", vec![Point { at_ms: BEGIN, value: 1.0 }])
    };
    let all =
        vec![hop("apply"), hop("capture"), series("dead_letters_stored", vec![Point { at_ms: BEGIN, value: 1.0 }])];
    let window = Window { scope: "pipeline/shop".into(), start_ms: BEGIN, end_ms: BEGIN + STEP, series: all };
    let config = r#"{"report_scores": true}"#;
    let findings = plugin(config).evaluate(&window, &context()).unwrap();
    let keys: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            r#"score/hop_seconds{hop="apply",pipeline="shop"}/1700438400000"#,
            r#"score/hop_seconds{hop="capture",pipeline="shop"}/1700438400000"#
        ]
    );
    let elsewhere = r#"{"watch": [{"series": "*", "scopes": "migration/*"}], "report_scores": true}"#;
    assert_eq!(plugin(elsewhere).evaluate(&window, &context()).unwrap(), []);
}

#[test]
fn a_series_that_comes_at_another_cadence_is_learned_anew() {
    let (host, mut rule) = (TestHost::new(), plugin(VALUE));
    let values: Vec<f64> = (0..300).map(day).collect();
    for row in 0..300 {
        rule.evaluate(&window(&values, row, 24), &host.context()).unwrap();
    }
    let points =
        |step_ms: i64| (0..24).map(|row| Point { at_ms: at(400) + row * step_ms, value: 1.0 }).collect::<Vec<_>>();
    let fast = Window {
        scope: "pipeline/shop".into(),
        start_ms: at(400),
        end_ms: at(401),
        series: vec![series("value", points(10_000))],
    };
    assert_eq!(rule.evaluate(&fast, &host.context()).unwrap(), [], "it would be a record for what was learned before");
}

#[test]
fn absurd_values_cost_nothing_but_themselves() {
    let mut values: Vec<f64> = (0..900).map(day).collect();
    for (row, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
        values[600 + row] = value;
    }
    let found = lived(VALUE, &values, ONE_BY_ONE);
    assert!(rows_of("anomaly", &found).iter().all(|row| *row < 600), "what is no number is no point");
    for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0] {
        values[700] = value;
        for rule in [Feed { look_back: 0, restart: Some(2) }, ONE_BY_ONE] {
            let found = lived(r#"{"watch": [{"series": "value"}], "report_scores": true}"#, &values, rule);
            assert!(found.iter().enumerate().all(|(row, found)| found.is_empty() == (600..603).contains(&row)));
        }
    }
    let mut rule = plugin(VALUE);
    for (start_ms, end_ms) in [(0, 0), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)] {
        for at_ms in [i64::MIN, 0, i64::MAX] {
            let points = vec![Point { at_ms, value: 1.0 }; 3];
            let window = Window { scope: String::new(), start_ms, end_ms, series: vec![series("value", points)] };
            rule.evaluate(&window, &context()).unwrap();
        }
    }
    assert!(rule.evaluate(&Window::default(), &context()).unwrap().is_empty());
}

#[test]
fn a_day_of_a_second_each_is_judged_in_one_window() {
    let points: Vec<Point> =
        (0..86_400).map(|row| Point { at_ms: BEGIN + row * 1_000, value: (row % 60) as f64 }).collect();
    let end_ms = BEGIN + 86_400_000;
    let window = Window { scope: "a".into(), start_ms: BEGIN, end_ms, series: vec![series("value", points)] };
    let host = TestHost::new();
    assert_eq!(plugin(VALUE).evaluate(&window, &host.context()).unwrap(), []);
    let kept: usize = ["index", "s/"].iter().filter_map(|key| host.kept(key)).map(|bytes| bytes.len()).sum();
    assert!(kept > 0 && kept < 100, "one series in the index");
}

#[test]
fn without_room_a_series_is_refused_aloud_and_without_state_it_is_judged_all_the_same() {
    let config = r#"{"watch": [{"series": "*"}], "most_series": 2, "report_scores": true}"#;
    let (host, mut rule) = (TestHost::new(), plugin(config));
    let points = || vec![Point { at_ms: BEGIN, value: 1.0 }];
    let all = ["a", "b", "c"].map(|name| series(name, points())).to_vec();
    let window = Window { scope: "s".into(), start_ms: BEGIN, end_ms: BEGIN + STEP, series: all };
    assert_eq!(rule.evaluate(&window, &host.context()).unwrap().len(), 2);
    assert!(host.lines()[0].1.contains("raise `most_series`"), "{:?}", host.lines());
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    for (config, message) in [
        (r#"{"watch": []}"#, "config: watch: name at least one series; without `watch` the usual ones are taken"),
        (r#"{"watch": [{"series": "a", "noise": -1}]}"#, "config: watch[0].noise: must be 0 or more"),
        (r#"{"least_score": 0}"#, "config: least_score: must be more than 0"),
        (r#"{"most_series": 0}"#, "config: most_series: must be at least 1"),
        (r#"{"step_seconds": 0}"#, "config: step_seconds: must be more than 0"),
    ] {
        let mut plugin: Statistical = whimbrel_plugin::config::parse(config).unwrap();
        assert_eq!(plugin.start(&context()).unwrap_err().to_string(), message);
    }
}

proptest! {
    #[test]
    fn whatever_comes_scores_are_from_0_to_1_and_nothing_panics(
        mut windows in proptest::collection::vec(strategy::windows(&["value", "lag_seconds"]), 1..4),
        shift in 0_i64..1_000_000_000,
    ) {
        let config = r#"{"watch": [{"series": "value"}, {"series": "lag_*", "noise": 1}], "report_scores": true}"#;
        let (host, mut rule) = (TestHost::new(), plugin(config));
        for (index, window) in windows.iter_mut().enumerate() {
            let later = shift * i64::try_from(index).unwrap();
            window.start_ms += later;
            window.end_ms += later;
            window.series.iter_mut().flat_map(|series| &mut series.points).for_each(|point| point.at_ms += later);
            for finding in rule.evaluate(window, &host.context()).unwrap() {
                prop_assert!(finding.score.is_none_or(|score| (0.0..=1.0).contains(&score)), "{finding:?}");
            }
            rule = plugin(config);
        }
    }
}
