//! The display as text, wide and narrow, and what keys do.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::app::{App, Page, Turn};
use super::state::State;
use super::*;

const NOW: i64 = 1_767_225_600_000;

fn pipeline(name: &str, state: &str, ms: Option<i64>, messages: Option<u64>, events: u64) -> serde_json::Value {
    json!({
        "pipeline": name, "source": "kafka", "target": "mongodb", "group": "g", "state": "running",
        "readiness": {"ready": true, "reasons": [], "components": {}},
        "lag": {"state": state, "doubts": [], "messages": messages, "time_lag_ms": ms, "proof_age_ms": null,
                "catchup_eta_seconds": null, "clock_skew_ms": 0, "consumed_per_second": 1234.0},
        "totals": {"batches": 1, "events": {"create": events}, "rows": 1},
        "dead_letters_stored": messages.map(|_| 3), "last_batch_at_ms": null
    })
}

/// A state as the agent tells it, this many seconds after the first.
fn state(second: i64) -> State {
    let events = u64::try_from(second * second).unwrap();
    let mut paused = pipeline("paused", "unknown", None, None, 0);
    paused["readiness"] = json!({"ready": false, "reasons": ["paused: login refused; mend the password"]});
    let told = json!({
        "status": {
            "name": "agent-1", "version": "0.1.0", "started_at_ms": NOW - 61_000, "now_ms": NOW + second * 1_000,
            "pipelines": [
                pipeline("calm", "caught_up", Some(0), Some(0), events),
                pipeline("late", "behind", Some(12_000), Some(250_000), events),
                paused,
            ],
            "plugins": [{"pipeline": "calm", "plugin": "mask-fields", "version": "0.1.0", "last_reload": null,
                         "cost": {"calls": 9, "errors": 2, "events": 1_000, "seconds": 0.000_17, "memory_bytes": 1_572_864.0}}]
        },
        "migrations": {"now_ms": NOW, "migrations": [
            {"id": "1", "set": "shop", "name": "create orders", "state": "applied"},
            {"id": "2", "set": "shop", "name": "fill total", "state": "running", "what": "update orders",
             "progress_ratio": 0.256, "per_second": 4_000.0, "eta_seconds": 433.0},
            {"id": "3", "set": "shop", "name": "index", "state": "running"},
            {"id": "4", "set": "shop", "name": "unique", "state": "failed",
             "last_error": {"code": "unique_violation", "message": "3 rows share a value"}},
        ]},
        "incidents": {"now_ms": NOW, "evaluated_at_ms": NOW, "incidents": [
            {"id": "a", "status": "firing", "severity": "critical", "title": "late stands still", "detail": "for 5 min",
             "action": "look at the target", "scope": "pipeline/late", "since_ms": NOW - 300_000, "until_ms": null,
             "silenced_by": "s-1", "inhibited_by": null},
            {"id": "b", "status": "resolved", "severity": "warning", "title": "calm was slow", "scope": "pipeline/calm",
             "since_ms": NOW - 900_000, "until_ms": NOW - 600_000},
        ]}
    });
    serde_json::from_value(told).unwrap()
}

fn app() -> App {
    let mut app = App::new("http://127.0.0.1:9464/");
    (0..5).for_each(|second| app.heard(state(second)));
    app
}

