//! What `promote` and `record` have in common: which plugin of which running agent is meant, and how it is asked.

use std::time::Duration;

use clap::Args;
use reqwest::{Client, Url};

use crate::cli::agent_api;

/// The agent answers after the end of a batch, and between two reloads, which compile.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The option that names the agent.
const FLAG: &str = "--url";

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

    /// The address with this path.
    fn at(&self, path: &[&str]) -> anyhow::Result<Url> {
        agent_api::page(&self.url, FLAG, path)
    }

    /// What is said when nobody answers.
    pub(super) fn unreachable(&self) -> String {
        agent_api::unreachable(&self.url, FLAG)
    }
}

pub(super) fn client() -> reqwest::Result<Client> {
    Client::builder().timeout(TIMEOUT).no_proxy().build()
}
