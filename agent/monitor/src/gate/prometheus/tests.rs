//! Answers as a Prometheus gives them of a healthy agent, and what is read of them when one thing is otherwise.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::super::baseline::{Baseline, Kind};
use super::super::judge::{Limits, judge};
use super::*;

fn selection() -> Selection {
    Selection { migration_id: "42".into(), matchers: Vec::new(), window: Duration::from_secs(300) }
}

fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
    let agent = [("job", "whimbrel"), ("instance", "a:9464")];
    let labels = agent.iter().chain(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sample { labels, value }
}

fn healthy() -> Answers {
    let shop = ("pipeline", "shop");
    Answers::from([
        ("lag", vec![sample(&[("migration_id", "42")], 12.0)]),
        ("lag_age", vec![sample(&[("migration_id", "42")], 3.0)]),
        ("pipelines", vec![sample(&[shop, ("migration_id", "42")], 1.0)]),
        ("pipelines_age", vec![sample(&[shop, ("migration_id", "42")], 3.0)]),
        ("states", vec![sample(&[shop, ("state", "behind")], 1.0)]),
        ("states_age", vec![sample(&[shop, ("state", "behind")], 3.0)]),
        ("proof_age", vec![sample(&[shop], 11.0)]),
        ("doing", vec![sample(&[shop, ("state", "running")], 1.0)]),
        ("dead_letters", vec![sample(&[shop], 0.0)]),
        ("dead_letters_total", vec![sample(&[shop], 4.0)]),
        ("monitored", vec![sample(&[("severity", "critical")], 0.0), sample(&[("severity", "warning")], 0.0)]),
        ("started", vec![sample(&[], 1000.0)]),
    ])
}

fn status(answers: &Answers, baseline: Option<&Baseline>) -> u8 {
    let seen = reading::seen("a test", &selection(), answers, baseline);
    let limits = Limits { max_lag_seconds: Some(300.0), ..Limits::default() };
    let report = judge("42", &seen.facts, &limits);
    println!("{report:#?}");
    report.status()
}

#[test]
fn each_answer_counts() {
    let other = |labels: &[(&str, &str)], value| {
        let mut sample = sample(labels, value);
        sample.labels.insert("instance".into(), "b:9464".into());
        sample
    };
    let shop = ("pipeline", "shop");
    type Change = Box<dyn Fn(&mut Answers)>;
    let set = |name: &'static str, samples: Vec<Sample>| -> Change {
        Box::new(move |answers| {
            answers.insert(name, samples.clone());
        })
    };
    let add = |name: &'static str, sample: Sample| -> Change {
        Box::new(move |answers| answers.entry(name).or_default().push(sample.clone()))
    };
    let cases: Vec<(&str, Change, u8)> = vec![
        ("healthy", Box::new(|_| {}), 0),
        ("lag", set("lag", vec![sample(&[], 301.0)]), 10),
        ("one of two agents with the id lags", add("lag", other(&[("migration_id", "42")], 301.0)), 10),
        ("one of two agents with the id is NaN", add("lag", other(&[("migration_id", "42")], f64::NAN)), 20),
        ("the lag is gone", set("lag", vec![]), 20),
        ("stale", set("lag_age", vec![sample(&[], 61.0)]), 20),
        ("states stale", set("states_age", vec![sample(&[shop], 61.0)]), 20),
        ("no ages", Box::new(|answers| answers.retain(|name, _| !name.ends_with("_age"))), 20),
        ("no proof yet", set("proof_age", vec![]), 20),
        ("stalled", set("states", vec![sample(&[shop, ("state", "stalled")], 1.0)]), 10),
        ("unknown", set("states", vec![sample(&[shop, ("state", "unknown")], 1.0)]), 20),
        ("no state", set("states", vec![]), 20),
        ("two states at once", add("states", sample(&[shop, ("state", "caught_up")], 1.0)), 20),
        ("waiting", set("doing", vec![sample(&[shop, ("state", "waiting")], 1.0)]), 20),
        ("a pipeline more, of which nothing is known", add("pipelines", sample(&[("pipeline", "b")], 1.0)), 20),
        ("dead letters", set("dead_letters", vec![sample(&[shop], 2.0)]), 12),
        ("dead letters not asked for yet", set("dead_letters", vec![]), 20),
        ("errors", set("errors", vec![sample(&[("error_type", "x")], 2.0)]), 13),
        ("errors of a counter that is gone", set("errors_increase", vec![sample(&[], 1.2)]), 13),
        ("a pipeline retried", set("troubles", vec![sample(&[shop, ("state", "retrying")], 1.0)]), 13),
        ("an incident", add("monitored", sample(&[("severity", "critical")], 1.0)), 14),
        ("an alert of Prometheus", add("alerts", sample(&[("alertname", "X"), ("severity", "warning")], 1.0)), 14),
        ("an alert without severity", add("alerts", sample(&[("alertname", "X")], 1.0)), 14),
        ("an alert for information", add("alerts", sample(&[("alertname", "X"), ("severity", "info")], 1.0)), 0),
        ("down", set("down", vec![other(&[], 0.0)]), 20),
        ("a migration runs", set("running", vec![sample(&[], 1.0)]), 11),
        ("a migration is not done", set("progress", vec![sample(&[], 0.99)]), 11),
        ("it ran to its end", set("ended", vec![sample(&[("status", "success")], 1.0)]), 0),
        ("it failed", set("ended", vec![sample(&[("status", "failed")], 1.0)]), 11),
        ("nothing", Box::new(Answers::clear), 20),
    ];
    for (name, change, expect) in cases {
        let mut answers = healthy();
        change(&mut answers);
        assert_eq!(status(&answers, None), expect, "{name}");
    }
}

