//! What may be written in the configuration file: plain serde structs, unknown fields refused.
//!
//! Debug prints of these structs are bare names: any text field may hold what a reference was resolved to.
//!
//! Doc comments here become the descriptions in the JSON Schema (`whimbrel config schema`). Nothing but `config/` and the
//! `config.rs` of each stage reads these types: they become validated types first.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::secret::Secret;
use super::units::{ByteSize, Millis};
use super::written::Written;

/// Whimbrel's configuration.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of this agent, in `service.instance.id` and logs. Default: the host's name.
    pub name: Option<String>,
    /// HTTP endpoint for /metrics, /healthz, /readyz and /api/v1.
    pub http: Http,
    /// Export over the OpenTelemetry protocol.
    pub otlp: Option<Otlp>,
    /// Logs.
    pub log: Log,
    /// Budgets of the metrics export.
    pub metrics: Metrics,
    /// Settings of the plugin host that hold for all plugins.
    pub plugins: Plugins,
    /// The pipelines.
    pub pipelines: Vec<Pipeline>,
    /// Debezium connectors as desired state.
    pub connectors: Option<super::connectors::Connectors>,
    /// Migrations: directories of versioned changes and their databases.
    pub migrations: Vec<super::migrations::Migrations>,
    /// History, rules, alerts. Without it nothing of the kind.
    pub monitor: Option<super::monitor::Monitor>,
}

/// HTTP endpoint.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port to listen on. Loopback by default: nothing here asks for a password. Port 0 picks a free one.
    pub listen: String,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into() }
    }
}

/// OTLP export.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Base URL of the collector, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Wire protocol.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Extra headers, such as authorization.
    #[serde(default)]
    pub headers: IndexMap<String, Secret>,
    /// TLS to the collector, for an `https` endpoint.
    pub tls: Option<OtlpTls>,
    /// Export metrics.
    #[serde(default = "yes")]
    pub metrics: bool,
    /// Export traces.
    #[serde(default = "yes")]
    pub traces: bool,
    /// Export logs.
    #[serde(default = "yes")]
    pub logs: bool,
    /// How often metrics are pushed. Default 10s.
    pub interval: Option<Millis>,
    /// Time-out of one export. Default 10s.
    pub timeout: Option<Millis>,
    /// Also emit the collector's and the semantic conventions' names (`kafka.consumer_group.lag`,
    /// `db.client.operation.duration`).
    #[serde(default)]
    pub semantic_conventions: bool,
}

/// TLS to the collector.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpTls {
    /// PEM file of trusted authorities, and no others. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
}

/// Wire protocol of OTLP.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// HTTP with protobuf bodies (port 4318 by convention).
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// gRPC (port 4317 by convention).
    #[serde(rename = "grpc")]
    Grpc,
}

/// Logs.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Filter such as `info` or `info,whimbrel::pipeline=debug`. Default `info`; the WHIMBREL_LOG variable wins.
    pub level: Option<String>,
    /// Human lines or JSON objects. Default: human on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// Also append JSON lines to this file.
    pub file: Option<PathBuf>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Budgets of the metrics export.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Most series per metric; what comes after goes to one overflow series and is counted. Default 2000.
    pub max_series_per_metric: Option<usize>,
}

/// Settings of the plugin host.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// Where compiled code is cached. Default: the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// Where the state of plugins is kept. Default: in memory, and gone with the agent.
    pub state_file: Option<PathBuf>,
    /// Load a plugin again when its file changes. Default true.
    pub watch: Option<bool>,
    /// Which plugin files may run. Default: any.
    pub trust: Trust,
    /// What `whimbrel plugin record` may take from this agent. Default `redacted`.
    pub record: Record,
    /// Folder for repro bundles: a replay case, with its values, of each event that a plugin crashes on. Default: none are
    /// written.
    pub repro_dir: Option<PathBuf>,
    /// How many repro bundles are kept, the newest. Default 20.
    pub repro_keep: Option<usize>,
}

/// What it means when no trusted key signed a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signatures {
    /// The plugin is refused.
    Require,
    /// It is said in the log, and the plugin is taken.
    Warn,
    /// Signatures are not looked at.
    #[default]
    Off,
}

/// Which plugin files may run. Bundled plugins always may.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// A lock file of `whimbrel plugin pull`: only what is in it runs.
    pub lock: Option<PathBuf>,
    /// What it means when no trusted key signed a plugin. Default `off`.
    pub signatures: Signatures,
    /// Public keys of those who may sign, PEM.
    pub keys: Vec<PathBuf>,
}

