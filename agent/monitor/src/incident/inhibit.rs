//! Inhibition: what is explained by something else is not told.
//!
//! Two things explain. A *phase*: the pipeline is paused, a backfill runs, somebody announced a cut-over; it ends by
//! itself. And a worse incident of the same scope: who knows that nothing moves need not hear that little moves.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Incident, Pattern};

/// A time in which some trouble is to be expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name: `paused`, `backfill`, `cut-over`.
    pub name: String,
    /// Where.
    pub scope: Pattern,
    /// The kinds of trouble it explains; empty: all.
    #[serde(default)]
    pub explains: Vec<String>,
    /// When it is over at the latest, milliseconds since 1970; none: when whoever sees it says so.
    #[serde(default)]
    pub ends_ms: Option<i64>,
}

impl Phase {
    fn explains(&self, incident: &Incident, now_ms: i64) -> bool {
        self.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms)
            && self.scope.matches(&incident.scope)
            && (self.explains.is_empty() || self.explains.contains(&incident.kind))
    }
}

/// Incidents of some kinds explain others of the same scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhibition {
    /// The kinds that explain.
    pub by: Vec<String>,
    /// The kinds that are explained.
    pub of: Vec<String>,
}

/// What explains what at one moment.
#[derive(Debug)]
pub struct Explained<'a> {
    phases: &'a [Phase],
    inhibitions: &'a [Inhibition],
    /// Firing incidents of a kind that explains, by scope.
    explaining: HashMap<&'a str, Vec<&'a Incident>>,
    now_ms: i64,
}

impl<'a> Explained<'a> {
    /// By these phases, and by these incidents as far as the inhibitions say so.
    #[must_use]
    pub fn new(
        phases: &'a [Phase],
        inhibitions: &'a [Inhibition],
        firing: impl Iterator<Item = &'a Incident>,
        now_ms: i64,
    ) -> Self {
        let mut explaining: HashMap<&str, Vec<&Incident>> = HashMap::new();
        for incident in firing.filter(|incident| inhibitions.iter().any(|rule| rule.by.contains(&incident.kind))) {
            let of_scope = explaining.entry(&incident.scope).or_default();
            // One of a kind is enough, and there may be thousands: the worst.
            match of_scope.iter_mut().find(|other| other.kind == incident.kind) {
                Some(other) if other.severity < incident.severity => *other = incident,
                Some(_) => {}
                None => of_scope.push(incident),
            }
        }
        Self { phases, inhibitions, explaining, now_ms }
    }

    /// What explains this incident; none: people should be told of it.
    #[must_use]
    pub fn by(&self, incident: &Incident) -> Option<String> {
        if let Some(phase) = self.phases.iter().find(|phase| phase.explains(incident, self.now_ms)) {
            return Some(format!("phase {}", phase.name));
        }
        let explains = |other: &&&Incident| {
            let says = |rule: &Inhibition| {
                rule.of.contains(&incident.kind) && rule.by.contains(&other.kind) && !rule.by.contains(&incident.kind)
            };
            other.severity >= incident.severity && self.inhibitions.iter().any(says)
        };
        let other = self.explaining.get(incident.scope.as_str())?.iter().find(explains)?;
        Some(format!("incident {} ({})", other.id, other.kind))
    }
}
