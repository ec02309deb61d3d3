//! Records that the target does not hold: in the topic for dead letters, or too large for it and still in the source topic.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::batch::Batch;
use crate::source::kafka::KafkaConfig;
use crate::source::kafka::fetch::Fetcher;
use crate::target::{KafkaCoordinates, StoredDeadLetter};

/// For one record; a broker that is there answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A letter whose record cannot be read.
pub(super) struct Unreadable {
    /// Which of the letters.
    pub(super) letter: usize,
    /// Why, with the coordinates that were tried.
    pub(super) why: String,
}

/// Reads what is in Kafka into the letters. Kafka is asked no more once it has not answered: each letter would wait anew.
pub(super) fn fetch(config: &KafkaConfig, letters: &mut [StoredDeadLetter]) -> Vec<Unreadable> {
    let mut unreadable = Vec::new();
    let mut fetcher = None;
    let mut silent = false;
    for (at, letter) in letters.iter_mut().enumerate() {
        let Some(kafka) = letter.kafka.clone() else { continue };
        let result = if silent {
            Err("kafka did not answer before".to_owned())
        } else {
            record(config, &mut fetcher, &kafka, letter).map_err(|error| {
                silent = is_away(error.rdkafka_error_code());
                explained(&error)
            })
        };
        if let Err(why) = result {
            let KafkaCoordinates { topic, partition, offset } = kafka;
            unreadable.push(Unreadable { letter: at, why: format!("{topic}[{partition}]@{offset}: {why}") });
        }
    }
    unreadable
}

fn record(
    config: &KafkaConfig,
    fetcher: &mut Option<Fetcher>,
    at: &KafkaCoordinates,
    letter: &mut StoredDeadLetter,
) -> Result<(), KafkaError> {
    let fetcher = match fetcher {
        Some(fetcher) => fetcher,
        none => none.insert(Fetcher::new(config)?),
    };
    let record = fetcher.fetch(&at.topic, at.partition, at.offset, TIMEOUT)?;
    let mut batch = Batch::default();
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
    let span = batch.push_headers(headers);
    letter.headers = batch.bytes(span).to_vec();
    letter.value = record.value;
    letter.key = record.key.or_else(|| letter.key.take());
    Ok(())
}

fn is_away(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    matches!(code, Some(OperationTimedOut | AllBrokersDown | BrokerTransportFailure))
}

fn explained(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
            "the record is not in the topic any more; its retention is over".to_owned()
        }
        code if is_away(code) => "kafka does not answer; check the brokers of `source.kafka`".to_owned(),
        _ => error.to_string(),
    }
}
