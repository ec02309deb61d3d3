//! The demo's surroundings: the in-process broker, the directory, and the configuration the agent runs with.

use std::path::{Path, PathBuf};

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::envelope::{heartbeat_topic, topic};
use super::shop::Table;

/// Partitions of each topic: enough that order per key is something to keep.
pub(crate) const PARTITIONS: i32 = 3;
/// Name of the pipeline.
pub(crate) const PIPELINE: &str = "demo";

/// Broker and directory. Both are gone when it is dropped, unless the directory is to be kept.
pub(crate) struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    directory: PathBuf,
    keep: bool,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorldError {
    /// The broker.
    #[error("the in-process broker could not be started")]
    Broker(#[from] KafkaError),
    /// The directory.
    #[error("the demo's directory {path} could not be made or written")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is an older demo in the directory: its rows would not be this one's.
    #[error("{0} holds a database already; name an empty directory")]
    NotEmpty(PathBuf),
}

impl World {
    /// Starts the broker and makes the directory: `keep`, or one of its own in the temporary directory.
    pub(crate) fn new(keep: Option<&Path>) -> Result<Self, WorldError> {
        let directory = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("whimbrel-demo-{}", uuid::Uuid::new_v4())),
        };
        let failed = |source| WorldError::Directory { path: directory.clone(), source };
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let cluster = MockCluster::new(1)?;
        for table in Table::ALL {
            cluster.create_topic(&topic(table), PARTITIONS, 1)?;
        }
        cluster.create_topic(&heartbeat_topic(), 1, 1)?;
        let world = Self { cluster, directory, keep: keep.is_some() };
        if world.database().exists() {
            return Err(WorldError::NotEmpty(world.directory.clone()));
        }
        std::fs::write(world.config(), world.yaml())
            .map_err(|source| WorldError::Directory { path: world.directory.clone(), source })?;
        Ok(world)
    }

    /// Where the broker listens.
    pub(crate) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// The SQLite file.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join("shop.db")
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("whimbrel.yaml")
    }

    /// The agent's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("whimbrel.log")
    }

    /// Leaves the directory behind.
    pub(crate) const fn keep(&mut self) {
        self.keep = true;
    }

    /// The directory, when it stays.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.keep.then_some(self.directory.as_path())
    }

    /// What an operator would have written.
    fn yaml(&self) -> String {
        let topics = Table::ALL.map(topic).join(", ");
        // JSON strings are YAML strings: a path may hold anything.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let brokers = self.brokers().split(',').map(text).collect::<Vec<_>>().join(", ");
        let database = text(&self.database().display().to_string().replace("${", "$${"));
        let heartbeats = heartbeat_topic();
        format!(
            "# What the demo ran with.
name: demo
http: {{listen: 127.0.0.1:0}}
pipelines:
  - name: {PIPELINE}
    source:
      kafka:
        brokers: [{brokers}]
        topics: [{topics}]
        heartbeat_topics: [{heartbeats}]
        group: whimbrel-demo
        session_timeout: 6s
    decode:
      types:                       # the records come without embedded schema
        public.*.id: int64
        public.*.order_id: int64
        public.*.customer_id: int64
        public.*.line: int32
        public.*.quantity: int32
        public.customers.active: boolean
        public.customers.created_at: text
        public.orders.placed_at: int64
    transform:
      - plugin: mask-fields
        config:
          rules:
            - columns: [email]
    target:
      sqlite:
        path: {database}
        ledger: true
        synchronous: normal
    tables:
      - from: \"*\"
        create: true
    delivery:
      mode: exactly_once
    lag: {{proof_window: 10s, stalled_after: 20s}}
"
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "the demo's directory stays");
        }
    }
}
