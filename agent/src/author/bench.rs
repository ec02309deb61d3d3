//! What a plugin costs: CPU time of this thread, medians, since other work on the machine only ever adds. Measures; judges
//! nothing.

use std::time::{Duration, Instant};

use super::replay::case::Case;
use super::replay::stage::Stage;
use super::replay::{ReplayError, channel, load, step};
use super::subject::Subject;
use crate::plugin::{CallError, Channel, Engine, Instance, Kind, Migration, Rule, Transform, World};
use crate::transform::{Sample, View};

/// Sizes of batches a transform is measured with.
pub const BATCHES: [usize; 4] = [1, 16, 256, 1024];

/// No row is measured longer than this.
const LONGEST: Duration = Duration::from_secs(1);
/// No row is measured oftener than this.
const MOST: usize = 2_000;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The case cannot be run.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// It has no events to repeat.
    #[error("the case has no events; a bench repeats them to fill its batches")]
    Empty,
    /// The plugin failed over the case: figures of failures say nothing.
    #[error("the plugin fails over this case: {0}; mend it, or choose another case")]
    Failed(CallError),
}

/// One row: calls with so many events.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Events in a batch; 1 for kinds that have none.
    pub events: usize,
    /// How many calls were measured.
    pub calls: usize,
    /// Median CPU time of a call.
    pub call: Duration,
}

/// All figures.
#[derive(Debug)]
pub struct Figures {
    /// CPU time to compile the component, on all threads of this process.
    pub compile: Duration,
    /// CPU time to start and configure an instance from compiled code.
    pub start: Duration,
    /// Calls.
    pub rows: Vec<Row>,
}

/// Measures a plugin over a case.
///
/// # Errors
/// When it cannot be loaded, or fails over the case.
pub fn bench(engine: &Engine, subject: &Subject, case: &Case) -> Result<Figures, BenchError> {
    match subject.kind {
        Kind::Transform => {
            let samples = case.events.as_deref().filter(|events| !events.is_empty()).ok_or(BenchError::Empty)?;
            let (mut instance, mut figures, _) = prepared::<Transform<View>>(engine, subject, case)?;
            for events in BATCHES {
                let row = measure(events, || {
                    let batch = Sample::batch(samples.iter().cycle().take(events)).map_err(ReplayError::Case)?;
                    let view = View::new(batch);
                    let (took, (_, outcome)) = timed(libc::CLOCK_THREAD_CPUTIME_ID, || instance.apply(view));
                    outcome.map_err(BenchError::Failed).map(|()| took)
                })?;
                figures.rows.push(row);
            }
            Ok(figures)
        }
        Kind::Rule => {
            let window = case.window.as_ref().ok_or_else(|| no_input(subject, "window"))?.window();
            each::<Rule>(engine, subject, case, |instance| instance.evaluate(&window).map(drop))
        }
        Kind::Channel => {
            let given = case.alerts.as_ref().ok_or_else(|| no_input(subject, "alerts"))?;
            let alerts: Vec<_> = given.iter().map(channel::Given::alert).collect();
            each::<Channel>(engine, subject, case, |instance| instance.deliver(&alerts))
        }
        Kind::Migration => {
            let step = step(case.step.ok_or_else(|| no_input(subject, "step"))?);
            each::<Migration>(engine, subject, case, |instance| instance.run(step, Stage::set(case).database()).1)
        }
    }
}

fn no_input(subject: &Subject, member: &'static str) -> ReplayError {
    ReplayError::NoInput { kind: subject.kind, member }
}

/// Measures single calls. The world outside answers each as it answered the first.
fn each<W: World>(
    engine: &Engine,
    subject: &Subject,
    case: &Case,
    mut call: impl FnMut(&mut Instance<W>) -> Result<(), CallError>,
) -> Result<Figures, BenchError> {
    let (mut instance, mut figures, stage) = prepared::<W>(engine, subject, case)?;
    figures.rows.push(measure(1, || {
        stage.rewind(case);
        let (took, outcome) = timed(libc::CLOCK_THREAD_CPUTIME_ID, || call(&mut instance));
        outcome.map_err(BenchError::Failed).map(|()| took)
    })?);
    Ok(figures)
}

fn prepared<W: World>(
    engine: &Engine,
    subject: &Subject,
    case: &Case,
) -> Result<(Instance<W>, Figures, Stage), BenchError> {
    let stage = Stage::set(case);
    let services = stage.services(case).map_err(ReplayError::Case)?;
    let (compile, plugin) = timed(libc::CLOCK_PROCESS_CPUTIME_ID, || load::<W>(engine, subject, case, services));
    let plugin = plugin?;
    let (start, instance) = timed(libc::CLOCK_THREAD_CPUTIME_ID, || plugin.start());
    Ok((instance.map_err(ReplayError::Load)?, Figures { compile, start, rows: Vec::new() }, stage))
}

fn measure(events: usize, mut call: impl FnMut() -> Result<Duration, BenchError>) -> Result<Row, BenchError> {
    let begin = Instant::now();
    // The first calls grow memory and fill caches.
    for _ in 0..5 {
        call()?;
    }
    let mut samples = Vec::new();
    while samples.len() < MOST && (samples.len() < 10 || begin.elapsed() < LONGEST) {
        samples.push(call()?);
    }
    samples.sort_unstable();
    let call = samples.get(samples.len() / 2).copied().unwrap_or_default();
    Ok(Row { events, calls: samples.len(), call })
}

/// Runs something and tells how much CPU time the clock counted.
fn timed<T>(clock: libc::clockid_t, run: impl FnOnce() -> T) -> (Duration, T) {
    let start = cpu_time(clock);
    let done = run();
    (cpu_time(clock).saturating_sub(start), done)
}

fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which the call fills.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
