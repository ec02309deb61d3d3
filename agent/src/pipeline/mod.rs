//! Joins source, decode, transform and target; owns batching, order, acknowledgement and what is done about errors.
//!
//! Three threads a pipeline. The *reader* polls, decodes and transforms, and where the target has an encoder plans and
//! encodes ahead; the *writer* plans what is not planned yet and applies, on a runtime of its own, so that CPU-heavy work
//! never runs on the agent's async workers; between them stands one bounded channel. The
//! *watcher* looks at the ends of the partitions and at heartbeats, for lag. Upstream is acknowledged only after the
//! target confirmed.

mod ahead;
pub mod config;
mod dead_letters;
pub mod mapping;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod poison;
mod reader;
pub mod redrive;
mod report;
pub mod retry;
mod shared;
mod spans;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::ahead::PlanAhead;
use self::config::DeliveryConfig;
use self::dead_letters::DeadLetterTopic;
use self::mapping::{Mapper, Mapping};
use self::plan::Planner;
use self::poison::PoisonBudget;
use self::reader::{End, Limits, Reader, State};
use self::retry::Backoff;
use self::shared::{Part, Shared};
use self::spans::Spans;
use self::writer::Writer;
use crate::decode::{DecodeConfig, Decoder};
use crate::export::trace::Traces;
use crate::runtime::logging;
use crate::source::kafka::watch::{Watch, now_ms};
use crate::source::kafka::{KafkaConfig, KafkaSource};
use crate::stats::{Component, Health, Observer, PipelineState};
use crate::target::Target;
use crate::transform::Chain;

/// Batches that may wait between reader and writer. One: while one is written the next waits and a third is filled.
const QUEUE: usize = 1;
/// How long a look at the brokers may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the watcher looks: one question to each leader a second, so that lag is rarely older than that.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wait before a lost Kafka client is made anew.
const NEW_CLIENT_AFTER: Duration = Duration::from_secs(2);

/// What a pipeline is made of, validated.
#[derive(Clone)]
pub struct Settings {
    /// Name; part of the identity of its state in the target.
    pub name: Arc<str>,
    /// Source.
    pub kafka: KafkaConfig,
    /// How records are read.
    pub decode: DecodeConfig,
    /// How tables are mapped.
    pub mapping: Mapping,
    /// Guarantees.
    pub delivery: DeliveryConfig,
    /// True for targets that keep no offsets of their own.
    pub use_group_offsets: bool,
}

crate::config::opaque::opaque_debug!(Settings);

/// What a pipeline works with.
pub struct Parts {
    /// Where rows go.
    pub target: Box<dyn Target>,
    /// The target's kind, as the OpenTelemetry conventions name it.
    pub target_kind: &'static str,
    /// The plugins.
    pub chain: Chain,
    /// Who is told.
    pub observer: Arc<Observer>,
    /// Where spans go.
    pub traces: Traces,
}

