//! Somebody else's migration, observed: the command is run, what it writes is passed through, and what it does to the
//! database is looked at from outside. Nothing here changes what the command does.
//!
//! ```text
//!            ┌ stdin ── inherited
//! command ───┤ stdout ─ passed through ─► progress lines ─► Measured
//!            └ stderr ─ passed through ─►
//! database ─── sampled ─► Committed (rows by which tables grow), Blocked, Measured
//! ```
//!
//! - **Output** goes through byte for byte and at once, lines or not. Where our own output is a terminal, the command gets
//!   the terminal itself, so that it colours and draws as ever; unless a pattern of the user's is to be found in it.
//! - **Signals** reach the command: SIGTERM always; SIGINT, SIGHUP and SIGQUIT unless we are in the foreground of a
//!   terminal, which has sent them to the command already.
//! - **The exit status** is the command's: 128 and the signal's number if it was killed, 127 if there is no such command,
//!   126 if it cannot be run.
//! - **The database** may be slow, or not there: that is said once, counted, and does not hold up the command.
//! - **The cost**: a thread asleep for each stream that is passed through, a look at the output four times a second, a
//!   sample each interval that waits twenty times as long as the last one took.

mod growth;
mod output;
mod pattern;
mod process;
mod sampling;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::ledger::{Direction, Progress};
use crate::watch::{Event, Watch};

pub use output::{Output, Streams};
pub use pattern::{BadPattern, Measure, Patterns};

use process::{Ended, Signals};
use sampling::Sampling;

/// How a command is observed.
pub struct Settings {
    /// What the migration is called.
    pub id: String,
    /// Where it does its work.
    pub database: Option<Arc<dyn Database>>,
    /// How often to look at the database.
    pub interval: Duration,
    /// What lines of its output tell how far it is.
    pub patterns: Patterns,
    /// What the command reads and where it writes.
    pub streams: Streams,
    /// Variables of the environment that it does not get.
    pub withheld: Vec<OsString>,
}

/// Once a second is often enough for eyes and graphs.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the command waits for the first sample: long enough for a server that is there.
const FIRST_SAMPLE: Duration = Duration::from_millis(300);
/// How long the last sample may take, after the command.
const LAST_SAMPLE: Duration = Duration::from_secs(2);
/// How often the output is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What became of a command.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Observed {
    /// What the migration is called.
    pub id: String,
    /// Whether it could be started.
    pub started: bool,
    /// The status to exit with.
    pub status: u8,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub started_at_ms: u64,
    /// How long it ran.
    pub duration_ms: u64,
    /// Rows by which tables grew, as the server estimates them, and how far the command said it was.
    pub progress: Progress,
    /// The last that the command's output told.
    pub measured: Option<Measure>,
    /// How often the database was looked at.
    pub samples: u64,
    /// How often that failed.
    pub samples_failed: u64,
}

/// Runs a command and tells what can be seen of it. `cancel` asks it to end, as SIGTERM does.
///
/// A command that fails, or cannot be started, is not an error of ours: it is told and comes back in [`Observed`].
///
/// # Errors
/// When signals cannot be received, or no thread started.
pub async fn run(
    command: &OsStr,
    args: &[OsString],
    settings: Settings,
    watch: &dyn Watch,
    cancel: &CancellationToken,
) -> io::Result<Observed> {
    let mut signals = Signals::new()?;
    let mut sampling = Sampling::new(settings.database.clone(), settings.interval);
    let first = tokio::time::timeout(FIRST_SAMPLE, sampling.sample()).await;
    let mut observer =
        Observer { id: settings.id, watch, progress: Progress::default(), measured: None, since: SystemTime::now() };
    if let Ok(Some(sample)) = first {
        sampling.growth.begin(&sample);
    }

    let began = Instant::now();
    let started = SystemTime::now();
    let name = std::path::Path::new(command).file_name().unwrap_or(command).to_string_lossy();
    watch.tell(&Event::Started {
        id: &observer.id,
        name: &name,
        system: settings.database.as_ref().map(|database| database.system()),
        direction: Direction::Up,
        steps: 0,
        progress: &observer.progress,
    });
    let mut outputs = Vec::new();
    let ended = match process::start(command, args, &settings.withheld, settings.streams) {
        Err(ended) => ended,
        Ok((mut child, piped)) => {
            for (from, to) in piped {
                outputs.push(output::pass(from, to)?);
            }
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut asked = false;
            loop {
                tokio::select! {
                    status = child.wait() => break Ended::of(status?),
                    signal = signals.next() => process::signal(&child, signal),
                    () = cancel.cancelled(), if !asked => {
                        asked = true;
                        process::signal(&child, libc::SIGTERM);
                    }
                    _ = looks.tick(), if !outputs.is_empty() => observer.read(&outputs, &settings.patterns),
                    sample = sampling.next() => observer.sampled(sample.as_ref(), &mut sampling),
                }
            }
        }
    };
    let duration = began.elapsed();
    for output in &outputs {
        output.drained().await;
    }
    observer.read(&outputs, &settings.patterns);
    if ended.ran
        && let Ok(sample) = tokio::time::timeout(LAST_SAMPLE, sampling.last()).await
    {
        observer.sampled(sample.as_ref(), &mut sampling);
    }
    let error = ended.error.as_ref().map(|(code, sentence)| (code.as_str(), sentence.as_str()));
    watch.tell(&Event::Ended {
        id: &observer.id,
        direction: Direction::Up,
        started,
        error,
        progress: &observer.progress,
    });
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Ok(Observed {
        started: ended.ran,
        status: ended.status,
        signal: ended.signal,
        error: ended.error.map(|(_, sentence)| sentence),
        started_at_ms: millis(started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
        duration_ms: millis(duration),
        measured: observer.measured,
        progress: observer.progress,
        id: observer.id,
        samples: sampling.samples,
        samples_failed: sampling.failed,
    })
}

/// Tells what is seen, when it has changed.
struct Observer<'a> {
    id: String,
    watch: &'a dyn Watch,
    progress: Progress,
    measured: Option<Measure>,
    since: SystemTime,
}

impl Observer<'_> {
    fn read(&mut self, outputs: &[Output], patterns: &Patterns) {
        for output in outputs {
            for measure in output.measures(patterns) {
                if self.measured.as_ref() == Some(&measure) {
                    continue;
                }
                let phase = measure.table.as_deref().unwrap_or("output");
                self.watch.tell(&Event::Measured { id: &self.id, phase, done: measure.done, total: measure.total });
                self.measured = Some(measure);
            }
        }
    }

    fn sampled(&mut self, sample: Option<&crate::database::Sample>, sampling: &mut Sampling) {
        let Some(sample) = sample else { return };
        let changes = sampling.growth.look(sample);
        for (table, rows) in changes.grown {
            self.progress.add(&table, rows);
            self.watch.tell(&Event::Committed {
                id: &self.id,
                place: &table,
                count: rows,
                started: self.since,
                progress: &self.progress,
            });
        }
        for (phase, done, total) in changes.measured {
            self.watch.tell(&Event::Measured { id: &self.id, phase: &phase, done, total });
        }
        if changes.blocked {
            self.watch.tell(&Event::Blocked { id: &self.id, sessions: &sample.blocked });
        }
        self.since = SystemTime::now();
    }
}
