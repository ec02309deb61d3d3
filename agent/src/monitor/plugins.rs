//! Rule and channel plugins in their places: loaded, judged and bounded like every plugin.

use std::sync::Arc;

use whimbrel_monitor::history::Series as Measured;
use whimbrel_monitor::incident::{self, Pattern};

use super::config::{ChannelConfig, RuleConfig};
use crate::config::written::Written;
use crate::plugin::code::{NoCode, code};
use crate::plugin::services::MetricSink;
use crate::plugin::{
    Alert, CallError, Channel, Failure, Finding, Grants, Instance, Kind, Label, Limits, LoadError, Manifest, Plugin,
    Point, Rule, Sandbox, Series, Services, Setup, Severity, Status, Value, Window, World, digest,
};
use crate::stats::{Instruments, PluginMeter};

/// A plugin cannot stand in its place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file cannot be read.
    #[error("cannot read plugin {plugin}; name a bundled plugin or the path of a component")]
    Read {
        /// What the configuration calls it.
        plugin: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The lock file or the keys of those who may sign forbid it.
    #[error("plugin {plugin} is not trusted here")]
    Untrusted {
        /// What the configuration calls it.
        plugin: String,
        /// Why.
        #[source]
        source: crate::plugin::trust::Untrusted,
    },
    /// It is no plugin that can stand here.
    #[error("cannot use plugin {plugin}")]
    Load {
        /// What the configuration calls it.
        plugin: String,
        /// Why.
        #[source]
        source: LoadError,
    },
}

/// How a plugin is to stand in its place.
struct Place<'a> {
    plugin: &'a str,
    name: Option<&'a str>,
    config: &'a str,
    grants: &'a Grants,
    limits: Limits,
}

fn start<W: World>(
    place: &Place<'_>,
    sandbox: &Sandbox,
    instruments: &Instruments,
) -> Result<(String, Instance<W>), PlaceError> {
    let plugin = || place.plugin.to_owned();
    let bytes = code(place.plugin, &sandbox.trust).map_err(|none| match none {
        NoCode::Read(source) => PlaceError::Read { plugin: plugin(), source },
        NoCode::Untrusted(source) => PlaceError::Untrusted { plugin: plugin(), source },
    })?;
    let failed = |source| PlaceError::Load { plugin: plugin(), source };
    let manifest = Manifest::of(&bytes, W::KIND).map_err(|refusal| failed(refusal.into()))?;
    let name = place.name.map_or_else(|| manifest.name.clone(), str::to_owned);
    let meter = PluginMeter::new(&name, &manifest.version, &digest(&bytes), instruments);
    let metrics: Arc<dyn MetricSink> = meter;
    let setup = Setup {
        owner: format!("monitor/{}/{name}", kind_word(W::KIND)),
        name: name.clone(),
        config: place.config.to_owned(),
        written: Written::default(),
        limits: place.limits,
        grants: place.grants.clone(),
        services: Services { metrics: Some(metrics), ..sandbox.services.clone() },
    };
    let plugin = Plugin::<W>::load(&sandbox.engine, &sandbox.cache, &bytes, setup).map_err(failed)?;
    let instance = Arc::new(plugin).start().map_err(failed)?;
    Ok((name, instance))
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Channel => "channel",
        _ => "rule",
    }
}

/// A rule at work. Calls block.
pub(super) struct RulePlace {
    pub(super) name: String,
    scopes: Vec<Pattern>,
    instance: Instance<Rule>,
}

impl RulePlace {
    pub(super) fn start(config: &RuleConfig, sandbox: &Sandbox, instruments: &Instruments) -> Result<Self, PlaceError> {
        let place = Place {
            plugin: &config.plugin,
            name: config.name.as_deref(),
            config: &config.config,
            grants: &config.grants,
            limits: config.limits,
        };
        let (name, instance) = start::<Rule>(&place, sandbox, instruments)?;
        Ok(Self { name, scopes: config.scopes.clone(), instance })
    }

    /// Whether it looks at this scope.
    pub(super) fn looks_at(&self, scope: &str) -> bool {
        self.scopes.is_empty() || self.scopes.iter().any(|pattern| pattern.matches(scope))
    }

    /// What it finds in this window.
    pub(super) fn evaluate(&mut self, window: &Window) -> Result<Vec<incident::Finding>, CallError> {
        Ok(self.instance.evaluate(window)?.into_iter().map(finding).collect())
    }
}