/// Why a pipeline could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// librdkafka refused the settings.
    #[error("kafka client of pipeline `{pipeline}` could not be made")]
    Kafka {
        /// Pipeline.
        pipeline: Arc<str>,
        /// Cause.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The operating system refused a thread.
    #[error("a thread of pipeline `{pipeline}` could not be started")]
    Thread {
        /// Pipeline.
        pipeline: Arc<str>,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// A running pipeline.
pub struct Handle {
    name: Arc<str>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    /// When it was asked to end: the grace counts from there, so that many pipelines end in the time of one.
    stopped_at: OnceLock<Instant>,
}

impl Handle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it to end: finish and commit what is in flight.
    pub fn stop(&self) {
        self.stopped_at.get_or_init(Instant::now);
        self.shared.request_stop();
    }

    /// Says that what paused it is mended, or that its dead letters are accepted.
    pub fn resume(&self) {
        self.shared.resume();
    }

    /// Stops it and waits; when the configured grace has passed since it was first asked to end, what is in flight is
    /// dropped, to be read again at the next start.
    /// Returns whether all of it became durable.
    #[must_use]
    pub fn join(&self) -> bool {
        self.stop();
        let deadline = *self.stopped_at.get_or_init(Instant::now) + self.grace;
        let mut graceful = true;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if graceful && Instant::now() >= deadline {
                graceful = false;
                tracing::warn!(pipeline = %self.name, "shutdown grace is over, dropping what is in flight");
                self.shared.request_abandon();
            }
            if Instant::now() >= deadline + self.grace {
                // A thread hangs in a driver's call; the process ends anyway, and nothing unconfirmed was acknowledged.
                tracing::error!(pipeline = %self.name, "pipeline did not end in time");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.health(Part::Writer, Some(PipelineState::Stopped));
        graceful
    }
}

/// Starts a pipeline.
///
/// # Errors
/// When a client or thread cannot be made; everything that may recover by itself is retried inside.
pub fn start(settings: Settings, parts: Parts) -> Result<Handle, StartError> {
    let name = Arc::clone(&settings.name);
    let kafka = |source| StartError::Kafka { pipeline: Arc::clone(&name), source };
    let shared = Arc::new(Shared::new(Arc::clone(&parts.observer)));
    let delivery = &settings.delivery;
    let (work, work_in) = tokio::sync::mpsc::channel(QUEUE);
    let (offsets, offsets_in) = tokio::sync::mpsc::unbounded_channel();
    let (recycle, recycled) = mpsc::channel();
    let dead_letter_topic = match &delivery.dead_letter_topic {
        Some(topic) => Some(DeadLetterTopic::new(&settings.kafka, topic.clone()).map_err(kafka)?),
        None => None,
    };
    let ahead = parts.target.encoder().map(|encoder| PlanAhead {
        planner: Planner::new(Mapper::new(settings.mapping.clone())),
        encoder,
        mode: delivery.mode,
    });
    let writer = Writer {
        pipeline: Arc::clone(&name),
        mode: delivery.mode,
        target: parts.target,
        planner: Planner::new(Mapper::new(settings.mapping.clone())),
        budget: PoisonBudget::new(delivery.poison),
        backoff: Backoff::new(delivery.retry.0, delivery.retry.1),
        shared: Arc::clone(&shared),
        spans: Spans { traces: parts.traces, group: settings.kafka.group.clone(), system: parts.target_kind },
        dead_letter_topic,
        recycle,
        topics: HashSet::new(),
        letters_changed: false,
        dead_generation: None,
    };
    let watch = Watch::new(&settings.kafka).map_err(kafka)?;
    let mut threads = Vec::with_capacity(3);
    let mut spawn = |role: &str, work: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(format!("{role}-{name}")).spawn(work);
        thread.map(|t| threads.push(t)).map_err(|source| StartError::Thread { pipeline: Arc::clone(&name), source })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::Thread { pipeline: Arc::clone(&settings.name), source })?;
    spawn("write", Box::new(move || runtime.block_on(writer.run(work_in, offsets_in))))?;
    spawn("watch", {
        let shared = Arc::clone(&shared);
        Box::new(move || watch_on(watch, &shared))
    })?;
    spawn("read", {
        let shared = Arc::clone(&shared);
        let settings = settings.clone();
        let held = Held { chain: parts.chain, ahead, recycled };
        Box::new(move || read_on(&settings, held, work, offsets, &shared))
    })?;
    Ok(Handle {
        name: Arc::clone(&settings.name),
        grace: settings.delivery.shutdown_grace,
        shared,
        threads,
        stopped_at: OnceLock::new(),
    })
}

/// What outlives a reader's Kafka client.
struct Held {
    chain: Chain,
    ahead: Option<PlanAhead>,
    recycled: mpsc::Receiver<crate::batch::Batch>,
}

/// Keeps a reader going; its Kafka client is made anew when librdkafka declares it lost.
fn read_on(
    settings: &Settings,
    mut held: Held,
    work: tokio::sync::mpsc::Sender<writer::Work>,
    offsets: tokio::sync::mpsc::UnboundedSender<writer::OffsetsRequest>,
    shared: &Arc<Shared>,
) {
    while !shared.stopping() {
        let source = match KafkaSource::subscribe(&settings.kafka) {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(pipeline = %settings.name, error = %logging::chain(&error), "kafka client not made");
                shared.health(Part::Reader, Some(PipelineState::Waiting { for_what: logging::chain(&error) }));
                std::thread::park_timeout(NEW_CLIENT_AFTER);
                continue;
            }
        };
        let Held { chain, ahead, recycled } = held;
        let mut reader = Reader {
            pipeline: Arc::clone(&settings.name),
            source,
            decoder: Decoder::new(settings.decode.clone()),
            chain,
            ahead,
            work: work.clone(),
            offsets: offsets.clone(),
            recycled,
            shared: Arc::clone(shared),
            limits: Limits {
                max_events: settings.delivery.max_events,
                max_bytes: settings.delivery.max_bytes,
                max_wait: settings.delivery.max_wait,
            },
            use_group_offsets: settings.use_group_offsets,
            state: State::at(shared.generation()),
        };
        let end = reader.run();
        shared.observer.revoked(&shared.assigned());
        shared.set_assigned(Vec::new());
        if end == End::Stopped {
            return;
        }
        shared.next_generation();
        std::thread::park_timeout(NEW_CLIENT_AFTER);
        held = Held { chain: reader.chain, ahead: reader.ahead, recycled: reader.recycled };
    }
}

/// Looks at the source from outside until the pipeline stops.
fn watch_on(mut watch: Watch, shared: &Shared) {
    while !shared.stopping() {
        let begun = Instant::now();
        // The time before the look: an answer proves nothing about later moments.
        let at = now_ms();
        let seen = watch.look(&shared.assigned(), LOOK_TIMEOUT);
        for ((topic, partition), end) in &seen.ends {
            shared.observer.end_offset(topic, *partition, *end, at);
        }
        for ((topic, partition), start) in &seen.starts {
            shared.observer.start_offset(topic, *partition, *start);
        }
        for (topic, time) in &seen.heartbeats {
            shared.observer.heartbeat(topic, *time, now_ms());
        }
        let health = seen.trouble.map_or(Health::Up, |why| Health::Down { why });
        shared.observer.component(Component::Source, health);
        while begun.elapsed() < LOOK_EVERY && !shared.stopping() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
