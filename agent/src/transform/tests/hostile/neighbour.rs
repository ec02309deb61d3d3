//! What the sinners cost others: a pipeline's decode and transform in the same process, with all of them at large on a
//! thread of their own and without. They share what pipelines of one agent share: engine and its clock, instruments,
//! allocator, address space, log.
//!
//! The short form proves that every event of the neighbour comes through as it should; the long one measures
//! (`./x bench neighbour`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tracing_subscriber::layer::SubscriberExt as _;

use super::super::{ENGINE, text};
use super::any_kind::sins;
use super::one_kind::{does, with_a_batch};
use super::trial::{Ends, Means, Subject, at_large};
use crate::batch::{Batch, Image};
use crate::decode::{DecodeConfig, Decoder, Record};
use crate::event::Verdict;
use crate::plugin::{Cache, Kind, Plugin, Setup, TrapCause, bundled};
use crate::stats::Instruments;
use crate::transform::{Chain, Link, TrapPolicy};

const EVENTS: usize = 1024;

/// One guest for each sin and kind.
fn sinners(kinds: &[Kind], instruments: &Instruments) -> Vec<Subject> {
    let means = |ends| match ends {
        Ends::Trap(TrapCause::Deadline, _) => Means::hasty(),
        _ => Means::default(),
    };
    let mut all = Vec::new();
    for kind in kinds {
        all.extend(sins().into_iter().map(|(_, sin, ends)| at_large(*kind, &sin, means(ends), instruments)));
    }
    let batch = with_a_batch().into_iter();
    all.extend(batch.map(|(_, body, ends)| at_large(Kind::Transform, &does(&body), means(ends), instruments)));
    all
}

/// Decodes and masks as a pipeline does.
struct Neighbour {
    records: Vec<String>,
    topic: Arc<str>,
    decoder: Decoder,
    chain: Chain,
}

