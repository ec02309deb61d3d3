//! The pages of the display: pipelines, incidents, migrations, plugins. Each draws what it is given, as wide as there is room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{LineGauge, Paragraph, Sparkline, Wrap};

use super::app::App;
use super::state::{Incident, Migration, Pipeline, Plugin};
use super::view::look;
use super::words::{UNKNOWN, bytes, cost, count, rate, since, span};

/// Columns that make room for more.
const WIDE: u16 = 96;
/// Below this, names and states alone.
const NARROW: u16 = 60;

/// Draws as many items as there is room for, from the place where one is.
fn list<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    top: &mut usize,
    items: &[T],
    height: u16,
    mut draw: impl FnMut(&mut Frame<'_>, Rect, &T),
) {
    let room = usize::from(area.height / height.max(1));
    *top = (*top).min(items.len().saturating_sub(room));
    let mut y = area.y;
    for item in items.iter().skip(*top).take(room) {
        draw(frame, Rect { y, height, ..area }, item);
        y = y.saturating_add(height);
    }
}

fn nothing(frame: &mut Frame<'_>, area: Rect, why: &str) {
    frame.render_widget(Paragraph::new(format!(" {why}")).wrap(Wrap { trim: false }), area);
}

/// The columns of the pipelines' page: state, name, lag, messages, rate, chart, dead letters.
fn columns(area: Rect) -> [Rect; 7] {
    let spark = (12 + area.width.saturating_sub(WIDE) / 2).min(48);
    let (messages, chart, dead) = match area.width {
        width if width >= WIDE => (10, spark, 12),
        width if width >= NARROW => (9, 0, 8),
        _ => (0, 0, 0),
    };
    Layout::horizontal([
        Constraint::Length(13),
        Constraint::Min(10),
        Constraint::Length(9),
        Constraint::Length(messages),
        Constraint::Length(if area.width >= NARROW { 9 } else { 8 }),
        Constraint::Length(chart),
        Constraint::Length(dead),
    ])
    .spacing(1)
    .areas(area)
}

pub(super) fn pipelines(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let mut top = app.top;
    let all = app.pipelines();
    if all.is_empty() {
        return nothing(frame, area, "No pipeline has started.");
    }
    let words = [" state", "pipeline", "lag", "messages", "events", "events, each second", "dead letters"];
    for (area, word) in columns(head).into_iter().zip(words) {
        frame.render_widget(Line::from(word).dim(), area);
    }
    list(frame, body, &mut top, &all, 1, |frame, area, one| pipeline(frame, area, app, one));
    app.top = top;
}

fn pipeline(frame: &mut Frame<'_>, area: Rect, app: &App, one: &Pipeline) {
    let [state, name, lag, messages, events, chart, dead] = columns(area);
    let (color, mark, word) = look(&one.lag.state);
    frame.render_widget(Line::from(format!(" {mark} {word}")).fg(color), state);
    let why = match one.readiness.ready {
        true if one.lag.state == "unknown" => one.lag.doubts.join(", ").replace('_', " "),
        true => String::new(),
        false => match one.readiness.reasons.is_empty() {
            true => one.state.clone(),
            false => one.readiness.reasons.join("; "),
        },
    };
    let mut spans = vec![Span::from(one.pipeline.clone()).bold(), format!(" → {}", one.target).dim()];
    if !why.is_empty() {
        let style = if one.readiness.ready { Style::new().dim() } else { Style::new().fg(Color::Red) };
        spans.push(Span::styled(format!("  {why}"), style));
    } else if let Some(eta) = one.lag.catchup_eta_seconds.filter(|eta| *eta > 0.0) {
        spans.push(format!("  done in {}", span(Some(eta))).dim());
    }
    frame.render_widget(Line::from(spans), name);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let seconds = one.lag.time_lag_ms.map(|ms| ms as f64 / 1_000.0);
    // Proven only when caught up; otherwise it is a bound.
    let bound = if seconds.is_some() && one.lag.state != "caught_up" { "≤" } else { "" };
    frame.render_widget(Line::from(format!("{bound}{}", span(seconds))), lag);
    frame.render_widget(Line::from(count(one.lag.messages)), messages);
    frame.render_widget(Line::from(rate(one.lag.consumed_per_second.or_else(|| app.mean_rate(&one.pipeline)))), events);
    let rates = app.rates(&one.pipeline, usize::from(chart.width));
    frame.render_widget(Sparkline::default().data(rates).style(Style::new().fg(Color::Cyan)), chart);
    let letters = Line::from(count(one.dead_letters_stored));
    frame.render_widget(if one.dead_letters_stored > Some(0) { letters.red() } else { letters }, dead);
}

