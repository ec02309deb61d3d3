//! The demo on a terminal: throughput, lag, dead letters, plugin time, memory, addresses. Shows what it is given.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

use super::seen::Seen;

/// Looks that the sparkline remembers: one column each on a wide terminal.
const HISTORY: usize = 240;

/// The full-screen view. The terminal is itself again when it is dropped.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    rates: VecDeque<u64>,
    address: SocketAddr,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn open(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()?, rates: VecDeque::with_capacity(HISTORY), address })
    }

    /// Shows a look.
    pub(crate) fn show(&mut self, seen: &Seen) -> std::io::Result<()> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height in a chart")]
        self.rates.push_back(seen.rate.max(0.0) as u64);
        while self.rates.len() > HISTORY {
            self.rates.pop_front();
        }
        let (rates, address) = (&self.rates, self.address);
        self.terminal.draw(|frame| draw(frame, seen, rates, address)).map(|_| ())
    }

    /// True when the person asked to end: Ctrl-C or q. Waits at most `patience`.
    pub(crate) fn wants_to_end(patience: Duration) -> std::io::Result<bool> {
        if !event::poll(patience)? {
            return Ok(false);
        }
        let Event::Key(key) = event::read()? else { return Ok(false) };
        let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        Ok(key.kind == KeyEventKind::Press && (control_c || key.code == KeyCode::Char('q')))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn draw(frame: &mut ratatui::Frame<'_>, seen: &Seen, rates: &VecDeque<u64>, address: SocketAddr) {
    let [head, chart, facts, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(5), Constraint::Length(9), Constraint::Length(2)])
            .areas(frame.area());
    let title = Line::from(vec![
        " whimbrel demo ".bold().reversed(),
        format!("  Kafka (in-process) → mask-fields (WASM) → SQLite, exactly once   {:>4} s", seen.elapsed.as_secs())
            .into(),
    ]);
    frame.render_widget(title, head);
    let width = usize::from(chart.width.saturating_sub(2));
    let shown: Vec<u64> = rates.iter().skip(rates.len().saturating_sub(width)).copied().collect();
    let block = Block::bordered().title(format!(" {:.0} records/s made durable ", seen.rate));
    frame.render_widget(Sparkline::default().block(block).data(shown).style(Style::new().fg(Color::Cyan)), chart);
    frame.render_widget(Paragraph::new(lines(seen)).block(Block::bordered().title(" pipeline ")), facts);
    let pages = format!(" http://{address}  /metrics  /healthz  /readyz  /api/v1/status");
    frame.render_widget(
        Paragraph::new(vec![Line::from(pages), Line::from(" Ctrl-C ends it, drains, and proves it")]),
        foot,
    );
}

fn lines(seen: &Seen) -> Vec<Line<'static>> {
    let color = match seen.lag {
        "caught_up" => Color::Green,
        "behind" => Color::Yellow,
        _ => Color::Red,
    };
    let state = match &seen.unready {
        Some(why) => format!("{} ({why})", seen.pipeline),
        None => seen.pipeline.to_owned(),
    };
    vec![
        Line::from(format!("shop          {}, {} records sent, {} of them poison", seen.shop, seen.sent, seen.poison)),
        Line::from(format!(
            "durable       {} records, {} rows in {} transactions",
            seen.settled, seen.rows, seen.batches
        )),
        Line::from(vec![
            Span::raw("lag           "),
            Span::styled(seen.lag, Style::new().fg(color).bold()),
            Span::raw(format!(", {}", lag(seen))),
        ]),
        Line::from(format!("dead letters  {}", dead_letters(seen))),
        Line::from(format!("plugin        {}", plugin(seen))),
        Line::from(format!("memory        {}", memory(seen))),
        Line::from(format!("state         {state}")),
    ]
}

/// The look as one line, for pipes and logs.
pub(crate) fn plain(seen: &Seen) -> String {
    format!(
        "{:>4}s  {:>7.0}/s  shop {} sent {} durable {}  lag {} ({})  dead letters {}  plugin {}  memory {}",
        seen.elapsed.as_secs(),
        seen.rate,
        seen.shop,
        seen.sent,
        seen.settled,
        seen.lag,
        lag(seen),
        dead_letters(seen),
        plugin(seen),
        memory(seen),
    )
}

fn lag(seen: &Seen) -> String {
    let messages = seen.lag_messages.map_or_else(|| "? messages".into(), |messages| format!("{messages} messages"));
    match seen.lag_ms {
        Some(ms) => format!("{messages}, {ms} ms"),
        None => messages,
    }
}

fn dead_letters(seen: &Seen) -> String {
    if seen.dead_letters.is_empty() {
        return "none".into();
    }
    seen.dead_letters.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

fn plugin(seen: &Seen) -> String {
    seen.plugin_ns.map_or_else(|| "no call yet".into(), |ns| format!("{:.2} µs/event", ns / 1_000.0))
}

fn memory(seen: &Seen) -> String {
    format!("{} MiB", seen.memory >> 20)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn both_views_show_lag_dead_letters_plugin_time_and_addresses() {
        let seen = Seen {
            lag: "behind",
            lag_messages: Some(42),
            lag_ms: Some(7),
            shop: "burst",
            dead_letters: [("malformed", 3)].into(),
            plugin_ns: Some(170.0),
            memory: 50 << 20,
            rate: 1234.0,
            pipeline: "running",
            ..Seen::default()
        };
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        let rates = VecDeque::from([1, 5, 1234]);
        terminal.draw(|frame| draw(frame, &seen, &rates, "127.0.0.1:9".parse().unwrap())).unwrap();
        let screen = terminal.backend().to_string();
        for text in ["behind, 42 messages, 7 ms", "malformed 3", "0.17 µs/event", "50 MiB", "1234 records/s"] {
            assert!(screen.contains(text), "{text}: {screen}");
        }
        assert!(screen.contains("http://127.0.0.1:9  /metrics"), "{screen}");
        let line = plain(&seen);
        assert!(line.contains("lag behind (42 messages, 7 ms)  dead letters malformed 3"), "{line}");
    }
}
