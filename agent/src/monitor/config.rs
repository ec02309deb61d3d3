//! The `monitor:` section, checked. Loads no plugin and connects nowhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use whimbrel_monitor::delivery::Policy;
use whimbrel_monitor::history::Limits as HistoryLimits;
use whimbrel_monitor::incident::{Cap, GroupBy, Inhibition, Matcher, Pattern, Route, Severity};
use whimbrel_monitor::store::Keep;

use crate::config::invalid::Invalid;
use crate::config::monitor as raw;
use crate::config::plugins::{self, NAME_HINT, check_code, check_limits, check_name};
use crate::config::raw::Grants as RawGrants;
use crate::config::secret::Secret;
use crate::config::units::{ByteSize, Millis};
use crate::egress::{MailSettings, MailTls};
use crate::plugin::rights::{HttpRights, MailRights, Origin};
use crate::plugin::{Grants, Limits, bundled};

/// A call of a channel may wait for a server.
const CHANNEL_CALL: Duration = Duration::from_secs(30);
/// What bundled rules remember of the series they watch.
const RULE_STATE: u64 = 4 << 20;
/// The rules that are asked where none are named.
const DEFAULT_RULES: [&str; 3] = ["lag-rules", "statistical", "threshold-rules"];
/// Kinds of trouble that explain others, where the configuration does not say.
const DEFAULT_INHIBITIONS: [(&[&str], &[&str]); 2] = [
    (&["stop", "stall"], &["low_throughput", "lag", "lag_growing", "anomaly", "flat_line", "slow_drift"]),
    (&["lag", "lag_growing", "low_throughput", "high_error_rate"], &["anomaly", "slow_drift"]),
];

/// What is watched, how, and who is told.
#[derive(Clone)]
pub struct MonitorConfig {
    /// The file; none: in memory.
    pub file: Option<PathBuf>,
    /// How much history is kept.
    pub keep: Keep,
    /// How often is measured.
    pub sample: Duration,
    /// How much is kept in memory, and the step of rules.
    pub history: HistoryLimits,
    /// The rules, by name.
    pub rules: Vec<RuleConfig>,
    /// The channels, by name.
    pub channels: Vec<ChannelConfig>,
    /// Who is told of what.
    pub routes: Vec<Route>,
    /// What explains what.
    pub inhibitions: Vec<Inhibition>,
    /// How much a channel is told before it gets a digest.
    pub cap: Cap,
    /// How patient deliveries are.
    pub delivery: Policy,
    /// The mail server.
    pub mail: Option<MailSettings>,
    /// Authorities that channels trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Where a person can look.
    pub url: Option<String>,
    /// Who is pinged, and how often.
    pub dead_man: Option<(Secret, Duration)>,
}

/// A rule plugin in its place.
#[derive(Clone)]
pub struct RuleConfig {
    /// Bundled, or the path of a file.
    pub plugin: String,
    /// Its name; none: the plugin's own.
    pub name: Option<String>,
    /// Its configuration, JSON.
    pub config: String,
    /// What it looks at; empty: everything.
    pub scopes: Vec<Pattern>,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
}

/// A channel plugin in its place.
#[derive(Clone)]
pub struct ChannelConfig {
    /// Its name.
    pub name: String,
    /// Bundled, or the path of a file.
    pub plugin: String,
    /// Its configuration, JSON.
    pub config: String,
    /// What it may do.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// Who is told when it does not get through.
    pub fallback: Option<String>,
}

crate::config::opaque::opaque_debug!(MonitorConfig, RuleConfig, ChannelConfig);