pub(super) fn incidents(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let mut top = app.top;
    let now_ms = app.state.as_ref().map_or(0, |state| state.status.now_ms);
    let Some(firing) = app.firing() else {
        return nothing(
            frame,
            area,
            "Nothing is monitored; add `monitor: {}` to the configuration. What is wrong is not known.",
        );
    };
    let evaluated = app.state.iter().filter_map(|state| state.incidents.as_ref()?.evaluated_at_ms).next();
    let all: Vec<&Incident> = firing.iter().copied().chain(app.resolved()).collect();
    if all.is_empty() {
        let looked = evaluated.map_or_else(
            || "No rule has looked yet.".to_owned(),
            |at| format!("No incident. The rules last looked {}.", since(at, now_ms)),
        );
        return nothing(frame, area, &looked);
    }
    list(frame, area, &mut top, &all, 4, |frame, area, one| frame.render_widget(incident(one, now_ms), area));
    app.top = top;
}

fn incident(one: &Incident, now_ms: i64) -> Paragraph<'static> {
    let over = one.status != "firing";
    let (color, mark) = match one.severity.as_str() {
        _ if over => (Color::Green, "✓ resolved"),
        "critical" => (Color::Red, "! critical"),
        "warning" => (Color::Yellow, "△ warning"),
        _ => (Color::Reset, "i info"),
    };
    let muted = match (&one.silenced_by, &one.inhibited_by) {
        (Some(by), _) => format!(" · silenced by {by}"),
        (None, Some(by)) => format!(" · explained by {by}"),
        (None, None) => String::new(),
    };
    let when = match one.until_ms {
        Some(until) if over => format!("   {} · until {}", one.scope, since(until, now_ms)),
        _ => format!("   {} · since {}{muted}", one.scope, since(one.since_ms, now_ms)),
    };
    let detail = format!("   {}", one.detail);
    let action = if over || one.action.is_empty() { String::new() } else { format!("   → {}", one.action) };
    Paragraph::new(vec![
        Line::from(vec![Span::from(format!(" {mark} ")).fg(color).bold(), Span::from(one.title.clone()).bold()]),
        Line::from(when).dim(),
        Line::from(detail),
        Line::from(action),
    ])
}

pub(super) fn migrations(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let mut top = app.top;
    let all = app.migrations();
    if all.is_empty() {
        let none = app.state.as_ref().is_some_and(|state| state.migrations.is_none());
        return nothing(frame, area, if none { "No migrations are configured." } else { "There is no migration." });
    }
    list(frame, area, &mut top, &all, 2, |frame, area, one| migration(frame, area, one));
    app.top = top;
}

