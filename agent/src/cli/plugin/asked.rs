//! What `promote` and `record` have in common: which plugin of which running agent is meant, and how it is asked.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use crate::cli::dead_letters::escaped;

/// The agent answers after the end of a batch, and between two reloads, which compile.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A plugin in a running agent.
#[derive(Debug, Args)]
pub(super) struct AskedArgs {
    /// Where the agent listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    url: Url,
    /// Pipeline
    #[arg(long, value_name = "NAME")]
    pub(super) pipeline: String,
    /// Plugin, by its name in the pipeline
    #[arg(long, value_name = "NAME")]
    pub(super) plugin: String,
}

impl AskedArgs {
    /// The address of the page with all plugins.
    pub(super) fn plugins(&self) -> anyhow::Result<Url> {
        self.at(&["plugins"])
    }

    /// The address of a page of this plugin.
    pub(super) fn page(&self, name: &str) -> anyhow::Result<Url> {
        self.at(&["pipelines", &self.pipeline, "plugins", &self.plugin, name])
    }

    /// The address with this path; names may hold anything.
    fn at(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(["api", "v1"]).extend(path),
            Err(()) => bail!("--url is no http address"),
        };
        Ok(url)
    }

    /// What is said when nobody answers.
    pub(super) fn unreachable(&self) -> String {
        format!("no agent answers at {}; name its address with --url", self.url)
    }
}

pub(super) fn client() -> reqwest::Result<Client> {
    Client::builder().timeout(TIMEOUT).no_proxy().build()
}

/// Why the agent did not do it, from its answer.
pub(super) fn refusal(status: StatusCode, body: &Value) -> String {
    escaped(body.get("error").and_then(Value::as_str).unwrap_or(status.as_str()))
}
