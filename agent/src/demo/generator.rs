//! The thread that works the shop and writes its changes to the broker.
//!
//! Keeps a bounded number of records ahead of the agent, since the in-process broker forgets what is older than 5 MB a
//! partition: a demo that outran the agent would lose records all by itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::envelope::{Envelopes, Record, heartbeat};
use super::ledger::{Effect, Ledger};
use super::poison::Poison;
use super::schedule::{due, phase};
use super::shop::{Change, RowChange, Shop};

/// Most records ahead of the agent: at 0.9 kB each they fit one partition's 5 MB, wherever they go.
const MAX_AHEAD: u64 = 4_000;
/// How often the shop works.
const STEP: Duration = Duration::from_millis(10);
/// Debezium's heartbeats come every 10 s by default; in a demo of a minute that would look dead.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// One poison record in so many.
const POISON_EVERY: u64 = 400;
/// What the snapshot reads.
const FIRST_CUSTOMERS: usize = 200;
const FIRST_ORDERS: usize = 300;
/// How long the broker may take to confirm what is left at the end.
const FLUSH: Duration = Duration::from_secs(30);

/// What the view shows of the generator.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Records sent, heartbeats excluded.
    pub(crate) sent: AtomicU64,
    /// Poison records among them.
    pub(crate) poison: AtomicU64,
    /// True while it waits for the agent.
    pub(crate) waiting: AtomicBool,
    stop: AtomicBool,
}

/// What to generate.
pub(crate) struct Order {
    /// Where the broker is.
    pub(crate) brokers: String,
    /// Partitions of each topic.
    pub(crate) partitions: i32,
    /// Makes the shop.
    pub(crate) seed: u64,
    /// Steady rate, records a second.
    pub(crate) rate: f64,
    /// How many records, heartbeats excluded, the agent has settled.
    pub(crate) settled: Box<dyn Fn() -> u64 + Send>,
}

/// What was generated.
pub(crate) struct Generated {
    /// The shop at the end.
    pub(crate) shop: Shop,
    /// What the broker took.
    pub(crate) ledger: Ledger,
}

/// A running generator.
pub(crate) struct Generator {
    /// Numbers for the view.
    pub(crate) live: Arc<Live>,
    /// When it began.
    pub(crate) begun: Instant,
    thread: JoinHandle<Result<Generated, KafkaError>>,
}

/// Why there is nothing to prove.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GeneratorError {
    /// librdkafka refused.
    #[error("the generator's kafka client failed")]
    Kafka(#[from] KafkaError),
    /// The thread could not be made.
    #[error("the generator's thread could not be made")]
    Thread(#[source] std::io::Error),
    /// The thread ended in a panic.
    #[error("the generator panicked")]
    Panicked,
}

impl Generator {
    /// Starts it.
    pub(crate) fn start(order: Order) -> Result<Self, GeneratorError> {
        let live = Arc::new(Live::default());
        let shared = Arc::clone(&live);
        let thread = std::thread::Builder::new()
            .name("demo-shop".into())
            .spawn(move || Work::new(order, shared)?.run())
            .map_err(GeneratorError::Thread)?;
        Ok(Self { live, begun: Instant::now(), thread })
    }

    /// Asks it to end after the transaction in hand.
    pub(crate) fn stop(&self) {
        self.live.stop.store(true, Ordering::Relaxed);
    }

    /// True when it ended, by itself or because it was asked to.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(crate) fn join(self) -> Result<Generated, GeneratorError> {
        self.thread.join().map_err(|_| GeneratorError::Panicked)?.map_err(GeneratorError::from)
    }
}

/// Writes delivery reports into the ledger.
struct Reports {
    ledger: Arc<Mutex<Ledger>>,
}

impl rdkafka::ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, effect: usize) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, u8::try_from(effect)) {
            (Ok(message), Ok(code)) => {
                ledger.stored(message.topic(), message.partition(), message.offset(), code);
            }
            _ => ledger.faults += 1,
        }
    }
}

