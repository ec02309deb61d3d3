//! The `connectors:` section, judged: raw text becomes values the code can rely on, or a list of problems.
//!
//! Pure; reads no file and asks no server. All problems are reported, not only the first.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use url::{Host, Url};

use super::{
    budget::BudgetPolicy,
    desired::{self, DEFAULT_HEARTBEAT, Desired},
    redact::Redactor,
};
use crate::config::connectors::{Connector, Connectors, ProgressKafka, Properties};
use crate::config::invalid::Invalid;
use crate::config::secret::Secret;
use crate::config::units::Millis;

/// Where Kafka Connect is and how to talk to it.
#[derive(Clone)]
pub struct Endpoint {
    /// Base address, without credentials.
    pub url: Url,
    /// User and password.
    pub basic_auth: Option<(String, Secret)>,
    /// Certificate authorities to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Limit of one call.
    pub timeout: Duration,
}

/// How progress is watched.
#[derive(Clone)]
pub struct ProgressPolicy {
    /// How long a RUNNING connector may go without proof.
    pub window: Duration,
    /// Where heartbeat topics are read; without it they are not.
    pub kafka: Option<ProgressKafka>,
}

/// The validated section.
#[derive(Clone)]
pub struct Settings {
    /// Kafka Connect.
    pub endpoint: Endpoint,
    /// Restart budget of each connector.
    pub restart: BudgetPolicy,
    /// Progress.
    pub progress: ProgressPolicy,
    /// The connectors that shall exist.
    pub desired: Vec<Desired>,
}

/// Connect tries the database while it validates, and Debezium's own connect limits are of this order.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Connect commits source offsets every 60 s (`offset.flush.interval.ms`); half as much again for a slow one.
const DEFAULT_WINDOW: Duration = Duration::from_secs(90);
impl Settings {
    /// Judges the raw section.
    ///
    /// # Errors
    /// Every problem that was found.
    pub fn validate(raw: &Connectors) -> Result<Self, Vec<Invalid>> {
        let mut judge = Judge::default();
        let url = judge.url(&raw.url);
        let timeout = judge.positive("timeout", raw.timeout, DEFAULT_TIMEOUT);
        let default = BudgetPolicy::default();
        let restart = BudgetPolicy {
            max: raw.restart.max.unwrap_or(default.max),
            window: judge.positive("restart.window", raw.restart.window, default.window),
            first_delay: or_default(raw.restart.backoff, default.first_delay),
            max_delay: or_default(raw.restart.max_backoff, default.max_delay),
        };
        let window = judge.positive("progress.window", raw.progress.window, DEFAULT_WINDOW);
        if let Some(kafka) = &raw.progress.kafka {
            judge.filled_list("progress.kafka.brokers", &kafka.brokers);
            judge.servers("progress.kafka.brokers", &kafka.brokers);
        }
        let desired: Vec<Desired> =
            raw.list.iter().enumerate().map(|(index, one)| judge.connector(index, one, window)).collect();
        let Some(url) = url else { return Err(judge.problems) };
        if !judge.problems.is_empty() {
            return Err(judge.problems);
        }
        Ok(Self {
            endpoint: Endpoint {
                url,
                basic_auth: raw.basic_auth.as_ref().map(|auth| (auth.username.clone(), auth.password.clone())),
                ca_file: raw.tls.as_ref().map(|tls| tls.ca_file.clone()),
                timeout,
            },
            restart,
            progress: ProgressPolicy { window, kafka: raw.progress.kafka.clone() },
            desired,
        })
    }

    /// Knows every secret of the section.
    pub fn redactor(&self) -> Redactor {
        let mut redactor = Redactor::default();
        for desired in &self.desired {
            redactor.learn(desired.config.expose());
        }
        if let Some((_, password)) = &self.endpoint.basic_auth {
            redactor.learn_value(password.expose());
        }
        redactor
    }
}