/// What may be taken from a running agent as a replay case.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Nothing.
    Off,
    /// The shape of a batch: no value, only its type and length.
    #[default]
    Redacted,
    /// Also the values of columns that are asked for.
    Values,
}

/// A pipeline.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Name: letters, digits, `-` and `_`. Part of the identity of its state in the target: a renamed pipeline starts anew.
    pub name: String,
    /// The migration it is part of, for `whimbrel check --migration-id` and `migration_data_lag_seconds`. Default: its name.
    #[serde(default)]
    pub migration_id: Option<String>,
    /// Where records come from.
    pub source: Source,
    /// How records are read.
    #[serde(default)]
    pub decode: Decode,
    /// Plugins, in order.
    #[serde(default)]
    pub transform: Vec<Transform>,
    /// Where rows go.
    pub target: Target,
    /// How tables are mapped; the first entry that matches counts. Without one, a table goes to a table or collection of
    /// its own name.
    #[serde(default)]
    pub tables: Vec<TableMapping>,
    /// Guarantees, batches, retries, dead letters.
    #[serde(default)]
    pub delivery: Delivery,
    /// Lag states.
    #[serde(default)]
    pub lag: Lag,
}

/// A source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Source {
    /// Kafka.
    Kafka(Kafka),
}

/// Kafka as source.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Bootstrap brokers, `host:port`.
    pub brokers: Vec<String>,
    /// Topics by name. Default `database.changes` when neither this nor `topic_pattern` is given.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Topics by regular expression, matched against the whole name; new topics are picked up while running.
    pub topic_pattern: Option<String>,
    /// Heartbeat topics of the connectors (`__debezium-heartbeat.PREFIX`), read too so that an idle source can be told
    /// from a silent one.
    #[serde(default)]
    pub heartbeat_topics: Vec<String>,
    /// Consumer group. Default `migration-consumer`.
    pub group: Option<String>,
    /// Where to begin with a partition that has no stored state. Default `earliest`.
    #[serde(default)]
    pub start: Start,
    /// TLS to the brokers.
    pub tls: Option<KafkaTls>,
    /// SASL login.
    pub sasl: Option<KafkaSasl>,
    /// Most bytes librdkafka may hold ahead of the pipeline. Default 8MiB.
    pub prefetch: Option<ByteSize>,
    /// Session time-out of the group. Default 45s.
    pub session_timeout: Option<Millis>,
    /// Further librdkafka properties; only harmless ones are allowed.
    #[serde(default)]
    pub properties: IndexMap<String, String>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the oldest record kept.
    #[default]
    Earliest,
    /// At the end.
    Latest,
    /// Refuse to begin: an operator must decide.
    Error,
}

/// TLS to Kafka.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaTls {
    /// PEM file of trusted authorities. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
    /// Password of the key.
    pub key_password: Option<Secret>,
    /// Check the broker's host name. Default true.
    pub verify_hostname: Option<bool>,
}

/// SASL login to Kafka.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    /// Mechanism.
    pub mechanism: SaslMechanism,
    /// User.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// SASL mechanism.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// How records are read.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Decode {
    /// Debezium's `unavailable.value.placeholder`. Default `__debezium_unavailable_value`.
    pub unavailable_placeholder: Option<String>,
    /// Largest record that is decoded; larger ones are dead letters. Default 16MiB.
    pub max_record: Option<ByteSize>,
    /// Types of columns for topics without an embedded schema, by `schema.table.column` (`*` for any part), such as
    /// `public.orders.total: decimal(2)`.
    pub types: IndexMap<String, String>,
    /// What becomes of MongoDB updates that came without the document. Default `dead_letter`.
    pub updates_without_document: WithoutDocument,
}

/// MongoDB updates without the document. What they say of the change cannot be applied exactly: in `a.0` neither the dot nor
/// the number tells a path from a name.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WithoutDocument {
    /// Each is a dead letter, and later events of its key park behind it.
    #[default]
    DeadLetter,
    /// They are counted and left out. Right where the connector's capture mode is `change_streams_update_full` (or the one
    /// with pre-images): the document was deleted before the connector looked it up, and its delete follows. With any other
    /// capture mode every update would be lost.
    Skip,
}

