//! One sequence of events, and what each display makes of it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::{Count, Direction, Progress};
use whimbrel_migrate::watch::{Event, Watch};

use super::json::Json;
use super::lines::Lines;
use crate::stats::{Instruments, MigrationBoard};

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

fn board() -> Arc<MigrationBoard> {
    MigrationBoard::new(&Instruments::detached(Arc::new(|| 0)))
}

fn run(board: &MigrationBoard, display: &dyn Watch) {
    let (id, direction, place) = ("7", Direction::Up, "orders");
    let none = Progress::default();
    let counts = [(place.to_owned(), Count { done: 250, expected: Some(1_000) })].into();
    let some = Progress { counts, ..Progress::default() };
    let started = SystemTime::now();
    let (system, what) = (Some(System::Mongodb), "update orders");
    for event in [
        Event::WaitingForLock { holder: "ann@host 12", since: Duration::from_secs(2) },
        Event::Started { id, name: "fill\u{9b}", system, direction, steps: 1, progress: &none },
        Event::StepStarted { id, index: 0, what, place: Some(place), expected: Some(1_000) },
        Event::Committed { id, place, count: 250, started, progress: &some },
        Event::Retried { id, code: "WriteConflict", attempt: 2, wait: Duration::from_millis(40) },
        Event::StepEnded { id, index: 0, what, started, error: None },
        Event::Checked { id, check: "orders has 1000 documents", fault: None },
        Event::Ended { id, direction, started, error: None, progress: &some },
    ] {
        board.tell("", &event);
        display.tell(&event);
    }
}

#[test]
fn without_a_terminal_each_thing_of_note_is_a_line() {
    let (board, kept) = (board(), Kept::default());
    run(&board, &Lines::new(&board, "", Box::new(kept.clone()), Duration::ZERO));
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split(" after ").next().unwrap()).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.split(", done in").next().unwrap()).collect();
    let expect = [
        "waiting for the lock, ann@host 12 has it (2.0 s)",
        "7 fill\\u009b: applying, 1 step",
        "7   orders: 250 of 1,000 (25 %)",
        "7   WriteConflict, attempt 2 follows in 40 ms",
        "7   step 1: update orders",
        "7   check: orders has 1000 documents",
        "7 applied",
    ];
    assert_eq!(lines, expect, "{text}");
}

#[test]
fn json_is_one_object_a_line_with_numbers_that_programs_read() {
    let (board, kept) = (board(), Kept::default());
    run(&board, &Json::new(&board, "", Box::new(kept.clone())));
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains('\u{9b}'), "{text}");
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&str> = all.iter().map(|one| one["event"].as_str().unwrap()).collect();
    let expect =
        ["waiting_for_lock", "started", "step_started", "committed", "retried", "step_ended", "checked", "ended"];
    assert_eq!(words, expect);
    assert_eq!((&all[1]["name"], &all[1]["system"]), (&"fill\u{9b}".into(), &"mongodb".into()));
    assert_eq!(all[3]["progress_ratio"], 0.25);
    assert_eq!(all[3]["progress"]["places"]["orders"]["expected"], 1_000);
    assert!(all[1..].iter().all(|one| one["migration_id"] == "7"), "{text}");
    assert_eq!(all[7]["error"], Value::Null);
}

#[test]
fn a_display_that_cannot_be_written_stops_nothing() {
    let board = board();
    run(&board, &Lines::new(&board, "", Box::new(Full), Duration::ZERO));
    run(&board, &Json::new(&board, "", Box::new(Full)));
    assert_eq!(board.status().migrations[0].state, "applied");
}

#[test]
fn a_bar_lives_as_long_as_its_migration() {
    let board = board();
    let bar = super::bars::Bars::target();
    run(&board, &super::bars::Bars::new(&board, "", bar.clone()));
    assert!(bar.is_finished());
    assert!(bar.message().contains("update orders"), "{}", bar.message());
}
