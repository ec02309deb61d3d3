//! A connector as it shall be: the configuration map that Kafka Connect is given.
//!
//! Pure: validated settings in, maps out. Every key that is set here is *managed*; a property the user adds may
//! override a managed key, but then the override is carried along and shown in every plan.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::redact;
use crate::config::connectors::{
    Mongodb, MongodbCaptureMode, MongodbSnapshotMode, Mysql, MysqlSnapshotMode, Postgresql, PostgresqlSnapshotMode,
    Properties, PublicationMode,
};

/// Every connector of ours is called this and its name in the configuration.
pub const NAME_PREFIX: &str = "migration-connector-";

/// Debezium sends a heartbeat this often unless told otherwise: often enough to prove life within a scrape or two.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(10);

const POSTGRESQL: &str = "io.debezium.connector.postgresql.PostgresConnector";
const MYSQL: &str = "io.debezium.connector.mysql.MySqlConnector";
const MARIADB: &str = "io.debezium.connector.mariadb.MariaDbConnector";
const MONGODB: &str = "io.debezium.connector.mongodb.MongoDbConnector";

/// A connector's configuration. `Debug` shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectorConfig(BTreeMap<String, String>);

impl ConnectorConfig {
    /// Wraps a map as Connect gave it.
    pub fn new(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }

    /// The map itself, secrets included: for Connect, and for comparing.
    pub fn expose(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn set_list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.set(key, values.join(","));
        }
    }
}

impl fmt::Debug for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A property the user set over a managed one; both as they may be shown.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Override {
    /// The property.
    pub key: String,
    /// What would have been set.
    pub managed: String,
    /// What is set.
    pub with: String,
}

/// A connector as it shall be.
#[derive(Clone)]
pub struct Desired {
    /// Full name in Kafka Connect.
    pub name: String,
    /// The whole configuration, without `name`.
    pub config: ConnectorConfig,
    /// Managed keys that the user's properties override.
    pub overrides: Vec<Override>,
}

impl Desired {
    /// The connector's class.
    pub fn class(&self) -> &str {
        self.config.get("connector.class").unwrap_or_default()
    }

    /// The topic Debezium sends heartbeats to, if it sends any.
    pub fn heartbeat_topic(&self) -> Option<String> {
        let interval: u64 = self.config.get("heartbeat.interval.ms")?.trim().parse().ok()?;
        let prefix = self.config.get("topic.heartbeat.prefix").unwrap_or("__debezium-heartbeat");
        (interval > 0).then(|| format!("{prefix}.{}", self.config.get("topic.prefix").unwrap_or_default()))
    }

    /// Whether a statement runs in the source with every heartbeat, so that offsets move on an idle database.
    pub fn writes_heartbeats(&self) -> bool {
        self.heartbeat_topic().is_some()
            && self.config.get("heartbeat.action.query").is_some_and(|query| !query.trim().is_empty())
    }

    fn new(name: &str, mut config: ConnectorConfig, properties: &Properties) -> Self {
        let mut overrides = Vec::new();
        for (key, value) in properties.iter() {
            if let Some(managed) = config.get(key).filter(|managed| *managed != value) {
                overrides.push(Override {
                    key: key.to_owned(),
                    managed: redact::shown(key, managed),
                    with: redact::shown(key, value),
                });
            }
            config.set(key, value);
        }
        Self { name: format!("{NAME_PREFIX}{name}"), config, overrides }
    }
}

/// The PostgreSQL connector.
pub fn postgresql(raw: &Postgresql, heartbeat: Duration) -> Desired {
    let mut config = common(POSTGRESQL, &raw.topic_prefix, heartbeat, raw.heartbeat_query.as_deref());
    config.set("database.hostname", &raw.host);
    config.set("database.port", raw.port.unwrap_or(5432).to_string());
    config.set("database.dbname", &raw.dbname);
    config.set("database.user", &raw.user);
    config.set("database.password", raw.password.expose());
    // The decoder every supported server ships; the default, `decoderbufs`, must be installed first.
    config.set("plugin.name", "pgoutput");
    config.set("slot.name", &raw.slot);
    config.set("publication.name", &raw.publication);
    // Debezium would publish all tables, which only a superuser may; the captured ones are enough.
    let publication = raw.publication_mode.unwrap_or(if raw.tables.is_empty() {
        PublicationMode::AllTables
    } else {
        PublicationMode::Filtered
    });
    config.set("publication.autocreate.mode", publication.as_str());
    config.set_list("table.include.list", &raw.tables);
    config.set("snapshot.mode", raw.snapshot_mode.unwrap_or(PostgresqlSnapshotMode::Initial).as_str());
    Desired::new(&raw.name, config, &raw.properties)
}