impl MonitorConfig {
    /// Checks the section.
    ///
    /// # Errors
    /// Everything that cannot be used. Secrets are never repeated.
    pub fn new(raw: &raw::Monitor) -> Result<Self, Vec<Invalid>> {
        let mut wrong = Vec::new();
        let mut keep = |result: Result<(), Invalid>| wrong.extend(result.err());
        keep(check_file(raw));
        keep(check_times(raw));
        let rules = raw.rules.clone().unwrap_or_else(|| DEFAULT_RULES.map(default_rule).to_vec());
        let rules = each(&rules, "rules", &mut wrong, rule);
        let channels = each(&raw.channels, "channels", &mut wrong, channel);
        let names: Vec<&str> = raw.channels.iter().map(|channel| channel.name.as_str()).collect();
        wrong.extend(check_names(&names));
        for (index, channel) in raw.channels.iter().enumerate() {
            if let Some(fallback) = &channel.fallback {
                let place = format!("channels[{index}].fallback");
                wrong.extend(check_channel(fallback, &names, &place).err());
                if *fallback == channel.name {
                    wrong.push(Invalid::new(place, "it cannot stand in for itself", "name another channel"));
                }
            }
        }
        let routes = match &raw.routes {
            Some(routes) => {
                for (index, route) in routes.iter().enumerate() {
                    for channel in &route.channels {
                        wrong.extend(check_channel(channel, &names, &format!("routes[{index}].channels")).err());
                    }
                }
                routes.iter().map(route).collect()
            }
            None => vec![route(&raw::MonitorRoute {
                severity: vec![raw::AlertSeverity::Warning, raw::AlertSeverity::Critical],
                channels: names.iter().map(|name| (*name).to_owned()).collect(),
                ..raw::MonitorRoute::default()
            })],
        };
        let mail = raw.mail.as_ref().map(mail).transpose().map_err(|invalid| wrong.push(invalid.within("mail")));
        let dead_man = raw.dead_man.as_ref().map(dead_man).transpose();
        let dead_man = dead_man.map_err(|invalid| wrong.push(invalid.within("dead_man")));
        if raw.url.as_ref().is_some_and(|url| !is_http(url)) {
            wrong.push(Invalid::new("url", "not a URL of a page", "write `https://…`, or leave it out"));
        }
        let (Some(rules), Some(channels), Ok(mail), Ok(dead_man), true) =
            (rules, channels, mail, dead_man, wrong.is_empty())
        else {
            return Err(wrong);
        };
        let defaults = HistoryLimits::default();
        let policy = Policy::default();
        Ok(Self {
            file: raw.file.clone(),
            keep: Keep { age: or(raw.keep, days(8)), bytes: raw.max_size.map_or(256 << 20, |size| size.0) },
            sample: or(raw.sample, Duration::from_secs(1)),
            history: HistoryLimits {
                step: or(raw.evaluate, defaults.step),
                look_back: or(raw.look_back, defaults.look_back),
                series: raw.max_series.unwrap_or(defaults.series),
                ..defaults
            },
            rules,
            channels,
            routes,
            inhibitions: raw
                .inhibit
                .as_ref()
                .map_or_else(default_inhibitions, |all| all.iter().map(inhibition).collect()),
            cap: Cap {
                notifications: raw.cap.notifications.unwrap_or(20),
                alerts: raw.cap.alerts.unwrap_or(20),
                window: or(raw.cap.window, Duration::from_secs(600)),
                repeat: or(raw.cap.repeat, hours(4)),
            },
            delivery: Policy {
                initial: or(raw.delivery.initial, policy.initial),
                max: or(raw.delivery.max, policy.max),
                fallback_after: or(raw.delivery.fallback_after, policy.fallback_after),
                give_up_after: or(raw.delivery.give_up_after, policy.give_up_after),
            },
            mail,
            ca_file: raw.ca_file.clone(),
            url: raw.url.clone(),
            dead_man,
        })
    }
}

fn or(written: Option<Millis>, default: Duration) -> Duration {
    written.map_or(default, |time| time.0)
}

const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

const fn days(count: u64) -> Duration {
    hours(count * 24)
}

/// Each entry of a list, checked; none: one of them is wrong.
fn each<R, T>(
    all: &[R],
    list: &str,
    wrong: &mut Vec<Invalid>,
    check: impl Fn(&R) -> Result<T, Invalid>,
) -> Option<Vec<T>> {
    let mut good = Vec::with_capacity(all.len());
    for (index, one) in all.iter().enumerate() {
        match check(one) {
            Ok(one) => good.push(one),
            Err(invalid) => wrong.push(invalid.within(&format!("{list}[{index}]"))),
        }
    }
    (good.len() == all.len()).then_some(good)
}

fn check_file(raw: &raw::Monitor) -> Result<(), Invalid> {
    let is_path = |path: &PathBuf| !path.as_os_str().is_empty() && !path.is_dir();
    if raw.file.as_ref().is_some_and(|file| !is_path(file)) {
        return Err(Invalid::new("file", "not the path of a file", "write a path, or leave it out"));
    }
    if raw.max_size.is_some_and(|size| size.0 < 1 << 20) {
        return Err(Invalid::new("max_size", "less than 1MiB", "write a size such as `256MiB`"));
    }
    if raw.max_series == Some(0) {
        return Err(Invalid::new("max_series", "no series at all", "write a number such as 5000"));
    }
    let zero = |cap: Option<usize>| cap == Some(0);
    if zero(raw.cap.notifications) || zero(raw.cap.alerts) {
        return Err(Invalid::new("cap", "nothing would ever be told", "write 1 or more"));
    }
    Ok(())
}

