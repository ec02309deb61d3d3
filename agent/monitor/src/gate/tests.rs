//! The conditions as tables of cases, and that nothing passes without data.

use proptest::prelude::*;

use super::facts::{Anomaly, Count, Data, Facts, Proof, Reading, Rows};
use super::judge::{Limits, Tolerance, judge};
use super::report::{Report, State, Subject};
use crate::incident::Severity;

/// A pipeline that is behind by 12 s, with nothing wrong.
fn healthy() -> Facts {
    Facts {
        source: "a test".into(),
        data: Reading::Known(Data { subjects: vec!["pipeline shop".into()], age_seconds: 4.0 }),
        proof: Reading::Known((Proof::Behind, String::new())),
        lag_seconds: Reading::Known(12.0),
        rows: Reading::Without("not compared".into()),
        dead_letters: Reading::Known(Count { value: 0.0, of: "stored".into() }),
        errors: Reading::Known(Count { value: 0.0, of: "in 300 s".into() }),
        anomalies: Reading::Known(Vec::new()),
    }
}

fn limits() -> Limits {
    Limits { max_lag_seconds: Some(300.0), ..Limits::default() }
}

fn count(value: f64) -> Reading<Count> {
    Reading::Known(Count { value, of: "stored".into() })
}

fn state(report: &Report, subject: Subject) -> State {
    report.conditions.iter().find(|one| one.subject == subject).unwrap().state
}

fn fires(severity: Severity) -> Reading<Vec<Anomaly>> {
    Reading::Known(vec![Anomaly { severity, title: "x".into() }])
}

#[test]
fn each_condition_has_its_exit_status() {
    type Case = (&'static str, fn(&mut Facts), u8);
    let cases: &[Case] = &[
        ("healthy", |_| {}, 0),
        ("at the limit", |facts| facts.lag_seconds = Reading::Known(300.0), 0),
        ("caught up", |facts| facts.proof = Reading::Known((Proof::CaughtUp, String::new())), 0),
        ("over the limit", |facts| facts.lag_seconds = Reading::Known(300.1), 10),
        ("infinite", |facts| facts.lag_seconds = Reading::Known(f64::INFINITY), 10),
        ("stalled, however small the lag", |facts| facts.proof = Reading::Known((Proof::Stalled, String::new())), 10),
        ("rows differ", |facts| facts.rows = Reading::Known(Rows { equal: false, detail: "x".into() }), 11),
        ("rows equal", |facts| facts.rows = Reading::Known(Rows { equal: true, detail: "x".into() }), 0),
        ("a dead letter", |facts| facts.dead_letters = count(1.0), 12),
        ("an error", |facts| facts.errors = count(1.0), 13),
        ("a warning", |facts| facts.anomalies = fires(Severity::Warning), 14),
        ("information", |facts| facts.anomalies = fires(Severity::Info), 0),
        ("no number", |facts| facts.lag_seconds = Reading::Known(f64::NAN), 20),
        ("negative", |facts| facts.lag_seconds = Reading::Known(-1.0), 20),
        ("dead letters are no number", |facts| facts.dead_letters = count(f64::NAN), 20),
        ("errors are no number", |facts| facts.errors = count(f64::NAN), 20),
        ("lag unknown", |facts| facts.lag_seconds = Reading::Unknown("x".into()), 20),
        ("proof unknown", |facts| facts.proof = Reading::Unknown("x".into()), 20),
        ("rows unknown", |facts| facts.rows = Reading::Unknown("x".into()), 20),
        ("dead letters unknown", |facts| facts.dead_letters = Reading::Unknown("x".into()), 20),
        ("errors unknown", |facts| facts.errors = Reading::Unknown("x".into()), 20),
        ("anomalies unknown", |facts| facts.anomalies = Reading::Unknown("x".into()), 20),
        ("no lag although asked for", |facts| facts.lag_seconds = Reading::Without("x".into()), 20),
        ("nobody watches, nobody asked", |facts| facts.anomalies = Reading::Without("x".into()), 0),
        ("no dead letters here, nobody asked", |facts| facts.dead_letters = Reading::Without("x".into()), 0),
        ("nothing", |facts| *facts = Facts::nothing("x".into(), "x"), 20),
        ("stale", |facts| facts.data = Reading::Known(Data { subjects: vec!["x".into()], age_seconds: 60.1 }), 20),
        (
            "age unknown",
            |facts| facts.data = Reading::Known(Data { subjects: vec!["x".into()], age_seconds: f64::NAN }),
            20,
        ),
        ("of nobody", |facts| facts.data = Reading::Known(Data { subjects: vec![], age_seconds: 0.0 }), 20),
    ];
    for (name, change, expect) in cases {
        let mut facts = healthy();
        change(&mut facts);
        let report = judge("42", &facts, &limits());
        assert_eq!(report.status(), *expect, "{name}: {report:#?}");
    }
}

#[test]
fn of_several_what_waiting_does_not_mend_comes_first_and_unknown_last() {
    let mut facts = healthy();
    facts.dead_letters = Reading::Unknown("x".into());
    for (change, expect) in [
        ((|facts| facts.lag_seconds = Reading::Known(1000.0)) as fn(&mut Facts), 10),
        (|facts| facts.anomalies = fires(Severity::Critical), 14),
        (|facts| facts.errors = count(1.0), 13),
        (|facts| facts.dead_letters = count(1.0), 12),
        (|facts| facts.rows = Reading::Known(Rows { equal: false, detail: String::new() }), 11),
    ] {
        change(&mut facts);
        assert_eq!(judge("42", &facts, &limits()).status(), expect);
    }
    // Old figures prove nothing, neither good nor bad.
    facts.data = Reading::Known(Data { subjects: vec!["x".into()], age_seconds: 1e6 });
    let report = judge("42", &facts, &limits());
    assert_eq!((report.status(), state(&report, Subject::Rows)), (20, State::Unknown));
}

#[test]
fn what_was_asked_for_must_be_answered() {
    let mut facts = healthy();
    facts.dead_letters = Reading::Without("x".into());
    facts.errors = Reading::Without("x".into());
    facts.anomalies = Reading::Without("x".into());
    for (asked, expect) in [
        (limits(), 0),
        (Limits { max_dead_letters: Some(7), ..limits() }, 20),
        (Limits { max_errors: Some(7), ..limits() }, 20),
        (Limits { anomalies: Tolerance::From(Severity::Critical), ..limits() }, 20),
        (Limits { anomalies: Tolerance::Any, ..limits() }, 0),
    ] {
        assert_eq!(judge("42", &facts, &asked).status(), expect, "{asked:?}");
    }
    facts.anomalies = fires(Severity::Critical);
    assert_eq!(judge("42", &facts, &Limits { anomalies: Tolerance::Any, ..limits() }).status(), 0);
    facts.anomalies = fires(Severity::Warning);
    assert_eq!(judge("42", &facts, &Limits { anomalies: Tolerance::From(Severity::Critical), ..limits() }).status(), 0);
}

#[test]
fn a_migration_without_pipelines_passes_by_its_rows_and_not_without_them() {
    let mut facts = healthy();
    facts.proof = Reading::Without("no pipeline".into());
    facts.lag_seconds = Reading::Without("no pipeline".into());
    assert_eq!(judge("42", &facts, &Limits::default()).status(), 20, "neither lag nor rows");
    facts.rows = Reading::Known(Rows { equal: true, detail: "applied".into() });
    assert_eq!(judge("42", &facts, &Limits::default()).status(), 0);
    assert_eq!(judge("42", &facts, &limits()).status(), 20, "a lag was asked for");
}

fn reading<T: std::fmt::Debug + Clone + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Reading<T>> {
    prop_oneof![
        known.prop_map(Reading::Known),
        Just(Reading::Unknown("unknown".into())),
        Just(Reading::Without("without".into()))
    ]
    .boxed()
}

fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), Just(299.0), Just(301.0), Just(-1.0), Just(f64::NAN), Just(f64::INFINITY)]
}

