//! What the agent says of itself meanwhile: `/api/v1/status` asked all the time, `/readyz` and `/metrics` at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::stage::{Stage, lags};
use crate::support::agent::Agent;

/// How often the status is asked for.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Seen {
    states: BTreeSet<String>,
    answers: u32,
    /// A lag of zero that was not proven.
    lies: Vec<String>,
}

/// Asks until it is ended.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins as soon as the agent answers.
    pub(crate) async fn begin(stage: &Stage, agent: &mut Agent) -> Self {
        let open = async |agent: &Agent| agent.address().ok_or_else(|| "no HTTP endpoint".to_owned());
        let address = stage.until(agent, "the agent starts", open).await;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::task::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    if let Ok(answer) = reqwest::get(format!("http://{address}/api/v1/status")).await
                        && let Ok(status) = answer.json::<Value>().await
                    {
                        seen.lock().unwrap().note(&status);
                    }
                    tokio::time::sleep(EVERY).await;
                }
            }
        });
        Self { seen, task }
    }

    /// Not ready, and `/readyz` says why.
    pub(crate) async fn not_ready(&self, stage: &Stage, agent: &mut Agent, why: &str) {
        let paused = async |agent: &Agent| match agent.get("/readyz").await? {
            (503, body) if body.replace("\\\"", "\"").contains(why) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        };
        stage.until(agent, &format!("/readyz says {why}"), paused).await;
    }

    /// Without heartbeats nothing is proven, though nothing is there to do: unknown, and not zero. With them it is again.
    pub(crate) async fn silent(&self, stage: &Stage, agent: &mut Agent) {
        stage.source.tell("pause").await;
        stage
            .until(agent, "idle without heartbeats is unknown", async |agent| {
                for lag in lags(agent).await? {
                    if lag["state"] != "unknown" || lag["time_lag_ms"] == 0 || lag["catchup_eta_seconds"] == 0.0 {
                        return Err(lag.to_string());
                    }
                }
                let (_, metrics) = agent.get("/metrics").await?;
                let zero = metrics
                    .lines()
                    .find(|line| line.starts_with("cdc_replication_lag_seconds") && line.ends_with(" 0"));
                zero.map_or(Ok(()), |line| Err(line.to_owned()))
            })
            .await;
        stage.source.tell("resume").await;
        stage.until_idle(agent).await;
    }

    /// What came of it; and the counters that only this way through real servers moves.
    pub(crate) async fn end(self, stage: &Stage, agent: &mut Agent) {
        self.task.abort();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert!(seen.lies.is_empty(), "a lag of zero that was not proven: {:#?}", seen.lies);
        assert!(seen.answers > 50, "the status was heard {} times only", seen.answers);
        for state in ["caught_up", "unknown"] {
            assert!(seen.states.contains(state), "{state} was never seen: {:?}", seen.states);
        }
        let (_, metrics) = agent.get("/metrics").await.unwrap();
        let sum = |name: &str, part: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(part));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        for operation in ["create", "update", "delete", "read"] {
            let count = sum("cdc_events_processed_total{", &format!("operation=\"{operation}\""));
            assert!(count > 0.0, "no event of operation {operation} was counted:\n{metrics}");
        }
        for (name, why) in [
            ("cdc_unchanged_toast_values_total", "no update left a large value out: the step proves nothing"),
            ("plugin_calls_total", "the plugin was never called"),
        ] {
            assert!(sum(name, "") > 0.0, "{why}:\n{metrics}");
        }
        assert!(sum("cdc_dead_letters_total", "").abs() < 0.5, "dead letters in {}:\n{metrics}", stage.source.name);
    }
}

impl Seen {
    fn note(&mut self, status: &Value) {
        self.answers += 1;
        for pipeline in status["pipelines"].as_array().into_iter().flatten() {
            let lag = &pipeline["lag"];
            let parts =
                [&lag["partitions"], &lag["tables"]].into_iter().flat_map(|part| part.as_array().into_iter().flatten());
            for part in parts.chain([lag]) {
                let state = part["state"].as_str().unwrap_or("none");
                self.states.insert(state.to_owned());
                let zero = part["time_lag_ms"] == 0 || part["catchup_eta_seconds"] == 0.0;
                if zero && state != "caught_up" {
                    self.lies.push(part.to_string());
                }
            }
        }
    }
}
