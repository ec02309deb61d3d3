//! A hostile guest on trial: started as an agent would start it, called while it sins and called when it no longer does.
//! What must hold in every case is asserted here; what differs is in the tables of sins.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::super::{ENGINE, batch_of};
use crate::event::{Op, Reason, Verdict};
use crate::export::prometheus::Scrape;
use crate::plugin::egress::Egress;
use crate::plugin::fixture::kinds::{Sin, sinner};
use crate::plugin::store::{Memory, StateStore as _};
use crate::plugin::{
    Cache, CallError, Channel, Database, Failure, Grants, Instance, Kind, Limits, LoadError, Migration, Plugin, Rule,
    Services, Setup, Step, Transform, TrapCause, Window, World,
};
use crate::stats::{Instruments, PluginMeter};
use crate::transform::{Chain, Link, TrapPolicy, View};

/// How a call of a sinner must end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    /// In a trap of this cause, with words that hold these.
    Trap(TrapCause, &'static str),
    /// In a failure with this code, as data.
    Refused(&'static str),
    /// Well: what it did was cut or ignored.
    Well,
}

/// The verdict on one call.
#[derive(Debug, PartialEq)]
pub(super) enum Verdicts {
    Trapped(String, String),
    Refused(String, String),
    Well,
}

/// What is left to look at afterwards.
pub(super) struct Evidence {
    pub(super) verdict: Verdicts,
    /// Log lines, fields and all.
    pub(super) lines: Vec<String>,
    /// The metrics page.
    pub(super) scrape: String,
    /// The state it has, in bytes of keys and values.
    pub(super) kept: usize,
    /// How many entries it has.
    pub(super) entries: usize,
}

/// What a sinner may use.
pub(super) struct Means {
    pub(super) limits: Limits,
    pub(super) grants: Grants,
    pub(super) egress: Option<Arc<dyn Egress>>,
    /// How long each command of a migration takes.
    pub(super) database: Duration,
}

/// The state every sinner is granted, in bytes.
pub(super) const QUOTA: usize = 1 << 20;

impl Default for Means {
    /// Long enough for an honest start on a crowded machine.
    fn default() -> Self {
        let limits = Limits {
            call: Duration::from_secs(4),
            memory: 32 << 20,
            output: 1 << 20,
            log_lines: 5,
            ..Limits::default()
        };
        let grants = Grants { state: Some(QUOTA), metrics: true, clock: true, ..Grants::default() };
        Means { limits, grants, egress: None, database: Duration::ZERO }
    }
}

impl Means {
    /// For those who use up their time.
    pub(super) fn hasty() -> Self {
        let mut means = Means::default();
        means.limits.call = Duration::from_millis(80);
        means
    }
}

/// Keeps log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                use std::fmt::Write as _;
                write!(self.0, " {field}={value:?}").unwrap();
            }
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                use std::fmt::Write as _;
                write!(self.0, " {field}={value}").unwrap();
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

/// A database that takes any command.
struct Patient(Duration);

impl Database for Patient {
    fn run(&mut self, _command: &str) -> Result<String, Failure> {
        std::thread::sleep(self.0);
        Ok("{}".to_owned())
    }

    fn progress(&mut self, _collection: &str, _processed: u64, _expected: Option<u64>) {}
}

/// A sinner at work.
pub(super) enum Subject {
    Transform(Chain),
    Rule(Instance<Rule>),
    Channel(Instance<Channel>),
    Migration(Instance<Migration>, Duration),
}

fn instance<W: World>(bytes: &[u8], setup: Setup) -> Result<Instance<W>, LoadError> {
    Arc::new(Plugin::<W>::load(&ENGINE, &Cache::none(), bytes, setup)?).start()
}

