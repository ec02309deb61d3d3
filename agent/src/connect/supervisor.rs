//! Watches the configured connectors: state, progress, drift; restarts what failed, within the budget.
//!
//! One [`tick`](Supervisor::tick) is one look. Who calls it decides how often; nothing runs between ticks. It never
//! creates or changes a connector: that is `apply`, and a person decides it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    apply::configs,
    budget::{Budget, BudgetPolicy, Decision},
    client::{Client, Live},
    desired::Desired,
    diff::{self, Action},
    health::{Condition, RunState, Status, reason},
    heartbeat::{HeartbeatError, HeartbeatProbe},
    progress::{Expectation, Progress, Sample, Tracker},
    settings::Settings,
};
use crate::runtime::logging::chain;

/// What one look saw. Made to be shown: no secret is in it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Address of Kafka Connect.
    pub url: String,
    /// Whether it answered.
    pub reachable: bool,
    /// Why not, or what else went wrong during the look.
    pub error: Option<String>,
    /// The configured connectors, in the order of the configuration. What is not known while Connect is away is left
    /// as unknown, not as it was.
    pub connectors: Vec<ConnectorReport>,
}

/// One connector.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectorReport {
    /// Name in Kafka Connect.
    pub name: String,
    /// What its states amount to; `None` while Connect is away.
    pub condition: Option<Condition>,
    /// Worker of the connector instance.
    pub worker: Option<String>,
    /// Its tasks.
    pub tasks: Vec<TaskReport>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Whether it moves.
    pub progress: Progress,
    /// Number of properties that are not as configured.
    pub drifted_properties: usize,
    /// Its restarts.
    pub restarts: RestartReport,
}

/// One task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// Its number.
    pub id: u32,
    /// State in Connect's words.
    pub state: RunState,
    /// Worker that runs it.
    pub worker: String,
    /// First line of its stack trace, and the innermost cause.
    pub failure: Option<String>,
}

/// Restarts of one connector.
#[derive(Clone, Debug, Serialize)]
pub struct RestartReport {
    /// Restarts within the current window.
    pub used: u32,
    /// Restarts allowed per window.
    pub max: u32,
    /// What this look did about a failure.
    pub action: RestartAction,
}

/// What a look did about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RestartAction {
    /// Nothing failed, or restarts are not this supervisor's business.
    None,
    /// It asked Connect to restart what failed.
    Restarted,
    /// It asked, and Connect did not take the request.
    Refused,
    /// It waits for the next allowed moment.
    Waiting {
        /// Seconds until then.
        seconds: u64,
    },
    /// The budget is spent: a person should look.
    Exhausted,
}

impl ConnectorReport {
    /// RUNNING, and not known to stand still.
    pub fn healthy(&self) -> bool {
        self.condition == Some(Condition::Running) && self.progress != Progress::Stalled
    }
}

impl Report {
    /// Connect answers and every connector is healthy.
    pub fn healthy(&self) -> bool {
        self.reachable && self.connectors.iter().all(ConnectorReport::healthy)
    }
}

/// The supervisor.
#[derive(Debug)]
pub struct Supervisor {
    client: Client,
    probe: Option<HeartbeatProbe>,
    desired: Vec<Desired>,
    watched: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    tracker: Tracker,
    /// `None`: it only watches.
    budget: Option<Budget>,
}

impl Supervisor {
    /// A supervisor that restarts failed tasks within the budget of the settings.
    ///
    /// # Errors
    /// Kafka settings for the heartbeat topics that cannot be used.
    pub fn new(client: Client, settings: &Settings) -> Result<Self, HeartbeatError> {
        Self::build(client, settings, Some(settings.restart))
    }

