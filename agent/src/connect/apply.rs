//! Makes Kafka Connect have the connectors that shall exist.
//!
//! Order: is every plugin there, does Connect find every changed configuration valid, then write, then wait until
//! RUNNING. Nothing is written while one of them is invalid. Nothing is ever deleted.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    client::{Client, Live},
    desired::{ConnectorConfig, Desired},
    diff::{self, Action, Plan},
    error::Error,
    health::{Condition, Status},
};

/// Pause between two looks at a state.
const POLL: Duration = Duration::from_millis(250);
/// A state counts once it held this long. Connect takes a new configuration before it stops the old tasks, and goes
/// on telling their state meanwhile.
const SETTLED: Duration = Duration::from_secs(2);

/// What became of one connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Name in Kafka Connect.
    pub name: String,
    /// What was done.
    pub action: Action,
    /// Where it stands.
    pub condition: Condition,
    /// Why it does not run, when it does not.
    pub reason: Option<String>,
}

/// Reads what is there and compares.
///
/// # Errors
/// Whatever keeps Connect from answering.
pub async fn plan(client: &Client, desired: &[Desired]) -> Result<Plan, Error> {
    Ok(diff::plan(desired, &configs(&client.connectors().await?)))
}

/// Writes what `plan` says must change and waits up to `wait` for every configured connector to be RUNNING.
///
/// # Errors
/// The first thing that keeps a configuration from being written. A connector that was written but does not run is
/// no error here: its [`Applied`] says why.
pub async fn apply(client: &Client, desired: &[Desired], plan: &Plan, wait: Duration) -> Result<Vec<Applied>, Error> {
    let todo: Vec<(&Desired, Action)> = desired
        .iter()
        .filter_map(|one| plan.connectors.iter().find(|entry| entry.name == one.name).map(|entry| (one, entry.action)))
        .collect();
    let changed = || todo.iter().filter(|(_, action)| *action != Action::Unchanged).map(|(one, _)| *one);

    if changed().next().is_some() {
        let plugins = client.plugins().await?;
        for one in changed() {
            if !plugins.iter().any(|plugin| plugin.class == one.class()) {
                let debezium = plugins.iter().filter(|plugin| plugin.class.starts_with("io.debezium."));
                return Err(Error::PluginMissing {
                    url: client.url().to_owned(),
                    class: one.class().to_owned(),
                    installed: debezium
                        .map(|plugin| {
                            format!("{} {}", plugin.class, plugin.version.as_deref().unwrap_or("of unknown version"))
                        })
                        .collect(),
                });
            }
        }
    }
    for one in changed() {
        let fields = client.validate(&one.name, &one.config).await?;
        if !fields.is_empty() {
            return Err(Error::Invalid { connector: one.name.clone(), fields });
        }
    }
    for one in changed() {
        client.put_config(&one.name, &one.config).await?;
    }

    let deadline = Instant::now() + wait;
    let mut applied = Vec::with_capacity(todo.len());
    for (one, action) in todo {
        let settle = if action == Action::Unchanged { Duration::ZERO } else { SETTLED };
        let (condition, reason) = settled(client, &one.name, settle, deadline).await?;
        applied.push(Applied { name: one.name.clone(), action, condition, reason });
    }
    Ok(applied)
}

/// Waits until a state has held for `settle`, or the deadline; then says what it is and why it is not RUNNING.
async fn settled(
    client: &Client,
    name: &str,
    settle: Duration,
    deadline: Instant,
) -> Result<(Condition, Option<String>), Error> {
    let mut held: Option<(Condition, Instant)> = None;
    loop {
        let status = client.status(name).await?;
        let condition = status.as_ref().map_or(Condition::Missing, Status::condition);
        let now = Instant::now();
        let since = match held {
            Some((before, since)) if before == condition => since,
            _ => now,
        };
        held = Some((condition, since));
        // A new connector is unknown, then unassigned, on its way to RUNNING.
        let passing = matches!(condition, Condition::Missing | Condition::Starting);
        if (!passing && now.duration_since(since) >= settle) || now >= deadline {
            return Ok((condition, why_not(condition, status.as_ref())));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn why_not(condition: Condition, status: Option<&Status>) -> Option<String> {
    let said = match condition {
        Condition::Running => return None,
        Condition::Failed => return status.and_then(Status::failure),
        Condition::Missing => "kafka connect knows no state of it yet",
        Condition::Paused => "an operator paused it; PUT /connectors/{name}/resume lets it go on",
        Condition::Stopped => "an operator stopped it; PUT /connectors/{name}/resume lets it go on",
        Condition::Starting if status.is_some_and(|status| status.tasks.is_empty()) => {
            "it has no tasks yet; the worker's log may say why"
        }
        Condition::Starting => "its tasks were not all given to a worker in time",
    };
    Some(said.to_owned())
}

/// The configurations alone.
pub(super) fn configs(live: &BTreeMap<String, Live>) -> BTreeMap<String, ConnectorConfig> {
    live.iter().map(|(name, live)| (name.clone(), live.config.clone())).collect()
}