fn check_times(raw: &raw::Monitor) -> Result<(), Invalid> {
    let between = |field: &str, written: Option<Millis>, least: Duration, most: Duration, hint: &str| match written {
        Some(time) if !(least..=most).contains(&time.0) => {
            Err(Invalid::new(field, format!("outside {} ms to {} s", least.as_millis(), most.as_secs()), hint))
        }
        _ => Ok(()),
    };
    between("sample", raw.sample, Duration::from_millis(100), Duration::from_secs(60), "write a time such as `1s`")?;
    between("evaluate", raw.evaluate, Duration::from_secs(1), hours(1), "write a time such as `30s`")?;
    between("look_back", raw.look_back, Duration::from_secs(10), days(7), "write a time such as `1h`")?;
    between("keep", raw.keep, hours(1), days(400), "write a time such as `8d`")?;
    let (sample, evaluate) = (or(raw.sample, Duration::from_secs(1)), or(raw.evaluate, Duration::from_secs(30)));
    if evaluate < sample {
        return Err(Invalid::new("evaluate", "less than `sample`", "ask rules less often than is measured"));
    }
    for (field, written) in
        [("delivery.initial", raw.delivery.initial), ("delivery.max", raw.delivery.max), ("cap.window", raw.cap.window)]
    {
        between(field, written, Duration::from_millis(1), days(7), "write a time such as `5s`")?;
    }
    Ok(())
}

fn default_rule(plugin: &str) -> raw::MonitorRule {
    raw::MonitorRule {
        plugin: plugin.to_owned(),
        name: None,
        config: serde_json::Map::new(),
        scopes: Vec::new(),
        grants: None,
        limits: crate::config::raw::Limits::default(),
    }
}

fn default_inhibitions() -> Vec<Inhibition> {
    let owned = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    DEFAULT_INHIBITIONS.iter().map(|(by, of)| Inhibition { by: owned(by), of: owned(of) }).collect()
}

fn inhibition(raw: &raw::MonitorInhibition) -> Inhibition {
    Inhibition { by: raw.by.clone(), of: raw.of.clone() }
}

fn patterns(raw: &[String]) -> Vec<Pattern> {
    raw.iter().map(Pattern::new).collect()
}

fn rule(raw: &raw::MonitorRule) -> Result<RuleConfig, Invalid> {
    check_code(&raw.plugin)?;
    if let Some(name) = &raw.name {
        check_name(name).map_err(|why| Invalid::new("name", why, NAME_HINT))?;
    }
    check_limits(&raw.limits)?;
    let bundled = bundled::find(&raw.plugin).is_some();
    let default = || RawGrants { state: bundled.then_some(ByteSize(RULE_STATE)), metrics: false, clock: bundled };
    Ok(RuleConfig {
        plugin: raw.plugin.clone(),
        name: raw.name.clone(),
        config: serde_json::Value::Object(raw.config.clone()).to_string(),
        scopes: patterns(&raw.scopes),
        grants: plugins::grants(&raw.grants.clone().unwrap_or_else(default))?,
        limits: plugins::limits(&raw.limits),
    })
}

fn channel(raw: &raw::MonitorChannel) -> Result<ChannelConfig, Invalid> {
    check_name(&raw.name).map_err(|why| Invalid::new("name", why, NAME_HINT))?;
    check_code(&raw.plugin)?;
    check_limits(&raw.limits)?;
    let call = raw.limits.call.map_or(CHANNEL_CALL, |call| call.0);
    Ok(ChannelConfig {
        name: raw.name.clone(),
        plugin: raw.plugin.clone(),
        config: serde_json::Value::Object(raw.config.clone()).to_string(),
        grants: channel_grants(&raw.grants).map_err(|invalid| invalid.within("grants"))?,
        limits: Limits { call, ..plugins::limits(&raw.limits) },
        fallback: raw.fallback.clone(),
    })
}