fn counts() -> BoxedStrategy<Reading<Count>> {
    reading(figure().prop_map(|value| Count { value, of: String::new() }))
}

prop_compose! {
    fn facts()(
        data in reading((prop::collection::vec(Just("x".to_owned()), 0..2), figure())),
        proof in reading(prop_oneof![Just(Proof::CaughtUp), Just(Proof::Behind), Just(Proof::Stalled)]),
        lag_seconds in reading(figure()),
        equal in reading(any::<bool>()),
        (dead_letters, errors) in (counts(), counts()),
        anomalies in reading(Just(Vec::new())),
    ) -> Facts {
        fn map<T, U>(reading: Reading<T>, change: impl FnOnce(T) -> U) -> Reading<U> {
            match reading {
                Reading::Known(value) => Reading::Known(change(value)),
                Reading::Unknown(why) => Reading::Unknown(why),
                Reading::Without(why) => Reading::Without(why),
            }
        }
        Facts {
            source: String::new(),
            data: map(data, |(subjects, age_seconds)| Data { subjects, age_seconds }),
            proof: map(proof, |proof| (proof, String::new())),
            lag_seconds,
            rows: map(equal, |equal| Rows { equal, detail: String::new() }),
            dead_letters,
            errors,
            anomalies,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_data_never_passes(facts in facts(), asked in any::<bool>()) {
        let limits = if asked { limits() } else { Limits::default() };
        if judge("42", &facts, &limits).status() == 0 {
            let data = facts.data.known().expect("data is there");
            prop_assert!(!data.subjects.is_empty() && data.age_seconds <= 60.0);
            prop_assert!(facts.lag_seconds.known().is_none_or(|lag| (0.0..=300.0).contains(lag)));
            let proven = facts.lag_seconds.known().is_some() || facts.rows.known().is_some_and(|rows| rows.equal);
            prop_assert!(proven, "neither lag nor rows were known");
            let unknown = [
                matches!(facts.proof, Reading::Unknown(_)),
                matches!(facts.lag_seconds, Reading::Unknown(_)),
                matches!(facts.rows, Reading::Unknown(_)),
                matches!(facts.dead_letters, Reading::Unknown(_)),
                matches!(facts.errors, Reading::Unknown(_)),
                matches!(facts.anomalies, Reading::Unknown(_)),
            ];
            prop_assert!(!unknown.contains(&true), "{unknown:?}");
        }
    }
}
