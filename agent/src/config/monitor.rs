//! The `monitor:` section as it may be written.
//!
//! Only shape and defaults live here; [`crate::monitor::config`] judges the values. Unknown fields are refused.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::raw::Limits;
use super::secret::Secret;
use super::units::{ByteSize, Millis};

/// Watches pipelines and migrations: keeps what was measured, asks rules, tells people.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Monitor {
    /// File of the history, the incidents and what is still to be told. Default: in memory, gone with the agent.
    pub file: Option<PathBuf>,
    /// How long history is kept. Default 8d.
    pub keep: Option<Millis>,
    /// The largest the file may become; the oldest history goes first. Default 256MiB.
    pub max_size: Option<ByteSize>,
    /// How often is measured. Default 1s.
    pub sample: Option<Millis>,
    /// How often rules are asked; history has one point of each series for this time. Default 30s.
    pub evaluate: Option<Millis>,
    /// How far rules look back. Default 1h.
    pub look_back: Option<Millis>,
    /// Series of the history. Default 5000.
    pub max_series: Option<usize>,
    /// The rules. Default: `threshold-rules`, `lag-rules` and `statistical` as they are.
    pub rules: Option<Vec<MonitorRule>>,
    /// How people are told.
    pub channels: Vec<MonitorChannel>,
    /// Which of them is told of what. Default: every channel of everything from `warning` on.
    pub routes: Option<Vec<MonitorRoute>>,
    /// Which kinds of trouble explain which others of the same scope. Default: what stands still explains what is slow.
    pub inhibit: Option<Vec<MonitorInhibition>>,
    /// How much a channel is told before it gets a digest.
    pub cap: MonitorCap,
    /// How patient deliveries are.
    pub delivery: MonitorDelivery,
    /// The server that takes the mail of channels.
    pub mail: Option<MonitorMail>,
    /// PEM file of authorities that channels trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Where a person can look; alerts carry it.
    pub url: Option<String>,
    /// Somebody outside who raises an alarm when this agent falls silent.
    pub dead_man: Option<DeadMan>,
}

/// A rule plugin.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorRule {
    /// A bundled plugin or the path of a component file.
    pub plugin: String,
    /// Name in incidents, metrics and logs. Default: the plugin's own.
    #[serde(default)]
    pub name: Option<String>,
    /// Its configuration.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What it looks at: `pipeline/NAME`, `migration/ID`, with `*` for any text. Default: everything.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What it may use beside the log. Default for bundled rules: 4MiB of state and the clock.
    #[serde(default)]
    pub grants: Option<super::raw::Grants>,
    /// Limits of a call, which judges one scope.
    #[serde(default)]
    pub limits: Limits,
}

/// A channel plugin.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorChannel {
    /// Name in routes, metrics and logs.
    pub name: String,
    /// A bundled plugin (`slack`, `pagerduty`, `email`, `webhook`, `alertmanager`) or the path of a component file.
    pub plugin: String,
    /// Its configuration.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What it may use. Nothing, unless written here.
    #[serde(default)]
    pub grants: ChannelGrants,
    /// Limits of a call. Here a call may take 30s unless said otherwise.
    #[serde(default)]
    pub limits: Limits,
    /// The channel that is told when this one does not get through.
    #[serde(default)]
    pub fallback: Option<String>,
}

/// What a channel may use. An interface that it uses and that is not granted keeps it from loading.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelGrants {
    /// How much state the agent keeps for it between calls.
    pub state: Option<ByteSize>,
    /// Series of its own, `plugin_custom_*{plugin,name}`.
    pub metrics: bool,
    /// The wall clock.
    pub clock: bool,
    /// Where it may send requests: origins such as `https://hooks.slack.com`.
    pub http: Option<Vec<String>>,
    /// Whether those may be loopback, link-local and private addresses.
    pub private_addresses: bool,
    /// To whom it may send mail: addresses, or `@domain` for all of a domain.
    pub mail: Option<Vec<String>>,
    /// Secrets it may have put into requests, by the names it knows them by.
    pub secrets: IndexMap<String, Secret>,
}

/// Which incidents go to which channels. The first route that matches is taken.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorRoute {
    /// Severities: info, warning, critical. Default: all.
    pub severity: Vec<AlertSeverity>,
    /// Scopes, with `*` for any text. Default: all.
    pub scope: Vec<String>,
    /// Names of rules, with `*` for any text. Default: all.
    pub rule: Vec<String>,
    /// Kinds of trouble, with `*` for any text. Default: all.
    pub kind: Vec<String>,
    /// The channels that are told; none: nobody.
    pub channels: Vec<String>,
    /// What incidents of one notification have in common. Default `[scope]`.
    pub group_by: Option<Vec<AlertGroup>>,
    /// How long a first incident waits for others of its group. Default 10s.
    pub group_wait: Option<Millis>,
    /// The least time between two notifications of a group, unless it becomes worse. Default 1m.
    pub group_interval: Option<Millis>,
    /// After which time a group that still fires is told again. Default 4h.
    pub repeat: Option<Millis>,
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Somebody must act now.
    Critical,
}

/// A property by which incidents are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertGroup {
    /// Where.
    Scope,
    /// The rule that found it.
    Rule,
    /// The kind of trouble.
    Kind,
    /// How bad it is.
    Severity,
}

/// Kinds of trouble that explain others of the same scope.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorInhibition {
    /// The kinds that explain.
    pub by: Vec<String>,
    /// The kinds that are explained.
    pub of: Vec<String>,
}

/// How much a channel is told before it gets a digest.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorCap {
    /// Notifications within `window`. Default 20.
    pub notifications: Option<usize>,
    /// Alerts in one notification. Default 20.
    pub alerts: Option<usize>,
    /// The time in which they are counted, and the least between two digests. Default 10m.
    pub window: Option<Millis>,
    /// After which time a digest that has not changed is told again. Default 4h.
    pub repeat: Option<Millis>,
}

/// How patient deliveries are.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorDelivery {
    /// The first wait after a failure; each further is twice as long. Default 5s.
    pub initial: Option<Millis>,
    /// The longest wait. Default 5m.
    pub max: Option<Millis>,
    /// After this time the fallback is told too. Default 5m.
    pub fallback_after: Option<Millis>,
    /// After this time it is given up. Default 1d.
    pub give_up_after: Option<Millis>,
}

/// The server that takes mail.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorMail {
    /// Its host.
    pub host: String,
    /// Its port. Default: 587 with STARTTLS, 465 with TLS, 25 with neither.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is protected. Default `starttls`.
    #[serde(default)]
    pub tls: MailProtection,
    /// User, where the server wants a login.
    #[serde(default)]
    pub username: Option<String>,
    /// Password of the user.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The sender: an address, with a name before it or not.
    pub from: String,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailProtection {
    /// It begins plain and must become TLS before anything is said.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Nothing: for a relay on this machine. No login then.
    None,
}

/// Somebody outside who raises an alarm when pings stop.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadMan {
    /// Where a POST without a body is sent, as long as rules are asked on time. May hold a token, so it is never printed.
    pub url: Secret,
    /// How often. Default 1m.
    #[serde(default)]
    pub every: Option<Millis>,
}