fn verdict<T>(outcome: Result<T, CallError>) -> Verdicts {
    match outcome {
        Ok(_) => Verdicts::Well,
        Err(CallError::Trapped(trap)) => Verdicts::Trapped(trap.cause.as_str().to_owned(), trap.message),
        Err(CallError::Refused(failure)) => Verdicts::Refused(failure.code, failure.message),
        Err(CallError::Quarantined) => panic!("so few traps are no reason for a quarantine"),
    }
}

impl Subject {
    fn start(
        kind: Kind,
        bytes: &[u8],
        setup: Setup,
        meter: Arc<PluginMeter>,
        means: &Means,
    ) -> Result<Self, LoadError> {
        Ok(match kind {
            Kind::Transform => {
                let instance = instance::<Transform<View>>(bytes, setup)?;
                Subject::Transform(Chain::new(vec![Link::metered(instance, TrapPolicy::DeadLetter, meter)]))
            }
            Kind::Rule => Subject::Rule(instance(bytes, setup)?),
            Kind::Channel => Subject::Channel(instance(bytes, setup)?),
            Kind::Migration => Subject::Migration(instance(bytes, setup)?, means.database),
        })
    }

    pub(super) fn call(&mut self) -> Verdicts {
        match self {
            Subject::Transform(chain) => transformed(chain),
            Subject::Rule(instance) => {
                let window = Window { scope: "pipeline/shop".to_owned(), start_ms: 0, end_ms: 1, series: Vec::new() };
                verdict(instance.evaluate(&window))
            }
            Subject::Channel(instance) => verdict(instance.deliver(&[])),
            Subject::Migration(instance, takes) => verdict(instance.run(Step::Up, Box::new(Patient(*takes))).1),
        }
    }
}

