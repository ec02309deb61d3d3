//! Re-drives dead letters: what was parked goes through decode, plugins and mapping again, key by key and in order.
//!
//! One target transaction per key applies the letters that work now and deletes them from the store; the target fences it
//! against a running agent that parks more behind the same key. What fails again stays, and so does everything behind it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::mapping::Mapper;
use super::plan::Planner;
use super::retry::{Action, action};
use crate::batch::Batch;
use crate::decode::{Decoder, Record};
use crate::event::Reason;
use crate::runtime::logging::chain;
use crate::source::kafka::fetch::Fetcher;
use crate::source::kafka::watch::now_ms;
use crate::target::{DeadLetterFilter, ErrorKind, KafkaCoordinates, StoredDeadLetter, Target, TargetError, WriteBatch};
use crate::transform::{Chain, ChainError};

/// How often a transient failure is tried before the command gives up; nothing is lost by that.
const ATTEMPTS: u32 = 5;
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Redriven {
    /// Letters that are applied now.
    pub applied: u64,
    /// Letters that failed again: where they came from, and why.
    pub failed: Vec<FailedAgain>,
    /// Letters that wait behind one that failed.
    pub waiting: u64,
}

/// A letter that failed again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FailedAgain {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Reason label.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

/// Why re-driving stopped.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// The target failed in a way that is not about a row.
    #[error("the target failed")]
    Target(#[from] TargetError),
    /// A plugin halted.
    #[error("a plugin halted")]
    Plugin(#[from] ChainError),
    /// The payload is in Kafka and cannot be read.
    #[error("the record at {topic}/{partition} offset {offset} of the dead-letter topic cannot be read")]
    Payload {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// Cause.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

/// Re-drives the letters that `filter` selects, and all others of their keys: order is kept.
///
/// # Errors
/// What is not about a single row; letters handled before are settled.
pub async fn redrive(
    settings: &Settings,
    target: &mut dyn Target,
    plugins: &mut Chain,
    filter: &DeadLetterFilter,
) -> Result<Redriven, RedriveError> {
    target.open().await?;
    let mut done = Redriven::default();
    let mut seen: HashSet<(String, Vec<u8>)> = HashSet::new();
    for letter in target.dead_letters(&settings.name, filter).await? {
        let Some(key) = letter.key.clone() else {
            run_group(settings, target, plugins, vec![letter], &mut done).await?;
            continue;
        };
        if !seen.insert((letter.topic.clone(), key.clone())) {
            continue;
        }
        let all = DeadLetterFilter {
            topic: Some(letter.topic.clone()),
            key: Some(key),
            limit: usize::MAX,
            ..DeadLetterFilter::default()
        };
        let group = target.dead_letters(&settings.name, &all).await?;
        run_group(settings, target, plugins, group, &mut done).await?;
    }
    Ok(done)
}

/// Re-drives the letters of one key, in the order of their offsets.
async fn run_group(
    settings: &Settings,
    target: &mut dyn Target,
    plugins: &mut Chain,
    letters: Vec<StoredDeadLetter>,
    done: &mut Redriven,
) -> Result<(), RedriveError> {
    let mut batch = decode(settings, &letters)?;
    plugins.apply(&mut batch)?;
    let mut planner = Planner::new(Mapper::new(settings.mapping.clone()));
    let mut limit = letters.len();
    let mut attempts = 0;
    loop {
        let plan = planner.plan(&mut batch, 0..limit);
        let stays: HashSet<u32> = plan.dead_letters.iter().map(|l| l.event).collect();
        let settled: Vec<KafkaCoordinates> = letters
            .iter()
            .take(limit)
            .enumerate()
            .filter(|(at, _)| u32::try_from(*at).is_ok_and(|at| !stays.contains(&at)))
            .map(|(_, l)| KafkaCoordinates { topic: l.topic.clone(), partition: l.partition, offset: l.offset })
            .collect();
        let write = WriteBatch {
            pipeline: &settings.name,
            mode: settings.delivery.mode,
            batch: &batch,
            steps: &plan.steps,
            advances: &[],
            dead_letters: &[],
            settled: &settled,
            effects: &plan.effects,
            now_ms: now_ms(),
        };
        let result = if settled.is_empty() { Ok(Default::default()) } else { target.apply(&write).await };
        let error = match result {
            Ok(_) => {
                done.applied += settled.len() as u64;
                for letter in &plan.dead_letters {
                    match (letter.reason, letters.get(letter.event as usize)) {
                        (Reason::ParkedBehind, _) | (_, None) => done.waiting += 1,
                        (reason, Some(stored)) => done.failed.push(FailedAgain {
                            topic: stored.topic.clone(),
                            partition: stored.partition,
                            offset: stored.offset,
                            reason: reason.as_str(),
                            message: letter.message.clone(),
                        }),
                    }
                }
                done.waiting += (letters.len() - limit) as u64;
                return Ok(());
            }
            Err(error) => error,
        };
        attempts += 1;
        match action(error.kind) {
            Action::Retry | Action::Resolve if attempts < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(200) * attempts).await;
                target.open().await?;
                if error.kind == ErrorKind::CommitUnknown && gone(settings, target, &settled).await? {
                    done.applied += settled.len() as u64;
                    done.waiting += stays.len() as u64;
                    return Ok(());
                }
            }
            Action::Isolate => {
                let culprit = match error.event {
                    Some(event) => event as usize,
                    // Not named: the newest of what was tried comes off until the rest works; order is kept.
                    None => limit.saturating_sub(1),
                };
                let reason = if error.kind == ErrorKind::BadValue { Reason::BadValue } else { Reason::Rejected };
                if error.event.is_none() && limit > 1 {
                    limit -= 1;
                } else if batch.events.get(culprit).is_some_and(|e| batch.failure(e).is_none()) {
                    batch.fail(culprit, reason, chain(&error));
                    limit = letters.len();
                } else {
                    return Err(error.into());
                }
            }
            _ => return Err(error.into()),
        }
    }
}

/// Whether none of these letters is stored any more.
async fn gone(settings: &Settings, target: &mut dyn Target, settled: &[KafkaCoordinates]) -> Result<bool, TargetError> {
    let Some(first) = settled.first() else { return Ok(true) };
    let filter = DeadLetterFilter {
        topic: Some(first.topic.clone()),
        partition: Some(first.partition),
        offset: Some(first.offset),
        limit: 1,
        ..DeadLetterFilter::default()
    };
    Ok(target.dead_letters(&settings.name, &filter).await?.is_empty())
}

fn decode(settings: &Settings, letters: &[StoredDeadLetter]) -> Result<Batch, RedriveError> {
    let mut decoder = Decoder::new(settings.decode.clone());
    let mut batch = Batch::default();
    let mut fetcher = None;
    for letter in letters {
        let topic: Arc<str> = Arc::from(&*letter.topic);
        let fetched = match &letter.kafka {
            None => None,
            Some(at) => {
                let failed = |source| RedriveError::Payload {
                    topic: at.topic.clone(),
                    partition: at.partition,
                    offset: at.offset,
                    source,
                };
                let fetcher = match &mut fetcher {
                    Some(fetcher) => fetcher,
                    none => none.insert(Fetcher::new(&settings.kafka).map_err(failed)?),
                };
                Some(fetcher.fetch(&at.topic, at.partition, at.offset, FETCH_TIMEOUT).map_err(failed)?)
            }
        };
        let stored = crate::batch::unpack_headers(&letter.headers);
        let headers: Vec<(&str, Option<&[u8]>)> = match &fetched {
            Some(record) => record.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect(),
            None => stored.collect(),
        };
        let value = fetched.as_ref().map_or(letter.value.as_deref(), |record| record.value.as_deref());
        let record = Record {
            topic: &topic,
            partition: letter.partition,
            offset: letter.offset,
            timestamp_ms: letter.record_ts_ms,
            key: letter.key.as_deref(),
            value,
            headers: &headers,
        };
        decoder.decode(&record, &mut batch);
    }
    Ok(batch)
}