/// The MySQL connector.
pub fn mysql(raw: &Mysql, heartbeat: Duration) -> Desired {
    binlog(MYSQL, raw, heartbeat)
}

/// The MariaDB connector.
pub fn mariadb(raw: &Mysql, heartbeat: Duration) -> Desired {
    binlog(MARIADB, raw, heartbeat)
}

/// Both read the binary log and take the same properties.
fn binlog(class: &str, raw: &Mysql, heartbeat: Duration) -> Desired {
    let mut config = common(class, &raw.topic_prefix, heartbeat, raw.heartbeat_query.as_deref());
    config.set("database.hostname", &raw.host);
    config.set("database.port", raw.port.unwrap_or(3306).to_string());
    config.set("database.user", &raw.user);
    config.set("database.password", raw.password.expose());
    config.set("database.server.id", raw.server_id.to_string());
    config.set_list("database.include.list", &raw.databases);
    config.set_list("table.include.list", &raw.tables);
    config.set_list("schema.history.internal.kafka.bootstrap.servers", &raw.history_bootstrap_servers);
    let history = raw.history_topic.clone().unwrap_or_else(|| format!("schema-history.{}", raw.topic_prefix));
    config.set("schema.history.internal.kafka.topic", history);
    config.set("snapshot.mode", raw.snapshot_mode.unwrap_or(MysqlSnapshotMode::Initial).as_str());
    Desired::new(&raw.name, config, &raw.properties)
}

/// The MongoDB connector.
pub fn mongodb(raw: &Mongodb, heartbeat: Duration) -> Desired {
    let mut config = common(MONGODB, &raw.topic_prefix, heartbeat, None);
    config.set("mongodb.connection.string", raw.connection_string.expose());
    if let Some(user) = &raw.user {
        config.set("mongodb.user", user);
    }
    if let Some(password) = &raw.password {
        config.set("mongodb.password", password.expose());
    }
    config.set_list("database.include.list", &raw.databases);
    config.set_list("collection.include.list", &raw.collections);
    config.set("capture.mode", raw.capture_mode.unwrap_or(MongodbCaptureMode::UpdateFull).as_str());
    config.set("snapshot.mode", raw.snapshot_mode.unwrap_or(MongodbSnapshotMode::Initial).as_str());
    Desired::new(&raw.name, config, &raw.properties)
}

fn common(class: &str, topic_prefix: &str, heartbeat: Duration, query: Option<&str>) -> ConnectorConfig {
    let mut config = ConnectorConfig::default();
    config.set("connector.class", class);
    config.set("topic.prefix", topic_prefix);
    config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
    if let Some(query) = query {
        config.set("heartbeat.action.query", query);
    }
    config
}

