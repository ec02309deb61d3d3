//! The `connectors:` section as it may be written.
//!
//! Only shape and defaults live here; [`crate::connect::settings`] judges the values. Unknown fields are refused.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::raw::{KafkaSasl, KafkaTls};
use super::secret::Secret;
use super::units::Millis;

/// Debezium connectors as desired state, kept in Kafka Connect through its REST API.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connectors {
    /// Address of the Kafka Connect REST API, for example `http://connect:8083`. A path is kept as a prefix.
    pub url: String,
    /// User and password, when the REST API asks for HTTP basic authentication.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// TLS settings for an `https` address.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// How long one REST call may take. Default `30s`: Connect tries the database while it validates a connector.
    #[serde(default)]
    pub timeout: Option<Millis>,
    /// How often failed tasks may be restarted.
    #[serde(default)]
    pub restart: Restart,
    /// How to tell a connector that works from one that only says so.
    #[serde(default)]
    pub progress: Progress,
    /// The connectors that shall exist.
    #[serde(default)]
    pub list: Vec<Connector>,
}

/// HTTP basic authentication.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// TLS towards Kafka Connect.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate authorities to trust, and no others. Without it the system's are trusted.
    pub ca_file: PathBuf,
}

/// The restart budget of one connector.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Restarts allowed per window. Default 5; 0 never restarts.
    #[serde(default)]
    pub max: Option<u32>,
    /// The window. Default `10m`.
    #[serde(default)]
    pub window: Option<Millis>,
    /// Pause after the first restart in a window; each further one doubles it. Default `10s`.
    #[serde(default)]
    pub backoff: Option<Millis>,
    /// The longest such pause. Default `2m`.
    #[serde(default)]
    pub max_backoff: Option<Millis>,
}

/// Proof that a RUNNING connector moves.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// How long a RUNNING connector may go without proof of progress. Default `90s`: Connect commits source offsets
    /// every 60 seconds unless told otherwise.
    #[serde(default)]
    pub window: Option<Millis>,
    /// Kafka, where heartbeat topics are read. Without it only committed offsets are proof.
    #[serde(default)]
    pub kafka: Option<ProgressKafka>,
}

/// Kafka as the place of heartbeat topics.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressKafka {
    /// Bootstrap brokers, `host:port`.
    pub brokers: Vec<String>,
    /// TLS to the brokers.
    #[serde(default)]
    pub tls: Option<KafkaTls>,
    /// SASL login.
    #[serde(default)]
    pub sasl: Option<KafkaSasl>,
}

/// One connector, by the kind of its database.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Connector {
    /// PostgreSQL through logical decoding with `pgoutput`.
    Postgresql(Postgresql),
    /// MySQL through the binary log.
    Mysql(Mysql),
    /// MariaDB through the binary log: the settings of MySQL.
    Mariadb(Mysql),
    /// MongoDB through change streams.
    Mongodb(Mongodb),
}

/// A Debezium PostgreSQL connector.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgresql {
    /// Name; the connector is called `migration-connector-{name}`.
    pub name: String,
    /// Host of the database.
    pub host: String,
    /// Port of the database. Default 5432.
    #[serde(default)]
    pub port: Option<u16>,
    /// Name of the database.
    pub dbname: String,
    /// User that may replicate.
    pub user: String,
    /// Password. `$${file:/path:key}` is passed on as `${file:/path:key}` for Connect's own configuration providers.
    pub password: Secret,
    /// First part of every topic name; unique among all connectors.
    pub topic_prefix: String,
    /// Replication slot: lower-case letters, digits and underscores, at most 63.
    pub slot: String,
    /// Publication: lower-case letters, digits and underscores, at most 63.
    pub publication: String,
    /// Which tables the publication is made for when it does not exist. Default `filtered` with `tables`, else `all_tables`.
    #[serde(default)]
    pub publication_mode: Option<PublicationMode>,
    /// Tables as `schema.table`; each is a regular expression that must match the whole name. Empty means all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// What to read before streaming. Default `initial`.
    #[serde(default)]
    pub snapshot_mode: Option<PostgresqlSnapshotMode>,
    /// How often a heartbeat record is sent. Default `10s`; `0s` sends none.
    #[serde(default)]
    pub heartbeat_interval: Option<Millis>,
    /// Statement run in the source database with every heartbeat, so that offsets move on an idle database.
    #[serde(default)]
    pub heartbeat_query: Option<String>,
    /// Further properties, passed to Debezium as they are.
    #[serde(default)]
    pub properties: Properties,
}

