//! How many records a heartbeat topic has ever had.
//!
//! Owns a Kafka client that only asks for end offsets: it joins no group and reads no record.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::config::connectors::ProgressKafka;

/// Brokers on the way back from a restart answer within seconds; a status command should not wait longer for them.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks at heartbeat topics.
#[derive(Clone)]
pub struct HeartbeatProbe {
    consumer: Arc<BaseConsumer>,
}

impl std::fmt::Debug for HeartbeatProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeartbeatProbe")
    }
}

/// Why a heartbeat topic could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The client refused its settings.
    #[error("cannot set up the kafka client for heartbeat topics")]
    Setup(#[source] KafkaError),
    /// Kafka did not answer.
    #[error("cannot read the end of heartbeat topic {topic}")]
    Read {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The look was cut short by shutdown.
    #[error("the look at heartbeat topic {topic} was cut short")]
    CutShort {
        /// The topic.
        topic: String,
    },
}

impl HeartbeatProbe {
    /// A probe of that cluster; no connection is made yet.
    ///
    /// # Errors
    /// Settings that librdkafka does not take.
    pub fn new(kafka: &ProgressKafka) -> Result<Self, HeartbeatError> {
        let consumer = client_config(kafka).create().map_err(HeartbeatError::Setup)?;
        Ok(Self { consumer: Arc::new(consumer) })
    }

    /// The sum of all partitions' end offsets; 0 for a topic that does not exist.
    ///
    /// # Errors
    /// Kafka did not answer.
    pub async fn records(&self, topic: String) -> Result<i64, HeartbeatError> {
        let consumer = Arc::clone(&self.consumer);
        let name = topic.clone();
        // librdkafka's calls block.
        tokio::task::spawn_blocking(move || records(&consumer, &topic))
            .await
            .map_err(|_| HeartbeatError::CutShort { topic: name })?
    }
}

fn records(consumer: &BaseConsumer, topic: &str) -> Result<i64, HeartbeatError> {
    let failed = |source| HeartbeatError::Read { topic: topic.to_owned(), source };
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).map_err(failed)?;
    let Some(described) = metadata.topics().iter().find(|described| described.name() == topic) else { return Ok(0) };
    if let Some(error) = described.error() {
        return match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(0),
            code => Err(failed(KafkaError::MetadataFetch(code))),
        };
    }
    let mut sum = 0;
    for partition in described.partitions() {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), LIMIT).map_err(failed)?;
        sum += end;
    }
    Ok(sum)
}

fn client_config(kafka: &ProgressKafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers.join(","));
    // A look must not create what it looks for.
    config.set("allow.auto.create.topics", "false");
    config.set("enable.auto.commit", "false");
    config.set("client.id", "whimbrel-connectors");
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &kafka.tls {
        for (key, path) in [
            ("ssl.ca.location", &tls.ca_file),
            ("ssl.certificate.location", &tls.cert_file),
            ("ssl.key.location", &tls.key_file),
        ] {
            if let Some(path) = path {
                config.set(key, path.display().to_string());
            }
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", password.expose());
        }
        if tls.verify_hostname == Some(false) {
            config.set("ssl.endpoint.identification.algorithm", "none");
        }
    }
    if let Some(sasl) = &kafka.sasl {
        use crate::config::raw::SaslMechanism;
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanism", mechanism);
        config.set("sasl.username", &sasl.username);
        config.set("sasl.password", sasl.password.expose());
    }
    config
}
