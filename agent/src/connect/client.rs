//! Kafka Connect's REST API: one method per call that is needed.
//!
//! Owns HTTP, TLS, the retry of 409 (a rebalance is going on) and the scrubbing of whatever text Connect sends back.
//! Decides nothing about connectors. Redirects are not followed; credentials are never part of an address.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Certificate, Method, StatusCode, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use url::{Host, Url};

use super::{desired::ConnectorConfig, error::Error, health::Status, redact::Redactor, settings::Endpoint};
use crate::config::secret::Secret;

/// How calls that meet a rebalance are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Pause after the first one; doubled each time.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Retry {
    /// About half a minute in all: a rebalance of a healthy group takes seconds.
    fn default() -> Self {
        Self { attempts: 10, first: Duration::from_millis(250), longest: Duration::from_secs(5) }
    }
}

/// A client of one Kafka Connect cluster.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    auth: Option<(String, Secret)>,
    timeout: Duration,
    retry: Retry,
    redactor: Redactor,
}

/// A connector as Connect has it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its configuration.
    pub config: ConnectorConfig,
    /// Its state; `None` right after it was created.
    pub status: Option<Status>,
}

/// An installed connector plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Plugin {
    /// Class name.
    pub class: String,
    /// Version, where the plugin says one.
    #[serde(default)]
    pub version: Option<String>,
}

/// Committed source offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOffsets {
    /// They exist, and none is of a snapshot under way.
    pub streaming: bool,
    /// A text that is equal exactly if the offsets are.
    pub canonical: String,
}