#[derive(Default)]
struct Judge {
    problems: Vec<Invalid>,
    /// What must be unique, and where it was first seen.
    seen: HashMap<(&'static str, String), String>,
}

impl Judge {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Invalid::new(path, message, hint));
    }

    fn url(&mut self, text: &str) -> Option<Url> {
        const PATH: &str = "url";
        const HINT: &str = "for example http://connect:8083";
        let url = match Url::parse(text) {
            Ok(url) => url,
            // The text itself is not repeated: it may hold a password.
            Err(error) => {
                self.problem(PATH, format!("is not a URL: {error}"), HINT);
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            self.problem(PATH, "must begin with http:// or https://", HINT);
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.problem(
                PATH,
                "holds credentials",
                "put them into `connectors.basic_auth`, where they are not printed",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.problem(PATH, "has a query or a fragment", HINT);
        }
        Some(url)
    }

    fn positive(&mut self, path: &str, given: Option<Millis>, default: Duration) -> Duration {
        let duration = or_default(given, default);
        if duration.is_zero() {
            self.problem(path, "must be longer than nothing", "for example 10s");
            return default;
        }
        duration
    }

    fn connector(&mut self, index: usize, raw: &Connector, window: Duration) -> Desired {
        let (kind, name, prefix, heartbeat, properties) = match raw {
            Connector::Postgresql(pg) => {
                ("postgresql", &pg.name, &pg.topic_prefix, &pg.heartbeat_interval, &pg.properties)
            }
            Connector::Mysql(my) => ("mysql", &my.name, &my.topic_prefix, &my.heartbeat_interval, &my.properties),
            Connector::Mariadb(my) => ("mariadb", &my.name, &my.topic_prefix, &my.heartbeat_interval, &my.properties),
            Connector::Mongodb(mongo) => {
                ("mongodb", &mongo.name, &mongo.topic_prefix, &mongo.heartbeat_interval, &mongo.properties)
            }
        };
        let at = format!("list[{index}].{kind}");
        let heartbeat_path = format!("{at}.heartbeat_interval");
        let heartbeat = or_default(*heartbeat, DEFAULT_HEARTBEAT);
        if window < heartbeat.saturating_mul(2) {
            self.problem(
                heartbeat_path,
                "is too long for the progress window",
                "at most half of `connectors.progress.window`",
            );
        }
        self.matches(&format!("{at}.name"), name, 100, "letters, digits, `.`, `_` and `-`, at most 100", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
        });
        self.unique(&format!("{at}.name"), "name", name.clone());
        self.matches(
            &format!("{at}.topic_prefix"),
            prefix,
            200,
            "letters, digits, `.`, `_` and `-`, at most 200",
            |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
        );
        self.unique(&format!("{at}.topic_prefix"), "topic prefix", prefix.clone());
        self.properties(&at, properties);
        match raw {
            Connector::Postgresql(pg) => {
                self.filled(
                    &at,
                    &[
                        ("host", &pg.host),
                        ("dbname", &pg.dbname),
                        ("user", &pg.user),
                        ("password", pg.password.expose()),
                    ],
                );
                for (field, value) in [("slot", &pg.slot), ("publication", &pg.publication)] {
                    self.matches(
                        &format!("{at}.{field}"),
                        value,
                        63,
                        "lower-case letters, digits and underscores, at most 63",
                        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
                    );
                }
                // A slot belongs to the whole server, whatever the database.
                self.unique(
                    &format!("{at}.slot"),
                    "replication slot",
                    format!("{}:{}/{}", pg.host, pg.port.unwrap_or(5432), pg.slot),
                );
                self.patterns(&at, "tables", &pg.tables);
                desired::postgresql(pg, heartbeat)
            }
            Connector::Mysql(my) | Connector::Mariadb(my) => {
                self.filled(&at, &[("host", &my.host), ("user", &my.user), ("password", my.password.expose())]);
                if my.server_id == 0 {
                    self.problem(
                        format!("{at}.server_id"),
                        "must not be 0",
                        "a number no other server or client of the cluster has",
                    );
                }
                self.unique(
                    &format!("{at}.server_id"),
                    "server id",
                    format!("{}:{}/{}", my.host, my.port.unwrap_or(3306), my.server_id),
                );
                self.filled_list(&format!("{at}.history_bootstrap_servers"), &my.history_bootstrap_servers);
                self.servers(&format!("{at}.history_bootstrap_servers"), &my.history_bootstrap_servers);
                self.patterns(&at, "databases", &my.databases);
                self.patterns(&at, "tables", &my.tables);
                if kind == "mariadb" { desired::mariadb(my, heartbeat) } else { desired::mysql(my, heartbeat) }
            }
            Connector::Mongodb(mongo) => {
                let string = mongo.connection_string.expose();
                // A config provider's reference stands for the whole string; only Connect can judge it.
                if !["mongodb://", "mongodb+srv://", "${"].iter().any(|start| string.starts_with(start)) {
                    self.problem(
                        format!("{at}.connection_string"),
                        "is not a MongoDB connection string",
                        "mongodb://host:27017/?replicaSet=rs0",
                    );
                }
                if mongo.user.is_some() != mongo.password.is_some() {
                    self.problem(
                        format!("{at}.user"),
                        "needs a password, and a password a user",
                        "set both or neither",
                    );
                }
                self.patterns(&at, "databases", &mongo.databases);
                self.patterns(&at, "collections", &mongo.collections);
                desired::mongodb(mongo, heartbeat)
            }
        }
    }

    fn properties(&mut self, at: &str, properties: &Properties) {
        // These decide which connector it is; anything else may be overridden in the open.
        for key in ["name", "connector.class"] {
            if properties.get(key).is_some() {
                self.problem(
                    format!("{at}.properties.{key}"),
                    "cannot be overridden",
                    "the kind and `name` of the entry decide it",
                );
            }
        }
    }

    fn filled(&mut self, at: &str, fields: &[(&str, &str)]) {
        for (field, value) in fields {
            if value.trim().is_empty() {
                self.problem(format!("{at}.{field}"), "must not be empty", "set it, or remove the connector");
            }
        }
    }

    fn filled_list(&mut self, path: &str, values: &[String]) {
        if values.is_empty() {
            self.problem(path, "must not be empty", "for example [\"kafka:9092\"]");
        }
    }

    fn matches(&mut self, path: &str, value: &str, longest: usize, rule: &str, allowed: impl Fn(char) -> bool) {
        if value.is_empty() || value.len() > longest || !value.chars().all(allowed) {
            self.problem(path, format!("`{}` is not a valid name", value.escape_debug()), rule);
        }
    }

    fn patterns(&mut self, at: &str, field: &str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            if value.trim().is_empty() || value.contains(',') {
                self.problem(
                    format!("{at}.{field}[{index}]"),
                    "is empty or holds a comma",
                    "one name or regular expression per entry; Debezium separates them by commas",
                );
            }
        }
    }

    fn servers(&mut self, path: &str, servers: &[String]) {
        for (index, server) in servers.iter().enumerate() {
            let valid = server.rsplit_once(':').is_some_and(|(host, port)| {
                port.parse::<u16>().is_ok() && (Host::parse(host).is_ok()) && !host.is_empty()
            });
            if !valid {
                self.problem(format!("{path}[{index}]"), "is not host:port", "for example kafka:9092");
            }
        }
    }

    fn unique(&mut self, path: &str, what: &'static str, value: String) {
        if let Some(first) = self.seen.get(&(what, value.clone())) {
            let first = first.clone();
            self.problem(path, format!("the same {what} is used in {first}"), "each connector needs its own");
        } else {
            self.seen.insert((what, value), path.to_owned());
        }
    }
}

