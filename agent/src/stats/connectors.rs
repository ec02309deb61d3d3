//! What the last look at Kafka Connect found: for the metrics, the readiness page and the status.
//!
//! Pure, like its siblings: `connect/` looks and tells, `export/` reads. It knows the words, not the REST API.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::family::{Label, Labels};
use super::instruments::{Count, Instruments};

/// Words for what a connector's states amount to; `unknown` while Connect is away.
pub const CONDITIONS: [&str; 7] = ["missing", "failed", "paused", "stopped", "starting", "running", "unknown"];
/// Words for whether a connector moves.
pub const PROGRESS: [&str; 5] = ["not_checked", "watching", "moving", "unproven", "stalled"];
/// Words for the states of tasks: RUNNING, FAILED, and every other.
pub const TASKS: [&str; 3] = ["running", "failed", "other"];
/// Words for what became of a request to restart.
const OUTCOMES: [&str; 2] = ["requested", "refused"];

/// What a look did about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Nothing.
    None,
    /// Connect took the request to restart what failed.
    Requested,
    /// It did not.
    Refused,
}

/// What a look found of one connector.
#[derive(Debug, Clone)]
pub struct ConnectorFacts {
    /// Name in Kafka Connect.
    pub name: Arc<str>,
    /// One of [`CONDITIONS`].
    pub condition: &'static str,
    /// One of [`PROGRESS`].
    pub progress: &'static str,
    /// Its tasks, counted in the order of [`TASKS`].
    pub tasks: [u64; 3],
    /// Numbers of the tasks that FAILED; `None` stands for the connector itself.
    pub failed: BTreeSet<Option<u32>>,
    /// Properties that are not as configured.
    pub drifted_properties: u64,
    /// What was done about a failure.
    pub restart: Restart,
    /// Restarts that the budget still allows in this window.
    pub restarts_left: u64,
    /// Why it is not ready, and what to do about it; no secrets.
    pub trouble: Option<String>,
}

/// What a look found.
#[derive(Debug, Clone)]
pub struct ConnectFacts {
    /// Whether Connect answered.
    pub reachable: bool,
    /// What went wrong with the look itself; no secrets.
    pub trouble: Option<String>,
    /// The configured connectors.
    pub connectors: Vec<ConnectorFacts>,
    /// The whole report, for the status page.
    pub report: serde_json::Value,
}

/// Whether the connectors are ready, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorsReadiness {
    /// Connect answers, and every connector runs and is not known to stand still.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reasons: Vec<String>,
}

/// The status of the connectors, as `/api/v1/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectorsStatus {
    /// Whether they are ready, and why not.
    pub readiness: ConnectorsReadiness,
    /// When the last look ended, milliseconds since 1970; `null` before the first.
    pub looked_at_ms: Option<i64>,
    /// What it found; `null` before the first.
    pub report: Option<serde_json::Value>,
}

#[derive(Debug, Default)]
struct Last {
    at_ms: i64,
    facts: Option<ConnectFacts>,
    /// What had failed when it was last known, less what was asked to restart since.
    failed: HashMap<Arc<str>, BTreeSet<Option<u32>>>,
}

/// The board that the looks are written on; its series end when it is dropped.
#[derive(Debug)]
pub struct ConnectorBoard {
    instruments: Instruments,
    last: Mutex<Last>,
}

/// Gauges of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoardLevel {
    Up,
    State,
    Progress,
    Tasks,
    Drift,
    RestartsLeft,
}

impl ConnectorBoard {
    /// An empty board for these connectors, read by `instruments` as long as it lives.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>, instruments: &Instruments) -> Arc<Self> {
        let board = Arc::new(Self { instruments: instruments.clone(), last: Mutex::default() });
        instruments.watch_connectors(&board);
        // A first failure must be an increase too.
        for name in names {
            let name: Arc<str> = name.into();
            instruments.add(Count::ConnectorFailures, vec![Label::from(&name)], 0);
            for outcome in OUTCOMES {
                instruments.add(Count::ConnectorRestarts, vec![Label::from(&name), Label::Word(outcome)], 0);
            }
        }
        board
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a look found.
    pub fn looked(&self, facts: ConnectFacts) {
        let mut last = self.lock();
        for connector in &facts.connectors {
            self.count(connector, &mut last.failed);
        }
        last.at_ms = self.instruments.now_ms();
        last.facts = Some(facts);
    }

    fn count(&self, connector: &ConnectorFacts, failed: &mut HashMap<Arc<str>, BTreeSet<Option<u32>>>) {
        let name = || Label::from(&connector.name);
        if connector.condition != "unknown" {
            let before = failed.entry(Arc::clone(&connector.name)).or_default();
            let new = connector.failed.difference(before).count() as u64;
            self.instruments.add(Count::ConnectorFailures, vec![name()], new);
            // What is restarted and found failed again has failed again.
            *before = match connector.restart {
                Restart::Requested => BTreeSet::new(),
                Restart::None | Restart::Refused => connector.failed.clone(),
            };
        }
        let outcome = match connector.restart {
            Restart::None => return,
            Restart::Requested => "requested",
            Restart::Refused => "refused",
        };
        self.instruments.add(Count::ConnectorRestarts, vec![name(), Label::Word(outcome)], 1);
    }

    /// Whether the connectors are ready, and why not.
    #[must_use]
    pub fn readiness(&self) -> ConnectorsReadiness {
        readiness(self.lock().facts.as_ref())
    }