#[derive(Deserialize)]
struct Expanded {
    info: Info,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Info {
    config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Validation {
    configs: Vec<ValidatedField>,
}

#[derive(Deserialize)]
struct ValidatedField {
    /// Missing for properties that a connector hides, such as one of Debezium's MySQL connector.
    value: Option<FieldValue>,
}

#[derive(Deserialize)]
struct FieldValue {
    name: String,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: Option<String>,
}

impl Client {
    /// A client for that endpoint. `redactor` knows the secrets that Connect might repeat in its messages.
    ///
    /// # Errors
    /// [`Error::CaFile`] and [`Error::Setup`].
    pub fn new(endpoint: &Endpoint, redactor: Redactor) -> Result<Self, Error> {
        // reqwest is built without a TLS provider of its own. If another part of the process was first, its choice stands.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(endpoint.timeout)
            .user_agent(concat!("whimbrel/", env!("CARGO_PKG_VERSION")));
        builder = match (&endpoint.ca_file, endpoint.url.scheme()) {
            (Some(path), _) => {
                let fail = |source: Box<dyn std::error::Error + Send + Sync>| Error::CaFile {
                    path: path.display().to_string(),
                    source,
                };
                let pem = std::fs::read(path).map_err(|error| fail(error.into()))?;
                let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.into()))?;
                if authorities.is_empty() {
                    return Err(fail("no certificate in the file".into()));
                }
                builder.tls_certs_only(authorities)
            }
            (None, "https") => builder,
            // Plain HTTP needs no authorities, and a system without any must not stop it.
            (None, _) => builder.tls_certs_only(std::iter::empty()),
        };
        if is_loopback(&endpoint.url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(Error::Setup)?,
            base: endpoint.url.clone(),
            auth: endpoint.basic_auth.clone(),
            timeout: endpoint.timeout,
            retry: Retry::default(),
            redactor,
        })
    }

    /// The same client with another patience for rebalances.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Base address of the REST API.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// All connectors with configuration and state.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering.
    pub async fn connectors(&self) -> Result<BTreeMap<String, Live>, Error> {
        let call = Call::get(&["connectors"]).query("expand=info&expand=status");
        let expanded: BTreeMap<String, Expanded> = self.json(&call).await?;
        Ok(expanded
            .into_iter()
            .map(|(name, Expanded { info, status })| {
                // A connector we did not configure has secrets of its own.
                let mut redactor = self.redactor.clone();
                redactor.learn(&info.config);
                (
                    name,
                    Live {
                        config: ConnectorConfig::new(info.config),
                        status: status.map(|status| scrubbed(status, &redactor)),
                    },
                )
            })
            .collect())
    }

    /// State of one connector; `None` while Connect does not know any.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering.
    pub async fn status(&self, name: &str) -> Result<Option<Status>, Error> {
        let status: Option<Status> = self.found(&Call::get(&["connectors", name, "status"])).await?;
        Ok(status.map(|status| scrubbed(status, &self.redactor)))
    }

    /// Installed connector plugins.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering.
    pub async fn plugins(&self) -> Result<Vec<Plugin>, Error> {
        self.json(&Call::get(&["connector-plugins"])).await
    }

    /// Lets the connector's own code judge a configuration: properties with Connect's messages about them.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering.
    pub async fn validate(&self, name: &str, config: &ConnectorConfig) -> Result<Vec<(String, Vec<String>)>, Error> {
        let class = config.get("connector.class").unwrap_or_default();
        let mut body = config.expose().clone();
        body.insert("name".to_owned(), name.to_owned());
        let call = Call::put(&["connector-plugins", class, "config", "validate"], &body);
        let validation: Validation = self.json(&call).await?;
        Ok(validation
            .configs
            .into_iter()
            .filter_map(|field| field.value)
            .filter(|value| !value.errors.is_empty())
            .map(|value| (value.name, value.errors.iter().map(|error| self.redactor.scrub(error)).collect()))
            .collect())
    }

    /// Creates the connector or replaces its configuration.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering, or its refusal.
    pub async fn put_config(&self, name: &str, config: &ConnectorConfig) -> Result<(), Error> {
        self.send(&Call::put(&["connectors", name, "config"], config.expose())).await.map(drop)
    }

    /// Restarts the failed ones among a connector and its tasks. Those that run are not touched.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering, or its refusal.
    pub async fn restart_failed(&self, name: &str) -> Result<(), Error> {
        let call = Call::new(Method::POST, &["connectors", name, "restart"]).query("includeTasks=true&onlyFailed=true");
        self.send(&call).await.map(drop)
    }

    /// The committed source offsets; `None` if Connect does not know the connector.
    ///
    /// # Errors
    /// Whatever keeps Connect from answering, or its refusal.
    pub async fn offsets(&self, name: &str) -> Result<Option<SourceOffsets>, Error> {
        let offsets: Option<serde_json::Value> = self.found(&Call::get(&["connectors", name, "offsets"])).await?;
        Ok(offsets.map(|offsets| SourceOffsets { streaming: is_streaming(&offsets), canonical: canonical(&offsets) }))
    }

    async fn found<T: DeserializeOwned>(&self, call: &Call) -> Result<Option<T>, Error> {
        match self.json(call).await {
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|source| Error::NotConnect {
            url: self.base.to_string(),
            call: call.to_string(),
            source,
        })
    }

    /// One call, tried again while Connect rebalances.
    async fn send(&self, call: &Call) -> Result<Vec<u8>, Error> {
        let mut pause = self.retry.first;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (status, body) = self.send_once(call).await?;
            if status.is_success() {
                return Ok(body);
            }
            let message = self.message(&body);
            let (url, call) = (self.base.to_string(), call.to_string());
            if status != StatusCode::CONFLICT {
                return Err(Error::Refused { url, call, status: status.as_u16(), message });
            }
            if attempt >= self.retry.attempts {
                return Err(Error::Rebalancing { url, call, attempts: attempt, message });
            }
            tracing::debug!(%call, attempt, "kafka connect is rebalancing, trying again");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.retry.longest);
        }
    }

    async fn send_once(&self, call: &Call) -> Result<(StatusCode, Vec<u8>), Error> {
        let mut request =
            self.http.request(call.method.clone(), call.url(&self.base)).header("accept", "application/json");
        if let Some((user, password)) = &self.auth {
            request = request.basic_auth(user, Some(password.expose()));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let failed = |source: reqwest::Error| {
            // The address is in our own message, once; and it cannot hold a secret there.
            let source = source.without_url();
            let url = self.base.to_string();
            if source.is_timeout() && !source.is_connect() {
                Error::Timeout { url, call: call.to_string(), timeout: self.timeout, source }
            } else {
                Error::Away { url, source }
            }
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(failed)?;
        Ok((status, body.to_vec()))
    }

    /// Connect's `message`, or the beginning of whatever a proxy in between said.
    fn message(&self, body: &[u8]) -> String {
        const LONGEST: usize = 2_000;
        let said = serde_json::from_slice::<Refusal>(body).ok().and_then(|refusal| refusal.message);
        let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let text = self.redactor.scrub(text.trim());
        if text.is_empty() {
            return "no reason given".to_owned();
        }
        text.chars().take(LONGEST).collect()
    }
}

/// One call: what is needed to send it, more than once if need be.
struct Call {
    method: Method,
    path: Vec<String>,
    query: Option<&'static str>,
    body: Option<BTreeMap<String, String>>,
}

impl Call {
    fn new(method: Method, path: &[&str]) -> Self {
        Self { method, path: path.iter().map(|&segment| segment.to_owned()).collect(), query: None, body: None }
    }

    fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    fn put(path: &[&str], body: &BTreeMap<String, String>) -> Self {
        Self { body: Some(body.clone()), ..Self::new(Method::PUT, path) }
    }

    fn query(mut self, query: &'static str) -> Self {
        self.query = Some(query);
        self
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        // Only addresses that cannot be a base, such as `mailto:`, have no segments; settings refuse those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.path);
        }
        url.set_query(self.query);
        url
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} /{}", self.method, self.path.join("/"))
    }
}