fn or_default(given: Option<Millis>, default: Duration) -> Duration {
    given.map_or(default, |Millis(duration)| duration)
}

crate::config::opaque::opaque_debug!(Endpoint, ProgressPolicy, Settings);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn section(change: impl FnOnce(&mut Value)) -> Connectors {
        let mut value = json!({
            "url": "http://connect:8083/prefix",
            "list": [
                {"postgresql": {"name": "shop", "host": "db", "dbname": "shop", "user": "u", "password": "canary-pg", "topic_prefix": "shop",
                    "slot": "whimbrel_shop", "publication": "whimbrel_shop"}},
                {"mysql": {"name": "crm", "host": "my", "user": "u", "password": "canary-my", "server_id": 7, "topic_prefix": "crm",
                    "history_bootstrap_servers": ["kafka:9092"]}},
                {"mongodb": {"name": "docs", "connection_string": "mongodb://u:canary-mongo@m/", "topic_prefix": "docs"}},
                {"mariadb": {"name": "erp", "host": "maria", "user": "u", "password": "canary-maria", "server_id": 7, "topic_prefix": "erp",
                    "history_bootstrap_servers": ["kafka:9092"]}}
            ]
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_good_section_is_taken_with_its_defaults() {
        let connectors = Settings::validate(&section(|_| ())).unwrap();
        assert_eq!(connectors.endpoint.timeout, DEFAULT_TIMEOUT);
        assert_eq!(connectors.restart, BudgetPolicy::default());
        let names: Vec<_> = connectors.desired.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "migration-connector-shop",
                "migration-connector-crm",
                "migration-connector-docs",
                "migration-connector-erp"
            ]
        );
        assert!(!format!("{connectors:?}").contains("canary"));
        assert_eq!(connectors.redactor().scrub("canary-pg canary-my canary-mongo canary-maria"), "*** *** *** ***");
    }

    #[test]
    fn every_bad_value_is_named_by_its_path() {
        type Case = (&'static str, Value, &'static str);
        let long = "s".repeat(64);
        let cases: Vec<Case> = vec![
            ("/url", json!("connect:8083"), "url"),
            ("/url", json!("not a url"), "url"),
            ("/url", json!("http://u:canary@connect:8083"), "url"),
            ("/timeout", json!("0s"), "timeout"),
            ("/restart", json!({"window": "0ms"}), "restart.window"),
            ("/progress", json!({"window": "15s"}), "list[0].postgresql.heartbeat_interval"),
            ("/progress", json!({"kafka": {"brokers": ["kafka"]}}), "progress.kafka.brokers[0]"),
            ("/progress", json!({"kafka": {"brokers": []}}), "progress.kafka.brokers"),
            ("/list/0/postgresql/slot", json!("Shop"), "list[0].postgresql.slot"),
            ("/list/0/postgresql/slot", json!("shop-1"), "list[0].postgresql.slot"),
            ("/list/0/postgresql/slot", json!(""), "list[0].postgresql.slot"),
            ("/list/0/postgresql/slot", json!(long), "list[0].postgresql.slot"),
            ("/list/0/postgresql/publication", json!("a b"), "list[0].postgresql.publication"),
            ("/list/0/postgresql/password", json!(""), "list[0].postgresql.password"),
            ("/list/0/postgresql/name", json!("a/b"), "list[0].postgresql.name"),
            ("/list/0/postgresql/tables", json!(["a.b,c.d"]), "list[0].postgresql.tables[0]"),
            ("/list/0/postgresql/heartbeat_interval", json!("1h"), "list[0].postgresql.heartbeat_interval"),
            (
                "/list/0/postgresql/properties",
                json!({"connector.class": "x"}),
                "list[0].postgresql.properties.connector.class",
            ),
            ("/list/0/postgresql/properties", json!({"name": "x"}), "list[0].postgresql.properties.name"),
            ("/list/1/mysql/name", json!("shop"), "list[1].mysql.name"),
            ("/list/1/mysql/topic_prefix", json!("shop"), "list[1].mysql.topic_prefix"),
            ("/list/1/mysql/server_id", json!(0), "list[1].mysql.server_id"),
            ("/list/1/mysql/history_bootstrap_servers", json!([]), "list[1].mysql.history_bootstrap_servers"),
            ("/list/2/mongodb/connection_string", json!("canary"), "list[2].mongodb.connection_string"),
            ("/list/2/mongodb/user", json!("u"), "list[2].mongodb.user"),
            ("/list/3/mariadb/password", json!(""), "list[3].mariadb.password"),
            ("/list/3/mariadb/topic_prefix", json!("crm"), "list[3].mariadb.topic_prefix"),
            ("/list/3/mariadb/host", json!("my"), "list[3].mariadb.server_id"),
            (
                "/list/3/mariadb/history_bootstrap_servers",
                json!(["kafka"]),
                "list[3].mariadb.history_bootstrap_servers[0]",
            ),
        ];
        for (pointer, value, path) in cases {
            let raw = section(|section| {
                let (parent, field) = pointer.rsplit_once('/').unwrap();
                section.pointer_mut(parent).unwrap()[field] = value.clone();
            });
            let problems = Settings::validate(&raw).unwrap_err();
            assert!(problems.iter().any(|p| p.path == path), "{pointer} = {value}: {problems:?}");
            assert!(!format!("{problems:?}").contains("canary"), "{problems:?}");
        }
    }

    #[test]
    fn two_connectors_cannot_share_a_slot_of_one_server() {
        let twin = |section: &mut Value| {
            let mut twin = section["list"][0].clone();
            twin["postgresql"]["name"] = json!("twin");
            twin["postgresql"]["topic_prefix"] = json!("twin");
            twin["postgresql"]["dbname"] = json!("another");
            section["list"].as_array_mut().unwrap().push(twin);
        };
        let problems = Settings::validate(&section(twin)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path, "list[4].postgresql.slot");
    }
}