/// A plugin in the chain.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Name in metrics and logs. Default: the plugin's own name.
    pub name: Option<String>,
    /// A bundled plugin (`mask-fields`, `route`) or the path of a component file.
    pub plugin: String,
    /// The plugin's own configuration.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The same as the file has it: with references where `config` has secrets. The loader fills it in.
    #[serde(skip)]
    pub written: Written,
    /// What happens to a batch when the plugin traps. Default `halt`.
    #[serde(default)]
    pub on_trap: OnTrap,
    /// Limits of each call.
    #[serde(default)]
    pub limits: Limits,
    /// What the plugin may use beyond its batch and the log. Nothing, unless written here.
    #[serde(default)]
    pub grants: Grants,
    /// Another version that runs beside it on copies of its batches, to be compared and never applied.
    pub shadow: Option<Shadow>,
}

/// A version of a plugin in the shadow of another. It has the same grants, and state of its own that is not kept.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// A bundled plugin or the path of a component file.
    pub plugin: String,
    /// Its configuration. Default: that of the plugin at work.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// The same as the file has it.
    #[serde(skip)]
    pub written: Written,
    /// The share of batches it sees, above 0 and at most 1. Default 1.
    pub sample: Option<f64>,
    /// Limits of each of its calls. Default: those of the plugin at work.
    pub limits: Option<Limits>,
}

/// What a transform may use. An interface that it uses and that is not granted keeps it from loading.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// How much state the agent keeps for it between calls.
    pub state: Option<ByteSize>,
    /// Series of its own, `plugin_custom_*{plugin,name}`.
    pub metrics: bool,
    /// The wall clock.
    pub clock: bool,
}

/// Trap policy.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnTrap {
    /// Pause the pipeline until somebody acts.
    #[default]
    Halt,
    /// Only the event that makes it trap goes to the dead letters.
    DeadLetter,
    /// The event passes untransformed. Never for plugins that mask.
    Pass,
}

/// Limits of a plugin.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest call. Default 1s.
    pub call: Option<Millis>,
    /// Most linear memory. Default 64MiB.
    pub memory: Option<ByteSize>,
    /// So many traps within 60s put the plugin into quarantine. Default 5.
    pub traps: Option<u32>,
    /// How long an instance serves before a fresh one takes its place between two calls. Default 1h.
    pub recycle_after: Option<Millis>,
}

/// A target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Target {
    /// MongoDB.
    Mongodb(MongoTarget),
    /// PostgreSQL.
    Postgresql(PostgresTarget),
    /// SQLite, embedded.
    Sqlite(SqliteTarget),
    /// NDJSON on standard output or into a file: for looking and for pipes; at_least_once only.
    Stdout(StdoutTarget),
}

/// MongoDB as target.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongoTarget {
    /// Connection string. May hold a password, so it is never printed.
    pub uri: Secret,
    /// Database the collections are in.
    pub database: String,
    /// Database of the agent's own collections (`whimbrel_offsets`, …). Default: the same.
    pub state_database: Option<String>,
    /// How a composite key becomes `_id`. A key of one column is always the plain value.
    #[serde(default)]
    pub composite_id: CompositeId,
    /// Keep the key columns as fields too, beside `_id`. Default true.
    #[serde(default = "yes")]
    pub key_fields: bool,
    /// What to do with field names that start with `$` or contain a dot. Default `keep` inside JSON values, which MongoDB
    /// stores but cannot update by path.
    #[serde(default)]
    pub odd_field_names: OddFieldNames,
    /// Also write one document per effect (topic, partition, offset) to `whimbrel_ledger`: an audit trail.
    #[serde(default)]
    pub ledger: bool,
    /// Connect and server selection time-out. Default 10s.
    pub timeout: Option<Millis>,
}

/// How a composite key becomes `_id`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CompositeId {
    /// A sub-document with the key columns in key order.
    #[default]
    Document,
    /// The values as text, joined by `:` (percent-encoded where they contain one).
    Joined,
}

/// Policy for field names that MongoDB cannot address.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OddFieldNames {
    /// Store them as they are.
    #[default]
    Keep,
    /// Replace `$` by U+FF04 and `.` by U+FF0E.
    Replace,
    /// Dead-letter the event.
    Reject,
}

/// PostgreSQL as target.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresTarget {
    /// Connection string (`postgresql://user:password@host:port/db?sslmode=…` or key=value form). Never printed.
    pub uri: Secret,
    /// Schema for tables whose mapped name has none. Default `public`.
    pub schema: Option<String>,
    /// Schema of the agent's own tables. Default `whimbrel`.
    pub state_schema: Option<String>,
    /// PEM file of trusted authorities for TLS. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// Also write one row per effect (topic, partition, offset) to `ledger`: an audit trail.
    #[serde(default)]
    pub ledger: bool,
    /// Connect time-out. Default 10s.
    pub timeout: Option<Millis>,
}