/// A Debezium connector for MySQL or MariaDB.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mysql {
    /// Name; the connector is called `migration-connector-{name}`.
    pub name: String,
    /// Host of the database.
    pub host: String,
    /// Port of the database. Default 3306.
    #[serde(default)]
    pub port: Option<u16>,
    /// User that may replicate.
    pub user: String,
    /// Password. `$${file:/path:key}` is passed on as `${file:/path:key}` for Connect's own configuration providers.
    pub password: Secret,
    /// Number of this client in the replication; unique among the servers and clients of the cluster.
    pub server_id: u32,
    /// First part of every topic name; unique among all connectors.
    pub topic_prefix: String,
    /// Kafka brokers where the history of table definitions is kept, as `host:port`.
    pub history_bootstrap_servers: Vec<String>,
    /// Topic of that history. Default `schema-history.{topic_prefix}`.
    #[serde(default)]
    pub history_topic: Option<String>,
    /// Databases; each is a regular expression that must match the whole name. Empty means all.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Tables as `database.table`; each is a regular expression that must match the whole name. Empty means all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// What to read before streaming. Default `initial`.
    #[serde(default)]
    pub snapshot_mode: Option<MysqlSnapshotMode>,
    /// How often a heartbeat record is sent. Default `10s`; `0s` sends none.
    #[serde(default)]
    pub heartbeat_interval: Option<Millis>,
    /// Statement run in the source database with every heartbeat, so that offsets move on an idle database.
    #[serde(default)]
    pub heartbeat_query: Option<String>,
    /// Further properties, passed to Debezium as they are.
    #[serde(default)]
    pub properties: Properties,
}

/// A Debezium MongoDB connector.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mongodb {
    /// Name; the connector is called `migration-connector-{name}`.
    pub name: String,
    /// Connection string, `mongodb://` or `mongodb+srv://`. Credentials belong into `user` and `password`.
    pub connection_string: Secret,
    /// User that may read change streams.
    #[serde(default)]
    pub user: Option<String>,
    /// Password. `$${file:/path:key}` is passed on as `${file:/path:key}` for Connect's own configuration providers.
    #[serde(default)]
    pub password: Option<Secret>,
    /// First part of every topic name; unique among all connectors.
    pub topic_prefix: String,
    /// Databases; each is a regular expression that must match the whole name. Empty means all.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Collections as `database.collection`; each is a regular expression that must match the whole name. Empty means all.
    #[serde(default)]
    pub collections: Vec<String>,
    /// How much of a changed document an event carries. Default `change_streams_update_full`.
    #[serde(default)]
    pub capture_mode: Option<MongodbCaptureMode>,
    /// What to read before streaming. Default `initial`.
    #[serde(default)]
    pub snapshot_mode: Option<MongodbSnapshotMode>,
    /// How often a heartbeat record is sent. Default `10s`; `0s` sends none.
    #[serde(default)]
    pub heartbeat_interval: Option<Millis>,
    /// Further properties, passed to Debezium as they are.
    #[serde(default)]
    pub properties: Properties,
}

super::opaque::opaque_debug!(
    Connectors,
    BasicAuth,
    Tls,
    Restart,
    Progress,
    ProgressKafka,
    Connector,
    Postgresql,
    Mysql,
    Mongodb
);

/// A closed set of words that Debezium takes: the same spelling here, there and in messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// The word as Debezium spells it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// How Debezium makes a publication that is not there.
    PublicationMode {
        /// The publication must exist.
        Disabled = "disabled",
        /// For the captured tables; their owner may do it.
        Filtered = "filtered",
        /// For all tables; needs a superuser.
        AllTables = "all_tables",
        /// An empty one.
        NoTables = "no_tables",
    }
}

words! {
    /// What a PostgreSQL connector reads before streaming.
    PostgresqlSnapshotMode {
        /// Everything, at every start.
        Always = "always",
        /// Everything, once.
        Initial = "initial",
        /// Everything, once, and then nothing more.
        InitialOnly = "initial_only",
        /// Nothing: only changes from now on.
        NoData = "no_data",
        /// Everything, when the stored position is no longer available.
        WhenNeeded = "when_needed",
        /// As the `snapshot.mode.configuration.based.*` properties say.
        ConfigurationBased = "configuration_based",
        /// As the class in `snapshot.mode.custom.name` says.
        Custom = "custom",
    }
}

words! {
    /// What a MySQL or MariaDB connector reads before streaming.
    MysqlSnapshotMode {
        /// Everything, at every start.
        Always = "always",
        /// Everything, once.
        Initial = "initial",
        /// Everything, once, and then nothing more.
        InitialOnly = "initial_only",
        /// Only table definitions.
        NoData = "no_data",
        /// Table definitions again, after the history topic was lost.
        Recovery = "recovery",
        /// Everything, when the stored position is no longer available.
        WhenNeeded = "when_needed",
        /// As the `snapshot.mode.configuration.based.*` properties say.
        ConfigurationBased = "configuration_based",
        /// As the class in `snapshot.mode.custom.name` says.
        Custom = "custom",
    }
}