    /// Everything there is to know.
    #[must_use]
    pub fn status(&self) -> ConnectorsStatus {
        let last = self.lock();
        ConnectorsStatus {
            readiness: readiness(last.facts.as_ref()),
            looked_at_ms: last.facts.as_ref().map(|_| last.at_ms),
            report: last.facts.as_ref().map(|facts| facts.report.clone()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts as metric values")]
    pub(crate) fn level(&self, level: BoardLevel) -> Vec<(Labels, f64)> {
        let last = self.lock();
        let Some(facts) = &last.facts else { return Vec::new() };
        let one_of = |yes: bool| if yes { 1.0 } else { 0.0 };
        if level == BoardLevel::Up {
            return vec![(Vec::new(), one_of(facts.reachable))];
        }
        // While Connect is away nothing is known of its connectors but that.
        let known = |connector: &&ConnectorFacts| connector.condition != "unknown";
        let mut values = Vec::new();
        for connector in &facts.connectors {
            let name = || Label::from(&connector.name);
            let set = |words: &[&'static str], now: &str| {
                let one = |word: &&'static str| (vec![name(), Label::Word(word)], one_of(*word == now));
                words.iter().map(one).collect::<Vec<_>>()
            };
            match level {
                BoardLevel::Up => {}
                BoardLevel::State => values.extend(set(&CONDITIONS, connector.condition)),
                BoardLevel::Progress => values.extend(set(&PROGRESS, connector.progress)),
                BoardLevel::Tasks if known(&connector) => {
                    let tasks = TASKS.iter().zip(connector.tasks);
                    values.extend(tasks.map(|(word, count)| (vec![name(), Label::Word(word)], count as f64)));
                }
                BoardLevel::Drift if known(&connector) => {
                    values.push((vec![name()], connector.drifted_properties as f64));
                }
                BoardLevel::RestartsLeft => values.push((vec![name()], connector.restarts_left as f64)),
                BoardLevel::Tasks | BoardLevel::Drift => {}
            }
        }
        values
    }
}

fn readiness(facts: Option<&ConnectFacts>) -> ConnectorsReadiness {
    let reasons: Vec<String> = match facts {
        None => vec!["not looked at yet".into()],
        Some(facts) => {
            let away = facts.trouble.clone().filter(|_| !facts.reachable);
            let each = facts.connectors.iter().filter_map(|connector| {
                connector.trouble.as_ref().map(|trouble| format!("{}: {trouble}", connector.name))
            });
            away.into_iter().chain(each).collect()
        }
    };
    ConnectorsReadiness { ready: reasons.is_empty(), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(reachable: bool, failed: &[Option<u32>], restart: Restart) -> ConnectFacts {
        let condition = match (reachable, failed) {
            (false, _) => "unknown",
            (true, []) => "running",
            (true, _) => "failed",
        };
        ConnectFacts {
            reachable,
            trouble: (!reachable).then(|| "does not answer".to_owned()),
            connectors: vec![ConnectorFacts {
                name: "shop".into(),
                condition,
                progress: "not_checked",
                tasks: [u64::from(failed.is_empty()), failed.len() as u64, 0],
                failed: failed.iter().copied().collect(),
                drifted_properties: 0,
                restart,
                restarts_left: 1,
                trouble: (condition == "failed").then(|| "FAILED".to_owned()),
            }],
            report: serde_json::json!({}),
        }
    }

    /// Failures and requested restarts counted after these looks.
    fn counted(looks: Vec<ConnectFacts>) -> (u64, u64) {
        let instruments = Instruments::detached(Arc::new(|| 0));
        let board = ConnectorBoard::new(["shop"], &instruments);
        looks.into_iter().for_each(|facts| board.looked(facts));
        let name: Arc<str> = "shop".into();
        let total = |count, labels| instruments.total(count, &labels);
        (
            total(Count::ConnectorFailures, vec![Label::from(&name)]),
            total(Count::ConnectorRestarts, vec![Label::from(&name), Label::Word("requested")]),
        )
    }

    #[test]
    fn a_failure_counts_once_however_often_it_is_seen_and_again_after_a_restart() {
        let (task, other) = (Some(0), Some(1));
        for (looks, expect) in [
            (vec![], (0, 0)),
            (vec![look(true, &[task], Restart::None); 3], (1, 0)),
            (vec![look(true, &[task], Restart::None), look(true, &[task, other], Restart::None)], (2, 0)),
            (vec![look(true, &[task], Restart::Requested), look(true, &[task], Restart::None)], (2, 1)),
            (vec![look(true, &[task], Restart::Refused), look(true, &[task], Restart::None)], (1, 0)),
            (
                vec![
                    look(true, &[task], Restart::None),
                    look(true, &[], Restart::None),
                    look(true, &[task], Restart::None),
                ],
                (2, 0),
            ),
            // Connect was away meanwhile: the same failure.
            (
                vec![
                    look(true, &[None], Restart::None),
                    look(false, &[], Restart::None),
                    look(true, &[None], Restart::None),
                ],
                (1, 0),
            ),
        ] {
            assert_eq!(counted(looks.clone()), expect, "{looks:?}");
        }
    }

    #[test]
    fn ready_is_when_a_look_found_nothing_wrong() {
        let board = ConnectorBoard::new(["shop"], &Instruments::detached(Arc::new(|| 7)));
        assert_eq!(board.readiness().reasons, ["not looked at yet"]);
        assert!(board.status().report.is_none());
        for (facts, expect) in [
            (look(true, &[Some(0)], Restart::None), vec!["shop: FAILED"]),
            (look(false, &[], Restart::None), vec!["does not answer"]),
            (look(true, &[], Restart::None), vec![]),
        ] {
            board.looked(facts);
            assert_eq!(board.readiness().reasons, expect);
            assert_eq!(board.readiness().ready, expect.is_empty());
        }
        assert_eq!(board.status().looked_at_ms, Some(7));
    }
}