fn migration(frame: &mut Frame<'_>, area: Rect, one: &Migration) {
    let [head, rest] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let (color, mark) = match one.state.as_str() {
        "running" => (Color::Yellow, "▸"),
        "applied" => (Color::Green, "✓"),
        "failed" | "changed" | "missing" => (Color::Red, "✕"),
        _ => (Color::Reset, "·"),
    };
    let id = if one.set.is_empty() { one.id.clone() } else { format!("{}/{}", one.set, one.id) };
    let mut spans = vec![
        Span::from(format!(" {mark} {:<12} ", one.state.replace('_', " "))).fg(color).bold(),
        Span::from(format!("{id} {}", one.name)).bold(),
    ];
    let doing = [&one.what, &one.phase].into_iter().flatten().cloned().collect::<Vec<_>>().join(" · ");
    if one.state == "running" {
        spans.push(format!("  {doing}").dim());
        frame.render_widget(Line::from(spans), head);
        let left =
            one.eta_seconds.map_or_else(|| "time left unknown".to_owned(), |eta| format!("{} left", span(Some(eta))));
        let pace = format!("{} · {left} ", rate(one.per_second));
        let width = u16::try_from(pace.chars().count()).unwrap_or(u16::MAX);
        let [_, gauge, facts] =
            Layout::horizontal([Constraint::Length(3), Constraint::Min(8), Constraint::Length(width)])
                .spacing(1)
                .areas(rest);
        match one.progress_ratio {
            Some(ratio) => {
                let ratio = if ratio.is_finite() { ratio.clamp(0.0, 1.0) } else { 0.0 };
                let bar =
                    LineGauge::default().ratio(ratio).label(format!("{:>5.1} %", (ratio * 1_000.0).floor() / 10.0));
                frame.render_widget(
                    bar.filled_symbol("█").unfilled_symbol("░").filled_style(Style::new().fg(Color::Cyan)),
                    gauge,
                );
            }
            None => frame.render_widget(Line::from(format!("progress {UNKNOWN}")), gauge),
        }
        frame.render_widget(Line::from(pace), facts);
        return;
    }
    frame.render_widget(Line::from(spans), head);
    if let Some(error) = &one.last_error {
        frame.render_widget(Line::from(format!("   {}: {}", error.code, error.message)).red(), rest);
    }
}

pub(super) fn plugins(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let mut top = app.top;
    let all = app.plugins();
    if all.is_empty() {
        return nothing(frame, area, "No plugin is in use.");
    }
    let columns = |area: Rect| -> [Rect; 6] {
        Layout::horizontal([
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Length(if area.width >= NARROW { 9 } else { 0 }),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Fill(if area.width >= WIDE { 3 } else { 1 }),
        ])
        .spacing(1)
        .areas(area)
    };
    let words = [" plugin", "pipeline", "version", "per event", "memory", "trouble"];
    for (area, word) in columns(head).into_iter().zip(words) {
        frame.render_widget(Line::from(word).dim(), area);
    }
    list(frame, body, &mut top, all, 1, |frame, area, one| {
        for (area, line) in columns(area).into_iter().zip(plugin(one)) {
            frame.render_widget(line, area);
        }
    });
    app.top = top;
}

fn plugin(one: &Plugin) -> [Line<'static>; 6] {
    #[expect(clippy::cast_precision_loss, reason = "a count of events")]
    let per_event = match &one.cost {
        Some(cost) if cost.events == 0 => "no event".to_owned(),
        known => cost(known.as_ref().map(|cost| cost.seconds / cost.events as f64)),
    };
    let memory = one.cost.as_ref().filter(|cost| cost.memory_bytes > 0.0);
    let failed = one.cost.as_ref().filter(|cost| cost.errors > 0);
    let failed = failed.map(|cost| format!("{} of {} calls failed", cost.errors, cost.calls));
    let reload = one.last_reload.as_ref().and_then(|reload| reload.why.as_ref()).map(|why| format!("reload: {why}"));
    let trouble = failed.into_iter().chain(reload).collect::<Vec<_>>().join("; ");
    [
        Line::from(format!(" {}", one.plugin)).bold(),
        Line::from(one.pipeline.clone()),
        Line::from(one.version.clone()),
        Line::from(per_event),
        Line::from(memory.map_or_else(|| UNKNOWN.to_owned(), |cost| bytes(cost.memory_bytes))),
        Line::from(trouble).red(),
    ]
}
