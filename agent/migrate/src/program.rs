//! Plugins as migrations, as this crate sees them: something that is lent a database session and does its work with it.
//! Loading and sandboxing them is the agent's business.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Count, Direction};
use crate::migration::PluginFile;
use crate::watch::Event;

/// What went wrong in a call, as data: the plugin's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Short and stable.
    pub code: String,
    /// For people.
    pub message: String,
    /// The same call may succeed later.
    pub retryable: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// The session a program works in. Calls block.
pub trait Lent: Send {
    /// Runs one command and gives its answer, both JSON as `wit/database.wit` says.
    ///
    /// # Errors
    /// With the database's code and words.
    fn run(&mut self, command: &str) -> Result<String, Failure>;

    /// Takes note of how far it is.
    fn progress(&mut self, place: &str, done: u64, expected: Option<u64>);

    /// For whoever lent it and wants it back as it was.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

/// What a program can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Make the change.
    Up,
    /// Undo it.
    Down,
    /// See whether it is made.
    Validate,
}

impl Call {
    /// What is called to go this way, in order.
    #[must_use]
    pub const fn of(direction: Direction) -> &'static [Self] {
        match direction {
            Direction::Up => &[Self::Up, Self::Validate],
            Direction::Down => &[Self::Down],
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Validate => "validate",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A migration in code.
pub trait Program: Send {
    /// Has one call done; blocks. What was lent comes back in every case.
    fn call(&mut self, call: Call, lent: Box<dyn Lent>) -> (Box<dyn Lent>, Result<(), Failure>);
}

/// Loads programs.
pub trait Programs: Send + Sync {
    /// Loads one; blocks.
    ///
    /// # Errors
    /// When the file is no plugin of this kind, or may not run.
    fn load(&self, file: &PluginFile) -> Result<Box<dyn Program>>;
}

/// Documents or rows, by collection or table, as a program says them of one transaction.
pub(crate) type Counts = BTreeMap<String, Count>;

/// Takes note of a program's progress, and tells how much was added each time.
pub(crate) struct Counter {
    counts: Counts,
    tell: UnboundedSender<(String, u64)>,
}

impl Counter {
    /// A counter, and who hears what it counts.
    pub(crate) fn new() -> (Self, UnboundedReceiver<(String, u64)>) {
        let (tell, told) = unbounded_channel();
        (Self { counts: Counts::new(), tell }, told)
    }

    /// [`Lent::progress`].
    pub(crate) fn progress(&mut self, place: &str, done: u64, expected: Option<u64>) {
        let count = advance(&mut self.counts, place, done, expected);
        // Nobody listens any more: then nobody misses it.
        let _ = self.tell.send((place.to_owned(), count));
    }

    /// All that was counted.
    pub(crate) fn counts(self) -> Counts {
        self.counts
    }
}

/// Puts a place at `done`; how many were added.
pub(crate) fn advance(counts: &mut Counts, place: &str, done: u64, expected: Option<u64>) -> u64 {
    let known = counts.entry(place.to_owned()).or_default();
    let count = done.saturating_sub(known.done);
    *known = Count { done, expected };
    count
}

/// Loads the program of a job, on a thread that may block.
pub(crate) async fn load(job: &Job<'_>, file: &PluginFile) -> Result<Box<dyn Program>> {
    let (programs, file) = (Arc::clone(job.programs), file.clone());
    tokio::task::spawn_blocking(move || programs.load(&file)).await.map_err(|_| gone())?
}

/// A program and what it was lent, back from its calls, and the call that failed.
pub(crate) type Called = (Box<dyn Program>, Box<dyn Lent>, Result<(), (Call, Failure)>);

/// Has a program go the job's way, on a thread that may block; what it attempts is told meanwhile.
///
/// # Errors
/// When the thread ended without giving back what was lent.
pub(crate) async fn called(
    job: &Job<'_>,
    mut program: Box<dyn Program>,
    mut lent: Box<dyn Lent>,
    mut told: UnboundedReceiver<(String, u64)>,
) -> Result<Called> {
    let calls = Call::of(job.direction);
    let mut working = tokio::task::spawn_blocking(move || {
        for call in calls {
            let (back, answer) = program.call(*call, lent);
            lent = back;
            if let Err(failure) = answer {
                return (program, lent, Err((*call, failure)));
            }
        }
        (program, lent, Ok(()))
    });
    let id = job.entry.id.to_text();
    loop {
        tokio::select! {
            finished = &mut working => return finished.map_err(|_| gone()),
            Some((place, count)) = told.recv() => {
                job.watch.tell(&Event::Attempted { id: &id, place: &place, count });
            }
        }
    }
}

/// The error of a call that the program says failed.
pub(crate) fn refused(call: Call, failure: &Failure) -> Error {
    let kind = match (call, failure.retryable) {
        (_, true) => Kind::Transient,
        (Call::Validate, false) => Kind::CheckFailed,
        (Call::Up | Call::Down, false) => Kind::Database,
    };
    Error::new(kind, failure.code.clone(), format!("the plugin's `{call}` failed: {failure}"))
}

/// The thread at work gave nothing back.
pub(crate) fn gone() -> Error {
    Error::new(Kind::Database, "plugin", "the thread of the plugin ended unexpectedly")
}
