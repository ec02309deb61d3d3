//! Facts from a running agent, over its status API. What it answers is of this moment; whether it is, its clock tells.

mod reading;
mod shapes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::baseline::{Baseline, Counters};
use super::facts::Facts;
use crate::ask::{AskError, Asked};
use crate::millis;
use shapes::{Incidents, Migrations, Series, Status};

/// What an agent answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    status: Status,
    /// None: no migrations are configured.
    migrations: Option<Migrations>,
    /// None: nothing is monitored.
    incidents: Option<Incidents>,
    /// Errors a second of the migrations, by the second; empty where nothing is monitored.
    errors: Vec<Series>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The facts.
    pub facts: Facts,
    /// The counters, for a baseline.
    pub counters: Counters,
    /// All ids there are.
    pub ids: Vec<String>,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The migration: the `migration_id` of pipelines, the version of a migration, or `SET/VERSION`.
    pub migration_id: String,
    /// For how long errors count.
    pub window: Duration,
    /// Now by our clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// Asks an agent.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn look(agent: &Asked, wanted: &Wanted, baseline: Option<&Baseline>) -> Result<Seen, AskError> {
    let status: Option<Status> = read(agent, "api/v1/status", &[]).await?;
    let Some(status) = status else {
        return Err(agent.wrong("it has no /api/v1/status; is this an agent?".to_owned()));
    };
    let migrations: Option<Migrations> = read(agent, "api/v1/migrations", &[]).await?;
    let incidents = read(agent, "api/v1/incidents", &[]).await?;
    let mut answers = Answers { status, migrations, incidents, errors: Vec::new() };
    if answers.incidents.is_some() {
        let since = (answers.status.now_ms.saturating_sub(millis(wanted.window))).to_string();
        for scope in reading::scopes_of_migrations(&answers, &wanted.migration_id) {
            let query = [("scope", scope.as_str()), ("name", "errors_per_second"), ("since_ms", &since), ("fine", "1")];
            answers.errors.extend(read(agent, "api/v1/series", &query).await?);
        }
    }
    Ok(reading::seen(&format!("the agent at {}", agent.address()), wanted, &answers, baseline))
}

/// A page; none where the agent says that there is none.
async fn read<T: DeserializeOwned>(agent: &Asked, path: &str, query: &[(&str, &str)]) -> Result<Option<T>, AskError> {
    let answer = agent.get(path, query).await?;
    match answer.status {
        200 => {}
        404 => return Ok(None),
        401 | 403 => return Err(agent.wrong("it wants credentials: set WHIMBREL_AGENT_TOKEN".to_owned())),
        421 => return Err(agent.wrong("it wants to be asked by address or as localhost".to_owned())),
        status => return Err(agent.wrong(format!("status {status} of /{path}"))),
    }
    let wrong = |error: serde_json::Error| agent.wrong(format!("/{path} is not as expected: {error}"));
    serde_json::from_value(answer.body).map(Some).map_err(wrong)
}
