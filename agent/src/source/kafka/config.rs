//! Validated settings of the Kafka source, and the librdkafka properties made of them.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use regex::Regex;

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::config::secret::Secret;

/// Consumer group when none is configured.
pub const DEFAULT_GROUP: &str = "migration-consumer";
/// Topic when none is configured.
pub const DEFAULT_TOPIC: &str = "database.changes";
/// Bytes librdkafka may hold ahead: eight batches of thousand ordinary records, for which a target takes 50 ms and more. With
/// its bookkeeping it needs more than that: from 16 MiB to 8 the agent's memory went down by 13.
const DEFAULT_PREFETCH: u64 = 8 << 20;
/// Kafka's own default.
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(45);

/// librdkafka properties an operator may set. An allow-list: some properties load code (`plugin.library.paths`) or run
/// commands (`sasl.kerberos.kinit.cmd`), others would break the delivery guarantees (`enable.auto.commit`).
const ALLOWED_PROPERTIES: &[&str] = &[
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.id",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
];

/// Where to begin with a partition that has no stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// Oldest record kept.
    Earliest,
    /// The end.
    Latest,
    /// Refuse.
    Refuse,
}

/// Which topics are read.
#[derive(Clone)]
pub enum Topics {
    /// By name.
    Names(Vec<String>),
    /// By pattern over the whole name.
    Pattern(Regex),
}

/// Validated settings.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port` list, comma-separated.
    pub brokers: String,
    /// Topics with changes.
    pub topics: Topics,
    /// Topics with connector heartbeats.
    pub heartbeat_topics: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// Where to begin without stored state.
    pub start: StartAt,
    prefetch: u64,
    session_timeout: Duration,
    tls: Option<raw::KafkaTls>,
    sasl: Option<(raw::SaslMechanism, String, Secret)>,
    properties: Vec<(String, String)>,
}

impl TryFrom<&raw::Kafka> for KafkaConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Kafka) -> Result<Self, Invalid> {
        if raw.brokers.is_empty() {
            return Err(Invalid::new("brokers", "no broker is named", "write at least one `host:port`"));
        }
        for (at, broker) in raw.brokers.iter().enumerate() {
            let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) || broker.contains(',') {
                return Err(Invalid::new(
                    format!("brokers[{at}]"),
                    "not of the form `host:port`",
                    "write one broker per list entry, such as `kafka-1:9092`",
                ));
            }
        }
        let topics = match (&raw.topic_pattern, raw.topics.as_slice()) {
            (Some(_), [_, ..]) => {
                return Err(Invalid::new(
                    "topic_pattern",
                    "both `topics` and `topic_pattern` are set",
                    "keep one of them",
                ));
            }
            (Some(pattern), []) => Topics::Pattern(whole(pattern)?),
            (None, []) => Topics::Names(vec![DEFAULT_TOPIC.into()]),
            (None, names) => Topics::Names(names.to_vec()),
        };
        if let Topics::Names(names) = &topics {
            for (at, name) in names.iter().enumerate() {
                check_topic(name)
                    .map_err(|why| Invalid::new(format!("topics[{at}]"), why, "see Kafka's rules for topic names"))?;
            }
        }
        for (at, name) in raw.heartbeat_topics.iter().enumerate() {
            check_topic(name).map_err(|why| {
                Invalid::new(format!("heartbeat_topics[{at}]"), why, "see Kafka's rules for topic names")
            })?;
        }
        let mut properties = Vec::new();
        for (name, value) in &raw.properties {
            if !ALLOWED_PROPERTIES.contains(&name.as_str()) {
                return Err(Invalid::new(
                    format!("properties.{name}"),
                    "this librdkafka property may not be set",
                    "properties that load code or change delivery are managed; docs/configuration.md lists the allowed ones",
                ));
            }
            properties.push((name.clone(), value.clone()));
        }
        let config = Self {
            brokers: raw.brokers.join(","),
            topics,
            heartbeat_topics: raw.heartbeat_topics.clone(),
            group: raw.group.clone().unwrap_or_else(|| DEFAULT_GROUP.into()),
            start: match raw.start {
                raw::Start::Earliest => StartAt::Earliest,
                raw::Start::Latest => StartAt::Latest,
                raw::Start::Error => StartAt::Refuse,
            },
            prefetch: raw.prefetch.map_or(DEFAULT_PREFETCH, |p| p.0).max(1 << 20),
            session_timeout: raw.session_timeout.map_or(DEFAULT_SESSION_TIMEOUT, |t| t.0),
            tls: raw.tls.clone(),
            sasl: raw.sasl.as_ref().map(|s| (s.mechanism, s.username.clone(), s.password.clone())),
            properties,
        };
        if config.group.is_empty() {
            return Err(Invalid::new("group", "the consumer group is empty", "leave it out for `migration-consumer`"));
        }
        // librdkafka checks values only when a client is made; doing it here gives the operator the line.
        config.consumer().create_native_config().map_err(|e| {
            Invalid::new("properties", format!("librdkafka refuses the settings: {e}"), "mend the property it names")
        })?;
        Ok(config)
    }
}