    /// A supervisor that only looks.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn watching(client: Client, settings: &Settings) -> Result<Self, HeartbeatError> {
        Self::build(client, settings, None)
    }

    fn build(client: Client, settings: &Settings, restart: Option<BudgetPolicy>) -> Result<Self, HeartbeatError> {
        let probe = settings.progress.kafka.as_ref().map(HeartbeatProbe::new).transpose()?;
        let watched = settings
            .desired
            .iter()
            .map(|one| Watched {
                tracker: Tracker::new(
                    settings.progress.window,
                    Expectation { heartbeats: one.heartbeat_topic().is_some(), offsets: one.writes_heartbeats() },
                ),
                budget: restart.map(Budget::new),
            })
            .collect();
        Ok(Self { client, probe, desired: settings.desired.clone(), watched })
    }

    /// One look. Never fails: what went wrong is in the report.
    pub async fn tick(&mut self) -> Report {
        let mut report =
            Report { url: self.client.url().to_owned(), reachable: true, error: None, connectors: Vec::new() };
        let live = match self.client.connectors().await {
            Ok(live) => live,
            Err(error) => {
                report.reachable = false;
                report.error = Some(error.chain());
                BTreeMap::new()
            }
        };
        let plan = diff::plan(&self.desired, &configs(&live));
        let mut probe = self.probe.as_ref();
        for ((one, watched), entry) in self.desired.iter().zip(&mut self.watched).zip(&plan.connectors) {
            let mut connector = describe(one, report.reachable, live.get(&one.name));
            connector.drifted_properties = if entry.action == Action::Update { entry.changes.len() } else { 0 };
            let mut problem = None;
            if connector.condition == Some(Condition::Running) {
                let sample;
                (sample, problem) = sample_of(&self.client, &mut probe, one).await;
                connector.progress = watched.tracker.observe(Instant::now(), sample);
            } else {
                // While Connect is away nothing is known; a proof of before would go stale unseen.
                watched.tracker.reset();
            }
            if let Some(budget) = &mut watched.budget {
                if connector.condition == Some(Condition::Failed) {
                    let refusal;
                    (connector.restarts.action, refusal) = restart(&self.client, budget, &one.name).await;
                    problem = refusal.or(problem);
                }
                connector.restarts.used = budget.used(Instant::now());
                connector.restarts.max = budget.max();
            }
            report.error = report.error.or(problem);
            report.connectors.push(connector);
        }
        report
    }
}

/// What Connect says of a connector, before progress and restarts.
fn describe(desired: &Desired, reachable: bool, live: Option<&Live>) -> ConnectorReport {
    let status = live.and_then(|live| live.status.as_ref());
    let condition = match (live, status) {
        (_, Some(status)) => Some(status.condition()),
        (Some(_), None) => Some(Condition::Starting),
        (None, None) => reachable.then_some(Condition::Missing),
    };
    let tasks = status.into_iter().flat_map(|status| &status.tasks);
    ConnectorReport {
        name: desired.name.clone(),
        condition,
        worker: status.map(|status| status.connector.worker_id.clone()),
        tasks: tasks
            .map(|task| TaskReport {
                id: task.id,
                state: task.state,
                worker: task.worker_id.clone(),
                failure: task.trace.as_deref().map(reason),
            })
            .collect(),
        failure: status.and_then(Status::failure),
        progress: Progress::NotChecked,
        drifted_properties: 0,
        restarts: RestartReport { used: 0, max: 0, action: RestartAction::None },
    }
}

/// What can be known about movement now, and what kept the rest from being known. Kafka is asked no more in this look once
/// it has not answered: each connector would wait for it anew.
async fn sample_of(
    client: &Client,
    probe: &mut Option<&HeartbeatProbe>,
    desired: &Desired,
) -> (Sample, Option<String>) {
    let mut sample = Sample::default();
    let mut problem = None;
    match client.offsets(&desired.name).await {
        Ok(Some(offsets)) => {
            sample.streaming = offsets.streaming;
            sample.offsets = Some(offsets.canonical);
        }
        Ok(None) => {}
        Err(error) => problem = Some(error.chain()),
    }
    if let (Some(kafka), Some(topic)) = (*probe, desired.heartbeat_topic()) {
        match kafka.records(topic).await {
            Ok(records) => sample.heartbeats = Some(records),
            Err(error) => {
                *probe = None;
                problem = Some(chain(&error));
            }
        }
    }
    (sample, problem)
}

/// Restarts what failed if the budget allows it.
async fn restart(client: &Client, budget: &mut Budget, name: &str) -> (RestartAction, Option<String>) {
    let now = Instant::now();
    match budget.decide(now) {
        Decision::Exhausted { .. } => (RestartAction::Exhausted, None),
        Decision::Wait { until } => {
            (RestartAction::Waiting { seconds: seconds(until.saturating_duration_since(now)) }, None)
        }
        Decision::Restart => match client.restart_failed(name).await {
            Ok(()) => {
                budget.spend(now);
                tracing::warn!(
                    connector = name,
                    used = budget.used(now),
                    max = budget.max(),
                    "restarted what failed in a connector"
                );
                (RestartAction::Restarted, None)
            }
            // Not spent: the connector was not started. The next look tries again, at the pace of looks.
            Err(error) => (RestartAction::Refused, Some(error.chain())),
        },
    }
}

/// Whole seconds, rounded up: "0 s" would read as "now".
fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}