struct Work {
    order: Order,
    live: Arc<Live>,
    shop: Shop,
    envelopes: Envelopes,
    producer: BaseProducer<Reports>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Work {
    fn new(order: Order, live: Arc<Live>) -> Result<Self, KafkaError> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &order.brokers)
            // Order and no doubles also across retries: the ledger is to know exactly what is in the log.
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create_with_context(Reports { ledger: Arc::clone(&ledger) })?;
        let shop = Shop::new(order.seed, FIRST_CUSTOMERS, FIRST_ORDERS);
        let envelopes = Envelopes::new(order.seed);
        Ok(Self { order, live, shop, envelopes, producer, ledger })
    }

    fn run(mut self) -> Result<Generated, KafkaError> {
        self.snapshot()?;
        let begun = Instant::now();
        let (mut last, mut owed) = (begun, 0.0_f64);
        let mut beat = begun;
        while !self.stopping() {
            let now = Instant::now();
            if now >= beat {
                self.send(&heartbeat(now_us()), Effect::Nothing)?;
                beat += HEARTBEAT;
            }
            owed += due(now - begun, now - last, self.order.rate);
            last = now;
            while owed >= 1.0 && !self.stopping() && !self.is_far_ahead() {
                owed -= self.transact()?;
            }
            // What could not be sent in time is not sent later: the next burst would never end.
            owed = owed.min(self.order.rate.max(1.0));
            self.producer.poll(Duration::ZERO);
            std::thread::sleep(STEP);
        }
        self.producer.flush(FLUSH)?;
        let ledger = std::mem::take(&mut *self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Generated { shop: self.shop, ledger })
    }

    fn stopping(&self) -> bool {
        self.live.stop.load(Ordering::Relaxed)
    }

    fn is_far_ahead(&self) -> bool {
        let ahead = self.live.sent.load(Ordering::Relaxed).saturating_sub((self.order.settled)());
        let far = ahead >= MAX_AHEAD;
        self.live.waiting.store(far, Ordering::Relaxed);
        far
    }

    /// What Debezium does first: reads every row.
    fn snapshot(&mut self) -> Result<(), KafkaError> {
        let rows = self.shop.snapshot();
        let last = rows.len().saturating_sub(1);
        for (index, change) in rows.iter().enumerate() {
            let neighbour = |at: Option<usize>| at.and_then(|at| rows.get(at)).map(|c: &RowChange| c.table);
            let marker = match (neighbour(index.checked_sub(1)), neighbour(Some(index + 1))) {
                _ if index == last => "last",
                (None, _) => "first",
                (Some(before), _) if before != change.table => "first_in_data_collection",
                (_, Some(after)) if after != change.table => "last_in_data_collection",
                _ => "true",
            };
            while self.is_far_ahead() && !self.stopping() {
                self.producer.poll(STEP);
            }
            self.change(change, 0, marker)?;
        }
        Ok(())
    }

    /// One transaction of the shop; the number of records it made.
    fn transact(&mut self) -> Result<f64, KafkaError> {
        let before = self.live.sent.load(Ordering::Relaxed);
        let changes = self.shop.step();
        for (order, change) in changes.iter().enumerate() {
            self.change(change, order, "false")?;
        }
        let sent = self.live.sent.load(Ordering::Relaxed);
        if before / POISON_EVERY != sent / POISON_EVERY {
            self.poison()?;
        }
        // A step that changed nothing counts too, or a shop without orders would never let go.
        Ok(f64::from(u32::try_from(sent - before).unwrap_or(u32::MAX)).max(1.0))
    }

    fn poison(&mut self) -> Result<(), KafkaError> {
        let serial = self.live.poison.fetch_add(1, Ordering::Relaxed);
        let kinds = Poison::ALL.len() as u64;
        let kind = usize::try_from(serial % kinds).ok().and_then(|at| Poison::ALL.get(at));
        match kind {
            Some(kind) => {
                self.live.sent.fetch_add(1, Ordering::Relaxed);
                self.send(&kind.record(serial, now_us()), Effect::DeadLetter(*kind))
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: &RowChange, order: usize, marker: &str) -> Result<(), KafkaError> {
        debug_assert!(marker == "false" || change.change == Change::Read);
        for record in self.envelopes.records(change, order, marker, now_us()) {
            self.live.sent.fetch_add(1, Ordering::Relaxed);
            let effect = if record.value.is_some() { Effect::Apply } else { Effect::Nothing };
            self.send(&record, effect)?;
        }
        Ok(())
    }

    fn send(&self, record: &Record, effect: Effect) -> Result<(), KafkaError> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value.as_str()) }));
        let is_heartbeat = record.topic.starts_with("__");
        let partition = if is_heartbeat { 0 } else { partition_of(&record.key, self.order.partitions) };
        let mut message = BaseRecord::with_opaque_to(&record.topic, usize::from(effect.code()))
            .key(record.key.as_slice())
            .partition(partition)
            .headers(headers);
        if let Some(value) = &record.value {
            message = message.payload(value.as_slice());
        }
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(STEP);
                    message = back;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// What the generator is doing after so much time, for the view.
pub(crate) fn phase_word(begun: Instant) -> &'static str {
    phase(begun.elapsed()).word()
}

/// One key, one partition: FNV-1a of the key.
fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let partitions = u64::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(hash % partitions).unwrap_or(0)
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