fn channel_grants(raw: &raw::ChannelGrants) -> Result<Grants, Invalid> {
    let mut origins = Vec::new();
    for (index, origin) in raw.http.iter().flatten().enumerate() {
        origins.push(Origin::parse(origin).ok_or_else(|| {
            Invalid::new(
                format!("http[{index}]"),
                "not an origin",
                "write scheme and host, such as `https://hooks.slack.com`, and nothing behind",
            )
        })?);
    }
    for (index, recipient) in raw.mail.iter().flatten().enumerate() {
        let domain = recipient.rsplit_once('@').map(|(_, domain)| domain);
        if domain.is_none_or(|domain| domain.is_empty() || recipient.contains(char::is_whitespace)) {
            let hint = "write `ops@example.org`, or `@example.org` for all of a domain";
            return Err(Invalid::new(format!("mail[{index}]"), "not an address", hint));
        }
    }
    let basic = RawGrants { state: raw.state, metrics: raw.metrics, clock: raw.clock };
    Ok(Grants {
        http: raw.http.as_ref().map(|_| HttpRights { origins, private_addresses: raw.private_addresses }),
        mail: raw.mail.clone().map(|recipients| MailRights { recipients }),
        secrets: raw.secrets.iter().map(|(name, secret)| (name.clone(), secret.clone())).collect::<BTreeMap<_, _>>(),
        ..plugins::grants(&basic)?
    })
}

fn check_names(names: &[&str]) -> Option<Invalid> {
    let twice = names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|other| other == *name));
    twice.map(|(index, _)| {
        Invalid::new(format!("channels[{index}].name"), "another channel has the same name", "give each its own")
    })
}

fn check_channel(name: &str, known: &[&str], place: &str) -> Result<(), Invalid> {
    if known.contains(&name) {
        return Ok(());
    }
    let hint = match known {
        [] => "add it to `channels`".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    };
    Err(Invalid::new(place, format!("no channel is called `{name}`"), hint))
}

fn route(raw: &raw::MonitorRoute) -> Route {
    let severity = |one: &raw::AlertSeverity| match one {
        raw::AlertSeverity::Info => Severity::Info,
        raw::AlertSeverity::Warning => Severity::Warning,
        raw::AlertSeverity::Critical => Severity::Critical,
    };
    let group = |one: &raw::AlertGroup| match one {
        raw::AlertGroup::Scope => GroupBy::Scope,
        raw::AlertGroup::Rule => GroupBy::Rule,
        raw::AlertGroup::Kind => GroupBy::Kind,
        raw::AlertGroup::Severity => GroupBy::Severity,
    };
    Route {
        matcher: Matcher {
            scope: patterns(&raw.scope),
            rule: patterns(&raw.rule),
            kind: patterns(&raw.kind),
            severity: raw.severity.iter().map(severity).collect(),
        },
        channels: raw.channels.clone(),
        group_by: raw.group_by.as_ref().map_or_else(|| vec![GroupBy::Scope], |by| by.iter().map(group).collect()),
        group_wait: or(raw.group_wait, Duration::from_secs(10)),
        group_interval: or(raw.group_interval, Duration::from_secs(60)),
        repeat: or(raw.repeat, hours(4)),
    }
}

fn mail(raw: &raw::MonitorMail) -> Result<MailSettings, Invalid> {
    let tls = match raw.tls {
        raw::MailProtection::Starttls => MailTls::StartTls,
        raw::MailProtection::Tls => MailTls::Tls,
        raw::MailProtection::None => MailTls::None,
    };
    let login = match (&raw.username, &raw.password) {
        (Some(user), Some(password)) => Some((user.clone(), password.clone())),
        (None, None) => None,
        _ => return Err(Invalid::new("username", "a login needs both", "write `username` and `password`, or neither")),
    };
    if tls == MailTls::None && login.is_some() {
        return Err(Invalid::new("tls", "a password over a connection without TLS", "write `starttls` or `tls`"));
    }
    if raw.host.is_empty() {
        return Err(Invalid::new("host", "no host", "write the name of the mail server"));
    }
    let port = raw.port.unwrap_or(match tls {
        MailTls::StartTls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    });
    Ok(MailSettings { host: raw.host.clone(), port, tls, login, from: raw.from.clone() })
}

fn is_http(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn dead_man(raw: &raw::DeadMan) -> Result<(Secret, Duration), Invalid> {
    if !is_http(raw.url.expose()) {
        return Err(Invalid::new("url", "not a URL", "write `https://…`"));
    }
    let every = or(raw.every, Duration::from_secs(60));
    if every < Duration::from_secs(1) {
        return Err(Invalid::new("every", "less than a second", "write a time such as `1m`"));
    }
    Ok((raw.url.clone(), every))
}
