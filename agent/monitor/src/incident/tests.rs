//! What people are told over the life of incidents, second by second.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Book, Cap, Explained, Finding, GroupBy, Inhibition, Matcher, Notification, Notifier, Pattern, Phase, Resolution,
    Route, Severity, Silence, State, Status,
};

const CAP: Cap =
    Cap { notifications: 5, alerts: 10, window: Duration::from_secs(600), repeat: Duration::from_secs(4 * 3600) };

fn finding(key: &str, kind: &str, severity: Severity) -> Finding {
    Finding {
        key: key.to_owned(),
        kind: kind.to_owned(),
        severity,
        title: format!("{kind} of {key}"),
        detail: String::new(),
        action: String::new(),
        since_ms: None,
        score: None,
        attributes: Vec::new(),
    }
}

fn route(matcher: Matcher, channels: &[&str]) -> Route {
    Route {
        matcher,
        channels: channels.iter().map(|name| (*name).to_owned()).collect(),
        group_by: vec![GroupBy::Scope],
        group_wait: Duration::from_secs(10),
        group_interval: Duration::from_secs(60),
        repeat: Duration::from_secs(3600),
    }
}

struct Scene {
    book: Book,
    notifier: Notifier,
    now_ms: i64,
}

impl Scene {
    fn new(routes: Vec<Route>) -> Self {
        Self { book: Book::default(), notifier: Notifier::new(routes, CAP, None, State::default()), now_ms: 1_000_000 }
    }

    fn simple() -> Self {
        Self::new(vec![route(Matcher::default(), &["ops"])])
    }

    fn found(&mut self, scope: &str, findings: Vec<Finding>) {
        self.book.evaluated("rule", scope, findings, self.now_ms);
    }

    /// What is told during these seconds.
    fn seconds(&mut self, count: u32) -> Vec<Notification> {
        self.muted_seconds(count, |_| false)
    }

    fn muted_seconds(&mut self, count: u32, is_muted: impl Fn(&super::Incident) -> bool) -> Vec<Notification> {
        let mut all = Vec::new();
        for _ in 0..count {
            self.now_ms += 1_000;
            all.extend(self.notifier.due(&self.book, &is_muted, self.now_ms));
        }
        all
    }
}

fn said(notifications: &[Notification]) -> Vec<Vec<(String, Status)>> {
    let alerts = |one: &Notification| one.alerts.iter().map(|alert| (alert.title.clone(), alert.status)).collect();
    notifications.iter().map(alerts).collect()
}

fn firing(title: &str) -> (String, Status) {
    (title.to_owned(), Status::Firing)
}

fn resolved(title: &str) -> (String, Status) {
    (title.to_owned(), Status::Resolved)
}

#[test]
fn an_incident_keeps_its_id_and_its_beginning_while_it_lasts_and_gets_another_the_next_time() {
    let mut book = Book::default();
    book.evaluated("rule", "pipeline/shop", vec![finding("a", "lag", Severity::Warning)], 1_000);
    let first = book.firing().next().unwrap().clone();
    book.evaluated("rule", "pipeline/shop", vec![finding("a", "lag", Severity::Critical)], 2_000);
    let second = book.firing().next().unwrap().clone();
    assert_eq!((&second.id, second.since_ms, second.count), (&first.id, 1_000, 2));
    assert_eq!(second.severity, Severity::Critical);
    // Another rule, and another scope, leave it alone.
    book.evaluated("other", "pipeline/shop", Vec::new(), 3_000);
    book.evaluated("rule", "pipeline/else", Vec::new(), 3_000);
    assert_eq!(book.firing().count(), 1);
    book.evaluated("rule", "pipeline/shop", Vec::new(), 4_000);
    assert_eq!((book.firing().count(), book.resolved()[0].until_ms), (0, Some(4_000)));
    book.evaluated("rule", "pipeline/shop", vec![finding("a", "lag", Severity::Warning)], 5_000);
    assert_ne!(book.firing().next().unwrap().id, first.id);
}