impl KafkaConfig {
    /// Connection, TLS and SASL: what every client of these brokers needs.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("log.connection.close", "false");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let mut file = |name: &str, path: &Option<PathBuf>| {
                if let Some(path) = path {
                    config.set(name, path.to_string_lossy());
                }
            };
            file("ssl.ca.location", &tls.ca_file);
            file("ssl.certificate.location", &tls.cert_file);
            file("ssl.key.location", &tls.key_file);
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password.expose());
            }
            if tls.verify_hostname == Some(false) {
                config.set("ssl.endpoint.identification.algorithm", "none");
            }
        }
        if let Some((mechanism, user, password)) = &self.sasl {
            let mechanism = match mechanism {
                raw::SaslMechanism::Plain => "PLAIN",
                raw::SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                raw::SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config.set("sasl.mechanism", mechanism);
            config.set("sasl.username", user);
            config.set("sasl.password", password.expose());
        }
        config
    }

    /// The group member that reads changes.
    #[must_use]
    pub fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("group.id", &self.group);
        config.set("client.id", "whimbrel");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", self.session_timeout.as_millis().to_string());
        config.set("heartbeat.interval.ms", (self.session_timeout.as_millis() / 10).clamp(100, 3_000).to_string());
        // Small queues: what waits here is memory, and is read again after a restart.
        config.set("queued.min.messages", "20000");
        // A full queue stops fetching for this long; the default of a second starves a reader that is slower than the
        // broker: 20,000 records, then a pause, 30,000 a second in all.
        config.set("fetch.queue.backoff.ms", "10");
        config.set("queued.max.messages.kbytes", (self.prefetch >> 10).to_string());
        config.set("fetch.message.max.bytes", (self.prefetch / 4).clamp(1 << 20, 8 << 20).to_string());
        config.set("statistics.interval.ms", "1000");
        // Told to the context, which says what it means that a broker hangs up.
        config.set("log.connection.close", "true");
        // A topic that appears later is noticed within seconds rather than minutes.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        // Last, so that nothing above can undo what delivery rests on.
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// What librdkafka's `subscribe` takes: names, or `^pattern`.
    #[must_use]
    pub fn subscription(&self) -> Vec<String> {
        match &self.topics {
            Topics::Names(names) => names.clone(),
            // librdkafka uses POSIX regular expressions and searches; the anchors make it the whole name.
            Topics::Pattern(pattern) => vec![pattern.as_str().to_owned()],
        }
    }
}

fn whole(pattern: &str) -> Result<Regex, Invalid> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$');
    Regex::new(&format!("^{inner}$"))
        .map_err(|e| Invalid::new("topic_pattern", format!("not a regular expression: {e}"), "mend the pattern"))
}

fn check_topic(name: &str) -> Result<(), &'static str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." {
        Err("not a topic name")
    } else if name.len() > 249 {
        Err("a topic name has at most 249 characters")
    } else if !name.chars().all(legal) {
        Err("a topic name has only letters, digits, `.`, `_` and `-`")
    } else {
        Ok(())
    }
}

crate::config::opaque::opaque_debug!(Topics, KafkaConfig);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(yaml: serde_json::Value) -> raw::Kafka {
        serde_json::from_value(yaml).unwrap()
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = KafkaConfig::try_from(&raw(serde_json::json!({"brokers": ["h:9092"]}))).unwrap();
        assert_eq!(config.group, "migration-consumer");
        assert_eq!(config.subscription(), ["database.changes"]);
        assert_eq!(config.consumer().get("enable.auto.commit"), Some("false"));
        assert_eq!(config.consumer().get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn properties_outside_the_allow_list_are_refused_with_their_path() {
        for name in ["plugin.library.paths", "enable.auto.commit", "sasl.kerberos.kinit.cmd", "ssl.engine.location"] {
            let config = raw(serde_json::json!({"brokers": ["h:9092"], "properties": {name: "x"}}));
            assert_eq!(KafkaConfig::try_from(&config).unwrap_err().path, format!("properties.{name}"));
        }
    }

    #[test]
    fn bad_settings_name_their_field() {
        for (json, path) in [
            (serde_json::json!({"brokers": []}), "brokers"),
            (serde_json::json!({"brokers": ["h"]}), "brokers[0]"),
            (serde_json::json!({"brokers": ["a:1", "h:99999"]}), "brokers[1]"),
            (serde_json::json!({"brokers": ["a:1"], "topics": ["ok", "not ok"]}), "topics[1]"),
            (serde_json::json!({"brokers": ["a:1"], "topic_pattern": "("}), "topic_pattern"),
            (serde_json::json!({"brokers": ["a:1"], "group": ""}), "group"),
            (serde_json::json!({"brokers": ["a:1"], "properties": {"fetch.min.bytes": "many"}}), "properties"),
        ] {
            assert_eq!(KafkaConfig::try_from(&raw(json)).unwrap_err().path, path);
        }
    }
}
