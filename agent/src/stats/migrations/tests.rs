//! Sequences of events and readings of ledgers, and what the board shows of them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use whimbrel_migrate::engine::{Line, State};
use whimbrel_migrate::ledger::{Count, Direction, Entry, Outcome, Progress};

use super::*;

struct Rig {
    clock: Arc<AtomicI64>,
    board: Arc<MigrationBoard>,
}

fn rig() -> Rig {
    let clock = Arc::new(AtomicI64::new(1_000_000));
    let time = Arc::clone(&clock);
    let instruments = Instruments::detached(Arc::new(move || time.load(Ordering::Relaxed)));
    Rig { clock, board: MigrationBoard::new(&instruments) }
}

impl Rig {
    fn later(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    fn started(&self, id: &str, steps: usize, progress: &Progress) {
        self.board.tell(
            "",
            &Event::Started {
                id,
                name: "fill",
                system: Some(System::Mongodb),
                direction: Direction::Up,
                steps,
                progress,
            },
        );
    }

    fn step(&self, id: &str, index: usize, expected: Option<u64>) {
        let what = "update orders";
        self.board.tell("", &Event::StepStarted { id, index, what, place: Some("orders"), expected });
    }

    fn committed(&self, id: &str, count: u64, progress: &Progress) {
        let started = SystemTime::now();
        self.board.tell("", &Event::Committed { id, place: "orders", count, started, progress });
    }

    fn ended(&self, id: &str, error: Option<(&str, &str)>, progress: &Progress) {
        let (direction, started) = (Direction::Up, SystemTime::now());
        self.board.tell("", &Event::Ended { id, direction, started, error, progress });
    }

    fn one(&self) -> MigrationStatus {
        let mut all = self.board.status().migrations;
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn level(&self, level: MigrationLevel) -> Vec<(Vec<String>, f64)> {
        let text = |labels: Labels| labels.iter().map(|label| label.as_str().to_owned()).collect();
        self.board.level(level).into_iter().map(|(labels, value)| (text(labels), value)).collect()
    }
}

fn orders(done: u64, expected: Option<u64>) -> Progress {
    let counts = [("orders".to_owned(), Count { done, expected })].into();
    Progress { counts, ..Progress::default() }
}

#[test]
fn a_migration_of_one_step_has_ratio_pace_and_eta_from_its_commits() {
    let rig = rig();
    rig.started("7", 1, &orders(200, Some(1_000)));
    rig.step("7", 0, Some(800));
    assert_eq!(rig.board.reached("", "7").ratio, Some(0.2), "what an earlier run did counts");
    for done in [300, 400, 500, 600] {
        rig.later(1_000);
        let attempted = Event::Attempted { id: "7", place: "orders", count: 100 };
        rig.board.tell("", &attempted);
        rig.committed("7", 100, &orders(done, Some(1_000)));
    }
    let reached = rig.board.reached("", "7");
    assert_eq!((reached.done, reached.expected, reached.ratio), (600, Some(1_000), Some(0.6)));
    assert_eq!((reached.per_second, reached.eta_seconds), (Some(100.0), Some(4.0)));
    assert_eq!(rig.level(MigrationLevel::Progress), [(vec!["7".to_owned()], 0.6)]);
    assert_eq!(rig.level(MigrationLevel::Eta), [(vec!["7".to_owned()], 4.0)]);
    let facts = ["7", "fill", "", "mongodb", "up"].map(str::to_owned).to_vec();
    assert_eq!(rig.level(MigrationLevel::Info), [(facts, 1.0)]);
    let place = PlaceStatus { name: "orders".into(), done: 600, expected: Some(1_000), attempted: 400 };
    assert_eq!((rig.one().places, rig.one().what.as_deref()), (vec![place], Some("update orders")));
    rig.ended("7", None, &orders(1_000, Some(1_000)));
    assert_eq!((rig.one().state, rig.one().progress_ratio), ("applied", Some(1.0)));
    for level in [MigrationLevel::Progress, MigrationLevel::Eta, MigrationLevel::Info] {
        assert_eq!(rig.level(level), [], "gauges end with the migration: {level:?}");
    }
}

#[test]
fn with_several_steps_the_ratio_never_goes_back() {
    let rig = rig();
    rig.started("8", 2, &Progress::default());
    let mut last = 0.0;
    let mut next = |rig: &Rig| {
        let ratio = rig.board.reached("", "8").ratio.unwrap();
        assert!(ratio >= last, "{ratio} after {last}");
        last = ratio;
        ratio
    };
    for step in 0..2_u64 {
        rig.step("8", usize::try_from(step).unwrap(), Some(100));
        next(&rig);
        for done in [50, 100] {
            // The same collection twice: what is expected of it grows meanwhile.
            let mut progress = orders(step * 100 + done, Some((step + 1) * 100));
            progress.step = u32::try_from(step).unwrap();
            rig.committed("8", 50, &progress);
            next(&rig);
        }
        let (index, started) = (usize::try_from(step).unwrap(), SystemTime::now());
        rig.board.tell("", &Event::StepEnded { id: "8", index, what: "", started, error: None });
    }
    assert!((next(&rig) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_statement_is_measured_by_the_server_and_counts_nothing() {
    let rig = rig();
    rig.started("1.2", 1, &Progress::default());
    assert_eq!(rig.board.reached("", "1.2").ratio, None, "nobody can tell");
    rig.step("1.2", 0, None);
    for done in [0, 10, 20] {
        let phase = "building index";
        rig.board.tell("", &Event::Measured { id: "1.2", phase, done, total: Some(100) });
        rig.later(1_000);
    }
    let reached = rig.board.reached("", "1.2");
    assert_eq!((reached.done, reached.ratio), (0, Some(0.2)));
    assert!(reached.eta_seconds.is_some_and(|eta| eta > 10.0 && eta < 20.0), "{reached:?}");
    rig.ended("1.2", Some(("lock_not_available", "somebody holds it")), &Progress::default());
    let one = rig.one();
    assert_eq!((one.state, one.last_error.unwrap().code.as_str()), ("failed", "lock_not_available"));
}

#[test]
fn a_wait_for_the_lock_is_shown_until_something_begins() {
    let rig = rig();
    rig.board.tell("", &Event::WaitingForLock { holder: "ann@host 12", since: Duration::from_secs(3) });
    let waiting = rig.board.status().waiting_for_lock.unwrap();
    assert_eq!((waiting.holder.as_str(), waiting.waited_ms), ("ann@host 12", 3_000));
    rig.started("1", 1, &Progress::default());
    assert!(rig.board.status().waiting_for_lock.is_none());
}

fn line(id: &str, outcome: Option<Outcome>, progress: Progress) -> Recorded {
    let id = Id::from_text(id).unwrap();
    let entry = outcome.map(|outcome| Entry {
        id: id.clone(),
        name: "n".into(),
        checksum: "c".into(),
        direction: Direction::Up,
        outcome,
        by: "ci@runner 9".into(),
        started_at_ms: 5,
        finished_at_ms: None,
        duration_ms: 7,
        attempts: 1,
        progress,
        error: None,
    });
    let state = match outcome {
        None => State::Pending,
        Some(Outcome::Success) => State::Applied,
        Some(Outcome::Running) => State::Running,
        Some(Outcome::Failed) => State::Failed,
    };
    Recorded::new(System::Postgresql, Line { id, name: "n".into(), state, has_down: true, entry }, 1)
}

#[test]
fn what_another_process_runs_is_followed_from_ledger_to_ledger() {
    let rig = rig();
    rig.board.set("shop", "postgresql at db");
    for done in [100, 200, 300] {
        let running = line("10", Some(Outcome::Running), orders(done, Some(400)));
        let all = vec![
            running,
            line("9", Some(Outcome::Success), Progress::default()),
            line("11", None, Progress::default()),
        ];
        rig.board.read("shop", all);
        rig.later(2_000);
    }
    let status = rig.board.status();
    let states: Vec<_> = status.migrations.iter().map(|one| (one.id.as_str(), one.state, one.here)).collect();
    assert_eq!(states, [("9", "applied", false), ("10", "running", false), ("11", "pending", false)], "9 before 10");
    let ten = &status.migrations[1];
    assert_eq!((ten.progress_ratio, ten.by.as_deref()), (Some(0.75), Some("ci@runner 9")));
    assert!(ten.eta_seconds.is_some_and(|eta| (1.0..5.0).contains(&eta)), "{:?}", ten.eta_seconds);
    assert_eq!(rig.level(MigrationLevel::Progress), [(vec!["10".to_owned()], 0.75)]);
    rig.board.unreadable("shop", "connection refused");
    assert_eq!(rig.level(MigrationLevel::Progress), [], "old numbers are not shown as if they were new");
    assert_eq!(rig.board.status().sets[0].error.as_deref(), Some("connection refused"));
}

#[test]
fn a_ledger_never_hides_what_this_process_is_at() {
    let rig = rig();
    rig.board.tell(
        "shop",
        &Event::Started {
            id: "1",
            name: "here",
            system: Some(System::Postgresql),
            direction: Direction::Up,
            steps: 1,
            progress: &Progress::default(),
        },
    );
    rig.board.read("shop", vec![line("1", Some(Outcome::Running), Progress::default())]);
    assert_eq!((rig.one().here, rig.one().name.as_str()), (true, "here"));
    assert_eq!(rig.level(MigrationLevel::Info).len(), 1);
    rig.board.tell(
        "shop",
        &Event::Ended {
            id: "1",
            direction: Direction::Up,
            started: SystemTime::now(),
            error: None,
            progress: &Progress::default(),
        },
    );
    rig.board.read("shop", vec![line("1", Some(Outcome::Success), Progress::default())]);
    assert_eq!((rig.one().here, rig.one().state), (false, "applied"), "over: the ledger has the word");
}