#[test]
fn errors_before_the_window_do_not_count_and_those_a_counter_was_born_with_do() {
    let errors = |kind: &str, value| sample(&[("error_type", kind)], value);
    let mut answers = healthy();
    answers.insert("errors", vec![errors("deadlock", 5.0)]);
    answers.insert("errors_before", vec![errors("deadlock", 5.0)]);
    assert_eq!(status(&answers, None), 0);
    answers.insert("errors", vec![errors("deadlock", 5.0), errors("timeout", 1.0)]);
    assert_eq!(status(&answers, None), 13);
    // The agent began anew.
    answers.insert("errors", vec![errors("deadlock", 1.0)]);
    assert_eq!(status(&answers, None), 13);
}

#[test]
fn what_was_there_at_the_start_is_not_held_against_the_migration() {
    let mut answers = healthy();
    answers.insert("dead_letters", vec![sample(&[("pipeline", "shop")], 4.0)]);
    answers.insert("errors", vec![sample(&[("error_type", "x")], 2.0)]);
    assert_eq!(status(&answers, None), 12);
    let counters = reading::seen("", &selection(), &answers, None).counters;
    let baseline = Baseline::new("42", 0, Kind::Prometheus, String::new(), counters);
    assert_eq!(status(&answers, Some(&baseline)), 0);
    answers.insert("dead_letters_total", vec![sample(&[("pipeline", "shop")], 5.0)]);
    answers.insert("dead_letters", vec![sample(&[("pipeline", "shop")], 5.0)]);
    assert_eq!(status(&answers, Some(&baseline)), 12, "one came since");
    // Another start of the agent: its counters began anew, so all that is stored counts.
    answers.insert("started", vec![sample(&[], 2000.0)]);
    answers.insert("dead_letters_total", vec![sample(&[("pipeline", "shop")], 4.0)]);
    assert_eq!(status(&answers, Some(&baseline)), 12);
}

#[test]
fn the_contract_alone_is_enough_where_no_pipeline_is_exported() {
    let mut answers = Answers::from([
        ("lag", vec![sample(&[("migration_id", "42")], 12.0)]),
        ("lag_age", vec![sample(&[("migration_id", "42")], 3.0)]),
    ]);
    assert_eq!(status(&answers, None), 0);
    answers.insert("unmarked", vec![sample(&[("pipeline", "shop")], 1.0)]);
    assert_eq!(status(&answers, None), 20, "there are pipelines, and nobody can tell which");
}

#[test]
fn an_answer_that_is_no_vector_is_no_answer() {
    let vector = json!({"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1.5, "+Inf"]}]});
    assert_eq!(samples(&vector).unwrap()[0].value, f64::INFINITY);
    for wrong in [
        json!(null),
        json!({"resultType": "matrix", "result": []}),
        json!({"resultType": "vector"}),
        json!({"resultType": "vector", "result": [{"metric": {}, "value": [1]}]}),
        json!({"resultType": "vector", "result": [{"metric": {"a": 1}, "value": [1, "1"]}]}),
        json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "many"]}]}),
    ] {
        assert_eq!(samples(&wrong), None, "{wrong}");
    }
}

proptest! {
    /// With a lag that is too large, no loss of answers makes it pass.
    #[test]
    fn losing_answers_never_makes_it_pass(kept in prop::collection::vec(any::<bool>(), 12)) {
        let mut answers = healthy();
        answers.insert("lag", vec![sample(&[("migration_id", "42")], 301.0)]);
        let mut kept = kept.into_iter();
        answers.retain(|_, _| kept.next().unwrap_or(true));
        prop_assert_ne!(status(&answers, None), 0);
    }
}