/// One event through the chain: only the event suffers, and but for its verdict it is as it was.
fn transformed(chain: &mut Chain) -> Verdicts {
    let mut batch = batch_of(&[(Op::Create, "t", "null", r#"{"id":1,"poison":"x"}"#)]);
    let before = format!("{batch:?}");
    chain.apply(&mut batch).unwrap();
    let Some(failure) = batch.failure(&batch.events[0]) else {
        assert_ne!(batch.events[0].verdict, Verdict::Drop);
        return Verdicts::Well;
    };
    let reason = failure.reason;
    let message = failure.message.strip_prefix("hostile: ").unwrap().to_owned();
    let (word, message) = message.split_once(": ").unwrap();
    let (word, message) = (word.to_owned(), message.to_owned());
    batch.events[0].verdict = Verdict::Keep;
    batch.failures.clear();
    assert_eq!(format!("{batch:?}"), before, "nothing of the call stands");
    match reason {
        Reason::TransformTrapped => Verdicts::Trapped(word, message),
        _ => Verdicts::Refused(word, message),
    }
}

/// A sinner that is started and will sin whenever it is called, counted by these instruments.
pub(super) fn at_large(kind: Kind, sin: &Sin, mut means: Means, instruments: &Instruments) -> Subject {
    // Nobody stops it.
    means.limits.breaker.traps = u32::MAX;
    let clock = Arc::new(AtomicI64::new(9));
    let now = Arc::clone(&clock);
    let meter = PluginMeter::new("hostile", "0.0.1", "d", instruments);
    let services = Services {
        metrics: Some(meter.clone()),
        clock: Arc::new(move || now.load(Ordering::Relaxed)),
        ..Services::default()
    };
    let setup = Setup { limits: means.limits, grants: means.grants.clone(), services, ..Setup::new("hostile", "{}") };
    let subject = Subject::start(kind, &sinner(kind, sin), setup, meter, &means).unwrap();
    clock.store(0, Ordering::Relaxed);
    subject
}

/// Puts a sinner of this kind on trial and gives the evidence of its first call.
pub(super) fn trial(kind: Kind, name: &str, sin: &Sin, means: Means, ends: Ends) -> Evidence {
    trial_of(kind, name, &sinner(kind, sin), means, ends)
}

/// The same for bytes that are made otherwise.
pub(super) fn trial_of(kind: Kind, name: &str, bytes: &[u8], means: Means, ends: Ends) -> Evidence {
    let name = format!("{kind} {name}");
    let (scrape, reader) = Scrape::new().unwrap();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let instruments = Instruments::new(&provider.meter("whimbrel"), None, 2000, Arc::new(|| 0));
    let meter = PluginMeter::new("hostile", "0.0.1", "d", &instruments);
    let clock = Arc::new(AtomicI64::new(9));
    let store = Arc::new(Memory::default());
    let now = Arc::clone(&clock);
    let setup = Setup {
        limits: means.limits,
        grants: means.grants.clone(),
        services: Services {
            log: None,
            store: store.clone(),
            metrics: Some(meter.clone()),
            clock: Arc::new(move || now.load(Ordering::Relaxed)),
            egress: means.egress.clone(),
        },
        ..Setup::new("hostile", "{}")
    };
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    tracing::subscriber::with_default(subscriber, || {
        let mut subject =
            Subject::start(kind, bytes, setup, meter, &means).unwrap_or_else(|error| panic!("{name}: {error}"));
        clock.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let verdict = subject.call();
        let took = begun.elapsed();
        assert!(took < means.limits.call + Duration::from_secs(2), "{name} took {took:?}");
        let kept = store.load("hostile").unwrap();
        // Read first: the scrape may log, and a line would wait for the lock.
        let scrape = String::from_utf8(scrape.text().unwrap()).unwrap();
        let lines = lines.0.lock().unwrap().clone();
        let evidence = Evidence {
            lines,
            scrape,
            kept: kept.iter().map(|(key, value)| key.len() + value.len()).sum(),
            entries: kept.len(),
            verdict,
        };
        judge(&name, &evidence, ends);
        // A fresh instance sins again and ends the same way; when it behaves, everything is as it should be.
        if !matches!(ends, Ends::Well) {
            let again = subject.call();
            let same = match (&evidence.verdict, &again) {
                (Verdicts::Trapped(one, _), Verdicts::Trapped(other, _)) => one == other,
                (Verdicts::Refused(one, _), Verdicts::Refused(other, _)) => one == other,
                _ => false,
            };
            assert!(same, "{name}: {:?}, then {again:?}", evidence.verdict);
        }
        clock.store(1, Ordering::Relaxed);
        assert_eq!(subject.call(), Verdicts::Well, "{name}: the next call works");
        assert_eq!(
            store.load("hostile").unwrap().get("key").map(Vec::as_slice),
            Some(b"after.poison".as_slice()),
            "{name}"
        );
        evidence
    })
}

fn judge(name: &str, evidence: &Evidence, ends: Ends) {
    let Evidence { verdict, lines, scrape, entries, .. } = evidence;
    match (ends, verdict) {
        (Ends::Trap(cause, words), Verdicts::Trapped(found, message)) => {
            assert_eq!((found.as_str(), message.contains(words)), (cause.as_str(), true), "{name}: {found}: {message}");
            assert!(message.len() < 6_000, "{name}: {} bytes", message.len());
            assert_eq!(*entries, 0, "{name}: what it kept does not stand");
            let counted = scrape.lines().any(|line| {
                line.starts_with("plugin_traps_total{")
                    && line.contains(&format!("cause=\"{}\"", cause.as_str()))
                    && line.contains("plugin=\"hostile\"")
                    && line.ends_with(" 1")
            });
            assert!(counted, "{name}: {scrape}");
            let told = lines.iter().any(|line| line.contains("hostile") && line.contains(cause.as_str()));
            assert!(told, "{name}: {lines:?}");
        }
        (Ends::Refused(code), Verdicts::Refused(found, _)) => {
            assert_eq!(found, code, "{name}: {verdict:?}");
            assert_eq!(*entries, 0, "{name}: what it kept does not stand");
        }
        (Ends::Well, Verdicts::Well) => {}
        _ => panic!("{name}: {verdict:?} where {ends:?} belongs"),
    }
}