/// SQLite as target.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteTarget {
    /// The database file.
    pub path: PathBuf,
    /// Also write one row per effect (topic, partition, offset) to `whimbrel_ledger`: an audit trail.
    #[serde(default)]
    pub ledger: bool,
    /// `synchronous` pragma. Default `full`: a committed batch survives a power cut.
    #[serde(default)]
    pub synchronous: Synchronous,
}

/// SQLite's `synchronous` pragma.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// fsync at every commit.
    #[default]
    Full,
    /// fsync at checkpoints: a power cut may lose the newest commits; offsets and rows still agree.
    Normal,
}

/// Standard output as target.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutTarget {
    /// Write to this file instead (appended; `/dev/null` to measure).
    pub path: Option<PathBuf>,
}

/// How a table is mapped.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableMapping {
    /// Source tables, as `schema.table` (or `db.table`) with `*` for any run of characters. Plugins may have renamed it.
    pub from: String,
    /// Target table or collection; `{schema}`, `{db}` and `{table}` stand for the source's. Default `{table}`.
    pub to: Option<String>,
    /// Leave these tables out.
    #[serde(default)]
    pub skip: bool,
    /// Key columns, for tables whose record key is missing or shall not be used. They must be in the row.
    #[serde(default)]
    pub key: Vec<String>,
    /// Columns: new name, or `null` to leave the column out. Columns not named here keep their name.
    #[serde(default)]
    pub columns: IndexMap<String, Option<String>>,
    /// Create the target table, and add columns to it, from the source's schema. Default false for SQL targets;
    /// MongoDB creates collections by itself.
    #[serde(default)]
    pub create: bool,
    /// Follow a truncate of the source. Default: count it, and leave the target alone.
    #[serde(default)]
    pub truncate: bool,
}

/// Guarantees, batches, retries, dead letters.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// Guarantee. Default `exactly_once`, for stdout `at_least_once`.
    pub mode: Option<Mode>,
    /// Size of batches.
    pub batch: BatchLimits,
    /// Back-off of retries.
    pub retry: Retry,
    /// When bad records pause the pipeline.
    pub poison: Poison,
    /// Where dead letters go.
    pub dead_letters: DeadLetters,
    /// How long in-flight batches may take at shutdown. Default 10s.
    pub shutdown_grace: Option<Millis>,
    /// at_least_once: how long a deleted row's version is remembered. Default 24h.
    pub delete_grace: Option<Millis>,
}

/// Guarantee.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Offsets in the target's transaction.
    ExactlyOnce,
    /// Rows carry versions; replays are harmless.
    AtLeastOnce,
}

/// Size of batches.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct BatchLimits {
    /// Most events. Default 1000.
    pub max_events: Option<usize>,
    /// Most bytes of payload. Default 8MiB.
    pub max_bytes: Option<ByteSize>,
    /// Longest wait for a batch to fill once it has its first event. Default 20ms.
    pub max_wait: Option<Millis>,
}

/// Back-off of retries: exponential with full jitter.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// First wait. Default 100ms.
    pub initial: Option<Millis>,
    /// Longest wait. Default 10s.
    pub max: Option<Millis>,
}

/// When bad records pause the pipeline: a bad deployment must not drain a topic into dead letters.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Poison {
    /// So many dead letters in a row pause. Default 100; 0 turns it off.
    pub max_consecutive: Option<u64>,
    /// This share of dead letters within the window pauses. Default 0.5; 0 turns it off.
    pub max_ratio: Option<f64>,
    /// Records the ratio is taken over. Default 1000.
    pub window: Option<u64>,
}

/// Where dead letters go.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetters {
    /// Put full records into this Kafka topic; the target then keeps only their coordinates. Default: all in the target.
    pub topic: Option<String>,
}

/// Lag states.
#[derive(Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Lag {
    /// How old the proof of "caught up" may be. Default 30s.
    pub proof_window: Option<Millis>,
    /// No progress for so long while there is something to do: stalled. Default 60s.
    pub stalled_after: Option<Millis>,
}

const fn yes() -> bool {
    true
}

super::opaque::opaque_debug!(
    Config,
    Http,
    Otlp,
    OtlpTls,
    Log,
    Metrics,
    Plugins,
    Pipeline,
    Kafka,
    KafkaTls,
    KafkaSasl,
    Decode,
    Transform,
    Limits,
    Grants,
    MongoTarget,
    PostgresTarget,
    SqliteTarget,
    StdoutTarget,
    TableMapping,
    Delivery,
    BatchLimits,
    Retry,
    Poison,
    DeadLetters,
    Lag,
);