/// The lines of the terminal, without what is blank at their ends.
fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(app: &mut App, code: KeyCode) -> Turn {
    app.event(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn a_wide_terminal_shows_everything_of_a_pipeline() {
    let lines = screen(&mut app(), 130, 12);
    assert!(lines[0].contains("agent-1 0.1.0 · started 65s ago (23:58:59Z) · ● live"), "{lines:#?}");
    assert_eq!(lines[1], " ✕ 0 stalled   ↓ 1 behind   ? 1 unknown   ✓ 1 caught up   ! 1 not ready   dead letters ≥ 6");
    assert_eq!(lines[2], "  Pipelines 3   Incidents 1   Migrations 4   Plugins 1");
    let (paused, late, calm) = (&lines[4], &lines[5], &lines[6]);
    assert!(paused.starts_with(" ? unknown    paused → mongodb  paused: login refused"), "{paused}");
    assert_eq!(paused.matches("unknown").count(), 4, "state, lag, messages and dead letters: {paused}");
    assert!(late.starts_with(" ↓ behind     late → mongodb"), "{late}");
    assert!(late.contains("≤12s") && late.contains("250k") && late.contains("1234/s"), "{late}");
    assert!(
        calm.starts_with(" ✓ caught up  calm → mongodb") && calm.contains(" 0s ") && calm.ends_with(" 3"),
        "{calm}"
    );
    assert!(calm.contains('█'), "the newest second is the highest: {calm}");
}

#[test]
fn a_narrow_terminal_shows_state_name_lag_and_rate() {
    let lines = screen(&mut app(), 44, 9);
    assert_eq!(lines[5], " ↓ behind     late → mon ≤12s       1234/s");
    for (width, height) in [(1, 1), (10, 3), (20, 5), (60, 6), (300, 100)] {
        for page in Page::ALL {
            let mut app = app();
            app.page = page;
            assert_eq!(screen(&mut app, width, height).len(), usize::from(height));
        }
    }
}

#[test]
fn incidents_migrations_and_plugins_have_pages_of_their_own() {
    let mut app = app();
    press(&mut app, KeyCode::Tab);
    let lines = screen(&mut app, 100, 14);
    assert_eq!(lines[3], " ! critical late stands still");
    assert_eq!(lines[4], "   pipeline/late · since 5m04s ago (23:55:00Z) · silenced by s-1");
    assert_eq!(lines[6], "   → look at the target");
    assert!(lines[7].starts_with(" ✓ resolved calm was slow"), "{lines:#?}");
    press(&mut app, KeyCode::Right);
    let lines = screen(&mut app, 100, 14);
    assert!(lines[3].starts_with(" ▸ running      shop/3 index"), "{lines:#?}");
    assert!(lines[4].contains("progress unknown") && lines[4].ends_with("unknown · time left unknown"), "{lines:#?}");
    assert!(lines[6].contains(" 25.6 % █") && lines[6].ends_with("4000/s · 7m13s left"), "{lines:#?}");
    assert!(lines[7].starts_with(" ✕ failed"), "{lines:#?}");
    assert_eq!(lines[8], "   unique_violation: 3 rows share a value");
    press(&mut app, KeyCode::Right);
    let lines = screen(&mut app, 100, 14);
    for part in ["mask-fields", "calm", "0.1.0", "170ns", "1.5MiB", "2 of 9 calls failed"] {
        assert!(lines[4].contains(part), "{part} in {lines:#?}");
    }
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.page, Page::Migrations);
}

#[test]
fn what_is_not_monitored_and_what_is_away_is_said() {
    let mut app = app();
    let mut bare = state(5);
    (bare.incidents, bare.migrations) = (None, None);
    app.heard(bare);
    assert!(screen(&mut app, 100, 9)[2].contains("Incidents ?"));
    app.page = Page::Incidents;
    assert!(screen(&mut app, 120, 9)[3].contains("What is wrong is not known"));
    app.page = Page::Migrations;
    assert!(screen(&mut app, 100, 9)[3].contains("No migrations are configured"));
    app.trouble("no agent answers at http://127.0.0.1:9464/".into());
    let lines = screen(&mut app, 160, 9);
    assert!(lines[0].contains("✕ stale for 0s: no agent answers") && !lines[0].contains("live"), "{lines:#?}");
    assert_eq!(app.rates("calm", 240).last(), Some(&None), "a gap, not 0");
    assert_eq!(
        (app.mean_rate("calm"), app.mean_rate("nobody")),
        (Some(5.0), None),
        "1, 3, 5, 7 and 9 in a second each"
    );
}

#[test]
fn keys_move_pause_and_end() {
    let mut app = app();
    press(&mut app, KeyCode::Char('p'));
    app.heard(state(9));
    assert_eq!(app.state.as_ref().unwrap().status.now_ms, NOW + 4_000, "figures stay while paused");
    assert_eq!(app.rates("calm", 1), [Some(13)], "what was heard meanwhile is kept for the chart: (81 - 16) in 5 s");
    assert!(screen(&mut app, 100, 9)[0].contains("‖ paused"));
    press(&mut app, KeyCode::Char('p'));
    app.heard(state(10));
    assert_eq!(app.state.as_ref().unwrap().status.now_ms, NOW + 10_000);
    press(&mut app, KeyCode::End);
    let lines = screen(&mut app, 100, 6);
    assert!(lines[4].contains("calm"), "the last row stays at the bottom: {lines:#?}");
    assert_eq!(press(&mut app, KeyCode::Up), Turn::On);
    assert!(screen(&mut app, 100, 6)[4].contains("late"));
    assert_eq!(press(&mut app, KeyCode::Char('q')), Turn::End);
    assert_eq!(app.event(&Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))), Turn::End);
}

#[test]
fn the_address_is_the_configured_one_or_says_why_there_is_none() {
    tls::install();
    for (listen, expect) in [
        ("127.0.0.1:9464", "http://127.0.0.1:9464/"),
        ("0.0.0.0:80", "http://127.0.0.1/"),
        ("[::]:9464", "http://[::1]:9464/"),
    ] {
        assert_eq!(url_of(listen.parse().unwrap()).unwrap().as_str(), expect);
    }
    assert!(url_of("127.0.0.1:0".parse().unwrap()).unwrap_err().to_string().contains("--agent-url"));
    assert_eq!(
        Asker::new(&"http://proxy/agents/a".parse().unwrap()).unwrap().url.as_str(),
        "http://proxy/agents/a/api/v1/state"
    );
    assert!(Asker::new(&"file:///etc".parse().unwrap()).is_err());
}
