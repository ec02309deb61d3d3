//! Events in words for people, and numbers as people read them.

use std::time::{Duration, SystemTime};

use whimbrel_migrate::ledger::Direction;
use whimbrel_migrate::watch::Event;

use crate::runtime::logging::escaped;
use crate::stats::migrations::Reached;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time with the unit that fits it: `850 ms`, `21.4 s`, `3 min 12 s`, `1 h 5 min`.
#[must_use]
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// How far, how fast and until when: `250,000 of 1,000,000 (25 %), 48,210/s, 16 s left`.
#[must_use]
pub fn reached(reached: &Reached) -> String {
    let mut parts = Vec::new();
    let share = reached.ratio.map(|ratio| format!("{:.0} %", (ratio * 100.0).floor()));
    match (reached.done, reached.expected, share) {
        (0, None, share) => parts.extend(share),
        (done, Some(expected), Some(share)) => {
            parts.push(format!("{} of {} ({share})", count(done), count(expected)));
        }
        (done, _, share) => {
            parts.push(count(done));
            parts.extend(share);
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    parts.extend(reached.per_second.map(|rate| format!("{}/s", count(rate.round() as u64))));
    parts.extend(reached.eta_seconds.filter(|eta| *eta > 0.0 && *eta < 1e9).map(|eta| {
        // Tenths of a second are no estimate.
        format!("{} left", time(Duration::from_secs_f64(eta.ceil().max(1.0)))).replace(".0 s", " s")
    }));
    parts.join(", ")
}

fn since(started: SystemTime) -> String {
    time(started.elapsed().unwrap_or_default())
}

/// The lines that an event is worth, each harmless on a terminal. Progress is not among them: it is shown by the bar, or now
/// and then.
#[must_use]
pub fn sentences(event: &Event<'_>) -> Vec<String> {
    let line = |text: String| vec![escaped(&text)];
    match event {
        Event::WaitingForLock { holder, since } => {
            line(format!("waiting for the lock, {holder} has it ({})", time(*since)))
        }
        Event::Started { id, name, direction, steps, progress, .. } => {
            let way = match direction {
                Direction::Up => "applying",
                Direction::Down => "undoing",
            };
            let steps = if *steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
            let resumed = match progress.is_untouched() {
                true => String::new(),
                false => format!(", going on after {} steps and {} rows", progress.step, count(progress.total().done)),
            };
            line(format!("{id} {name}: {way}, {steps}{resumed}"))
        }
        Event::Blocked { id, sessions } => sessions
            .iter()
            .map(|one| {
                let who = format!("user {}, {}", or_unknown(&one.user), or_unknown(&one.application));
                let waits = time(Duration::from_millis(one.waiting_ms));
                escaped(&match one.by_us {
                    true => format!(
                        "{id}   session {} ({who}) waits for this migration: {}, {waits}",
                        one.waiting, one.what
                    ),
                    false => format!("{id}   waits for session {} ({who}): {}, {waits}", one.blocked_by, one.what),
                })
            })
            .collect(),
        Event::Throttled { id, lag, waited } => {
            line(format!("{id}   replicas are {} behind, waited {}", time(*lag), time(*waited)))
        }
        Event::Retried { id, code, attempt, wait } => {
            line(format!("{id}   {code}, attempt {attempt} follows in {}", time(*wait)))
        }
        Event::StepEnded { id, index, what, started, error } => match error {
            None => line(format!("{id}   step {}: {what}, done in {}", index + 1, since(*started))),
            Some(code) => line(format!("{id}   step {}: {what}, failed after {}: {code}", index + 1, since(*started))),
        },
        Event::Checked { id, check, fault } => match fault {
            None => line(format!("{id}   check: {check}")),
            Some(fault) => line(format!("{id}   check FAILED: {check}: {fault}")),
        },
        Event::Ended { id, direction, started, error, progress } => {
            let done = match (error, direction) {
                (Some(("stopped", _)), _) => "stopped",
                (Some(_), _) => "FAILED",
                (None, Direction::Up) => "applied",
                (None, Direction::Down) => "undone",
            };
            let rows = match progress.total().done {
                0 => String::new(),
                rows => format!(", {} rows", count(rows)),
            };
            let why = error.filter(|(code, _)| *code != "stopped").map(|(_, message)| format!(": {message}"));
            line(format!("{id} {done} after {}{rows}{}", since(*started), why.unwrap_or_default()))
        }
        Event::StepStarted { .. } | Event::Attempted { .. } | Event::Committed { .. } | Event::Measured { .. } => {
            Vec::new()
        }
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

#[cfg(test)]
mod tests {
    use whimbrel_migrate::watch::BlockedSession;

    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (ms, text) in
            [(0, "0 ms"), (850, "850 ms"), (21_430, "21.4 s"), (192_000, "3 min 12 s"), (3_900_000, "1 h 5 min")]
        {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
        for (done, expected, ratio, per_second, eta, text) in [
            (0, None, None, None, None, ""),
            (0, None, Some(0.5), None, Some(3.2), "50 %, 4 s left"),
            (
                250,
                Some(1_000),
                Some(0.259),
                Some(48_210.4),
                Some(75.0),
                "250 of 1,000 (25 %), 48,210/s, 1 min 15 s left",
            ),
            (250, None, None, Some(2.0), None, "250, 2/s"),
            (999, Some(1_000), Some(0.999), None, Some(f64::INFINITY), "999 of 1,000 (99 %)"),
            (9, Some(9), Some(1.0), Some(3.0), Some(0.0), "9 of 9 (100 %), 3/s"),
        ] {
            let one = Reached { done, expected, ratio, per_second, eta_seconds: eta };
            assert_eq!(reached(&one), text, "{one:?}");
        }
    }

    #[test]
    fn names_from_files_and_servers_cannot_drive_a_terminal() {
        let progress = whimbrel_migrate::ledger::Progress::default();
        let evil = "a\u{1b}[2J\nb";
        let session = BlockedSession {
            waiting: 1,
            blocked_by: 2,
            by_us: false,
            waiting_ms: 1,
            what: evil.into(),
            user: evil.into(),
            application: evil.into(),
        };
        let (started, direction) = (SystemTime::now(), Direction::Up);
        for event in [
            Event::Started { id: "1", name: evil, system: None, direction, steps: 1, progress: &progress },
            Event::WaitingForLock { holder: evil, since: Duration::ZERO },
            Event::Blocked { id: "1", sessions: &[session] },
            Event::Checked { id: "1", check: evil, fault: Some(evil) },
            Event::Ended { id: "1", direction, started, error: Some(("x", evil)), progress: &progress },
        ] {
            let lines = sentences(&event);
            assert_eq!(lines.len(), 1, "{event:?}");
            assert!(!lines.iter().any(|line| line.contains(char::is_control)), "{lines:?}");
            assert!(lines[0].contains("a\\u001b[2J\\nb"), "{lines:?}");
        }
    }
}
