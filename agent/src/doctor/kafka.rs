//! Brokers and topics of a pipeline.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

use super::{Finding, PATIENCE, in_time};
use crate::source::kafka::KafkaConfig;
use crate::source::kafka::config::Topics;

/// Looks at brokers and topics.
pub(super) async fn examine(what: String, config: KafkaConfig) -> Vec<Finding> {
    let look = {
        let what = what.clone();
        move || blocking(&what, &config)
    };
    let looked = in_time(tokio::task::spawn_blocking(look)).await;
    match looked {
        Ok(Ok(findings)) => findings,
        Ok(Err(_)) => vec![Finding::bad(what, "the look at it failed", "run again with WHIMBREL_LOG=debug")],
        Err(late) => vec![Finding::bad(what, late, "check `brokers` and the network to them")],
    }
}

fn blocking(what: &str, config: &KafkaConfig) -> Vec<Finding> {
    let mut client = config.client();
    client.set("client.id", "whimbrel-doctor");
    client.set("group.id", format!("{}-doctor", config.group));
    client.set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer = match client.create() {
        Ok(consumer) => consumer,
        Err(error) => {
            return vec![Finding::bad(what, error.to_string(), "mend the `kafka` section of the pipeline")];
        }
    };
    let metadata = match consumer.fetch_metadata(None, PATIENCE / 2) {
        Ok(metadata) => metadata,
        Err(error) => {
            let remedy = "check `brokers`, `tls` and `sasl`, and that the addresses which the brokers advertise can be \
                          reached from here";
            return vec![Finding::bad(what, format!("no broker answers: {error}"), remedy)];
        }
    };
    let brokers = metadata.brokers().len();
    let mut all = vec![Finding::good(what, format!("{brokers} broker{} known", if brokers == 1 { "" } else { "s" }))];
    all.extend(topics(what, config, &metadata));
    all.extend(heartbeats(what, config, &metadata));
    all
}

fn topics(what: &str, config: &KafkaConfig, metadata: &Metadata) -> Vec<Finding> {
    let names = || metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
    match &config.topics {
        Topics::Names(wanted) => wanted.iter().map(|topic| named(what, topic, metadata)).collect(),
        Topics::Pattern(pattern) => {
            let count = names().filter(|name| pattern.is_match(name)).count();
            let what = format!("{what} topics");
            vec![if count > 0 {
                Finding::good(what, format!("{count} match `{pattern}`"))
            } else {
                Finding::warning(
                    what,
                    format!("none matches `{pattern}` that this user may see"),
                    "start the connector, correct `topic_pattern`, or grant DESCRIBE and READ on the topics",
                )
            }]
        }
    }
}

fn named(what: &str, topic: &str, metadata: &Metadata) -> Finding {
    let what = format!("{what} topic {topic}");
    let found = metadata.topics().iter().find(|known| known.name() == topic);
    let Some(found) = found else {
        let remedy = "start the connector, correct the name, or grant DESCRIBE and READ on it";
        return Finding::bad(what, "does not exist, or this user may not see it", remedy);
    };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return Finding::bad(what, code.to_string(), "see what the broker's log says of it");
    }
    let leaderless = found.partitions().iter().filter(|partition| partition.leader() < 0).count();
    let count = found.partitions().len();
    if leaderless > 0 {
        let said = format!("{leaderless} of {count} partitions have no leader");
        return Finding::bad(what, said, "bring the brokers back that hold them");
    }
    Finding::good(what, format!("{count} partition{}", if count == 1 { "" } else { "s" }))
}

/// An idle stream is proven caught up by heartbeats alone.
fn heartbeats(what: &str, config: &KafkaConfig, metadata: &Metadata) -> Vec<Finding> {
    if config.heartbeat_topics.is_empty() {
        return vec![Finding::warning(
            format!("{what} heartbeats"),
            "no `heartbeat_topics`: an idle stream cannot be proven caught up, its lag will be unknown",
            "set heartbeat.interval.ms on the connector and name its topic under `heartbeat_topics`",
        )];
    }
    config.heartbeat_topics.iter().map(|topic| named(what, topic, metadata)).collect()
}
