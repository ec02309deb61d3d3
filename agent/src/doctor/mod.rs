//! `whimbrel doctor`: looks at everything a configuration depends on, and says what to do about what is wrong. Writes nothing
//! anywhere; an agent may be running beside it.

mod connect;
mod databases;
mod kafka;
mod local;

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use crate::config::AgentConfig;
use crate::plugin::Sandbox;

/// No single look takes longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// A clock that differs by more makes lag in time wrong by as much.
const SKEW_MS: i64 = 2_000;

/// What was found of one dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `pipeline shop: kafka`.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen; no secrets, no row values.
    pub said: String,
    /// What to do about it; empty where nothing is.
    pub remedy: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Good,
    /// It works, and should be seen to.
    Warning,
    /// It does not work.
    Bad,
}

impl Finding {
    fn good(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Good, said: said.into(), remedy: String::new() }
    }

    fn warning(what: impl Into<String>, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Warning, said: said.into(), remedy: remedy.into() }
    }

    fn bad(what: impl Into<String>, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Bad, said: said.into(), remedy: remedy.into() }
    }
}

/// Looks at all that this configuration names. The sandbox is what its plugins are loaded into, to see whether they can be.
pub async fn examine(config: &AgentConfig, sandbox: Sandbox) -> Vec<Finding> {
    let pipelines = config.pipelines.iter().map(|pipeline| async {
        let name = &pipeline.settings.name;
        let (mut kafka, target) = tokio::join!(
            kafka::examine(format!("pipeline {name}: kafka"), pipeline.settings.kafka.clone()),
            databases::target(format!("pipeline {name}: target"), &pipeline.target),
        );
        kafka.extend(target);
        kafka
    });
    let migrations = config.migrations.iter().map(databases::migrations);
    let (pipelines, migrations, connectors, otlp, local) = tokio::join!(
        join_all(pipelines),
        join_all(migrations),
        connect::examine(config.connectors.as_ref()),
        local::otlp(config.export.otlp.as_ref()),
        local::examine(config, sandbox),
    );
    let mut all = local;
    all.extend(pipelines.into_iter().flatten());
    all.extend(migrations.into_iter().flatten());
    all.extend(connectors);
    all.extend(otlp);
    all
}

/// An answer, or that there was none in time.
async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))
}

/// What a server's clock says beside ours. `before_ms` and `after_ms` are ours around the question.
fn clock(what: &str, server_ms: i64, before_ms: i64, after_ms: i64) -> Finding {
    let skew_ms = match server_ms {
        early if early < before_ms => early - before_ms,
        late if late > after_ms => late - after_ms,
        _ => 0,
    };
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = skew_ms as f64 / 1_000.0;
    let what = format!("{what}: clock");
    if skew_ms.abs() < SKEW_MS {
        return Finding::good(what, "agrees with this machine's");
    }
    Finding::warning(
        what,
        format!("differs from this machine's by at least {seconds:.1} s"),
        "synchronise both by NTP: lag in seconds is wrong by as much",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_within_the_time_of_the_question() {
        for (server_ms, expect) in [
            (1_000, State::Good),
            (1_500, State::Good),
            (2_000, State::Good),
            (-500, State::Good),
            (-1_001, State::Warning),
            (4_000, State::Warning),
        ] {
            assert_eq!(clock("db", server_ms, 1_000, 2_000).state, expect, "{server_ms}");
        }
    }
}