words! {
    /// What a MongoDB connector reads before streaming.
    MongodbSnapshotMode {
        /// Everything, at every start.
        Always = "always",
        /// Everything, once.
        Initial = "initial",
        /// Everything, once, and then nothing more.
        InitialOnly = "initial_only",
        /// Nothing: only changes from now on.
        NoData = "no_data",
        /// Everything, when the stored position is no longer available.
        WhenNeeded = "when_needed",
        /// As the `snapshot.mode.configuration.based.*` properties say.
        ConfigurationBased = "configuration_based",
        /// As the class in `snapshot.mode.custom.name` says.
        Custom = "custom",
    }
}

words! {
    /// How much of a changed document an event carries.
    MongodbCaptureMode {
        /// The change alone.
        ChangeStreams = "change_streams",
        /// The change and the document as it is when looked up.
        UpdateFull = "change_streams_update_full",
        /// As above, and the document as it was before.
        UpdateFullWithPreImage = "change_streams_update_full_with_pre_image",
        /// The change and the document before it.
        WithPreImage = "change_streams_with_pre_image",
    }
}

/// Properties passed through: text, numbers and booleans, sent as text. Any of them may be a secret: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Properties(IndexMap<String, PropertyValue>);

impl Properties {
    /// Names and values in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.0.as_str()))
    }

    /// The value of one property.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.0.as_str())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), PropertyValue(value.into()))).collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Kafka Connect takes strings only, but nobody wants to quote `max.batch.size: 2048`.
#[derive(Clone, PartialEq, Eq)]
struct PropertyValue(String);

impl<'de> Deserialize<'de> for PropertyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl de::Visitor<'_> for Scalar {
            type Value = PropertyValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number or a boolean")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<PropertyValue, E> {
                Ok(PropertyValue(value.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<PropertyValue, E> {
                Ok(PropertyValue(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<PropertyValue, E> {
                Ok(PropertyValue(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<PropertyValue, E> {
                Ok(PropertyValue(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<PropertyValue, E> {
                Ok(PropertyValue(value.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl JsonSchema for PropertyValue {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("PropertyValue")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r#"
url: http://connect:8083
basic_auth: { username: ops, password: canary-http }
list:
  - postgresql:
      name: shop
      host: db
      dbname: shop
      user: replicator
      password: canary-pg
      topic_prefix: shop
      slot: whimbrel_shop
      publication: whimbrel_shop
      tables: [public.orders]
      properties: { max.batch.size: 2048, tombstones.on.delete: true, "database.ssl.password": canary-tls }
  - mongodb: { name: docs, connection_string: "mongodb://u:canary-mongo@h/?replicaSet=rs0", topic_prefix: docs }
"#;

    #[test]
    fn the_section_reads_from_yaml_and_numbers_become_text() {
        let raw: Connectors = serde_saphyr::from_str(YAML).unwrap();
        assert_eq!(raw.list.len(), 2);
        let Connector::Postgresql(pg) = &raw.list[0] else { panic!("{:?}", raw.list[0]) };
        assert_eq!(pg.properties.get("max.batch.size"), Some("2048"));
        assert_eq!(pg.properties.get("tombstones.on.delete"), Some("true"));
        assert_eq!(pg.password.expose(), "canary-pg");
    }

    #[test]
    fn debug_shows_no_secret() {
        let raw: Connectors = serde_saphyr::from_str(YAML).unwrap();
        let Connector::Postgresql(pg) = &raw.list[0] else { panic!("{:?}", raw.list[0]) };
        let shown = format!("{raw:?} {:?} {pg:?} {:?}", raw.list, pg.properties);
        assert!(!shown.contains("canary") && !shown.contains("replicator"), "{shown}");
        assert!(shown.contains("max.batch.size"), "names of properties are no secret: {shown}");
    }

    #[test]
    fn unknown_fields_and_unknown_words_are_refused() {
        for (from, to) in [
            ("host: db", "hots: db"),
            ("- mongodb:", "- mongo:"),
            ("dbname: shop", "dbname: shop\n      snapshot_mode: never"),
        ] {
            let yaml = YAML.replacen(from, to, 1);
            assert_ne!(yaml, YAML);
            assert!(serde_saphyr::from_str::<Connectors>(&yaml).is_err(), "{to}");
        }
    }

    #[test]
    fn every_field_is_described_in_the_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(Connectors)).unwrap();
        let definitions = schema["$defs"].as_object().unwrap();
        assert!(definitions.contains_key("Postgresql"));
        for (name, definition) in definitions.iter().chain([(&"root".to_owned(), &schema)]) {
            for (field, described) in definition["properties"].as_object().into_iter().flatten() {
                assert!(described["description"].is_string(), "{name}.{field}");
            }
        }
    }
}
