//! What is shown and where one is in it: pages, place, pause, the last minutes of each pipeline. Draws nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

use super::state::{Incident, Migration, Pipeline, Plugin, State};

/// Seconds that a sparkline remembers; one column each.
const REMEMBERED: usize = 240;
/// Rows that a page key moves.
const PAGE: usize = 10;

/// The pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Pipelines,
    Incidents,
    Migrations,
    Plugins,
}

impl Page {
    pub(super) const ALL: [Self; 4] = [Self::Pipelines, Self::Incidents, Self::Migrations, Self::Plugins];

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|page| *page == self).unwrap_or(0);
        Self::ALL.get((at + by) % Self::ALL.len()).copied().unwrap_or(self)
    }
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    On,
    End,
}

/// The last events that became durable, and what was made of them.
#[derive(Debug, Default)]
struct Rates {
    last: Option<(i64, u64)>,
    /// Events a second; none where it is not known.
    points: VecDeque<Option<u64>>,
}

/// The display's state.
#[derive(Debug)]
pub(super) struct App {
    pub(super) base: String,
    pub(super) page: Page,
    /// The first row that is shown; kept within what there is by whoever draws.
    pub(super) top: usize,
    pub(super) paused: bool,
    pub(super) state: Option<State>,
    /// Why nothing was heard since.
    pub(super) trouble: Option<String>,
    pub(super) heard_at: Option<Instant>,
    rates: HashMap<String, Rates>,
}

impl App {
    pub(super) fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            page: Page::Pipelines,
            top: 0,
            paused: false,
            state: None,
            trouble: None,
            heard_at: None,
            rates: HashMap::new(),
        }
    }

    /// A state was heard. While paused, the rates are kept and the figures stay.
    pub(super) fn heard(&mut self, state: State) {
        self.trouble = None;
        self.heard_at = Some(Instant::now());
        let alive: HashSet<&str> = state.status.pipelines.iter().map(|one| one.pipeline.as_str()).collect();
        self.rates.retain(|name, _| alive.contains(name.as_str()));
        for one in &state.status.pipelines {
            let events = one.totals.events.values().sum();
            self.rates.entry(one.pipeline.clone()).or_default().push(state.status.now_ms, events);
        }
        if !self.paused || self.state.is_none() {
            self.state = Some(state);
        }
    }

    /// The agent did not answer.
    pub(super) fn trouble(&mut self, why: String) {
        self.trouble = Some(why);
        self.rates.values_mut().for_each(Rates::gap);
    }

    /// Events a second of a pipeline, the oldest first, at most so many.
    pub(super) fn rates(&self, pipeline: &str, most: usize) -> Vec<Option<u64>> {
        let points = self.rates.get(pipeline).map(|rates| &rates.points);
        points.map_or_else(Vec::new, |all| all.iter().skip(all.len().saturating_sub(most)).copied().collect())
    }

    /// Events a second, the mean of the last minute as far as it was seen from here.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn mean_rate(&self, pipeline: &str) -> Option<f64> {
        let known: Vec<u64> = self.rates(pipeline, 60).into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<u64>() as f64 / known.len() as f64)
    }

    pub(super) fn event(&mut self, event: &Event) -> Turn {
        let Event::Key(key) = event else { return Turn::On };
        if key.kind == KeyEventKind::Release {
            return Turn::On;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Turn::End,
            KeyCode::Char('q') | KeyCode::Esc => return Turn::End,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Page::ALL.len() - 1),
            KeyCode::Down => self.top = self.top.saturating_add(1),
            KeyCode::Up => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown => self.top = self.top.saturating_add(PAGE),
            KeyCode::PageUp => self.top = self.top.saturating_sub(PAGE),
            KeyCode::Home => self.top = 0,
            KeyCode::End => self.top = usize::MAX,
            _ => {}
        }
        Turn::On
    }

    fn turn(&mut self, by: usize) {
        self.page = self.page.step(by);
        self.top = 0;
    }

    /// The pipelines, the worst first.
    pub(super) fn pipelines(&self) -> Vec<&Pipeline> {
        let mut all: Vec<&Pipeline> = self.state.iter().flat_map(|state| &state.status.pipelines).collect();
        all.sort_by_key(|one| {
            (one.readiness.ready, rank(&["stalled", "behind", "unknown", "caught_up"], &one.lag.state))
        });
        all
    }

    /// The incidents that fire, as the agent orders them; none where nothing is monitored.
    pub(super) fn firing(&self) -> Option<Vec<&Incident>> {
        let incidents = self.state.as_ref()?.incidents.as_ref()?;
        Some(incidents.incidents.iter().filter(|one| one.status == "firing").collect())
    }

    /// Those that ended lately.
    pub(super) fn resolved(&self) -> Vec<&Incident> {
        let incidents = self.state.iter().filter_map(|state| state.incidents.as_ref());
        incidents.flat_map(|all| &all.incidents).filter(|one| one.status != "firing").collect()
    }

    /// The migrations: those that run, those that need somebody, the others with the newest first.
    pub(super) fn migrations(&self) -> Vec<&Migration> {
        let boards = self.state.iter().filter_map(|state| state.migrations.as_ref());
        let mut all: Vec<&Migration> = boards.flat_map(|board| &board.migrations).rev().collect();
        let order = ["running", "failed", "changed", "missing", "out_of_order", "pending", "undone", "applied"];
        all.sort_by_key(|one| rank(&order, &one.state));
        all
    }

    pub(super) fn plugins(&self) -> &[Plugin] {
        self.state.as_ref().map_or(&[], |state| &state.status.plugins)
    }
}

fn rank(order: &[&str], word: &str) -> usize {
    order.iter().position(|one| *one == word).unwrap_or(order.len())
}

impl Rates {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a height in a chart"
    )]
    fn push(&mut self, now_ms: i64, events: u64) {
        let point = self.last.and_then(|(at_ms, before)| {
            let seconds = (now_ms - at_ms) as f64 / 1_000.0;
            (seconds > 0.0).then_some((events.checked_sub(before)? as f64 / seconds) as u64)
        });
        self.last = Some((now_ms, events));
        self.add(point);
    }

    fn gap(&mut self) {
        self.last = None;
        self.add(None);
    }

    fn add(&mut self, point: Option<u64>) {
        self.points.push_back(point);
        while self.points.len() > REMEMBERED {
            self.points.pop_front();
        }
    }
}