#[test]
fn what_nobody_watches_any_more_ends() {
    let mut book = Book::default();
    book.evaluated("rule", "pipeline/shop", vec![finding("a", "lag", Severity::Warning)], 1_000);
    book.evaluated("gone", "pipeline/else", vec![finding("a", "lag", Severity::Warning)], 1_000);
    book.retain(Resolution::RuleGone, |rule| rule == "rule", 2_000);
    assert_eq!(book.firing().count(), 1);
    book.retain(Resolution::ScopeGone, |scope| scope == "pipeline/else", 3_000);
    assert_eq!(book.firing().count(), 0);
}

#[test]
fn a_book_that_was_stored_is_the_same_again() {
    let mut book = Book::default();
    book.evaluated("rule", "pipeline/shop", vec![finding("a", "lag", Severity::Warning)], 1_000);
    book.evaluated("rule", "pipeline/shop", vec![finding("b", "lag", Severity::Warning)], 2_000);
    let (changed, forgotten) = book.changes();
    assert_eq!((changed.len(), forgotten.len()), (2, 0));
    assert_eq!(book.changes().0.len(), 0, "told once");
    let mut again = Book::restored(changed);
    again.evaluated("rule", "pipeline/shop", vec![finding("b", "lag", Severity::Warning)], 3_000);
    assert_eq!(again.firing().next().unwrap().since_ms, 2_000);
    assert_eq!(again.resolved().len(), 1);
    // A day later the ended one is forgotten.
    again.evaluated("rule", "pipeline/shop", Vec::new(), 2_000 + 25 * 3_600_000);
    assert_eq!(again.changes().1.len(), 1);
}

#[test]
fn a_group_waits_for_company_and_is_told_once_then_again_after_the_repeat_interval_and_its_end() {
    let mut scene = Scene::simple();
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    assert_eq!(scene.seconds(5), []);
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning), finding("b", "lag", Severity::Warning)]);
    assert_eq!(said(&scene.seconds(60)), [[firing("lag of a"), firing("lag of b")]]);
    assert_eq!(scene.seconds(3_500), [], "nothing new");
    assert_eq!(said(&scene.seconds(100)), [[firing("lag of a"), firing("lag of b")]], "again after an hour");
    scene.found("pipeline/shop", vec![finding("b", "lag", Severity::Warning)]);
    assert_eq!(said(&scene.seconds(60)), [[firing("lag of b"), resolved("lag of a")]]);
    scene.found("pipeline/shop", Vec::new());
    assert_eq!(said(&scene.seconds(100)), [[resolved("lag of b")]]);
    assert_eq!(scene.seconds(10_000), []);
    assert_eq!(*scene.notifier.state(), State::default(), "nothing is kept of what is over");
}

#[test]
fn what_becomes_worse_is_told_at_once_and_what_becomes_better_is_not() {
    let mut scene = Scene::simple();
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    assert_eq!(scene.seconds(11).len(), 1);
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Critical)]);
    let told = scene.seconds(12);
    assert_eq!(told.len(), 1, "the group's interval is not waited for");
    assert_eq!(told[0].alerts[0].severity, Severity::Critical);
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    assert_eq!(scene.seconds(100), []);
}

#[test]
fn what_ends_before_anybody_was_told_is_not_told() {
    let mut scene = Scene::simple();
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    scene.seconds(5);
    scene.found("pipeline/shop", Vec::new());
    assert_eq!(scene.seconds(1_000), []);
}

#[test]
fn the_first_route_that_matches_is_taken_and_all_its_channels_are_told() {
    let critical = Matcher { severity: vec![Severity::Critical], ..Matcher::default() };
    let mut scene = Scene::new(vec![route(critical, &["pager", "ops"]), route(Matcher::default(), &["ops"])]);
    scene.found("pipeline/a", vec![finding("x", "stop", Severity::Critical)]);
    scene.found("pipeline/b", vec![finding("x", "lag", Severity::Warning)]);
    let mut told: Vec<(String, String)> =
        scene.seconds(20).iter().map(|one| (one.channel.clone(), one.alerts[0].title.clone())).collect();
    told.sort();
    let expect = [("ops", "lag of x"), ("ops", "stop of x"), ("pager", "stop of x")];
    assert_eq!(told, expect.map(|(channel, title)| (channel.to_owned(), title.to_owned())));
}

