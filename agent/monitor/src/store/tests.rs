//! What is in the file is there again, and the file stays small.

use std::time::Duration;

use super::history::used;
use super::{Keep, OpenError, Store};
use crate::history::{Key, Step};
use crate::incident::{Alert, Incident, Matcher, Notification, Pattern, Phase, Severity, Silence, State};

const KEEP: Keep = Keep { age: Duration::from_secs(8 * 86_400), bytes: u64::MAX };

fn key(name: &str) -> Key {
    Key { scope: "pipeline/shop".into(), name: name.into(), labels: vec![("topic".into(), "a\"b".into())] }
}

fn incident(id: &str) -> Incident {
    Incident {
        id: id.to_owned(),
        rule: "rule".to_owned(),
        scope: "pipeline/shop".to_owned(),
        key: "k".to_owned(),
        kind: "lag".to_owned(),
        severity: Severity::Warning,
        title: "t".to_owned(),
        detail: String::new(),
        action: String::new(),
        since_ms: 1,
        opened_ms: 1,
        until_ms: None,
        count: 1,
        score: Some(0.5),
        attributes: vec![("b".to_owned(), 1.into()), ("a".to_owned(), 2.into())],
    }
}

/// Days of steps for some series.
fn fill(store: &Store, series: usize, from: i64, until: i64) {
    for step in from..until {
        let start_ms = step * 30_000;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let point = |n: usize| (key(&format!("s{n}")), ((step * 31 + n as i64 * 7) % 1_000) as f64);
        let points = (0..series).map(point).collect();
        store.append(&Step { start_ms, end_ms: start_ms + 30_000, points }).unwrap();
    }
}

#[test]
fn points_come_back_packed_or_not_within_the_time_asked_for() {
    let store = Store::in_memory().unwrap();
    fill(&store, 3, 0, 1_000);
    let before = store.points(Some("pipeline/shop"), 60_000, 29_000_000).unwrap();
    store.tidy(KEEP, 1_000 * 30_000).unwrap();
    let after = store.points(Some("pipeline/shop"), 60_000, 29_000_000).unwrap();
    assert_eq!(before, after);
    assert_eq!((after.len(), after[0].points.len(), after[0].points[0].at_ms), (3, 965, 60_000));
    assert_eq!(store.points(None, 0, 30_000).unwrap()[0].points.len(), 1);
    assert_eq!(store.points(Some("pipeline/else"), 0, i64::MAX).unwrap(), []);
}

#[test]
fn what_is_too_old_goes_and_so_does_the_oldest_of_what_is_too_much() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.db");
    let store = Store::open(&path).unwrap();
    fill(&store, 20, 0, 2_880);
    let now_ms = 2_880 * 30_000;
    store.tidy(Keep { age: Duration::from_secs(12 * 3_600), ..KEEP }, now_ms).unwrap();
    let oldest = |store: &Store| store.points(None, 0, i64::MAX).unwrap()[0].points[0].at_ms;
    assert_eq!(oldest(&store), 12 * 3_600_000);
    let bytes = used(&store.lock()).unwrap() * 3 / 4;
    store.tidy(Keep { bytes, ..KEEP }, now_ms).unwrap();
    assert!(oldest(&store) > 12 * 3_600_000);
    assert!(std::fs::metadata(&path).unwrap().len() <= 2 * bytes);
    // A series that nothing is left of is forgotten.
    store.tidy(Keep { age: Duration::ZERO, ..KEEP }, now_ms + 5 * 3_600_000).unwrap();
    let count: i64 = store.lock().query_row("SELECT count(*) FROM series", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_day_of_a_hundred_series_takes_little() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.db");
    let store = Store::open(&path).unwrap();
    fill(&store, 100, 0, 600);
    store.tidy(KEEP, 600 * 30_000 + 3 * 3_600_000).unwrap();
    let bytes: i64 = store.lock().query_row("SELECT sum(length(points)) FROM chunk", [], |row| row.get(0)).unwrap();
    let a_point = bytes / 60_000;
    assert!(a_point <= 4, "{a_point} bytes a point, of numbers of three digits");
}

#[test]
fn what_is_to_be_told_is_queued_together_with_the_note_and_delivered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.db");
    let store = Store::open(&path).unwrap();
    let alert = |id: &str| vec![Alert::of(&incident(id), None)];
    let notification = |channel: &str, id: &str| Notification { channel: channel.to_owned(), alerts: alert(id) };
    let told = [notification("ops", "1"), notification("pager", "1"), notification("ops", "2")];
    store.tell(&told, &State::default(), 1_000).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.told().unwrap(), State::default());
    let first = store.next("ops", 1_000).unwrap().unwrap();
    assert_eq!((first.alerts.clone(), first.attempts), (alert("1"), 0));
    store.retry(first.id, 5_000, "503").unwrap();
    assert_eq!(store.next("ops", 4_999).unwrap(), None, "the second waits for the first");
    assert_eq!(store.next("ops", 5_000).unwrap().unwrap().attempts, 1);
    assert_eq!(store.waiting().unwrap()[0], ("ops".to_owned(), 2, Some("503".to_owned())));
    store.pass_on(first.id, "pager", 6_000).unwrap();
    store.pass_on(first.id, "pager", 7_000).unwrap();
    store.done(first.id).unwrap();
    assert_eq!(store.next("ops", 6_000).unwrap().unwrap().alerts, alert("2"));
    assert_eq!(store.waiting().unwrap()[1], ("pager".to_owned(), 2, None), "passed on once");
    assert_eq!(store.retain_channels(&["ops"]).unwrap(), 2);
}

#[test]
fn incidents_silences_and_phases_come_back() {
    let store = Store::in_memory().unwrap();
    store.keep_incidents(&[incident("1"), incident("2")], &[]).unwrap();
    store.keep_incidents(&[Incident { count: 2, ..incident("1") }], &["2".to_owned()]).unwrap();
    assert_eq!(store.incidents().unwrap(), [Incident { count: 2, ..incident("1") }]);
    let matcher = Matcher { kind: vec![Pattern::new("la*")], ..Matcher::default() };
    let silence =
        Silence { id: "s".to_owned(), matcher, starts_ms: 0, ends_ms: 10, by: "me".to_owned(), comment: String::new() };
    store.keep_silence(&silence).unwrap();
    assert_eq!(store.silences(5).unwrap(), std::slice::from_ref(&silence));
    assert_eq!(store.silences(11).unwrap(), []);
    let phase = Phase { name: "p".to_owned(), scope: Pattern::new("*"), explains: Vec::new(), ends_ms: Some(10) };
    store.keep_phase(&phase).unwrap();
    assert_eq!(store.phases(5).unwrap(), std::slice::from_ref(&phase));
    assert_eq!(store.phases(10).unwrap(), []);
    store.keep_phase(&phase).unwrap();
    assert!(store.end_phase("p", "*").unwrap());
    assert!(!store.end_phase("p", "*").unwrap());
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.db");
    let _owner = Store::open(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(OpenError::Busy { .. })));
    assert!(Store::read(&path).is_ok(), "reading is allowed beside");
    let other = directory.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(Store::open(&other), Err(OpenError::Shared { .. })), "made with the user's own mode");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&other, mode).unwrap();
    assert!(matches!(Store::open(&other), Err(OpenError::Foreign { .. })));
    let text = directory.path().join("text");
    std::fs::write(&text, "hello, this is no database at all").unwrap();
    std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(Store::open(&text), Err(OpenError::Sqlite { .. })));
    assert!(matches!(Store::read(&directory.path().join("none")), Err(OpenError::Sqlite { .. })));
}
