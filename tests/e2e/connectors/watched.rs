//! The agent that runs: what its supervisor sees of the connectors is on the status page, in the metrics and in `/readyz`.

use serde_json::{Value, json};

use super::{OK, PATIENCE, Stage};
use crate::support::agent::Agent;
use crate::support::eventually;

/// An agent with the connectors of the stage and nothing else.
fn start(stage: &Stage, name: &str) -> Agent {
    let mut config = stage.config.clone();
    config["http"] = json!({"listen": "127.0.0.1:0"});
    Agent::start(stage.folder.path(), name, &config, &[("CONNECTOR_TEST_PASSWORD", &stage.password)])
}

/// Waits until `/readyz` has this status and, when it is not ready, a reason with these words.
async fn until_ready(agent: &Agent, status: u16, words: &str) {
    eventually(&format!("{status} {words}"), PATIENCE, async || {
        let (got, body) = agent.get("/readyz").await?;
        let page: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
        let reasons = page["connectors"]["reasons"].to_string();
        if got == status && reasons.contains(words) { Ok(()) } else { Err(format!("{got} {body}\n{}", agent.tail())) }
    })
    .await;
}

/// Waits until the scrape has all of these series with these values.
async fn until_scraped(agent: &Agent, expect: &[(String, u64)]) {
    eventually("the scrape", PATIENCE, async || {
        let (_, text) = agent.get("/metrics").await?;
        for (series, value) in expect {
            if !text.lines().any(|line| line == format!("{series} {value}")) {
                let near: Vec<_> = text.lines().filter(|line| line.starts_with("cdc_connect")).collect();
                return Err(format!("no `{series} {value}` in {near:#?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_running_agent_tells_what_its_connectors_do() {
    Stage::with("watched", async |stage| {
        let name = stage.connector();
        stage.write(|config| {
            config["connectors"]["restart"] = json!({"max": 1, "window": "5m", "backoff": "1s"});
            config["connectors"]["progress"]["window"] = json!("9s");
            // Fail at once instead of trying again inside Debezium.
            config["connectors"]["list"][0]["postgresql"]["properties"] =
                json!({"errors.max.retries": 0, "poll.interval.ms": 20, "snapshot.mode": "no_data"});
        });
        let mut agent = start(stage, "agent");
        let one = |metric: &str| format!("{metric}{{connector=\"{name}\"}}");
        let labelled = |metric: &str, label: &str, word: &str| {
            // The scrape sorts labels.
            format!("{metric}{{connector=\"{name}\",{label}=\"{word}\"}}")
        };
        until_ready(&agent, 503, "MISSING; create it by `whimbrel connectors apply`").await;
        until_scraped(
            &agent,
            &[
                ("cdc_connect_up".to_owned(), 1),
                (labelled("cdc_connector_state", "state", "missing"), 1),
                (labelled("cdc_connector_state", "state", "running"), 0),
                (one("cdc_connector_task_failures_total"), 0),
                (one("cdc_connector_restarts_left"), 1),
            ],
        )
        .await;

        stage.run(&["apply"]).await?.expect(OK)?;
        until_ready(&agent, 200, "[]").await;
        until_scraped(
            &agent,
            &[
                (labelled("cdc_connector_state", "state", "running"), 1),
                (labelled("cdc_connector_tasks", "state", "running"), 1),
                (labelled("cdc_connector_progress", "progress", "moving"), 1),
                (one("cdc_connector_drifted_properties"), 0),
            ],
        )
        .await;
        let (_, status) = agent.get("/api/v1/status").await.map_err(anyhow::Error::msg)?;
        let status: Value = serde_json::from_str(&status)?;
        let seen = &status["connectors"]["report"]["connectors"][0];
        anyhow::ensure!(seen["name"] == name.as_str() && seen["condition"] == "running", "{status}");
        anyhow::ensure!(status["connectors"]["readiness"]["ready"] == true, "{status}");
        anyhow::ensure!(status["connectors"]["looked_at_ms"].as_i64() > Some(0), "{status}");

        // The role may no longer log in: the one restart there is does not help.
        stage.admin.batch_execute(&format!("ALTER ROLE {} NOLOGIN", stage.name)).await?;
        stage.cut_connection().await?;
        until_ready(&agent, 503, "restart budget spent, 1 of 1").await;
        until_scraped(
            &agent,
            &[
                (labelled("cdc_connector_state", "state", "failed"), 1),
                (labelled("cdc_connector_tasks", "state", "failed"), 1),
                (one("cdc_connector_task_failures_total"), 2),
                (labelled("cdc_connector_restarts_total", "outcome", "requested"), 1),
                (labelled("cdc_connector_restarts_total", "outcome", "refused"), 0),
                (one("cdc_connector_restarts_left"), 0),
            ],
        )
        .await;

        // A person mends it.
        stage.admin.batch_execute(&format!("ALTER ROLE {} LOGIN", stage.name)).await?;
        stage.run(&["restart"]).await?.expect(OK)?;
        until_ready(&agent, 200, "[]").await;
        stage.assert_silent(&agent).await?;
        anyhow::ensure!(agent.stop() == Some(0), "{}", agent.tail());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_connect_is_away_says_so_and_claims_nothing_of_connectors() {
    Stage::with("gone", async |stage| {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        stage.write(|config| config["connectors"]["url"] = json!(format!("http://127.0.0.1:{closed}")));
        let mut agent = start(stage, "agent");
        until_ready(&agent, 503, "does not answer at").await;
        let state = |word: &str| format!("cdc_connector_state{{connector=\"{}\",state=\"{word}\"}}", stage.connector());
        until_scraped(&agent, &[("cdc_connect_up".to_owned(), 0), (state("unknown"), 1), (state("missing"), 0)]).await;
        stage.assert_silent(&agent).await?;
        anyhow::ensure!(agent.stop() == Some(0), "{}", agent.tail());
        Ok(())
    })
    .await;
}

impl Stage {
    /// The password is in nothing that the agent says.
    async fn assert_silent(&self, agent: &Agent) -> anyhow::Result<()> {
        let mut said = agent.log();
        for page in ["/readyz", "/metrics", "/api/v1/status"] {
            said.push_str(&agent.get(page).await.map_err(anyhow::Error::msg)?.1);
        }
        anyhow::ensure!(!said.contains(&self.password), "the password was shown:\n{said}");
        Ok(())
    }
}