#[test]
fn a_silence_holds_from_its_beginning_to_its_end_and_what_still_fires_then_is_told() {
    let matcher = Matcher { scope: vec![Pattern::new("pipeline/*")], ..Matcher::default() };
    let silence = Silence {
        id: "s1".to_owned(),
        matcher,
        starts_ms: 0,
        ends_ms: 1_100_000,
        by: "me".to_owned(),
        comment: "known".to_owned(),
    };
    let mut scene = Scene::simple();
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    let mut told = Vec::new();
    for _ in 0..130 {
        let now_ms = scene.now_ms + 1_000;
        let some = scene.muted_seconds(1, |incident| silence.mutes(incident, now_ms));
        told.extend(some.into_iter().map(|_| now_ms));
    }
    assert_eq!(told, [1_110_000], "after the silence and the group's wait");
    // The end of what was told is told, silenced or not.
    scene.found("pipeline/shop", Vec::new());
    assert_eq!(said(&scene.muted_seconds(70, |_| true)), [[resolved("lag of a")]]);
}

#[test]
fn a_phase_and_a_worse_incident_explain_and_end_by_themselves() {
    let mut book = Book::default();
    let both = vec![finding("a", "stall", Severity::Critical), finding("b", "low_throughput", Severity::Warning)];
    book.evaluated("rule", "pipeline/shop", both, 1_000);
    book.evaluated("rule", "pipeline/else", vec![finding("b", "low_throughput", Severity::Warning)], 1_000);
    let inhibitions = [Inhibition { by: vec!["stall".to_owned()], of: vec!["low_throughput".to_owned()] }];
    let phase = Phase {
        name: "cut-over".to_owned(),
        scope: Pattern::new("pipeline/else"),
        explains: vec!["low_throughput".to_owned()],
        ends_ms: Some(5_000),
    };
    let explained = |phases: &[Phase], book: &Book, now_ms| -> Vec<(String, String)> {
        let explained = Explained::new(phases, &inhibitions, book.firing(), now_ms);
        let by = |incident: &super::Incident| Some((incident.scope.clone(), explained.by(incident)?));
        let mut all: Vec<_> = book.firing().filter_map(by).collect();
        all.sort();
        all
    };
    let stall = book.firing().find(|incident| incident.kind == "stall").unwrap().id.clone();
    let shop = ("pipeline/shop".to_owned(), format!("incident {stall} (stall)"));
    let cut_over = ("pipeline/else".to_owned(), "phase cut-over".to_owned());
    assert_eq!(explained(std::slice::from_ref(&phase), &book, 2_000), [cut_over, shop.clone()]);
    assert_eq!(explained(&[phase], &book, 5_000), [shop], "the phase is over");
    book.evaluated("rule", "pipeline/shop", vec![finding("b", "low_throughput", Severity::Warning)], 6_000);
    assert_eq!(explained(&[], &book, 6_000), []);
}

#[test]
fn ten_thousand_at_once_are_one_digest_and_its_end() {
    let mut scene = Scene::simple();
    for pipeline in 0..100 {
        let findings = (0..100).map(|key| finding(&key.to_string(), "anomaly", Severity::Warning)).collect();
        scene.found(&format!("pipeline/{pipeline}"), findings);
    }
    let told = scene.seconds(500);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].alerts.len(), 1);
    let alert = &told[0].alerts[0];
    assert_eq!((alert.kind.as_str(), alert.status), ("digest", Status::Firing));
    assert_eq!(alert.title, "10000 incidents in 100 places: 10000 warning");
    for pipeline in 0..100 {
        scene.found(&format!("pipeline/{pipeline}"), Vec::new());
    }
    let ended = scene.seconds(700);
    assert_eq!(ended.len(), 1);
    assert_eq!((&ended[0].alerts[0].id, ended[0].alerts[0].status), (&alert.id, Status::Resolved));
    assert_eq!(scene.seconds(10_000), []);
}

