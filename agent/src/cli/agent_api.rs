//! A running agent, asked over its status API.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::dead_letters::escaped;
use crate::export::control::HEADER;

/// It answers from memory, or after one write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The option that names the agent.
const FLAG: &str = "--agent-url";

/// Which agent is asked.
#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// Where the agent listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    agent_url: Url,
}

impl AgentArgs {
    /// What it answers to a GET of `/api/v1/…`.
    ///
    /// # Errors
    /// When nobody answers, or not with what was asked for.
    pub(super) async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// What it answers to a POST.
    ///
    /// # Errors
    /// When nobody answers, or it refuses.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> anyhow::Result<Value> {
        let url = page(&self.agent_url, FLAG, path)?;
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let request = client.request(method, url).header(HEADER, "1");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let unreachable = || unreachable(&self.agent_url, FLAG);
        let answer = request.send().await.with_context(unreachable)?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("the agent refuses: {}", refusal(status, &body));
        }
        Ok(body)
    }
}

/// The address of a page of the API; names in the path may hold anything. `flag` is where the address came from.
///
/// # Errors
/// When the address is none that has pages.
pub(super) fn page(agent: &Url, flag: &str, path: &[&str]) -> anyhow::Result<Url> {
    let mut url = agent.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => segments.pop_if_empty().extend(["api", "v1"]).extend(path),
        Err(()) => bail!("{flag} is no http address"),
    };
    Ok(url)
}

/// What is said when nobody answers.
pub(super) fn unreachable(agent: &Url, flag: &str) -> String {
    format!("no agent answers at {agent}; name its address with {flag}")
}

/// Why the agent did not do it, from its answer.
pub(super) fn refusal(status: StatusCode, body: &Value) -> String {
    escaped(body.get("error").and_then(Value::as_str).unwrap_or(status.as_str()))
}

/// Has one request made and waits for its answer.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    crate::runtime::tls::install();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A time since 1970 in milliseconds, as people write it, UTC.
pub(super) fn moment(ms: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_else(|| format!("{ms} ms"))
}

/// A span of milliseconds, for people: the two largest units.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_for_people() {
        assert_eq!(moment(1_764_148_882_123), "2025-11-26 09:21:22");
        assert_eq!(moment(i64::MAX), format!("{} ms", i64::MAX));
        for (ms, expect) in
            [(-5, "0s"), (59_999, "59s"), (61_000, "1m01s"), (3_660_000, "1h01m"), (90_000_000, "1d01h")]
        {
            assert_eq!(span(ms), expect);
        }
    }
}
