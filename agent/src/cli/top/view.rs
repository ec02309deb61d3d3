//! Draws the display, as wide and as high as there is room. Colours are never the only sign.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Stylize as _};
use ratatui::text::{Line, Span};

use super::app::{App, Page};
use super::pages;
use super::words::{count, since, span};

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let [head, sums, tabs, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(app), head);
    frame.render_widget(summary(app), sums);
    frame.render_widget(self::tabs(app), tabs);
    match app.page {
        Page::Pipelines => pages::pipelines(frame, body, app),
        Page::Incidents => pages::incidents(frame, body, app),
        Page::Migrations => pages::migrations(frame, body, app),
        Page::Plugins => pages::plugins(frame, body, app),
    }
    let keys = " q end · Tab ← → page · ↑ ↓ move · p pause";
    let keys = if app.paused { format!("{keys} (paused)") } else { keys.to_owned() };
    frame.render_widget(Line::from(keys).dim(), foot);
}

fn title(app: &App) -> Line<'static> {
    let mut spans = vec![" whimbrel top ".bold().reversed()];
    if let Some(state) = &app.state {
        let status = &state.status;
        let up = since(status.started_at_ms, status.now_ms);
        spans.push(format!(" {} {} · started {up} · ", status.name, status.version).into());
    }
    spans.push(match (&app.trouble, app.heard_at) {
        (Some(why), Some(heard)) => {
            let age = span(Some(heard.elapsed().as_secs_f64().floor()));
            Span::from(format!("✕ stale for {age}: {why}")).red().bold()
        }
        (Some(why), None) => Span::from(format!("✕ {why}")).red().bold(),
        (None, _) if app.paused => "‖ paused".yellow().bold(),
        (None, Some(_)) => "● live".green(),
        (None, None) => format!("asking {}", app.base).into(),
    });
    Line::from(spans)
}

/// The colour, mark and word of a state of lag.
pub(super) fn look(state: &str) -> (Color, &'static str, String) {
    let (color, mark) = match state {
        "caught_up" => (Color::Green, "✓"),
        "behind" => (Color::Yellow, "↓"),
        "stalled" => (Color::Red, "✕"),
        "unknown" => (Color::Magenta, "?"),
        _ => (Color::Reset, "·"),
    };
    (color, mark, state.replace('_', " "))
}

fn summary(app: &App) -> Line<'static> {
    let all = app.pipelines();
    let mut spans = vec![Span::from(" ")];
    for state in ["stalled", "behind", "unknown", "caught_up"] {
        let number = all.iter().filter(|one| one.lag.state == state).count();
        let (color, mark, word) = look(state);
        let text = format!("{mark} {number} {word}   ");
        spans.push(if number > 0 { Span::from(text).fg(color) } else { Span::from(text).dim() });
    }
    let stuck = all.iter().filter(|one| !one.readiness.ready).count();
    if stuck > 0 {
        spans.push(Span::from(format!("! {stuck} not ready   ")).red());
    }
    // A sum of which a part is not known is a bound.
    let known: u64 = all.iter().filter_map(|one| one.dead_letters_stored).sum();
    let bound = if all.iter().all(|one| one.dead_letters_stored.is_some()) { "" } else { "≥ " };
    spans.push(format!("dead letters {bound}{}", count(Some(known))).into());
    Line::from(spans)
}

fn tabs(app: &App) -> Line<'static> {
    let mut spans = vec![Span::from(" ")];
    for page in Page::ALL {
        let text = match page {
            Page::Pipelines => format!(" Pipelines {} ", app.pipelines().len()),
            Page::Incidents => match app.firing() {
                Some(firing) => format!(" Incidents {} ", firing.len()),
                None => " Incidents ? ".to_owned(),
            },
            Page::Migrations => format!(" Migrations {} ", app.migrations().len()),
            Page::Plugins => format!(" Plugins {} ", app.plugins().len()),
        };
        spans.push(if page == app.page { Span::from(text).reversed().bold() } else { text.into() });
        spans.push(" ".into());
    }
    Line::from(spans)
}