#[test]
fn what_comes_beyond_the_cap_joins_a_digest_and_what_was_told_before_is_told_the_end_of() {
    let mut scene = Scene::simple();
    for pipeline in 0..5 {
        scene.found(&format!("pipeline/{pipeline}"), vec![finding("a", "lag", Severity::Warning)]);
        assert_eq!(scene.seconds(11).len(), 1);
    }
    for pipeline in 5..8 {
        scene.found(&format!("pipeline/{pipeline}"), vec![finding("a", "lag", Severity::Warning)]);
    }
    let told = scene.seconds(60);
    assert_eq!(said(&told), [[firing("3 incidents in 3 places: 3 warning")]]);
    for pipeline in 0..8 {
        scene.found(&format!("pipeline/{pipeline}"), Vec::new());
    }
    let ended: Vec<_> = scene.seconds(2_000).into_iter().flat_map(|one| one.alerts).collect();
    assert!(ended.iter().all(|alert| alert.status == Status::Resolved));
    assert_eq!(ended.len(), 6, "five by themselves, three as one");
}

#[test]
fn what_was_told_outlives_a_restart() {
    let mut scene = Scene::simple();
    scene.found("pipeline/shop", vec![finding("a", "lag", Severity::Warning)]);
    assert_eq!(scene.seconds(20).len(), 1);
    let stored = serde_json::to_string(scene.notifier.state()).unwrap();
    let state: State = serde_json::from_str(&stored).unwrap();
    scene.notifier = Notifier::new(vec![route(Matcher::default(), &["ops"])], CAP, None, state);
    assert_eq!(scene.seconds(1_000), [], "not told a second time");
    scene.found("pipeline/shop", Vec::new());
    assert_eq!(said(&scene.seconds(20)), [[resolved("lag of a")]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However incidents come and go: whoever is told of a beginning is told of its end, no end is told of what was not
    /// begun, nothing is told twice at once, and no more than the cap allows.
    #[test]
    fn every_beginning_that_is_told_is_told_the_end_of(
        steps in proptest::collection::vec((0..6_u8, 0..4_u8, 0..3_usize, 1..90_u32), 1..60)
    ) {
        let mut scene = Scene::simple();
        let mut state: std::collections::BTreeMap<u8, std::collections::BTreeMap<u8, usize>> = Default::default();
        let mut open = std::collections::HashSet::new();
        let mut sent = Vec::new();
        let mut play = |scene: &mut Scene, seconds: u32| {
            for _ in 0..seconds {
                let told = scene.seconds(1);
                for alert in told.iter().flat_map(|one| &one.alerts) {
                    match alert.status {
                        Status::Firing => drop(open.insert(alert.id.clone())),
                        Status::Resolved => assert!(open.remove(&alert.id), "an end without a beginning: {}", alert.title),
                    }
                }
                let digests = |one: &&Notification| one.alerts.iter().all(|alert| alert.kind != "digest");
                sent.extend(told.iter().filter(digests).map(|_| scene.now_ms));
                let window = scene.now_ms - 600_000;
                prop_assert!(sent.iter().filter(|at| **at > window).count() <= CAP.notifications);
            }
            Ok(())
        };
        for (scope, key, severity, seconds) in steps {
            let of_scope = state.entry(scope).or_default();
            if of_scope.remove(&key).is_none() {
                of_scope.insert(key, severity);
            }
            let findings = of_scope.iter().map(|(key, severity)| finding(&key.to_string(), "lag", Severity::ALL[*severity]));
            scene.found(&format!("pipeline/{scope}"), findings.collect());
            play(&mut scene, seconds)?;
        }
        for scope in 0..6 {
            scene.found(&format!("pipeline/{scope}"), Vec::new());
        }
        play(&mut scene, 5_000)?;
        prop_assert!(open.is_empty(), "never told the end of: {open:?}");
        prop_assert_eq!(scene.notifier.state(), &State::default());
    }
}
