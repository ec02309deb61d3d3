//! What is watched: rows of panels, their queries, and what of it people are woken for. Everything else is made from this.

mod rows;

pub use rows::rows;

/// A row of panels.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its title.
    pub title: &'static str,
    /// Its panels, from left to right.
    pub panels: Vec<Panel>,
}

/// A panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// What it means, in a sentence.
    pub about: &'static str,
    /// How it is drawn.
    pub form: Form,
    /// Queries and the legends of their series.
    pub queries: Vec<(&'static str, &'static str)>,
    /// Grafana's name for the unit.
    pub unit: &'static str,
    /// Where colours change: from this value on, this colour.
    pub steps: Vec<(f64, &'static str)>,
    /// Of 24.
    pub width: u32,
    /// What people are told.
    pub alerts: Vec<Alert>,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines over time.
    Lines,
    /// The figures of now.
    Figures,
}

/// An alert rule.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// The condition.
    pub expr: String,
    /// For how long it must hold.
    pub holds: &'static str,
    /// `warning` or `critical`.
    pub severity: &'static str,
    /// One line; Prometheus puts labels into it.
    pub summary: &'static str,
    /// What to do.
    pub action: &'static str,
}

/// The dashboard's title.
pub const TITLE: &str = "Database Migration Monitoring";

fn lines(
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    queries: &[(&'static str, &'static str)],
) -> Panel {
    Panel {
        title,
        about,
        form: Form::Lines,
        queries: queries.to_vec(),
        unit,
        steps: Vec::new(),
        width: 8,
        alerts: Vec::new(),
    }
}

fn figures(
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    queries: &[(&'static str, &'static str)],
) -> Panel {
    Panel { form: Form::Figures, width: 4, ..lines(title, about, unit, queries) }
}

impl Panel {
    fn wide(self, width: u32) -> Self {
        Self { width, ..self }
    }

    fn steps(self, steps: &[(f64, &'static str)]) -> Self {
        Self { steps: steps.to_vec(), ..self }
    }

    fn alert(mut self, alert: Alert) -> Self {
        self.alerts.push(alert);
        self
    }
}