crate::config::opaque::opaque_debug!(Desired, Override);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(desired: &Desired) -> serde_json::Value {
        serde_json::to_value(desired.config.expose()).unwrap()
    }

    #[test]
    fn a_postgresql_connector_renders_to_debeziums_names() {
        let raw: Postgresql = serde_json::from_value(json!({
            "name": "shop", "host": "db", "port": 5433, "dbname": "shop", "user": "replicator", "password": "${file:/s/pg.properties:password}",
            "topic_prefix": "shop", "slot": "whimbrel_shop", "publication": "whimbrel_pub", "tables": ["public.orders", "public.items"],
            "snapshot_mode": "no_data", "properties": {"max.batch.size": 512}
        }))
        .unwrap();
        let desired = postgresql(&raw, DEFAULT_HEARTBEAT);
        assert_eq!(desired.name, "migration-connector-shop");
        assert_eq!(
            rendered(&desired),
            json!({
                "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
                "database.hostname": "db", "database.port": "5433", "database.dbname": "shop", "database.user": "replicator",
                "database.password": "${file:/s/pg.properties:password}",
                "topic.prefix": "shop", "plugin.name": "pgoutput", "heartbeat.interval.ms": "10000",
                "slot.name": "whimbrel_shop", "publication.name": "whimbrel_pub", "publication.autocreate.mode": "filtered",
                "table.include.list": "public.orders,public.items", "snapshot.mode": "no_data", "max.batch.size": "512"
            })
        );
        assert!(desired.overrides.is_empty());
        assert_eq!(desired.heartbeat_topic().as_deref(), Some("__debezium-heartbeat.shop"));
        assert!(!desired.writes_heartbeats());
    }

    #[test]
    fn a_mysql_connector_renders_to_debeziums_names() {
        let raw: Mysql = serde_json::from_value(json!({
            "name": "crm", "host": "my", "user": "u", "password": "p", "server_id": 5401, "topic_prefix": "crm",
            "history_bootstrap_servers": ["k1:9092", "k2:9092"], "databases": ["crm"], "tables": ["crm.people"], "heartbeat_query": "SELECT 1"
        }))
        .unwrap();
        let desired = mysql(&raw, Duration::from_secs(3));
        assert_eq!(
            rendered(&desired),
            json!({
                "connector.class": "io.debezium.connector.mysql.MySqlConnector",
                "database.hostname": "my", "database.port": "3306", "database.user": "u", "database.password": "p", "database.server.id": "5401",
                "topic.prefix": "crm", "heartbeat.interval.ms": "3000", "heartbeat.action.query": "SELECT 1",
                "database.include.list": "crm", "table.include.list": "crm.people",
                "schema.history.internal.kafka.bootstrap.servers": "k1:9092,k2:9092",
                "schema.history.internal.kafka.topic": "schema-history.crm", "snapshot.mode": "initial"
            })
        );
        assert!(desired.writes_heartbeats());
    }

    #[test]
    fn a_mariadb_connector_differs_from_a_mysql_one_in_its_class() {
        let raw: Mysql = serde_json::from_value(json!({
            "name": "crm", "host": "maria", "user": "u", "password": "p", "server_id": 5401, "topic_prefix": "crm",
            "history_bootstrap_servers": ["k:9092"], "history_topic": "history", "snapshot_mode": "when_needed"
        }))
        .unwrap();
        let mut expected = rendered(&mysql(&raw, DEFAULT_HEARTBEAT));
        expected["connector.class"] = json!("io.debezium.connector.mariadb.MariaDbConnector");
        assert_eq!(rendered(&mariadb(&raw, DEFAULT_HEARTBEAT)), expected);
        assert_eq!(expected["snapshot.mode"], "when_needed");
    }

    #[test]
    fn a_mongodb_connector_renders_to_debeziums_names() {
        let raw: Mongodb = serde_json::from_value(json!({
            "name": "docs", "connection_string": "mongodb://m1,m2/?replicaSet=rs0", "user": "u", "password": "p", "topic_prefix": "docs",
            "databases": ["shop"], "collections": ["shop.orders"]
        }))
        .unwrap();
        let desired = mongodb(&raw, Duration::ZERO);
        assert_eq!(
            rendered(&desired),
            json!({
                "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
                "mongodb.connection.string": "mongodb://m1,m2/?replicaSet=rs0", "mongodb.user": "u", "mongodb.password": "p",
                "topic.prefix": "docs", "heartbeat.interval.ms": "0", "database.include.list": "shop", "collection.include.list": "shop.orders",
                "capture.mode": "change_streams_update_full", "snapshot.mode": "initial"
            })
        );
        assert_eq!(desired.heartbeat_topic(), None);
    }

    #[test]
    fn a_property_over_a_managed_one_wins_and_is_carried_along_masked() {
        let raw: Postgresql = serde_json::from_value(json!({
            "name": "shop", "host": "db", "dbname": "shop", "user": "u", "password": "canary-1", "topic_prefix": "shop", "slot": "s",
            "publication": "p", "properties": {"plugin.name": "decoderbufs", "database.password": "canary-2", "topic.prefix": "shop"}
        }))
        .unwrap();
        let desired = postgresql(&raw, DEFAULT_HEARTBEAT);
        assert_eq!(desired.config.get("plugin.name"), Some("decoderbufs"));
        let keys: Vec<_> =
            desired.overrides.iter().map(|o| (o.key.as_str(), o.managed.as_str(), o.with.as_str())).collect();
        assert_eq!(keys, [("plugin.name", "pgoutput", "decoderbufs"), ("database.password", "***", "***")]);
        assert!(!format!("{desired:?}").contains("canary"), "{desired:?}");
    }
}