fn scrubbed(mut status: Status, redactor: &Redactor) -> Status {
    let scrub = |trace: &mut Option<String>| {
        if let Some(text) = trace {
            *text = redactor.scrub(text);
        }
    };
    scrub(&mut status.connector.trace);
    for task in &mut status.tasks {
        scrub(&mut task.trace);
    }
    status
}

/// Debezium marks the offsets of a snapshot by `snapshot`, with `true` or the snapshot's kind; a streaming connector's
/// have no such field, or one that says `false`.
fn is_streaming(offsets: &serde_json::Value) -> bool {
    let partitions = offsets.get("offsets").and_then(serde_json::Value::as_array);
    partitions.is_some_and(|partitions| {
        !partitions.is_empty()
            && partitions.iter().all(|partition| match partition.pointer("/offset/snapshot") {
                None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => true,
                Some(serde_json::Value::String(said)) => said.eq_ignore_ascii_case("false"),
                Some(_) => false,
            })
    })
}

/// JSON text with sorted keys: the order Connect answers in means nothing.
fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(key, value)| (key, canonical(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(values) => {
            let mut values: Vec<_> = values.iter().map(canonical).collect();
            values.sort();
            format!("{values:?}")
        }
        other => other.to_string(),
    }
}

/// A proxy cannot reach our own loopback.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod faults;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_go_below_the_base_and_are_escaped() {
        for (base, expect) in [
            ("http://c:8083", "http://c:8083/connectors/a%2Fb%3F/config?x=1"),
            ("http://c:8083/", "http://c:8083/connectors/a%2Fb%3F/config?x=1"),
            ("https://gw/kafka/connect", "https://gw/kafka/connect/connectors/a%2Fb%3F/config?x=1"),
        ] {
            let call = Call::get(&["connectors", "a/b?", "config"]).query("x=1");
            assert_eq!(call.url(&Url::parse(base).unwrap()).as_str(), expect);
        }
    }

    #[test]
    fn the_order_of_keys_and_partitions_is_no_movement() {
        let a = json!({"offsets": [{"partition": {"p": 1}, "offset": {"lsn": 5, "txId": 1}}, {"partition": {"p": 2}, "offset": {}}]});
        let b = json!({"offsets": [{"offset": {}, "partition": {"p": 2}}, {"offset": {"txId": 1, "lsn": 5}, "partition": {"p": 1}}]});
        let c = json!({"offsets": [{"offset": {}, "partition": {"p": 2}}, {"offset": {"txId": 1, "lsn": 6}, "partition": {"p": 1}}]});
        assert_eq!(canonical(&a), canonical(&b));
        assert_ne!(canonical(&b), canonical(&c));
    }

    #[test]
    fn offsets_of_a_snapshot_are_told_from_those_of_streaming() {
        for (offset, expect) in [
            (json!({"lsn": 1}), true),
            (json!({"lsn": 1, "snapshot": "false"}), true),
            (json!({"lsn": 1, "snapshot": false}), true),
            (json!({"lsn": 1, "snapshot": true}), false),
            (json!({"lsn": 1, "snapshot": "INITIAL"}), false),
        ] {
            assert_eq!(is_streaming(&json!({"offsets": [{"partition": {}, "offset": offset}]})), expect, "{offset}");
        }
        assert!(!is_streaming(&json!({"offsets": []})));
    }
}