impl Neighbour {
    fn new(instruments: &Instruments) -> Self {
        let record = |at: usize| {
            format!(
                r#"{{"before":null,"after":{{"id":{at},"email":"customer{at}@example.org","name":"Grace Hopper","city":"Berlin"}},"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1795432095797,"snapshot":"false","db":"shop","schema":"public","table":"customers","txId":{at},"lsn":{at}}},"op":"u","ts_ms":1795432096312}}"#
            )
        };
        let setup = Setup::new("mask", r#"{"rules":[{"columns":["email"]}]}"#);
        let plugin = Plugin::load(&ENGINE, &Cache::none(), bundled::find("mask-fields").unwrap(), setup).unwrap();
        let link = Link::new(Arc::new(plugin).start().unwrap(), TrapPolicy::Halt, instruments);
        Neighbour {
            records: (0..EVENTS).map(record).collect(),
            topic: Arc::from("shop.public.customers"),
            decoder: Decoder::new(DecodeConfig::default()),
            chain: Chain::new(vec![link]),
        }
    }

    /// One batch through both stages.
    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for (row, value) in self.records.iter().enumerate() {
            let record = Record {
                topic: &self.topic,
                partition: 0,
                offset: row as i64,
                timestamp_ms: 1_795_432_096_930,
                key: Some(br#"{"id":1}"#),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            self.decoder.decode(&record, &mut batch);
        }
        self.chain.apply(&mut batch).unwrap();
        batch
    }
}

fn assert_masked(batch: &Batch) {
    assert_eq!(batch.events.len(), EVENTS);
    for (row, event) in batch.events.iter().enumerate() {
        assert_eq!(event.verdict, Verdict::Keep);
        assert_eq!(text(batch, row, Image::After, "email").as_deref(), Some("c***@example.org"));
    }
}

/// Runs the sinners in a circle while `at_large` says so, until `over`. Counts their calls.
fn circle(mut sinners: Vec<Subject>, at_large: &AtomicBool, over: &AtomicBool, calls: &AtomicUsize) {
    // As an agent writes it, but to nowhere.
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
        for at in (0..sinners.len()).cycle() {
            while !at_large.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
            let _ = sinners[at].call();
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Lets a neighbour work beside the sinners; gives what `work` makes of the switch that lets them loose, and their calls.
fn beside<T>(kinds: &[Kind], work: impl FnOnce(&mut Neighbour, &AtomicBool, &dyn Fn() -> usize, usize) -> T) -> T {
    let instruments = super::super::instruments();
    let sinners = sinners(kinds, &instruments);
    let count = sinners.len();
    let (loose, over, calls) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            on_core(1);
            circle(sinners, &loose, &over, &calls);
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut neighbour = Neighbour::new(&instruments);
            work(&mut neighbour, &loose, &|| calls.load(Ordering::Relaxed), count)
        }));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn all_sins_together_neither_lose_nor_change_an_event_of_their_neighbour() {
    beside(&[Kind::Transform], |neighbour, loose, calls, sinners| {
        loose.store(true, Ordering::Relaxed);
        let mut batches = 0;
        let begun = Instant::now();
        while calls() < sinners {
            assert_masked(&neighbour.batch());
            batches += 1;
            assert!(begun.elapsed() < Duration::from_secs(120), "{} of {sinners} sins", calls());
        }
        assert!(batches > 0);
    });
}

/// What one round of the neighbour took.
#[derive(Clone, Copy, Default)]
struct Figures {
    wall: f64,
    cpu: f64,
    /// How often its thread gave the core away, which is what a lock that is held by another looks like.
    waits: i64,
}

fn round(neighbour: &mut Neighbour, batches: usize) -> Figures {
    let (wall, (cpu, waits)) = (Instant::now(), thread_usage());
    for _ in 0..batches {
        std::hint::black_box(neighbour.batch());
    }
    let (cpu_after, waits_after) = thread_usage();
    Figures { wall: wall.elapsed().as_secs_f64(), cpu: cpu_after - cpu, waits: waits_after - waits }
}

/// Measures; asserts nothing but that the sinners were at work.
#[test]
#[ignore = "a measurement: `./x bench neighbour`"]
fn what_all_sins_together_cost_their_neighbour() {
    const ROUNDS: usize = 20;
    beside(&Kind::ALL, |neighbour, loose, calls, sinners| {
        on_core(0);
        round(neighbour, 20);
        let once = round(neighbour, 20).cpu / 20.0;
        let batches = ((0.5 / once) as usize).max(1);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let before = calls();
        for turn in 0..ROUNDS * 2 {
            // Two of each in turn, begun by the other one each time, so that what drifts meets both alike.
            let at_large = matches!(turn % 4, 1 | 2);
            loose.store(at_large, Ordering::Relaxed);
            // What was begun is ended first.
            std::thread::sleep(Duration::from_millis(120));
            if at_large { &mut with } else { &mut without }.push(round(neighbour, batches));
        }
        assert_masked(&neighbour.batch());
        let sins = calls() - before;
        assert!(sins > sinners, "{sins} calls of {sinners} sinners");
        let events = (batches * EVENTS) as f64;
        let median = |figures: &[Figures], of: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = figures.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!("neighbour of {sinners} sinners, {sins} sins in {ROUNDS} rounds, {events} events a round, medians:");
        println!("{:>8} {:>14} {:>14} {:>12}", "", "events/CPU s", "events/s", "waits");
        let mut lines = Vec::new();
        for (name, figures) in [("without", &without), ("with", &with)] {
            let line = [events / median(figures, |one| one.cpu), events / median(figures, |one| one.wall)];
            println!("{name:>8} {:>14.0} {:>14.0} {:>12.0}", line[0], line[1], median(figures, |one| one.waits as f64));
            lines.push(line);
        }
        println!("{:>8} {:>14.3} {:>14.3}", "ratio", lines[1][0] / lines[0][0], lines[1][1] / lines[0][1]);
    });
}

/// Keeps this thread on one core, as far as there are several: what is measured is what the sinners do to others, not
/// how the scheduler divides one core among two.
fn on_core(core: usize) {
    // SAFETY: a set of zeroes is an empty set; both calls get pointers to it and its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        let _ = libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// CPU seconds of this thread, and how often it gave its core away by itself.
fn thread_usage() -> (f64, i64) {
    // SAFETY: zeroes are a valid `rusage`, and the pointer is to one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_nvcsw)
}
