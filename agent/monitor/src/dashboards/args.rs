//! The command line of `whimbrel dashboards`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::ask::Access;

/// Arguments of `dashboards`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  whimbrel dashboards render > dashboard.json
  whimbrel dashboards render --rules > whimbrel-rules.yaml
  whimbrel dashboards render --provisioning /etc/grafana/provisioning
  whimbrel dashboards diff --grafana-url http://127.0.0.1:3000
  WHIMBREL_GRAFANA_TOKEN=… whimbrel dashboards apply --grafana-url http://127.0.0.1:3000

Exit status: 0 ok, 1 runtime error, 2 usage, 3 `diff` found differences.")]
pub struct DashboardsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: DashboardsCommand,
}

/// What to do with the dashboard.
#[derive(Debug, Clone, Subcommand)]
pub enum DashboardsCommand {
    /// Print the dashboard as JSON, or alert rules, or write files for Grafana's provisioning
    Render {
        /// Print alert rules for Prometheus instead
        #[arg(long, conflicts_with = "provisioning")]
        rules: bool,
        /// Write files into this provisioning directory of Grafana instead
        #[arg(long, value_name = "DIR")]
        provisioning: Option<PathBuf>,
        /// Where Grafana sees that directory, when it runs in a container
        #[arg(long, value_name = "DIR", requires = "provisioning")]
        seen_as: Option<PathBuf>,
    },
    /// Make Grafana's dashboard as it should be; changes nothing when it is
    Apply(Where),
    /// Show what of Grafana's dashboard is not as it should be
    Diff(Where),
}

/// Which Grafana.
#[derive(Debug, Clone, Args)]
pub struct Where {
    /// Address of Grafana, such as http://127.0.0.1:3000; the token of a service account comes from WHIMBREL_GRAFANA_TOKEN
    #[arg(long, value_name = "URL")]
    pub grafana_url: String,
    /// Title of the folder, where it must be made
    #[arg(long, value_name = "TITLE", default_value = "Whimbrel")]
    pub folder: String,
    /// Stable id of the folder
    #[arg(long, value_name = "UID", default_value = super::api::default_folder(), value_parser = uid)]
    pub folder_uid: String,
    /// PEM file of trusted authorities for https, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl Where {
    pub(super) fn access(&self, token: Option<String>) -> Access {
        Access { token, ca_file: self.ca_file.clone(), timeout: Some(Duration::from_secs(30)) }
    }
}

/// A uid as Grafana takes it: 40 letters, digits, `-` and `_` at most.
fn uid(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    match !text.is_empty() && text.len() <= 40 && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("1 to 40 letters, digits, - and _".to_owned()),
    }
}