/// The window of a scope as rules are handed it.
pub(super) fn window(scope: &str, start_ms: i64, end_ms: i64, measured: &[Measured]) -> Window {
    let point = |point: &whimbrel_monitor::history::Point| Point { at_ms: point.at_ms, value: point.value };
    let label = |(name, value): &(Arc<str>, Arc<str>)| Label { name: name.to_string(), value: value.to_string() };
    let series = |one: &Measured| Series {
        name: one.key.name.to_string(),
        labels: one.key.labels.iter().map(label).collect(),
        points: one.points.iter().map(point).collect(),
    };
    Window { scope: scope.to_owned(), start_ms, end_ms, series: measured.iter().map(series).collect() }
}

/// Longest text of a finding that is kept; plugins are not trusted to be brief.
const MAX_TEXT: usize = 2_000;

fn text(text: String) -> String {
    let cut = text.char_indices().nth(MAX_TEXT).map(|(index, _)| index);
    let text = cut.map_or(text.as_str(), |cut| text.get(..cut).unwrap_or_default());
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn finding(found: Finding) -> incident::Finding {
    incident::Finding {
        key: text(found.key),
        kind: text(found.kind),
        severity: match found.severity {
            Severity::Info => incident::Severity::Info,
            Severity::Warning => incident::Severity::Warning,
            Severity::Critical => incident::Severity::Critical,
        },
        title: text(found.title).replace('\n', " "),
        detail: text(found.detail),
        action: text(found.action),
        since_ms: found.since_ms,
        score: found.score.filter(|score| score.is_finite()),
        attributes: found.attributes.into_iter().map(|(name, one)| (text(name), value(one))).collect(),
    }
}

fn value(value: Value) -> serde_json::Value {
    match value {
        Value::Null | Value::Bytes(_) => serde_json::Value::Null,
        Value::Boolean(yes) => yes.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Text(words) | Value::Tagged((_, words)) => text(words).into(),
    }
}

/// A channel at work. Calls block.
pub(super) struct ChannelPlace {
    instance: Instance<Channel>,
}

/// A channel did not take what it was to deliver.
#[derive(Debug)]
pub(super) struct NotTaken {
    /// Why, for people; without secrets.
    pub(super) why: String,
    /// Whether the same may succeed later.
    pub(super) retryable: bool,
}

impl ChannelPlace {
    pub(super) fn start(
        config: &ChannelConfig,
        sandbox: &Sandbox,
        instruments: &Instruments,
    ) -> Result<Self, PlaceError> {
        let place = Place {
            plugin: &config.plugin,
            name: Some(&config.name),
            config: &config.config,
            grants: &config.grants,
            limits: config.limits,
        };
        Ok(Self { instance: start::<Channel>(&place, sandbox, instruments)?.1 })
    }

    pub(super) fn deliver(&mut self, alerts: &[incident::Alert]) -> Result<(), NotTaken> {
        let alerts: Vec<Alert> = alerts.iter().map(alert).collect();
        self.instance.deliver(&alerts).map_err(|error| match error {
            CallError::Refused(Failure { code, message, retryable }) => {
                NotTaken { why: text(format!("{code}: {message}")), retryable }
            }
            // A crash or a time-out may be the server's doing as much as the plugin's.
            CallError::Trapped(trap) => NotTaken { why: format!("the plugin trapped: {trap}"), retryable: true },
            CallError::Quarantined => NotTaken { why: error.to_string(), retryable: true },
        })
    }
}

fn alert(alert: &incident::Alert) -> Alert {
    Alert {
        id: alert.id.clone(),
        status: match alert.status {
            incident::Status::Firing => Status::Firing,
            incident::Status::Resolved => Status::Resolved,
        },
        severity: match alert.severity {
            incident::Severity::Info => Severity::Info,
            incident::Severity::Warning => Severity::Warning,
            incident::Severity::Critical => Severity::Critical,
        },
        rule: alert.rule.clone(),
        kind: alert.kind.clone(),
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        action: alert.action.clone(),
        scope: alert.scope.clone(),
        since_ms: alert.since_ms,
        until_ms: alert.until_ms,
        count: alert.count,
        url: alert.url.clone(),
        attributes: alert.attributes.iter().map(|(name, value)| (name.clone(), given(value))).collect(),
    }
}

fn given(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => Value::Boolean(*yes),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(words) => Value::Text(words.clone()),
        other => Value::Tagged(("json".to_owned(), other.to_string())),
    }
}
